#include "store_dir.h"

#include "bytes.h"
#include "clock.h"
#include "crash.h"
#include "io.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define ID_FILE   "autoglacier.json"
#define PARTIAL   ".partial"
#define PART_SIZE (8u * MiB)

struct dir_store {
        struct store base;
        char *path;
};

struct dir_upload {
        struct store_upload base;
        int root, fd;
        char *name, *partial;
        uint64_t written;
        bool replace;
};

static struct dir_store *of(struct store *s)
{
        return (struct dir_store *)s;
}

/* ---- the folder ---- */

/* Opened anew for every call: a disk may be unplugged and plugged in again in between. */
static int open_root(const struct dir_store *d, int *ret, struct err *e)
{
        int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ENXIO || errno == EIO))
                return err_set(e, -ENODEV, "the store %s is not there (%s); is its disk mounted?",
                        d->path, strerrordesc_np(errno));
        if (fd < 0)
                return err_errno(e, -errno, "cannot open the store %s", d->path);
        *ret = fd;
        return 0;
}

/* Opens below the folder, following no link on the way. */
static int open_below(int root, const char *name, int flags, mode_t mode)
{
        struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                .mode = mode,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
        long fd = syscall(SYS_openat2, root, name, &how, sizeof how);
        return fd < 0 ? -errno : (int)fd;
}

static bool name_is_safe(const char *name)
{
        return *name && *name != '/' && !strstr(name, "..") && !endswith(name, PARTIAL);
}

static int check_name(const char *name, struct err *e)
{
        return name_is_safe(name) ? 0 : err_set(e, -EINVAL, "%s is no name for an object", name);
}

static int make_parents(int root, const char *name, struct err *e)
{
        _cleanup_free_ char *copy = strdup(name);
        if (!copy)
                return err_oom(e);
        for (char *p = strchr(copy, '/'); p; p = strchr(p + 1, '/')) {
                *p = 0;
                if (mkdirat(root, copy, 0700) < 0 && errno != EEXIST)
                        return err_errno(e, -errno, "cannot make the folder %s in the store", copy);
                *p = '/';
        }
        return 0;
}

/* ---- identity ---- */

static int read_id(int root, char ret[33], struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        int q = io_read_file(root, ID_FILE, 4 * KiB, &b, e);
        if (q < 0)
                return q;
        const char *key = strstr(buf_str(&b), "\"store_id\"");
        const char *p = key ? strchr(key + 10, '"') : NULL;
        uint8_t raw[16];
        if (!p || strlen(p) < 34 || p[33] != '"')
                return err_set(e, -EPROTO, "the store's " ID_FILE " is broken");
        memcpy(ret, p + 1, 32);
        ret[32] = 0;
        return bytes_unhex(ret, raw, sizeof raw) < 0
                       ? err_set(e, -EPROTO, "the store's " ID_FILE " is broken")
                       : 0;
}

