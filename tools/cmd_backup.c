#include "commands.h"

#include "buf.h"
#include "catalog.h"
#include "clock.h"
#include "engine.h"
#include "files.h"
#include "first.h"
#include "follow.h"
#include "words.h"

static const struct cli_option options[] = {
        {"message", 'm', "TEXT", "what it is: the archive's description", false},
        {"glob", 'g', "PATTERN", "also what matches this shell pattern", true},
        {"detach", 'd', NULL, "return when it is queued; a mount, or the next command, does it",
                false},
        {0},
};

static int say_stored(struct cli *cli, const char *id, int result, struct err *e)
{
        struct catalog_archive a = {0};
        int q = cli_catalog(cli, true, e);
        if (q == 0)
                q = catalog_archive_get(cli->catalog, id, &a, e);
        if (q < 0)
                return q;
        char bytes[CLOCK_TEXT_MAX], stored[CLOCK_TEXT_MAX];
        clock_bytes_words(a.bytes, bytes);
        clock_bytes_words(a.stored_bytes, stored);
        (void)printf("%s\n", a.name);
        cli_say(cli, "%s: %s, %s, stored as %s", archive_state_name(a.state),
                WORDS(a.n_files + a.n_hardlinks, "file", NULL), bytes, stored);
        if (result > 0)
                cli_say(cli, "%s; see: autoglacier show %s",
                        WORDS(a.n_warnings + a.n_returned, "warning", NULL), a.name);
        catalog_archive_done(&a);
        return 0;
}

/* Runs the job here, to its end. */
static int run_here(struct cli *cli, const char *id)
{
        struct err e = {0};
        struct follow *f;
        cli_catch_signals();
        int q = follow_begin(cli->engine, id, &f, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        q = engine_run(cli->engine, id, &e);
        follow_end(f);
        if (q == -ECANCELED && atomic_load(&cli_stop)) {
                cli_say(cli, "stopped; it is kept, and goes on with a mount or the next backup");
                return CLI_UNFINISHED;
        }
        if (q == -EAGAIN) {
                cli_say(cli, "it waits: %s; a mount or the next backup goes on with it", e.text);
                return CLI_UNFINISHED;
        }
        struct err say = {0};
        if (q < 0)
                return cli_fail(cli, &e);
        if (say_stored(cli, id, q, &say) < 0)
                return cli_fail(cli, &say);
        return q > 0 ? CLI_WARNINGS : CLI_DONE;
}

static int detach(struct cli *cli, const char *id)
{
        struct err e = {0};
        struct catalog_archive a = {0};
        int q = engine_detach(cli->engine, id, &e);
        if (q == 0)
                q = cli_archive(cli, id, &a, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        (void)printf("%s\n", a.name);
        catalog_archive_done(&a);
        return CLI_UNFINISHED;
}

static int begin(struct cli *cli, const char *text, const struct files *f, char **ret_id)
{
        struct err e = {0};
        int q = cli_engine(cli, true, &e);
        if (q == 0)
                q = first_use(cli, &e);
        if (q == 0)
                q = engine_backup(cli->engine, text, (const char *const *)f->paths, ret_id, &e);
        return q < 0 ? cli_fail(cli, &e) : CLI_DONE;
}

static int run(struct cli *cli)
{
        const char *text = cli_value(cli, "message");
        _cleanup_free_ const char **globs = cli_values(cli, "glob");
        _cleanup_(files_done) struct files f = {0};
        _cleanup_free_ char *id = NULL;
        struct err e = {0};
        if (!text || !*text)
                return cli_misuse(cli, "say what it is with -m TEXT");
        if (cli->n_words == 0 && (!globs || !globs[0]))
                return cli_misuse(cli, "name files, or a pattern with --glob");
        if (!globs || files_add(&f, (const char *const *)cli->words, &e) < 0 ||
                files_glob(&f, globs, &e) < 0)
                return cli_fail(cli, globs ? &e : &(struct err){.code = -ENOMEM});
        for (size_t i = 0; i < f.n_empty; i++)
                cli_say(cli, "nothing matches the pattern %s", f.empty[i]);
        int status = begin(cli, text, &f, &id);
        if (status == CLI_DONE)
                status = cli_flag(cli, "detach") ? detach(cli, id) : run_here(cli, id);
        return status == CLI_DONE && f.n_empty > 0 ? CLI_WARNINGS : status;
}

const struct cli_command cmd_backup = {
        .name = "backup",
        .words = "[FILE]…",
        .summary = "archive files and folders, without staging them",
        .about = "Archives the files and folders named, folders with all below them on the same\n"
                 "filesystem, under their absolute paths. Prints the archive's name and ends when "
                 "the\n"
                 "store has confirmed every byte. Nothing is moved or removed.",
        .options = options,
        .min_words = 0,
        .max_words = -1,
        .run = run,
};
