#include "engine_internal.h"

#include "cache.h"
#include "catalog_restore.h"
#include "clock.h"
#include "config.h"
#include "content.h"
#include "io.h"
#include "store.h"
#include "stores.h"
#include "thread.h"

#include <fcntl.h>
#include <time.h>

#define FETCHERS  3u
#define LARGE     (32u * MiB)       /* files from this size on never take all fetchers */
#define IDLE_KEPT (10 * CLOCK_NSEC) /* archives that are open, with their decoded block */
#define TOLD      64u               /* damaged files whose log entry has been made */

struct waiter {
        struct waiter *next;
        engine_content_fn fn;
        void *ctx;
};

struct wanted {
        struct catalog_member m;
        uint8_t sha512[64];
        char *path;
};

/* One file that somebody waits for. */
struct task {
        struct task *next;
        char *id; /* of the archive */
        struct wanted w;
        bool running;
        struct waiter *waiters;
};

struct content_service {
        struct engine *g;
        struct cache *cache;
        struct sources *sources;
        pthread_mutex_t lock; /* everything below */
        pthread_cond_t cond;
        struct task *tasks;
        int64_t told[TOLD];
        size_t n_told;
        unsigned large; /* running */
        pthread_t threads[FETCHERS];
        unsigned n_threads;
        atomic_bool stop;
};

/* ---- members ---- */

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

static bool go_on(void *ctx, uint64_t done _unused_)
{
        const struct content_service *k = ctx;
        return !atomic_load(&k->stop);
}

static int fetch_into(
        struct content_service *k, struct source *s, const struct wanted *w, int *fd, struct err *e)
{
        int q = cache_begin(k->cache, w->m.size, fd, e);
        return q < 0 ? q : content_fetch(s->content, &w->m, w->path, *fd, go_on, k, e);
}

static int fetch(struct content_service *k, const char *id, const struct wanted *w, int *ret_fd,
        struct err *e)
{
        if (cache_get(k->cache, w->sha512, ret_fd, NULL) == 0)
                return 0;
        struct source *s = NULL;
        int q = sources_take(k->sources, id, &w->m, &s, e);
        if (q < 0)
                return q;
        _cleanup_close_ int fd = -EBADF;
        struct err why = {0};
        q = note(k, s, w->m.row, fetch_into(k, s, w, &fd, &why), &why);
        sources_give(k->sources, s);
        if (q < 0)
                return err_set(e, q, "%s", why.text);
        return cache_put(k->cache, w->sha512, &fd, ret_fd, e);
}

/* ---- tasks ---- */

static void task_free(struct task *j)
{
        wanted_done(&j->w);
        free(j->id);
        free(j);
}

/* Under the lock. */
static struct task *next_task(struct content_service *k)
{
        for (struct task *j = k->tasks; j; j = j->next)
                if (!j->running && (j->w.m.size < LARGE || k->large < FETCHERS - 1))
                        return j;
        return NULL;
}

/* Under the lock: nobody can join it from here on. */
static void unlink_task(struct content_service *k, const struct task *j)
{
        struct task **p = &k->tasks;
        while (*p != j)
                p = &(*p)->next;
        *p = j->next;
}

static void answer(struct task *j, int fd, int q, const struct err *why)
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

static void wait_for_task(struct content_service *k)
{
        struct timespec ts;
        (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
        ts.tv_sec += IDLE_KEPT / CLOCK_NSEC;
        (void)pthread_cond_timedwait(&k->cond, &k->lock, &ts); /* time-out: drop what is idle */
}

static void work_on(struct content_service *k, struct task *j)
{
        bool large = j->w.m.size >= LARGE;
        j->running = true;
        k->large += large;
        pthread_mutex_unlock(&k->lock);
        _cleanup_close_ int fd = -EBADF;
        struct err why = {0};
        int q = fetch(k, j->id, &j->w, &fd, &why);
        pthread_mutex_lock(&k->lock);
        k->large -= large;
        unlink_task(k, j);
        pthread_mutex_unlock(&k->lock);
        answer(j, fd, q, &why);
        task_free(j);
        pthread_mutex_lock(&k->lock);
        pthread_cond_broadcast(&k->cond); /* a large one may begin */
}

static void *serve(void *arg)
{
        struct content_service *k = arg;
        pthread_mutex_lock(&k->lock);
        while (!atomic_load(&k->stop)) {
                struct task *j = next_task(k);
                if (j) {
                        work_on(k, j);
                        continue;
                }
                wait_for_task(k);
                pthread_mutex_unlock(&k->lock);
                sources_drop(k->sources, clock_monotonic() - IDLE_KEPT);
                pthread_mutex_lock(&k->lock);
        }
        pthread_mutex_unlock(&k->lock);
        return NULL;
}

/* Under the lock. Threads are made when they are needed. */
static int add_thread(struct content_service *k)
{
        if (k->n_threads == FETCHERS)
                return 0;
        int q = thread_start(&k->threads[k->n_threads], serve, k);
        if (q == 0)
                k->n_threads++;
        return k->n_threads > 0 ? 0 : q;
}

/* Under the lock. Takes *w where a task is made of it. */
static struct task *task_for(struct content_service *k, const char *id, struct wanted *w)
{
        for (struct task *j = k->tasks; j; j = j->next)
                if (j->w.m.row == w->m.row)
                        return j;
        struct task *j = calloc(1, sizeof *j);
        if (!j || !(j->id = strdup(id))) {
                free(j);
                return NULL;
        }
        j->w = *w;
        j->w.m.sha512 = j->w.sha512;
        w->path = NULL;
        struct task **p = &k->tasks;
        while (*p)
                p = &(*p)->next;
        *p = j;
        return j;
}

static int enqueue(struct content_service *k, const char *id, struct wanted *w,
        engine_content_fn fn, void *ctx, struct err *e)
{
        struct waiter *mine = calloc(1, sizeof *mine);
        if (!mine)
                return err_oom(e);
        *mine = (struct waiter){.fn = fn, .ctx = ctx};
        pthread_mutex_lock(&k->lock);
        int q = atomic_load(&k->stop) ? -ECANCELED : add_thread(k);
        struct task *j = q == 0 ? task_for(k, id, w) : NULL;
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
        if (q == 0 && (q = sources_new(g, &k->stop, &k->sources, e)) < 0)
                cache_close(k->cache);
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
        if (!archive_is_stored(a->state))
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
        for (struct task *j = k->tasks; j && !found; j = j->next)
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
        while (k->tasks) {
                struct task *j = k->tasks;
                k->tasks = j->next;
                answer(j, -EBADF, -ECANCELED, &why);
                task_free(j);
        }
        sources_drop(k->sources, INT64_MAX);
        k->n_threads = 0;
}

void content_service_free(struct engine *g)
{
        struct content_service *k = g->content;
        if (!k)
                return;
        engine_content_end(g);
        sources_free(k->sources);
        cache_close(k->cache);
        pthread_cond_destroy(&k->cond);
        pthread_mutex_destroy(&k->lock);
        free(k);
}
