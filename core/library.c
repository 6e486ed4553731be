#include "library_internal.h"

#include "buf.h"
#include "catalog.h"
#include "clock.h"
#include "config.h"
#include "engine.h"
#include "glob.h"
#include "io.h"
#include "job.h"
#include "thread.h"

#include <jansson.h>
#include <limits.h>
#include <pthread.h>

#ifndef VERSION
#define VERSION "0"
#endif

#define LOOK_NS (CLOCK_NSEC / 10)

/* ---- small things ---- */

AGL_API const char *agl_version(void)
{
        return VERSION;
}

AGL_API void agl_free(void *p)
{
        free(p);
}

int library_error(int code, const struct err *e, struct agl_error *ret)
{
        if (!ret)
                return code;
        *ret = (struct agl_error){.code = code < 0 ? code : 0};
        if (code < 0)
                (void)snprintf(ret->text, sizeof ret->text, "%s",
                        *e->text ? e->text : err_words(code)); /* cut where too long */
        return code;
}

int library_take(void *to, size_t len, const void *from, struct err *e)
{
        size_t n = 0;
        if (from)
                memcpy(&n, from, sizeof n);
        if (n < sizeof n || n > 64 * KiB)
                return err_set(e, -EINVAL, "the struct does not begin with its size");
        memset(to, 0, len);
        memcpy(to, from, MIN(n, len));
        return 0;
}

AGL_API int agl_open(const char *config_file, struct agl **ret, struct agl_error *error)
{
        struct err e = {0};
        _cleanup_(config_freep) struct config *c = NULL;
        int q = config_load(config_file, &c, &e); /* mistakes show here */
        struct agl *a = q < 0 ? NULL : calloc(1, sizeof *a);
        if (q == 0 && (!a || (config_file && !(a->config_file = strdup(c->file)))))
                q = err_oom(&e);
        if (q < 0) {
                free(a);
                return library_error(q, &e, error);
        }
        *ret = a;
        return library_error(0, &e, error);
}

AGL_API void agl_close(struct agl *a)
{
        if (a)
                free(a->config_file);
        free(a);
}

/* ---- the list ---- */

static void list_done(struct agl_list *l)
{
        for (size_t i = 0; i < l->n; i++)
                free(l->v[i]);
        free(l->v);
        *l = (struct agl_list){0};
}

AGL_API size_t agl_list_count(const struct agl_list *l)
{
        return l->n;
}

AGL_API const char *agl_list_get(const struct agl_list *l, size_t i)
{
        return i < l->n ? l->v[i] : NULL;
}

AGL_API int agl_list_add(struct agl_list *l, const char *path)
{
        if (!path || !*path) /* it would be the working directory, whole */
                return -EINVAL;
        if (l->n + 1 >= l->cap) {
                size_t cap = MAX((size_t)64, l->cap * 2);
                char **v = reallocarray(l->v, cap, sizeof *v);
                if (!v)
                        return -ENOMEM;
                l->v = v;
                l->cap = cap;
        }
        _cleanup_free_ char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);
        char *copy = *path == '/' ? strdup(path) : cwd ? config_expand(path, cwd) : NULL;
        if (!copy)
                return -ENOMEM;
        l->v[l->n++] = copy;
        l->v[l->n] = NULL;
        return 0;
}

AGL_API void agl_list_remove(struct agl_list *l, size_t i)
{
        if (i >= l->n)
                return;
        free(l->v[i]);
        memmove(l->v + i, l->v + i + 1, (l->n - i) * sizeof *l->v); /* with the NULL */
        l->n--;
}

/* ---- one backup ---- */

struct call {
        const struct agl *a;
        struct agl_job job;
        struct config *config;
        struct engine *engine;
        struct job *saved;
        struct agl_list list;
        char *id;
        bool warned;

        pthread_mutex_t lock; /* over, result, why */
        pthread_cond_t cond;
        bool over;
        int result;
        struct err why;
};

static void call_done(struct call *k)
{
        engine_close(k->engine);
        config_free(k->config);
        job_free(k->saved);
        list_done(&k->list);
        free(k->id);
        pthread_cond_destroy(&k->cond);
        pthread_mutex_destroy(&k->lock);
}

static void call_init(struct call *k, const struct agl *a)
{
        pthread_condattr_t attr;
        *k = (struct call){.a = a};
        pthread_mutex_init(&k->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&k->cond, &attr);
        pthread_condattr_destroy(&attr);
}

/* Each line is a message of its own. */
static void say(const struct call *k, const char *text)
{
        while (k->job.message && *text) {
                size_t n = strcspn(text, "\n");
                char line[ERR_TEXT_MAX];
                (void)snprintf(line, sizeof line, "%.*s", (int)MIN(n, sizeof line), text); /* cut */
                if (*line)
                        k->job.message(k->job.ctx, line);
                text += n + (text[n] != 0);
        }
}

