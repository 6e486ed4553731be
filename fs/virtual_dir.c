#include "virtual_internal.h"

#include "engine.h"
#include "staging.h"

#include <dirent.h>
#include <fcntl.h>

/* A listing is made when the folder is opened and stays as it is: names one after the other. */
struct vdir {
        struct handle_link link;
        struct buf names; /* each: inode number (8 bytes), type (1 byte), name, zero byte */
        size_t n;
        off_t at; /* entry number of `pos` */
        size_t pos;
};

static void add(struct vdir *d, const char *name, uint64_t ino, mode_t mode)
{
        unsigned char type = (unsigned char)IFTODT(mode);
        buf_add(&d->names, &ino, sizeof ino);
        buf_add(&d->names, &type, 1);
        buf_add(&d->names, name, strlen(name) + 1);
        d->n++;
}

static const struct {
        const char *name;
        enum vkind kind;
} in_archive[] = {
        {"description", V_DESCRIPTION},
        {"state", V_STATE},
        {"info.json", V_INFO},
        {"SHA512SUMS", V_SUMS},
        {"log", V_LOG},
        {"files", V_FILES},
        {".restore", V_RESTORE},
        {".retry", V_RETRY},
        {".abort", V_ABORT},
};

const char *archive_entry(size_t k, enum vkind *ret)
{
        if (k >= ARRAY_SIZE(in_archive))
                return NULL;
        *ret = in_archive[k].kind;
        return in_archive[k].name;
}

static int add_archive(void *ctx, const struct catalog_archive *a)
{
        if (a->state != ARCHIVE_DELETED)
                add(ctx, a->name, vnode_number(V_ARCHIVE, a->row, 0), S_IFDIR);
        return 0;
}

static int add_member(void *ctx, const struct catalog_member *m)
{
        struct stat st;
        content_member_stat(m, &st);
        add(ctx, m->name, st.st_ino, st.st_mode);
        return 0;
}

struct listing {
        struct vdir *d;
        const struct vnode *v;
};

static int add_state(void *ctx, const char *base, const struct catalog_member *m)
{
        const struct listing *l = ctx;
        struct stat st;
        content_member_stat(m, &st);
        if (!streq(base, l->v->id))
                st.st_ino = vnode_number_elsewhere(l->v->archive, m->row);
        add(l->d, m->name, st.st_ino, st.st_mode);
        return 0;
}

static int add_job(void *ctx, const char *name, struct err *e _unused_)
{
        add(ctx, name, vnode_number(V_JOB, (int64_t)job_number(name), 0), S_IFDIR);
        return 0;
}

static void list_job(const struct vnode *v, struct vdir *d)
{
        enum vkind kind;
        const char *name;
        for (size_t k = 0; (name = job_entry(k, &kind)) != NULL; k++)
                add(d, name, vnode_number(kind, v->archive, 0), vkind_mode(kind));
}

bool files_frozen(struct mount *m, const struct vnode *v, int *ret_fd, char **ret_mountpoint)
{
        struct catalog *c = vtree_catalog(m->vtree, NULL);
        if (!c)
                return false;
        struct catalog_archive a = {0};
        bool frozen = catalog_archive_get(c, v->id, &a, NULL) == 0 && a.has_tree && !a.released &&
                      !archive_is_stored(a.state) &&
                      staging_open_frozen(m->staging, a.id, ret_fd, NULL) == 0;
        if (frozen && ret_mountpoint && !(*ret_mountpoint = strdup(a.mountpoint))) {
                base_closep(ret_fd);
                frozen = false;
        }
        catalog_archive_done(&a);
        vtree_give(m->vtree, &c);
        return frozen;
}

/* Takes the descriptor. */
static int list_frozen(struct vdir *d, int fd)
{
        DIR *dir = fdopendir(fd);
        if (!dir) {
                int q = -errno;
                (void)close(fd); /* only read */
                return q;
        }
        struct dirent *de;
        while ((de = readdir(dir)) != NULL)
                if (!streq(de->d_name, ".") && !streq(de->d_name, ".."))
                        add(d, de->d_name, de->d_ino, (mode_t)DTTOIF(de->d_type));
        (void)closedir(dir); /* only read */
        return 0;
}

static int list_files(struct mount *m, const struct vnode *v, struct vdir *d)
{
        int fd = -EBADF;
        if (v->kind == V_FILES && files_frozen(m, v, &fd, NULL))
                return list_frozen(d, fd);
        struct catalog *c = vtree_catalog(m->vtree, NULL);
        if (!c)
                return -EIO;
        struct listing l = {d, v};
        int q = state_spans(c, v)
                        ? state_list(c, v, add_state, &l)
                        : catalog_member_children(c, v->id, v->member, add_member, d, NULL);
        vtree_give(m->vtree, &c);
        return q;
}

