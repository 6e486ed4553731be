#include "thaw_internal.h"

#include "seal.h"
#include "tree_range.h"

/* What is read of an object is little pieces of it: its header, and the frames of blocks. Those
 * that are near to each other are asked for as one, so that no object is asked for in more than
 * some dozens of pieces. */
#define NEAR_LEAST (16u * MiB)
#define NEAR_PART  64u /* of the object's size */

struct ranges {
        struct thaw_plan *plan;
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

/* A block lies in whole frames, each 1 MiB of the object behind its header. */
static int add_block(void *ctx, const struct catalog_block *b)
{
        struct ranges *r = ctx;
        if (!r->object || r->object->volume != b->volume) {
                int q = open_object(r, b->volume);
                if (q < 0)
                        return q;
        }
        struct thaw_object *o = r->object;
        uint64_t from = r->header + b->plain_offset / SEAL_FRAME_PLAIN * SEAL_FRAME_WIRE;
        uint64_t last = (b->plain_offset + MAX(b->plain_len, 1u) - 1) / SEAL_FRAME_PLAIN;
        uint64_t to = MIN(r->header + (last + 1) * SEAL_FRAME_WIRE, o->size);
        uint64_t unread = MAX(from, r->fetched_to);
        if (to > unread)
                o->fetch += to - unread;
        r->fetched_to = MAX(r->fetched_to, to);
        return want(r, from, to);
}

static int each_file(struct ranges *r, struct catalog *c, const char *id)
{
        const struct thaw_plan *p = r->plan;
        int q = 0;
        for (size_t i = 0; q == 0 && i < p->n_files;) {
                uint64_t start = p->files[i].tar_offset;
                uint64_t end = start;
                for (; i < p->n_files && p->files[i].tar_offset <= end; i++) /* neighbours: once */
                        end = p->files[i].tar_offset + p->files[i].tar_len;
                q = catalog_blocks(c, id, start, end - start, add_block, r, r->e);
        }
        return q == 0 ? close_wanted(r) : q;
}

int thaw_ranges(struct catalog *c, const char *id, struct thaw_plan *p, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        struct ranges r = {.plan = p, .e = e};
        int q = catalog_volumes(c, id, &v, &r.n_volumes, e);
        r.volumes = v;
        if (q == 0)
                q = each_file(&r, c, id);
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
