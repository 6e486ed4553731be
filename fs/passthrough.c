#include "passthrough.h"

#include "creds.h"
#include "outside.h"
#include "passthrough_io.h"
#include "staging.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

struct inode *passthrough_inode(struct mount *m, fuse_ino_t ino)
{
        return ino == FUSE_ROOT_ID ? m->root : (struct inode *)ino;
}

fuse_ino_t passthrough_ino(const struct mount *m, const struct inode *i)
{
        return i == m->root ? FUSE_ROOT_ID : (fuse_ino_t)i;
}

void passthrough_proc(int fd, char out[PROC_PATH])
{
        (void)snprintf(out, PROC_PATH, "/proc/self/fd/%d", fd); /* fits */
}

int passthrough_may_change(const struct mount *m, const struct inode *i)
{
        if (i->view)
                return EROFS;
        return i->special || atomic_load(&i->generation) == atomic_load(&m->generation) ? 0
                                                                                        : ESTALE;
}

/* Begins a request that changes something: on success the freeze lock is held shared. */
int passthrough_enter(struct mount *m, const struct inode *i)
{
        staging_enter(m->staging);
        int q = passthrough_may_change(m, i);
        if (q)
                staging_leave(m->staging);
        return q;
}

static void leave(struct mount *m, fuse_req_t req, int q)
{
        staging_leave(m->staging);
        fuse_reply_err(req, q);
}

/* ---- looking ---- */

static int entry_of(struct mount *m, struct inode_found *f, struct fuse_entry_param *ret)
{
        *ret = (struct fuse_entry_param){.attr_timeout = f->view ? 1.0 : NODE_TIMEOUT,
                .entry_timeout = f->view ? 1.0 : NODE_TIMEOUT};
        /* A folder that is looked at may hold the own mountpoint: there it ends. */
        int q = f->view && outside_is_ours(m, f->fd) ? ENOENT : 0;
        if (!q && fstat(f->fd, &ret->attr) < 0)
                q = errno;
        if (q) {
                (void)close(f->fd); /* O_PATH */
                return q;
        }
        f->st = &ret->attr;
        f->ops = &passthrough_ops;
        struct inode *i = inode_get(m, f);
        if (!i)
                return ENOMEM;
        ret->ino = (fuse_ino_t)i;
        return 0;
}

/* The generation that what is opened below `dir` from now on belongs to. */
static unsigned generation_of(const struct mount *m, const struct inode *dir)
{
        return atomic_load(dir->special ? &m->generation : &dir->generation);
}

int passthrough_lookup(
        struct mount *m, struct inode *dir, const char *name, struct fuse_entry_param *ret)
{
        struct inode_found f = {.view = dir->view,
                .generation = generation_of(m, dir),
                .parent = passthrough_ino(m, dir),
                .name = name};
        f.fd = openat(dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        return f.fd < 0 ? errno : entry_of(m, &f, ret);
}

int passthrough_show(
        struct mount *m, int fd, const char *name, fuse_ino_t parent, struct fuse_entry_param *ret)
{
        struct inode_found f = {.fd = fd, .view = true, .parent = parent, .name = name};
        return entry_of(m, &f, ret);
}

int passthrough_view(struct mount *m, int dirfd, const char *name, fuse_ino_t parent,
        struct fuse_entry_param *ret)
{
        int fd = openat(dirfd, name, O_PATH | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? errno : passthrough_show(m, fd, name, parent, ret);
}

static void pt_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        struct mount *m = mount_of(req);
        struct fuse_entry_param e;
        int q = passthrough_lookup(m, passthrough_inode(m, parent), name, &e);
        if (q)
                fuse_reply_err(req, q);
        else
                fuse_reply_entry(req, &e);
}

static void pt_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
        struct mount *m = mount_of(req);
        inode_forget(m, passthrough_inode(m, ino), n);
        fuse_reply_none(req);
}

