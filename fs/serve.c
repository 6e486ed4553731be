#include "serve.h"

#include "clock.h"
#include "node.h"
#include "thread.h"

#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#define THREADS_MAX 16
#define TICK_NS     (CLOCK_NSEC / 500) /* between two looks of the watch */
#define LATE_NS     TICK_NS            /* an answer that takes longer holds up others */
#define BUSY_TICKS  5                  /* looks at which a request waited for a reader: one more */
#define IDLE_TICKS  100                /* looks at which one had nothing to do: one less */
#define CALM_TICKS  250                /* looks at which nobody had: no more until somebody has */

/* worker.since, when it is not the time since when it answers */
#define READING  0
#define REPLACED (-1) /* does not count as a reader: it answers for long, or rests */

struct worker {
        struct serve *s;
        pthread_t thread;
        atomic_llong since;
        struct fuse_buf buf;
};

struct serve {
        struct fuse_session *session;
        sem_t wake;          /* the watch */
        atomic_bool asleep;  /* the watch, until there is a request */
        atomic_bool surplus; /* there are more readers than wanted */
        pthread_mutex_t lock;
        pthread_cond_t turn;
        unsigned resting, called; /* threads that wait for their turn, and how many may go */
        unsigned readers, wanted; /* how many there are, how many there should be */
        unsigned busy_ticks, idle_ticks, calm_ticks;
        unsigned threads;
        int error;
        struct worker workers[THREADS_MAX];
};

/* ---- a thread ---- */

static void rest(struct worker *w)
{
        struct serve *s = w->s;
        pthread_mutex_lock(&s->lock);
        s->resting++;
        while (s->called == 0 && !fuse_session_exited(s->session))
                pthread_cond_wait(&s->turn, &s->lock);
        s->resting--;
        if (s->called > 0)
                s->called--;
        atomic_store(&w->since, READING);
        pthread_mutex_unlock(&s->lock);
}

/* Whether there are too many readers, and this one is to rest. */
static bool is_surplus(struct worker *w)
{
        struct serve *s = w->s;
        if (!atomic_load(&s->surplus))
                return false;
        pthread_mutex_lock(&s->lock);
        bool rests = s->readers > s->wanted;
        if (rests) {
                s->readers--;
                atomic_store(&w->since, REPLACED);
        }
        atomic_store(&s->surplus, s->readers > s->wanted);
        pthread_mutex_unlock(&s->lock);
        return rests;
}

/* A file without a name is asked for as one with a name is, with O_TMPFILE among the flags, and the
 * answer is the same; but libfuse 3.14 does not know the number of that request. So short a
 * one is always in memory. */
static void name_request(struct fuse_buf *buf)
{
        struct fuse_in_header *h = buf->mem;
        if (!(buf->flags & FUSE_BUF_IS_FD) && buf->size >= sizeof *h && h->opcode == FUSE_TMPFILE)
                h->opcode = FUSE_CREATE;
}

/* Not inlined: a thread that is cancelled while it reads leaves the frame of work() as it is, so
 * that holds no variables that a sanitizer guards. */
__attribute__((noinline)) static void answer(struct worker *w)
{
        struct serve *s = w->s;
        long long began = clock_monotonic();
        atomic_store(&w->since, began);
        if (atomic_load(&s->asleep) && atomic_exchange(&s->asleep, false))
                (void)sem_post(&s->wake); /* cannot overflow: once a sleep */
        name_request(&w->buf);
        fuse_session_process_buf(s->session, &w->buf);
        /* The watch may have put another in its place. */
        if (!atomic_compare_exchange_strong(&w->since, &began, READING) || is_surplus(w))
                rest(w);
}

static void *work(void *arg)
{
        struct worker *w = arg;
        struct serve *s = w->s;
        int n = 0;
        while (!fuse_session_exited(s->session)) {
                pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
                n = fuse_session_receive_buf(s->session, &w->buf);
                pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
                if (n > 0)
                        answer(w);
                else if (n != -EINTR)
                        break;
        }
        if (n < 0 && n != -EINTR) {
                pthread_mutex_lock(&s->lock);
                s->error = n;
                pthread_mutex_unlock(&s->lock);
        }
        fuse_session_exit(s->session);
        (void)sem_post(&s->wake); /* cannot overflow: once a thread */
        return NULL;
}

/* ---- the watch ---- */

static int start_thread(struct serve *s)
{
        if (s->threads == THREADS_MAX)
                return -EAGAIN;
        struct worker *w = &s->workers[s->threads];
        *w = (struct worker){.s = s, .since = READING};
        int q = thread_start(&w->thread, work, w);
        s->threads += q == 0;
        return q;
}

