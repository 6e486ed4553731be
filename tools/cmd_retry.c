#include "commands.h"

#include "catalog.h"
#include "engine.h"
#include "order.h"

static const struct cli_option options[] = {ORDER_OPTIONS, {0}};

static int run(struct cli *cli)
{
        if (order_check(cli) != CLI_DONE)
                return CLI_USAGE;
        struct catalog_archive a = {0};
        struct err e = {0};
        int q = cli_archive(cli, cli->words[0], &a, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        int status = CLI_DONE;
        if ((q = cli_engine(cli, CLI_WORK, &e)) < 0)
                status = cli_fail(cli, &e);
        /* one that was only queued needs no second chance, but somebody who does it */
        else if ((a.state == ARCHIVE_FAILED || a.state == ARCHIVE_WAITING) &&
                 engine_retry(cli->engine, a.id, &e) < 0)
                status = cli_fail(cli, &e);
        else
                status = order_run(cli, a.id);
        catalog_archive_done(&a);
        return status;
}

const struct cli_command cmd_retry = {
        .name = "retry",
        .words = "ARCHIVE",
        .summary = "go on now with an archive that failed, waits or was left",
        .about = "Runs an archive that is not stored yet, here and now: one that failed, that\n"
                 "waits, or that was queued or interrupted and that no program works on. Like\n"
                 "writing to its .retry below a mount.",
        .options = options,
        .min_words = 1,
        .max_words = 1,
        .run = run,
};
