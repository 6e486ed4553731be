#include "reader.h"

#include "catalog.h"
#include "compress.h"
#include "seal.h"
#include "store.h"

#include <inttypes.h>

/* So much of a damaged block is given up at once: what is lost is the frame that is damaged. */
#define CAREFUL_STEP ((size_t)64 * KiB)

struct reader {
        struct catalog *catalog;
        struct store *store;
        const char *id, *recipients;
        enum compress_kind kind;
        reader_unwrap_fn unwrap;
        void *ctx;

        struct catalog_volume *volumes;
        size_t n_volumes;

        const struct catalog_volume *open; /* the volume that `seal` reads */
        struct seal_reader *seal;
        uint8_t *head; /* its first bytes, as they were fetched for its header */
        size_t head_len;

        uint64_t from, to;   /* of the tar stream: what `data` holds */
        unsigned bad_volume; /* the last one that could not be opened, and why; 0: none */
        struct err why_bad_volume;
        uint64_t bad_from, bad_to; /* of the tar stream: what was damaged last, and how */
        struct err why_bad;
        struct catalog_block careful; /* the last that was, and is stored; tar_len 0: none */
        uint8_t *data, *packed;
        size_t data_cap, packed_cap;
        uint64_t fetched;
};

/* What is read first is the header, and more: frames begin in what came along. It is kept, so that
 * no byte is fetched twice. Without memory for it, some are. */
static void keep_head(struct reader *r, const void *data, size_t len)
{
        if (r->head_len > 0 || len > SEAL_HEADER_MAX)
                return;
        if (!r->head && !(r->head = malloc(SEAL_HEADER_MAX)))
                return;
        memcpy(r->head, data, len);
        r->head_len = len;
}

static int fetch(void *ctx, void *data, size_t len, uint64_t offset, struct err *e)
{
        struct reader *r = ctx;
        size_t had = offset < r->head_len ? MIN(len, r->head_len - (size_t)offset) : 0;
        int q = 0;
        if (had > 0)
                memcpy(data, r->head + offset, had);
        if (had < len)
                q = store_get(r->store, r->open->object, (uint8_t *)data + had, len - had,
                        offset + had, e);
        if (q == 0)
                r->fetched += len - had;
        if (q == 0 && offset == 0)
                keep_head(r, data, len);
        return q;
}

int reader_new(struct catalog *c, struct store *s, const struct catalog_archive *a,
        reader_unwrap_fn unwrap, void *ctx, struct reader **ret, struct err *e)
{
        _cleanup_(reader_freep) struct reader *r = calloc(1, sizeof *r);
        if (!r)
                return err_oom(e);
        *r = (struct reader){.catalog = c,
                .store = s,
                .id = a->id,
                .recipients = a->recipients,
                .unwrap = unwrap,
                .ctx = ctx};
        int q = compress_parse(a->compression, &r->kind);
        if (q < 0)
                return err_set(e, q, "archive %s: unknown compression %s", a->name, a->compression);
        q = catalog_volumes(c, a->id, &r->volumes, &r->n_volumes, e);
        if (q < 0)
                return q;
        *ret = steal(r);
        return 0;
}

void reader_free(struct reader *r)
{
        if (!r)
                return;
        seal_reader_free(r->seal);
        free(r->volumes);
        free(r->head);
        free(r->data);
        free(r->packed);
        free(r);
}

uint64_t reader_fetched(const struct reader *r)
{
        return r->fetched;
}

/* What was added behind the final frame shows in the size only. */
static int check_size(struct reader *r, struct err *e)
{
        struct store_state st;
        int q = store_state(r->store, r->open->object, &st, e);
        if (q == 0 && st.size != r->open->size)
                q = err_set(e, -EPROTO,
                        "%s has %" PRIu64 " bytes, not %" PRIu64 " as when it was stored",
                        r->open->object, st.size, r->open->size);
        return q;
}

struct named {
        const char *expected; /* fingerprints separated by ' ' */
        size_t known, others;
};