/* One that rests, or a new one. Without any the next look tries again. */
static int add_reader(struct serve *s)
{
        int q = 0;
        if (s->resting > s->called) {
                s->called++;
                pthread_cond_signal(&s->turn);
        } else {
                q = start_thread(s);
        }
        s->readers += q == 0;
        return q;
}

struct seen {
        unsigned reading, answering;
};

/* Who answers for too long does not count as a reader any more. */
static struct seen look(struct serve *s)
{
        struct seen seen = {0};
        long long now = clock_monotonic();
        for (unsigned i = 0; i < s->threads; i++) {
                long long since = atomic_load(&s->workers[i].since);
                if (since == READING)
                        seen.reading++;
                else if (since == REPLACED)
                        continue;
                else if (now - since > LATE_NS &&
                         atomic_compare_exchange_strong(&s->workers[i].since, &since, REPLACED))
                        s->readers--;
                else
                        seen.answering++;
        }
        return seen;
}

static bool reached(unsigned *ticks, bool counts, unsigned limit)
{
        *ticks = counts ? *ticks + 1 : 0;
        if (*ticks < limit)
                return false;
        *ticks = 0;
        return true;
}

/* Whether a request waits for somebody to read it. */
static bool is_pending(const struct serve *s)
{
        struct pollfd p = {.fd = fuse_session_fd(s->session), .events = POLLIN};
        return poll(&p, 1, 0) > 0;
}

/* True when there has been nothing to do for a while. */
static bool tick(struct serve *s, unsigned most)
{
        pthread_mutex_lock(&s->lock);
        struct seen seen = look(s);
        bool busy = seen.reading == 0 && seen.answering > 0 && is_pending(s);
        if (reached(&s->busy_ticks, busy, BUSY_TICKS) && s->wanted < most)
                s->wanted++;
        if (reached(&s->idle_ticks, seen.reading > 0 && s->wanted > 1, IDLE_TICKS))
                s->wanted--;
        while (s->readers < s->wanted && add_reader(s) == 0)
                ;
        atomic_store(&s->surplus, s->readers > s->wanted);
        bool calm =
                reached(&s->calm_ticks, seen.answering == 0 && s->readers >= s->wanted, CALM_TICKS);
        pthread_mutex_unlock(&s->lock);
        return calm;
}

static void nap(struct serve *s, int64_t ns)
{
        int64_t until = clock_monotonic() + ns;
        const struct timespec ts = clock_timespec(until);
        (void)sem_clockwait(&s->wake, CLOCK_MONOTONIC, &ts); /* looked at again anyway */
}

/* A request that has come since the last look has not seen that the watch sleeps. */
static bool is_all_quiet(struct serve *s)
{
        for (unsigned i = 0; i < s->threads; i++)
                if (atomic_load(&s->workers[i].since) > 0)
                        return false;
        return true;
}

static void watch(struct serve *s)
{
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        unsigned most = (unsigned)MAX(1, MIN(4 * processors, THREADS_MAX / 2));
        while (!fuse_session_exited(s->session)) {
                if (!tick(s, most)) {
                        nap(s, TICK_NS);
                        continue;
                }
                atomic_store(&s->asleep, true);
                while (is_all_quiet(s) && atomic_load(&s->asleep) &&
                        !fuse_session_exited(s->session))
                        nap(s, CLOCK_NSEC);
                atomic_store(&s->asleep, false);
        }
}

static void end_threads(struct serve *s)
{
        fuse_session_exit(s->session);
        pthread_mutex_lock(&s->lock);
        pthread_cond_broadcast(&s->turn);
        pthread_mutex_unlock(&s->lock);
        for (unsigned i = 0; i < s->threads; i++) {
                (void)pthread_cancel(s->workers[i].thread); /* ended already: as good */
                pthread_join(s->workers[i].thread, NULL);
                free(s->workers[i].buf.mem);
        }
}

int serve_session(struct fuse_session *session, struct err *e)
{
        struct serve *s = calloc(1, sizeof *s);
        if (!s)
                return err_oom(e);
        s->session = session;
        s->wanted = 1;
        sem_init(&s->wake, 0, 0);
        pthread_mutex_init(&s->lock, NULL);
        pthread_cond_init(&s->turn, NULL);
        int q = add_reader(s);
        if (q < 0)
                err_errno(e, q, "cannot start a thread");
        else
                watch(s);
        end_threads(s);
        if (q == 0 && s->error)
                q = err_errno(e, s->error, "the kernel's requests cannot be read");
        pthread_cond_destroy(&s->turn);
        pthread_mutex_destroy(&s->lock);
        sem_destroy(&s->wake);
        free(s);
        return q;
}
