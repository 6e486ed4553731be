#include "thaw_internal.h"

#include "compress.h"
#include "seal.h"
#include "tree_range.h"

/* What is read of an object is little pieces of it: its header, and the frames of blocks. Those
 * that are near to each other are asked for as one, so that no object is asked for in more than
 * some dozens of pieces. */
#define NEAR_LEAST (16u * MiB)
#define NEAR_PART  64u /* of the object's size */

struct ranges {
        struct thaw_plan *plan;
        enum compress_kind kind;
        uint64_t start, end; /* of the tar stream: what is read in one go */
        const struct catalog_volume *volumes;
        size_t n_volumes;
        struct thaw_object *object; /* the last one */
        struct tree_range wanted;   /* of it, the last bytes that hang together */
        uint64_t header;            /* its bytes before the first frame */
        uint64_t fetched_to;        /* bytes up to here are counted */
        struct err *e;
};

/* ---- what is asked for ---- */

/* Two nodes are apart, or one holds the other. */
static bool is_held(const struct thaw_object *o, const struct tree_range *r)
{
        for (size_t i = 0; i < o->n_pieces; i++)
                if (o->pieces[i].start <= r->start && o->pieces[i].end >= r->end)
                        return true;
        return false;
}

static void drop_held_by(struct thaw_object *o, const struct tree_range *r)
{
        size_t n = 0;
        for (size_t i = 0; i < o->n_pieces; i++)
                if (o->pieces[i].start < r->start || o->pieces[i].end > r->end)
                        o->pieces[n++] = o->pieces[i];
        o->n_pieces = n;
}

static int add_piece(struct ranges *r, const struct tree_range *piece)
{
        struct thaw_object *o = r->object;
        if (is_held(o, piece))
                return 0;
        drop_held_by(o, piece);
        struct tree_range *v = reallocarray(o->pieces, o->n_pieces + 1, sizeof *v);
        if (!v)
                return err_oom(r->e);
        o->pieces = v;
        o->pieces[o->n_pieces++] = *piece;
        return 0;
}

/* What hung together so far is complete. */
static int close_wanted(struct ranges *r)
{
        struct tree_range v[TREE_RANGE_MAX];
        int q = 0;
        if (!r->object || r->wanted.end == 0)
                return 0;
        size_t n = tree_range_cover(r->wanted.start, r->wanted.end, r->object->size, v);
        for (size_t i = 0; q == 0 && i < n; i++)
                q = add_piece(r, &v[i]);
        r->wanted = (struct tree_range){0};
        return q;
}

static int want(struct ranges *r, uint64_t from, uint64_t to)
{
        uint64_t near = MAX((uint64_t)NEAR_LEAST, r->object->size / NEAR_PART);
        if (r->wanted.end > 0 && from <= r->wanted.end + near) {
                r->wanted.end = MAX(r->wanted.end, to);
                return 0;
        }
        int q = close_wanted(r);
        r->wanted = (struct tree_range){from, to};
        return q;
}

/* ---- what is read ---- */

static int open_object(struct ranges *r, unsigned number)
{
        const struct catalog_volume *v = NULL;
        int q = close_wanted(r);
        for (size_t i = 0; i < r->n_volumes; i++)
                if (r->volumes[i].number == number)
                        v = &r->volumes[i];
        if (q < 0)
                return q;
        if (!v)
                return err_set(r->e, -EPROTO, "there is no volume %u in the catalogue", number);
        struct thaw_object *o = reallocarray(r->plan->objects, r->plan->n + 1, sizeof *o);
        if (!o)
                return err_oom(r->e);
        r->plan->objects = o;
        r->object = &o[r->plan->n++];
        *r->object = (struct thaw_object){.volume = number, .size = v->size};
        (void)snprintf(r->object->name, sizeof r->object->name, "%s", v->object); /* as long */
        r->header = v->size - MIN(v->size, seal_wire_size(0, v->plain_size));
        r->object->fetch = MIN(v->size, (uint64_t)SEAL_HEADER_MAX); /* how the header is read */
        r->fetched_to = r->object->fetch;
        return want(r, 0, r->object->fetch);
}

/* Bytes of the volume's content lie in whole frames, each 1 MiB of the object behind its header. */
static struct tree_range frames_of(const struct ranges *r, uint64_t plain, uint64_t len)
{
        uint64_t last = (plain + MAX(len, 1u) - 1) / SEAL_FRAME_PLAIN;
        return (struct tree_range){r->header + plain / SEAL_FRAME_PLAIN * SEAL_FRAME_WIRE,
                MIN(r->header + (last + 1) * SEAL_FRAME_WIRE, r->object->size)};
}

/* As reader.c reads it. */
static struct tree_range read_of(const struct ranges *r, const struct catalog_block *b)
{
        uint64_t start = MAX(r->start, b->tar_offset);
        uint64_t end = MIN(r->end, b->tar_offset + b->tar_len);
        const struct compress_part wanted = {
                (size_t)(start - b->tar_offset), (size_t)(end - MIN(start, end))};
        struct compress_part part = {0, b->plain_len};
        (void)compress_stored(r->kind, b->plain_len, b->tar_len, &wanted, &part); /* or all */
        return frames_of(r, b->plain_offset + part.at, part.len);
}

/* The whole block is asked for: what lies near costs little, and a range is never too small. */
static int add_block(void *ctx, const struct catalog_block *b)
{
        struct ranges *r = ctx;
        if (!r->object || r->object->volume != b->volume) {
                int q = open_object(r, b->volume);
                if (q < 0)
                        return q;
        }
        struct tree_range read = read_of(r, b);
        uint64_t unread = MAX(read.start, r->fetched_to);
        if (read.end > unread)
                r->object->fetch += read.end - unread;
        r->fetched_to = MAX(r->fetched_to, read.end);
        struct tree_range whole = frames_of(r, b->plain_offset, b->plain_len);
        return want(r, whole.start, whole.end);
}

static int each_file(struct ranges *r, struct catalog *c, const char *id)
{
        const struct thaw_plan *p = r->plan;
        int q = 0;
        for (size_t i = 0; q == 0 && i < p->n_files;) {
                r->start = r->end = p->files[i].tar_offset;
                for (; i < p->n_files && p->files[i].tar_offset <= r->end; i++) /* neighbours */
                        r->end = p->files[i].tar_offset + p->files[i].tar_len;
                q = catalog_blocks(c, id, r->start, r->end - r->start, add_block, r, r->e);
        }
        return q == 0 ? close_wanted(r) : q;
}

int thaw_ranges(
        struct catalog *c, const struct catalog_archive *a, struct thaw_plan *p, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        struct ranges r = {.plan = p, .e = e};
        int q = compress_parse(a->compression, &r.kind);
        if (q < 0)
                return err_set(e, q, "archive %s: unknown compression %s", a->name, a->compression);
        q = catalog_volumes(c, a->id, &v, &r.n_volumes, e);
        r.volumes = v;
        if (q == 0)
                q = each_file(&r, c, a->id);
        for (size_t i = 0; i < p->n; i++) {
                const struct thaw_object *o = &p->objects[i];
                p->fetch += o->fetch;
                p->thaw += o->size;
                p->pieces += o->n_pieces;
                for (size_t k = 0; k < o->n_pieces; k++)
                        p->range += o->pieces[k].end - o->pieces[k].start;
        }
        return q;
}
