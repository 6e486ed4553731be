#include "buf.h"
#include "catalog.h"
#include "manifest.h"
#include "recover_internal.h"
#include "store.h"
#include "tree_hash.h"

#include <inttypes.h>
#include <lzma.h>

#define END_BLOCK    (MANIFEST_RECORD + 1024u) /* the locator and the tar's two end blocks */
#define END_SEARCH   4096u                     /* it is somewhere in the last bytes */
#define INDEX_MAX    (16u * MiB)               /* of an xz file, packed */
#define INDEX_MEMORY (64ull * MiB)
#define BLOCK_MAX    (16u * MiB)

struct tail {
        struct recover *r;
        const struct recover_group *g;
        size_t at; /* which of g->volumes is open */
        struct recover_open open;
        enum compress_kind kind;
        uint64_t plain; /* next byte of its compressed file */
        /* xz: its blocks are read one by one, since the file is not read from its beginning */
        lzma_index *index;
        lzma_index_iter iter;
        /* the others: whatever follows is a file of its own */
        struct compress_decoder *decoder;
        struct buf block, packed; /* xz */
        size_t block_at;
        uint64_t skip, left; /* of the tar stream: before the manifest, and of it */
};

static void tail_done(struct tail *t)
{
        compress_decoder_free(t->decoder);
        lzma_index_end(t->index, NULL);
        recover_close(&t->open);
        buf_done(&t->block);
        buf_done(&t->packed);
}

static int room(struct buf *b, size_t len, struct err *e)
{
        static const char zeros[4096];
        buf_reset(b);
        while (b->len < len && !buf_oom(b))
                buf_add(b, zeros, MIN(sizeof zeros, len - b->len));
        return buf_oom(b) ? err_oom(e) : 0;
}

/* ---- xz: the Index tells where the blocks are ---- */

static int read_index(struct tail *t, struct err *e)
{
        uint8_t footer[LZMA_STREAM_HEADER_SIZE];
        lzma_stream_flags flags;
        uint64_t size = seal_reader_size(t->open.seal);
        if (size < 2 * sizeof footer)
                return err_set(e, -EPROTO, "%s is no xz file", t->open.object->name);
        int q = seal_pread(t->open.seal, footer, sizeof footer, size - sizeof footer, e);
        if (q < 0)
                return q;
        if (lzma_stream_footer_decode(&flags, footer) != LZMA_OK ||
                flags.backward_size > MIN(size - 2 * sizeof footer, (uint64_t)INDEX_MAX))
                return err_set(e, -EPROTO, "%s does not end as an xz file", t->open.object->name);
        if ((q = room(&t->packed, flags.backward_size, e)) < 0)
                return q;
        q = seal_pread(t->open.seal, t->packed.data, t->packed.len,
                size - sizeof footer - t->packed.len, e);
        if (q < 0)
                return q;
        uint64_t memory = INDEX_MEMORY;
        size_t pos = 0;
        lzma_index_end(t->index, NULL);
        t->index = NULL;
        if (lzma_index_buffer_decode(&t->index, &memory, NULL, (uint8_t *)t->packed.data, &pos,
                    t->packed.len) != LZMA_OK)
                return err_set(e, -EPROTO, "the index of %s is broken", t->open.object->name);
        lzma_index_iter_init(&t->iter, t->index);
        return 0;
}

static int decode_xz_block(struct tail *t, struct err *e)
{
        uint64_t packed = t->iter.block.total_size, plain = t->iter.block.uncompressed_size;
        if (plain == 0 || plain > BLOCK_MAX || packed > 2 * BLOCK_MAX)
                return err_set(e, -EPROTO, "%s has an impossible block", t->open.object->name);
        int q = room(&t->packed, packed, e);
        if (q == 0)
                q = room(&t->block, plain, e);
        if (q == 0)
                q = seal_pread(t->open.seal, t->packed.data, packed,
                        t->iter.block.compressed_file_offset, e);
        if (q == 0)
                q = compress_decode(COMPRESS_LZMA, t->packed.data, packed, t->block.data, plain, e);
        t->block_at = 0;
        return q;
}

static int last_xz_block(struct tail *t, struct err *e)
{
        int q = read_index(t, e);
        if (q < 0)
                return q;
        bool any = false;
        while (!lzma_index_iter_next(&t->iter, LZMA_INDEX_ITER_BLOCK))
                any = true;
        return any ? decode_xz_block(t, e)
                   : err_set(e, -EPROTO, "%s has no block", t->open.object->name);
}