static int count_named(void *ctx, const char *fingerprint)
{
        struct named *n = ctx;
        if (strstr(n->expected, fingerprint))
                n->known++;
        else
                n->others++;
        return 0;
}

/* No key for it: is one missing, or does the header not name those any more for which the archive
 * was sealed? */
static int no_key(struct reader *r, const struct seal_source *source, struct err *e)
{
        struct named n = {.expected = r->recipients ? r->recipients : ""};
        size_t expected = *n.expected != 0;
        for (const char *p = n.expected; *p; p++)
                expected += *p == ' ';
        if (expected == 0 || seal_recipients(source, count_named, &n, NULL) < 0 ||
                (n.known == expected && n.others == 0))
                return -ENOKEY;
        return err_set(e, -EBADMSG,
                "its header does not name the keys that the archive was sealed for: it was altered "
                "or damaged");
}

static int try_volume(struct reader *r, unsigned number, struct err *e)
{
        if (r->open && r->open->number == number)
                return 0;
        seal_reader_free(r->seal);
        r->seal = NULL;
        r->open = NULL;
        r->head_len = 0;
        for (size_t i = 0; i < r->n_volumes; i++)
                if (r->volumes[i].number == number)
                        r->open = &r->volumes[i];
        if (!r->open)
                return err_set(
                        e, -EPROTO, "archive %s has no volume %u in the catalogue", r->id, number);
        struct seal_source source = {.pread = fetch, .ctx = r, .size = r->open->size};
        int q = check_size(r, e);
        if (q < 0) {
                r->open = NULL;
                return q;
        }
        q = seal_reader_new(&source, r->unwrap, r->ctx, &r->seal, e);
        if (q == -ENOKEY)
                q = no_key(r, &source, e);
        if (q == 0 &&
                memcmp(seal_reader_message_id(r->seal), r->open->message_id, SEAL_MESSAGE_ID) != 0)
                q = err_set(e, -EBADMSG, "it is another archive than the one that was stored");
        if (q < 0) {
                const char *object = r->open->object;
                r->open = NULL;
                return err_prefix(e, q, "%s", object);
        }
        return 0;
}

static bool is_damage(int code)
{
        return code == -EBADMSG || code == -EPROTO;
}

/* One that is lost or broken is not asked for again for each member in it. */
static int open_volume(struct reader *r, unsigned number, struct err *e)
{
        struct err why = {0};
        if (r->bad_volume == number && number > 0)
                why = r->why_bad_volume;
        else if (try_volume(r, number, &why) == 0)
                return 0;
        if (is_damage(why.code) || why.code == -ENOENT) {
                r->bad_volume = number;
                r->why_bad_volume = why;
        }
        if (e)
                *e = why;
        return why.code;
}

static int grow(uint8_t **p, size_t *cap, size_t need, struct err *e)
{
        if (need <= *cap)
                return 0;
        uint8_t *v = realloc(*p, need);
        if (!v)
                return err_oom(e);
        *p = v;
        *cap = need;
        return 0;
}

/* Bytes of a block: `plain` ones, and where they are in it. Of one that is stored not all need be
 * read. */
struct want {
        struct compress_part plain, packed;
        bool stored;
};

static struct want want_of(struct reader *r, const struct catalog_block *b, size_t at, size_t len)
{
        struct want w = {.plain = {at, len}};
        w.stored = compress_stored(r->kind, b->plain_len, b->tar_len, &w.plain, &w.packed);
        if (w.stored && len < b->tar_len)
                return w;
        w.plain = (struct compress_part){0, b->tar_len};
        w.packed = (struct compress_part){0, b->plain_len};
        return w;
}

/* 1: it is not stored, though its length says so. */
static int decode(
        struct reader *r, const struct catalog_block *b, const struct want *w, struct err *e)
{
        if (w->plain.len < b->tar_len)
                return compress_stored_take(r->kind, &w->plain, r->packed, r->data) < 0;
        return compress_decode(r->kind, r->packed, w->packed.len, r->data, w->plain.len, e);
}

