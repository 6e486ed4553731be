#include "commands.h"

#include "catalog.h"
#include "config.h"
#include "mountd.h"

#include <signal.h>
#include <sys/stat.h>

#define PATIENCE_S 60

struct runners {
        pid_t pids[64];
        size_t n;
};

/* Ours, of this user, and no stranger that got an old number. */
static bool is_program(pid_t pid)
{
        char path[64];
        struct stat st;
        (void)snprintf(path, sizeof path, "/proc/%ld", (long)pid); /* fits */
        return pid > 1 && pid != getpid() && mountd_is_ours(pid) && stat(path, &st) == 0 &&
               (st.st_uid == geteuid() || geteuid() == 0);
}

static void add(struct runners *r, pid_t pid)
{
        for (size_t i = 0; i < r->n; i++)
                if (r->pids[i] == pid)
                        return;
        if (is_program(pid) && r->n < ARRAY_SIZE(r->pids))
                r->pids[r->n++] = pid;
}

static int each(void *ctx, const struct catalog_archive *a)
{
        if (a->runner > 1 && a->runner <= INT32_MAX)
                add(ctx, (pid_t)a->runner);
        return 0;
}

/* The mount, and whoever runs a job after it was unmounted. */
static int collect(struct cli *cli, struct runners *r, struct err *e)
{
        struct mountd m = {0};
        int q = mountd_find(cli->config->data, &m, e);
        if (q < 0)
                return q;
        if (m.pid > 0)
                add(r, m.pid);
        mountd_done(&m);
        q = cli_catalog(cli, CLI_LOOK, e);
        if (q == 0)
                q = catalog_archive_each(cli->catalog, each, r, e);
        return q == -ENOENT ? 0 : q;
}

static int run(struct cli *cli)
{
        struct err e = {0};
        struct runners r = {0};
        int q = cli_config(cli, &e);
        if (q == 0)
                q = collect(cli, &r, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        if (r.n == 0)
                cli_say(cli, "nothing is running");
        for (size_t i = 0; i < r.n; i++)
                if (kill(r.pids[i], SIGTERM) < 0 && errno != ESRCH) {
                        err_errno(&e, -errno, "cannot stop process %ld", (long)r.pids[i]);
                        return cli_fail(cli, &e);
                }
        for (size_t i = 0; i < r.n; i++)
                if (!mountd_wait_pid(r.pids[i], PATIENCE_S)) {
                        err_set(&e, -EAGAIN,
                                "process %ld has been told to stop, and has not yet: the file that "
                                "it reads is slow, or a program uses the mount",
                                (long)r.pids[i]);
                        return cli_fail(cli, &e);
                }
        return CLI_DONE;
}

const struct cli_command cmd_stop = {
        .name = "stop",
        .words = "",
        .summary = "unmount and end the program; jobs go on when it is started again",
        .about = "Ends the mount, and any program that still works on an archive of this\n"
                 "set-up, at the next point where the work can be taken up again.",
        .max_words = 0,
        .run = run,
};
