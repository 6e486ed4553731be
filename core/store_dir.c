#include "store_dir.h"

#include "bytes.h"
#include "io.h"
#include "store_dir_internal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define ID_FILE   "autoglacier.json"
#define PART_SIZE (8u * MiB)

/* ---- the folder ---- */

int dir_failed(struct err *e, int code, const char *fmt, ...)
{
        char text[ERR_TEXT_MAX];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(text, sizeof text, fmt, ap); /* cut where too long */
        va_end(ap);
        (void)err_errno(e, code, "%s", text); /* the code may be another one */
        if (code != -ESTALE)
                return code;
        err_hint(e, "is its disk still mounted?");
        if (e)
                e->code = -ENODEV;
        return -ENODEV;
}

/* What a disk that was pulled out says, and what is left of a network's. */
static bool is_away(int error)
{
        static const int errors[] = {
                ENOENT, ENOTDIR, ENXIO, EIO, ESTALE, ENOTCONN, EHOSTDOWN, EHOSTUNREACH, ETIMEDOUT};
        for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
                if (error == errors[i])
                        return true;
        return false;
}

int dir_open_root(const struct dir_store *d, int *ret, struct err *e)
{
        int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && is_away(errno))
                return err_set(e, -ENODEV, "the store %s is not there (%s); is its disk mounted?",
                        d->path, strerrordesc_np(errno));
        if (fd < 0)
                return dir_failed(e, -errno, "cannot open the store %s", d->path);
        *ret = fd;
        return 0;
}

int dir_open_below(int root, const char *name, int flags, mode_t mode)
{
        struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                .mode = mode,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
        long fd = syscall(SYS_openat2, root, name, &how, sizeof how);
        return fd < 0 ? -errno : (int)fd;
}

static bool name_is_safe(const char *name)
{
        return *name && *name != '/' && !strstr(name, "..") && !endswith(name, DIR_PARTIAL);
}

int dir_check_name(const char *name, struct err *e)
{
        return name_is_safe(name) ? 0 : err_set(e, -EINVAL, "%s is no name for an object", name);
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
        int fd = openat(root, ".autoglacier-probe" DIR_PARTIAL,
                O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return dir_failed(e, -errno, "cannot write to the store %s", d->path);
        (void)close(fd);                                           /* empty */
        (void)unlinkat(root, ".autoglacier-probe" DIR_PARTIAL, 0); /* an empty file harms nobody */
        return 0;
}

static int dir_check(struct store *s, const char *expected, char *ret_id, struct err *e)
{
        struct dir_store *d = dir_of(s);
        _cleanup_close_ int root = -EBADF;
        char id[33];
        int q = dir_open_root(d, &root, e);
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
        return q < 0 ? dir_failed(e, q, "cannot name the store") : 0;
}

static int dir_init(struct store *s, struct err *e)
{
        struct dir_store *d = dir_of(s);
        int q = io_mkdir_p(d->path, 0700, e);
        _cleanup_close_ int root = -EBADF;
        if (q < 0 || (q = dir_open_root(d, &root, e)) < 0)
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

/* ---- making one ---- */

static uint64_t dir_space(struct store *s)
{
        _cleanup_close_ int root = -EBADF;
        return dir_open_root(dir_of(s), &root, NULL) < 0 ? UINT64_MAX : io_free_bytes(root);
}

static void dir_close(struct store *s)
{
        free(dir_of(s)->path);
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
