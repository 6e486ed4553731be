#include "engine_internal.h"

#include "clock.h"
#include "commit.h"
#include "config.h"
#include "io.h"
#include "job.h"
#include "staging.h"
#include "sweep.h"
#include "thread.h"

#include <fcntl.h>

#define LOOK_AGAIN_NS (2 * CLOCK_NSEC)
#define SWEEP_NS      (60 * CLOCK_NSEC)
#define AGAIN_NS      (10 * CLOCK_NSEC)

/* ---- job locks ---- */

int jobs_lock(struct engine *g, const char *id, int *ret_fd, struct err *e)
{
        _cleanup_free_ char *name = NULL;
        if (asprintf(&name, "%s.lock", id) < 0) {
                name = NULL;
                return err_oom(e);
        }
        return io_lock_file(g->locks_fd, name, ret_fd, e);
}

void jobs_unlock(int fd)
{
        base_closep(&fd);
}

void jobs_over(struct engine *g, const char *id, int fd)
{
        _cleanup_free_ char *name = NULL;
        if (asprintf(&name, "%s.lock", id) < 0)
                name = NULL;
        else
                (void)unlinkat(g->locks_fd, name, 0); /* one that stays is only litter */
        jobs_unlock(fd);
}

void jobs_poke(struct engine *g)
{
        atomic_store(&g->news, true);
        pthread_mutex_lock(&g->lock);
        g->poked = true;
        g->idle = false;
        pthread_cond_broadcast(&g->cond);
        pthread_mutex_unlock(&g->lock);
}

/* ---- one job ---- */

void jobs_changed(void *ctx, const char *id)
{
        struct engine *g = ctx;
        pthread_mutex_lock(&g->lock);
        void (*fn)(void *, const char *) = g->on_change;
        void *fn_ctx = g->on_change_ctx;
        g->help_made = 0;
        pthread_mutex_unlock(&g->lock);
        if (fn)
                fn(fn_ctx, id);
}

/* A job runs under the configuration it was made under; its files may have gone since. */
int jobs_config(
        struct engine *g, struct catalog *c, const char *id, struct config **ret, struct err *e)
{
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        int q = catalog_archive_get(c, id, &a, e);
        if (q < 0)
                return q;
        *ret = NULL;
        _cleanup_(job_freep) struct job *saved = NULL;
        if (job_load_again(a.spec, a.config_file, &saved, NULL) == 0 && saved) {
                *ret = steal(saved->config);
                return 0;
        }
        if (*a.config_file && !streq(a.config_file, g->config->file) &&
                access(a.config_file, F_OK) == 0)
                q = config_load(a.config_file, ret, e);
        return q;
}

static bool is_finished(struct catalog *c, const char *id)
{
        struct catalog_archive a = {0};
        int q = catalog_archive_get(c, id, &a, NULL);
        bool done = q == -ENOENT || (q == 0 && archive_is_stored(a.state) && a.released);
        catalog_archive_done(&a);
        return done;
}

/* Otherwise nobody would know why it stands still. What is stored stays so. */
static void let_wait(struct engine *g, struct catalog *c, const char *id, const char *why)
{
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        if (catalog_archive_get(c, id, &a, NULL) < 0 || archive_is_stored(a.state))
                return;
        if (!streq(a.error, why))
                (void)catalog_event(c, id, 'e', why, NULL); /* the row tells it too */
        if (catalog_archive_set_state(c, id, ARCHIVE_WAITING, why, clock_now() + AGAIN_NS, NULL) ==
                0)
                jobs_changed(g, id);
}

static bool others(void *ctx);

static int run_job(struct engine *g, struct catalog *c, const char *id, int lock, struct err *e)
{
        _cleanup_(config_freep) struct config *own = NULL;
        struct err why = {0};
        bool back = false;
        int q = jobs_config(g, c, id, &own, &why);
        if (q < 0 && catalog_archive_abort_wanted(c, id, &back, NULL) == 0 && back)
                q = 0; /* taking it back goes without, as in engine_abort() */
        if (q < 0) {
                let_wait(g, c, id, why.text);
                err_set(e, q, "%s", why.text);
        }
        if (q == 0)
                q = catalog_archive_set_runner(c, id, getpid(), e);
        if (q == 0) {
                const struct commit_env env = {
                        .config = own ? own : g->config,
                        .data = g->config->data,
                        .staging = g->staging,
                        .catalog = c,
                        .stop = &g->stop,
                        .changed = jobs_changed,
                        .others = g->started ? others : NULL,
                        .patience_ns = g->patience_ns,
                        .ctx = g,
                };
                q = commit_run(&env, id, e);
                (void)catalog_archive_set_runner(
                        c, id, 0, NULL); /* only for show; the lock is what counts */
        }
        if (is_finished(c, id))
                jobs_over(g, id, lock);
        else
                jobs_unlock(lock);
        return q;
}

