#include "virtual_internal.h"

#include "clock.h"
#include "creds.h"
#include "engine.h"
#include "io.h"
#include "notifier.h"
#include "outside.h"
#include "passthrough.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/statvfs.h>

/* ---- entries ---- */

static int entry(struct mount *m, enum vkind kind, const struct catalog_archive *a,
        const struct catalog_member *mem, struct fuse_entry_param *ret)
{
        struct vnode *v = vnode_get(m->vtree, kind, a, mem);
        if (!v)
                return ENOMEM;
        bool fixed = kind == V_MEMBER;
        *ret = (struct fuse_entry_param){.ino = (fuse_ino_t)v,
                .attr_timeout = fixed ? NODE_TIMEOUT : 0,
                .entry_timeout = fixed ? 1.0 : 0};
        int q = content_attr(m, v, &ret->attr, NULL);
        if (q < 0)
                vnode_forget(m->vtree, v, 1);
        return -q;
}

static const struct {
        const char *name;
        enum vkind kind;
} in_root[] = {
        {".commit", V_COMMIT},
        {".status", V_STATUS},
        {"archives", V_ARCHIVES},
        {"jobs", V_JOBS},
};

static bool commit_is_hidden(struct mount *m)
{
        pthread_mutex_lock(&m->vtree->lock);
        bool hidden = m->vtree->hidden_until > clock_monotonic();
        pthread_mutex_unlock(&m->vtree->lock);
        return hidden;
}

const char *virtual_root_entry(struct mount *m _unused_, size_t k, struct stat *ret)
{
        if (k >= ARRAY_SIZE(in_root))
                return NULL;
        *ret = (struct stat){.st_ino = vnode_number(in_root[k].kind, 0, 0),
                .st_mode = vkind_mode(in_root[k].kind)};
        return in_root[k].name;
}

int virtual_root_lookup(struct mount *m, const char *name, struct fuse_entry_param *ret)
{
        for (size_t i = 0; i < ARRAY_SIZE(in_root); i++) {
                if (!streq(name, in_root[i].name))
                        continue;
                if (in_root[i].kind == V_COMMIT && commit_is_hidden(m))
                        return ENOENT;
                return entry(m, in_root[i].kind, NULL, NULL, ret);
        }
        return ENOENT;
}

int virtual_gone(struct mount *m, struct fuse_entry_param *ret)
{
        int q = entry(m, V_GONE, NULL, NULL, ret);
        if (!q)
                ret->attr.st_nlink = 2; /* removing a name never takes the last one */
        return q;
}

/* ---- lookup ---- */

static int lookup_archive(struct mount *m, const char *name, struct fuse_entry_param *ret)
{
        if (streq(name, "STATUS.txt"))
                return entry(m, V_STATUS_TXT, NULL, NULL, ret);
        struct catalog *c = vtree_catalog(m->vtree, NULL);
        if (!c)
                return EIO;
        struct catalog_archive a = {0};
        int q = -catalog_archive_get_name(c, name, &a, NULL);
        vtree_give(m->vtree, &c);
        if (q == 0)
                q = a.state == ARCHIVE_DELETED ? ENOENT : entry(m, V_ARCHIVE, &a, NULL, ret);
        catalog_archive_done(&a);
        return q;
}

/* Fields that a node takes from its archive. */
static struct catalog_archive archive_of(const struct vnode *v)
{
        return (struct catalog_archive){.row = v->archive, .id = v->id, .name = v->name};
}

static int lookup_in_archive(
        struct mount *m, const struct vnode *v, const char *name, struct fuse_entry_param *ret)
{
        struct catalog_archive a = archive_of(v);
        enum vkind kind;
        const char *n;
        for (size_t k = 0; (n = archive_entry(k, &kind)) != NULL; k++)
                if (streq(n, name))
                        return entry(m, kind, &a, NULL, ret);
        return ENOENT;
}

