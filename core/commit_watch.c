#include "commit_internal.h"

#include "clock.h"
#include "config.h"
#include "io.h"
#include "sender.h"
#include "store.h"
#include "thread.h"

/* While the run's own threads may be waiting for a network, one more looks at what they cannot: the
 * wish to stop or to take the commit back, what stands in the way, how much has been sent. It has a
 * catalogue connection of its own, which the sender's threads share (`side`). */

#define LOOK_NS  (CLOCK_NSEC / 4)
#define SHOW_NS  CLOCK_NSEC /* trouble that is over sooner is not worth a word */
#define COUNT_NS (CLOCK_NSEC / 2)
#define STUCK_NS (60 * CLOCK_NSEC)
#define GIVE_NS                                                                                    \
        (3 * CLOCK_NSEC / 2) /* taking back: without success for so long, the store is away */

/* ---- what the store's calls say ---- */

void watch_trouble(void *ctx, const struct err *why, int64_t wait_ns)
{
        struct watch *w = &((struct run *)ctx)->watch;
        int64_t now = clock_monotonic();
        pthread_mutex_lock(&w->lock);
        if (!why) {
                w->why.code = 0;
                w->alive = now;
        } else {
                if (!w->why.code)
                        w->since = now;
                w->why = *why;
                w->planned = wait_ns == 0;
                w->next = clock_now() + wait_ns;
        }
        pthread_mutex_unlock(&w->lock);
}

static bool tired(const struct run *r, int64_t waited)
{
        int64_t patience = r->env->patience_ns;
        return patience > 0 && waited > patience && !r->watch.planned;
}

bool watch_gives_way(struct run *r, struct err *ret_why)
{
        struct watch *w = &r->watch;
        pthread_mutex_lock(&w->lock);
        int64_t waited = w->why.code ? clock_monotonic() - w->since : 0;
        *ret_why = w->why;
        bool over = tired(r, waited);
        pthread_mutex_unlock(&w->lock);
        int64_t patience = r->env->patience_ns;
        bool stuck = waited > (patience > 0 ? MIN(patience, STUCK_NS) : STUCK_NS);
        return over || (stuck && r->env->others && r->env->others(r->env->ctx));
}

static void waiting(void *ctx, const struct err *why, unsigned tries _unused_, int64_t wait_ns)
{
        watch_trouble(ctx, why, wait_ns);
}

/* Where nobody else would say so: the manifest goes without a sender. */
static void over(void *ctx)
{
        watch_trouble(ctx, NULL, 0);
}

/* Holds the rate; short naps, so that a stop is seen. */
static void sending(void *ctx, size_t bytes)
{
        struct run *r = ctx;
        int64_t now = clock_monotonic();
        int64_t until = now + rate_take(&r->watch.rate, bytes, now);
        while (!atomic_load(&r->watch.halt) && (now = clock_monotonic()) < until) {
                int64_t nap = MIN(until - now, LOOK_NS);
                const struct timespec ts = clock_timespec(nap);
                (void)nanosleep(&ts, NULL); /* a shorter one does no harm */
        }
}

/* ---- what people see ---- */

static void show_trouble(struct run *r, const struct err *why, int64_t next)
{
        struct watch *w = &r->watch;
        if (w->shown && streq(w->text, why->text))
                return;
        if (strncmp(w->text, why->text, 40) != 0) /* a count of seconds is no news */
                (void)catalog_event(w->side, r->a.id, 'e', why->text, NULL);
        (void)snprintf(w->text, sizeof w->text, "%s", why->text);
        w->shown = catalog_archive_set_state(
                           w->side, r->a.id, ARCHIVE_WAITING, why->text, next, NULL) == 0;
        run_changed(r);
}

static void hide_trouble(struct run *r, bool goes_on)
{
        struct watch *w = &r->watch;
        if (!w->shown)
                return;
        if (goes_on) {
                (void)catalog_event(w->side, r->a.id, 'i', "it goes on", NULL);
                w->text[0] = 0;
        }
        w->shown = catalog_archive_set_state(w->side, r->a.id,
                           (enum archive_state)atomic_load(&w->state), "", 0, NULL) < 0;
        run_changed(r);
}

/* Under the side lock. What is stored stays so, whatever is in the way of the cleaning up. */
static void show(struct run *r)
{
        struct watch *w = &r->watch;
        int state = atomic_load(&w->state);
        if (archive_is_stored(state))
                return;
        pthread_mutex_lock(&w->lock);
        struct err why = w->why;
        int64_t next = w->next;
        bool now = why.code && clock_monotonic() - w->since >= SHOW_NS;
        pthread_mutex_unlock(&w->lock);
        if (now)
                show_trouble(r, &why, next);
        else if (!why.code)
                hide_trouble(r, true);
}

/* After the run wrote a state of its own, trouble has to be shown anew. What was just being shown
 * is written when this returns. */
