#include "compress.h"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

/* xz -9 needs 65 MiB to decode, zstd's widest default window 128 MiB; a file that asks for more is
 * not one of ours, nor of any usual tool. */
#define XZ_MEMORY_MAX   (256ull * MiB)
#define ZSTD_WINDOW_MAX 27

enum step { STEP_MORE, STEP_ENDED, STEP_BROKEN, STEP_MEMORY };

struct compress_decoder {
        const struct method *method;
        compress_read_fn read;
        void *ctx;
        bool begun, eof; /* a member, stream or frame is open; `read` said 0 */
        bool any;        /* something was decoded at all */
        union {
                lzma_stream xz;
                z_stream gz;
                bz_stream bz2;
                ZSTD_DCtx *zstd;
        };
        size_t at, len; /* what is left of `in` */
        uint8_t in[64 * 1024];
};

/* Each kind: begin a member, decode from d->in into out (*n: room, then bytes made), end it. */
struct method {
        enum compress_kind kind;
        bool (*begin)(struct compress_decoder *d);
        enum step (*decode)(struct compress_decoder *d, void *out, size_t *n);
        void (*end)(struct compress_decoder *d);
};

/* ---- xz ---- */

static bool xz_begin(struct compress_decoder *d)
{
        d->xz = (lzma_stream)LZMA_STREAM_INIT;
        return lzma_stream_decoder(&d->xz, XZ_MEMORY_MAX, 0) == LZMA_OK;
}

static enum step xz_decode(struct compress_decoder *d, void *out, size_t *n)
{
        d->xz.next_in = d->in + d->at;
        d->xz.avail_in = d->len;
        d->xz.next_out = out;
        d->xz.avail_out = *n;
        lzma_ret q = lzma_code(&d->xz, d->eof ? LZMA_FINISH : LZMA_RUN);
        d->at += d->len - d->xz.avail_in;
        d->len = d->xz.avail_in;
        *n -= d->xz.avail_out;
        return q == LZMA_STREAM_END                          ? STEP_ENDED
               : q == LZMA_MEM_ERROR                         ? STEP_MEMORY
               : q == LZMA_OK || (q == LZMA_BUF_ERROR && *n) ? STEP_MORE
                                                             : STEP_BROKEN;
}

static void xz_end(struct compress_decoder *d)
{
        lzma_end(&d->xz);
}

/* ---- gzip ---- */

static bool gz_begin(struct compress_decoder *d)
{
        d->gz = (z_stream){0};
        return inflateInit2(&d->gz, 15 + 16) == Z_OK;
}

static enum step gz_decode(struct compress_decoder *d, void *out, size_t *n)
{
        d->gz.next_in = d->in + d->at;
        d->gz.avail_in = (uInt)d->len;
        d->gz.next_out = out;
        d->gz.avail_out = (uInt)*n;
        int q = inflate(&d->gz, Z_NO_FLUSH);
        d->at += d->len - d->gz.avail_in;
        d->len = d->gz.avail_in;
        *n -= d->gz.avail_out;
        return q == Z_STREAM_END               ? STEP_ENDED
               : q == Z_MEM_ERROR              ? STEP_MEMORY
               : q == Z_OK || q == Z_BUF_ERROR ? STEP_MORE
                                               : STEP_BROKEN;
}

static void gz_end(struct compress_decoder *d)
{
        (void)inflateEnd(&d->gz); /* only frees */
}

/* ---- bzip2 ---- */

static bool bz2_begin(struct compress_decoder *d)
{
        d->bz2 = (bz_stream){0};
        return BZ2_bzDecompressInit(&d->bz2, 0, 0) == BZ_OK;
}

static enum step bz2_decode(struct compress_decoder *d, void *out, size_t *n)
{
        d->bz2.next_in = (char *)d->in + d->at;
        d->bz2.avail_in = (unsigned)d->len;
        d->bz2.next_out = out;
        d->bz2.avail_out = (unsigned)*n;
        int q = BZ2_bzDecompress(&d->bz2);
        d->at += d->len - d->bz2.avail_in;
        d->len = d->bz2.avail_in;
        *n -= d->bz2.avail_out;
        return q == BZ_STREAM_END  ? STEP_ENDED
               : q == BZ_MEM_ERROR ? STEP_MEMORY
               : q == BZ_OK        ? STEP_MORE
                                   : STEP_BROKEN;
}

static void bz2_end(struct compress_decoder *d)
{
        (void)BZ2_bzDecompressEnd(&d->bz2); /* only frees */
}

