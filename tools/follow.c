#include "follow.h"

#include "catalog.h"
#include "cli.h"
#include "clock.h"
#include "engine.h"
#include "progress.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

struct follow {
        struct engine *engine;
        struct catalog *catalog;
        const char *id;
        pthread_t thread;
        pthread_mutex_t lock; /* over */
        pthread_cond_t cond;
        bool over, told;
        struct progress reading, storing;
        char waits[ERR_TEXT_MAX]; /* what was said last of what stands in the way */
};

/* Once for each reason; that only a count in it moves on is no news. */
static void say_waiting(struct follow *f, const char *why)
{
        if (strncmp(f->waits, why, 40) == 0)
                return;
        (void)snprintf(f->waits, sizeof f->waits, "%s", why);
        progress_clear(&f->reading);
        progress_clear(&f->storing);
        (void)fprintf(stderr, "autoglacier: waiting, and going on by itself: %s\n", why);
}

static void show(struct follow *f)
{
        struct catalog_archive a = {0};
        if (catalog_archive_get(f->catalog, f->id, &a, NULL) < 0)
                return; /* tried again in a moment */
        if (a.state == ARCHIVE_GATHERING)
                progress_show_rate(&f->reading, a.read_bytes, a.todo_bytes, a.rate);
        if (a.state == ARCHIVE_UPLOADING)
                progress_show(&f->storing, a.stored_bytes, a.sealed_bytes);
        if (a.state == ARCHIVE_WAITING && *a.error)
                say_waiting(f, a.error);
        catalog_archive_done(&a);
}

static void stop(struct follow *f)
{
        engine_stop(f->engine);
        if (f->told)
                return;
        f->told = true;
        progress_clear(&f->reading);
        progress_clear(&f->storing);
        (void)fputs("autoglacier: stopping where it can be taken up again; once more stops at "
                    "once\n",
                stderr);
}

static void *watch(void *arg)
{
        struct follow *f = arg;
        pthread_mutex_lock(&f->lock);
        while (!f->over) {
                const struct timespec ts = clock_timespec(clock_now() + CLOCK_NSEC / 5);
                (void)pthread_cond_timedwait(&f->cond, &f->lock, &ts); /* time-out: look */
                if (f->over)
                        break;
                if (atomic_load(&cli_stop))
                        stop(f);
                else
                        show(f);
        }
        pthread_mutex_unlock(&f->lock);
        return NULL;
}

int follow_begin(struct engine *g, const char *id, struct follow **ret, struct err *e)
{
        struct follow *f = calloc(1, sizeof *f);
        if (!f)
                return err_oom(e);
        f->engine = g;
        f->id = id;
        progress_begin(&f->reading, "reading");
        progress_begin(&f->storing, "storing");
        pthread_mutex_init(&f->lock, NULL);
        pthread_cond_init(&f->cond, NULL);
        int q = engine_catalog(g, &f->catalog, e);
        if (q == 0 && pthread_create(&f->thread, NULL, watch, f) != 0)
                q = err_set(e, -EAGAIN, "cannot start a thread");
        if (q < 0) {
                catalog_close(f->catalog);
                free(f);
                return q;
        }
        *ret = f;
        return 0;
}

void follow_end(struct follow *f)
{
        pthread_mutex_lock(&f->lock);
        f->over = true;
        pthread_cond_signal(&f->cond);
        pthread_mutex_unlock(&f->lock);
        pthread_join(f->thread, NULL);
        progress_clear(&f->reading);
        progress_clear(&f->storing);
        catalog_close(f->catalog);
        pthread_mutex_destroy(&f->lock);
        pthread_cond_destroy(&f->cond);
        free(f);
}