static int probe_write(const struct dir_store *d, int root, struct err *e)
{
        int fd = openat(root, ".autoglacier-probe" PARTIAL,
                O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_errno(e, -errno, "cannot write to the store %s", d->path);
        (void)close(fd);                                       /* empty */
        (void)unlinkat(root, ".autoglacier-probe" PARTIAL, 0); /* an empty file harms nobody */
        return 0;
}

static int dir_check(struct store *s, const char *expected, char *ret_id, struct err *e)
{
        struct dir_store *d = of(s);
        _cleanup_close_ int root = -EBADF;
        char id[33];
        int q = open_root(d, &root, e);
        if (q < 0)
                return q;
        if ((q = read_id(root, id, e)) == -ENOENT)
                return err_set(e, -ENODEV,
                        "%s is no autoglacier store (it has no " ID_FILE
                        "); if its disk is mounted, set it up with: autoglacier init",
                        d->path);
        if (q < 0)
                return err_prefix(e, q, "the store %s", d->path);
        if (expected && !streq(expected, id))
                return err_set(e, -ENODEV,
                        "%s is another store (%s) than the one we know (%s); is the right disk "
                        "mounted?",
                        d->path, id, expected);
        if (ret_id)
                memcpy(ret_id, id, sizeof id);
        return probe_write(d, root, e);
}

/* Whoever comes first names the store: several programs may make it at once. */
static int write_id(int root, const char *id, const char *json, size_t len, struct err *e)
{
        char mine[64];
        (void)snprintf(mine, sizeof mine, "%s.%.8s", ID_FILE, id); /* fits */
        int q = io_write_file(root, mine, 0600, json, len, e);
        if (q < 0)
                return q;
        if (renameat2(root, mine, root, ID_FILE, RENAME_NOREPLACE) < 0) {
                q = errno == EEXIST || (errno == EINVAL && renameat(root, mine, root, ID_FILE) == 0)
                            ? 0
                            : -errno;
                (void)unlinkat(root, mine, 0); /* what is left is only litter */
        }
        if (q == 0)
                q = io_sync_parent(root, ID_FILE);
        return q < 0 ? err_errno(e, q, "cannot name the store") : 0;
}

static int dir_init(struct store *s, struct err *e)
{
        struct dir_store *d = of(s);
        int q = io_mkdir_p(d->path, 0700, e);
        _cleanup_close_ int root = -EBADF;
        if (q < 0 || (q = open_root(d, &root, e)) < 0)
                return q;
        char id[33], json[128];
        if ((q = read_id(root, id, e)) == 0)
                return 0;
        if (q != -ENOENT)
                return q;
        uint8_t raw[16];
        if (RAND_bytes(raw, sizeof raw) != 1)
                return err_set(e, -EIO, "no random numbers");
        bytes_hex(raw, sizeof raw, id);
        int n = snprintf(json, sizeof json, "{\"autoglacier\": 1, \"store_id\": \"%s\"}\n", id);
        return write_id(root, id, json, (size_t)n, e);
}

/* ---- uploads ---- */

static void upload_free(struct dir_upload *u)
{
        base_closep(&u->fd);
        base_closep(&u->root);
        free(u->name);
        free(u->partial);
        free(u);
}

static void dir_abort(struct store_upload *base)
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
        int q = open_root(d, &u->root, e);
        if (q < 0)
                return q;
        struct stat st;
        if (!n->replace && fstatat(u->root, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                return err_set(e, -EEXIST, "%s is in the store already", name);
        if (!(u->name = strdup(name)) || asprintf(&u->partial, "%s" PARTIAL, name) < 0)
                return err_oom(e);
        if ((q = make_parents(u->root, name, e)) < 0)
                return q;
        if (unlinkat(u->root, u->partial, 0) < 0 && errno != ENOENT)
                return err_errno(e, -errno, "cannot remove what an earlier try left of %s", name);
        u->fd = open_below(u->root, u->partial, O_WRONLY | O_CREAT | O_EXCL, 0600);
        return u->fd < 0
                       ? err_errno(e, u->fd, "cannot make %s in the store %s", u->partial, d->path)
                       : 0;
}

static int dir_begin(
        struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e)
{
        int q = check_name(n->name, e);
        if (q < 0)
                return q;
        struct dir_upload *u = calloc(1, sizeof *u);
        if (!u)
                return err_oom(e);
        *u = (struct dir_upload){
                .base.store = s, .root = -EBADF, .fd = -EBADF, .replace = n->replace};
        if ((q = begin(of(s), u, n, e)) < 0) {
                upload_free(u);
                return q;
        }
        *ret = &u->base;
        return 0;
}

static int dir_put_part(struct store_upload *base, const struct store_part *p, struct err *e)
{
        struct dir_upload *u = (struct dir_upload *)base;
        int q = io_pwrite_full(u->fd, p->data, p->len, p->offset);
        if (q < 0)
                return err_errno(e, q, "cannot write to %s in the store %s", u->partial,
                        of(base->store)->path);
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
                return err_errno(e, -errno, "cannot look at %s in the store %s", u->partial,
                        of(u->base.store)->path);
        if ((uint64_t)st.st_size != size)
                return err_set(e, -EIO,
                        "%s has %lld bytes in the store, not the %llu that were written",
                        u->partial, (long long)st.st_size, (unsigned long long)size);
        if (fsync(u->fd) < 0)
                return err_errno(e, -errno, "cannot write %s to the disk of the store %s",
                        u->partial, of(u->base.store)->path);
        crash_point("store-synced");
        int q = publish(u);
        if (q < 0)
                return err_errno(e, q, "cannot name the finished %s in the store %s", u->name,
                        of(u->base.store)->path);
        for (char *slash; (slash = strrchr(u->partial, '/')) != NULL; *slash = 0)
                if ((q = io_sync_parent(u->root, u->partial)) < 0)
                        return err_errno(
                                e, q, "cannot write the folder of %s to the disk", u->name);
        return fsync(u->root) < 0
                       ? err_errno(e, -errno, "cannot write the store's folder to the disk")
                       : 0;
}

static int dir_finish(struct store_upload *base, uint64_t size,
        const uint8_t tree_hash[32] _unused_, struct err *e)
{
        struct dir_upload *u = (struct dir_upload *)base;
        int q = finish(u, size, e);
        upload_free(u);
        return q;
}

/* ---- uploads do not outlive the program: what one left is replaced by the next try ---- */

static int dir_resume(struct store *s _unused_, const struct store_new *n,
        const char *token _unused_, store_had_fn each _unused_, void *ctx _unused_,
        struct store_upload **ret _unused_, struct err *e)
{
        return err_set(e, -ENOTSUP, "%s: an upload to a folder begins anew", n->name);
}

static const char *dir_token(struct store_upload *u _unused_)
{
        return "";
}

static int dir_sweep(struct store *s _unused_, const char *prefix _unused_,
        store_keep_fn keep _unused_, void *ctx _unused_, struct err *e _unused_)
{
        return 0;
}

/* ---- what is there ---- */

static int open_object(
        struct dir_store *d, const char *name, int *ret, struct stat *st, struct err *e)
{
        _cleanup_close_ int root = -EBADF;
        int q = check_name(name, e);
        if (q < 0 || (q = open_root(d, &root, e)) < 0)
                return q;
        _cleanup_close_ int fd = open_below(root, name, O_RDONLY | O_NONBLOCK, 0);
        if (fd == -ENOENT)
                return err_set(e, -ENOENT, "%s is not in the store %s", name, d->path);
        if (fd < 0)
                return err_errno(e, fd, "cannot open %s in the store %s", name, d->path);
        if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode))
                return err_set(e, -EPROTO, "%s in the store is not a file", name);
        *ret = steal_fd(&fd);
        return 0;
}

