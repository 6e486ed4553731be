#include "engine_internal.h"

#include "cache.h"
#include "catalog_restore.h"
#include "clock.h"
#include "config.h"
#include "content.h"
#include "io.h"
#include "store.h"
#include "stores.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>

#define FETCHERS    4u
#define LARGE       (32u * MiB) /* files from this size on never take all fetchers */
#define SOURCES     6u          /* archives kept open, each with its decoded block */
#define SOURCE_KEPT (10 * CLOCK_NSEC)
#define TOLD        64u /* damaged files whose log entry has been made */

/* An archive that is open for reading, with all that it borrows. */
struct source {
        struct catalog *catalog;
        struct store *store;
        struct catalog_archive a;
        struct content *content;
        int64_t used; /* monotonic */
};

struct waiter {
        struct waiter *next;
        engine_content_fn fn;
        void *ctx;
};

/* One file that somebody waits for. */
struct job {
        struct job *next;
        char *id; /* of the archive */
        int64_t member;
        uint64_t size;
        bool running;
        struct waiter *waiters;
};

struct content_service {
        struct engine *g;
        struct cache *cache;
        pthread_mutex_t lock; /* everything below */
        pthread_cond_t cond;
        struct job *jobs;
        struct source *idle[SOURCES];
        int64_t told[TOLD];
        size_t n_told;
        unsigned large; /* running */
        pthread_t threads[FETCHERS];
        unsigned n_threads;
        atomic_bool stop;
};

/* ---- members ---- */

struct wanted {
        struct catalog_member m;
        uint8_t sha512[64];
        char *path;
};

static void wanted_done(struct wanted *w)
{
        free(w->path);
}

struct target {
        char *link;
        struct wanted *w;
};

static int take_member(void *ctx, const struct catalog_member *m)
{
        struct target *t = ctx;
        t->w->m = *m;
        t->w->m.path = t->w->m.name = t->w->m.link = NULL;
        t->w->m.sha512 = NULL;
        if (m->sha512) {
                memcpy(t->w->sha512, m->sha512, sizeof t->w->sha512);
                t->w->m.sha512 = t->w->sha512;
        }
        t->link = m->type == 'h' && m->link ? strdup(m->link) : NULL;
        return m->type == 'h' && !t->link ? -ENOMEM : 0;
}

/* The member that has the content; a hard link names another one. */
static int find_member(
        struct catalog *c, const char *id, int64_t row, struct wanted *ret, struct err *e)
{
        struct target t = {.w = ret};
        int q = catalog_member_by_row(c, row, take_member, &t, e);
        _cleanup_free_ char *link = t.link;
        if (q == 0 && link) {
                t.link = NULL;
                q = catalog_member_by_path(c, id, link, take_member, &t, e);
                free(t.link);
        }
        if (q == 0 && (ret->m.type != 'f' || !ret->m.sha512))
                q = err_set(e, -EINVAL, "it is no file with content");
        return q < 0 ? q : catalog_member_path(c, ret->m.row, &ret->path, e);
}

/* ---- archives that are open ---- */

static void source_free(struct source *s)
{
        if (!s)
                return;
        content_free(s->content);
        store_close(s->store);
        catalog_archive_done(&s->a);
        catalog_close(s->catalog);
        free(s);
}
DEFINE_CLEANUP(source_free, struct source *)

static int source_new(struct content_service *k, const char *id, struct source **ret, struct err *e)
{
        struct engine *g = k->g;
        _cleanup_(source_freep) struct source *s = calloc(1, sizeof *s);
        if (!s)
                return err_oom(e);
        const struct store_control control = {.stop = &k->stop};
        int q = engine_catalog(g, &s->catalog, e);
        if (q == 0)
                q = catalog_archive_get(s->catalog, id, &s->a, e);
        if (q == 0)
                q = stores_open(g->config, s->a.store_url, s->a.storage_class, &s->store, e);
        if (q < 0)
                return q;
        store_set_control(s->store, &control);
        q = content_new(s->catalog, s->store, &s->a, engine_unwrap, g, &s->content, e);
        if (q == 0)
                *ret = steal(s);
        return q;
}