static int read_part(
        struct reader *r, const struct catalog_block *b, const struct want *w, struct err *e)
{
        r->from = r->to = 0;
        int q;
        if ((q = open_volume(r, b->volume, e)) < 0 ||
                (q = grow(&r->data, &r->data_cap, w->plain.len, e)) < 0 ||
                (q = grow(&r->packed, &r->packed_cap, w->packed.len, e)) < 0)
                return q;
        q = seal_pread(r->seal, r->packed, w->packed.len, b->plain_offset + w->packed.at, e);
        if (q == 0)
                q = decode(r, b, w, e);
        if (q < 0)
                return err_prefix(e, q, "%s, block %u at byte %" PRIu64, r->open->object, b->number,
                        b->plain_offset);
        if (q > 0)
                return q;
        r->from = b->tar_offset + w->plain.at;
        r->to = r->from + w->plain.len;
        return 0;
}

/* In a block that is stored and damaged each step is tried alone. */
static int read_block(struct reader *r, const struct catalog_block *b, size_t at, size_t len,
        struct want *w, struct err *e)
{
        size_t step = CAREFUL_STEP - at % CAREFUL_STEP;
        bool steps = r->careful.tar_len > 0 && r->careful.number == b->number;
        *w = want_of(r, b, at, steps ? MIN(len, step) : len);
        int q = read_part(r, b, w, e);
        if (q == 1) {
                *w = want_of(r, b, 0, b->tar_len);
                q = read_part(r, b, w, e);
        }
        if (is_damage(q) && w->stored && w->plain.len > step) {
                r->careful = *b;
                *w = want_of(r, b, at, step);
                q = read_part(r, b, w, e);
        }
        return q;
}

/* What is damaged may hold thousands of members: it is not fetched again for each of them. */
static int load(struct reader *r, const struct catalog_block *b, uint64_t offset, uint64_t until,
        struct err *e)
{
        if (offset >= r->bad_from && offset < r->bad_to) {
                if (e)
                        *e = r->why_bad;
                return r->why_bad.code;
        }
        struct err why = {0};
        struct want w = {0};
        size_t at = (size_t)(offset - b->tar_offset);
        uint64_t len = until > offset ? until - offset : 1;
        int q = read_block(r, b, at, (size_t)MIN(len, (uint64_t)b->tar_len - at), &w, &why);
        if (is_damage(q)) {
                r->bad_from = b->tar_offset + w.plain.at;
                r->bad_to = r->bad_from + w.plain.len;
                r->why_bad = why;
        }
        if (q < 0 && e)
                *e = why;
        return q;
}

static int first_block(void *ctx, const struct catalog_block *b)
{
        *(struct catalog_block *)ctx = *b;
        return 1;
}

bool reader_holds(const struct reader *r, uint64_t offset)
{
        return offset >= r->from && offset < r->to;
}

ssize_t reader_read(
        struct reader *r, void *data, size_t len, uint64_t offset, uint64_t until, struct err *e)
{
        if (!reader_holds(r, offset)) {
                struct catalog_block b = {0};
                int q = catalog_blocks(r->catalog, r->id, offset, 1, first_block, &b, e);
                if (q < 0)
                        return q;
                if (b.tar_len == 0)
                        return 0;
                if ((q = load(r, &b, offset, until, e)) < 0)
                        return q;
        }
        size_t n = (size_t)MIN((uint64_t)len, r->to - offset);
        memcpy(data, r->data + (offset - r->from), n);
        return (ssize_t)n;
}

int reader_check_end(struct reader *r, unsigned volume, struct err *e)
{
        int q = open_volume(r, volume, e);
        if (q < 0)
                return q;
        q = seal_check_end(r->seal, e);
        return q < 0 ? err_prefix(e, q, "%s", r->open->object) : 0;
}
