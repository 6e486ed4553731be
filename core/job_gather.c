#include "job.h"

#include "glob.h"
#include "io.h"
#include "job_hook.h"
#include "spec.h"

#include <fcntl.h>

/* ---- files and globs ---- */

static int pick_glob(const char *pattern, const struct job_visitor *v, struct err *e)
{
        uint64_t n = 0;
        int q = glob_each(pattern, v->path, v->ctx, &n, e);
        if (q != 0 || n > 0 || !v->warn)
                return q;
        char text[1024];
        (void)snprintf(text, sizeof text, "the pattern %.900s finds nothing", pattern); /* cut */
        return v->warn(v->ctx, text, e);
}

int job_pick(const struct job *j, const struct job_visitor *v, struct err *e)
{
        int q = 0;
        for (size_t i = 0; q == 0 && j->files[i]; i++)
                q = v->path(v->ctx, j->files[i], e);
        for (size_t i = 0; q == 0 && j->globs[i]; i++)
                q = pick_glob(j->globs[i], v, e);
        return q;
}

/* ---- the list, through the hook ---- */

struct gathering {
        const struct job_gather *g;
        struct spec_writer *list;
        FILE *before;   /* for the hook */
        char last[256]; /* line that the hook said */
};

static int keep_path(void *ctx, const char *path, struct err *e)
{
        struct gathering *k = ctx;
        return spec_writer_add(k->list, path, e);
}

static int keep_before(void *ctx, const char *path, struct err *e)
{
        struct gathering *k = ctx;
        if (fwrite(path, strlen(path) + 1, 1, k->before) != 1)
                return err_errno(e, -errno, "cannot write the list for the gather hook");
        return 0;
}

static int warn(void *ctx, const char *text, struct err *e)
{
        const struct gathering *k = ctx;
        return k->g->warn(k->g->ctx, text, e);
}

static int say(void *ctx, const char *text, struct err *e)
{
        struct gathering *k = ctx;
        char line[1200];
        (void)snprintf(k->last, sizeof k->last, "%s", text);             /* cut */
        (void)snprintf(line, sizeof line, "gather hook: %.1100s", text); /* cut */
        return k->g->log(k->g->ctx, line, e);
}

static int tick(void *ctx, struct err *e)
{
        const struct gathering *k = ctx;
        return k->g->tick ? k->g->tick(k->g->ctx, e) : 0;
}

static int open_before(struct gathering *k, struct err *e)
{
        _cleanup_free_ char *spool = io_join(k->g->data, "spool");
        if (!spool)
                return err_oom(e);
        int fd = open(spool, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0 || !(k->before = fdopen(fd, "w+"))) {
                int q = -errno;
                base_closep(&fd);
                return err_errno(e, q, "cannot make a file in %s", spool);
        }
        return 0;
}

static int ask_hook(struct gathering *k, const struct job *j, struct err *e)
{
        int q = open_before(k, e);
        if (q == 0)
                q = job_pick(
                        j, &(struct job_visitor){.path = keep_before, .warn = warn, .ctx = k}, e);
        if (q == 0 && (fflush(k->before) != 0 || lseek(fileno(k->before), 0, SEEK_SET) < 0))
                q = err_errno(e, -errno, "cannot write the list for the gather hook");
        if (q != 0)
                return q;
        const struct job_hook h = {
                .argv = (const char *const *)j->hook,
                .limit_ns = j->hook_limit_ns,
                .job = j->name,
                .list_fd = fileno(k->before),
                .path = keep_path,
                .log = say,
                .tick = tick,
                .ctx = k,
        };
        q = job_hook_run(&h, e);
        if (q == -EINVAL && *k->last)
                err_hint(e, "it said: %s", k->last);
        return q;
}

int job_gather(const struct job *j, const struct job_gather *g, struct err *e)
{
        _cleanup_(spec_writer_freep) struct spec_writer *list = NULL;
        int q = spec_writer_new(g->data, g->id, &list, e);
        if (q < 0)
                return q;
        struct gathering k = {.g = g, .list = list};
        if (j->hook)
                q = ask_hook(&k, j, e);
        else
                q = job_pick(
                        j, &(struct job_visitor){.path = keep_path, .warn = warn, .ctx = &k}, e);
        fclosep(&k.before);
        if (q == 0 && spec_writer_count(list) == 0)
                q = err_set(e, -ENODATA, "the job %s has picked nothing to archive", j->name);
        return q != 0 ? q : spec_writer_commit(list, e);
}
