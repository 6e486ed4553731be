#include "passthrough_internal.h"

#include "creds.h"
#include "staging.h"

#include <fcntl.h>
#include <sys/stat.h>

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

void pt_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
        struct mount *m = mount_of(req);
        struct inode *dir = passthrough_inode(m, parent);
        int q = is_trash(dir, name) ? EPERM : passthrough_enter(m, dir);
        if (q) {
                fuse_reply_err(req, q);
                return;
        }
        mode = passthrough_mode(req, dir, mode);
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
        struct stat folder, made;
        if (fstat(dir->fd, &folder) < 0 || mknodat(dir->fd, name, mode, rdev) < 0 ||
                fstatat(dir->fd, name, &made, AT_SYMLINK_NOFOLLOW) < 0)
                return errno;
        gid_t gid = folder.st_mode & S_ISGID ? folder.st_gid : ctx->gid;
        if (ctx->uid == 0 && (gid == 0 || folder.st_mode & S_ISGID))
                return 0;
        if (fchownat(dir->fd, name, ctx->uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
                fchmodat(dir->fd, name, made.st_mode & 07777, 0) < 0)
                return errno;
        return 0;
}

void pt_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
        struct mount *m = mount_of(req);
        struct inode *dir = passthrough_inode(m, parent);
        if (!passthrough_begin(req, dir))
                return;
        mode = passthrough_mode(req, dir, mode);
        int q;
        if (S_ISCHR(mode) || S_ISBLK(mode)) {
                q = make_device(req, dir, name, mode, rdev);
        } else {
                struct creds c = creds_take(req);
                q = mknodat(dir->fd, name, mode, rdev) < 0 ? errno : 0;
                creds_back(&c);
        }
        reply_lookup(req, m, dir, name, q);
}

void pt_symlink(fuse_req_t req, const char *text, fuse_ino_t parent, const char *name)
{
        struct mount *m = mount_of(req);
        struct inode *dir = passthrough_inode(m, parent);
        if (!passthrough_begin(req, dir))
                return;
        struct creds c = creds_take(req);
        int q = symlinkat(text, dir->fd, name) < 0 ? errno : 0;
        creds_back(&c);
        reply_lookup(req, m, dir, name, q);
}

void pt_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
        struct mount *m = mount_of(req);
        struct inode *i = passthrough_inode(m, ino), *dir = passthrough_inode(m, new_parent);
        if (!passthrough_begin(req, dir))
                return;
        char proc[PROC_PATH];
        passthrough_proc(i->fd, proc);
        int q = passthrough_may_change(m, i);
        if (q == 0)
                q = linkat(AT_FDCWD, proc, dir->fd, new_name, AT_SYMLINK_FOLLOW) < 0 ? errno : 0;
        reply_lookup(req, m, dir, new_name, q);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
        struct mount *m = mount_of(req);
        struct inode *dir = passthrough_inode(m, parent);
        if (!passthrough_begin(req, dir))
                return;
        passthrough_leave(m, req, unlinkat(dir->fd, name, flags) < 0 ? errno : 0);
}

void pt_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        remove_name(req, parent, name, 0);
}

void pt_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        remove_name(req, parent, name, AT_REMOVEDIR);
}

static void note_name(struct mount *m, struct inode *dir, const char *name)
{
        struct stat st;
        if (fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                inode_renamed(m, st.st_dev, st.st_ino, passthrough_ino(m, dir), name);
}

void pt_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
        const char *new_name, unsigned flags)
{
        struct mount *m = mount_of(req);
        struct inode *from = passthrough_inode(m, parent), *to = passthrough_inode(m, new_parent);
        if (!passthrough_begin(req, from))
                return;
        int q = passthrough_may_change(m, to);
        if (q == 0 && is_trash(to, new_name))
                q = EPERM;
        if (q == 0 && renameat2(from->fd, name, to->fd, new_name, flags) < 0)
                q = errno;
        if (q == 0) {
                note_name(m, to, new_name);
                if (flags & RENAME_EXCHANGE)
                        note_name(m, from, name);
        }
        passthrough_leave(m, req, q);
}