static int job_node(
        struct mount *m, enum vkind kind, const char *name, struct fuse_entry_param *ret)
{
        struct vnode *v = vnode_get_job(m->vtree, kind, name);
        if (!v)
                return ENOMEM;
        *ret = (struct fuse_entry_param){.ino = (fuse_ino_t)v};
        int q = content_attr(m, v, &ret->attr, NULL);
        if (q < 0)
                vnode_forget(m->vtree, v, 1);
        return -q;
}

static int lookup_job(struct mount *m, const char *name, struct fuse_entry_param *ret)
{
        return job_exists(m, name) ? job_node(m, V_JOB, name, ret) : ENOENT;
}

static int lookup_in_job(
        struct mount *m, const struct vnode *v, const char *name, struct fuse_entry_param *ret)
{
        enum vkind kind;
        const char *n;
        for (size_t k = 0; (n = job_entry(k, &kind)) != NULL; k++)
                if (streq(n, name))
                        return job_node(m, kind, v->name, ret);
        return ENOENT;
}

struct found {
        struct mount *m;
        const struct vnode *v;
        struct fuse_entry_param *ret;
};

static int found_member(void *ctx, const struct catalog_member *mem)
{
        const struct found *f = ctx;
        struct catalog_archive a = archive_of(f->v);
        return -entry(f->m, V_MEMBER, &a, mem, f->ret);
}

static int found_state(void *ctx, const char *base, const struct catalog_member *mem)
{
        const struct found *f = ctx;
        struct catalog_archive a = archive_of(f->v);
        if (streq(base, a.id))
                return found_member(ctx, mem);
        struct vnode *v = vnode_get_elsewhere(f->m->vtree, &a, base, mem);
        if (!v)
                return -ENOMEM;
        *f->ret = (struct fuse_entry_param){.ino = (fuse_ino_t)v,
                .attr = v->st,
                .attr_timeout = NODE_TIMEOUT,
                .entry_timeout = 1.0};
        return 0;
}

static int lookup_member(
        struct mount *m, const struct vnode *v, const char *name, struct fuse_entry_param *ret)
{
        struct catalog *c = vtree_catalog(m->vtree, NULL);
        if (!c)
                return EIO;
        struct found f = {m, v, ret};
        int q = state_spans(c, v)
                        ? state_lookup(c, v, name, found_state, &f)
                        : catalog_member_lookup(c, v->id, v->member, name, found_member, &f, NULL);
        vtree_give(m->vtree, &c);
        return -q;
}

static bool inside(const char *path, const char *folder)
{
        const char *rest = *folder ? startswith(path, folder) : NULL;
        return rest && (*rest == '/' || *rest == 0);
}

/* A link at the top of a frozen tree stands for its target, looked at with its owner's rights; one
 * that leads into this mount is shown as the link it is. */
static int lookup_link(struct mount *m, const struct vnode *v, int tree, const char *name,
        const struct stat *st, const char *mountpoint, struct fuse_entry_param *ret)
{
        char text[PATH_MAX];
        ssize_t n = readlinkat(tree, name, text, sizeof text - 1);
        if (n < 0)
                return errno;
        text[n] = 0;
        _cleanup_free_ char *target = text[0] == '/' ? strdup(text) : io_join(mountpoint, text);
        if (!target)
                return ENOMEM;
        if (inside(target, mountpoint) || inside(target, m->mountpoint))
                return passthrough_view(m, tree, name, (fuse_ino_t)v, ret);
        int fd;
        struct creds c = creds_take_ids(m, st->st_uid, st->st_gid);
        int q = outside_open(m, target, &fd);
        creds_back(&c);
        if (q == 0)
                return passthrough_show(m, fd, name, (fuse_ino_t)v, ret);
        return q == ENOENT || q == ELOOP ? passthrough_view(m, tree, name, (fuse_ino_t)v, ret) : q;
}

static int lookup_files(
        struct mount *m, const struct vnode *v, const char *name, struct fuse_entry_param *ret)
{
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *mountpoint = NULL;
        if (!files_frozen(m, v, &fd, &mountpoint))
                return lookup_member(m, v, name, ret);
        struct stat st;
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno;
        if (S_ISLNK(st.st_mode))
                return lookup_link(m, v, fd, name, &st, mountpoint, ret);
        return passthrough_view(m, fd, name, (fuse_ino_t)v, ret);
}