void engine_set_patience(struct engine *g, int64_t ns)
{
        g->patience_ns = ns;
}

int engine_run(struct engine *g, const char *id, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        int q = engine_catalog(g, &c, e);
        if (q < 0)
                return q;
        int lock = held_take(g, id);
        if (lock < 0) {
                q = jobs_lock(g, id, &lock, e);
                if (q == -EAGAIN)
                        return err_set(e, -EBUSY, "another program is working on %s", id);
                if (q < 0)
                        return q;
        }
        return run_job(g, c, id, lock, e);
}

/* ---- which jobs ---- */

struct choice {
        struct engine *g;
        char **ids;
        size_t n;
        bool oom;
        int64_t now;
};

static bool can_go_on(const struct catalog_archive *a, int64_t now)
{
        switch (a->state) {
        case ARCHIVE_QUEUED:
        case ARCHIVE_GATHERING:
        case ARCHIVE_UPLOADING:
                return true;
        case ARCHIVE_WAITING:
                return a->retry_at <= now || a->abort_wanted;
        case ARCHIVE_STORED:
        case ARCHIVE_INCOMPLETE:
                return !a->released && a->retry_at <= now;
        case ARCHIVE_FAILED:
                return a->abort_wanted;
        case ARCHIVE_PREPARED:
        case ARCHIVE_DELETED:
                break;
        }
        return false;
}

static int choose(void *ctx, const struct catalog_archive *a)
{
        struct choice *k = ctx;
        if (!can_go_on(a, k->now))
                return 0;
        char **v = reallocarray(k->ids, k->n + 1, sizeof *v);
        if (v)
                k->ids = v;
        if (!v || !(v[k->n] = strdup(a->id))) {
                k->oom = true;
                return 1;
        }
        k->n++;
        return 0;
}

static void choice_done(struct choice *k)
{
        for (size_t i = 0; i < k->n; i++)
                free(k->ids[i]);
        free(k->ids);
}

int engine_pending(struct engine *g, unsigned *ret, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        int q = engine_catalog(g, &c, e);
        if (q < 0)
                return q;
        _cleanup_(choice_done) struct choice k = {.g = g, .now = INT64_MAX};
        q = catalog_archive_each(c, choose, &k, e);
        if (q < 0 || k.oom)
                return k.oom ? err_oom(e) : q;
        *ret = (unsigned)k.n;
        return 0;
}

int engine_ready(struct engine *g, unsigned *ret, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        _cleanup_(choice_done) struct choice k = {.g = g, .now = clock_now()};
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = catalog_archive_each(c, choose, &k, e);
        if (q < 0 || k.oom)
                return k.oom ? err_oom(e) : q;
        unsigned n = 0;
        for (size_t i = 0; i < k.n; i++) {
                int lock;
                if (jobs_lock(g, k.ids[i], &lock, NULL) < 0)
                        continue;
                jobs_unlock(lock);
                n++;
        }
        *ret = n;
        return 0;
}

/* The job that asks is locked, and so not among them. */
static bool others(void *ctx)
{
        struct engine *g = ctx;
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        _cleanup_(choice_done) struct choice k = {.g = g, .now = clock_now()};
        if (engine_catalog(g, &c, NULL) < 0 || catalog_archive_each(c, choose, &k, NULL) < 0)
                return false;
        for (size_t i = 0; i < k.n; i++) {
                int lock;
                if (jobs_lock(g, k.ids[i], &lock, NULL) < 0)
                        continue;
                jobs_unlock(lock);
                return true;
        }
        return false;
}

/* One that failed without a word in its row would be run again at once, and for ever. */
static bool went_on(struct catalog *c, const char *id, int q)
{
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        if (q >= 0)
                return true;
        int r = catalog_archive_get(c, id, &a, NULL);
        return r == -ENOENT || (r == 0 && !can_go_on(&a, clock_now()));
}

/* A lock that cannot even be made (a full disk) is no sign of another program, unless the row names
 * one. */
static void say_unlockable(struct engine *g, struct catalog *c, const char *id, const char *why)
{
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        if (catalog_archive_get(c, id, &a, NULL) == 0 && a.runner == 0)
                let_wait(g, c, id, why);
}

/* Runs every job that can go on and that nobody else runs. True if one was run. */
static bool look_once(struct engine *g, struct catalog *c)
{
        _cleanup_(choice_done) struct choice k = {.g = g, .now = clock_now()};
        if (catalog_archive_each(c, choose, &k, NULL) < 0)
                return false;
        bool ran = false;
        for (size_t i = 0; i < k.n && !atomic_load(&g->stop); i++) {
                int lock;
                struct err why = {0};
                int q = jobs_lock(g, k.ids[i], &lock, &why);
                if (q < 0 && q != -EAGAIN)
                        say_unlockable(g, c, k.ids[i], why.text);
                if (q < 0)
                        continue; /* -EAGAIN: its maker or another program has it */
                q = run_job(g, c, k.ids[i], lock, &why);
                ran |= q != -EAGAIN && went_on(c, k.ids[i], q);
        }
        return ran;
}