static int stat_inode(const struct inode *i, struct stat *st)
{
        if (fstatat(i->fd, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
                return errno;
        if (i->special)
                st->st_ino = NODE_ROOT_INO;
        return 0;
}

static void reply_attr(fuse_req_t req, const struct inode *i)
{
        struct stat st;
        int q = stat_inode(i, &st);
        if (q)
                fuse_reply_err(req, q);
        else
                fuse_reply_attr(req, &st, i->view ? 1.0 : NODE_TIMEOUT);
}

static void pt_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi _unused_)
{
        reply_attr(req, passthrough_inode(mount_of(req), ino));
}

static void pt_readlink(fuse_req_t req, fuse_ino_t ino)
{
        char text[PATH_MAX];
        ssize_t n =
                readlinkat(passthrough_inode(mount_of(req), ino)->fd, "", text, sizeof text - 1);
        if (n < 0) {
                fuse_reply_err(req, errno);
                return;
        }
        text[n] = 0;
        fuse_reply_readlink(req, text);
}

/* ---- changing attributes ---- */

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

static void pt_setattr(
        fuse_req_t req, fuse_ino_t ino, struct stat *a, int to_set, struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        struct inode *i = passthrough_inode(m, ino);
        int q = passthrough_enter(m, i);
        if (q) {
                fuse_reply_err(req, q);
                return;
        }
        q = set_attributes(i, a, to_set, fi);
        staging_leave(m->staging);
        if (q)
                fuse_reply_err(req, q);
        else
                reply_attr(req, i);
}

/* ---- making and removing ---- */

static void reply_lookup(
        fuse_req_t req, struct mount *m, struct inode *dir, const char *name, int q)
{
        struct fuse_entry_param e;
        if (!q)
                q = passthrough_lookup(m, dir, name, &e);
        staging_leave(m->staging);
        if (q)
                fuse_reply_err(req, q);
        else
                fuse_reply_entry(req, &e);
}

/* Litter that would be archived though its owner threw it away. GIO then offers to delete for good.
 */
static bool is_trash(const struct inode *dir, const char *name)
{
        return dir->special && startswith(name, ".Trash");
}

static void pt_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
        struct mount *m = mount_of(req);
        struct inode *dir = passthrough_inode(m, parent);
        int q = is_trash(dir, name) ? EPERM : passthrough_enter(m, dir);
        if (q) {
                fuse_reply_err(req, q);
                return;
        }
        struct creds c = creds_take(req);
        q = mkdirat(dir->fd, name, mode) < 0 ? errno : 0;
        creds_back(&c);
        reply_lookup(req, m, dir, name, q);
}

/* A device node is made with root's rights, which the kernel has checked, and then given to who
 * asked for it. A folder with the set-group-id bit has given it its group already. Giving away
 * takes bits of the mode. */
static int make_device(
        fuse_req_t req, const struct inode *dir, const char *name, mode_t mode, dev_t rdev)
{
        const struct fuse_ctx *ctx = fuse_req_ctx(req);
        struct stat st;
        if (fstat(dir->fd, &st) < 0 || mknodat(dir->fd, name, mode, rdev) < 0)
                return errno;
        gid_t gid = st.st_mode & S_ISGID ? st.st_gid : ctx->gid;
        if (ctx->uid == 0 && (gid == 0 || st.st_mode & S_ISGID))
                return 0;
        if (fchownat(dir->fd, name, ctx->uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
                fchmodat(dir->fd, name, mode & 07777, 0) < 0)
                return errno;
        return 0;
}

static void pt_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
        struct mount *m = mount_of(req);
        struct inode *dir = passthrough_inode(m, parent);
        int q = passthrough_enter(m, dir);
        if (q) {
                fuse_reply_err(req, q);
                return;
        }
        if (S_ISCHR(mode) || S_ISBLK(mode)) {
                q = make_device(req, dir, name, mode, rdev);
        } else {
                struct creds c = creds_take(req);
                q = mknodat(dir->fd, name, mode, rdev) < 0 ? errno : 0;
                creds_back(&c);
        }
        reply_lookup(req, m, dir, name, q);
}

static void pt_symlink(fuse_req_t req, const char *text, fuse_ino_t parent, const char *name)
{
        struct mount *m = mount_of(req);
        struct inode *dir = passthrough_inode(m, parent);
        int q = passthrough_enter(m, dir);
        if (q) {
                fuse_reply_err(req, q);
                return;
        }
        struct creds c = creds_take(req);
        q = symlinkat(text, dir->fd, name) < 0 ? errno : 0;
        creds_back(&c);
        reply_lookup(req, m, dir, name, q);
}

static void pt_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
        struct mount *m = mount_of(req);
        struct inode *i = passthrough_inode(m, ino), *dir = passthrough_inode(m, new_parent);
        int q = passthrough_enter(m, dir);
        if (q) {
                fuse_reply_err(req, q);
                return;
        }
        char proc[PROC_PATH];
        passthrough_proc(i->fd, proc);
        if ((q = passthrough_may_change(m, i)) == 0)
                q = linkat(AT_FDCWD, proc, dir->fd, new_name, AT_SYMLINK_FOLLOW) < 0 ? errno : 0;
        reply_lookup(req, m, dir, new_name, q);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
        struct mount *m = mount_of(req);
        struct inode *dir = passthrough_inode(m, parent);
        int q = passthrough_enter(m, dir);
        if (q) {
                fuse_reply_err(req, q);
                return;
        }
        leave(m, req, unlinkat(dir->fd, name, flags) < 0 ? errno : 0);
}

static void pt_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        remove_name(req, parent, name, 0);
}

static void pt_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        remove_name(req, parent, name, AT_REMOVEDIR);
}

