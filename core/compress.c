#include "compress.h"

#include "pages.h"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

/* ---- names ---- */

static const struct kind {
        const char *name, *suffix;
        int default_level, min_level, max_level;
} kinds[] = {
        [COMPRESS_NONE] = {"none", ".tar", 0, 0, 0},
        [COMPRESS_LZMA] = {"lzma", ".tar.xz", 6, 0, 9},
        [COMPRESS_GZIP] = {"gzip", ".tar.gz", 6, 1, 9},
        [COMPRESS_BZIP2] = {"bzip2", ".tar.bz2", 9, 1, 9},
        [COMPRESS_ZSTD] = {"zstd", ".tar.zst", 3, 1, 19},
};

const char *compress_suffix(enum compress_kind kind)
{
        return kinds[kind].suffix;
}

const char *compress_name(enum compress_kind kind)
{
        return kinds[kind].name;
}

int compress_parse(const char *name, enum compress_kind *ret)
{
        if (*name == 0) {
                *ret = COMPRESS_NONE;
                return 0;
        }
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (streq(name, kinds[i].name)) {
                        *ret = (enum compress_kind)i;
                        return 0;
                }
        return -EINVAL;
}

/* ---- one block ---- */

/* liblzma asks for its tables anew with each block. They are searched at random, byte by byte: on
 * large pages that is a tenth faster. So they are kept, from block to block. */
struct table {
        void *p;
        size_t size;
        bool used;
};

#define TABLE_LEAST MiB

struct compress_encoder {
        enum compress_kind kind;
        int level;
        ZSTD_CCtx *zstd; /* also the judge of the trial */
        z_stream gz;
        bool gz_ready;
        lzma_options_lzma lzma[3]; /* for each enum content that is not stored */
        lzma_allocator allocator;
        struct table tables[4];
};

enum content { CONTENT_ANY, CONTENT_TEXT, CONTENT_HASHES, CONTENT_PACKED };

static void table_free(struct table *t)
{
        pages_free(t->p, t->size);
        *t = (struct table){0};
}

/* The smallest kept table that is large enough and not in use, or the place for another. */
static struct table *table_for(struct compress_encoder *c, size_t size)
{
        struct table *best = NULL, *room = NULL;
        for (size_t i = 0; i < ARRAY_SIZE(c->tables); i++) {
                struct table *t = &c->tables[i];
                if (t->used)
                        continue;
                if (t->size >= size && (!best || t->size < best->size))
                        best = t;
                if (!room || t->size < room->size)
                        room = t;
        }
        return best ? best : room;
}

static void *table_alloc(void *opaque, size_t n, size_t each)
{
        struct compress_encoder *c = opaque;
        size_t size;
        if (__builtin_mul_overflow(n, each, &size))
                return NULL;
        struct table *t = size >= TABLE_LEAST ? table_for(c, size) : NULL;
        if (!t)
                return malloc(size);
        if (t->size < size) {
                table_free(t);
                if (!(t->p = pages_new(size)))
                        return NULL;
                t->size = size;
        }
        t->used = true;
        return t->p;
}

static void table_release(void *opaque, void *p)
{
        struct compress_encoder *c = opaque;
        for (size_t i = 0; p && i < ARRAY_SIZE(c->tables); i++)
                if (c->tables[i].p == p) {
                        c->tables[i].used = false;
                        return;
                }
        free(p);
}

/* Text has no columns of 2, 4 or 8 bytes: contexts are better spent on the letter before than on
 * the position. */
static void set_for_text(lzma_options_lzma *o)
{
        o->lc = 4;
        o->pb = 0;
}

/* Hashes match nothing, and no context foretells a digit: the fewer there are, the sooner the few
 * are learned. At level 0 the search is as short as can be: three times as fast, 9 % larger. */
static void set_for_hashes(lzma_options_lzma *o, int level)
{
        o->lc = 0;
        o->pb = 0;
        if (level > 0)
                return;
        o->mode = LZMA_MODE_NORMAL;
        o->mf = LZMA_MF_HC3;
        o->nice_len = 8;
        o->depth = 1;
}