static void wait_for_news(struct engine *g)
{
        int64_t until = clock_monotonic() + LOOK_AGAIN_NS;
        struct timespec ts = clock_timespec(until);
        pthread_mutex_lock(&g->lock);
        if (!g->poked) {
                g->idle = true;
                pthread_cond_broadcast(&g->cond);
                (void)pthread_cond_timedwait(&g->cond, &g->lock, &ts); /* time-out: look again */
        }
        g->poked = false;
        pthread_mutex_unlock(&g->lock);
}

/* What was left in a store that was away. Jobs come first: a poke ends it. */
static void sweep_now_and_then(struct engine *g, struct catalog *c, int64_t *next)
{
        if (!c || atomic_load(&g->news) || clock_monotonic() < *next)
                return;
        (void)sweep_all(c, g->config, &g->news, NULL); /* what stays is noted */
        *next = clock_monotonic() + SWEEP_NS;
}

static void *work(void *arg)
{
        struct engine *g = arg;
        int64_t next_sweep = 0;
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        while (!atomic_load(&g->stop)) {
                bool ran = false;
                atomic_store(&g->news, false);
                if (c || engine_catalog(g, &c, NULL) == 0) {
                        (void)recover_staging(g, c, NULL); /* tried again in two seconds */
                        ran = look_once(g, c);
                }
                if (!ran)
                        wait_for_news(g);
                if (!ran)
                        sweep_now_and_then(g, c, &next_sweep);
        }
        return NULL;
}

int engine_start(struct engine *g, struct err *e)
{
        if (g->mode == ENGINE_MOUNT && !g->agent)
                agent_open(g); /* where no socket can be made (a data folder on FAT), only unlock is
                                  missing */
        g->started = true;     /* the worker looks at it */
        int q = thread_start(&g->worker, work, g);
        if (q == 0)
                restores_start(g);
        if (q < 0) {
                g->started = false;
                return err_errno(e, q, "cannot start a thread");
        }
        return 0;
}

void engine_drain(struct engine *g, const atomic_bool *stop)
{
        jobs_poke(g);
        pthread_mutex_lock(&g->lock);
        while (g->started && !atomic_load(stop) && !g->idle) {
                int64_t until = clock_monotonic() + CLOCK_NSEC / 5;
                struct timespec ts = clock_timespec(until);
                (void)pthread_cond_timedwait(&g->cond, &g->lock, &ts); /* a signal sets *stop */
        }
        pthread_mutex_unlock(&g->lock);
}

/* ---- again, and back ---- */

int engine_retry(struct engine *g, const char *id, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        struct catalog_archive a = {0};
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = catalog_archive_get(c, id, &a, e);
        if (q < 0)
                return q;
        if (a.state == ARCHIVE_FAILED && a.released)
                q = err_set(e, -EINVAL, "%s: %s", a.name, a.error);
        else if (a.state == ARCHIVE_FAILED || a.state == ARCHIVE_WAITING)
                q = catalog_archive_set_state(c, id, ARCHIVE_QUEUED, "", 0, e);
        else
                q = err_set(e, -EINVAL, "%s is %s; only what failed or waits can be tried again",
                        a.name, archive_state_name(a.state));
        catalog_archive_done(&a);
        if (q == 0)
                jobs_poke(g);
        return q;
}

static int abort_here(struct engine *g, struct catalog *c, const char *id, struct err *e)
{
        int lock = held_take(g, id);
        int q = lock < 0 ? jobs_lock(g, id, &lock, e) : 0;
        if (q < 0)
                return q == -EAGAIN ? 0 : q; /* who runs it has seen the wish within a second */
        const struct commit_env env = {.config = g->config,
                .data = g->config->data,
                .staging = g->staging,
                .catalog = c,
                .stop = &g->stop,
                .changed = jobs_changed,
                .ctx = g};
        q = commit_abort(&env, id, e);
        if (q == 0)
                jobs_over(g, id, lock);
        else
                jobs_unlock(lock);
        return q;
}

int engine_abort(struct engine *g, const char *id, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        struct catalog_archive a = {0};
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = catalog_archive_get(c, id, &a, e);
        if (q < 0)
                return q;
        if (archive_is_stored(a.state))
                q = err_set(e, -EBUSY,
                        "%s is stored already; autoglacier delete removes it from the store",
                        a.name);
        catalog_archive_done(&a);
        if (q == 0)
                q = catalog_archive_want_abort(c, id, e);
        return q < 0 ? q : abort_here(g, c, id, e);
}
