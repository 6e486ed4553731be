#include "library_internal.h"

#include "catalog.h"
#include "catalog_version.h"
#include "config.h"
#include "engine.h"
#include "keyring.h"
#include "restore.h"
#include "secret.h"
#include "store.h"
#include "stores.h"

/* What every look begins with. */
struct look {
        struct config *config;
        struct engine *engine;
        struct catalog *catalog;
};

static void look_done(struct look *l)
{
        catalog_close(l->catalog);
        engine_close(l->engine);
        config_free(l->config);
}

static int look_begin(struct look *l, const struct agl *a, struct err *e)
{
        int q = config_load(a->config_file, &l->config, e);
        if (q < 0)
                return q;
        q = engine_open(l->config, ENGINE_READ, NULL, &l->engine, e);
        if (q == -ENOENT)
                return err_set(e, q, "nothing has been archived yet: there is no data folder %s",
                        l->config->data);
        if (q == 0)
                q = engine_catalog(l->engine, &l->catalog, e);
        if (q == 0) /* what was wrong and did not matter is not what a caller's function returns */
                *e = (struct err){0};
        return q;
}

/* ---- archives ---- */

struct archives {
        int (*each)(void *ctx, const struct agl_archive *archive);
        void *ctx;
};

static int show_archive(void *ctx, const struct catalog_archive *a)
{
        const struct archives *s = ctx;
        if (a->state == ARCHIVE_DELETED || a->state == ARCHIVE_PREPARED)
                return 0;
        const struct agl_archive p = {.id = a->id,
                .name = a->name,
                .description = a->description,
                .state = archive_state_name(a->state),
                .created = a->created,
                .stored = a->stored,
                .files = a->n_files + a->n_hardlinks,
                .bytes = a->bytes,
                .stored_bytes = a->stored_bytes,
                .warnings = a->n_warnings};
        return s->each(s->ctx, &p);
}

AGL_API int agl_archives(struct agl *a, int (*each)(void *ctx, const struct agl_archive *archive),
        void *ctx, struct agl_error *error)
{
        _cleanup_(look_done) struct look l = {0};
        struct archives s = {each, ctx};
        struct err e = {0};
        int q = look_begin(&l, a, &e);
        if (q == -ENOENT)
                return library_error(0, &e, error); /* nothing has been archived yet */
        if (q == 0)
                q = catalog_archive_each(l.catalog, show_archive, &s, &e);
        return library_error(q, &e, error);
}

/* ---- files ---- */

struct files {
        const char *id;
        int (*each)(void *ctx, const struct agl_file *file);
        void *ctx;
};

static int show_file(void *ctx, const char *archive, const struct catalog_member *m)
{
        const struct files *s = ctx;
        const struct agl_file f = {.path = m->path,
                .type = m->type,
                .mode = m->mode,
                .uid = m->uid,
                .gid = m->gid,
                .size = m->size,
                .mtime = m->mtime,
                .sha512 = m->sha512,
                .link = m->link,
                .archive = archive};
        return m->type == 'i' ? 0 : s->each(s->ctx, &f);
}

static int show_own(void *ctx, const struct catalog_member *m)
{
        const struct files *s = ctx;
        return show_file(ctx, s->id, m);
}

AGL_API int agl_files(struct agl *a, const char *archive,
        int (*each)(void *ctx, const struct agl_file *file), void *ctx, struct agl_error *error)
{
        _cleanup_(look_done) struct look l = {0};
        _cleanup_(catalog_archive_done) struct catalog_archive found = {0};
        struct err e = {0};
        int q = look_begin(&l, a, &e);
        if (q == 0)
                q = catalog_archive_resolve(l.catalog, archive, &found, &e);
        struct files s = {found.id, each, ctx};
        if (q == 0)
                q = catalog_members_each(l.catalog, found.id, CATALOG_AS_TREE, show_own, &s, &e);
        if (q == 0)
                q = catalog_unchanged_each(l.catalog, found.id, show_file, &s, &e);
        return library_error(q, &e, error);
}

/* ---- restoring ---- */

struct restoring {
        const struct agl_restore *r;
        atomic_bool stop;
};

static void progress(void *ctx, const struct restore_progress *p)
{
        struct restoring *k = ctx;
        if (k->r->progress)
                k->r->progress(k->r->ctx, p->bytes, p->todo_bytes);
        if (k->r->cancel && k->r->cancel(k->r->ctx))
                atomic_store(&k->stop, true);
}

static void warn(void *ctx, const char *path, const char *why)
{
        const struct restoring *k = ctx;
        char text[2048];
        if (!k->r->message)
                return;
        (void)snprintf(text, sizeof text, "%s: %s", path, why); /* cut where too long */
        k->r->message(k->r->ctx, text);
}

int library_unlock(struct keyring *keys, const char *passphrase, struct err *e)
{
        _cleanup_secret_ struct secret *s = NULL;
        if (!passphrase || !*passphrase)
                return 0;
        if (secret_copy(passphrase, strlen(passphrase), &s) < 0)
                return err_oom(e);
        int q = keyring_unlock(keys, s, 0, e);
        return q == -EALREADY ? 0 : q;
}

static int restore(struct look *l, struct restoring *k, struct err *e)
{
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        _cleanup_(keyring_freep) struct keyring *keys = NULL;
        _cleanup_(store_closep) struct store *s = NULL;
        if (!k->r->archive || !k->r->to)
                return err_set(e, -EINVAL, "a restore needs an archive and a folder");
        int q = catalog_archive_resolve(l->catalog, k->r->archive, &a, e);
        if (q == 0)
                q = keyring_new(l->config, &keys, e);
        if (q == 0)
                q = library_unlock(keys, k->r->passphrase, e);
        if (q == 0)
                q = stores_open(l->config, a.store_url, a.storage_class, &s, e);
        if (q == 0 && s->traits.cold && k->r->ask)
                return library_thaw(l->config, a.id, k->r, e);
        if (q == 0)
                q = store_check_readable(s, *a.store_id ? a.store_id : NULL, NULL, e);
        if (q < 0)
                return q;
        keyring_use_agent(keys, true);
        const struct restore_params p = {.paths = k->r->paths,
                .to = k->r->to,
                .overwrite = k->r->overwrite != 0,
                .unwrap = keyring_unwrap,
                .unwrap_ctx = keys,
                .progress = progress,
                .warn = warn,
                .ctx = k,
                .stop = &k->stop};
        struct restore_progress done = {0};
        return restore_run(l->catalog, s, &a, &p, &done, e);
}

AGL_API int agl_restore(struct agl *a, const struct agl_restore *r, struct agl_error *error)
{
        _cleanup_(look_done) struct look l = {0};
        struct agl_restore mine;
        struct restoring k = {.r = &mine};
        struct err e = {0};
        int q = library_take(&mine, sizeof mine, r, &e);
        if (q == 0)
                q = look_begin(&l, a, &e);
        if (q == 0)
                q = restore(&l, &k, &e);
        return library_error(q, &e, error);
}
