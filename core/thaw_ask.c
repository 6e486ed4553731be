#include "thaw_internal.h"

#include "clock.h"
#include "crash.h"
#include "io.h"

/* A store that knows nothing of a thaw it has accepted may only be slow to tell; after so many
 * looks it is asked again. */
#define FORGOTTEN_LOOKS 3

/* What a vault is asked for; stores that thaw whole objects do not mind. The header of an object
 * lies in its first MiB: that is asked for apart where what is needed lies far behind. */
#define APART (8u * MiB)

static int request(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        bool apart = o->start > APART;
        struct store_thaw wish = {.tier = t->r.tier,
                .days = t->r.days,
                .offset = apart ? o->start : 0,
                .len = (o->end < o->size ? o->end : o->size) - (apart ? o->start : 0)};
        const struct store_thaw header = {.tier = t->r.tier, .days = t->r.days, .len = MiB};
        int q = apart && t->ranges ? store_thaw(t->store, o->name, &header, e) : 0;
        return q < 0 ? q : store_thaw(t->store, o->name, &wish, e);
}

/* The range that the record is about. */
static struct catalog_thaw record_of(const struct thaw *t, const struct thaw_object *o)
{
        return (struct catalog_thaw){
                .start = t->ranges ? o->start : 0, .len = t->ranges ? o->end - o->start : o->size};
}

static int find_record(
        struct thaw *t, const struct thaw_object *o, struct catalog_thaw *ret, struct err *e)
{
        const struct catalog_thaw want = record_of(t, o);
        return catalog_thaw_get(t->catalog, t->a.store_url, o->name, want.start, want.len, ret, e);
}

/* The row comes first. If the program dies before the store has answered, the store itself tells
 * whether it was asked. */
static int ask_one(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        struct catalog_thaw row = record_of(t, o);
        row.asked = clock_now();
        int q = catalog_thaw_set(t->catalog, t->a.store_url, o->name, &row, e);
        crash_point("thaw-intended");
        if (q == 0)
                q = request(t, o, e);
        crash_point("thaw-asked");
        if (q < 0)
                return q;
        thaw_log(t, 'i', "asked the store to thaw %s (%s)", o->name, t->r.tier);
        row.accepted = clock_now();
        q = catalog_thaw_set(t->catalog, t->a.store_url, o->name, &row, e);
        crash_point("thaw-noted");
        return q;
}

static int ask_cold(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        struct catalog_thaw row = {0};
        int q = find_record(t, o, &row, e);
        if (q < 0)
                return q;
        bool mine = row.accepted >= t->r.created; /* an older one has expired */
        if (!mine)
                return ask_one(t, o, e);
        if (++row.cold_seen < FORGOTTEN_LOOKS)
                return catalog_thaw_set(t->catalog, t->a.store_url, o->name, &row, e);
        thaw_log(t, 'w', "the store has forgotten that %s was to be thawed; it is asked again",
                o->name);
        return ask_one(t, o, e);
}

/* A vault retrieves ranges: what is ready there, or on its way, may be another one. */
static int is_other_range(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        struct catalog_thaw row = {0};
        int q = t->ranges ? find_record(t, o, &row, e) : 0;
        return q < 0 ? q : t->ranges && row.accepted == 0;
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
        if (q == 0 && st->access == STORE_COLD)
                return ask_cold(t, o, e);
        if (q == 0 && (q = is_other_range(t, o, e)) == 1) {
                st->access = STORE_THAWING;
                q = ask_one(t, o, e);
        }
        return q;
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
                        q = st.access == STORE_COLD ? 1 : is_other_range(t, o, e);
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
