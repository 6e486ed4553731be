#include "engine_internal.h"

#include "clock.h"
#include "config.h"
#include "content.h"
#include "store.h"
#include "stores.h"

/* Each has a connection, a store, a decoded block and what was fetched for it: up to 50 MiB. */
#define SOURCES_IDLE 3u

struct sources {
        struct engine *g;
        const atomic_bool *stop;
        pthread_mutex_t lock;
        struct source *idle[SOURCES_IDLE];
};

static void source_free(struct source *s)
{
        if (!s)
                return;
        content_free(s->content);
        store_close(s->store);
        catalog_archive_done(&s->a);
        catalog_close(s->catalog);
        config_free(s->config);
        free(s);
}
DEFINE_CLEANUP(source_free, struct source *)

int sources_new(struct engine *g, const atomic_bool *stop, struct sources **ret, struct err *e)
{
        struct sources *k = calloc(1, sizeof *k);
        if (!k)
                return err_oom(e);
        k->g = g;
        k->stop = stop;
        pthread_mutex_init(&k->lock, NULL);
        *ret = k;
        return 0;
}

void sources_free(struct sources *k)
{
        sources_drop(k, INT64_MAX);
        pthread_mutex_destroy(&k->lock);
        free(k);
}

static int open_new(struct sources *k, const char *id, struct source **ret, struct err *e)
{
        struct engine *g = k->g;
        _cleanup_(source_freep) struct source *s = calloc(1, sizeof *s);
        if (!s)
                return err_oom(e);
        const struct store_control control = {.stop = k->stop};
        int q = engine_catalog(g, &s->catalog, e);
        if (q == 0)
                q = catalog_archive_get(s->catalog, id, &s->a, e);
        if (q == 0)
                q = jobs_config(g, s->catalog, id, &s->config, e);
        if (q == 0)
                q = stores_open(s->config ? s->config : g->config, s->a.store_url,
                        s->a.storage_class, &s->store, e);
        if (q < 0)
                return q;
        store_set_control(s->store, &control);
        q = content_new(s->catalog, s->store, &s->a, engine_unwrap, g, &s->content, e);
        if (q == 0)
                *ret = steal(s);
        return q;
}

/* Under the lock: the place of the one that was used longest ago, or an empty one. */
static struct source **oldest(struct sources *k)
{
        struct source **p = &k->idle[0];
        for (size_t i = 1; *p && i < SOURCES_IDLE; i++)
                if (!k->idle[i] || k->idle[i]->used < (*p)->used)
                        p = &k->idle[i];
        return p;
}

int sources_take(struct sources *k, const char *id, const struct catalog_member *m,
        struct source **ret, struct err *e)
{
        struct source **best = NULL, *mine = NULL, *old = NULL;
        pthread_mutex_lock(&k->lock);
        for (size_t i = 0; i < SOURCES_IDLE; i++) {
                struct source **s = &k->idle[i];
                if (*s && streq((*s)->a.id, id) && (!best || content_is_near((*s)->content, m)))
                        best = s;
        }
        if (best)
                mine = steal(*best);
        else if (*(best = oldest(k)))
                old = steal(*best); /* a new one takes its memory */
        pthread_mutex_unlock(&k->lock);
        source_free(old);
        if (!mine)
                return open_new(k, id, ret, e);
        *ret = mine;
        return 0;
}

void sources_give(struct sources *k, struct source *s)
{
        struct source *old = s;
        s->used = clock_monotonic();
        pthread_mutex_lock(&k->lock);
        if (!atomic_load(k->stop)) {
                struct source **p = oldest(k);
                old = *p;
                *p = s;
        }
        pthread_mutex_unlock(&k->lock);
        source_free(old);
}

void sources_drop(struct sources *k, int64_t before)
{
        struct source *old[SOURCES_IDLE] = {0};
        pthread_mutex_lock(&k->lock);
        for (size_t i = 0; i < SOURCES_IDLE; i++)
                if (k->idle[i] && k->idle[i]->used < before)
                        old[i] = steal(k->idle[i]);
        pthread_mutex_unlock(&k->lock);
        for (size_t i = 0; i < SOURCES_IDLE; i++)
                source_free(old[i]);
}