static int set_lzma(struct compress_encoder *c, struct err *e)
{
        for (size_t i = 0; i < ARRAY_SIZE(c->lzma); i++)
                if (lzma_lzma_preset(&c->lzma[i], (uint32_t)c->level))
                        return err_set(e, -EINVAL, "xz has no level %d", c->level);
        set_for_text(&c->lzma[CONTENT_TEXT]);
        set_for_hashes(&c->lzma[CONTENT_HASHES], c->level);
        return 0;
}

int compress_check_level(enum compress_kind kind, int level, struct err *e)
{
        const struct kind *k = &kinds[kind];
        if (kind == COMPRESS_NONE || level < 0 || (level >= k->min_level && level <= k->max_level))
                return 0;
        return err_set(e, -EINVAL,
                "COMPRESSION_LEVEL %d is not possible with %s: it takes %d to %d", level, k->name,
                k->min_level, k->max_level);
}

int compress_encoder_new(
        enum compress_kind kind, int level, struct compress_encoder **ret, struct err *e)
{
        const struct kind *k = &kinds[kind];
        int checked = compress_check_level(kind, level, e);
        if (checked < 0)
                return checked;
        if (level < 0)
                level = k->default_level;
        _cleanup_(compress_encoder_freep) struct compress_encoder *c = calloc(1, sizeof *c);
        if (!c || !(c->zstd = ZSTD_createCCtx()))
                return err_oom(e);
        c->kind = kind;
        c->level = level;
        c->allocator = (lzma_allocator){table_alloc, table_release, c};
        int q = kind == COMPRESS_LZMA ? set_lzma(c, e) : 0;
        if (q == 0)
                *ret = steal(c);
        return q;
}

void compress_encoder_free(struct compress_encoder *c)
{
        if (!c)
                return;
        if (c->gz_ready)
                deflateEnd(&c->gz);
        ZSTD_freeCCtx(c->zstd);
        for (size_t i = 0; i < ARRAY_SIZE(c->tables); i++)
                table_free(&c->tables[i]);
        free(c);
}

size_t compress_bound(enum compress_kind kind, size_t len)
{
        switch (kind) {
        case COMPRESS_LZMA:
                return lzma_block_buffer_bound(len) + 4;
        case COMPRESS_GZIP:
                return compressBound((uLong)len) + 64;
        case COMPRESS_BZIP2:
                return len + len / 50 + 1024;
        case COMPRESS_ZSTD:
                return ZSTD_compressBound(len);
        case COMPRESS_NONE:
                break;
        }
        return len;
}

#define SAMPLE       (8u * KiB)
#define SAMPLES      48u
#define SAMPLES_MORE 384u
#define TRIAL_LEAST  (64u * KiB)

/* Bytes that text does not have, but for the zeros that a tar is filled up with. */
static size_t count_binary(const uint8_t *p, size_t len)
{
        size_t n = 0;
        for (size_t i = 0; i < len; i++)
                n += p[i] >= 0x80 || (p[i] < 0x20 && p[i] != 0 && (p[i] < '\t' || p[i] > '\r'));
        return n;
}

struct trial {
        size_t before, after, binary; /* bytes of the samples, compressed, and that text lacks */
};

/* The pieces are not evenly spaced: files of one size would have all their headers looked at, or
 * none. */
static struct trial try_samples(
        struct compress_encoder *c, const uint8_t *in, size_t len, size_t samples)
{
        uint8_t out[SAMPLE + SAMPLE / 4];
        size_t n = MIN(samples, len / SAMPLE), step = len / n;
        struct trial t = {0};
        uint32_t dice = 1;
        for (size_t i = 0; i < n; i++) {
                dice = dice * 1664525u + 1013904223u; /* Numerical Recipes, "quick and dirty" */
                size_t at = i * step + (size_t)(dice >> 8) % (step - SAMPLE + 1);
                size_t z = ZSTD_compressCCtx(c->zstd, out, sizeof out, in + at, SAMPLE, 1);
                t.before += SAMPLE;
                t.after += ZSTD_isError(z) ? SAMPLE : MIN(z, (size_t)SAMPLE);
                t.binary += count_binary(in + at, SAMPLE);
        }
        return t;
}

static bool gains_less_than(const struct trial *t, size_t part)
{
        return t->after >= t->before - t->before / part;
}

