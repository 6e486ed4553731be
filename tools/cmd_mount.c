#include "commands.h"

#include "io.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>

static const struct cli_option options[] = {
        {"foreground", 'f', NULL, "stay in the foreground, messages to the terminal", false},
        {"options", 'o', "OPTIONS", "mount options: allow_other", true},
        {0},
};

/* Beside us in the build tree, in the libexec folder of the same prefix, or where it was installed.
 */
static char *find_program(void)
{
        static const char *const places[] = {
                "../fs/autoglacierfs", "../libexec/autoglacier/autoglacierfs", "autoglacierfs"};
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        if (n > 0) {
                self[n] = 0;
                const char *folder = dirname(self);
                for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
                        char *p = io_join(folder, places[i]);
                        if (p && access(p, X_OK) == 0)
                                return p;
                        free(p);
                }
        }
        return strdup(LIBEXECDIR "/autoglacier/autoglacierfs");
}

static int exec(const struct cli *cli, const char *program, const char *const *mount_options)
{
        const char *argv[16 + 2 * CLI_OPTIONS_MAX];
        size_t n = 0;
        argv[n++] = "autoglacierfs";
        if (cli_flag(cli, "foreground"))
                argv[n++] = "-f";
        if (cli->config_file) {
                argv[n++] = "--config";
                argv[n++] = cli->config_file;
        }
        for (size_t i = 0; mount_options[i] && i < CLI_OPTIONS_MAX; i++) {
                argv[n++] = "-o";
                argv[n++] = mount_options[i];
        }
        if (cli->n_words > 0)
                argv[n++] = cli->words[0];
        argv[n] = NULL;
        (void)execv(program, (char *const *)argv); /* comes back only with an error */
        struct err e = {0};
        err_errno(&e, -errno, "cannot run %s", program);
        return cli_fail(cli, &e);
}

bool mount8_asks(int argc, char *const *argv)
{
        return argc >= 5 && argv[1][0] != '-' && argv[2][0] == '/' && streq(argv[3], "-o");
}

int mount8_run(char **argv)
{
        _cleanup_free_ char *program = find_program();
        if (program)
                (void)execv(program, argv); /* comes back only with an error */
        (void)fprintf(stderr, "autoglacier: cannot run %s: %s\n",
                program ? program : "the mount program", err_words(errno));
        return CLI_FAILED;
}

static int run(struct cli *cli)
{
        _cleanup_free_ char *program = find_program();
        _cleanup_free_ const char **mount_options = cli_values(cli, "options");
        if (!program || !mount_options)
                return cli_fail(cli, &(struct err){.code = -ENOMEM});
        return exec(cli, program, mount_options);
}

const struct cli_command cmd_mount = {
        .name = "mount",
        .words = "[MOUNTPOINT]",
        .summary = "mount the staging folder, and work in the background",
        .about = "Mounts the staging folder on MOUNTPOINT (made if missing), or on the\n"
                 "MOUNTPOINT of the configuration, ~/glacier if there is none. What waits is\n"
                 "archived in the background.",
        .options = options,
        .max_words = 1,
        .run = run,
};
