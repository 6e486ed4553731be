#include "commands.h"

#include "catalog.h"
#include "engine.h"

static int run(struct cli *cli)
{
        struct catalog_archive a = {0};
        struct err e = {0};
        int q = cli_archive(cli, cli->words[0], &a, &e);
        if (q == 0)
                q = cli_engine(cli, CLI_WORK, &e);
        if (q == 0)
                q = engine_abort(cli->engine, a.id, &e);
        if (q == 0)
                (void)printf("%s\n",
                        a.has_tree ? "what was staged goes back to the staging area" : "forgotten");
        catalog_archive_done(&a);
        return q < 0 ? cli_fail(cli, &e) : CLI_DONE;
}

const struct cli_command cmd_abort = {
        .name = "abort",
        .words = "ARCHIVE",
        .summary = "take back an archive that is not stored yet",
        .about = "What was staged for it goes back to the staging area and never replaces what is\n"
                 "there; what the store has of it already is removed. Like writing to its\n"
                 ".abort below a mount. `delete` removes what is stored.",
        .min_words = 1,
        .max_words = 1,
        .run = run,
};