/* The idle one that has the member's block, or else any of that archive, or else a new one. */
static int source_take(struct content_service *k, const char *id, const struct catalog_member *m,
        struct source **ret, struct err *e)
{
        struct source **best = NULL;
        pthread_mutex_lock(&k->lock);
        for (size_t i = 0; i < SOURCES; i++) {
                struct source **s = &k->idle[i];
                if (*s && streq((*s)->a.id, id) && (!best || content_is_near((*s)->content, m)))
                        best = s;
        }
        if (best)
                *ret = steal(*best);
        pthread_mutex_unlock(&k->lock);
        return best ? 0 : source_new(k, id, ret, e);
}

static void source_give(struct content_service *k, struct source *s)
{
        struct source *old = s;
        s->used = clock_monotonic();
        pthread_mutex_lock(&k->lock);
        struct source **oldest = &k->idle[0];
        for (size_t i = 0; i < SOURCES; i++) {
                struct source **p = &k->idle[i];
                if (!*p || (*oldest && (*p)->used < (*oldest)->used))
                        oldest = p;
        }
        if (!atomic_load(&k->stop)) {
                old = *oldest;
                *oldest = s;
        }
        pthread_mutex_unlock(&k->lock);
        source_free(old);
}

/* Blocks and connections that nobody used lately. */
static void drop_idle(struct content_service *k, int64_t before)
{
        struct source *old[SOURCES] = {0};
        pthread_mutex_lock(&k->lock);
        for (size_t i = 0; i < SOURCES; i++)
                if (k->idle[i] && k->idle[i]->used < before)
                        old[i] = steal(k->idle[i]);
        pthread_mutex_unlock(&k->lock);
        for (size_t i = 0; i < SOURCES; i++)
                source_free(old[i]);
}

/* ---- fetching ---- */

static bool told_before(struct content_service *k, int64_t member)
{
        pthread_mutex_lock(&k->lock);
        bool told = false;
        for (size_t i = 0; i < MIN(k->n_told, (size_t)TOLD); i++)
                told |= k->told[i] == member;
        if (!told)
                k->told[k->n_told++ % TOLD] = member;
        pthread_mutex_unlock(&k->lock);
        return told;
}

/* Damage goes into the archive's log; a file manager that tries again and again does not fill it.
 */
static int note(struct content_service *k, struct source *s, int64_t member, int q, struct err *e)
{
        if (q != -EBADMSG && q != -EPROTO && q != -ENOENT)
                return q;
        if (!told_before(k, member)) {
                char text[ERR_TEXT_MAX + 64];
                (void)snprintf(text, sizeof text, "cannot be read back: %s", e->text); /* fits */
                (void)catalog_event(s->catalog, s->a.id, 'e', text, NULL); /* the caller is told */
        }
        return err_set(e, -EBADMSG, "%s", e->text);
}

static int fetch_into(
        struct content_service *k, struct source *s, const struct wanted *w, int *fd, struct err *e)
{
        int q = cache_begin(k->cache, w->m.size, fd, e);
        return q < 0 ? q : content_fetch(s->content, &w->m, w->path, *fd, &k->stop, e);
}

static int fetch(struct content_service *k, const char *id, const struct wanted *w, int *ret_fd,
        struct err *e)
{
        if (cache_get(k->cache, w->sha512, ret_fd, NULL) == 0)
                return 0;
        struct source *s = NULL;
        int q = source_take(k, id, &w->m, &s, e);
        if (q < 0)
                return q;
        _cleanup_close_ int fd = -EBADF;
        struct err why = {0};
        q = note(k, s, w->m.row, fetch_into(k, s, w, &fd, &why), &why);
        source_give(k, s);
        if (q < 0)
                return err_set(e, q, "%s", why.text);
        return cache_put(k->cache, w->sha512, &fd, ret_fd, e);
}

static int run_job(struct content_service *k, const struct job *j, int *ret_fd, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        _cleanup_(wanted_done) struct wanted w = {0};
        int q = engine_catalog(k->g, &c, e);
        if (q == 0)
                q = find_member(c, j->id, j->member, &w, e);
        return q < 0 ? q : fetch(k, j->id, &w, ret_fd, e);
}

/* ---- jobs ---- */

static void job_free(struct job *j)
{
        free(j->id);
        free(j);
}

/* Under the lock. */
static struct job *next_job(struct content_service *k)
{
        for (struct job *j = k->jobs; j; j = j->next)
                if (!j->running && (j->size < LARGE || k->large < FETCHERS / 2))
                        return j;
        return NULL;
}

/* Under the lock: nobody can join it from here on. */
static void unlink_job(struct content_service *k, const struct job *j)
{
        struct job **p = &k->jobs;
        while (*p != j)
                p = &(*p)->next;
        *p = j->next;
}

