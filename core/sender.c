#include "sender_internal.h"

#include "clock.h"
#include "spool.h"
#include "thread.h"
#include "window.h"

#define LOOK_NS      (CLOCK_NSEC / 4) /* how often the stop flag is looked at */
#define BACKOFF_NS   CLOCK_NSEC
#define BACKOFF_MOST 5 /* doublings: half a minute */
#define ROOM_MOST    (48u * MiB)

/* ---- what is next ---- */

static bool over(const struct sender *s)
{
        return s->ending || s->failed.code || atomic_load(s->params.stop);
}

static void wait_until(struct sender *s, int64_t until)
{
        struct timespec ts = clock_timespec(until);
        (void)pthread_cond_timedwait(&s->changed, &s->lock, &ts); /* time-out: look again */
}

/* Outside the window nothing is begun or sent; what is all there may be finished. */
static bool window_is_open(struct sender *s, struct err *ret_why)
{
        int64_t now = clock_now(), wait = window_wait(s->params.window, now);
        if (wait == 0)
                return true;
        char at[CLOCK_TEXT_MAX];
        clock_words(wait, at);
        err_set(ret_why, -EAGAIN, "the daily UPLOAD_WINDOW %s, which opens in %s", s->params.window,
                at);
        return false;
}

static bool take_part(struct sending *v, struct task *t)
{
        while (v->first < v->n && v->parts[v->first].state != PART_READY)
                v->first++;
        if (v->first == v->n)
                return false;
        *t = (struct task){.step = STEP_PART,
                .v = v,
                .index = v->first,
                .part = v->parts[v->first].p,
                .upload = v->upload};
        return true;
}

static void drop_lost(struct sending *v)
{
        if (!v->lost || v->flying > 0)
                return;
        store_leave(steal(v->upload));
        v->lost = false;
}

/* Under the lock. */
static struct task next_task(struct sender *s)
{
        struct sending *v = s->head;
        struct task t = {.step = STEP_NONE, .v = v};
        if (!v || v->busy || v->n == 0)
                return t;
        drop_lost(v);
        if (v->lost || (s->failures > 0 && s->active > 0))
                return t; /* while something is wrong, one thread at a time tries */
        /* What the store has can be told from what it lacks once all parts are known. */
        bool known = v->packed || !*v->token;
        if (!v->upload)
                t.step = known ? STEP_OPEN : STEP_NONE;
        else if (!take_part(v, &t) && v->packed && v->n_sent == v->n)
                t = (struct task){.step = STEP_FINISH, .v = v, .upload = v->upload};
        return t;
}

static void take(struct sender *s, const struct task *t)
{
        struct sending *v = t->v;
        s->active++;
        if (t->step == STEP_PART) {
                v->parts[t->index].state = PART_SENDING;
                v->flying++;
                return;
        }
        v->busy = true;
        if (t->step == STEP_FINISH)
                v->upload = NULL; /* store_finish() takes it */
}

/* ---- what came of it ---- */

static void sending_free(struct sending *v)
{
        store_leave(v->upload);
        free(v->parts);
        free(v->object);
        free(v->token);
        free(v);
}

static void drop_head(struct sender *s)
{
        struct sending *v = s->head;
        s->head = v->next;
        if (!s->head)
                s->tail = NULL;
        sending_free(v);
}

static void tell(struct sender *s, const struct err *why, int64_t wait)
{
        pthread_mutex_unlock(&s->lock);
        if (!atomic_load(s->params.stop))
                s->params.hooks.trouble(s->params.hooks.ctx, why, wait);
        pthread_mutex_lock(&s->lock);
}

