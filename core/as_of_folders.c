#include "as_of.h"

#include "catalog_version.h"
#include "clock.h"
#include "io.h"
#include "restore.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

struct folders {
        const struct restore_params *params;
        uint64_t *warnings;
        int root;
        struct err *e;
};

static int warn(struct folders *f, const char *path, const char *what)
{
        ++*f->warnings;
        if (f->params->warn)
                f->params->warn(f->params->ctx, path, what);
        return 0;
}

/* Follows no link on the way: something else may have come there meanwhile. */
static int open_below(const struct folders *f, const char *path)
{
        const struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
        int fd = (int)syscall(SYS_openat2, f->root, path, &how, sizeof how);
        return fd < 0 ? -errno : fd;
}

/* A folder that came back as one its owner may not change is opened up for the moment. */
static int make_in(int dir, const char *name)
{
        struct stat st;
        if (mkdirat(dir, name, 0700) == 0 || errno == EEXIST)
                return 0;
        if (errno != EACCES || fstat(dir, &st) < 0 || fchmod(dir, (st.st_mode & 07777) | 0300) < 0)
                return -errno;
        int q = mkdirat(dir, name, 0700) < 0 ? -errno : 0;
        return fchmod(dir, st.st_mode & 07777) < 0 && q == 0 ? -errno : q;
}

/* Each folder on the way, from the top; `path` is changed for the moment. */
static int make_path(struct folders *f, char *path)
{
        _cleanup_close_ int dir = open_below(f, ".");
        for (char *p = path; dir >= 0; p++) {
                char *end = strchrnul(p, '/'), kept = *end;
                *end = 0;
                int q = make_in(dir, p);
                base_closep(&dir);
                dir = q < 0 ? q : open_below(f, path);
                *end = kept;
                if (!kept)
                        break;
                p = end;
        }
        return MIN(dir, 0);
}

static int make(void *ctx, const char *base _unused_, const struct catalog_member *m)
{
        struct folders *f = ctx;
        _cleanup_close_ int there = open_below(f, m->path);
        if (there != -ENOENT)
                return 0;
        _cleanup_free_ char *path = strdup(m->path);
        if (!path)
                return err_oom(f->e);
        int q = make_path(f, path);
        if (q == -ENOSPC || q == -EDQUOT || q == -EROFS)
                return err_errno(f->e, q, "cannot make the folder %s", m->path);
        return q < 0 ? warn(f, m->path, "the folder could not be made") : 0;
}

/* As untar does: an ordinary user may hand it to a group he is in; rights of somebody else go. */
static mode_t set_owner(struct folders *f, int fd, const struct catalog_member *m)
{
        struct stat st;
        bool root = geteuid() == 0;
        if (fstat(fd, &st) < 0 || (st.st_uid == m->uid && st.st_gid == m->gid))
                return m->mode;
        if (root && fchown(fd, m->uid, m->gid) == 0)
                return m->mode;
        if (root)
                (void)warn(f, m->path, "its owner could not be set"); /* counted */
        else if (st.st_uid == m->uid && fchown(fd, (uid_t)-1, m->gid) == 0)
                return m->mode;
        return m->mode & ~(mode_t)(S_ISUID | S_ISGID);
}

/* Files have come into it since it was made. */
static int settle(void *ctx, const char *base _unused_, const struct catalog_member *m)
{
        struct folders *f = ctx;
        _cleanup_close_ int fd = open_below(f, m->path);
        if (fd < 0)
                return 0; /* without rights for its owner it is as it was; or it was told of */
        mode_t mode = set_owner(f, fd, m);
        const struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, clock_timespec(m->mtime)};
        if (futimens(fd, t) < 0)
                (void)warn(f, m->path, "its time could not be set"); /* counted */
        return fchmod(fd, mode) < 0 ? warn(f, m->path, "its mode could not be set") : 0;
}

int as_of_folders(
        struct catalog *c, const struct restore_params *params, uint64_t *warnings, struct err *e)
{
        int q = io_mkdir_p(params->to, 0700, e);
        if (q < 0)
                return q;
        _cleanup_close_ int root = open(params->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return err_errno(e, -errno, "cannot open %s", params->to);
        struct folders f = {.params = params, .warnings = warnings, .root = root, .e = e};
        q = catalog_asof_folders(c, false, make, &f, e);
        return q < 0 ? q : catalog_asof_folders(c, true, settle, &f, e);
}
