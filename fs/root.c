#include "root.h"

#include "engine.h"
#include "notifier.h"
#include "passthrough.h"
#include "staging.h"
#include "virtual.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

struct fuse_lowlevel_ops root_ops;

static const char *const reserved[] = {".commit", ".status", "archives", "jobs", ".autoglacier"};

bool root_is_reserved(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
                if (streq(name, reserved[i]))
                        return true;
        return false;
}

const char *root_extra(struct mount *m, size_t k, struct stat *ret)
{
        return virtual_root_entry(m, k, ret);
}

/* Filesystems on a disk tell all in write and fsync. Those of a network, and any that we do not
 * know, may keep it for close. */
static bool may_tell_at_close(int fd)
{
        static const uint32_t quiet[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                TMPFS_MAGIC, F2FS_SUPER_MAGIC};
        struct statfs st;
        if (fstatfs(fd, &st) < 0)
                return true;
        for (size_t i = 0; i < ARRAY_SIZE(quiet); i++)
                if ((uint32_t)st.f_type == quiet[i])
                        return false;
        return true;
}

int root_open(struct mount *m, struct err *e)
{
        int fd;
        int q = staging_open_current(m->staging, &fd, e);
        if (q < 0)
                return q;
        if (!m->root) {
                m->root = calloc(1, sizeof *m->root);
                if (!m->root) {
                        (void)close(fd); /* only read */
                        return err_oom(e);
                }
                *m->root = (struct inode){
                        .node.ops = &root_ops, .fd = fd, .type = S_IFDIR, .special = true};
                m->tells_at_close = may_tell_at_close(fd);
                return 0;
        }
        /* The same number, another folder: a request that still uses the old one finds it frozen.
         */
        q = dup3(fd, m->root->fd, O_CLOEXEC) < 0
                    ? err_errno(e, -errno, "cannot open the new staging area")
                    : 0;
        (void)close(fd); /* only read */
        return q;
}

void root_frozen(struct mount *m)
{
        struct err e = {0};
        if (root_open(m, &e) < 0)
                fuse_session_exit(
                        m->session); /* without its top folder nothing could be right any more */
        /* Afterwards: a lookup in between finds nothing, since nothing is there yet, and one that
         * began before looks again. The other way round something frozen would be taken for new. */
        atomic_fetch_add(&m->generation, 1);
        notifier_forget_all(m->notifier);
}

/* ---- operations ---- */

static bool is_on_disk(const struct mount *m, const char *name)
{
        struct stat st;
        return fstatat(m->root->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The notifier removes what a freeze has taken away already: only the event counts. Whatever is
 * there by now is new, and not its business. */
static void lookup_gone(fuse_req_t req, const char *name)
{
        struct mount *m = mount_of(req);
        struct fuse_entry_param e;
        int q = is_on_disk(m, name) ? ENOENT : virtual_gone(m, &e);
        if (q)
                fuse_reply_err(req, q);
        else
                fuse_reply_entry(req, &e);
}

static void root_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        if (!root_is_reserved(name) && notifier_asks(mount_of(req)->notifier, req)) {
                lookup_gone(req, name);
                return;
        }
        if (!root_is_reserved(name)) {
                passthrough_ops.lookup(req, parent, name);
                return;
        }
        struct fuse_entry_param e;
        int q = virtual_root_lookup(mount_of(req), name, &e);
        if (q)
                fuse_reply_err(req, q);
        else
                fuse_reply_entry(req, &e);
}

static void root_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
        if (root_is_reserved(name))
                fuse_reply_err(req, EPERM);
        else
                passthrough_ops.mkdir(req, parent, name, mode);
}

static void root_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
        if (root_is_reserved(name))
                fuse_reply_err(req, EPERM);
        else
                passthrough_ops.mknod(req, parent, name, mode, rdev);
}

static void root_symlink(fuse_req_t req, const char *text, fuse_ino_t parent, const char *name)
{
        if (root_is_reserved(name))
                fuse_reply_err(req, EPERM);
        else
                passthrough_ops.symlink(req, text, parent, name);
}

static void root_create(
        fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
        if (streq(name, ".commit"))
                virtual_create_commit(req, fi);
        else if (root_is_reserved(name))
                fuse_reply_err(req, EPERM);
        else
                passthrough_ops.create(req, parent, name, mode, fi);
}

static void root_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        if (streq(name, ".commit")) {
                virtual_hide_commit(mount_of(req));
                fuse_reply_err(req, 0);
        } else if (root_is_reserved(name)) {
                fuse_reply_err(req, EPERM);
        } else if (notifier_asks(mount_of(req)->notifier, req)) {
                fuse_reply_err(req, is_on_disk(mount_of(req), name) ? ENOENT : 0);
        } else {
                passthrough_ops.unlink(req, parent, name);
        }
}

static void root_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        if (root_is_reserved(name))
                fuse_reply_err(req, EPERM);
        else
                passthrough_ops.rmdir(req, parent, name);
}

/* Also called for renames that begin elsewhere and end here: see dispatch.c. */
static void root_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
        const char *new_name, unsigned flags)
{
        bool from = parent == FUSE_ROOT_ID && root_is_reserved(name);
        bool to = new_parent == FUSE_ROOT_ID && root_is_reserved(new_name);
        if (from || (to && (!streq(new_name, ".commit") || flags & RENAME_EXCHANGE)))
                fuse_reply_err(req, EPERM);
        else if (to && flags & RENAME_NOREPLACE)
                fuse_reply_err(req, EEXIST);
        else if (to)
                virtual_rename_commit(req, parent, name);
        else
                passthrough_ops.rename(req, parent, name, new_parent, new_name, flags);
}

static void root_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
        if (new_parent == FUSE_ROOT_ID && root_is_reserved(new_name))
                fuse_reply_err(req, EPERM);
        else
                passthrough_ops.link(req, ino, new_parent, new_name);
}

void root_init(void)
{
        root_ops = passthrough_ops;
        root_ops.lookup = root_lookup;
        root_ops.mkdir = root_mkdir;
        root_ops.mknod = root_mknod;
        root_ops.symlink = root_symlink;
        root_ops.create = root_create;
        root_ops.unlink = root_unlink;
        root_ops.rmdir = root_rmdir;
        root_ops.rename = root_rename;
        root_ops.link = root_link;
}
