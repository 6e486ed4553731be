#include "thaw_internal.h"

#include "buf.h"
#include "clock.h"
#include "config.h"
#include "crash.h"
#include "notify.h"
#include "stores.h"

#include <inttypes.h>

#define FIRST_LOOK_NS (CLOCK_NSEC / 2)
#define LAST_LOOK_NS  (600 * CLOCK_NSEC)
#define KEY_LOOK_NS   (5 * CLOCK_NSEC) /* at least, and a minute at most: unlocking tells us */
#define KEY_LAST_NS   (60 * CLOCK_NSEC)
#define TICK_NS       (CLOCK_NSEC / 2)
#define LOST_LOOKS    3 /* at what is ready and cannot be read, until it is asked for again */
#define GIVE_UP_TRIES 8 /* of what cannot get better by waiting, but may be a race */

/* ---- what the parts share ---- */

void thaw_log(struct thaw *t, char level, const char *fmt, ...)
{
        char text[ERR_TEXT_MAX + 128];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(text, sizeof text, fmt, ap); /* cut if it is too long */
        va_end(ap);
        (void)catalog_event(t->catalog, t->r.archive, level, text, NULL); /* the row tells it too */
}

/* Looks get rarer: half a second at first, ten minutes at last. */
static int64_t backoff(unsigned tries)
{
        int64_t wait = FIRST_LOOK_NS;
        for (unsigned i = 0; i < tries && wait < LAST_LOOK_NS; i++)
                wait += wait / 2;
        return MIN(wait, (int64_t)LAST_LOOK_NS);
}

/* The state and all numbers, durable; resets tries where the state is new. */
static int become(
        struct thaw *t, enum restore_state s, const char *error, int64_t retry_at, struct err *e)
{
        bool news = t->r.state != s, told = !news && streq(t->r.error, error);
        char *copy = strdup(error);
        if (!copy)
                return err_oom(e);
        free(t->r.error);
        t->r.error = copy;
        t->r.tries = news ? 0 : t->r.tries + 1;
        t->r.state = s;
        t->r.retry_at = retry_at;
        int q = catalog_restore_update(t->catalog, &t->r, e);
        if (q == 0 && t->env->changed && !told)
                t->env->changed(t->env->ctx, t->r.archive);
        return q;
}

/* What was there already goes by at once: a rate is only worth something between two looks. */
static void count(struct thaw *t, int64_t now)
{
        struct catalog_restore *r = &t->r;
        uint64_t done = r->done_bytes;
        if (t->counted > 0 && done >= t->counted_bytes) {
                double s = (double)(now - t->counted) / (double)CLOCK_NSEC;
                uint64_t lately = (uint64_t)((double)(done - t->counted_bytes) / s);
                r->rate = r->rate > 0 ? (r->rate + lately) / 2 : lately;
        }
        r->seconds_left =
                r->rate > 0 && t->goal >= done ? (int64_t)((t->goal - done) / r->rate) : -1;
        t->counted = now;
        t->counted_bytes = done;
}

void thaw_tick(struct thaw *t)
{
        int64_t now = clock_monotonic();
        if (t->env->stop && atomic_load(t->env->stop))
                atomic_store(&t->halt, true);
        if (now - t->ticked < TICK_NS)
                return;
        t->ticked = now;
        if (t->r.state == RESTORE_FETCHING)
                count(t, now);
        if (catalog_restore_progress(t->catalog, &t->r, NULL) == 0 && t->r.cancel_wanted)
                atomic_store(&t->halt, true);
        if (t->env->tick)
                t->env->tick(t->env->tick_ctx, &t->r);
}

static int look_again(struct thaw *t, const char *why, struct err *e)
{
        return become(t, t->r.state, why, clock_now() + backoff(t->r.tries), e);
}

/* ---- what cannot go on ---- */

static bool is_final(int q)
{
        return q == -EACCES || q == -EINVAL || q == -EPROTONOSUPPORT || q == -EEXIST ||
               q == -EBADMSG || q == -EPROTO || q == -ENOTDIR || q == -EROFS;
}

static int trouble(struct thaw *t, int q, const struct err *why, struct err *e)
{
        if (q == -ECANCELED)
                return 0; /* the program ends; the next one goes on */
        if (q == -ENOKEY) {
                int64_t wait = MIN(MAX(backoff(t->r.tries), KEY_LOOK_NS), KEY_LAST_NS);
                return become(t, RESTORE_NEEDS_KEY, why->text, clock_now() + wait, e);
        }
        bool hopeless = q == -ENOENT && t->r.tries >= GIVE_UP_TRIES;
        if (!is_final(q) && !hopeless)
                return look_again(t, why->text, e);
        thaw_log(t, 'e', "restore failed: %s", why->text);
        return become(t, RESTORE_FAILED, why->text, 0, e);
}

/* ---- the steps ---- */

static int step_thaw(struct thaw *t, struct err *e)
{
        struct err why = {0};
        int q = thaw_ask(t, &why);
        if (q < 0)
                return trouble(t, q, &why, e);
        if (q == 1)
                return become(t, RESTORE_FETCHING, "", 0, e);
        crash_point("restore-asked");
        if (t->r.state == RESTORE_REQUESTED) {
                q = become(t, RESTORE_THAWING, "", clock_now() + backoff(0), e);
                crash_point("restore-thawing");
                return q;
        }
        return look_again(t, "", e);
}

static int64_t end_of(const struct thaw *t)
{
        if (t->r.ready_until > 0)
                return t->r.ready_until;
        return clock_now() + (int64_t)t->r.days * 86400 * CLOCK_NSEC;
}

/* The object is ready, and a piece of it is not: it was lost on the way, or was another's and has
 * expired. */