static void note_failure(struct sender *s, const struct task *t, int q, const struct err *why)
{
        bool damaged = q == -EBADMSG && t->step == STEP_PART;
        if (damaged)
                s->damaged = t->v->number;
        /* An answer that makes no sense was broken on its way. */
        bool broken = q == -EPROTO || (q == -EBADMSG && !damaged);
        bool passes = err_can_wait(q) || q == -ECANCELED || broken;
        if (!passes) {
                if (!s->failed.code)
                        s->failed = *why;
                s->failed.code = q;
                return;
        }
        int64_t wait = BACKOFF_NS << MIN(s->failures, (unsigned)BACKOFF_MOST);
        s->failures++;
        s->not_before = clock_monotonic() + wait;
        tell(s, why, wait);
}

static void settle(struct sender *s, const struct task *t, int q, const struct err *why)
{
        struct sending *v = t->v;
        s->active--;
        if (t->step == STEP_PART) {
                v->flying--;
                v->parts[t->index].state = q < 0 ? PART_READY : PART_SENT;
                v->parts[t->index].p.sent = q >= 0;
                v->n_sent += q >= 0;
                v->first = q < 0 ? MIN(v->first, t->index) : v->first;
                v->lost = v->lost || q == -ENOENT;
        } else {
                v->busy = false;
        }
        if (q < 0) {
                note_failure(s, t, q, why);
                return;
        }
        s->failures = 0;
        if (q == 1) { /* confirmed */
                unsigned number = v->number;
                drop_head(s);
                pthread_mutex_unlock(&s->lock);
                spool_remove(s->params.spool, number);
                pthread_mutex_lock(&s->lock);
        }
        tell(s, NULL, 0);
}

static int perform(struct sender *s, const struct task *t, void *room, struct err *e)
{
        switch (t->step) {
        case STEP_OPEN:
                return sender_open_upload(s, t->v, e);
        case STEP_PART:
                return sender_put(s, t, room, e);
        case STEP_FINISH:
                return sender_finish(s, t, e);
        case STEP_NONE:
                break;
        }
        return 0;
}

/* Under the lock. True if there was something to do. */
static bool work_once(struct sender *s, void *room)
{
        struct err e = {0};
        struct task t = next_task(s);
        if (t.step == STEP_NONE || clock_monotonic() < s->not_before)
                return false;
        bool was_shut = s->shut;
        s->shut = t.step != STEP_FINISH && !window_is_open(s, &e);
        if (s->shut || was_shut) { /* others may have taken the task while we told */
                tell(s, s->shut ? &e : NULL, 0);
                return !s->shut;
        }
        take(s, &t);
        pthread_mutex_unlock(&s->lock);
        int q = perform(s, &t, room, &e);
        pthread_mutex_lock(&s->lock);
        settle(s, &t, q, &e);
        pthread_cond_broadcast(&s->changed);
        return true;
}

static void *work(void *arg)
{
        struct sender *s = arg;
        _cleanup_free_ void *room = malloc(s->params.part_size);
        pthread_mutex_lock(&s->lock);
        if (!room)
                err_oom(&s->failed);
        while (!over(s))
                if (!work_once(s, room))
                        wait_until(s, clock_monotonic() + LOOK_NS);
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        return NULL;
}

/* ---- the caller's side ---- */

static int failed(const struct sender *s, struct err *e)
{
        if (s->failed.code && e)
                *e = s->failed;
        return s->failed.code;
}

int sender_volume(
        struct sender *s, unsigned volume, const char *object, const char *token, struct err *e)
{
        struct sending *v = calloc(1, sizeof *v);
        if (!v)
                return err_oom(e);
        v->number = volume;
        v->object = strdup(object);
        v->token = strdup(token);
        if (!v->object || !v->token) {
                sending_free(v);
                return err_oom(e);
        }
        pthread_mutex_lock(&s->lock);
        if (s->tail)
                s->tail->next = v;
        else
                s->head = v;
        s->tail = v;
        int q = failed(s, e);
        pthread_mutex_unlock(&s->lock);
        return q;
}