/* ---- the others: the last member, stream or frame is found by its magic number ---- */

static const struct {
        enum compress_kind kind;
        uint8_t magic[4];
        size_t len;
} magics[] = {
        {COMPRESS_GZIP, {0x1f, 0x8b, 0x08}, 3},
        {COMPRESS_BZIP2, {0x42, 0x5a, 0x68}, 3},
        {COMPRESS_ZSTD, {0x28, 0xb5, 0x2f, 0xfd}, 4},
        {COMPRESS_NONE, {0}, 0},
};

static bool is_end(const struct buf *b)
{
        static const char zeros[1024];
        return b->len == END_BLOCK && memcmp(b->data + MANIFEST_RECORD, zeros, sizeof zeros) == 0;
}

static int search(struct tail *t, const uint8_t *p, size_t len, struct err *e)
{
        size_t k = 0;
        while (k + 1 < ARRAY_SIZE(magics) && magics[k].kind != t->kind)
                k++;
        for (size_t n = magics[k].len > 0 ? magics[k].len : END_BLOCK; n <= len; n++) {
                const uint8_t *from = p + len - n;
                if (memcmp(from, magics[k].magic, magics[k].len) == 0 &&
                        compress_decode(t->kind, from, n, t->block.data, END_BLOCK, NULL) == 0 &&
                        is_end(&t->block))
                        return 0;
        }
        return err_set(
                e, -EPROTO, "the end of %s is not the end of an archive", t->open.object->name);
}

static int last_other_block(struct tail *t, struct err *e)
{
        uint8_t end[END_SEARCH];
        uint64_t size = seal_reader_size(t->open.seal);
        size_t n = (size_t)MIN(size, (uint64_t)sizeof end);
        int q = seal_pread(t->open.seal, end, n, size - n, e);
        if (q == 0)
                q = room(&t->block, END_BLOCK, e);
        return q < 0 ? q : search(t, end, n, e);
}

/* ---- the locator ---- */

static int open_volume(struct tail *t, size_t at, struct err *e)
{
        recover_close(&t->open);
        t->at = at;
        return recover_open(t->r, &t->g->volumes[at], &t->open, e);
}

static int find_locator(struct tail *t, struct manifest_locator *ret, struct err *e)
{
        int q = open_volume(t, t->g->n - 1, e);
        if (q < 0)
                return q;
        t->kind = t->open.object->kind;
        q = t->kind == COMPRESS_LZMA ? last_xz_block(t, e) : last_other_block(t, e);
        if (q < 0)
                return q;
        if (!is_end(&t->block))
                return err_set(e, -EPROTO, "the end of %s is not the end of an archive",
                        t->open.object->name);
        return manifest_locator_parse(t->block.data, ret, e);
}

/* ---- the tar stream from the manifest's first block on ---- */

static int next_volume(struct tail *t, struct err *e)
{
        if (t->at + 1 == t->g->n)
                return 0;
        unsigned expected = t->g->volumes[t->at].volume + 1;
        int q = open_volume(t, t->at + 1, e);
        if (q == 0 && t->open.object->volume != expected)
                q = err_set(e, -EPROTO, "volume %u is missing", expected);
        t->plain = 0;
        return q < 0 ? q : 1;
}

static ssize_t packed_bytes(void *ctx, void *data, size_t len, struct err *e)
{
        struct tail *t = ctx;
        uint64_t size = seal_reader_size(t->open.seal);
        while (t->plain >= size) {
                int q = next_volume(t, e);
                if (q <= 0)
                        return q;
                size = seal_reader_size(t->open.seal);
        }
        size_t n = (size_t)MIN((uint64_t)len, size - t->plain);
        int q = seal_pread(t->open.seal, data, n, t->plain, e);
        t->plain += n;
        return q < 0 ? q : (ssize_t)n;
}

static int next_xz_block(struct tail *t, struct err *e)
{
        for (;;) {
                while (!lzma_index_iter_next(&t->iter, LZMA_INDEX_ITER_BLOCK))
                        if (t->iter.block.compressed_file_offset >= t->plain)
                                return decode_xz_block(t, e);
                int q = next_volume(t, e);
                if (q > 0)
                        q = read_index(t, e);
                else if (q == 0)
                        q = err_set(e, -EPROTO, "the archive ends before its manifest does");
                if (q < 0)
                        return q;
        }
}