static struct store_state state_of(const struct stat *st)
{
        return (struct store_state){.access = STORE_READY,
                .size = (uint64_t)st->st_size,
                .modified = clock_of(st->st_mtim.tv_sec, st->st_mtim.tv_nsec)};
}

static int dir_state(struct store *s, const char *name, struct store_state *ret, struct err *e)
{
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int q = open_object(of(s), name, &fd, &st, e);
        if (q == 0)
                *ret = state_of(&st);
        return q;
}

static int dir_thaw(
        struct store *s, const char *name, const struct store_thaw *t _unused_, struct err *e)
{
        struct store_state st;
        return dir_state(s, name, &st, e); /* always ready, if it is there */
}

static int dir_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e)
{
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int q = open_object(of(s), name, &fd, &st, e);
        if (q < 0)
                return q;
        ssize_t n = io_pread_full(fd, data, len, offset);
        if (n < 0)
                return err_errno(e, (int)n, "cannot read %s in the store %s", name, of(s)->path);
        return (size_t)n == len ? 0
                                : err_set(e, -EPROTO,
                                          "%s in the store ends at byte %llu, before the end of "
                                          "what is asked for",
                                          name, (unsigned long long)st.st_size);
}

struct listing {
        const char *prefix;
        store_list_fn each;
        void *ctx;
        struct err *e;
};

static int list_dir(int dirfd, const char *at, const struct listing *l);

static int list_entry(int dirfd, const char *at, const char *name, const struct listing *l)
{
        _cleanup_free_ char *path = NULL;
        if (asprintf(&path, "%s%s", at, name) < 0) {
                path = NULL;
                return err_oom(l->e);
        }
        struct stat st;
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT
                               ? 0
                               : err_errno(l->e, -errno, "cannot look at %s in the store", path);
        if (S_ISDIR(st.st_mode)) {
                size_t n = MIN(strlen(path), strlen(l->prefix));
                if (strncmp(path, l->prefix, n) != 0)
                        return 0;
                int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return err_errno(
                                l->e, -errno, "cannot open the folder %s in the store", path);
                _cleanup_free_ char *below = io_join(path, "");
                if (!below) {
                        (void)close(fd); /* only read */
                        return err_oom(l->e);
                }
                return list_dir(fd, below, l);
        }
        if (!S_ISREG(st.st_mode) || !startswith(path, l->prefix) || endswith(path, PARTIAL))
                return 0;
        struct store_state state = state_of(&st);
        return l->each(l->ctx, path, &state, l->e);
}

