#include "sweep.h"

#include "catalog.h"
#include "store.h"
#include "stores.h"

/* ---- which uploads are wanted ---- */

struct keep {
        struct catalog *c;
        const char *object;
        bool wanted;
};

static int wants_manifest(void *ctx, const struct catalog_archive *a)
{
        struct keep *k = ctx;
        bool unfinished = !archive_is_stored(a->state) && a->state != ARCHIVE_DELETED;
        if (!unfinished || a->abort_wanted || !strstr(k->object, a->id))
                return 0;
        k->wanted = true;
        return 1;
}

/* In doubt it is kept: the next sweep comes. */
static bool keep(void *ctx, const char *name, const char *token)
{
        struct keep *k = ctx;
        k->object = name;
        k->wanted = false;
        int q = startswith(name, "manifests/")
                        ? catalog_archive_each(k->c, wants_manifest, k, NULL)
                        : catalog_upload_wanted(k->c, name, token, &k->wanted, NULL);
        return q < 0 || k->wanted;
}

static int abort_uploads(struct catalog *c, struct store *s, struct err *e)
{
        static const char *const kinds[] = {"archives", "manifests"};
        _cleanup_free_ char *origin = NULL;
        struct keep k = {.c = c};
        int q = catalog_origin(c, &origin, e);
        for (size_t i = 0; q == 0 && i < ARRAY_SIZE(kinds); i++) {
                _cleanup_free_ char *prefix = NULL;
                if (asprintf(&prefix, "%s/%s/", kinds[i], origin) < 0) {
                        prefix = NULL;
                        return err_oom(e);
                }
                q = store_sweep(s, prefix, keep, &k, e);
        }
        return q;
}

/* ---- what is noted ---- */

static bool refused(int q)
{
        return q == -EACCES || q == -EPERM || q == -ENOTSUP;
}

/* A name that was noted may have come into use again: an archive that was begun anew has the names
 * it had. Then it is no litter. */
static int has_manifest(void *ctx, const struct catalog_archive *a)
{
        struct keep *k = ctx;
        if (a->abort_wanted || a->state == ARCHIVE_DELETED)
                return 0;
        _cleanup_free_ char *name = stores_manifest_name(a->origin, a->id);
        k->wanted = !name || streq(name, k->object);
        return k->wanted;
}

static int in_use(struct catalog *c, const char *object, bool *ret, struct err *e)
{
        struct keep k = {.c = c, .object = object};
        if (!startswith(object, "manifests/"))
                return catalog_object_wanted(c, object, ret, e);
        int q = catalog_archive_each(c, has_manifest, &k, e);
        *ret = k.wanted;
        return q < 0 ? q : 0;
}

struct remove {
        struct catalog *c;
        struct store *s;
        const char *store_id;
        struct err *e;
};

static int remove_noted(void *ctx, const struct catalog_litter *l)
{
        const struct remove *r = ctx;
        if (!streq(l->store_url, r->s->url) || !streq(l->store_id, r->store_id))
                return 0;
        bool wanted = false;
        int q = *l->object ? in_use(r->c, l->object, &wanted, r->e)
                           : abort_uploads(r->c, r->s, r->e);
        if (q == 0 && *l->object && !wanted)
                q = store_remove(r->s, l->object, r->e);
        if (q == -ECANCELED || (q < 0 && !refused(q) && err_can_wait(q)))
                return q;
        return catalog_litter_remove(r->c, l, r->e);
}

int sweep_store(struct catalog *c, struct store *s, const char *store_id, struct err *e)
{
        struct remove r = {c, s, store_id, e};
        return catalog_litter_each(c, remove_noted, &r, e);
}

/* ---- all stores ---- */

struct all {
        struct catalog *c;
        const struct config *config;
        const atomic_bool *stop;
        char *url, *id; /* the store looked at last, so that each is opened once */
        struct err *e;
};

static int sweep_one(struct all *a, const struct catalog_litter *l)
{
        _cleanup_(store_closep) struct store *s = NULL;
        if (stores_open(a->config, l->store_url, NULL, &s, NULL) < 0)
                return 0; /* not with this configuration */
        store_set_control(s, &(struct store_control){.stop = a->stop});
        if (store_check(s, *l->store_id ? l->store_id : NULL, NULL, a->e) < 0)
                return atomic_load(a->stop) ? -ECANCELED : 0; /* it is away: later */
        int q = sweep_store(a->c, s, l->store_id, a->e);
        return q == -ECANCELED ? q : 0;
}

static int each_store(void *ctx, const struct catalog_litter *l)
{
        struct all *a = ctx;
        if (a->url && streq(a->url, l->store_url) && streq(a->id, l->store_id))
                return 0;
        free(a->url);
        free(a->id);
        a->url = strdup(l->store_url);
        a->id = strdup(l->store_id);
        return a->url && a->id ? sweep_one(a, l) : err_oom(a->e);
}

int sweep_all(
        struct catalog *c, const struct config *config, const atomic_bool *stop, struct err *e)
{
        struct all a = {.c = c, .config = config, .stop = stop, .e = e};
        int q = catalog_litter_each(c, each_store, &a, e);
        free(a.url);
        free(a.id);
        return q;
}
