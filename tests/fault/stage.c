/* stage.c - what a mount does with the staging area, without one, for tests that fail its calls.
 *
 *     stage commit        commits what is staged and works on it as far as that goes
 *     stage go            goes on with every archive, whatever it waits for
 *     stage abort NAME    takes one back
 *
 * Exits with 0, or with 1 and words. */
#include "catalog.h"
#include "config.h"
#include "engine.h"

static int say(int q, const struct err *e)
{
        if (q < 0)
                (void)fprintf(stderr, "%s\n", e->text);
        return q < 0;
}

static int commit(struct engine *g, struct err *e)
{
        char *id = NULL;
        int q = engine_commit(g, "some words", 10, NULL, &id, e);
        if (q == 0)
                q = engine_commit_seal(g, id, e);
        if (q == 0)
                q = engine_run(g, id, e);
        free(id);
        return q;
}

static int go_on(void *ctx, const struct catalog_archive *a)
{
        struct engine *g = ctx;
        struct err e = {0};
        if (a->state == ARCHIVE_DELETED || a->released)
                return 0;
        (void)engine_retry(g, a->id, &e); /* what does not wait needs none */
        int q = engine_run(g, a->id, &e);
        if (q < 0)
                (void)fprintf(stderr, "%s: %s\n", a->name, e.text);
        return 0;
}

static int go(struct engine *g, struct err *e)
{
        struct catalog *c = NULL;
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = catalog_archive_each(c, go_on, g, e);
        catalog_close(c);
        return q;
}

static int take_back(struct engine *g, const char *name, struct err *e)
{
        struct catalog *c = NULL;
        struct catalog_archive a = {0};
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = catalog_archive_get_name(c, name, &a, e);
        if (q == 0)
                q = engine_abort(g, a.id, e);
        catalog_archive_done(&a);
        catalog_close(c);
        return q;
}

int main(int argc, char **argv)
{
        struct err e = {0};
        struct config *config = NULL;
        struct engine *g = NULL;
        if (argc < 2)
                return 2;
        int q = config_load(NULL, &config, &e);
        if (q == 0)
                q = engine_open(config, ENGINE_MOUNT, "/mnt/none", &g, &e);
        if (q == 0)
                q = engine_prepare(g, NULL, &e);
        if (q == 0)
                q = streq(argv[1], "commit") ? commit(g, &e)
                    : streq(argv[1], "go")   ? go(g, &e)
                    : argc == 3              ? take_back(g, argv[2], &e)
                                             : -EINVAL;
        engine_close(g);
        config_free(config);
        return say(q, &e);
}