/* Takes the descriptor. */
static int list_dir(int dirfd, const char *at, const struct listing *l)
{
        DIR *d = fdopendir(dirfd);
        if (!d) {
                int q = -errno;
                (void)close(dirfd); /* only read */
                return err_errno(l->e, q, "cannot list the store");
        }
        int q = 0;
        struct dirent *de;
        while (q == 0 && (errno = 0, de = readdir(d)) != NULL)
                if (!streq(de->d_name, ".") && !streq(de->d_name, ".."))
                        q = list_entry(dirfd, at, de->d_name, l);
        if (q == 0 && !de && errno)
                q = err_errno(l->e, -errno, "cannot list the store");
        (void)closedir(d); /* only read */
        return q;
}

static int dir_list(
        struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e)
{
        int root = -EBADF;
        int q = open_root(of(s), &root, e);
        const struct listing l = {prefix, each, ctx, e};
        return q < 0 ? q : list_dir(root, "", &l);
}

static int dir_remove(struct store *s, const char *name, struct err *e)
{
        _cleanup_close_ int root = -EBADF;
        int q = check_name(name, e);
        if (q < 0 || (q = open_root(of(s), &root, e)) < 0)
                return q;
        if (unlinkat(root, name, 0) < 0) {
                if (errno == ENOENT || errno == ENOTDIR)
                        return 0;
                return err_errno(
                        e, -errno, "cannot remove %s from the store %s", name, of(s)->path);
        }
        q = io_sync_parent(root, name);
        if (q < 0)
                return err_errno(e, q, "cannot write the folder of %s to the disk", name);
        _cleanup_free_ char *dir = strdup(name);
        for (char *slash; dir && (slash = strrchr(dir, '/')) != NULL;) {
                *slash = 0;
                if (unlinkat(root, dir, AT_REMOVEDIR) < 0)
                        break; /* it holds other objects */
        }
        return 0;
}

static uint64_t dir_space(struct store *s)
{
        _cleanup_close_ int root = -EBADF;
        return open_root(of(s), &root, NULL) < 0 ? UINT64_MAX : io_free_bytes(root);
}

static void dir_close(struct store *s)
{
        free(of(s)->path);
        free(s->url);
        free(s);
}

static const struct store_ops dir_ops = {
        .check = dir_check,
        .init = dir_init,
        .begin = dir_begin,
        .resume = dir_resume,
        .token = dir_token,
        .put_part = dir_put_part,
        .finish = dir_finish,
        .abort = dir_abort,
        .leave = dir_abort,
        .sweep = dir_sweep,
        .state = dir_state,
        .thaw = dir_thaw,
        .get = dir_get,
        .list = dir_list,
        .remove = dir_remove,
        .space = dir_space,
        .close = dir_close,
};

/* FAT holds files of at most 4 GiB - 1. */
static uint64_t max_object(const char *path)
{
        struct statfs f;
        if (statfs(path, &f) == 0 && f.f_type == MSDOS_SUPER_MAGIC)
                return 4 * GiB - 1;
        return INT64_MAX;
}

int store_dir_new(const char *url, struct store **ret, struct err *e)
{
        const char *path = startswith(url, "dir:");
        if (!path || *path != '/')
                return err_set(
                        e, -EINVAL, "%s: a directory store is written dir:/absolute/path", url);
        struct dir_store *d = calloc(1, sizeof *d);
        if (!d)
                return err_oom(e);
        d->path = strdup(path);
        d->base = (struct store){
                .ops = &dir_ops,
                .traits = {.direct = true,
                        .max_object = max_object(path),
                        .part_size = PART_SIZE,
                        .kind = "dir"},
                .url = strdup(url),
        };
        if (!d->path || !d->base.url) {
                dir_close(&d->base);
                return err_oom(e);
        }
        *ret = &d->base;
        return 0;
}
