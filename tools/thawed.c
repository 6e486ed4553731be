#include "thawed.h"

#include "buf.h"
#include "catalog.h"
#include "catalog_restore.h"
#include "clock.h"
#include "config.h"
#include "engine.h"
#include "io.h"
#include "keys.h"
#include "progress.h"
#include "words.h"

struct look {
        struct cli *cli;
        struct progress progress;
        bool shown;
        enum restore_state state; /* as it was last told */
};

static int make_wish(const struct catalog_archive *a, const struct thawed *t, struct buf *paths,
        struct engine_restore_wish *ret, struct err *e)
{
        for (size_t i = 0; t->paths && t->paths[i]; i++)
                buf_add(paths, t->paths[i], strlen(t->paths[i]) + 1);
        *ret = (struct engine_restore_wish){.id = a->id,
                .tier = t->tier,
                .paths = buf_str(paths),
                .paths_len = paths->len,
                .overwrite = t->overwrite,
                .max_price = t->max_price};
        return buf_oom(paths) ? err_oom(e) : 0;
}

int thawed_quote(
        struct cli *cli, const struct catalog_archive *a, const struct thawed *t, struct err *e)
{
        _cleanup_buf_ struct buf paths = BUF_INIT;
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct engine_restore_wish w;
        int q = make_wish(a, t, &paths, &w, e);
        if (q == 0)
                q = cli_engine(cli, CLI_LOOK, e);
        if (q == 0)
                q = engine_restore_quote(cli->engine, &w, &text, e);
        if (q == 0)
                cli_print(buf_str(&text), text.len);
        return q;
}

/* Looking needs no more than the catalogue; this needs the data folder. */
static int reopen(struct cli *cli, struct err *e)
{
        catalog_close(cli->catalog);
        engine_close(cli->engine);
        cli->catalog = NULL;
        cli->engine = NULL;
        int q = cli_catalog(cli, CLI_WORK, e);
        struct keyring *k;
        return q < 0 ? q : cli_keyring(cli, cli_value(cli, "key"), &k, e);
}

/* ---- while it goes on ---- */

static void tell_state(struct look *l, const struct catalog_restore *r)
{
        char at[CLOCK_TEXT_MAX];
        progress_clear(&l->progress);
        if (r->state == RESTORE_THAWING && r->deadline > 0) {
                clock_iso(r->deadline, at);
                cli_say(l->cli, "thawing, expected by %s", at);
        } else if (r->state == RESTORE_NEEDS_KEY) {
                cli_say(l->cli, "needs-key: %s", r->error);
        } else if (restore_is_active(r->state)) {
                cli_say(l->cli, "%s%s%s", restore_state_name(r->state), *r->error ? ": " : "",
                        r->error);
        }
}

static void show(void *ctx, const struct catalog_restore *r)
{
        struct look *l = ctx;
        if (!l->shown || l->state != r->state)
                tell_state(l, r);
        l->shown = true;
        l->state = r->state;
        if (r->state == RESTORE_FETCHING && r->done_bytes > 0)
                progress_show(&l->progress, r->done_bytes, r->todo_bytes);
}

static int verdict(
        struct cli *cli, const struct thawed *t, const struct catalog_restore *r, struct err *e)
{
        char bytes[CLOCK_TEXT_MAX], fetched[CLOCK_TEXT_MAX];
        switch (r->state) {
        case RESTORE_READY:
                clock_bytes_words(r->done_bytes, bytes);
                clock_bytes_words(r->fetched, fetched);
                (void)printf("%s\n", t->to);
                cli_say(cli, "restored %s, %s (fetched %s)%s%s", WORDS(r->done_files, "file", NULL),
                        bytes, fetched, *r->error ? ", " : "", r->error);
                return *r->error ? CLI_WARNINGS : CLI_DONE;
        case RESTORE_FAILED:
                return err_set(e, -EIO, "%s", r->error);
        case RESTORE_CANCELLED:
        case RESTORE_EXPIRED:
                return err_set(e, -ECANCELED, "it was %s", restore_state_name(r->state));
        default:
                if (*r->error)
                        cli_say(cli, "%s", r->error);
                cli_say(cli, "accepted; a mount, or the same command again, goes on with it");
                return CLI_UNFINISHED;
        }
}

/* The store is asked all the same: a key on a stick is needed only when it has thawed. */
static void warn_without_key(const struct cli *cli)
{
        if (cli_value(cli, "key"))
                return;
        for (char *const *p = cli->config->private_keys; *p; p++)
                if (access(*p, R_OK) == 0)
                        return;
        cli_say(cli, "no private key is here: what is thawed will wait for one, and expires");
}

/* That a key is another one is known before anything is asked for; one that is locked shows it
 * later. */
static int check_key(const struct cli *cli, const struct catalog_archive *a, struct err *e)
{
        _cleanup_(keys_private_freep) struct keys_private *key = NULL;
        const char *path = cli_value(cli, "key");
        if (!path || keys_private_load(path, NULL, NULL, &key, NULL) < 0 ||
                strstr(a->recipients, keys_private_fingerprint(key)))
                return 0;
        return err_set(e, -ENOKEY,
                "%s does not open %s: that was sealed for the key with fingerprint %s; nothing was "
                "asked of the store",
                path, a->name, a->recipients);
}

int thawed_restore(
        struct cli *cli, const struct catalog_archive *a, const struct thawed *t, struct err *e)
{
        _cleanup_buf_ struct buf paths = BUF_INIT;
        _cleanup_free_ char *cwd = getcwd(NULL, 0);
        _cleanup_free_ char *to = NULL;
        struct engine_restore_wish w;
        int64_t row;
        bool old;
        if (!cwd || !(to = *t->to == '/' ? strdup(t->to) : io_join(cwd, t->to)))
                return err_oom(e);
        int q = check_key(cli, a, e);
        if (q == 0)
                q = reopen(cli, e);
        if (q == 0)
                q = make_wish(a, t, &paths, &w, e);
        w.target = to;
        if (q == 0)
                q = engine_restore(cli->engine, &w, &row, &old, e);
        if (q < 0)
                return q;
        if (old)
                cli_say(cli, "this was asked for before; it goes on");
        warn_without_key(cli);
        struct look l = {.cli = cli};
        struct catalog_restore r = {0};
        cli_catch_signals();
        progress_begin(&l.progress, "restoring");
        q = engine_restore_run(cli->engine, row, t->wait, show, &l, &cli_stop, &r, e);
        progress_clear(&l.progress);
        if (q == 0)
                q = verdict(cli, t, &r, e);
        catalog_restore_done(&r);
        return q;
}

int thawed_cancel(struct cli *cli, const struct catalog_archive *a, struct err *e)
{
        size_t n = 0;
        int q = reopen(cli, e);
        if (q == 0)
                q = engine_restore_cancel(cli->engine, a->id, &n, e);
        if (q < 0)
                return q;
        if (n == 0)
                cli_say(cli, "no restore of %s is on its way", a->name);
        else
                cli_say(cli,
                        "cancelled %s of %s; what the store was asked to thaw it will thaw and "
                        "charge for",
                        WORDS(n, "restore", NULL), a->name);
        return 0;
}
