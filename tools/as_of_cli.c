#include "as_of_cli.h"

#include "as_of.h"
#include "catalog_version.h"
#include "clock.h"
#include "keyring.h"
#include "member.h"
#include "progress.h"
#include "restore.h"
#include "store.h"
#include "stores.h"
#include "thawed.h"
#include "words.h"

struct work {
        struct cli *cli;
        struct progress progress;
};

static void show(void *ctx, const struct restore_progress *r)
{
        struct work *w = ctx;
        progress_show(&w->progress, r->bytes, r->todo_bytes);
}

static void warn(void *ctx, const char *path, const char *why)
{
        struct work *w = ctx;
        progress_clear(&w->progress);
        cli_say(w->cli, "%s: %s", path, why);
}

static const char **names(const struct cli *cli)
{
        const char **v = calloc((size_t)cli->n_words + 1, sizeof *v);
        for (int i = 0; v && i < cli->n_words; i++)
                v[i] = member_name(cli->words[i]);
        return v;
}

static int print_archive(void *ctx, const char *id, uint64_t members)
{
        struct cli *cli = ctx;
        struct catalog_archive a = {0};
        bool named = catalog_archive_get(cli->catalog, id, &a, NULL) == 0;
        (void)printf("%s  %s\n", named ? a.name : id,
                WORDS(members, "entry", "entries")); /* cli_flush() tells errors */
        catalog_archive_done(&a);
        return 0;
}

static int look(struct cli *cli, int64_t when, const char *const *paths, struct err *e)
{
        struct restore_progress p = {0};
        char bytes[CLOCK_TEXT_MAX];
        int q = as_of_look(cli->catalog, when, paths, print_archive, cli, &p, e);
        if (q < 0)
                return q;
        clock_bytes_words(p.todo_bytes, bytes);
        cli_say(cli, "%s, %s would be restored", WORDS(p.todo_files, "file", NULL), bytes);
        return 0;
}

/* ---- from stores that must thaw first: each archive by a record that outlives this program ----
 */

struct part {
        char *id;
        char **paths; /* NULL-terminated: files and links, since a folder would bring all below it
                       */
        size_t n, cap;
        int status; /* a cli_status */
};

struct parts {
        struct cli *cli;
        struct part *v;
        size_t n;
};

static void parts_done(struct parts *l)
{
        for (size_t i = 0; i < l->n; i++) {
                for (size_t k = 0; k < l->v[i].n; k++)
                        free(l->v[i].paths[k]);
                free(l->v[i].paths);
                free(l->v[i].id);
        }
        free(l->v);
}

static int add_part(struct parts *l, const char *base)
{
        struct part *v = reallocarray(l->v, l->n + 1, sizeof *v);
        if (!v)
                return -ENOMEM;
        l->v = v;
        v[l->n] = (struct part){.id = strdup(base), .status = CLI_UNFINISHED};
        return v[l->n].id ? (l->n++, 0) : -ENOMEM;
}

static int add_path(struct part *p, const char *path)
{
        if (p->n + 1 >= p->cap) {
                size_t cap = MAX((size_t)64, p->cap * 2);
                char **v = reallocarray(p->paths, cap, sizeof *v);
                if (!v)
                        return -ENOMEM;
                p->paths = v;
                p->cap = cap;
        }
        if (!(p->paths[p->n] = strdup(path)))
                return -ENOMEM;
        p->paths[++p->n] = NULL;
        return 0;
}

/* They come archive by archive. */
static int add_member(void *ctx, const char *base, const struct catalog_member *m)
{
        struct parts *l = ctx;
        int q = 0;
        if (m->type == 'd' || m->type == 'i')
                return 0;
        if (l->n == 0 || !streq(l->v[l->n - 1].id, base))
                q = add_part(l, base);
        return q < 0 ? q : add_path(&l->v[l->n - 1], m->path);
}

static int ask_part(struct parts *l, struct part *p, const char *to, bool wait, struct err *e)
{
        const char *max = cli_value(l->cli, "max");
        struct catalog_archive a = {0};
        const struct thawed t = {.tier = cli_value(l->cli, "tier"),
                .paths = (const char *const *)p->paths,
                .to = to,
                .overwrite = cli_flag(l->cli, "overwrite"),
                .wait = wait,
                .max_price = max ? strtod(max, NULL) : -1};
        int q = cli_archive(l->cli, p->id, &a, e);
        if (q == 0)
                q = thawed_restore(l->cli, &a, &t, e);
        catalog_archive_done(&a);
        if (q >= 0)
                p->status = q;
        return q;
}

