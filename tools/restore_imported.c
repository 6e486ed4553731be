#include "restore_imported.h"

#include "ask.h"
#include "catalog.h"
#include "clock.h"
#include "config.h"
#include "decrypt.h"
#include "import.h"
#include "io.h"
#include "keys.h"
#include "progress.h"
#include "store.h"
#include "words.h"

#include <fcntl.h>
#include <time.h>

#define LOOK_FIRST_NS (CLOCK_NSEC / 5)
#define LOOK_LAST_NS  (60 * CLOCK_NSEC)

struct work {
        struct cli *cli;
        struct store *store;
        char object[IMPORT_OBJECT_MAX];
        uint64_t size;
        struct progress progress;
};

/* ---- thawing ---- */

static int ask(struct work *w, struct err *e)
{
        const char *tier = cli_value(w->cli, "tier");
        const struct store_thaw t = {.tier = tier ? tier : w->cli->config->restore_tier,
                .days = w->cli->config->restore_days};
        int q = store_thaw(w->store, w->object, &t, e);
        if (q == 0)
                cli_say(w->cli, "asked the vault for it; that takes hours");
        return q;
}

/* 1 it can be read, 0 not yet. */
static int look(struct work *w, bool *asked, struct err *e)
{
        struct store_state st;
        int q = store_state(w->store, w->object, &st, e);
        if (q < 0)
                return q;
        if (st.access == STORE_COLD && !*asked) {
                *asked = true;
                q = ask(w, e);
        }
        return q < 0 ? q : st.access == STORE_READY;
}

static int wait_for(struct work *w, struct err *e)
{
        bool asked = false;
        int64_t pause = LOOK_FIRST_NS;
        for (;;) {
                int q = look(w, &asked, e);
                if (q != 0 || !cli_flag(w->cli, "wait") || atomic_load(&cli_stop))
                        return q;
                const struct timespec ts = clock_timespec(pause);
                (void)nanosleep(&ts, NULL); /* woken early: look early */
                pause = MIN(pause * 3 / 2, LOOK_LAST_NS);
        }
}

/* ---- fetching and decrypting ---- */

static int fetch(struct work *w, int fd, struct err *e)
{
        _cleanup_free_ uint8_t *data = malloc(MiB);
        if (!data)
                return err_oom(e);
        progress_begin(&w->progress, "fetching");
        for (uint64_t at = 0; at < w->size;) {
                size_t n = (size_t)MIN(w->size - at, (uint64_t)MiB);
                int q = atomic_load(&cli_stop) ? err_set(e, -ECANCELED, "interrupted")
                                               : store_get(w->store, w->object, data, n, at, e);
                if (q < 0)
                        return q;
                if ((q = io_write_full(fd, data, n)) < 0)
                        return err_errno(e, q, "cannot write what was fetched");
                at += n;
                progress_show(&w->progress, at, w->size);
        }
        progress_clear(&w->progress);
        return 0;
}

static void warn(void *ctx, const char *path, const char *why)
{
        const struct work *w = ctx;
        cli_say(w->cli, "%s: %s", path, why);
}

static int decrypt(
        struct work *w, const char *file, const char *to, const char *const *paths, struct err *e)
{
        _cleanup_(keys_private_freep) struct keys_private *key = NULL;
        const char *given = cli_value(w->cli, "key");
        int q = keys_private_load_any(given ? given : w->cli->config->private_keys[0],
                ask_possible() ? ask_passphrase : NULL, NULL, &key, e);
        if (q < 0)
                return q;
        const char *files[] = {file, NULL};
        uint64_t done = 0;
        const struct decrypt_restore r = {.key = key,
                .files = files,
                .to = to,
                .paths = paths,
                .overwrite = cli_flag(w->cli, "overwrite"),
                .warn = warn,
                .ctx = w,
                .stop = &cli_stop};
        q = decrypt_restore(&r, &done, e);
        if (q < 0)
                return q;
        (void)printf("%s\n", to);
        cli_say(w->cli, "restored %s", WORDS(done, "file", NULL));
        return q > 0 ? CLI_WARNINGS : CLI_DONE;
}

static int bring(struct work *w, const char *to, const char *const *paths, struct err *e)
{
        _cleanup_free_ char *file = NULL;
        if (asprintf(&file, "%s/spool/imported-%d", w->cli->config->data, (int)getpid()) < 0) {
                file = NULL;
                return err_oom(e);
        }
        _cleanup_close_ int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_errno(e, -errno, "cannot make %s", file);
        int q = fetch(w, fd, e);
        if (q == 0)
                q = decrypt(w, file, to, paths, e);
        (void)unlink(file); /* what is left is only litter */
        return q;
}

int restore_imported(
        struct cli *cli, const struct catalog_archive *a, const char *const *paths, struct err *e)
{
        struct work w = {.cli = cli};
        _cleanup_(store_closep) struct store *s = NULL;
        const char *to = cli_value(cli, "to");
        int q = import_open_store(cli->config, cli->catalog, a, &s, w.object, &w.size, e);
        if (q < 0)
                return q;
        w.store = s;
        cli_catch_signals();
        if ((q = wait_for(&w, e)) < 0)
                return q;
        if (q == 0) {
                cli_say(cli, "the vault thaws it; the same command goes on when that is done");
                return CLI_UNFINISHED;
        }
        return bring(&w, to ? to : a->name, paths, e);
}
