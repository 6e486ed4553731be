#include "mountd.h"

#include "buf.h"
#include "clock.h"
#include "io.h"
#include "own_mount.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <time.h>

#define LOOK_NS (CLOCK_NSEC / 20)

void mountd_done(struct mountd *m)
{
        free(m->mountpoint);
}

/* Looks without making the file or keeping the lock. */
static bool lock_is_held(const char *data)
{
        _cleanup_free_ char *path = io_join(data, "mount.lock");
        _cleanup_close_ int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        return fd >= 0 && fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

static int read_pid_file(const char *data, struct mountd *ret, struct err *e)
{
        _cleanup_free_ char *path = io_join(data, "mount.pid");
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (!path)
                return err_oom(e);
        int q = io_read_file(AT_FDCWD, path, 64 * KiB, &b, e);
        if (q < 0)
                return q;
        json_auto_t *o = json_loads(buf_str(&b), 0, NULL);
        const char *at = json_string_value(json_object_get(o, "mountpoint"));
        json_int_t pid = json_integer_value(json_object_get(o, "pid"));
        if (!at || pid <= 1 || pid > INT_MAX)
                return err_set(e, -EPROTO, "%s makes no sense", path);
        if (!(ret->mountpoint = strdup(at)))
                return err_oom(e);
        ret->pid = (pid_t)pid;
        return 0;
}

int mountd_find(const char *data, struct mountd *ret, struct err *e)
{
        *ret = (struct mountd){0};
        if (!lock_is_held(data))
                return 0;
        int q = read_pid_file(data, ret, e);
        return q == -ENOENT ? err_set(e, -EAGAIN, "a mount is just coming or going; try again") : q;
}

int mountd_find_dead(const char *data, char **ret, struct err *e)
{
        struct mountd m = {0};
        int q = lock_is_held(data) ? -ENOENT : read_pid_file(data, &m, e);
        bool dead = q == 0 && own_mount_is_on(m.mountpoint) && own_mount_is_dead(m.mountpoint);
        *ret = dead ? steal(m.mountpoint) : NULL;
        mountd_done(&m);
        return q == -ENOENT ? 0 : q;
}

static void nap(void)
{
        const struct timespec ts = {.tv_nsec = LOOK_NS};
        (void)nanosleep(&ts, NULL); /* looked at again anyway */
}

bool mountd_wait_gone(const char *data, unsigned seconds)
{
        int64_t until = clock_monotonic() + (int64_t)seconds * CLOCK_NSEC;
        while (lock_is_held(data)) {
                if (clock_monotonic() > until)
                        return false;
                nap();
        }
        return true;
}

bool mountd_is_ours(pid_t pid)
{
        char path[64], line[256];
        (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid); /* fits */
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        if (!f || !fgets(line, sizeof line, f))
                return false;
        /* "PID (NAME) STATE …"; one that nobody has waited for yet is dead, too */
        const char *name = strchr(line, '('), *end = strrchr(line, ')');
        return name && end && startswith(name + 1, "autoglacier") && end[1] == ' ' &&
               end[2] != 'Z' && end[2] != 'X';
}

bool mountd_wait_pid(pid_t pid, unsigned seconds)
{
        int64_t until = clock_monotonic() + (int64_t)seconds * CLOCK_NSEC;
        while (kill(pid, 0) == 0 && mountd_is_ours(pid)) {
                if (clock_monotonic() > until)
                        return false;
                nap();
        }
        return true;
}
