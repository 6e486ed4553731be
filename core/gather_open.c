#include "gather_open.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>

#define GROUPS_MAX 256

/* glibc's setgroups() changes all threads; the system call changes this one. */
struct saved {
        bool active;
        int n_groups;
        gid_t groups[GROUPS_MAX];
        uid_t uid;
        gid_t gid;
};

static void leave(struct saved *s)
{
        if (!s->active)
                return;
        int kept = errno;
        (void)setfsuid(s->uid); /* going back to what the process is cannot be refused */
        (void)setfsgid(s->gid);
        (void)syscall(SYS_setgroups, s->n_groups, s->groups);
        errno = kept;
}

/* Drops the groups, then takes the ids. setfsuid() tells no error: it is asked what holds now. */
static int enter(const struct gather_ids *ids, struct saved *s)
{
        s->active = false;
        if (!ids->active)
                return 0;
        s->n_groups = getgroups(GROUPS_MAX, s->groups);
        if (s->n_groups < 0 || syscall(SYS_setgroups, 0, NULL) < 0)
                return -errno;
        s->active = true;
        s->gid = (gid_t)setfsgid(ids->gid);
        s->uid = (uid_t)setfsuid(ids->uid);
        bool taken =
                (gid_t)setfsgid((gid_t)-1) == ids->gid && (uid_t)setfsuid((uid_t)-1) == ids->uid;
        return taken ? 0 : -EPERM;
}

#define _as_owner_ _cleanup_(leave)

static int open_retry(int dirfd, const char *name, int flags)
{
        for (;;) {
                int fd = openat(dirfd, name, flags);
                if (fd >= 0 || errno != EINTR)
                        return fd >= 0 ? fd : -errno;
        }
}

int gather_open_at(
        const struct gather_ids *ids, int dirfd, const char *name, int flags, bool *noatime)
{
        _as_owner_ struct saved s;
        int r = enter(ids, &s);
        if (r < 0)
                return r;
        flags |= O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
        r = open_retry(dirfd, name, flags | (*noatime ? O_NOATIME : 0));
        if (r == -EPERM && *noatime) { /* only owner and root may read without a trace */
                *noatime = false;
                r = open_retry(dirfd, name, flags);
        }
        if (r == -EWOULDBLOCK) /* a lease, which only regular files have */
                r = open_retry(dirfd, name, flags & ~O_NONBLOCK);
        return r;
}

int gather_open_path(const struct gather_ids *ids, int dirfd, const char *name, int flags)
{
        _as_owner_ struct saved s;
        int r = enter(ids, &s);
        return r < 0 ? r : open_retry(dirfd, name, O_PATH | O_CLOEXEC | flags);
}

static void proc_path(int fd, char out[64])
{
        (void)snprintf(out, 64, "/proc/self/fd/%d", fd);
}

int gather_reopen(const struct gather_ids *ids, int fd, bool *noatime)
{
        char path[64];
        proc_path(fd, path);
        return gather_open_at(ids, AT_FDCWD, path, 0, noatime);
}

int gather_read_link(const struct gather_ids *ids, int dirfd, const char *name, char **ret)
{
        _as_owner_ struct saved s;
        int r = enter(ids, &s);
        if (r < 0)
                return r;
        char text[PATH_MAX + 1];
        ssize_t n = readlinkat(dirfd, name, text, sizeof text - 1);
        if (n < 0)
                return -errno;
        text[n] = 0;
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

int gather_stat_at(const struct gather_ids *ids, int dirfd, const char *name, struct stat *ret)
{
        _as_owner_ struct saved s;
        int r = enter(ids, &s);
        if (r < 0)
                return r;
        return fstatat(dirfd, name, ret, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int gather_chmod(int fd, mode_t mode)
{
        char path[64];
        proc_path(fd, path);
        return chmod(path, mode & 07777) < 0 ? -errno : 0;
}

char *gather_real_path(int fd)
{
        char path[64], text[PATH_MAX + 1];
        proc_path(fd, path);
        ssize_t n = readlink(path, text, sizeof text - 1);
        if (n <= 0 || text[0] != '/')
                return NULL;
        text[n] = 0;
        return strdup(text);
}
