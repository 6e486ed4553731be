#include "reader.h"

#include "catalog.h"
#include "compress.h"
#include "seal.h"
#include "store.h"

#include <inttypes.h>

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

        struct catalog_block block; /* the one that `data` holds; tar_len 0: none */
        unsigned bad_volume;        /* the last one that could not be opened, and why; 0: none */
        struct err why_bad_volume;
        struct catalog_block bad; /* the last one that was damaged, and how; tar_len 0: none */
        struct err why_bad;
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

static int read_block(struct reader *r, const struct catalog_block *b, struct err *e)
{
        r->block.tar_len = 0;
        int q;
        if ((q = open_volume(r, b->volume, e)) < 0 ||
                (q = grow(&r->data, &r->data_cap, b->tar_len, e)) < 0 ||
                (q = grow(&r->packed, &r->packed_cap, b->plain_len, e)) < 0)
                return q;
        q = seal_pread(r->seal, r->packed, b->plain_len, b->plain_offset, e);
        if (q == 0)
                q = compress_decode(r->kind, r->packed, b->plain_len, r->data, b->tar_len, e);
        if (q < 0)
                return err_prefix(e, q, "%s, block %u at byte %" PRIu64, r->open->object, b->number,
                        b->plain_offset);
        r->block = *b;
        return 0;
}

/* A damaged block may hold thousands of members: it is not fetched again for each of them. */
static int load_block(struct reader *r, const struct catalog_block *b, struct err *e)
{
        if (r->bad.tar_len > 0 && r->bad.number == b->number) {
                if (e)
                        *e = r->why_bad;
                return r->why_bad.code;
        }
        struct err why = {0};
        int q = read_block(r, b, &why);
        if (is_damage(q)) {
                r->bad = *b;
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
        return offset >= r->block.tar_offset && offset - r->block.tar_offset < r->block.tar_len;
}

ssize_t reader_read(struct reader *r, void *data, size_t len, uint64_t offset, struct err *e)
{
        if (!reader_holds(r, offset)) {
                struct catalog_block b = {0};
                int q = catalog_blocks(r->catalog, r->id, offset, 1, first_block, &b, e);
                if (q < 0)
                        return q;
                if (b.tar_len == 0)
                        return 0;
                if ((q = load_block(r, &b, e)) < 0)
                        return q;
        }
        uint64_t skip = offset - r->block.tar_offset;
        size_t n = (size_t)MIN((uint64_t)len, r->block.tar_len - skip);
        memcpy(data, r->data + skip, n);
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
