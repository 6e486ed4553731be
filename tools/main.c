#include "commands.h"

#include "secret.h"

#include <fcntl.h>

static const struct cli_command *const commands[] = {
        &cmd_init,
        &cmd_genkeys,
        &cmd_mount,
        &cmd_umount,
        &cmd_stop,
        &cmd_status,
        &cmd_backup,
        &cmd_run,
        &cmd_retry,
        &cmd_abort,
        &cmd_list,
        &cmd_show,
        &cmd_files,
        &cmd_find,
        &cmd_stored,
        &cmd_restore,
        &cmd_unlock,
        &cmd_recover,
        &cmd_verify,
        &cmd_decrypt,
        &cmd_delete,
        &cmd_cost,
        &cmd_import,
        &cmd_config,
};

static void usage(FILE *f)
{
        (void)fputs(
                "usage: autoglacier [--config FILE] COMMAND [ARGUMENTS]\n"
                "       autoglacier COMMAND --help | --help | --version\n"
                "\n"
                "Encrypted archives in the cheapest storage there is: mount a folder, put things "
                "in,\n"
                "say what they are, and forget them.\n"
                "\n",
                f);
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                (void)fprintf(f, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
        (void)fputs("  help       this text, or that of a command\n"
                    "\n"
                    "ARCHIVE is a name as `list` shows it, an id, an unambiguous beginning of "
                    "either, or `latest`.\n"
                    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 done with warnings or "
                    "incomplete,\n"
                    "4 accepted and not finished. More: man autoglacier\n",
                f);
}

static const struct cli_command *find(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                if (streq(commands[i]->name, name))
                        return commands[i];
        return NULL;
}

static int unknown(const char *name)
{
        (void)fprintf(stderr, "autoglacier: unknown command %s\n", name);
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                if (startswith(commands[i]->name, name) || startswith(name, commands[i]->name))
                        (void)fprintf(stderr, "did you mean %s?\n", commands[i]->name);
        (void)fputs("autoglacier help lists the commands\n", stderr);
        return CLI_USAGE;
}

static int done(int status)
{
        if (fflush(stdout) == 0 && !ferror(stdout))
                return status;
        (void)fprintf(stderr, "autoglacier: cannot write the output: %s\n", err_words(errno));
        return CLI_FAILED;
}

static int help(int argc, char **argv)
{
        if (argc == 0 || streq(argv[0], "--help") || streq(argv[0], "-h")) {
                usage(stdout);
                return done(CLI_DONE);
        }
        const struct cli_command *c = find(argv[0]);
        if (!c)
                return unknown(argv[0]);
        cli_usage(c, stdout, true);
        return done(CLI_DONE);
}

static int run(struct cli *cli, int argc, char **argv)
{
        for (int i = 0; i < argc; i++) {
                if (streq(argv[i], "--"))
                        break;
                if (streq(argv[i], "--help") || streq(argv[i], "-h")) {
                        cli_usage(cli->command, stdout, true);
                        return done(CLI_DONE);
                }
        }
        int status = cli_parse(cli, argc, argv);
        if (status == CLI_DONE)
                status = cli_flush(cli, cli->command->run(cli));
        cli_close(cli);
        return status;
}

/* Options before the command. The number of words taken, or -1 for a wrong one. */
static int global_options(struct cli *cli, int argc, char **argv)
{
        int i = 1;
        for (; i < argc && argv[i][0] == '-'; i++) {
                const char *v = startswith(argv[i], "--config=");
                if (v) {
                        cli->config_file = v;
                } else if (streq(argv[i], "--config") && i + 1 < argc) {
                        cli->config_file = argv[++i];
                } else if (streq(argv[i], "--config")) {
                        (void)fputs("autoglacier: --config needs a file\n", stderr);
                        return -1;
                } else {
                        break;
                }
        }
        return i;
}

/* Without them the first files that are opened would take their numbers, and messages would be
 * written into those. Writing to one that was not there fails as before. */
static void keep_standard_files(void)
{
        int fd;
        do
                fd = open("/dev/null", O_RDONLY);
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd >= 0)
                (void)close(fd); /* the one too many */
}

int main(int argc, char **argv)
{
        struct cli cli = {0};
        keep_standard_files();
        secret_no_core(); /* keys come into memory */
        int i = global_options(&cli, argc, argv);
        if (i < 0)
                return CLI_USAGE;
        if (i == argc) {
                usage(stderr);
                return CLI_USAGE;
        }
        const char *word = argv[i++];
        if (streq(word, "help") || streq(word, "--help") || streq(word, "-h"))
                return help(argc - i, argv + i);
        if (streq(word, "--version") || streq(word, "-V") || streq(word, "version")) {
                (void)puts("autoglacier " VERSION);
                return done(CLI_DONE);
        }
        cli.command = find(word);
        if (!cli.command && mount8_asks(argc, argv))
                return mount8_run(argv);
        return cli.command ? run(&cli, argc - i, argv + i) : unknown(word);
}
