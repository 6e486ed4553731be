#include "commands.h"

#include "config.h"
#include "import.h"
#include "words.h"

static int run(struct cli *cli)
{
        struct import_result r = {0};
        struct err e = {0};
        int q = cli_catalog(cli, CLI_WORK, &e);
        if (q == 0)
                q = import_run(cli->catalog, cli->config, cli->words[0], &r, &e);
        if (q < 0) {
                if (q == -EPROTO)
                        err_hint(&e, r.archives
                                             ? "what came before it has been imported; the log is "
                                               "left as it is"
                                             : "nothing was imported; the log is left as it is");
                return cli_fail(cli, &e);
        }
        cli_say(cli, "imported %s, %s", WORDS(r.archives, "archive", NULL),
                WORDS(r.files, "file", NULL));
        if (r.known > 0)
                cli_say(cli, "%s known already", WORDS(r.known, "archive was", "archives were"));
        if (r.unfinished > 0)
                cli_say(cli, "%s not succeed, and left nothing to import",
                        WORDS(r.unfinished, "job did", "jobs did"));
        return CLI_DONE;
}

const struct cli_command cmd_import = {
        .name = "import",
        .words = "LOG.json",
        .summary = "take the log of the Python program into the catalogue",
        .about =
                "Every job in the log that succeeded becomes an archive in the catalogue, with "
                "its\n"
                "files and their SHA-512, marked as imported; doing it again changes nothing. The\n"
                "log stays as it is. While the vault has the archive, restore brings it back.",
        .min_words = 1,
        .max_words = 1,
        .run = run,
};
