#include "daemon.h"

#include "io.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

/* The child's end of the pipe to the parent that waits; one process, one daemon. */
static int parent = -EBADF;

/* What the child sends: lines of text to be shown, then "=0" ready or "=CODE words". */
static int wait_for_child(int fd, pid_t pid, struct err *e)
{
        _cleanup_fclose_ FILE *f = fdopen(fd, "r");
        _cleanup_free_ char *line = NULL;
        size_t cap = 0;
        while (f && getline(&line, &cap, f) > 0) {
                line[strcspn(line, "\n")] = 0;
                if (streq(line, "=0"))
                        return 1;
                if (*line == '=') {
                        char *words;
                        int code = (int)strtol(line + 1, &words, 10);
                        return err_set(e, code < 0 ? code : -EIO, "%s",
                                *words == ' ' ? words + 1 : "it failed");
                }
                (void)fprintf(stderr, "autoglacier: %s\n", line);
        }
        int status = 0;
        (void)waitpid(pid, &status, 0); /* only for the words */
        return err_set(e, -EIO, "the mount program ended before it was ready (status %d)", status);
}

static void to_background(const char *data)
{
        (void)setsid();   /* fails only for a group leader, which a child is not */
        (void)chdir("/"); /* no folder is kept busy; if it fails one is */
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        _cleanup_free_ char *path = io_join(data, "log");
        int log = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600)
                       : -1;
        if (null >= 0) {
                (void)dup2(null, 0);
                (void)dup2(log >= 0 ? log : null, 1);
                (void)dup2(log >= 0 ? log : null, 2);
        }
        base_closep(&null);
        base_closep(&log);
}

int daemon_start(const char *data, struct err *e)
{
        int q = io_mkdir_p(data, 0700, e);
        int fds[2];
        if (q < 0)
                return q;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return err_errno(e, -errno, "cannot go to the background");
        pid_t pid = fork();
        if (pid < 0)
                return err_errno(e, -errno, "cannot go to the background");
        if (pid > 0) {
                (void)close(fds[1]); /* the child's */
                return wait_for_child(fds[0], pid, e);
        }
        (void)close(fds[0]); /* the parent's */
        parent = fds[1];
        to_background(data);
        return 0;
}

void daemon_say(const char *text)
{
        int fd = parent >= 0 ? parent : STDERR_FILENO;
        (void)io_write_full(fd, text, strlen(text)); /* the parent may be gone */
        if (!endswith(text, "\n"))
                (void)io_write_full(fd, "\n", 1);
}

static void tell_systemd(const char *state)
{
        const char *path = getenv("NOTIFY_SOCKET");
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        if (!path || strlen(path) >= sizeof a.sun_path)
                return;
        memcpy(a.sun_path, path, strlen(path));
        if (a.sun_path[0] == '@')
                a.sun_path[0] = 0;
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd >= 0)
                (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a,
                        (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                                    strlen(path))); /* nobody listens: fine */
}

void daemon_ready(void)
{
        char state[64];
        if (parent >= 0)
                daemon_say("=0");
        base_closep(&parent);
        parent = -EBADF;
        (void)snprintf(state, sizeof state, "READY=1\nMAINPID=%ld", (long)getpid()); /* fits */
        tell_systemd(state);
}

void daemon_failed(const struct err *e)
{
        if (parent < 0)
                return;
        _cleanup_buf_ struct buf b = BUF_INIT;
        buf_addf(&b, "=%d %s", e->code, e->text);
        daemon_say(buf_str(&b));
        base_closep(&parent);
        parent = -EBADF;
}
