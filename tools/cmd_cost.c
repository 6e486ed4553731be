#include "commands.h"

#include "buf.h"
#include "catalog.h"
#include "report.h"

static const struct cli_option options[] = {
        {"json", 0, NULL, "as JSON; see autoglacier-json(5)", false},
        {0},
};

static int run(struct cli *cli)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct catalog_archive a = {0};
        struct err e = {0};
        bool one = cli->n_words > 0;
        int q = one ? cli_archive(cli, cli->words[0], &a, &e) : cli_catalog(cli, CLI_LOOK, &e);
        if (q == 0)
                q = report_cost(
                        cli->catalog, cli->config, one ? &a : NULL, cli_flag(cli, "json"), &b, &e);
        catalog_archive_done(&a);
        if (q < 0)
                return cli_fail(cli, &e);
        cli_print(buf_str(&b), b.len);
        return CLI_DONE;
}

const struct cli_command cmd_cost = {
        .name = "cost",
        .words = "[ARCHIVE]",
        .summary = "what storing costs, what it would cost to delete, by list prices",
        .about =
                "For each archive, or the one named: its storage class, a month of storage, what\n"
                "sending it cost in requests, and what deleting it now would cost, since cold\n"
                "classes charge for a minimum time. `restore --dry-run` says what getting it back\n"
                "costs. All of it is an estimate by a dated table of list prices; a prices.json\n"
                "beside CONFIG.json replaces the table.",
        .options = options,
        .max_words = 1,
        .run = run,
};