/* A cheap trial: small pieces from all over the block, by zstd's fastest level. Photos, video and
 * what is packed already come out about as long as they went in; grinding them would gain nothing.
 * A single piece that hits the header of a photo is 2 % of all: where it is close, more are taken.
 */
static enum content look_at(struct compress_encoder *c, const uint8_t *in, size_t len)
{
        if (len < TRIAL_LEAST)
                return CONTENT_ANY;
        struct trial t = try_samples(c, in, len, SAMPLES);
        if (!gains_less_than(&t, 100) && gains_less_than(&t, 8))
                t = try_samples(c, in, len, SAMPLES_MORE);
        if (gains_less_than(&t, 30))
                return CONTENT_PACKED;
        return t.binary <= t.before / 32 ? CONTENT_TEXT : CONTENT_ANY;
}

static int encode_xz(struct compress_encoder *c, enum content what, const void *in, size_t len,
        void *out, size_t cap, size_t *ret_len, struct compress_block *ret, struct err *e)
{
        bool store = what == CONTENT_PACKED;
        lzma_options_lzma options = c->lzma[store ? CONTENT_ANY : what];
        /* No match reaches farther back than the block: smaller tables do. */
        options.dict_size =
                (uint32_t)MAX(MIN((size_t)options.dict_size, len), (size_t)LZMA_DICT_SIZE_MIN);
        lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, NULL}};
        lzma_block block = {.version = 1, .check = LZMA_CHECK_CRC32, .filters = filters};
        size_t pos = 0;
        lzma_ret q =
                store ? lzma_block_uncomp_encode(&block, in, len, out, &pos, cap)
                      : lzma_block_buffer_encode(&block, &c->allocator, in, len, out, &pos, cap);
        if (q == LZMA_MEM_ERROR)
                return err_oom(e);
        if (q != LZMA_OK)
                return err_set(e, -EIO, "xz could not compress a block (%d)", (int)q);
        *ret_len = pos;
        *ret = (struct compress_block){.unpadded = lzma_block_unpadded_size(&block), .plain = len};
        return 0;
}

static int encode_gzip(struct compress_encoder *c, bool store, const void *in, size_t len,
        void *out, size_t cap, size_t *ret_len, struct err *e)
{
        int level = store ? 0 : c->level;
        int q = Z_OK;
        if (!c->gz_ready)
                q = deflateInit2(&c->gz, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
        else
                q = deflateReset(&c->gz);
        if (q != Z_OK)
                return err_oom(e);
        c->gz_ready = true;
        if (deflateParams(&c->gz, level, Z_DEFAULT_STRATEGY) != Z_OK)
                return err_set(e, -EIO, "gzip could not be set to level %d", level);
        c->gz.next_in = (Bytef *)in;
        c->gz.avail_in = (uInt)len;
        c->gz.next_out = out;
        c->gz.avail_out = (uInt)cap;
        if (deflate(&c->gz, Z_FINISH) != Z_STREAM_END)
                return err_set(e, -EIO, "gzip could not compress a block");
        *ret_len = cap - c->gz.avail_out;
        return 0;
}

static int encode_bzip2(struct compress_encoder *c, const void *in, size_t len, void *out,
        size_t cap, size_t *ret_len, struct err *e)
{
        unsigned n = (unsigned)cap;
        int q = BZ2_bzBuffToBuffCompress(out, &n, (char *)in, (unsigned)len, c->level, 0, 0);
        if (q == BZ_MEM_ERROR)
                return err_oom(e);
        if (q != BZ_OK)
                return err_set(e, -EIO, "bzip2 could not compress a block (%d)", q);
        *ret_len = n;
        return 0;
}

static int encode_zstd(struct compress_encoder *c, bool store, const void *in, size_t len,
        void *out, size_t cap, size_t *ret_len, struct err *e)
{
        ZSTD_CCtx_reset(c->zstd, ZSTD_reset_session_and_parameters);
        ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, store ? -50 : c->level);
        size_t n = ZSTD_compress2(c->zstd, out, cap, in, len);
        if (ZSTD_isError(n))
                return err_set(
                        e, -EIO, "zstd could not compress a block: %s", ZSTD_getErrorName(n));
        *ret_len = n;
        return 0;
}