static void answer(struct job *j, int fd, int q, const struct err *why)
{
        while (j->waiters) {
                struct waiter *w = j->waiters;
                j->waiters = w->next;
                int copy = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -EBADF;
                int code = q < 0 ? q : copy < 0 ? -errno : 0;
                w->fn(w->ctx, copy, code, why->text);
                free(w);
        }
}

static void wait_for_job(struct content_service *k)
{
        struct timespec ts;
        (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
        ts.tv_sec += SOURCE_KEPT / CLOCK_NSEC;
        (void)pthread_cond_timedwait(&k->cond, &k->lock, &ts); /* time-out: drop what is idle */
}

static void work_on(struct content_service *k, struct job *j)
{
        bool large = j->size >= LARGE;
        j->running = true;
        k->large += large;
        pthread_mutex_unlock(&k->lock);
        _cleanup_close_ int fd = -EBADF;
        struct err why = {0};
        int q = run_job(k, j, &fd, &why);
        pthread_mutex_lock(&k->lock);
        k->large -= large;
        unlink_job(k, j);
        pthread_mutex_unlock(&k->lock);
        answer(j, fd, q, &why);
        job_free(j);
        pthread_mutex_lock(&k->lock);
        pthread_cond_broadcast(&k->cond); /* a large one may begin */
}

static void *serve(void *arg)
{
        struct content_service *k = arg;
        pthread_mutex_lock(&k->lock);
        while (!atomic_load(&k->stop)) {
                struct job *j = next_job(k);
                if (j) {
                        work_on(k, j);
                        continue;
                }
                wait_for_job(k);
                pthread_mutex_unlock(&k->lock);
                drop_idle(k, clock_monotonic() - SOURCE_KEPT);
                pthread_mutex_lock(&k->lock);
        }
        pthread_mutex_unlock(&k->lock);
        return NULL;
}

/* Under the lock. Threads are made when they are needed. */
static int add_thread(struct content_service *k)
{
        sigset_t all, before;
        if (k->n_threads == FETCHERS)
                return 0;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int q = pthread_create(&k->threads[k->n_threads], NULL, serve, k);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (q == 0)
                k->n_threads++;
        return k->n_threads > 0 ? 0 : -q;
}

static struct job *job_for(
        struct content_service *k, const char *id, const struct wanted *w, int64_t row)
{
        for (struct job *j = k->jobs; j; j = j->next)
                if (j->member == row)
                        return j;
        struct job *j = calloc(1, sizeof *j);
        if (!j || !(j->id = strdup(id))) {
                free(j);
                return NULL;
        }
        j->member = row;
        j->size = w->m.size;
        struct job **p = &k->jobs;
        while (*p)
                p = &(*p)->next;
        *p = j;
        return j;
}

static int enqueue(struct content_service *k, const char *id, const struct wanted *w,
        engine_content_fn fn, void *ctx, struct err *e)
{
        struct waiter *mine = calloc(1, sizeof *mine);
        if (!mine)
                return err_oom(e);
        *mine = (struct waiter){.fn = fn, .ctx = ctx};
        pthread_mutex_lock(&k->lock);
        int q = atomic_load(&k->stop) ? -ECANCELED : add_thread(k);
        struct job *j = q == 0 ? job_for(k, id, w, w->m.row) : NULL;
        if (j) {
                mine->next = j->waiters;
                j->waiters = mine;
                pthread_cond_broadcast(&k->cond);
        }
        pthread_mutex_unlock(&k->lock);
        if (j)
                return 1;
        free(mine);
        return q < 0 ? err_errno(e, q, "cannot start a thread") : err_oom(e);
}

/* ---- asking ---- */

static int open_service(struct engine *g, struct content_service **ret, struct err *e)
{
        _cleanup_free_ char *dir = io_join(g->config->data, "cache");
        struct content_service *k = calloc(1, sizeof *k);
        if (!k || !dir) {
                free(k);
                return err_oom(e);
        }
        k->g = g;
        int q = cache_open(dir, g->config->cache_limit, &k->cache, e);
        if (q < 0) {
                free(k);
                return q;
        }
        pthread_mutex_init(&k->lock, NULL);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&k->cond, &attr);
        pthread_condattr_destroy(&attr);
        *ret = k;
        return 0;
}

