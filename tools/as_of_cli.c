#include "as_of_cli.h"

#include "as_of.h"
#include "clock.h"
#include "keyring.h"
#include "progress.h"
#include "restore.h"
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

/* "/home/a" is the name home/a in an archive. */
static const char **names(const struct cli *cli)
{
        const char **v = calloc((size_t)cli->n_words + 1, sizeof *v);
        for (int i = 0; v && i < cli->n_words; i++)
                v[i] = cli->words[i] + strspn(cli->words[i], "/");
        return v;
}

static int print_archive(void *ctx _unused_, const char *id, uint64_t members)
{
        (void)printf("%s  %s\n", id, WORDS(members, "entry", "entries")); /* cli_flush() */
        return 0;
}

static int look(struct cli *cli, int64_t when, const char *const *paths, struct err *e)
{
        struct restore_progress p = {0};
        char bytes[CLOCK_TEXT_MAX];
        int q = as_of_look(cli->catalog, when, paths, print_archive, NULL, &p, e);
        if (q < 0)
                return q;
        clock_bytes_words(p.todo_bytes, bytes);
        cli_say(cli, "%s, %s would be restored", WORDS(p.todo_files, "file", NULL), bytes);
        return 0;
}

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

int restore_as_of(struct cli *cli, const char *date)
{
        _cleanup_free_ const char **paths = names(cli);
        _cleanup_free_ char *to = NULL;
        const char *given = cli_value(cli, "to");
        struct err e = {0};
        int64_t when;
        if (!paths || asprintf(&to, "as-of-%s", date) < 0)
                return cli_fail(cli, &(struct err){.code = -ENOMEM});
        int q = as_of_parse(date, &when, &e);
        if (q == 0)
                q = cli_catalog(cli, false, &e);
        if (q == 0)
                q = cli_flag(cli, "dry-run") ? look(cli, when, paths, &e)
                                             : restore(cli, when, paths, given ? given : to, &e);
        if (q == -EEXIST && !cli_flag(cli, "overwrite"))
                err_hint(&e, "name another folder with --to, or replace with --overwrite");
        return q < 0 ? cli_fail(cli, &e) : q;
}
