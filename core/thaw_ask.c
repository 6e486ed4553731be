#include "thaw_internal.h"

#include "clock.h"
#include "crash.h"
#include "io.h"
#include "tree_range.h"

/* A store that knows nothing of a thaw it has accepted may only be slow to tell; after so many
 * looks it is asked again. */
#define FORGOTTEN_LOOKS 3

/* A store that thaws whole objects is asked for each once; a vault for every piece that is needed.
 */
static size_t n_pieces(const struct thaw *t, const struct thaw_object *o)
{
        return t->ranges ? o->n_pieces : 1;
}

static struct tree_range piece(const struct thaw *t, const struct thaw_object *o, size_t i)
{
        return t->ranges ? o->pieces[i] : (struct tree_range){0, o->size};
}

static int find_record(struct thaw *t, const struct thaw_object *o, size_t i,
        struct catalog_thaw *ret, struct err *e)
{
        struct tree_range p = piece(t, o, i);
        return catalog_thaw_get(
                t->catalog, t->a.store_url, o->name, p.start, p.end - p.start, ret, e);
}

/* The row comes first. If the program dies before the store has answered, the store itself tells
 * whether it was asked. */
static int ask_piece(struct thaw *t, const struct thaw_object *o, size_t i, struct err *e)
{
        struct tree_range p = piece(t, o, i);
        struct catalog_thaw row = {.start = p.start, .len = p.end - p.start, .asked = clock_now()};
        const struct store_thaw wish = {
                .tier = t->r.tier, .days = t->r.days, .offset = row.start, .len = row.len};
        int q = catalog_thaw_set(t->catalog, t->a.store_url, o->name, &row, e);
        crash_point("thaw-intended");
        if (q == 0)
                q = store_thaw(t->store, o->name, &wish, e);
        crash_point("thaw-asked");
        if (q < 0)
                return q;
        row.accepted = clock_now();
        q = catalog_thaw_set(t->catalog, t->a.store_url, o->name, &row, e);
        crash_point("thaw-noted");
        return q;
}

/* 1: asked now; 0: this restore, or one that began after it, has asked for it. An older record is
 * of what has expired; a vault that has it all the same is not asked again (store_thaw() looks). */
static int ask_if_new(struct thaw *t, const struct thaw_object *o, size_t i, struct err *e)
{
        struct catalog_thaw row = {0};
        int q = find_record(t, o, i, &row, e);
        if (q < 0 || row.accepted >= t->r.created)
                return q;
        q = ask_piece(t, o, i, e);
        return q < 0 ? q : 1;
}

static int ask_for_new(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        bool any = false;
        for (size_t i = 0; i < n_pieces(t, o); i++) {
                int q = ask_if_new(t, o, i, e);
                if (q < 0)
                        return q;
                any |= q == 1;
        }
        if (any)
                thaw_log(t, 'i', "asked the store to thaw %s (%s)", o->name, t->r.tier);
        return any;
}

static int ask_for_all(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        int q = 0;
        for (size_t i = 0; q == 0 && i < n_pieces(t, o); i++)
                q = ask_piece(t, o, i, e);
        return q;
}

/* All was asked for, and the store knows nothing of it. */
static int ask_forgotten(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        struct catalog_thaw row = {0};
        int q = find_record(t, o, 0, &row, e);
        if (q < 0)
                return q;
        if (++row.cold_seen < FORGOTTEN_LOOKS)
                return catalog_thaw_set(t->catalog, t->a.store_url, o->name, &row, e);
        thaw_log(t, 'w', "the store has forgotten that %s was to be thawed; it is asked again",
                o->name);
        return ask_for_all(t, o, e);
}

/* 1: a piece of it has not been asked for: what is ready, or on its way, is another one. */
static int lacks_piece(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        for (size_t i = 0; t->ranges && i < n_pieces(t, o); i++) {
                struct catalog_thaw row = {0};
                int q = find_record(t, o, i, &row, e);
                if (q < 0 || row.accepted < t->r.created)
                        return q < 0 ? q : 1;
        }
        return 0;
}

/* Two restores may want the same object at the same moment: one asks at a time, and looks again
 * before it does. While another one asks, this one waits for its next turn. */
static int ask_alone(
        struct thaw *t, const struct thaw_object *o, struct store_state *st, struct err *e)
{
        _cleanup_close_ int lock = -EBADF;
        int q = io_lock_file(t->env->locks_fd, "thaw.lock", &lock, e);
        if (q == -EAGAIN)
                return 0;
        if (q == 0)
                q = store_state(t->store, o->name, st, e);
        if (q < 0 || (st->access != STORE_COLD && !t->ranges))
                return q;
        bool cold = st->access == STORE_COLD;
        if ((q = ask_for_new(t, o, e)) == 1)
                st->access = STORE_THAWING;
        else if (q == 0 && cold)
                q = ask_forgotten(t, o, e);
        return MIN(q, 0);
}

int thaw_ask_again(struct thaw *t, struct err *e)
{
        _cleanup_close_ int lock = -EBADF;
        int q = t->ranges ? io_lock_file(t->env->locks_fd, "thaw.lock", &lock, e) : 0;
        for (size_t i = 0; t->ranges && q == 0 && i < t->plan.n; i++)
                q = ask_for_all(t, &t->plan.objects[i], e);
        return q == -EAGAIN ? 0 : q;
}

static void take_end(struct thaw *t, int64_t until)
{
        if (until > 0 && (t->r.ready_until == 0 || until < t->r.ready_until))
                t->r.ready_until = until;
}

int thaw_ask(struct thaw *t, struct err *e)
{
        bool all = true;
        t->r.ready_until = 0;
        t->ranges = streq(t->store->traits.kind, "glacier");
        for (size_t i = 0; i < t->plan.n; i++) {
                const struct thaw_object *o = &t->plan.objects[i];
                struct store_state st = {0};
                int q = store_state(t->store, o->name, &st, e);
                if (q == 0)
                        q = st.access == STORE_COLD ? 1 : lacks_piece(t, o, e);
                if (q == 1) {
                        q = ask_alone(t, o, &st, e);
                        all = false; /* or is, by now; the next look tells */
                }
                if (q < 0)
                        return q;
                all &= st.access == STORE_READY;
                if (st.access == STORE_READY)
                        take_end(t, st.ready_until);
        }
        return all;
}
