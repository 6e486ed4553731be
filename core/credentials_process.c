#include "credentials_internal.h"

#include "clock.h"
#include "secret.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#define OUTPUT_MAX 65536
#define PATIENCE   (60 * CLOCK_NSEC)

extern char **environ;

static int start(const char *command, pid_t *ret_pid, int *ret_fd)
{
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        char *const argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
        int q = -posix_spawn(ret_pid, "/bin/sh", &actions, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        base_closep(&fds[1]);
        if (q < 0)
                base_closep(&fds[0]);
        else
                *ret_fd = fds[0];
        return q;
}

/* Until the end of its output. -ETIMEDOUT, -EFBIG. */
static ssize_t collect(int fd, char *out, size_t size)
{
        int64_t end = clock_monotonic() + PATIENCE;
        size_t n = 0;
        for (;;) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                int64_t left = end - clock_monotonic();
                if (left <= 0)
                        return -ETIMEDOUT;
                if (poll(&p, 1, (int)(left / 1000000) + 1) <= 0)
                        continue;
                if (n == size)
                        return -EFBIG;
                ssize_t got = read(fd, out + n, size - n);
                if (got == 0)
                        return (ssize_t)n;
                if (got < 0 && errno != EINTR)
                        return -errno;
                n += got > 0 ? (size_t)got : 0;
        }
}

static int run(const char *command, char *out, size_t size, size_t *ret_len, struct err *e)
{
        pid_t pid;
        _cleanup_close_ int fd = -EBADF;
        int q = start(command, &pid, &fd);
        if (q < 0)
                return err_errno(e, q, "cannot run credential_process");
        ssize_t n = collect(fd, out, size);
        if (n < 0)
                (void)kill(pid, SIGKILL); /* ours, and not reaped yet */
        int status = 0;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (n < 0)
                return err_errno(e, n == -ETIMEDOUT ? -EAGAIN : (int)n,
                        "credential_process did not come to an end with an answer");
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return err_set(e, -EAGAIN, "credential_process failed (status %d)",
                        WIFEXITED(status) ? WEXITSTATUS(status) : -1);
        *ret_len = (size_t)n;
        return 0;
}

int credentials_from_process(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e)
{
        char command[4096];
        if (!credentials_setting(
                    credentials_profile(p->profile), "credential_process", command, sizeof command))
                return -ENOENT;
        struct secret *out = NULL;
        size_t n = 0;
        if (secret_new(OUTPUT_MAX, &out) < 0)
                return err_oom(e);
        int q = run(command, (char *)out->data, OUTPUT_MAX, &n, e);
        if (q == 0)
                q = credentials_from_json(ret, (const char *)out->data, n, "credential_process", e);
        secret_free(out);
        return q;
}
