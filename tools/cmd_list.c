#include "commands.h"

#include "buf.h"
#include "report.h"

static const struct cli_option options[] = {
        {"json", 0, NULL, "as JSON; see autoglacier-json(5)", false},
        {0},
};

static int run(struct cli *cli)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct err e = {0};
        bool json = cli_flag(cli, "json");
        int q = cli_catalog(cli, CLI_LOOK, &e);
        if (q == -ENOENT) { /* nothing yet is an answer, too */
                if (json)
                        (void)puts("{\n  \"version\": 1,\n  \"archives\": []\n}");
                else
                        cli_say(cli, "%s", e.text);
                return CLI_DONE;
        }
        if (q == 0)
                q = report_list(cli->catalog, json, &b, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        cli_print(buf_str(&b), b.len);
        return CLI_DONE;
}

const struct cli_command cmd_list = {
        .name = "list",
        .words = "",
        .summary = "all archives",
        .about = "Lists all archives, oldest first: name, state, number of files, size.",
        .options = options,
        .max_words = 0,
        .run = run,
};
