#include "commit_internal.h"

#include "crash.h"
#include "spec.h"
#include "staging.h"

struct back {
        char **paths;
        size_t n;
};

static void back_done(struct back *b)
{
        for (size_t i = 0; i < b->n; i++)
                free(b->paths[i]);
        free(b->paths);
}

static int collect(void *ctx, const char *path, const char *why _unused_)
{
        struct back *b = ctx;
        char **v = realloc(b->paths, (b->n + 1) * sizeof *v);
        if (!v)
                return -ENOMEM;
        b->paths = v;
        if (!(v[b->n] = strdup(path)))
                return -ENOMEM;
        b->n++;
        return 0;
}

static int give_back(struct run *r, const char *const *paths, size_t n, struct err *e)
{
        _cleanup_free_ char *where = NULL;
        int q = staging_give_back(r->env->staging, r->a.id, paths, n, r->a.name, &where, e);
        if (q == 0 && where && *where)
                run_event(r, 'i',
                        "what went back to the staging area is in the folder %s there, since names "
                        "were taken",
                        where);
        return q;
}

static int give_back_missed(struct run *r, struct err *e)
{
        _cleanup_(back_done) struct back b = {0};
        int q = catalog_list_each(r->catalog, r->a.id, "return", collect, &b, e);
        if (q < 0 || b.n == 0)
                return q;
        return give_back(r, (const char *const *)b.paths, b.n, e);
}

static void remove_spool(struct run *r)
{
        spooling_clear(r);
        _cleanup_free_ char *manifest = NULL;
        if (asprintf(&manifest, "%s/spool/%s.manifest", r->env->data, r->a.id) < 0)
                manifest = NULL;
        else
                (void)unlink(manifest); /* one that stays is only litter */
        spec_files_remove(r->env->data, r->a.id);
}

/* After the row that says `stored`: what was not archived goes back, the rest of the tree goes. */
int release_tree(struct run *r, struct err *e)
{
        int q = 0;
        if (r->a.has_tree) {
                q = staging_restore_modes(r->env->staging, r->a.id, e);
                if (q == 0)
                        q = r->a.keep_tree ? give_back(r, NULL, 0, e) : give_back_missed(r, e);
                crash_point("given-back");
                if (q == 0)
                        q = r->a.keep_tree ? staging_drop_empty(r->env->staging, r->a.id, e)
                                           : staging_release(r->env->staging, r->a.id, e);
                crash_point("tree-released");
        }
        if (q < 0)
                return q;
        remove_spool(r);
        r->a.released = true;
        q = catalog_archive_update(r->catalog, &r->a, e);
        return q < 0 ? q : catalog_archive_settle(r->catalog, r->a.id, e);
}

int release_back(struct run *r, struct err *e)
{
        int q = 0;
        if (r->a.has_tree) {
                q = staging_restore_modes(r->env->staging, r->a.id, e);
                if (q == 0)
                        q = give_back(r, NULL, 0, e);
                if (q == 0)
                        q = staging_drop_empty(r->env->staging, r->a.id, e);
        }
        if (q == 0)
                remove_spool(r);
        return q;
}