/* The job's own configuration, as a file would have it. */
static int load_config(struct call *k, struct err *e)
{
        const char *own = k->job.config;
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_free_ char *cwd = getcwd(NULL, 0);
        _cleanup_free_ char *name = cwd ? io_join(cwd, "CONFIG") : NULL;
        json_auto_t *o = NULL;
        if (!own)
                return config_load(k->a->config_file, &k->config, e);
        int q = config_json(own, strlen(own), "CONFIG", &o, e);
        if (q < 0)
                return q;
        buf_addf(&text, "{\"CONFIG\": %s\n}", own);
        if (buf_oom(&text) || !name)
                return err_oom(e);
        const struct config_overlay over = {buf_str(&text), text.len, name, "CONFIG", false};
        return config_load_over(k->a->config_file, &over, &k->config, e);
}

static int open_engine(struct call *k, const struct config *config, struct err *e)
{
        _cleanup_free_ char *said = NULL;
        int q = engine_open(config, ENGINE_WORK, NULL, &k->engine, e);
        if (q == 0)
                q = engine_prepare(k->engine, &said, e);
        if (q == 0)
                say(k, said);
        return q;
}

static int add_path(void *ctx, const char *path, struct err *e)
{
        int q = agl_list_add(ctx, path);
        return q == -EINVAL ? err_set(e, q, "the name of a file is empty") : q < 0 ? err_oom(e) : 0;
}

static int add_glob(struct call *k, const char *pattern, struct err *e)
{
        uint64_t n = 0;
        int q = glob_each(pattern, add_path, &k->list, &n, e);
        if (q < 0 || n > 0)
                return q;
        char text[ERR_TEXT_MAX];
        (void)snprintf(text, sizeof text, "the pattern %.900s finds nothing", pattern); /* cut */
        say(k, text);
        k->warned = true;
        return 0;
}

static int gather(struct call *k, struct err *e)
{
        int q = 0;
        for (size_t i = 0; q == 0 && k->job.files && k->job.files[i]; i++)
                q = add_path(&k->list, k->job.files[i], e);
        for (size_t i = 0; q == 0 && k->job.globs && k->job.globs[i]; i++)
                q = add_glob(k, k->job.globs[i], e);
        if (q < 0 || !k->job.gather_hook)
                return q;
        q = k->job.gather_hook(k->job.ctx, &k->list);
        return q == 0 ? 0
                      : err_set(e, -EINVAL, "the gather hook failed with %d; nothing was archived",
                                q);
}

static int order(struct call *k, struct err *e)
{
        const char *const *files = (const char *const *)k->list.v;
        if (!k->job.description)
                return err_set(e, -EINVAL, "a backup needs a description");
        if (k->job.flags & ~(AGL_CHANGED | AGL_CHECKSUM))
                return err_set(e, -EINVAL, "there is no flag %#x", k->job.flags);
        if (k->job.flags == AGL_CHECKSUM)
                return err_set(e, -EINVAL, "AGL_CHECKSUM says how AGL_CHANGED looks; give both");
        if (k->job.flags & AGL_CHANGED)
                return engine_backup_changed(k->engine, k->job.description, files,
                        k->job.flags & AGL_CHECKSUM, &k->id, e);
        return engine_backup(k->engine, k->job.description, files, &k->id, e);
}

/* ---- running it: the work in a thread of its own, the callbacks in the caller's ---- */

static void *work(void *arg)
{
        struct call *k = arg;
        struct err why = {0};
        int q = engine_run(k->engine, k->id, &why);
        pthread_mutex_lock(&k->lock);
        k->result = q;
        k->why = why;
        k->over = true;
        pthread_cond_signal(&k->cond);
        pthread_mutex_unlock(&k->lock);
        return NULL;
}

static bool wait_a_little(struct call *k)
{
        int64_t until = clock_monotonic() + LOOK_NS;
        const struct timespec ts = clock_timespec(until);
        pthread_mutex_lock(&k->lock);
        if (!k->over)
                (void)pthread_cond_timedwait(&k->cond, &k->lock, &ts); /* time-out: look */
        bool over = k->over;
        pthread_mutex_unlock(&k->lock);
        return over;
}

static void show(struct call *k, struct catalog *c)
{
        struct catalog_archive a = {0};
        if (!k->job.progress || catalog_archive_get(c, k->id, &a, NULL) < 0)
                return; /* the next look may find it */
        const struct agl_progress p = {.archive = a.name,
                .state = archive_state_name(a.state),
                .files = a.n_files,
                .read_bytes = a.read_bytes,
                .stored_bytes = a.stored_bytes};
        k->job.progress(k->job.ctx, &p);
        catalog_archive_done(&a);
}

