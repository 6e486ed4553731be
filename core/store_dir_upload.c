#include "crash.h"
#include "io.h"
#include "store_dir_internal.h"

#include <fcntl.h>
#include <sys/stat.h>

/* An object is written beside under a name of its own, and renamed when it is whole. */

struct dir_upload {
        struct store_upload base;
        int root, fd;
        char *name, *partial;
        uint64_t written;
        bool replace;
};

static int make_parents(int root, const char *name, struct err *e)
{
        _cleanup_free_ char *copy = strdup(name);
        if (!copy)
                return err_oom(e);
        for (char *p = strchr(copy, '/'); p; p = strchr(p + 1, '/')) {
                *p = 0;
                if (mkdirat(root, copy, 0700) < 0 && errno != EEXIST)
                        return dir_failed(
                                e, -errno, "cannot make the folder %s in the store", copy);
                *p = '/';
        }
        return 0;
}

static void upload_free(struct dir_upload *u)
{
        base_closep(&u->fd);
        base_closep(&u->root);
        free(u->name);
        free(u->partial);
        free(u);
}

void dir_abort(struct store_upload *base)
{
        struct dir_upload *u = (struct dir_upload *)base;
        (void)unlinkat(u->root, u->partial, 0); /* what stays is overwritten by the next try */
        upload_free(u);
}

/* An object in our way is moved aside only by the rename that puts the new one there. */
static int begin(
        struct dir_store *d, struct dir_upload *u, const struct store_new *n, struct err *e)
{
        const char *name = n->name;
        int q = dir_open_root(d, &u->root, e);
        if (q < 0)
                return q;
        struct stat st;
        if (!n->replace && fstatat(u->root, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                return err_set(e, -EEXIST, "%s is in the store already", name);
        if (!(u->name = strdup(name)) || asprintf(&u->partial, "%s" DIR_PARTIAL, name) < 0)
                return err_oom(e);
        if ((q = make_parents(u->root, name, e)) < 0)
                return q;
        if (unlinkat(u->root, u->partial, 0) < 0 && errno != ENOENT)
                return dir_failed(e, -errno, "cannot remove what an earlier try left of %s", name);
        u->fd = dir_open_below(u->root, u->partial, O_WRONLY | O_CREAT | O_EXCL, 0600);
        return u->fd < 0
                       ? dir_failed(e, u->fd, "cannot make %s in the store %s", u->partial, d->path)
                       : 0;
}

int dir_begin(struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e)
{
        int q = dir_check_name(n->name, e);
        if (q < 0)
                return q;
        struct dir_upload *u = calloc(1, sizeof *u);
        if (!u)
                return err_oom(e);
        *u = (struct dir_upload){
                .base.store = s, .root = -EBADF, .fd = -EBADF, .replace = n->replace};
        if ((q = begin(dir_of(s), u, n, e)) < 0) {
                upload_free(u);
                return q;
        }
        *ret = &u->base;
        return 0;
}

int dir_put_part(struct store_upload *base, const struct store_part *p, struct err *e)
{
        struct dir_upload *u = (struct dir_upload *)base;
        int q = io_pwrite_full(u->fd, p->data, p->len, p->offset);
        if (q < 0)
                return dir_failed(e, q, "cannot write to %s in the store %s", u->partial,
                        dir_of(base->store)->path);
        /* Start the disk now, so that the fsync at the end finds little to do. */
        (void)sync_file_range(u->fd, (off_t)p->offset, (off_t)p->len, SYNC_FILE_RANGE_WRITE);
        u->written = MAX(u->written, p->offset + p->len);
        return 0;
}

/* Filesystems without RENAME_NOREPLACE (FAT, some network ones) get link and unlink, or a look
 * first. */
static int publish(const struct dir_upload *u)
{
        if (u->replace)
                return renameat(u->root, u->partial, u->root, u->name) < 0 ? -errno : 0;
        if (renameat2(u->root, u->partial, u->root, u->name, RENAME_NOREPLACE) == 0)
                return 0;
        if (errno != EINVAL && errno != ENOSYS)
                return -errno;
        if (linkat(u->root, u->partial, u->root, u->name, 0) == 0)
                return unlinkat(u->root, u->partial, 0) < 0 ? -errno : 0;
        if (errno == EEXIST)
                return -EEXIST;
        if (faccessat(u->root, u->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                return -EEXIST;
        return renameat(u->root, u->partial, u->root, u->name) < 0 ? -errno : 0;
}

static int finish(struct dir_upload *u, uint64_t size, struct err *e)
{
        struct stat st;
        if (fstat(u->fd, &st) < 0)
                return dir_failed(e, -errno, "cannot look at %s in the store %s", u->partial,
                        dir_of(u->base.store)->path);
        if ((uint64_t)st.st_size != size)
                return err_set(e, -EIO,
                        "%s has %lld bytes in the store, not the %llu that were written",
                        u->partial, (long long)st.st_size, (unsigned long long)size);
        if (fsync(u->fd) < 0)
                return dir_failed(e, -errno, "cannot write %s to the disk of the store %s",
                        u->partial, dir_of(u->base.store)->path);
        crash_point("store-synced");
        int q = publish(u);
        if (q < 0)
                return dir_failed(e, q, "cannot name the finished %s in the store %s", u->name,
                        dir_of(u->base.store)->path);
        for (char *slash; (slash = strrchr(u->partial, '/')) != NULL; *slash = 0)
                if ((q = io_sync_parent(u->root, u->partial)) < 0)
                        return dir_failed(
                                e, q, "cannot write the folder of %s to the disk", u->name);
        return fsync(u->root) < 0
                       ? dir_failed(e, -errno, "cannot write the store's folder to the disk")
                       : 0;
}

int dir_finish(struct store_upload *base, uint64_t size, const uint8_t tree_hash[32] _unused_,
        struct err *e)
{
        struct dir_upload *u = (struct dir_upload *)base;
        int q = finish(u, size, e);
        upload_free(u);
        return q;
}

/* ---- uploads do not outlive the program: what one left is replaced by the next try ---- */

int dir_resume(struct store *s _unused_, const struct store_new *n, const char *token _unused_,
        store_had_fn each _unused_, void *ctx _unused_, struct store_upload **ret _unused_,
        struct err *e)
{
        return err_set(e, -ENOTSUP, "%s: an upload to a folder begins anew", n->name);
}

const char *dir_token(struct store_upload *u _unused_)
{
        return "";
}

int dir_sweep(struct store *s _unused_, const char *prefix _unused_, store_keep_fn keep _unused_,
        void *ctx _unused_, struct err *e _unused_)
{
        return 0;
}
