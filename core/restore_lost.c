#include "restore_internal.h"

struct place {
        struct range range;
        char *path; /* NULL when out of memory */
};

static int where(void *ctx, const struct catalog_member *m)
{
        struct place *p = ctx;
        p->range = (struct range){m->tar_offset, m->tar_offset + m->tar_len};
        p->path = strdup(m->path);
        return 0;
}

/* What the store has lost, or altered, or cannot read any more; not what would be so for all. */
static bool is_damage(int code)
{
        return code == -EBADMSG || code == -EPROTO || code == -ENOENT || code == -EIO;
}

/* The member in which it failed. The tar's reader may be ahead of the member in hand, but never
 * asks for more than that needs. */
static int find(struct work *w, struct place *ret, struct err *e)
{
        int q = w->unreadable ? catalog_member_at(w->catalog, w->a->id, w->offset, where, ret, e)
                              : catalog_member_by_path(
                                        w->catalog, w->a->id, buf_str(&w->current), where, ret, e);
        return q == 0 && !ret->path ? err_oom(e) : q;
}

/* Goes behind the member: in its range, or to the next one. */
static int go_behind(struct work *w, const struct range *m)
{
        const struct ranges *r = &w->ranges;
        size_t i = 0;
        while (i < r->n && (r->v[i].start > m->start || r->v[i].end <= m->start))
                i++;
        w->at = i;
        w->offset = m->end;
        if (i < r->n && m->end >= r->v[i].end) {
                w->at++;
                w->offset = w->at < r->n ? r->v[w->at].start : 0;
        }
        return w->at < r->n;
}

int restore_pass(struct work *w, const struct err *why, struct err *e)
{
        /* a hard link to what was lost is lost, too */
        bool follows = w->progress.lost > 0 && why->code == -EPROTO;
        bool lost = w->wrong || follows || (w->unreadable && is_damage(why->code));
        struct place p = {0};
        int q = lost ? find(w, &p, e) : why->code;
        if (!lost && e)
                *e = *why;
        if (q < 0)
                return q;
        w->progress.lost++;
        if (w->params->warn)
                w->params->warn(w->params->ctx, p.path, why->text);
        free(p.path);
        return go_behind(w, &p.range);
}
