#include "commit_internal.h"

#include "catalog_version.h"
#include "job.h"
#include "spec.h"

static int warn(void *ctx, const char *text, struct err *e _unused_)
{
        run_event(ctx, 'w', "%s", text);
        return 0;
}

static int say(void *ctx, const char *text, struct err *e _unused_)
{
        run_event(ctx, 'i', "%s", text);
        return 0;
}

static int tick(void *ctx, struct err *e)
{
        return run_tick(ctx, e);
}

/* Whatever comes of it, it is this job's last run. */
static int note_job(struct run *r, const struct job *j, struct err *e)
{
        _cleanup_free_ char *chain = NULL;
        if (asprintf(&chain, "job:%s", j->file) < 0) {
                chain = NULL;
                return err_oom(e);
        }
        const struct catalog_run run = {
                .chain = chain, .job = j->file, .changed_only = j->changed_only};
        pthread_mutex_lock(&r->lock);
        int q = catalog_run_set(r->catalog, r->a.id, &run, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}

/* A saved job makes its list when it begins to run; once made it stays, whatever becomes of the
 * job's file. */
int job_list(struct run *r, struct err *e)
{
        if (r->a.has_tree || r->cut > 0 || spec_files_exist(r->env->data, r->a.id))
                return 0;
        _cleanup_(job_freep) struct job *j = NULL;
        int q = job_load_again(r->a.spec, r->a.config_file, &j, e);
        if (q < 0 || !j)
                return q == -ENOENT ? err_set(e, -EINVAL, "its job is gone: %s", e->text) : q;
        if ((q = note_job(r, j, e)) < 0)
                return q;
        const struct job_gather g = {.data = r->env->data,
                .id = r->a.id,
                .warn = warn,
                .log = say,
                .tick = tick,
                .ctx = r};
        return job_gather(j, &g, e);
}
