#include "child.h"

#include "clock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>

#define LOOK_MS  200
#define GRACE_NS (2 * CLOCK_NSEC)

extern char **environ;

struct child {
        const struct child_params *p;
        pid_t pid;
        int out, err; /* our ends; -EBADF at the end of what it says */
        int64_t until;
        bool reaped;
        int status;
};

/* ---- starting ---- */

static char **joined_env(const char *const *more)
{
        size_t n = 0, m = 0;
        while (environ[n])
                n++;
        while (more && more[m])
                m++;
        char **v = calloc(n + m + 1, sizeof *v);
        if (!v)
                return NULL;
        for (size_t i = 0; i < m; i++)
                v[i] = (char *)more[i];
        for (size_t i = 0, k = m; i < n; i++) {
                bool ours = false;
                size_t len = strcspn(environ[i], "=");
                for (size_t j = 0; j < m; j++)
                        ours |= strncmp(environ[i], more[j], len + 1) == 0;
                if (!ours)
                        v[k++] = environ[i];
        }
        return v;
}

static int set_attributes(posix_spawnattr_t *a)
{
        sigset_t none, all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_setsigmask(a, &none);
        posix_spawnattr_setsigdefault(a, &all);
        posix_spawnattr_setpgroup(a, 0);
        return posix_spawnattr_setflags(
                a, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

static int set_files(posix_spawn_file_actions_t *f, int in, int out, int err)
{
        int q = in >= 0 ? posix_spawn_file_actions_adddup2(f, in, 0)
                        : posix_spawn_file_actions_addopen(f, 0, "/dev/null", O_RDONLY, 0);
        if (q == 0)
                q = posix_spawn_file_actions_adddup2(f, out, 1);
        if (q == 0)
                q = posix_spawn_file_actions_adddup2(f, err, 2);
        return q == 0 ? posix_spawn_file_actions_addclosefrom_np(f, 3) : q;
}

static int spawn(struct child *c, int out, int err)
{
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attr;
        _cleanup_free_ char **env = joined_env(c->p->env);
        if (!env)
                return -ENOMEM;
        posix_spawn_file_actions_init(&files);
        posix_spawnattr_init(&attr);
        int q = set_files(&files, c->p->in_fd, out, err);
        if (q == 0)
                q = set_attributes(&attr);
        if (q == 0)
                q = posix_spawnp(
                        &c->pid, c->p->argv[0], &files, &attr, (char *const *)c->p->argv, env);
        posix_spawnattr_destroy(&attr);
        posix_spawn_file_actions_destroy(&files);
        return -q;
}

static int start(struct child *c, struct err *e)
{
        int out[2], err[2];
        if (pipe2(out, O_CLOEXEC) < 0)
                return err_errno(e, -errno, "cannot make a pipe");
        if (pipe2(err, O_CLOEXEC) < 0) {
                int q = -errno;
                base_closep(&out[0]);
                base_closep(&out[1]);
                return err_errno(e, q, "cannot make a pipe");
        }
        c->out = out[0];
        c->err = err[0];
        int q = spawn(c, out[1], err[1]);
        base_closep(&out[1]);
        base_closep(&err[1]);
        if (q == 0)
                return 0;
        c->reaped = true;
        (void)err_errno(e, q, "cannot start %s", c->p->argv[0]);
        return -ENOEXEC;
}

/* ---- while it runs ---- */

static void close_end(int *fd)
{
        base_closep(fd);
        *fd = -EBADF;
}

static int take(struct child *c, int *fd, int (*tell)(void *, const char *, size_t, struct err *),
        struct err *e)
{
        char data[16 * KiB];
        ssize_t n = read(*fd, data, sizeof data);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return 0;
        if (n <= 0) {
                close_end(fd);
                return 0;
        }
        return tell ? tell(c->p->ctx, data, (size_t)n, e) : 0;
}

static int reap(struct child *c)
{
        if (c->reaped)
                return 0;
        pid_t r = waitpid(c->pid, &c->status, WNOHANG);
        if (r < 0 && errno != EINTR)
                return -errno;
        c->reaped = r == c->pid;
        return 0;
}

static int step(struct child *c, struct err *e)
{
        bool ended = c->out < 0 && c->err < 0;
        struct pollfd p[] = {{.fd = c->out, .events = POLLIN}, {.fd = c->err, .events = POLLIN}};
        int n = poll(p, ARRAY_SIZE(p), ended ? 10 : LOOK_MS);
        int q = 0;
        if (n > 0 && p[0].revents)
                q = take(c, &c->out, c->p->out, e);
        if (q == 0 && n > 0 && p[1].revents)
                q = take(c, &c->err, c->p->err, e);
        if (q == 0 && c->p->tick)
                q = c->p->tick(c->p->ctx, e);
        if (q == 0 && (q = reap(c)) < 0)
                return err_errno(e, q, "cannot wait for %s", c->p->argv[0]);
        if (q == 0 && c->until && clock_monotonic() > c->until) {
                char limit[CLOCK_TEXT_MAX];
                clock_words(c->p->limit_ns, limit);
                return err_set(
                        e, -ETIME, "%s was ended after its time limit of %s", c->p->argv[0], limit);
        }
        return q;
}

/* The group is ours alone: what the program has started goes with it. */
static void end_group(struct child *c)
{
        if (c->pid <= 0)
                return;
        const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
        (void)kill(-c->pid, SIGTERM); /* it may have gone by itself */
        for (int64_t end = clock_monotonic() + GRACE_NS; !c->reaped && clock_monotonic() < end;)
                if (reap(c) < 0 || (!c->reaped && nanosleep(&pause, NULL) < 0))
                        break;
        (void)kill(-c->pid, SIGKILL); /* likewise */
        while (!c->reaped && waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
                ;
        c->reaped = true;
}

int child_run(const struct child_params *p, int *ret_status, struct err *e)
{
        struct child c = {.p = p, .out = -EBADF, .err = -EBADF};
        c.until = p->limit_ns ? clock_monotonic() + p->limit_ns : 0;
        int q = start(&c, e);
        while (q == 0 && (!c.reaped || c.out >= 0 || c.err >= 0))
                q = step(&c, e);
        if (q < 0)
                end_group(&c);
        base_closep(&c.out);
        base_closep(&c.err);
        if (q == 0)
                *ret_status = c.status;
        return q < 0 ? q : 0;
}

char *child_why(int status)
{
        char *s = NULL;
        int n = 0;
        if (WIFSIGNALED(status))
                n = asprintf(&s, "was killed by signal %d (%s)", WTERMSIG(status),
                        sigdescr_np(WTERMSIG(status)));
        else if (WEXITSTATUS(status) != 0)
                n = asprintf(&s, "ended with status %d", WEXITSTATUS(status));
        return n < 0 ? NULL : s;
}
