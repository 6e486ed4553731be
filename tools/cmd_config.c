#include "commands.h"

#include "buf.h"
#include "config.h"

static const struct cli_option options[] = {
        {"json", 0, NULL, "as JSON", false},
        {0},
};

static int run(struct cli *cli)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct err e = {0};
        int q = cli_config(cli, &e);
        if (q == 0 && config_print(cli->config, cli_flag(cli, "json"), &b) < 0)
                q = err_oom(&e);
        if (q < 0)
                return cli_fail(cli, &e);
        cli_print(buf_str(&b), b.len);
        return CLI_DONE;
}

const struct cli_command cmd_config = {
        .name = "config",
        .words = "",
        .summary = "the configuration that holds, and where each value comes from",
        .about = "Prints every key of the configuration with its value and where it comes from: "
                 "the\n"
                 "file, or a default. Secrets are not shown.",
        .options = options,
        .max_words = 0,
        .run = run,
};