static int watch(struct call *k, struct catalog *c, struct err *e)
{
        bool canceled = false;
        while (!wait_a_little(k)) {
                show(k, c);
                if (canceled || !k->job.cancel || !k->job.cancel(k->job.ctx))
                        continue;
                canceled = true;
                (void)engine_abort(k->engine, k->id, NULL); /* -EBUSY: it is stored by now */
        }
        show(k, c);
        if (canceled && k->result < 0)
                return err_set(e, -ECANCELED, "canceled, and undone");
        return 0;
}

static int execute(struct call *k, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        pthread_t thread;
        engine_set_patience(k->engine, k->job.patience * CLOCK_NSEC);
        int q = engine_catalog(k->engine, &c, e);
        if (q < 0)
                return q;
        if ((q = thread_start(&thread, work, k)) < 0)
                return err_errno(e, q, "cannot start a thread");
        q = watch(k, c, e);
        pthread_join(thread, NULL);
        if (q < 0)
                return q;
        if (k->result < 0)
                *e = k->why;
        return k->result;
}

static int give_name(struct call *k, struct catalog *c, char **ret, struct err *e)
{
        struct catalog_archive a = {0};
        int q = catalog_archive_get(c, k->id, &a, e);
        if (q == 0)
                *ret = steal(a.name);
        catalog_archive_done(&a);
        return q;
}

static int show_event(void *ctx, int64_t time _unused_, char level, const char *text)
{
        if (level == 'w')
                say(ctx, text);
        return 0;
}

/* It is there: what it is called, and what its log warns of. */
static int tell(struct call *k, int q, char **ret_archive, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        int r = engine_catalog(k->engine, &c, e);
        if (r == 0 && q > 0)
                r = catalog_events(c, k->id, show_event, k, e);
        if (r == 0 && ret_archive)
                r = give_name(k, c, ret_archive, e);
        return r;
}

static int finish(struct call *k, int q, char **ret_archive, struct err *e)
{
        struct err late = {0};
        if (q >= 0 || q == -EAGAIN) {
                int told = tell(k, q, ret_archive, &late);
                if (told < 0)
                        *e = late;
                q = told < 0 ? told : q;
        }
        return q < 0 ? q : q > 0 || k->warned;
}

static int backup(struct call *k, const struct agl_job *job, struct err *e)
{
        int q = library_take(&k->job, sizeof k->job, job, e);
        if (q < 0 || (q = load_config(k, e)) < 0 || (q = open_engine(k, k->config, e)) < 0 ||
                (q = gather(k, e)) < 0 || (q = order(k, e)) < 0)
                return q;
        return execute(k, e);
}

AGL_API int agl_backup(
        struct agl *a, const struct agl_job *job, char **ret_archive, struct agl_error *error)
{
        _cleanup_(call_done) struct call k;
        struct err e = {0};
        call_init(&k, a);
        int q = backup(&k, job, &e);
        q = k.id ? finish(&k, q, ret_archive, &e) : q;
        return library_error(q, &e, error);
}

static int run_saved(struct call *k, const char *job, const struct agl_job *with, struct err *e)
{
        int q = with ? library_take(&k->job, sizeof k->job, with, e) : 0;
        if (q == 0 && (!job || !*job))
                return err_set(e, -EINVAL, "the name of a job is empty");
        if (q < 0 || (q = job_load(job, k->a->config_file, &k->saved, e)) < 0 ||
                (q = open_engine(k, k->saved->config, e)) < 0 ||
                (q = engine_job(k->engine, k->saved, k->job.description, &k->id, e)) < 0)
                return q;
        return execute(k, e);
}

AGL_API int agl_run(struct agl *a, const char *job, const struct agl_job *with, char **ret_archive,
        struct agl_error *error)
{
        _cleanup_(call_done) struct call k;
        struct err e = {0};
        call_init(&k, a);
        int q = run_saved(&k, job, with, &e);
        q = k.id ? finish(&k, q, ret_archive, &e) : q;
        return library_error(q, &e, error);
}

AGL_API int agl_auto_glacier(const char *const *files, const char *const *globs,
        const char *description, struct agl_error *error)
{
        struct agl *a = NULL;
        const struct agl_job job = {
                .size = sizeof job, .description = description, .files = files, .globs = globs};
        int q = agl_open(NULL, &a, error);
        if (q == 0)
                q = agl_backup(a, &job, NULL, error);
        agl_close(a);
        return q;
}
