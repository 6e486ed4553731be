#include "decrypt.h"

#include "io.h"
#include "seal.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define STEP (8u * SEAL_FRAME_PLAIN)

struct input {
        const char *path;
        int fd;
};

struct job {
        const struct keys_private *key;
        int out;
        uint8_t *buf;
        uint64_t done, todo;
        void (*progress)(void *ctx, uint64_t done, uint64_t todo);
        void *ctx;
        const atomic_bool *stop;
        char id[64]; /* of the archive, from the first volume's context */
        long last_volume;
};

static int input_pread(void *ctx, void *data, size_t len, uint64_t offset, struct err *e)
{
        const struct input *in = ctx;
        ssize_t n = io_pread_full(in->fd, data, len, offset);
        if (n < 0)
                return err_errno(e, (int)n, "cannot read %s", in->path);
        return (size_t)n == len ? 0 : err_set(e, -EPROTO, "%s ends too early", in->path);
}

/* Volumes say which archive they belong to and which they are; joining others would make no tar. */
static int check_order(struct job *j, const struct seal_reader *r, const char *path, struct err *e)
{
        const char *id = seal_reader_context(r, "autoglacier-archive");
        const char *volume = seal_reader_context(r, "autoglacier-volume");
        if (!id || !volume)
                return 0;
        long number = strtol(volume, NULL, 10);
        if (*j->id && !streq(j->id, id))
                return err_set(
                        e, -EINVAL, "%s belongs to another archive (%s, not %s)", path, id, j->id);
        if (j->last_volume > 0 && number != j->last_volume + 1)
                return err_set(e, -EINVAL, "%s is volume %ld, but volume %ld comes next", path,
                        number, j->last_volume + 1);
        (void)snprintf(j->id, sizeof j->id, "%s", id); /* ours are shorter */
        j->last_volume = number;
        return 0;
}

static int copy_plain(struct job *j, struct seal_reader *r, const char *path, struct err *e)
{
        uint64_t size = seal_reader_size(r);
        for (uint64_t at = 0; at < size;) {
                if (j->stop && atomic_load(j->stop))
                        return err_set(e, -ECANCELED, "interrupted");
                size_t n = (size_t)MIN(size - at, (uint64_t)STEP);
                int q = seal_pread(r, j->buf, n, at, e);
                if (q < 0)
                        return err_prefix(e, q, "%s", path);
                if ((q = io_write_full(j->out, j->buf, n)) < 0)
                        return err_errno(e, q, "cannot write the decrypted file");
                at += n;
                j->done += n;
                if (j->progress)
                        j->progress(j->ctx, j->done, j->todo);
        }
        int q = seal_check_end(r, e);
        return q < 0 ? err_prefix(e, q, "%s", path) : 0;
}

static int open_input(const char *path, struct input *ret, uint64_t *ret_size, struct err *e)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_errno(e, -errno, "cannot open %s", path);
        if (!S_ISREG(st.st_mode))
                return err_set(e, -EINVAL, "%s is not a file", path);
        *ret_size = (uint64_t)st.st_size;
        *ret = (struct input){path, steal_fd(&fd)};
        return 0;
}

static int decrypt_one(struct job *j, const char *path, struct err *e)
{
        struct input in = {.fd = -EBADF};
        uint64_t size = 0;
        int q = open_input(path, &in, &size, e);
        if (q < 0)
                return q;
        _cleanup_close_ int fd _unused_ = in.fd;
        struct seal_source source = {.pread = input_pread, .ctx = &in, .size = size};
        _cleanup_(seal_reader_freep) struct seal_reader *r = NULL;
        q = seal_reader_new(&source, seal_unwrap_with_key, (void *)j->key, &r, e);
        if (q < 0)
                return err_prefix(e, q, "%s", path);
        if ((q = check_order(j, r, path, e)) < 0)
                return q;
        return copy_plain(j, r, path, e);
}

static int run(struct job *j, const char *const *files, struct err *e)
{
        for (size_t i = 0; files[i]; i++) {
                struct stat st;
                if (stat(files[i], &st) < 0)
                        return err_errno(e, -errno, "cannot open %s", files[i]);
                j->todo += (uint64_t)st.st_size;
        }
        for (size_t i = 0; files[i]; i++) {
                int q = decrypt_one(j, files[i], e);
                if (q < 0)
                        return q;
        }
        return fsync(j->out) < 0 ? err_errno(e, -errno, "cannot write the decrypted file") : 0;
}

static int publish(const char *partial, const char *out, struct err *e)
{
        if (renameat2(AT_FDCWD, partial, AT_FDCWD, out, RENAME_NOREPLACE) < 0)
                return err_errno(e, -errno, "cannot name the finished file %s", out);
        int q = io_sync_parent(AT_FDCWD, out);
        return q < 0 ? err_errno(e, q, "cannot write the folder of %s", out) : 0;
}

int decrypt_run(const struct keys_private *key, const char *const *files, const char *out,
        void (*progress)(void *ctx, uint64_t done, uint64_t todo), void *ctx,
        const atomic_bool *stop, struct err *e)
{
        struct stat st;
        if (lstat(out, &st) == 0)
                return err_set(e, -EEXIST, "%s is there already; name another file with -o", out);
        _cleanup_free_ char *partial = NULL;
        if (asprintf(&partial, "%s.partial", out) < 0) {
                partial = NULL;
                return err_oom(e);
        }
        _cleanup_free_ uint8_t *buf = malloc(STEP);
        if (!buf)
                return err_oom(e);
        _cleanup_close_ int fd =
                open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_errno(e, -errno, "cannot make %s", partial);
        struct job j = {
                .key = key, .out = fd, .buf = buf, .progress = progress, .ctx = ctx, .stop = stop};
        int q = run(&j, files, e);
        if (q == 0)
                q = publish(partial, out, e);
        if (q < 0)
                (void)unlink(partial); /* half a file helps nobody; the first error is the one to
                                          report */
        return q;
}
