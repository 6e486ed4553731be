#include "thaw_internal.h"

#include "clock.h"
#include "crash.h"

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

/* The row comes first. If the program dies before the store has answered, the store itself tells
 * whether it was asked. */
static int ask_one(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        struct catalog_thaw row = {
                .start = o->start, .len = o->end - o->start, .asked = clock_now()};
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

/* A vault retrieves ranges: what is ready there, or on its way, may be another one. 1: it was not
 * this one. */
static int ask_range(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        struct catalog_thaw row = {0};
        int q = catalog_thaw_get(t->catalog, t->a.store_url, o->name, &row, e);
        if (q < 0)
                return q;
        bool covers = row.accepted > 0 && row.start <= o->start && row.start + row.len >= o->end;
        if (!covers)
                q = ask_one(t, o, e);
        return q < 0 ? q : !covers;
}

static int ask_cold(struct thaw *t, const struct thaw_object *o, struct err *e)
{
        struct catalog_thaw row = {0};
        int q = catalog_thaw_get(t->catalog, t->a.store_url, o->name, &row, e);
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
                if (q == 0 && st.access == STORE_COLD)
                        q = ask_cold(t, o, e);
                else if (q == 0 && t->ranges && (q = ask_range(t, o, e)) == 1)
                        st.access = STORE_THAWING;
                if (q < 0)
                        return q;
                all &= st.access == STORE_READY;
                if (st.access == STORE_READY)
                        take_end(t, st.ready_until);
        }
        return all;
}