int sender_part(struct sender *s, const struct sender_part *p, struct err *e)
{
        pthread_mutex_lock(&s->lock);
        struct sending *v = s->tail;
        int q = failed(s, e);
        if (q == 0 && (!v || v->packed || p->number != v->n + 1))
                q = err_set(e, -EINVAL, "part %u comes out of order", p->number);
        if (q == 0 && v->n == v->room) {
                size_t room = MAX(v->room * 2, (size_t)64);
                struct sending_part *more = reallocarray(v->parts, room, sizeof *more);
                if (more) {
                        v->parts = more;
                        v->room = room;
                } else {
                        q = err_oom(e);
                }
        }
        if (q == 0)
                v->parts[v->n++] = (struct sending_part){.p = *p};
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        return q;
}

int sender_packed(struct sender *s, uint64_t size, const uint8_t tree_hash[32], struct err *e)
{
        pthread_mutex_lock(&s->lock);
        struct sending *v = s->tail;
        int q = failed(s, e);
        if (q == 0 && !v)
                q = err_set(e, -EINVAL, "no volume has been announced");
        if (q == 0) {
                v->packed = true;
                v->size = size;
                memcpy(v->tree_hash, tree_hash, sizeof v->tree_hash);
        }
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        return q;
}

bool sender_pending(struct sender *s)
{
        pthread_mutex_lock(&s->lock);
        bool pending = s->head && s->head->packed; /* they are packed in order */
        pthread_mutex_unlock(&s->lock);
        return pending;
}

int sender_wait(struct sender *s, struct err *e)
{
        pthread_mutex_lock(&s->lock);
        if (!over(s))
                wait_until(s, clock_monotonic() + LOOK_NS);
        int q = failed(s, e);
        if (q == 0 && atomic_load(s->params.stop))
                q = err_set(e, -ECANCELED, "stopped");
        pthread_mutex_unlock(&s->lock);
        return q;
}

unsigned sender_damaged(struct sender *s)
{
        pthread_mutex_lock(&s->lock);
        unsigned number = s->damaged;
        pthread_mutex_unlock(&s->lock);
        return number;
}

uint64_t sender_sent(struct sender *s)
{
        uint64_t sum = 0;
        pthread_mutex_lock(&s->lock);
        for (const struct sending *v = s->head; v; v = v->next)
                for (size_t i = 0; v->n_sent > 0 && i < v->n; i++)
                        sum += v->parts[i].state == PART_SENT ? v->parts[i].p.len : 0;
        pthread_mutex_unlock(&s->lock);
        return sum;
}

/* ---- making and ending ---- */

static int start_thread(struct sender *s, struct err *e)
{
        int q = thread_start(&s->threads[s->n_threads], work, s);
        if (q < 0)
                return err_errno(e, q, "cannot start a thread");
        s->n_threads++;
        return 0;
}

int sender_start(const struct sender_params *p, struct sender **ret, struct err *e)
{
        _cleanup_(sender_freep) struct sender *s = calloc(1, sizeof *s);
        if (!s)
                return err_oom(e);
        s->params = *p;
        pthread_mutex_init(&s->lock, NULL);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&s->changed, &attr);
        pthread_condattr_destroy(&attr);
        /* Their buffers are the memory bound. */
        unsigned n = MIN(p->concurrency, MAX(1u, ROOM_MOST / p->part_size));
        n = MAX(1u, MIN(n, (unsigned)ARRAY_SIZE(s->threads)));
        int q = 0;
        for (unsigned i = 0; q == 0 && i < n; i++)
                q = start_thread(s, e);
        if (q < 0)
                return q;
        *ret = steal(s);
        return 0;
}

void sender_free(struct sender *s)
{
        if (!s)
                return;
        pthread_mutex_lock(&s->lock);
        s->ending = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        for (unsigned i = 0; i < s->n_threads; i++)
                pthread_join(s->threads[i], NULL);
        while (s->head)
                drop_head(s);
        pthread_cond_destroy(&s->changed);
        pthread_mutex_destroy(&s->lock);
        free(s);
}