static ssize_t xz_bytes(struct tail *t, void *data, size_t len, struct err *e)
{
        if (t->block_at == t->block.len) {
                int q = next_xz_block(t, e);
                if (q < 0)
                        return q;
        }
        size_t n = MIN(len, t->block.len - t->block_at);
        memcpy(data, t->block.data + t->block_at, n);
        t->block_at += n;
        return (ssize_t)n;
}

static ssize_t tar_bytes(struct tail *t, void *data, size_t len, struct err *e)
{
        return t->kind == COMPRESS_LZMA ? xz_bytes(t, data, len, e)
                                        : compress_decoder_read(t->decoder, data, len, e);
}

static int begin(struct tail *t, const struct manifest_locator *l, struct err *e)
{
        size_t at = 0;
        while (at < t->g->n && t->g->volumes[at].volume != l->volume)
                at++;
        if (at == t->g->n || l->block_tar_offset > l->tar_offset)
                return err_set(e, -EPROTO, "volume %u, in which its manifest begins, is missing",
                        l->volume);
        int q = open_volume(t, at, e);
        if (q < 0)
                return q;
        t->plain = l->plain_offset;
        t->skip = l->tar_offset - l->block_tar_offset;
        t->left = l->size;
        buf_reset(&t->block);
        t->block_at = 0;
        return t->kind == COMPRESS_LZMA
                       ? read_index(t, e)
                       : compress_decoder_new(t->kind, packed_bytes, t, &t->decoder, e);
}

static ssize_t manifest_bytes(void *ctx, void *data, size_t len, struct err *e)
{
        struct tail *t = ctx;
        uint8_t header[4096];
        while (t->skip > 0) {
                ssize_t n = tar_bytes(t, header, (size_t)MIN(t->skip, (uint64_t)sizeof header), e);
                if (n <= 0)
                        return n < 0 ? n : err_set(e, -EPROTO, "its manifest is cut off");
                t->skip -= (uint64_t)n;
        }
        ssize_t n = tar_bytes(t, data, (size_t)MIN(t->left, (uint64_t)len), e);
        if (n > 0)
                t->left -= (uint64_t)n;
        return t->left > 0 && n == 0 ? err_set(e, -EPROTO, "its manifest is cut off") : n;
}

static ssize_t limited_bytes(void *ctx, void *data, size_t len, struct err *e)
{
        struct tail *t = ctx;
        return t->left == 0 ? 0 : manifest_bytes(t, data, len, e);
}

static int take(struct tail *t, struct err *e)
{
        _cleanup_free_ char *id = NULL;
        int q = manifest_read(limited_bytes, t, t->r->catalog, &id, e);
        if (q < 0 || streq(id, t->g->id))
                return q;
        (void)catalog_archive_remove(t->r->catalog, id, NULL); /* the error that counts follows */
        return err_set(e, -EPROTO, "its manifest is of archive %s", id);
}

int recover_from_tail(struct recover *r, const struct recover_group *g, struct err *e)
{
        if (g->n == 0)
                return err_set(e, -EPROTO, "no volume is there");
        _cleanup_(tail_done) struct tail t = {.r = r, .g = g};
        struct manifest_locator l;
        int q = find_locator(&t, &l, e);
        if (q == 0)
                q = begin(&t, &l, e);
        if (q == 0)
                q = take(&t, e);
        return q;
}

/* ---- what the copy cannot know ---- */

struct span {
        uint64_t start, end;
        unsigned volume;
};

static int widen(void *ctx, const struct catalog_block *b)
{
        struct span *s = ctx;
        if (b->volume != s->volume)
                return 0;
        s->start = MIN(s->start, b->tar_offset);
        s->end = MAX(s->end, b->tar_offset + b->tar_len);
        return 0;
}

static int hash_object(
        struct recover *r, const struct recover_object *o, uint8_t ret[32], struct err *e)
{
        _cleanup_(tree_hash_freep) struct tree_hash *h = tree_hash_new();
        _cleanup_free_ uint8_t *data = malloc(MiB);
        if (!h || !data)
                return err_oom(e);
        for (uint64_t at = 0; at < o->size;) {
                if (r->params->stop && atomic_load(r->params->stop))
                        return err_set(e, -ECANCELED, "interrupted; repeat it to go on");
                size_t n = (size_t)MIN(o->size - at, (uint64_t)MiB);
                int q = store_get(r->store, o->name, data, n, at, e);
                if (q == 0)
                        q = tree_hash_update(h, data, n);
                if (q < 0)
                        return q;
                at += n;
        }
        return tree_hash_final(h, ret);
}