static void vt_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        struct mount *m = mount_of(req);
        const struct vnode *v = vnode_of(parent);
        struct fuse_entry_param e;
        if (v->kind == V_ARCHIVES && notifier_makes(m->notifier, req, name)) {
                fuse_reply_err(req, ENOENT); /* or it could not be made */
                return;
        }
        int q = v->kind == V_ARCHIVES  ? lookup_archive(m, name, &e)
                : v->kind == V_ARCHIVE ? lookup_in_archive(m, v, name, &e)
                : v->kind == V_FILES   ? lookup_files(m, v, name, &e)
                : v->kind == V_JOBS    ? lookup_job(m, name, &e)
                : v->kind == V_JOB     ? lookup_in_job(m, v, name, &e)
                : v->kind == V_MEMBER  ? lookup_member(m, v, name, &e)
                                       : ENOENT;
        if (q)
                fuse_reply_err(req, q);
        else
                fuse_reply_entry(req, &e);
}

static void vt_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
        vnode_forget(mount_of(req)->vtree, vnode_of(ino), n);
        fuse_reply_none(req);
}

/* ---- attributes ---- */

static void vt_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi _unused_)
{
        struct stat st;
        const struct vnode *v = vnode_of(ino);
        int q = content_attr(mount_of(req), v, &st, NULL);
        if (v->kind == V_ARCHIVES && notifier_makes(mount_of(req)->notifier, req, NULL))
                st.st_mode |= S_IWUSR;
        if (q < 0)
                fuse_reply_err(req, -q);
        else
                fuse_reply_attr(req, &st, v->kind == V_MEMBER ? NODE_TIMEOUT : 0);
}

/* Truncating and touching are part of how shells and editors write; touching refreshes windows. */
static void vt_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *a _unused_, int to_set,
        struct fuse_file_info *fi)
{
        const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
                          FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_CTIME;
        enum vkind k = vnode_of(ino)->kind;
        bool control = k == V_COMMIT || k == V_RETRY || k == V_ABORT || k == V_RESTORE ||
                       k == V_JOB_COMMIT;
        if (!control && (k == V_MEMBER || to_set & ~times))
                fuse_reply_err(req, EROFS);
        else
                vt_getattr(req, ino, fi);
}

static void vt_readlink(fuse_req_t req, fuse_ino_t ino)
{
        const struct vnode *v = vnode_of(ino);
        _cleanup_free_ char *text = v->link ? strdup(v->link) : NULL; /* v may go with the answer */
        if (text)
                fuse_reply_readlink(req, text);
        else
                fuse_reply_err(req, EINVAL);
}

static void vt_getxattr(
        fuse_req_t req, fuse_ino_t ino _unused_, const char *name, size_t size _unused_)
{
        bool none = startswith(name, "system.posix_acl_") && !mount_of(req)->acls;
        fuse_reply_err(req, none ? EOPNOTSUPP : ENODATA);
}

static void vt_listxattr(fuse_req_t req, fuse_ino_t ino _unused_, size_t size)
{
        if (size == 0)
                fuse_reply_xattr(req, 0);
        else
                fuse_reply_buf(req, NULL, 0);
}

static void vt_setxattr(fuse_req_t req, fuse_ino_t ino _unused_, const char *name _unused_,
        const char *value _unused_, size_t size _unused_, int flags _unused_)
{
        fuse_reply_err(req, EOPNOTSUPP);
}

static void vt_removexattr(fuse_req_t req, fuse_ino_t ino _unused_, const char *name _unused_)
{
        fuse_reply_err(req, EOPNOTSUPP);
}

static void vt_statfs(fuse_req_t req, fuse_ino_t ino _unused_)
{
        struct statvfs st;
        if (fstatvfs(mount_of(req)->root->fd, &st) < 0)
                fuse_reply_err(req, errno);
        else
                fuse_reply_statfs(req, &st);
}

