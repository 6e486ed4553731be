#include "commands.h"

#include "newkeys.h"

static const struct cli_option options[] = {
        NEWKEYS_OPTIONS,
        {0},
};

static int run(struct cli *cli)
{
        return newkeys_make(cli, cli->words[0], cli->words[1]);
}

const struct cli_command cmd_genkeys = {
        .name = "genkeys",
        .words = "PRIVATE PUBLIC",
        .summary = "make a key pair, and print what to keep and where",
        .about = "Makes an RSA key pair in the files PRIVATE and PUBLIC, and prints a recovery\n"
                 "sheet: what to keep, and where. Neither file is ever overwritten.",
        .options = options,
        .min_words = 2,
        .max_words = 2,
        .run = run,
};
