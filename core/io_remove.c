#include "io.h"

#include "descent.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

/* How many folders are open for their names: the innermost ones. Where the walk comes back to one
 * that was closed it is read from its beginning; what was removed is not met again. */
#define STREAMS 64u

struct removal {
        struct descent descent;
        DIR *streams[STREAMS]; /* of level n: n % STREAMS */
        struct buf names;      /* of the folders on the way down, each with its zero byte */
        dev_t dev;
        struct err *e;
};

static DIR **stream(struct removal *r)
{
        return &r->streams[r->descent.n % STREAMS];
}

static void close_stream(DIR **d)
{
        if (*d)
                (void)closedir(*d); /* only read */
        *d = NULL;
}

/* The name of the folder that the walk is in. */
static size_t last_name(const struct removal *r)
{
        size_t at = r->names.len - 1;
        while (at > 0 && r->names.data[at - 1] != 0)
                at--;
        return at;
}

/* Its owner may not read it, it seems: then he may by what chmod does. */
static int open_to_remove(int dirfd, const char *name)
{
        const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        struct stat st;
        int fd = openat(dirfd, name, flags);
        if (fd < 0 && errno == EACCES && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                S_ISDIR(st.st_mode) && fchmodat(dirfd, name, 0700, 0) == 0)
                fd = openat(dirfd, name, flags);
        return fd < 0 ? -errno : fd;
}

/* Goes into the folder. Missing is no error: 1. */
static int enter(struct removal *r, int dirfd, const char *name)
{
        _cleanup_close_ int fd = open_to_remove(dirfd, name);
        struct stat st;
        if (fd < 0)
                return fd == -ENOENT ? 1 : err_errno(r->e, fd, "cannot open %s", name);
        if (fstat(fd, &st) < 0)
                return err_errno(r->e, -errno, "cannot look at %s", name);
        if (st.st_dev != r->dev)
                return err_set(r->e, -EXDEV, "%s is another filesystem; not removed", name);
        if ((st.st_mode & 0700) != 0700)
                (void)fchmod(fd, 0700); /* if it matters, the removal of what it holds says so */
        buf_add(&r->names, name, strlen(name) + 1);
        int q = buf_oom(&r->names) ? -ENOMEM : descent_push(&r->descent, &fd);
        if (q < 0)
                return err_errno(r->e, q, "cannot enter %s", name);
        close_stream(stream(r));
        return 0;
}

/* Goes up, and removes what was left; dirfd: where the first folder stands. */
static int leave(struct removal *r, int dirfd)
{
        size_t at = last_name(r);
        const char *name = r->names.data + at;
        _cleanup_close_ int fd = -EBADF;
        close_stream(stream(r));
        int q = descent_pop(&r->descent, &fd);
        if (q < 0)
                return err_errno(r->e, q, "cannot go back from %s", name);
        int above = r->descent.n > 0 ? descent_fd(&r->descent) : dirfd;
        if (unlinkat(above, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return err_errno(r->e, -errno, "cannot remove %s", name);
        r->names.len = at;
        return 0;
}

static bool is_folder(int dirfd, const char *name)
{
        struct stat st;
        return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* Removes what is no folder, until there is one: that is entered (1). 0: the folder is empty. */
static int remove_files(struct removal *r, DIR *d)
{
        int dir = descent_fd(&r->descent);
        struct dirent *de;
        while ((errno = 0, de = readdir(d)) != NULL) {
                if (streq(de->d_name, ".") || streq(de->d_name, ".."))
                        continue;
                if (unlinkat(dir, de->d_name, 0) == 0 || errno == ENOENT)
                        continue;
                int q = -errno;
                if (q != -EISDIR && !(q == -EPERM && is_folder(dir, de->d_name)))
                        return err_errno(r->e, q, "cannot remove %s", de->d_name);
                q = enter(r, dir, de->d_name);
                if (q <= 0)
                        return q < 0 ? q : 1;
        }
        return errno ? err_errno(r->e, -errno, "cannot list %s", r->names.data + last_name(r)) : 0;
}

static int remove_folder(struct removal *r)
{
        DIR **d = stream(r);
        if (!*d) {
                int fd = openat(descent_fd(&r->descent), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                *d = fd < 0 ? NULL : fdopendir(fd);
                if (!*d) {
                        int q = -errno;
                        base_closep(&fd);
                        return err_errno(r->e, q, "cannot list %s", r->names.data + last_name(r));
                }
        }
        return remove_files(r, *d);
}

static int remove_all(struct removal *r, int dirfd, const char *name)
{
        int q = enter(r, dirfd, name);
        if (q != 0)
                return q < 0 ? q : 0;
        while (q >= 0 && r->descent.n > 0) {
                q = remove_folder(r);
                if (q == 0)
                        q = leave(r, dirfd);
        }
        return MIN(q, 0);
}

int io_remove_tree(int dirfd, const char *name, struct err *e)
{
        struct stat st;
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : err_errno(e, -errno, "cannot look at %s", name);
        if (!S_ISDIR(st.st_mode))
                return unlinkat(dirfd, name, 0) < 0 && errno != ENOENT
                               ? err_errno(e, -errno, "cannot remove %s", name)
                               : 0;
        struct removal r = {.descent = DESCENT_INIT, .names = BUF_INIT, .dev = st.st_dev, .e = e};
        int q = remove_all(&r, dirfd, name);
        for (size_t i = 0; i < STREAMS; i++)
                close_stream(&r.streams[i]);
        descent_done(&r.descent);
        buf_done(&r.names);
        return q;
}