static int service(struct engine *g, struct content_service **ret, struct err *e)
{
        int q = 0;
        pthread_mutex_lock(&g->lock);
        if (!g->content)
                q = open_service(g, &g->content, e);
        *ret = g->content;
        pthread_mutex_unlock(&g->lock);
        return q;
}

int content_cache(struct engine *g, struct cache **ret, struct err *e)
{
        struct content_service *k = NULL;
        int q = service(g, &k, e);
        if (q == 0)
                *ret = k->cache;
        return q;
}

/* An unnamed empty file: nothing has to be fetched for it. */
static int open_empty(struct err *e)
{
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return fd < 0 ? err_errno(e, -errno, "cannot open /dev/null") : fd;
}

/* Whether looking at this archive's content may cost money or time of its own accord. */
static int is_cold(struct engine *g, const struct catalog_archive *a, bool *ret, struct err *e)
{
        _cleanup_(store_closep) struct store *s = NULL;
        int q = stores_open(g->config, a->store_url, a->storage_class, &s, e);
        if (q == 0)
                *ret = s->traits.cold;
        return q;
}

static int may_read(struct engine *g, struct catalog *c, const struct catalog_archive *a,
        int64_t member, struct err *e)
{
        if (a->state != ARCHIVE_STORED && a->state != ARCHIVE_INCOMPLETE)
                return err_set(e, -EREMOTE, "%s is not stored yet", a->name);
        bool cold = false;
        int q = is_cold(g, a, &cold, e);
        if (q < 0 || !cold)
                return q;
        _cleanup_free_ char *path = NULL;
        if ((q = catalog_member_path(c, member, &path, e)) == 0)
                q = catalog_restore_covers(c, a->id, path, clock_now(), e);
        if (q != 0)
                return MIN(q, 0);
        return err_set(e, -EREMOTE, "it must be asked for first: write %s to archives/%s/.restore",
                path, a->name);
}

int engine_content_open(struct engine *g, struct catalog *c, const char *id, int64_t member,
        engine_content_fn fn, void *ctx, int *ret_fd, struct err *e)
{
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        _cleanup_(wanted_done) struct wanted w = {0};
        int q = catalog_archive_get(c, id, &a, e);
        if (q == 0)
                q = find_member(c, id, member, &w, e);
        if (q == 0 && w.m.size == 0 && (q = open_empty(e)) >= 0) {
                *ret_fd = q;
                return 0;
        }
        struct content_service *k = NULL;
        if (q < 0 || (q = may_read(g, c, &a, member, e)) < 0 || (q = service(g, &k, e)) < 0)
                return q;
        if (cache_get(k->cache, w.sha512, ret_fd, NULL) == 0)
                return 0;
        return enqueue(k, id, &w, fn, ctx, e);
}

bool engine_content_cancel(struct engine *g, const void *ctx)
{
        struct waiter *found = NULL;
        pthread_mutex_lock(&g->lock);
        struct content_service *k = g->content;
        pthread_mutex_unlock(&g->lock);
        if (!k)
                return false;
        pthread_mutex_lock(&k->lock);
        for (struct job *j = k->jobs; j && !found; j = j->next)
                for (struct waiter **p = &j->waiters; *p && !found; p = &(*p)->next)
                        if ((*p)->ctx == ctx) {
                                found = *p;
                                *p = found->next;
                                break;
                        }
        pthread_mutex_unlock(&k->lock);
        free(found);
        return found != NULL;
}

void engine_content_end(struct engine *g)
{
        struct content_service *k = g->content;
        if (!k)
                return;
        pthread_mutex_lock(&k->lock);
        atomic_store(&k->stop, true);
        pthread_cond_broadcast(&k->cond);
        pthread_mutex_unlock(&k->lock);
        for (unsigned i = 0; i < k->n_threads; i++)
                pthread_join(k->threads[i], NULL);
        const struct err why = {.code = -ECANCELED, .text = "the program ends"};
        while (k->jobs) {
                struct job *j = k->jobs;
                k->jobs = j->next;
                answer(j, -EBADF, -ECANCELED, &why);
                job_free(j);
        }
        drop_idle(k, INT64_MAX);
        k->n_threads = 0;
}

void content_service_free(struct engine *g)
{
        struct content_service *k = g->content;
        if (!k)
                return;
        engine_content_end(g);
        cache_close(k->cache);
        pthread_cond_destroy(&k->cond);
        pthread_mutex_destroy(&k->lock);
        free(k);
}
