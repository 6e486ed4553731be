#include "recover_internal.h"

#include "backoff.h"
#include "clock.h"
#include "store.h"

/* What a cold store must be asked for before anything can be read: its list, where that is an
 * inventory, and manifests that are as cold as the rest. Waiting takes hours and may be
 * interrupted: the store remembers what was asked for. */

#define FRESH     (48 * 3600 * CLOCK_NSEC) /* inventories are made once a day, of the day before */
#define FIRST     CLOCK_NSEC
#define LONGEST   (60 * CLOCK_NSEC)
#define TIER      "standard" /* manifests are small: hours sooner for cents */
#define KEEP_DAYS 3

struct patience {
        struct recover *r;
        int64_t next;
        bool told;
};

/* Tells once what is waited for, and waits a little longer each time. */
static int wait_for(struct patience *p, const char *what, struct err *e)
{
        const struct recover_params *params = p->r->params;
        if (!p->told && params->waiting)
                params->waiting(params->ctx, what);
        p->told = true;
        p->next = p->next ? MIN(2 * p->next, LONGEST) : FIRST;
        return backoff_wait(p->next, params->stop) == 0
                       ? 0
                       : err_set(e, -ECANCELED,
                                 "interrupted while waiting for %s; repeat it to go on: nothing is "
                                 "asked for twice",
                                 what);
}

static const struct store_thaw everything = {.tier = TIER, .days = KEEP_DAYS};

int recover_inventory(struct recover *r, int64_t *ret_date, struct err *e)
{
        struct patience p = {.r = r};
        struct store_state st;
        if (!r->store->traits.inventory)
                return 0;
        int q = store_state(r->store, "", &st, e);
        bool old = q == 0 && (st.access == STORE_COLD || clock_now() - st.modified > FRESH);
        if (old && st.access != STORE_THAWING)
                q = store_thaw(r->store, "", &everything, e);
        if (q == 0 && old)
                q = store_state(r->store, "", &st, e);
        while (q == 0 && st.access != STORE_READY) {
                q = wait_for(&p, "the list of what the store holds, which takes it hours", e);
                if (q == 0)
                        q = store_state(r->store, "", &st, e);
        }
        if (q == 0)
                *ret_date = st.modified;
        return q;
}

/* Asks for the manifests that the catalogue lacks. ret: how many are not there yet. */
static int ask(struct recover *r, const struct recover_list *l, size_t *ret, struct err *e)
{
        struct recover_group g;
        *ret = 0;
        int q = 0;
        for (size_t at = 0; q == 0 && at < l->n;) {
                struct store_state st = {.access = STORE_READY};
                at = recover_next_group(l, at, &g);
                if (!g.manifest || recover_is_known(r, g.id))
                        continue;
                q = store_state(r->store, g.manifest->name, &st, e);
                if (q == 0 && st.access == STORE_COLD)
                        q = store_thaw(r->store, g.manifest->name, &everything, e);
                if (q == -ENOENT) /* removed meanwhile: told when it is opened */
                        q = 0;
                else
                        *ret += st.access != STORE_READY;
        }
        return q;
}

/* A whole volume is dear compared with a manifest: in bulk. */
int recover_ask_end(
        struct recover *r, const struct recover_group *g, const struct err *first, struct err *e)
{
        const struct store_thaw t = {.tier = "bulk", .days = KEEP_DAYS};
        struct err why = {0};
        int q = store_thaw(r->store, g->volumes[g->n - 1].name, &t, &why);
        if (q < 0)
                return err_set(e, q, "%s, and the copy at its end is not to be had: %s",
                        first->text, why.text);
        return err_set(e, -EREMOTE,
                "%s; the copy at its end has been asked for: recover again when it is thawed, in "
                "half a day or two",
                first->text);
}

int recover_thaw(struct recover *r, const struct recover_list *l, struct err *e)
{
        struct patience p = {.r = r};
        size_t missing = 0;
        if (!r->store->traits.cold)
                return 0;
        int q = ask(r, l, &missing, e);
        while (q == 0 && missing > 0) {
                q = wait_for(&p, "the manifests of the archives, which must be thawed", e);
                if (q == 0)
                        q = ask(r, l, &missing, e);
        }
        return q;
}
