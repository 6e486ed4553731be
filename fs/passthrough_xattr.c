#include "passthrough_internal.h"

#include "creds.h"
#include "staging.h"

#include <limits.h>
#include <linux/limits.h>
#include <sys/xattr.h>

#define ACL_ACCESS   "system.posix_acl_access"
#define ACL_DEFAULT  "system.posix_acl_default"
#define CAPABILITIES "security.capability"

/* ---- access control lists ----
 *
 * The filesystem below keeps them and gives them to what is made in a folder with a default one;
 * the kernel asks for them through us and judges by them. Where the disk keeps none there are none.
 */

bool passthrough_keeps_acls(const struct mount *m)
{
        char proc[PROC_PATH];
        passthrough_proc(m->root->fd, proc);
        return getxattr(proc, ACL_ACCESS, NULL, 0) >= 0 || errno == ENODATA;
}

static bool has_default_acl(const struct inode *dir)
{
        char proc[PROC_PATH];
        passthrough_proc(dir->fd, proc);
        return getxattr(proc, ACL_DEFAULT, NULL, 0) > 0;
}

mode_t passthrough_mode(fuse_req_t req, const struct inode *dir, mode_t mode)
{
        if (!mount_of(req)->acls) /* the kernel has seen to it */
                return mode;
        mode_t mask = fuse_req_ctx(req)->umask;
        return (mode & mask) == 0 || has_default_acl(dir) ? mode : mode & ~mask;
}

static bool is_acl(const char *name)
{
        return streq(name, ACL_ACCESS) || streq(name, ACL_DEFAULT);
}

/* ---- what is passed on ---- */

/* Labels and measurements belong to the machine. Capabilities are root's to give. Who may set what
 * begins with "system." the kernel leaves to the filesystem, and the disk below sees only us: but
 * for the ACLs, which the kernel judges, everybody could set what is another's. */
static bool is_refused(const struct mount *m, const char *name)
{
        if (startswith(name, "security."))
                return !(m->root_daemon && streq(name, CAPABILITIES));
        return startswith(name, "system.") && !(m->acls && is_acl(name));
}

static bool is_hidden(const struct mount *m, const struct fuse_ctx *ctx, const char *name)
{
        return is_refused(m, name) || (ctx->uid != 0 && startswith(name, "trusted."));
}

/* The kernel asks for capabilities before every write: that must not reach the disk. */
static bool is_known_absent(const struct inode *i, const char *name)
{
        return streq(name, CAPABILITIES) && atomic_load(&i->capabilities) == CAPABILITIES_NONE;
}

/* Not if some were given since it was looked. */
static void note_absent(struct inode *i)
{
        unsigned expected = CAPABILITIES_UNKNOWN;
        (void)atomic_compare_exchange_strong(&i->capabilities, &expected, CAPABILITIES_NONE);
}

void pt_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
        const struct mount *m = mount_of(req);
        struct inode *i = passthrough_inode(mount_of(req), ino);
        if (is_refused(m, name) || is_known_absent(i, name)) {
                fuse_reply_err(req, startswith(name, "security.") ? ENODATA : EOPNOTSUPP);
                return;
        }
        char proc[PROC_PATH];
        passthrough_proc(i->fd, proc);
        _cleanup_free_ char *value = size ? malloc(size) : NULL;
        ssize_t n = size && !value ? (errno = ENOMEM, -1) : getxattr(proc, name, value, size);
        if (n < 0 && errno == ENODATA && streq(name, CAPABILITIES))
                note_absent(i);
        if (n < 0)
                fuse_reply_err(req, errno);
        else if (size == 0)
                fuse_reply_xattr(req, (size_t)n);
        else
                fuse_reply_buf(req, value, (size_t)n);
}

void pt_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
        char proc[PROC_PATH];
        passthrough_proc(passthrough_inode(mount_of(req), ino)->fd, proc);
        _cleanup_free_ char *all = malloc(XATTR_LIST_MAX);
        ssize_t n = all ? listxattr(proc, all, XATTR_LIST_MAX) : (errno = ENOMEM, -1);
        if (n < 0) {
                fuse_reply_err(req, errno);
                return;
        }
        size_t kept = 0;
        for (char *p = all; p < all + n;) {
                size_t len = strlen(p) + 1;
                if (!is_hidden(mount_of(req), fuse_req_ctx(req), p)) {
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

/* Who gives an ACL to a file of a group that is not his takes its set-group-id bit away, unless
 * root does: so it is given as the caller. */
static int change(fuse_req_t req, struct inode *i, const char *name, const char *value, size_t size,
        int flags)
{
        char proc[PROC_PATH];
        passthrough_proc(i->fd, proc);
        if (streq(name, CAPABILITIES))
                atomic_store(&i->capabilities, CAPABILITIES_MAYBE);
        struct creds c = is_acl(name) ? creds_take(req) : (struct creds){0};
        int r = value ? setxattr(proc, name, value, size, flags) : removexattr(proc, name);
        int q = r < 0 ? errno : 0;
        creds_back(&c);
        return q;
}

static void change_xattr(
        fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
        struct mount *m = mount_of(req);
        struct inode *i = passthrough_inode(m, ino);
        int q = is_refused(m, name) ? EOPNOTSUPP : passthrough_enter(m, i);
        if (!q) {
                q = change(req, i, name, value, size, flags);
                staging_leave(m->staging);
        }
        fuse_reply_err(req, q);
}

void pt_setxattr(
        fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
        change_xattr(req, ino, name, value ? value : "", size, flags);
}

void pt_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
        change_xattr(req, ino, name, NULL, 0, 0);
}