static void note_name(struct mount *m, struct inode *dir, const char *name)
{
        struct stat st;
        if (fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                inode_renamed(m, st.st_dev, st.st_ino, passthrough_ino(m, dir), name);
}

static void pt_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
        const char *new_name, unsigned flags)
{
        struct mount *m = mount_of(req);
        struct inode *from = passthrough_inode(m, parent), *to = passthrough_inode(m, new_parent);
        int q = passthrough_enter(m, from);
        if (q) {
                fuse_reply_err(req, q);
                return;
        }
        if ((q = passthrough_may_change(m, to)) == 0 && is_trash(to, new_name))
                q = EPERM;
        if (q == 0 && renameat2(from->fd, name, to->fd, new_name, flags) < 0)
                q = errno;
        if (q == 0) {
                note_name(m, to, new_name);
                if (flags & RENAME_EXCHANGE)
                        note_name(m, from, name);
        }
        leave(m, req, q);
}

/* ---- extended attributes ---- */

/* ACLs are plainly not supported, not half; and of security.* the kernel asks before every write.
 */
static bool is_refused(const char *name)
{
        return startswith(name, "security.") || startswith(name, "system.posix_acl_");
}

static void pt_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
        if (is_refused(name)) {
                fuse_reply_err(req, startswith(name, "security.") ? ENODATA : EOPNOTSUPP);
                return;
        }
        char proc[PROC_PATH];
        passthrough_proc(passthrough_inode(mount_of(req), ino)->fd, proc);
        _cleanup_free_ char *value = size ? malloc(size) : NULL;
        ssize_t n = size && !value ? (errno = ENOMEM, -1) : getxattr(proc, name, value, size);
        if (n < 0)
                fuse_reply_err(req, errno);
        else if (size == 0)
                fuse_reply_xattr(req, (size_t)n);
        else
                fuse_reply_buf(req, value, (size_t)n);
}

static void pt_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
        char proc[PROC_PATH];
        passthrough_proc(passthrough_inode(mount_of(req), ino)->fd, proc);
        _cleanup_free_ char *all = malloc(XATTR_LIST_MAX);
        ssize_t n = all ? listxattr(proc, all, XATTR_LIST_MAX) : (errno = ENOMEM, -1);
        if (n < 0) {
                fuse_reply_err(req, errno);
                return;
        }
        bool root = fuse_req_ctx(req)->uid == 0;
        size_t kept = 0;
        for (char *p = all; p < all + n;) {
                size_t len = strlen(p) + 1;
                if (!is_refused(p) && (root || !startswith(p, "trusted."))) {
                        memmove(all + kept, p, len);
                        kept += len;
                }
                p += len;
        }
        if (size == 0)
                fuse_reply_xattr(req, kept);
        else if (kept > size)
                fuse_reply_err(req, ERANGE);
        else
                fuse_reply_buf(req, all, kept);
}

static void change_xattr(
        fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
        struct mount *m = mount_of(req);
        struct inode *i = passthrough_inode(m, ino);
        int q = is_refused(name) ? EOPNOTSUPP : passthrough_enter(m, i);
        if (q) {
                fuse_reply_err(req, q);
                return;
        }
        char proc[PROC_PATH];
        passthrough_proc(i->fd, proc);
        int r = value ? setxattr(proc, name, value, size, flags) : removexattr(proc, name);
        leave(m, req, r < 0 ? errno : 0);
}

static void pt_setxattr(
        fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
        change_xattr(req, ino, name, value ? value : "", size, flags);
}

static void pt_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
        change_xattr(req, ino, name, NULL, 0, 0);
}

static void pt_statfs(fuse_req_t req, fuse_ino_t ino _unused_)
{
        struct statvfs st;
        if (fstatvfs(mount_of(req)->root->fd, &st) < 0)
                fuse_reply_err(req, errno);
        else
                fuse_reply_statfs(req, &st);
}

const struct fuse_lowlevel_ops passthrough_ops = {
        .lookup = pt_lookup,
        .forget = pt_forget,
        .getattr = pt_getattr,
        .setattr = pt_setattr,
        .readlink = pt_readlink,
        .mknod = pt_mknod,
        .mkdir = pt_mkdir,
        .unlink = pt_unlink,
        .rmdir = pt_rmdir,
        .symlink = pt_symlink,
        .rename = pt_rename,
        .link = pt_link,
        .open = pt_open,
        .create = pt_create,
        .read = pt_read,
        .write_buf = pt_write_buf,
        .flush = pt_flush,
        .release = pt_release,
        .fsync = pt_fsync,
        .opendir = pt_opendir,
        .readdir = pt_readdir,
        .readdirplus = pt_readdirplus,
        .releasedir = pt_releasedir,
        .fsyncdir = pt_fsyncdir,
        .statfs = pt_statfs,
        .setxattr = pt_setxattr,
        .getxattr = pt_getxattr,
        .listxattr = pt_listxattr,
        .removexattr = pt_removexattr,
        .fallocate = pt_fallocate,
        .copy_file_range = pt_copy_file_range,
        .lseek = pt_lseek,
};
