#include "passthrough_internal.h"

#include "staging.h"

#include <fcntl.h>

static int set_mode(const struct inode *i, mode_t mode)
{
        char proc[PROC_PATH];
        passthrough_proc(i->fd, proc);
        return chmod(proc, mode) < 0 ? errno : 0;
}

static int set_size(const struct inode *i, off_t size, const struct fuse_file_info *fi)
{
        if (fi)
                return ftruncate(passthrough_fd(fi), size) < 0 ? errno : 0;
        char proc[PROC_PATH];
        passthrough_proc(i->fd, proc);
        return truncate(proc, size) < 0 ? errno : 0;
}

static struct timespec time_of(int to_set, int set, int now, struct timespec t)
{
        if (to_set & now)
                return (struct timespec){.tv_nsec = UTIME_NOW};
        return to_set & set ? t : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_times(const struct inode *i, const struct stat *a, int to_set)
{
        struct timespec tv[2] = {
                time_of(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, a->st_atim),
                time_of(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, a->st_mtim)};
        if (utimensat(i->fd, "", tv, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0)
                return 0;
        if (errno != EINVAL ||
                S_ISLNK(i->type)) /* kernels before 5.8 do not know AT_EMPTY_PATH here */
                return errno;
        char proc[PROC_PATH];
        passthrough_proc(i->fd, proc);
        return utimensat(AT_FDCWD, proc, tv, 0) < 0 ? errno : 0;
}

static int set_owner(const struct inode *i, const struct stat *a, int to_set)
{
        uid_t uid = to_set & FUSE_SET_ATTR_UID ? a->st_uid : (uid_t)-1;
        gid_t gid = to_set & FUSE_SET_ATTR_GID ? a->st_gid : (gid_t)-1;
        return fchownat(i->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
}

static int set_attributes(
        const struct inode *i, const struct stat *a, int to_set, const struct fuse_file_info *fi)
{
        int q = 0;
        if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
                q = set_owner(i, a, to_set);
        if (!q && to_set & FUSE_SET_ATTR_SIZE)
                q = set_size(i, a->st_size, fi);
        if (!q && to_set & FUSE_SET_ATTR_MODE)
                q = set_mode(i, a->st_mode & 07777);
        if (!q && to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
                                   FUSE_SET_ATTR_MTIME_NOW))
                q = set_times(i, a, to_set);
        return q;
}

void pt_setattr(
        fuse_req_t req, fuse_ino_t ino, struct stat *a, int to_set, struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        struct inode *i = passthrough_inode(m, ino);
        if (!passthrough_begin(req, i))
                return;
        int q = set_attributes(i, a, to_set, fi);
        staging_leave(m->staging);
        if (q)
                fuse_reply_err(req, q);
        else
                passthrough_reply_attr(req, i);
}