int compress_encode(struct compress_encoder *c, enum compress_content what, const void *in,
        size_t len, void *out, size_t cap, size_t *ret_len, struct compress_block *ret_block,
        struct err *e)
{
        enum content content = what == COMPRESS_HASHES    ? CONTENT_HASHES
                               : c->kind == COMPRESS_NONE ? CONTENT_ANY
                                                          : look_at(c, in, len);
        bool store = content == CONTENT_PACKED;
        *ret_block = (struct compress_block){.plain = len};
        int q = 0;
        switch (c->kind) {
        case COMPRESS_LZMA:
                return encode_xz(c, content, in, len, out, cap, ret_len, ret_block, e);
        case COMPRESS_GZIP:
                q = encode_gzip(c, store, in, len, out, cap, ret_len, e);
                break;
        case COMPRESS_BZIP2:
                q = encode_bzip2(c, in, len, out, cap, ret_len, e);
                break;
        case COMPRESS_ZSTD:
                q = encode_zstd(c, store, in, len, out, cap, ret_len, e);
                break;
        case COMPRESS_NONE:
                if (len > cap)
                        return err_set(e, -EINVAL, "the buffer is too small for a block");
                memcpy(out, in, len);
                *ret_len = len;
        }
        ret_block->unpadded = q == 0 ? *ret_len : 0;
        return q;
}

/* ---- the file around the blocks ---- */

struct compress_file {
        enum compress_kind kind;
        lzma_index *index;
        uint8_t head[LZMA_STREAM_HEADER_SIZE];
        uint8_t *tail;
};

int compress_file_new(enum compress_kind kind, struct compress_file **ret, struct err *e)
{
        _cleanup_(compress_file_freep) struct compress_file *f = calloc(1, sizeof *f);
        if (!f)
                return err_oom(e);
        f->kind = kind;
        if (kind == COMPRESS_LZMA) {
                lzma_stream_flags flags = {.check = LZMA_CHECK_CRC32};
                f->index = lzma_index_init(NULL);
                if (!f->index || lzma_stream_header_encode(&flags, f->head) != LZMA_OK)
                        return err_oom(e);
        }
        *ret = steal(f);
        return 0;
}

void compress_file_free(struct compress_file *f)
{
        if (!f)
                return;
        lzma_index_end(f->index, NULL);
        free(f->tail);
        free(f);
}

const void *compress_head(struct compress_file *f, size_t *ret_len)
{
        *ret_len = f->kind == COMPRESS_LZMA ? sizeof f->head : 0;
        return f->head;
}

int compress_add(struct compress_file *f, const struct compress_block *b, struct err *e)
{
        if (f->kind != COMPRESS_LZMA)
                return 0;
        lzma_ret q = lzma_index_append(f->index, NULL, b->unpadded, b->plain);
        return q == LZMA_OK
                       ? 0
                       : err_set(e, q == LZMA_MEM_ERROR ? -ENOMEM : -EFBIG,
                                 "the index of the xz file cannot take another block (%d)", (int)q);
}

size_t compress_tail_size(const struct compress_file *f)
{
        return f->kind == COMPRESS_LZMA
                       ? (size_t)lzma_index_size(f->index) + LZMA_STREAM_HEADER_SIZE
                       : 0;
}

int compress_tail(struct compress_file *f, const void **ret, size_t *ret_len, struct err *e)
{
        *ret = f->head;
        *ret_len = 0;
        if (f->kind != COMPRESS_LZMA)
                return 0;
        size_t n = compress_tail_size(f), pos = 0;
        free(f->tail);
        if (!(f->tail = malloc(n)))
                return err_oom(e);
        lzma_stream_flags flags = {
                .check = LZMA_CHECK_CRC32, .backward_size = lzma_index_size(f->index)};
        if (lzma_index_buffer_encode(f->index, f->tail, &pos, n) != LZMA_OK ||
                lzma_stream_footer_encode(&flags, f->tail + pos) != LZMA_OK)
                return err_set(e, -EIO, "the index of the xz file could not be written");
        *ret = f->tail;
        *ret_len = n;
        return 0;
}
