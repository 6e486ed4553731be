#include "delete.h"

#include "catalog.h"
#include "store.h"
#include "stores.h"

/* What is failed and released was stored once, and then not deleted to the end. */
static int check(const struct catalog_archive *a, struct err *e)
{
        if (!archive_is_stored(a->state) && !(a->state == ARCHIVE_FAILED && a->released))
                return err_set(e, -EINVAL,
                        "archive %s is %s, not stored; take it back with: autoglacier abort",
                        a->name, archive_state_name(a->state));
        if (!a->released)
                return err_set(e, -EBUSY,
                        "what was staged of archive %s is still being cleared away; try again in a "
                        "moment",
                        a->name);
        return 0;
}

/* The manifest first: without it `recover` does not find half an archive. */
static int remove_objects(struct catalog *c, struct store *s, const struct catalog_archive *a,
        bool *ret_some, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        _cleanup_free_ char *manifest = stores_manifest_name(a->origin, a->id);
        size_t n = 0;
        if (!manifest)
                return err_oom(e);
        int q = catalog_volumes(c, a->id, &v, &n, e);
        if (q == 0)
                q = store_remove(s, manifest, e);
        *ret_some = q == 0;
        for (size_t i = 0; q == 0 && i < n; i++)
                q = store_remove(s, v[i].object, e);
        return q;
}

/* A store that says no has kept it, and a vault without its inventory was not asked; of a store
 * that says nothing, nobody knows. */
static bool was_refused(int q)
{
        return q == -EACCES || q == -EPERM || q == -EROFS || q == -ENODEV || q == -EREMOTE;
}

int delete_run(struct catalog *c, struct store *s, const struct catalog_archive *a, struct err *e)
{
        bool some = false;
        int q = check(a, e);
        if (q == 0)
                q = catalog_event(c, a->id, 'i', "being deleted from the store", e);
        if (q == 0) /* nobody relies any more on what may be half gone */
                q = catalog_archive_set_state(c, a->id, ARCHIVE_FAILED,
                        "it was to be deleted, and part of it may still be in the store; delete it "
                        "again",
                        0, e);
        if (q < 0)
                return q;
        q = remove_objects(c, s, a, &some, e);
        if (archive_is_stored(a->state) && !some && was_refused(q))
                (void)catalog_archive_set_state(c, a->id, a->state, "", 0, NULL); /* q is told */
        if (q == 0)
                q = catalog_archive_set_state(c, a->id, ARCHIVE_DELETED, "", 0, e);
        if (q == 0)
                q = catalog_archive_restart(c, a->id, e); /* members, volumes, counters */
        return q;
}