/* Records bring files; all is settled when the last of them has come. */
static int settle_folders(struct cli *cli, int64_t when, const char *const *paths, const char *to,
        int status, struct err *e)
{
        struct work w = {.cli = cli};
        const struct restore_params p = {.to = to, .warn = warn, .ctx = &w};
        struct restore_progress seen = {0};
        uint64_t warnings = 0;
        int q = as_of_look(cli->catalog, when, paths, NULL, NULL, &seen, e);
        if (q == 0)
                q = as_of_folders(cli->catalog, &p, &warnings, e);
        return q < 0 ? q : warnings > 0 ? CLI_WARNINGS : status;
}

/* All are asked for before any is waited for: they thaw side by side. */
static int restore_cold(
        struct cli *cli, int64_t when, const char *const *paths, const char *to, struct err *e)
{
        _cleanup_(parts_done) struct parts l = {.cli = cli};
        struct restore_progress p = {0};
        int worst = CLI_DONE;
        int q = as_of_look(cli->catalog, when, paths, NULL, NULL, &p, e);
        if (q == 0 && (q = catalog_asof_each(cli->catalog, NULL, add_member, &l, e)) == -ENOMEM)
                q = err_oom(e);
        for (size_t i = 0; q >= 0 && i < l.n; i++)
                q = ask_part(&l, &l.v[i], to, false, e);
        for (size_t i = 0; q >= 0 && cli_flag(cli, "wait") && i < l.n; i++)
                if (l.v[i].status == CLI_UNFINISHED)
                        q = ask_part(&l, &l.v[i], to, true, e);
        for (size_t i = 0; i < l.n; i++)
                worst = MAX(worst, l.v[i].status);
        if (q < 0 || worst == CLI_UNFINISHED)
                return q < 0 ? q : worst;
        return settle_folders(cli, when, paths, to, worst, e);
}

struct stores_seen {
        struct cli *cli;
        bool cold;
};

static int note_cold(void *ctx, const char *id, uint64_t members _unused_)
{
        struct stores_seen *k = ctx;
        struct catalog_archive a = {0};
        _cleanup_(store_closep) struct store *s = NULL;
        struct err ignored = {0}; /* told when it is opened to be read */
        int q = catalog_archive_get(k->cli->catalog, id, &a, &ignored);
        if (q == 0)
                q = stores_open(k->cli->config, a.store_url, a.storage_class, &s, &ignored);
        k->cold |= q == 0 && s->traits.cold;
        catalog_archive_done(&a);
        return 0;
}

static int is_cold(
        struct cli *cli, int64_t when, const char *const *paths, bool *ret, struct err *e)
{
        struct stores_seen k = {.cli = cli};
        struct restore_progress p = {0};
        int q = as_of_look(cli->catalog, when, paths, note_cold, &k, &p, e);
        if (q == 0)
                *ret = k.cold;
        return q;
}

/* ---- at once ---- */

static int restore(
        struct cli *cli, int64_t when, const char *const *paths, const char *to, struct err *e)
{
        struct work w = {.cli = cli};
        struct restore_progress done = {0};
        struct keyring *keyring;
        unsigned archives = 0;
        int q = cli_keyring(cli, cli_value(cli, "key"), &keyring, e);
        if (q < 0)
                return q;
        const struct restore_params p = {.paths = paths,
                .to = to,
                .overwrite = cli_flag(cli, "overwrite"),
                .unwrap = keyring_unwrap,
                .unwrap_ctx = keyring,
                .progress = show,
                .warn = warn,
                .ctx = &w,
                .stop = &cli_stop};
        cli_catch_signals();
        progress_begin(&w.progress, "restoring");
        q = as_of_run(cli->config, cli->catalog, when, &p, &done, &archives, e);
        progress_clear(&w.progress);
        if (q < 0)
                return q;
        char bytes[CLOCK_TEXT_MAX];
        clock_bytes_words(done.bytes, bytes);
        (void)printf("%s\n", to);
        cli_say(cli, "restored %s, %s, from %s", WORDS(done.files, "file", NULL), bytes,
                WORDS(archives, "archive", NULL));
        return q > 0 ? CLI_WARNINGS : CLI_DONE;
}

int restore_as_of(struct cli *cli, const char *date, struct err *e)
{
        _cleanup_free_ const char **paths = names(cli);
        _cleanup_free_ char *folder = NULL;
        const char *to = cli_value(cli, "to");
        int64_t when;
        bool cold = false;
        if (!paths || (!to && asprintf(&folder, "as-of-%s", date) < 0))
                return err_oom(e);
        to = to ? to : folder;
        if (as_of_parse(date, &when, e) < 0)
                return cli_misuse(cli, "%s", e->text);
        int q = cli_catalog(cli, CLI_LOOK, e);
        if (q == 0 && cli_flag(cli, "dry-run"))
                return look(cli, when, paths, e);
        if (q == 0)
                q = is_cold(cli, when, paths, &cold, e);
        if (q < 0)
                return q;
        return cold ? restore_cold(cli, when, paths, to, e) : restore(cli, when, paths, to, e);
}