/* ---- nothing is made or removed here ---- */

/* The notifier's way to tell windows of an archive that is there. */
static void vt_mkdir(fuse_req_t req, fuse_ino_t p _unused_, const char *n, mode_t mode _unused_)
{
        struct mount *m = mount_of(req);
        struct fuse_entry_param e;
        int q = notifier_makes(m->notifier, req, n) ? lookup_archive(m, n, &e) : EROFS;
        if (q)
                fuse_reply_err(req, q);
        else
                fuse_reply_entry(req, &e);
}

static void vt_mknod(fuse_req_t req, fuse_ino_t p _unused_, const char *n _unused_,
        mode_t mode _unused_, dev_t d _unused_)
{
        fuse_reply_err(req, EROFS);
}

static void vt_symlink(
        fuse_req_t req, const char *text _unused_, fuse_ino_t p _unused_, const char *n _unused_)
{
        fuse_reply_err(req, EROFS);
}

static void vt_remove(fuse_req_t req, fuse_ino_t p _unused_, const char *n _unused_)
{
        fuse_reply_err(req, EROFS);
}

static void vt_create(fuse_req_t req, fuse_ino_t p _unused_, const char *n _unused_,
        mode_t mode _unused_, struct fuse_file_info *fi _unused_)
{
        fuse_reply_err(req, EROFS);
}

static void vt_rename(fuse_req_t req, fuse_ino_t p _unused_, const char *n _unused_,
        fuse_ino_t np _unused_, const char *nn _unused_, unsigned flags _unused_)
{
        fuse_reply_err(req, EROFS);
}

static void vt_link(
        fuse_req_t req, fuse_ino_t ino _unused_, fuse_ino_t p _unused_, const char *n _unused_)
{
        fuse_reply_err(req, EPERM);
}

const struct fuse_lowlevel_ops virtual_ops = {
        .lookup = vt_lookup,
        .forget = vt_forget,
        .getattr = vt_getattr,
        .setattr = vt_setattr,
        .readlink = vt_readlink,
        .mknod = vt_mknod,
        .mkdir = vt_mkdir,
        .unlink = vt_remove,
        .rmdir = vt_remove,
        .symlink = vt_symlink,
        .rename = vt_rename,
        .link = vt_link,
        .create = vt_create,
        .open = vt_open,
        .read = vt_read,
        .write = vt_write,
        .flush = vt_flush,
        .release = vt_release,
        .fsync = vt_fsync,
        .opendir = vt_opendir,
        .readdir = vt_readdir,
        .readdirplus = vt_readdirplus,
        .releasedir = vt_releasedir,
        .statfs = vt_statfs,
        .setxattr = vt_setxattr,
        .getxattr = vt_getxattr,
        .listxattr = vt_listxattr,
        .removexattr = vt_removexattr,
};

/* Once, when it is new. */
static void announce(struct mount *m, const struct catalog_archive *a)
{
        pthread_mutex_lock(&m->vtree->lock);
        bool new = a->row > m->vtree->announced;
        if (new)
                m->vtree->announced = a->row;
        pthread_mutex_unlock(&m->vtree->lock);
        if (new)
                notifier_appeared(m->notifier, a->name);
}

void virtual_changed(void *ctx, const char *id)
{
        struct mount *m = ctx;
        pthread_mutex_lock(&m->vtree->lock);
        m->vtree->changed = clock_now();
        pthread_mutex_unlock(&m->vtree->lock);
        struct catalog *c = vtree_catalog(m->vtree, NULL);
        if (!c)
                return;
        struct catalog_archive a = {0};
        if (catalog_archive_get(c, id, &a, NULL) == 0) {
                announce(m, &a);
                _cleanup_free_ char *path = NULL;
                if (asprintf(&path, "archives/%s/state", a.name) < 0)
                        path = NULL;
                else
                        notifier_touch(m->notifier, path);
        }
        catalog_archive_done(&a);
        vtree_give(m->vtree, &c);
        notifier_touch(m->notifier, "archives");
        notifier_touch(m->notifier, ".status");
}
