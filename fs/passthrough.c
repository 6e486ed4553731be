#include "passthrough.h"

#include "outside.h"
#include "passthrough_internal.h"
#include "staging.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/statvfs.h>

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

bool passthrough_current(const struct mount *m, const struct inode *i)
{
        return i->special || atomic_load(&i->generation) == atomic_load(&m->generation);
}

/* What has no name is in no tree: no commit has it, and who holds it open goes on with it. Without
 * a holder it is what a commit has removed, which the kernel has not forgotten yet. */
static bool is_held_unnamed(const struct inode *i)
{
        struct stat st;
        return atomic_load(&i->writers) > 0 && fstat(i->fd, &st) == 0 && st.st_nlink == 0;
}

int passthrough_may_change(const struct mount *m, const struct inode *i)
{
        if (i->view)
                return EROFS;
        return passthrough_current(m, i) || is_held_unnamed(i) ? 0 : ESTALE;
}

int passthrough_enter(struct mount *m, const struct inode *i)
{
        staging_enter(m->staging);
        int q = passthrough_may_change(m, i);
        if (q)
                staging_leave(m->staging);
        return q;
}

bool passthrough_begin(fuse_req_t req, const struct inode *i)
{
        int q = passthrough_enter(mount_of(req), i);
        if (q)
                fuse_reply_err(req, q);
        return q == 0;
}

void passthrough_leave(struct mount *m, fuse_req_t req, int q)
{
        staging_leave(m->staging);
        fuse_reply_err(req, q);
}

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

/* If another generation begins meanwhile, what was found may be of either. */
static int open_entry(
        struct mount *m, const struct inode *dir, const char *name, unsigned *ret_generation)
{
        for (;;) {
                *ret_generation = generation_of(m, dir);
                int fd = inode_open(m, dir->fd, name, O_PATH | O_NOFOLLOW, 0);
                if (generation_of(m, dir) == *ret_generation)
                        return fd;
                base_closep(&fd);
        }
}

int passthrough_lookup(
        struct mount *m, struct inode *dir, const char *name, struct fuse_entry_param *ret)
{
        struct inode_found f = {.view = dir->view, .parent = passthrough_ino(m, dir), .name = name};
        f.fd = open_entry(m, dir, name, &f.generation);
        return f.fd < 0 ? errno : entry_of(m, &f, ret);
}

int passthrough_unnamed(struct mount *m, struct inode *dir, int fd, struct fuse_entry_param *ret)
{
        struct inode_found f = {
                .generation = generation_of(m, dir), .parent = passthrough_ino(m, dir)};
        char proc[PROC_PATH];
        passthrough_proc(fd, proc);
        f.fd = inode_open(m, AT_FDCWD, proc, O_PATH, 0);
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
        int fd = inode_open(m, dirfd, name, O_PATH | O_NOFOLLOW, 0);
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

void passthrough_reply_attr(fuse_req_t req, const struct inode *i)
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
        passthrough_reply_attr(req, passthrough_inode(mount_of(req), ino));
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