static int step_lost(struct thaw *t, const struct err *lost, struct err *e)
{
        struct err why = {0};
        int q = (t->r.tries + 1) % LOST_LOOKS == 0 ? thaw_ask_again(t, &why) : 0;
        return q < 0 ? trouble(t, q, &why, e) : look_again(t, lost->text, e);
}

/* Ready once, and not any more: nobody fetched it, the key was locked or the machine off. Asking
 * again would be paid again, which only the one who pays decides. */
static int step_missed(struct thaw *t, struct err *e)
{
        char until[CLOCK_TEXT_MAX];
        struct err why = {0};
        clock_iso(t->r.ready_until, until);
        (void)err_set(&why, -ETIME,
                "what was thawed could be read until %s and was not fetched till then%s; ask for "
                "it again, for its price",
                until,
                t->r.state == RESTORE_NEEDS_KEY ? ", since no private key was unlocked" : "");
        thaw_log(t, 'e', "restore failed: %s", why.text);
        return become(t, RESTORE_FAILED, why.text, 0, e);
}

static int step_fetch(struct thaw *t, struct err *e)
{
        struct err why = {0};
        if (t->r.ready_until > 0 && clock_now() > t->r.ready_until)
                return step_missed(t, e);
        _cleanup_buf_ struct buf note = BUF_INIT;
        int q = thaw_ask(t, &why);
        if (q == 0)
                return become(t, RESTORE_THAWING, "", 0, e);
        if (q == 1)
                q = thaw_fetch(t, &note, &why);
        if (q == -EREMOTE)
                return step_lost(t, &why, e);
        if (q < 0)
                return trouble(t, q, &why, e);
        crash_point("restore-fetched");
        q = become(t, RESTORE_CHECKED, buf_str(&note), 0, e);
        crash_point("restore-checked");
        return q;
}

static int step_ready(struct thaw *t, struct err *e)
{
        char until[CLOCK_TEXT_MAX], bytes[CLOCK_TEXT_MAX], fetched[CLOCK_TEXT_MAX];
        _cleanup_free_ char *error = strdup(t->r.error);
        t->r.ready_until = end_of(t);
        clock_iso(t->r.ready_until, until);
        clock_bytes_words(t->r.done_bytes, bytes);
        clock_bytes_words(t->r.fetched, fetched);
        if (*t->r.target)
                thaw_log(t, 'i', "restored %s to %s (fetched %s)", bytes, t->r.target, fetched);
        else
                thaw_log(t, 'i', "restored %s (fetched %s); readable until %s", bytes, fetched,
                        until);
        int q = become(t, RESTORE_READY, error ? error : "",
                *t->r.target ? INT64_MAX : t->r.ready_until, e);
        crash_point("restore-ready");
        struct err why = {0};
        if (q == 0 && t->env->config &&
                notify_run(t->env->config, "ready", &t->a, NULL, NULL, &why) < 0)
                thaw_log(t, 'i', "nobody was told: %s", why.text);
        return q;
}

static int step_expire(struct thaw *t, struct err *e)
{
        if (*t->r.target || (clock_now() < t->r.ready_until && !t->r.cancel_wanted))
                return 0;
        thaw_drop(t);
        thaw_log(t, 'i', "what was restored has expired; it can be asked for again");
        return become(t, RESTORE_EXPIRED, "", INT64_MAX, e);
}

static int step(struct thaw *t, struct err *e)
{
        bool unwanted = t->r.cancel_wanted || t->a.state == ARCHIVE_DELETED;
        if (unwanted && restore_is_active(t->r.state)) {
                thaw_drop(t);
                thaw_log(t, 'i',
                        "restore cancelled; what the store was asked to thaw it will "
                        "thaw and charge for");
                return become(t, RESTORE_CANCELLED, "", INT64_MAX, e);
        }
        switch (t->r.state) {
        case RESTORE_REQUESTED:
        case RESTORE_THAWING:
                return step_thaw(t, e);
        case RESTORE_FETCHING:
        case RESTORE_NEEDS_KEY:
                return step_fetch(t, e);
        case RESTORE_CHECKED:
                return step_ready(t, e);
        case RESTORE_READY:
                return step_expire(t, e);
        case RESTORE_EXPIRED:
        case RESTORE_CANCELLED:
        case RESTORE_FAILED:
                break;
        }
        return 0;
}

/* ---- from outside ---- */

static int open_all(struct thaw *t, struct err *e)
{
        const struct store_control control = {.stop = t->env->stop ? t->env->stop : &t->halt};
        int q = catalog_archive_get(t->catalog, t->r.archive, &t->a, e);
        if (q == 0)
                q = thaw_plan_make(t->catalog, &t->a, t->r.paths, t->r.paths_len, &t->plan, e);
        if (q == 0)
                q = stores_open(t->env->config, t->a.store_url, t->a.storage_class, &t->store, e);
        if (q == 0)
                store_set_control(t->store, &control);
        return q;
}

static void close_all(struct thaw *t)
{
        store_close(t->store);
        thaw_plan_done(&t->plan);
        catalog_archive_done(&t->a);
        catalog_restore_done(&t->r);
}

int thaw_run(const struct thaw_env *env, int64_t row, struct err *e)
{
        _cleanup_(close_all) struct thaw t = {.env = env, .catalog = env->catalog};
        int q = catalog_restore_get(env->catalog, row, &t.r, e);
        if (q < 0)
                return q;
        struct err why = {0};
        if ((q = open_all(&t, &why)) < 0)
                return trouble(&t, q, &why, e);
        /* As far as it goes: until a step says when to look again. */
        do {
                if ((q = step(&t, e)) < 0)
                        return q;
                thaw_tick(&t);
        } while (t.r.retry_at == 0 && restore_is_active(t.r.state) && !atomic_load(&t.halt));
        return 0;
}
