#include "engine_internal.h"

#include "config.h"
#include "spec.h"
#include "staging.h"

struct list {
        char **ids;
        size_t n;
};

static void list_done(struct list *l)
{
        for (size_t i = 0; i < l->n; i++)
                free(l->ids[i]);
        free(l->ids);
}

static int list_add(struct list *l, const char *id)
{
        char **v = reallocarray(l->ids, l->n + 1, sizeof *v);
        if (!v)
                return -ENOMEM;
        l->ids = v;
        if (!(v[l->n] = strdup(id)))
                return -ENOMEM;
        l->n++;
        return 0;
}

static int add_id(void *ctx, const char *id, struct err *e)
{
        return list_add(ctx, id) < 0 ? err_oom(e) : 0;
}

static int add_prepared(void *ctx, const struct catalog_archive *a)
{
        return a->state == ARCHIVE_PREPARED ? list_add(ctx, a->id) : 0;
}

/* The row was lost (an older catalogue was put back, say), the tree was not. */
static int adopt(struct engine *g, struct catalog *c, const char *id, struct err *e)
{
        struct catalog_archive there = {0};
        if (catalog_archive_get(c, id, &there, NULL) == 0) { /* somebody was quicker */
                catalog_archive_done(&there);
                return 0;
        }
        int q = staging_drop_empty(g->staging, id, e);
        if (q != -ENOTEMPTY)
                return q; /* a freeze that never came to its exchange */
        _cleanup_free_ char *json = NULL;
        struct err why = {0};
        struct catalog_archive a = {0};
        q = staging_read_json(g->staging, id, &json, &why);
        if (q == 0)
                q = rows_from_json(json, &a, &why);
        if (q < 0 && (q = rows_new(g, c, "found in the staging folder", &a, e)) == 0) {
                free(a.id);
                free(a.spec);
                a.id = strdup(id);
                a.spec = strdup("{\"tree\":true}");
                if (!a.id || !a.spec)
                        q = err_oom(e);
        }
        a.has_tree = true;
        if (q == 0)
                q = catalog_archive_add(c, &a, e);
        if (q == 0)
                q = catalog_event(c, id, 'w',
                        "adopted: its staged files were there, its row in the catalogue was not",
                        e);
        if (q == 0)
                q = catalog_archive_set_state(c, id, ARCHIVE_QUEUED, "", 0, e);
        catalog_archive_done(&a);
        return q;
}

/* Whoever wrote the list was killed before the row was there: the job never was. */
static int drop_list(struct engine *g, struct catalog *c, const char *id, struct err *e)
{
        struct catalog_archive there = {0};
        int q = catalog_archive_get(c, id, &there, e);
        catalog_archive_done(&there);
        if (q == -ENOENT)
                spec_files_remove(g->config->data, id);
        return q == -ENOENT ? 0 : q;
}

/* A row whose writer died: with a frozen tree the commit goes on, without one it never happened. */
static int settle_prepared(struct engine *g, struct catalog *c, const char *id, struct err *e)
{
        struct catalog_archive a = {0};
        int q = catalog_archive_get(c, id, &a, e);
        if (q < 0)
                return q == -ENOENT ? 0 : q;
        bool has_tree = a.has_tree, prepared = a.state == ARCHIVE_PREPARED, read = a.released;
        catalog_archive_done(&a);
        if (!prepared)
                return 0;
        if (read) /* a `recover` was cut off while it read this one; the next reads it again */
                return catalog_archive_remove(c, id, e);
        q = has_tree ? staging_drop_empty(g->staging, id, e) : -ENOTEMPTY;
        if (q == -ENOTEMPTY)
                return catalog_archive_set_state(c, id, ARCHIVE_QUEUED, "", 0, e);
        return q < 0 ? q : catalog_archive_remove(c, id, e);
}

static int with_lock(struct engine *g, struct catalog *c, const char *id,
        int (*fn)(struct engine *g, struct catalog *c, const char *id, struct err *e),
        struct err *e)
{
        int fd;
        int q = jobs_lock(g, id, &fd, NULL);
        if (q < 0)
                return 0; /* somebody is at it */
        q = fn(g, c, id, e);
        jobs_unlock(fd);
        return q;
}

/* Those without a row. */
static int each_unknown(struct engine *g, struct catalog *c, const struct list *l,
        int (*fn)(struct engine *g, struct catalog *c, const char *id, struct err *e),
        struct err *e)
{
        int q = 0;
        for (size_t i = 0; i < l->n && q == 0; i++) {
                struct catalog_archive a = {0};
                q = catalog_archive_get(c, l->ids[i], &a, e);
                catalog_archive_done(&a);
                if (q == -ENOENT)
                        q = with_lock(g, c, l->ids[i], fn, e);
        }
        return q;
}

int recover_staging(struct engine *g, struct catalog *c, struct err *e)
{
        _cleanup_(list_done) struct list prepared = {0};
        _cleanup_(list_done) struct list frozen = {0};
        _cleanup_(list_done) struct list files = {0};
        int q = catalog_archive_each(c, add_prepared, &prepared, e);
        for (size_t i = 0; q == 0 && i < prepared.n; i++)
                q = with_lock(g, c, prepared.ids[i], settle_prepared, e);
        if (q == 0)
                q = staging_each_frozen(g->staging, add_id, &frozen, e);
        if (q == 0)
                q = each_unknown(g, c, &frozen, adopt, e);
        if (q == 0)
                q = spec_files_each(g->config->data, add_id, &files, e);
        return q < 0 ? q : each_unknown(g, c, &files, drop_list, e);
}