/* ---- zstd ---- */

static bool zstd_begin(struct compress_decoder *d)
{
        d->zstd = ZSTD_createDCtx();
        return d->zstd &&
               !ZSTD_isError(ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_MAX));
}

static enum step zstd_decode(struct compress_decoder *d, void *out, size_t *n)
{
        ZSTD_inBuffer from = {d->in + d->at, d->len, 0};
        ZSTD_outBuffer to = {out, *n, 0};
        size_t q = ZSTD_decompressStream(d->zstd, &to, &from);
        d->at += from.pos;
        d->len -= from.pos;
        *n = to.pos;
        return q == 0 ? STEP_ENDED : ZSTD_isError(q) ? STEP_BROKEN : STEP_MORE;
}

static void zstd_end(struct compress_decoder *d)
{
        ZSTD_freeDCtx(d->zstd);
        d->zstd = NULL;
}

/* ---- none ---- */

static bool none_begin(_unused_ struct compress_decoder *d)
{
        return true;
}

static enum step none_decode(struct compress_decoder *d, void *out, size_t *n)
{
        *n = MIN(*n, d->len);
        memcpy(out, d->in + d->at, *n);
        d->at += *n;
        d->len -= *n;
        return d->eof && d->len == 0 ? STEP_ENDED : STEP_MORE;
}

static void none_end(_unused_ struct compress_decoder *d)
{
}

static const struct method methods[] = {
        {COMPRESS_NONE, none_begin, none_decode, none_end},
        {COMPRESS_LZMA, xz_begin, xz_decode, xz_end},
        {COMPRESS_GZIP, gz_begin, gz_decode, gz_end},
        {COMPRESS_BZIP2, bz2_begin, bz2_decode, bz2_end},
        {COMPRESS_ZSTD, zstd_begin, zstd_decode, zstd_end},
};

/* ---- the stream ---- */

int compress_decoder_new(enum compress_kind kind, compress_read_fn read, void *ctx,
        struct compress_decoder **ret, struct err *e)
{
        struct compress_decoder *d = malloc(sizeof *d);
        if (!d)
                return err_oom(e);
        d->method = NULL;
        for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
                if (methods[i].kind == kind)
                        d->method = &methods[i];
        d->read = read;
        d->ctx = ctx;
        d->begun = d->eof = d->any = false;
        d->at = d->len = 0;
        *ret = d;
        return 0;
}

void compress_decoder_free(struct compress_decoder *d)
{
        if (!d)
                return;
        if (d->begun)
                d->method->end(d);
        free(d);
}

static int refill(struct compress_decoder *d, struct err *e)
{
        if (d->len > 0 || d->eof)
                return 0;
        ssize_t n = d->read(d->ctx, d->in, sizeof d->in, e);
        if (n < 0)
                return (int)n;
        d->at = 0;
        d->len = (size_t)n;
        d->eof = n == 0;
        return 0;
}

static int broken(const struct compress_decoder *d, struct err *e)
{
        const char *name = compress_name(d->method->kind);
        return d->eof && d->len == 0 ? err_set(e, -EPROTO, "the %s stream ends too early", name)
                                     : err_set(e, -EPROTO, "the %s stream is broken", name);
}

/* One step. Bytes made, 0 none yet (*ret_end: and none will come), -errno. */
static ssize_t step(
        struct compress_decoder *d, void *data, size_t len, bool *ret_end, struct err *e)
{
        int q = refill(d, e);
        if (q < 0)
                return q;
        if (!d->begun) {
                *ret_end = d->eof && d->len == 0;
                if (*ret_end)
                        return d->any || d->method->kind == COMPRESS_NONE ? 0 : broken(d, e);
                d->begun = true;
                d->any = true;
                if (!d->method->begin(d))
                        return err_oom(e);
        }
        bool starved = d->eof && d->len == 0;
        size_t n = len;
        enum step s = d->method->decode(d, data, &n);
        if (s == STEP_MEMORY)
                return err_oom(e);
        if (s == STEP_BROKEN || (s == STEP_MORE && starved && n == 0))
                return broken(d, e);
        if (s == STEP_ENDED) {
                d->method->end(d);
                d->begun = false;
        }
        return (ssize_t)n;
}

ssize_t compress_decoder_read(struct compress_decoder *d, void *data, size_t len, struct err *e)
{
        bool end = false;
        ssize_t n = 0;
        while (n == 0 && !end && len > 0)
                n = step(d, data, len, &end, e);
        return n;
}