static int list_archives(struct mount *m, struct vdir *d)
{
        struct catalog *c = vtree_catalog(m->vtree, NULL);
        if (!c)
                return -EIO;
        add(d, "STATUS.txt", vnode_number(V_STATUS_TXT, 0, 0), S_IFREG);
        int q = catalog_archive_each(c, add_archive, d, NULL);
        vtree_give(m->vtree, &c);
        return q;
}

static int fill(struct mount *m, const struct vnode *v, struct vdir *d)
{
        uint64_t self = v->kind == V_MEMBER ? v->st.st_ino : vnode_number(v->kind, v->archive, 0);
        add(d, ".", self, S_IFDIR);
        add(d, "..", NODE_ROOT_INO, S_IFDIR);
        switch (v->kind) {
        case V_ARCHIVES:
                return list_archives(m, d);
        case V_ARCHIVE:
                for (size_t i = 0; i < ARRAY_SIZE(in_archive); i++)
                        add(d, in_archive[i].name, vnode_number(in_archive[i].kind, v->archive, 0),
                                vkind_mode(in_archive[i].kind));
                return 0;
        case V_FILES:
        case V_MEMBER:
                return list_files(m, v, d);
        case V_JOB:
                list_job(v, d);
                return 0;
        case V_JOBS:
                return jobs_list(m, add_job, d);
        default: /* no other kind is a folder */
                return 0;
        }
}

static void vdir_free(struct handle_link *l)
{
        struct vdir *d = (struct vdir *)l;
        handles_leave(l);
        buf_done(&d->names);
        free(d);
}

void vt_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        struct vdir *d = calloc(1, sizeof *d);
        int q = d ? fill(mount_of(req), vnode_of(ino), d) : -ENOMEM;
        if (q == 0 && buf_oom(&d->names))
                q = -ENOMEM;
        if (q < 0) {
                if (d)
                        vdir_free(&d->link);
                fuse_reply_err(req, -q);
                return;
        }
        handles_enter(&mount_of(req)->handles, &d->link, vdir_free);
        fi->fh = (uintptr_t)d;
        if (fuse_reply_open(req, fi) == -ENOENT)
                vdir_free(&d->link);
}

static const char *entry_at(struct vdir *d, off_t k, struct stat *st, size_t *ret_len)
{
        if (k < d->at) {
                d->at = 0;
                d->pos = 0;
        }
        for (;;) {
                if (d->pos >= d->names.len)
                        return NULL;
                const char *p = d->names.data + d->pos;
                uint64_t ino;
                memcpy(&ino, p, sizeof ino);
                size_t len = sizeof ino + 1 + strlen(p + sizeof ino + 1) + 1;
                if (d->at == k) {
                        *st = (struct stat){.st_ino = ino,
                                .st_mode = (mode_t)DTTOIF((unsigned char)p[sizeof ino])};
                        *ret_len = len;
                        return p + sizeof ino + 1;
                }
                d->pos += len;
                d->at++;
        }
}

static void list(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
        struct vdir *d = (struct vdir *)(uintptr_t)fi->fh;
        _cleanup_free_ char *buf = malloc(size);
        if (!buf) {
                fuse_reply_err(req, ENOMEM);
                return;
        }
        size_t used = 0, len;
        struct stat st;
        const char *name;
        for (off_t k = off; (name = entry_at(d, k, &st, &len)) != NULL; k++) {
                struct fuse_entry_param e = {
                        .attr = st}; /* no node: the kernel looks it up when it wants it */
                size_t left = size - used;
                size_t n = plus ? fuse_add_direntry_plus(req, buf + used, left, name, &e, k + 1)
                                : fuse_add_direntry(req, buf + used, left, name, &st, k + 1);
                if (n > left)
                        break;
                used += n;
        }
        fuse_reply_buf(req, buf, used);
}

void vt_readdir(
        fuse_req_t req, fuse_ino_t ino _unused_, size_t size, off_t off, struct fuse_file_info *fi)
{
        list(req, size, off, fi, false);
}

void vt_readdirplus(
        fuse_req_t req, fuse_ino_t ino _unused_, size_t size, off_t off, struct fuse_file_info *fi)
{
        list(req, size, off, fi, true);
}

void vt_releasedir(fuse_req_t req, fuse_ino_t ino _unused_, struct fuse_file_info *fi)
{
        vdir_free(&((struct vdir *)(uintptr_t)fi->fh)->link);
        fuse_reply_err(req, 0);
}
