#include "commands.h"

#include "config.h"
#include "engine.h"
#include "io.h"
#include "mountd.h"
#include "words.h"

#include <limits.h>

/* Without looking at it. */
static int absolute(const char *path, char **ret, struct err *e)
{
        _cleanup_free_ char *cwd = getcwd(NULL, 0);
        size_t n = strlen(path);
        while (n > 1 && path[n - 1] == '/')
                n--;
        _cleanup_free_ char *clean = strndup(path, n);
        if (clean)
                *ret = *clean == '/' ? steal(clean) : cwd ? io_join(cwd, clean) : NULL;
        return *ret ? 0 : err_oom(e);
}

/* The folder named, or the one that is mounted. */
static int where(struct cli *cli, const struct mountd *m, char **ret, struct err *e)
{
        if (cli->n_words == 0) {
                if (!m->mountpoint)
                        return err_set(e, -EINVAL, "nothing is mounted");
                return (*ret = strdup(m->mountpoint)) ? 0 : err_oom(e);
        }
        /* a dead mount has no real path, and is there all the same */
        *ret = realpath(cli->words[0], NULL);
        if (!*ret && errno == ENOTCONN)
                return absolute(cli->words[0], ret, e);
        if (!*ret)
                return err_errno(e, -errno, "cannot find %s", cli->words[0]);
        if (!mountd_is_mounted(*ret))
                return err_set(e, -EINVAL, "%s is not an autoglacier mount", *ret);
        return 0;
}

static void say_pending(struct cli *cli)
{
        unsigned n = 0;
        if (cli_engine(cli, false, NULL) == 0 && engine_pending(cli->engine, &n, NULL) == 0 &&
                n > 0)
                cli_say(cli, "%s in the background; autoglacier status tells how far it is",
                        WORDS(n, "job goes on", "jobs go on"));
}

static int run(struct cli *cli)
{
        struct err e = {0};
        struct mountd m = {0};
        _cleanup_free_ char *path = NULL;
        int q = cli_config(cli, &e);
        if (q == 0)
                q = mountd_find(cli->config->data, &m, &e);
        if (q == 0)
                q = where(cli, &m, &path, &e);
        if (q == 0)
                q = mountd_unmount(path, &e);
        if (q == 0 && m.mountpoint && streq(path, m.mountpoint)) {
                if (!mountd_wait_gone(cli->config->data, 60))
                        cli_say(cli, "unmounted; the program has not let go yet");
                say_pending(cli);
        }
        mountd_done(&m);
        return q < 0 ? cli_fail(cli, &e) : CLI_DONE;
}

const struct cli_command cmd_umount = {
        .name = "umount",
        .words = "[MOUNTPOINT]",
        .summary = "unmount; what is being archived goes on",
        .about = "Unmounts MOUNTPOINT, or what is mounted of this set-up. The program goes on\n"
                 "in the background until everything is stored; `stop` ends it, too.",
        .max_words = 1,
        .run = run,
};