void watch_state(struct run *r, enum archive_state s)
{
        struct watch *w = &r->watch;
        atomic_store(&w->state, (int)s);
        if (!w->running)
                return;
        pthread_mutex_lock(&w->side_lock);
        w->shown = false;
        pthread_mutex_unlock(&w->side_lock);
}

static void count(struct run *r)
{
        struct watch *w = &r->watch;
        int64_t now = clock_monotonic();
        if (now - w->counted < COUNT_NS)
                return;
        uint64_t sent = run_sent(r);
        bool reading = atomic_load(&w->state) == ARCHIVE_GATHERING;
        int64_t span = now - w->counted;
        w->rate_now = sent <= w->counted_bytes || w->counted == 0
                              ? w->rate_now / 2
                              : (w->rate_now + (uint64_t)((double)(sent - w->counted_bytes) * 1e9 /
                                                          (double)span)) /
                                        2;
        w->counted = now;
        w->counted_bytes = sent;
        bool abort = false;
        int q = reading ? catalog_archive_abort_wanted(w->side, r->a.id, &abort, NULL)
                        : catalog_archive_sent(w->side, r->a.id, sent, w->rate_now, &abort, NULL);
        if (q == 0 && abort) {
                atomic_store(&r->aborted, true);
                atomic_store(&w->halt, true);
        }
}

/* ---- the thread ---- */

static void look(struct run *r)
{
        struct watch *w = &r->watch;
        if (atomic_load(r->env->stop))
                atomic_store(&w->halt, true);
        pthread_mutex_lock(&w->lock);
        bool away = w->hurry && clock_monotonic() - w->alive > GIVE_NS;
        pthread_mutex_unlock(&w->lock);
        if (away)
                atomic_store(&w->halt, true);
        if (w->hurry)
                return;
        pthread_mutex_lock(&w->side_lock);
        count(r);
        show(r);
        pthread_mutex_unlock(&w->side_lock);
}

static void *watch(void *arg)
{
        struct run *r = arg;
        struct watch *w = &r->watch;
        pthread_mutex_lock(&w->lock);
        while (!w->ending) {
                int64_t until = clock_monotonic() + LOOK_NS;
                struct timespec ts = clock_timespec(until);
                (void)pthread_cond_timedwait(&w->end, &w->lock, &ts); /* time-out: look */
                pthread_mutex_unlock(&w->lock);
                look(r);
                pthread_mutex_lock(&w->lock);
        }
        pthread_mutex_unlock(&w->lock);
        return NULL;
}

static int open_side(struct run *r, struct err *e)
{
        _cleanup_free_ char *path = io_join(r->env->data, "catalog.db");
        return path ? catalog_open(path, &r->watch.side, e) : err_oom(e);
}

void watch_init(struct run *r)
{
        struct watch *w = &r->watch;
        pthread_mutex_init(&w->lock, NULL);
        pthread_mutex_init(&w->side_lock, NULL);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&w->end, &attr);
        pthread_condattr_destroy(&attr);
}

int watch_start(struct run *r, bool hurry, struct err *e)
{
        struct watch *w = &r->watch;
        int q = open_side(r, e);
        if (q < 0)
                return q;
        rate_init(&w->rate, r->env->config->upload_rate_limit);
        w->hurry = hurry;
        w->alive = clock_monotonic();
        enum archive_state s = r->a.state != ARCHIVE_WAITING ? r->a.state
                               : r->a.packed                 ? ARCHIVE_UPLOADING
                                                             : ARCHIVE_QUEUED;
        atomic_store(&w->state, (int)s);
        (void)snprintf(w->text, sizeof w->text, "%s", r->a.error); /* said before */
        atomic_store(&w->halt, atomic_load(r->env->stop));
        store_set_control(r->store, &(struct store_control){.stop = &w->halt,
                                            .sending = sending,
                                            .waiting = waiting,
                                            .over = over,
                                            .ctx = r});
        if (thread_start(&w->thread, watch, r) < 0) {
                catalog_close(steal(w->side));
                rate_done(&w->rate);
                return err_set(e, -EAGAIN, "cannot start a thread");
        }
        w->running = true;
        return 0;
}

void watch_stop(struct run *r)
{
        struct watch *w = &r->watch;
        if (!w->running)
                return;
        pthread_mutex_lock(&w->lock);
        w->ending = true;
        pthread_cond_broadcast(&w->end);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
        w->running = w->ending = false;
        if (!atomic_load(&r->aborted))
                hide_trouble(r, false); /* whoever goes on need not wait */
        catalog_close(steal(w->side));
        rate_done(&w->rate);
}

void watch_done(struct run *r)
{
        struct watch *w = &r->watch;
        pthread_cond_destroy(&w->end);
        pthread_mutex_destroy(&w->side_lock);
        pthread_mutex_destroy(&w->lock);
}
