#include "stores.h"

#include "store.h"
#include "store_dir.h"
#include "store_glacier.h"
#include "store_retry.h"
#include "store_s3.h"

#ifdef CRASH_POINTS
#include "store_cold.h"
#endif

static int open_dir(const struct config *config _unused_, const char *url,
        const char *storage_class _unused_, struct store **ret, struct err *e)
{
        return store_dir_new(url, ret, e);
}

static int retried(struct store *inner, struct store **ret, struct err *e)
{
        int q = store_retry_new(&inner, STORE_RETRY_TRIES, ret, e);
        store_close(inner); /* NULL where it was taken */
        return q;
}

static int open_s3(const struct config *config, const char *url, const char *storage_class,
        struct store **ret, struct err *e)
{
        struct store *s;
        int q = store_s3_new(config, url, storage_class, &s, e);
        return q < 0 ? q : retried(s, ret, e);
}

#ifdef CRASH_POINTS
static int open_cold(const struct config *config, const char *url, const char *storage_class,
        struct store **ret, struct err *e)
{
        const char *inner = store_cold_inner(url);
        _cleanup_(store_closep) struct store *s = NULL;
        if (!inner)
                return err_set(e, -EINVAL, "%s: it is written cold:SETTINGS/dir:/path", url);
        int q = stores_open(config, inner, storage_class, &s, e);
        return q < 0 ? q : store_cold_new(url, &s, ret, e);
}
#endif

static int open_glacier(const struct config *config, const char *url,
        const char *storage_class _unused_, struct store **ret, struct err *e)
{
        struct store *s;
        int q = store_glacier_new(config, url, &s, e);
        return q < 0 ? q : retried(s, ret, e);
}

static const struct scheme {
        const char *prefix;
        int (*open)(const struct config *config, const char *url, const char *storage_class,
                struct store **ret, struct err *e);
} schemes[] = {
#ifdef CRASH_POINTS
        {"cold:", open_cold},
#endif
        {"dir:", open_dir},
        {"glacier://", open_glacier},
        {"s3://", open_s3},
};

static const struct scheme *scheme_of(const char *url)
{
        for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
                if (startswith(url, schemes[i].prefix))
                        return &schemes[i];
        return NULL;
}

int stores_open(const struct config *config, const char *url, const char *storage_class,
        struct store **ret, struct err *e)
{
        const struct scheme *s = scheme_of(url);
        if (!s)
                return err_set(e, -EPROTONOSUPPORT,
                        "this version of autoglacier cannot open the store %s; it knows "
                        "dir:/path, s3://bucket and glacier://vault",
                        url);
        return s->open(config, url, storage_class, ret, e);
}

char *stores_volume_name(const char *origin, const char *id, unsigned volume, const char *suffix)
{
        char *s;
        return asprintf(&s, "archives/%s/%s-%04u%s.esdk", origin, id, volume, suffix) < 0 ? NULL
                                                                                          : s;
}

char *stores_manifest_name(const char *origin, const char *id)
{
        char *s;
        return asprintf(&s, "manifests/%s/%s.jsonl.xz.esdk", origin, id) < 0 ? NULL : s;
}
