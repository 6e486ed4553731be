#include "decrypt_internal.h"
#include "io.h"
#include "keys.h"
#include "legacy.h"
#include "seal.h"

#include <fcntl.h>
#include <sys/stat.h>

struct plain {
        struct plain_params params;
        size_t next; /* which of params.files is opened next */

        const char *path; /* of the file that is open; NULL: none */
        int fd;
        uint64_t size;
        struct seal_reader *seal;
        uint64_t at; /* in its plaintext */
        struct legacy *legacy;

        char id[80]; /* of the archive, from the first volume's context; "" not known yet */
        unsigned long last_volume;
        uint64_t done, todo;
};

static int input_pread(void *ctx, void *data, size_t len, uint64_t offset, struct err *e)
{
        const struct plain *p = ctx;
        ssize_t n = io_pread_full(p->fd, data, len, offset);
        if (n < 0)
                return err_errno(e, (int)n, "cannot read %s", p->path);
        return (size_t)n == len ? 0 : err_set(e, -EPROTO, "it ends too early");
}

static void report(void *ctx, size_t n)
{
        struct plain *p = ctx;
        p->done += n;
        if (p->params.progress)
                p->params.progress(p->params.ctx, MIN(p->done, p->todo), p->todo);
}

/* ---- opening and closing ---- */

int plain_new(const struct plain_params *params, struct plain **ret, struct err *e)
{
        _cleanup_(plain_freep) struct plain *p = calloc(1, sizeof *p);
        if (!p)
                return err_oom(e);
        p->params = *params;
        p->fd = -EBADF;
        for (size_t i = 0; params->files[i]; i++) {
                struct stat st;
                if (stat(params->files[i], &st) < 0)
                        return err_errno(e, -errno, "cannot open %s", params->files[i]);
                p->todo += (uint64_t)st.st_size;
        }
        *ret = steal(p);
        return 0;
}

static void close_file(struct plain *p)
{
        seal_reader_free(p->seal);
        legacy_free(p->legacy);
        p->seal = NULL;
        p->legacy = NULL;
        base_closep(&p->fd);
        p->fd = -EBADF;
        p->path = NULL;
}

void plain_free(struct plain *p)
{
        if (!p)
                return;
        close_file(p);
        free(p);
}

/* Volumes say which archive they belong to and which they are; joining others would make no tar. */
static int check_order(struct plain *p, struct err *e)
{
        const char *id = seal_reader_context(p->seal, SEAL_CONTEXT_ARCHIVE);
        const char *volume = seal_reader_context(p->seal, SEAL_CONTEXT_VOLUME);
        if (!id || !volume)
                return 0;
        unsigned long number = strtoul(volume, NULL, 10);
        if (*p->id && !streq(p->id, id))
                return err_set(e, -EINVAL, "it belongs to another archive (%s, not %s)", id, p->id);
        if (p->last_volume > 0 && number != p->last_volume + 1)
                return err_set(e, -EINVAL, "it is volume %lu, but volume %lu comes next", number,
                        p->last_volume + 1);
        if (p->params.whole && p->last_volume == 0 && number != 1)
                return err_set(e, -EINVAL, "it is volume %lu, but volume 1 comes first", number);
        (void)snprintf(p->id, sizeof p->id, "%s", id); /* ours are shorter */
        p->last_volume = number;
        return 0;
}

static int open_sealed(struct plain *p, struct err *e)
{
        const struct seal_source source = {.pread = input_pread, .ctx = p, .size = p->size};
        p->at = 0;
        int q = seal_reader_new(&source, seal_unwrap_with_key, (void *)p->params.key, &p->seal, e);
        return q < 0 ? q : check_order(p, e);
}

/* Its one tag covers everything: it is read through once before any of it is believed. */
static int open_legacy(struct plain *p, struct err *e)
{
        const struct legacy_source source = {.pread = input_pread, .ctx = p, .size = p->size};
        int q = legacy_new(&source, p->params.key, &p->legacy, e);
        if (q < 0)
                return q;
        p->todo += legacy_size(p->legacy);
        return legacy_check(p->legacy, report, p, p->params.stop, e);
}

/* Ours begin with the version and the suite; the predecessor's with what looks like noise. */
static bool looks_sealed(const struct plain *p)
{
        static const uint8_t magic[] = {0x02, 0x04, 0x78};
        uint8_t head[sizeof magic];
        return io_pread_full(p->fd, head, sizeof head, 0) == sizeof head &&
               memcmp(head, magic, sizeof head) == 0;
}

/* Noise that begins like ours, once in 16 million: the other format is tried, too. */
static int open_format(struct plain *p, struct err *e)
{
        if (!looks_sealed(p))
                return open_legacy(p, e);
        int q = open_sealed(p, e);
        if (q != -EPROTO && q != -EPROTONOSUPPORT)
                return q;
        struct err ignored = {0};
        return open_legacy(p, &ignored) == 0 ? 0 : q;
}

static int open_next(struct plain *p, struct err *e)
{
        struct stat st;
        p->path = p->params.files[p->next++];
        p->fd = open(p->path, O_RDONLY | O_CLOEXEC);
        if (p->fd < 0 || fstat(p->fd, &st) < 0)
                return err_errno(e, -errno, "cannot open %s", p->path);
        if (!S_ISREG(st.st_mode))
                return err_set(e, -EINVAL, "%s is not a file", p->path);
        p->size = (uint64_t)st.st_size;
        int q = open_format(p, e);
        return q < 0 ? err_prefix(e, q, "%s", p->path) : 0;
}

/* ---- reading ---- */

static ssize_t read_sealed(struct plain *p, void *data, size_t len, struct err *e)
{
        size_t n = (size_t)MIN((uint64_t)len, seal_reader_size(p->seal) - p->at);
        int q = n > 0 ? seal_pread(p->seal, data, n, p->at, e) : seal_check_end(p->seal, e);
        p->at += n;
        return q < 0 ? q : (ssize_t)n;
}

ssize_t plain_read(void *plain, void *data, size_t len, struct err *e)
{
        struct plain *p = plain;
        for (;;) {
                if (p->params.stop && atomic_load(p->params.stop))
                        return err_set(e, -ECANCELED, "interrupted");
                if (!p->path) {
                        if (!p->params.files[p->next])
                                return 0;
                        int q = open_next(p, e);
                        if (q < 0)
                                return q;
                }
                ssize_t n = p->legacy ? legacy_read(p->legacy, data, len, e)
                                      : read_sealed(p, data, len, e);
                if (n < 0)
                        return err_prefix(e, (int)n, "%s", p->path);
                if (n > 0) {
                        report(p, (size_t)n);
                        return n;
                }
                close_file(p);
        }
}
