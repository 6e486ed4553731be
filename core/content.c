#include "content.h"

#include "catalog.h"
#include "io.h"
#include "reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <openssl/evp.h>

#define CHUNK (256u * KiB)

DEFINE_CLEANUP(EVP_MD_CTX_free, EVP_MD_CTX *)
_unused_ static inline void archive_donep(struct archive **a)
{
        if (*a)
                (void)archive_read_free(*a); /* only read */
}

struct content {
        const struct catalog_archive *a;
        struct reader *reader;
        uint8_t *chunk;
};

/* One member on its way. */
struct fetch {
        struct content *k;
        uint64_t at, end; /* what is left of it in the tar stream */
        uint64_t size;    /* of the content */
        int fd;
        content_go_on_fn go_on;
        void *ctx;
        uint64_t done;
        EVP_MD_CTX *sha;
        struct err why;
};

int content_new(struct catalog *c, struct store *s, const struct catalog_archive *a,
        content_unwrap_fn unwrap, void *ctx, struct content **ret, struct err *e)
{
        _cleanup_(content_freep) struct content *k = calloc(1, sizeof *k);
        if (!k)
                return err_oom(e);
        k->a = a;
        if (!(k->chunk = malloc(CHUNK)))
                return err_oom(e);
        int q = reader_new(c, s, a, unwrap, ctx, &k->reader, e);
        if (q < 0)
                return q;
        *ret = steal(k);
        return 0;
}

void content_free(struct content *k)
{
        if (!k)
                return;
        reader_free(k->reader);
        free(k->chunk);
        free(k);
}

bool content_is_near(const struct content *k, const struct catalog_member *m)
{
        return reader_holds(k->reader, m->tar_offset);
}

uint64_t content_fetched(const struct content *k)
{
        return reader_fetched(k->reader);
}

/* ---- one member ---- */

static la_ssize_t member_bytes(struct archive *ar, void *ctx, const void **ret)
{
        struct fetch *f = ctx;
        if (f->at == f->end)
                return 0;
        ssize_t n = -ECANCELED;
        if (f->go_on && !f->go_on(f->ctx, f->done))
                (void)err_set(&f->why, -ECANCELED, "interrupted");
        else
                n = reader_read(f->k->reader, f->k->chunk,
                        (size_t)MIN((uint64_t)CHUNK, f->end - f->at), f->at, f->end, &f->why);
        if (n == 0)
                n = err_set(&f->why, -EPROTO, "the tar stream ends at byte %" PRIu64, f->at);
        if (n < 0) {
                archive_set_error(ar, EIO, "%s", f->why.text);
                return -1;
        }
        f->at += (uint64_t)n;
        *ret = f->k->chunk;
        return n;
}

static int hash_hole(struct fetch *f, uint64_t len)
{
        static const uint8_t zeros[16 * KiB];
        for (; len > 0; len -= MIN(len, (uint64_t)sizeof zeros))
                if (!EVP_DigestUpdate(f->sha, zeros, (size_t)MIN(len, (uint64_t)sizeof zeros)))
                        return err_set(&f->why, -EIO, "SHA-512 failed");
        return 0;
}

static int take(struct fetch *f, const void *data, size_t len, uint64_t offset)
{
        if (!EVP_DigestUpdate(f->sha, data, len))
                return err_set(&f->why, -EIO, "SHA-512 failed");
        int q = io_pwrite_full(f->fd, data, len, offset);
        f->done = offset + len;
        return q < 0 ? err_errno(&f->why, q, "cannot write what was fetched") : 0;
}

static int broken(struct fetch *f)
{
        return f->why.code ? f->why.code
                           : err_set(&f->why, -EPROTO, "its tar member is not what it should be");
}

static int copy(struct fetch *f, struct archive *ar)
{
        uint64_t at = 0;
        for (;;) {
                const void *data;
                size_t len = 0;
                la_int64_t offset = 0;
                int r = archive_read_data_block(ar, &data, &len, &offset);
                if (r != ARCHIVE_OK && r != ARCHIVE_EOF)
                        return broken(f);
                uint64_t next = r == ARCHIVE_EOF ? f->size : (uint64_t)offset;
                if (next < at || next > f->size || len > f->size - next)
                        return broken(f);
                int q = hash_hole(f, next - at);
                if (q < 0 || r == ARCHIVE_EOF)
                        return q;
                if ((q = take(f, data, len, next)) < 0)
                        return q;
                at = next + len;
        }
}

static int fetch(struct fetch *f, uint8_t ret[64])
{
        _cleanup_(archive_donep) struct archive *ar = archive_read_new();
        struct archive_entry *entry;
        if (!ar || archive_read_support_format_tar(ar) != ARCHIVE_OK)
                return err_oom(&f->why);
        if (archive_read_open(ar, f, NULL, member_bytes, NULL) != ARCHIVE_OK ||
                archive_read_next_header(ar, &entry) != ARCHIVE_OK)
                return broken(f);
        int q = copy(f, ar);
        if (q < 0)
                return q;
        if (ftruncate(f->fd, (off_t)f->size) < 0) /* a hole at the end */
                return err_errno(&f->why, -errno, "cannot write what was fetched");
        return EVP_DigestFinal_ex(f->sha, ret, NULL) ? 0 : err_set(&f->why, -EIO, "SHA-512 failed");
}

int content_fetch(struct content *k, const struct catalog_member *m, const char *path, int fd,
        content_go_on_fn go_on, void *ctx, struct err *e)
{
        if (m->type != 'f' || !m->sha512)
                return err_set(
                        e, -EINVAL, "%s in archive %s is no file with content", path, k->a->name);
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *sha = EVP_MD_CTX_new();
        if (!sha || !EVP_DigestInit_ex(sha, EVP_sha512(), NULL))
                return err_oom(e);
        struct fetch f = {.k = k,
                .at = m->tar_offset,
                .end = m->tar_offset + m->tar_len,
                .size = m->size,
                .fd = fd,
                .go_on = go_on,
                .ctx = ctx,
                .sha = sha};
        uint8_t sum[64];
        int q = fetch(&f, sum);
        if (q < 0)
                return err_set(e, q, "%s: %s", path, f.why.text);
        if (memcmp(sum, m->sha512, sizeof sum) != 0)
                return err_set(e, -EBADMSG,
                        "%s in archive %s: its content has not the SHA-512 that was recorded", path,
                        k->a->name);
        return 0;
}
