#include "commit_internal.h"

#include <inttypes.h>
#include <jansson.h>

static uint64_t offset_of(const json_t *spec, const char *key)
{
        const json_t *v = json_object_get(spec, key);
        return json_is_integer(v) ? (uint64_t)json_integer_value(v) : UINT64_MAX;
}

int phases_load(struct run *r, struct err *e)
{
        json_error_t why;
        json_auto_t *spec = json_loads(r->a.spec, 0, &why);
        if (!json_is_object(spec))
                return err_set(e, -EPROTO, "the catalogue's row of archive %s is broken: %s",
                        r->a.id, why.text);
        r->phases = (struct phases){offset_of(spec, "walked"), offset_of(spec, "manifest")};
        return 0;
}

static int put(json_t *spec, const char *key, uint64_t v)
{
        if (v == UINT64_MAX)
                return 0 * json_object_del(spec, key); /* absent is what we want */
        return json_object_set_new(spec, key, json_integer((json_int_t)v));
}

int phases_save(struct run *r, struct err *e)
{
        json_auto_t *spec = json_loads(r->a.spec, 0, NULL);
        if (!spec || put(spec, "walked", r->phases.walked) < 0 ||
                put(spec, "manifest", r->phases.manifest) < 0)
                return err_oom(e);
        char *text = json_dumps(spec, JSON_COMPACT);
        if (!text)
                return err_oom(e);
        free(r->a.spec);
        r->a.spec = text;
        pthread_mutex_lock(&r->lock);
        int q = catalog_archive_update(r->catalog, &r->a, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}