/* Where reading may cost money the hash stays unknown: 32 zero bytes. */
static int learn_hash(
        struct recover *r, const struct recover_object *o, uint8_t ret[32], struct err *e)
{
        struct store_state st;
        memset(ret, 0, 32);
        int q = store_state(r->store, o->name, &st, e);
        if (q < 0)
                return q;
        if (st.hashed == STORE_HASH_TREE) {
                memcpy(ret, st.hash, 32);
                return 0;
        }
        return r->store->traits.cold ? 0 : hash_object(r, o, ret, e);
}

/* `end`: of the whole tar stream; the manifest's own blocks are not in its table. */
static int add_volume(struct recover *r, const struct recover_object *o, uint64_t end,
        struct catalog_archive *a, struct err *e)
{
        struct span s = {.start = UINT64_MAX, .volume = o->volume};
        struct recover_open open;
        int q = recover_open(r, o, &open, e);
        if (q < 0)
                return q;
        struct catalog_volume v = {.number = o->volume,
                .done = true,
                .plain_size = seal_reader_size(open.seal),
                .size = o->size};
        (void)snprintf(v.object, sizeof v.object, "%s", o->name); /* longer ones are not ours */
        memcpy(v.message_id, seal_reader_message_id(open.seal), sizeof v.message_id);
        recover_close(&open);
        q = catalog_blocks(r->catalog, a->id, 0, UINT64_MAX, widen, &s, e);
        if (q == 0)
                q = learn_hash(r, o, v.tree_hash, e);
        if (q < 0)
                return q;
        v.tar_start = s.start == UINT64_MAX ? a->tar_bytes : s.start;
        v.tar_end = MAX(MAX(s.end, v.tar_start), end);
        q = catalog_volume_done(r->catalog, a->id, &v, e);
        a->stored_bytes += o->size;
        a->tar_bytes = MAX(a->tar_bytes, v.tar_end);
        return q;
}

static bool has_row(const struct catalog_volume *v, size_t n, unsigned number)
{
        for (size_t i = 0; i < n; i++)
                if (v[i].number == number && v[i].done)
                        return true;
        return false;
}

static int tar_end(struct recover *r, const struct recover_group *g, uint64_t *ret, struct err *e)
{
        _cleanup_(tail_done) struct tail t = {.r = r, .g = g};
        struct manifest_locator l;
        int q = find_locator(&t, &l, e);
        if (q == 0)
                *ret = l.tar_offset + l.size + END_BLOCK;
        return q;
}

/* When it was stored only the manifest's object knows. Nearest to that comes when the store got
 * this, also where it is damaged; then when it got the last volume. */
static int64_t stored_when(const struct recover_group *g, int64_t copied)
{
        int64_t when = copied;
        for (size_t i = 0; i < g->n; i++)
                when = MAX(when, g->volumes[i].modified);
        return g->manifest ? MAX(when, g->manifest->modified) : when;
}

static int add_missing(struct recover *r, const struct recover_group *g, struct catalog_archive *a,
        const struct catalog_volume *v, size_t n, struct err *e)
{
        uint64_t end = 0;
        size_t missing = 0;
        for (size_t i = 0; i < g->n; i++)
                missing += !has_row(v, n, g->volumes[i].volume);
        if (missing == 0)
                return 0;
        int q = tar_end(r, g, &end, e);
        a->stored = stored_when(g, a->stored);
        for (size_t i = 0; q == 0 && i < g->n; i++)
                if (!has_row(v, n, g->volumes[i].volume))
                        q = add_volume(r, &g->volumes[i], i + 1 == g->n ? end : 0, a, e);
        if (q == 0)
                q = catalog_archive_update(r->catalog, a, e);
        if (q == 0)
                q = catalog_archive_set_stored(r->catalog, a->id, a->state, a->stored, e);
        return q;
}

int recover_volumes(struct recover *r, const struct recover_group *g, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n = 0;
        struct catalog_archive a = {0};
        int q = catalog_volumes(r->catalog, g->id, &v, &n, e);
        if (q == 0)
                q = catalog_archive_get(r->catalog, g->id, &a, e);
        if (q == 0)
                q = add_missing(r, g, &a, v, n, e);
        catalog_archive_done(&a);
        return q;
}
