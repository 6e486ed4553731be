#include "commands.h"

#include "engine.h"
#include "files.h"
#include "first.h"
#include "order.h"

static const struct cli_option options[] = {
        {"message", 'm', "TEXT", "what it is: the archive's description", false},
        {"glob", 'g', "PATTERN", "also what matches this shell pattern", true},
        {"changed", 'c', NULL, "only what changed since it was stored: by size, time, inode",
                false},
        {"checksum", 0, NULL, "with --changed: by content, whatever the times say", false},
        {"detach", 'd', NULL, "return when it is queued; a mount, or the next command, does it",
                false},
        ORDER_OPTIONS,
        {0},
};

static int begin(struct cli *cli, const char *text, const struct files *f, char **ret_id)
{
        struct err e = {0};
        int q = cli_catalog(cli, CLI_WORK, &e);
        if (q == 0)
                q = first_use(cli, &e);
        const char *const *paths = (const char *const *)f->paths;
        if (q == 0 && cli_flag(cli, "changed"))
                q = engine_backup_changed(
                        cli->engine, text, paths, cli_flag(cli, "checksum"), ret_id, &e);
        else if (q == 0)
                q = engine_backup(cli->engine, text, paths, ret_id, &e);
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
        if (cli_flag(cli, "checksum") && !cli_flag(cli, "changed"))
                return cli_misuse(cli, "--checksum says how --changed looks; give both");
        if (cli->n_words == 0 && (!globs || !globs[0]))
                return cli_misuse(cli, "name files, or a pattern with --glob");
        if (order_check(cli) != CLI_DONE)
                return CLI_USAGE;
        if (!globs || files_add(&f, (const char *const *)cli->words, &e) < 0 ||
                files_glob(&f, globs, &e) < 0)
                return cli_fail(cli, globs ? &e : &(struct err){.code = -ENOMEM});
        for (size_t i = 0; i < f.n_empty; i++)
                cli_say(cli, "nothing matches the pattern %s", f.empty[i]);
        int status = begin(cli, text, &f, &id);
        if (status == CLI_DONE)
                status = cli_flag(cli, "detach") ? order_detach(cli, id) : order_run(cli, id);
        return status == CLI_DONE && f.n_empty > 0 ? CLI_WARNINGS : status;
}

const struct cli_command cmd_backup = {
        .name = "backup",
        .words = "[FILE]…",
        .summary = "archive files and folders, without staging them",
        .about = "Archives the files and folders named, folders with all below them on the\n"
                 "same filesystem, under their absolute paths. Prints the archive's name and\n"
                 "ends when the store has confirmed every byte. Nothing is moved or removed.",
        .options = options,
        .min_words = 0,
        .max_words = -1,
        .run = run,
};
