#include "virtual_internal.h"

#include "clock.h"
#include "config.h"
#include "engine.h"
#include "job.h"

#include <fcntl.h>
#include <inttypes.h>

#define SHOWN_MAX 10000 /* files that a job matches */

static const struct {
        const char *name;
        enum vkind kind;
} in_job[] = {
        {"description", V_JOB_DESCRIPTION},
        {"files", V_JOB_FILES},
        {"last", V_JOB_LAST},
        {".commit", V_JOB_COMMIT},
};

const char *job_entry(size_t k, enum vkind *ret)
{
        if (k >= ARRAY_SIZE(in_job))
                return NULL;
        *ret = in_job[k].kind;
        return in_job[k].name;
}

/* FNV-1a, 40 bits: jobs have no numbers of their own. */
uint64_t job_number(const char *name)
{
        uint64_t h = 0xcbf29ce484222325ull;
        for (; *name; name++)
                h = (h ^ (unsigned char)*name) * 0x100000001b3ull;
        return h >> 24;
}

/* The configuration that the mount runs under; a missing default is none. */
static const char *config_file(struct mount *m)
{
        const struct config *c = engine_config(m->engine);
        return c->exists ? c->file : NULL;
}

bool job_exists(struct mount *m, const char *name)
{
        _cleanup_free_ char *path = NULL;
        if (strchr(name, '/') || *name == '.' ||
                asprintf(&path, "%s/%s.json", engine_config(m->engine)->jobs, name) < 0) {
                path = NULL;
                return false;
        }
        return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int jobs_list(struct mount *m, int (*each)(void *ctx, const char *name, struct err *e), void *ctx)
{
        return job_each(engine_config(m->engine), each, ctx, NULL);
}

static int load(struct mount *m, const struct vnode *v, struct job **ret, struct err *e)
{
        _cleanup_free_ char *path = NULL;
        if (asprintf(&path, "%s/%s.json", engine_config(m->engine)->jobs, v->name) < 0) {
                path = NULL;
                return err_oom(e);
        }
        return job_load(path, config_file(m), ret, e);
}

/* ---- what is shown ---- */

struct matched {
        struct buf *b;
        uint64_t n;
};

static int add_path(void *ctx, const char *path, struct err *e _unused_)
{
        struct matched *k = ctx;
        if (k->n++ < SHOWN_MAX)
                buf_addf(k->b, "%s\n", path);
        return 0;
}

static int add_warning(void *ctx, const char *text, struct err *e _unused_)
{
        struct matched *k = ctx;
        buf_addf(k->b, "# %s\n", text);
        return 0;
}

static int show_files(const struct job *j, struct buf *b, struct err *e)
{
        struct matched k = {.b = b};
        const struct job_visitor v = {.path = add_path, .warn = add_warning, .ctx = &k};
        int q = job_pick(j, &v, e);
        if (k.n > SHOWN_MAX)
                buf_addf(b, "# and %" PRIu64 " more\n", k.n - SHOWN_MAX);
        if (j->hook)
                buf_addf(b, "# before the gather hook %s, which runs with the job\n", j->hook[0]);
        return q;
}

static int show_last(struct mount *m, const struct job *j, struct buf *b, struct err *e)
{
        struct catalog *c = vtree_catalog(m->vtree, e);
        if (!c)
                return -EIO;
        _cleanup_free_ char *id = NULL;
        struct catalog_archive a = {0};
        int q = catalog_run_latest(c, j->file, &id, e);
        if (q == 0)
                q = catalog_archive_get(c, id, &a, e);
        vtree_give(m->vtree, &c);
        if (q == 0)
                buf_addf(b, "archives/%s is %s%s%s\n", a.name, catalog_archive_word(&a),
                        *a.error ? ": " : "", a.error);
        else if (q == -ENOENT)
                buf_adds(b, "it has not run yet\n");
        catalog_archive_done(&a);
        return q == -ENOENT ? 0 : q;
}

static int show(
        struct mount *m, const struct vnode *v, const struct job *j, struct buf *b, struct err *e)
{
        switch (v->kind) {
        case V_JOB_DESCRIPTION: {
                int q = job_description(j, clock_now(), b, e);
                buf_addc(b, '\n');
                return q;
        }
        case V_JOB_FILES:
                return show_files(j, b, e);
        case V_JOB_LAST:
                return show_last(m, j, b, e);
        default:
                buf_adds(b, "# Write anything into this file, and the job runs. Text counts as the "
                            "description if the job has none.\n");
                return 0;
        }
}

/* A job whose file is wrong says so wherever it is looked at. */
int job_render(struct mount *m, const struct vnode *v, struct buf *b, struct err *e)
{
        _cleanup_(job_freep) struct job *j = NULL;
        struct err why = {0};
        int q = load(m, v, &j, &why);
        if (q == -ENOMEM)
                return err_oom(e);
        if (q < 0)
                buf_addf(b, "# %s\n", why.text);
        q = q < 0 ? 0 : show(m, v, j, b, e);
        return q == 0 && buf_oom(b) ? err_oom(e) : q;
}

/* ---- running it ---- */

static char *description_of(const struct job *j, const char *text, size_t len)
{
        while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
                len--;
        return j->description || len == 0 ? NULL : strndup(text, len);
}

/* An engine of its own, under the job's configuration, orders it; whoever runs jobs here takes it.
 */
int job_commit(struct mount *m, const struct vnode *v, const char *text, size_t len, struct err *e)
{
        _cleanup_(job_freep) struct job *j = NULL;
        _cleanup_(engine_closep) struct engine *g = NULL;
        _cleanup_free_ char *id = NULL, *said = NULL;
        int q = load(m, v, &j, e);
        if (q == 0)
                q = engine_open(j->config, ENGINE_WORK, NULL, &g, e);
        if (q == 0)
                q = engine_prepare(g, &said, e);
        if (q < 0)
                return q;
        _cleanup_free_ char *description = description_of(j, text, len);
        q = engine_job(g, j, description, &id, e);
        return q < 0 ? q : engine_detach(g, id, e);
}
