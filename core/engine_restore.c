#include "engine_internal.h"

#include "cache.h"
#include "catalog_restore.h"
#include "clock.h"
#include "config.h"
#include "cost.h"
#include "import.h"
#include "report.h"
#include "thaw.h"
#include "thread.h"
#include "words.h"

#include <inttypes.h>
#include <time.h>

/* ---- asking ---- */

static int check_stored(const struct catalog_archive *a, struct err *e)
{
        if (archive_is_stored(a->state))
                return 0;
        return err_set(e, -EINVAL, "%s is %s; only what is stored can be restored", a->name,
                archive_state_name(a->state));
}

/* Money is never spent by surprise: above the limit the price must have been said. */
static int check_price(
        const struct config *config, const struct cost_offer *o, double max_price, struct err *e)
{
        double limit = max_price >= 0 ? max_price : config->cost_limit;
        if (o->sum.usd <= limit)
                return 0;
        double shown = (double)(int64_t)(o->sum.usd * 100 + 1) / 100;
        if (max_price >= 0)
                return err_set(e, -EDQUOT, "it would cost about %.2f USD, more than max=%.2f",
                        shown, max_price);
        return err_set(e, -EDQUOT,
                "it would cost about %.2f USD, more than COST_LIMIT (%.2f USD); repeat it with "
                "max=%.2f if that is right",
                shown, config->cost_limit, shown);
}

/* What is thawed and has no place to go to would be paid for in vain. */
static int check_room(struct engine *g, struct catalog *c, const struct catalog_restore *r,
        const struct thaw_plan *plan, struct err *e)
{
        struct cache *cache;
        int q = catalog_restore_is_known(c, r, e); /* one that is under way has taken some */
        if (q != 0)
                return MIN(q, 0);
        if (*r->target) {
                q = r->overwrite ? 0 : thaw_target_is_free(c, plan, r->target, e);
                return q < 0 ? q : thaw_room_in_folder(plan, r->target, e);
        }
        q = content_cache(g, &cache, e);
        return q < 0 ? q : thaw_room_in_cache(c, plan, g->config->data, cache_bytes(cache), e);
}

/* Everything that is known before the store is asked. */
static int prepare(struct engine *g, struct catalog *c, const struct catalog_archive *a,
        const struct engine_restore_wish *w, struct catalog_restore *r, struct err *e)
{
        _cleanup_(cost_freep) struct cost_prices *prices = NULL;
        _cleanup_(thaw_plan_done) struct thaw_plan plan = {0};
        struct cost_offer o;
        bool known;
        int q = check_stored(a, e);
        if (q == 0)
                q = thaw_paths_plain(c, a->id, w->paths, w->paths_len, &r->paths, &r->paths_len, e);
        if (q == 0)
                q = thaw_plan_make(c, a, r->paths, r->paths_len, &plan, e);
        if (q == 0)
                q = cost_load(g->config->file, &prices, e);
        if (q == 0)
                q = thaw_price(prices, a, &plan, r->tier, &o, &known, e);
        if (q == 0)
                q = check_price(g->config, &o, w->max_price, e);
        if (q == 0)
                q = check_room(g, c, r, &plan, e);
        if (q < 0)
                return q;
        r->price = known ? o.sum.usd : -1;
        r->deadline = o.latest > 0 ? clock_now() + o.latest : 0;
        r->todo_files = plan.n_files;
        r->todo_bytes = plan.bytes;
        return 0;
}

/* It need not be here yet: a stick is plugged in when the store has thawed. */
static bool has_key(const struct config *config)
{
        for (char *const *p = config->private_keys; *p; p++)
                if (access(*p, R_OK) == 0)
                        return true;
        return false;
}

static void note_request(struct engine *g, struct catalog *c, const struct catalog_archive *a,
        const struct catalog_restore *r)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        _cleanup_buf_ struct buf ahead = BUF_INIT;
        char bytes[CLOCK_TEXT_MAX];
        clock_bytes_words(r->todo_bytes, bytes);
        buf_addf(&b, "restore asked for: %s, %s, %s", r->tier, WORDS(r->todo_files, "file", NULL),
                bytes);
        if (r->price > 0) {
                buf_adds(&b, ", for ");
                cost_about(&b, &(struct cost_sum){.usd = r->price});
        }
        (void)catalog_event(c, r->archive, 'i', buf_str(&b), NULL); /* the row tells it too */
        if (!has_key(g->config))
                (void)catalog_event(c, r->archive, 'i',
                        "no private key is here: what is thawed will wait for one, and expires",
                        NULL); /* needs-key tells it then */
        if (!*r->target)
                report_restore_ahead(&ahead, g->config, a, r->todo_bytes);
        if (ahead.len > 0)
                (void)catalog_event(c, r->archive, 'i', buf_str(&ahead), NULL); /* likewise */
}

static void poke(struct engine *g)
{
        pthread_mutex_lock(&g->lock);
        g->restore_news++;
        pthread_cond_broadcast(&g->cond);
        pthread_mutex_unlock(&g->lock);
}

int engine_restore(struct engine *g, const struct engine_restore_wish *w, int64_t *ret_row,
        bool *ret_old, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        _cleanup_(catalog_restore_done) struct catalog_restore r = {
                .tier = strdup(w->tier ? w->tier : g->config->restore_tier),
                .target = strdup(w->target ? w->target : ""),
                .days = g->config->restore_days,
                .overwrite = w->overwrite,
        };
        bool old = false;
        if (!r.tier || !r.target)
                return err_oom(e);
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = catalog_archive_get(c, w->id, &a, e);
        if (q == 0 && import_is_imported(&a))
                q = err_set(e, -EINVAL,
                        "%s was imported from a log; autoglacier restore %s brings it back", a.name,
                        a.name);
        if (q == 0 && !(r.archive = strdup(a.id)))
                q = err_oom(e);
        if (q == 0)
                q = prepare(g, c, &a, w, &r, e);
        if (q == 0)
                q = catalog_restore_add(c, &r, &old, e);
        if (q < 0)
                return q;
        if (!old)
                note_request(g, c, &a, &r);
        poke(g);
        jobs_changed(g, a.id);
        *ret_row = r.row;
        if (ret_old)
                *ret_old = old;
        return 0;
}

static bool says_cancel(const char *text, size_t len)
{
        while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
                len--;
        return len == 6 && memcmp(text, "cancel", 6) == 0;
}

int engine_restore_write(
        struct engine *g, const char *id, const char *text, size_t len, struct err *e)
{
        struct thaw_words w = {0};
        if (says_cancel(text, len))
                return engine_restore_cancel(g, id, NULL, e);
        int q = thaw_words_parse(text, len, &w, e);
        if (q < 0)
                return q;
        const struct engine_restore_wish wish = {.id = id,
                .tier = w.tier,
                .paths = w.paths,
                .paths_len = w.paths_len,
                .max_price = w.max_price};
        int64_t row;
        q = engine_restore(g, &wish, &row, NULL, e);
        thaw_words_done(&w);
        return q;
}

int engine_restore_help(
        struct engine *g, struct catalog *c, const char *id, struct buf *ret, struct err *e)
{
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        int q = catalog_archive_get(c, id, &a, e);
        return q < 0 ? q : report_restore_help(c, g->config, &a, ret, e);
}

int engine_restore_quote(
        struct engine *g, const struct engine_restore_wish *w, struct buf *ret, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        _cleanup_(thaw_plan_done) struct thaw_plan plan = {0};
        _cleanup_free_ char *paths = NULL;
        size_t len = 0;
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = catalog_archive_get(c, w->id, &a, e);
        if (q == 0)
                q = check_stored(&a, e);
        if (q == 0)
                q = thaw_paths_plain(c, a.id, w->paths, w->paths_len, &paths, &len, e);
        if (q == 0)
                q = thaw_plan_make(c, &a, paths, len, &plan, e);
        return q < 0 ? q : report_restore_quote(g->config, &a, &plan, ret, e);
}

/* ---- running ---- */

/* Who sees how far it is, and can end it. */
struct watcher {
        void (*show)(void *ctx, const struct catalog_restore *r); /* NULL: nobody */
        void *ctx;
        const atomic_bool *stop;
};

/* 0 it was taken as far as it goes; -EBUSY another thread or program has it. */
static int run_one(
        struct engine *g, struct catalog *c, int64_t row, const struct watcher *w, struct err *e)
{
        char name[48];
        int lock;
        struct cache *cache;
        (void)snprintf(name, sizeof name, "restore-%" PRId64, row); /* fits */
        int q = content_cache(g, &cache, e);
        if (q < 0)
                return q;
        if ((q = jobs_lock(g, name, &lock, NULL)) < 0)
                return q == -EAGAIN ? -EBUSY : err_errno(e, q, "cannot lock %s", name);
        _cleanup_(config_freep) struct config *own = NULL;
        _cleanup_(catalog_restore_done) struct catalog_restore r = {0};
        if ((q = catalog_restore_get(c, row, &r, e)) == 0)
                q = jobs_config(g, c, r.archive, &own, e);
        const struct thaw_env env = {.config = own ? own : g->config,
                .catalog = c,
                .cache = cache,
                .locks_fd = g->locks_fd,
                .unwrap = engine_unwrap,
                .unwrap_ctx = g,
                .stop = w->stop,
                .changed = jobs_changed,
                .ctx = g,
                .tick = w->show,
                .tick_ctx = w->ctx};
        if (q == 0)
                q = thaw_run(&env, row, e);
        jobs_unlock(lock);
        return q;
}

/* ---- taking back ---- */

struct live {
        int64_t rows[64];
        size_t n;
};

static int add_live(void *ctx, const struct catalog_restore *r)
{
        struct live *l = ctx;
        if (restore_is_active(r->state) || (r->state == RESTORE_READY && !*r->target))
                l->rows[l->n++] = r->row;
        return l->n == ARRAY_SIZE(l->rows);
}

/* Where no restorer runs, the wish is followed here, unless another program has the restore. */
static int cancel_one(struct engine *g, struct catalog *c, int64_t row, struct err *e)
{
        const struct watcher nobody = {.stop = &g->stop};
        int q = catalog_restore_want_cancel(c, row, e);
        if (q == 0 && g->n_restorers == 0)
                q = run_one(g, c, row, &nobody, e);
        return q == -EBUSY ? 0 : q;
}

int engine_restore_cancel_one(struct engine *g, int64_t row, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = cancel_one(g, c, row, e);
        poke(g);
        return q;
}

int engine_restore_cancel(struct engine *g, const char *id, size_t *ret_n, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        struct live l = {0};
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = MIN(catalog_restore_each(c, id, add_live, &l, e), 0);
        for (size_t i = 0; q == 0 && i < l.n; i++)
                q = cancel_one(g, c, l.rows[i], e);
        poke(g);
        if (q == 0 && ret_n)
                *ret_n = l.n;
        return q;
}

/* Looks at all that is due; ns until the next one is. */
static int64_t look(struct engine *g, struct catalog *c)
{
        int64_t rows[32], next = INT64_MAX, now = clock_now();
        const struct watcher nobody = {.stop = &g->stop};
        size_t n = 0;
        if (catalog_restore_due(c, now, rows, ARRAY_SIZE(rows), &n, &next, NULL) < 0)
                return RESTORES_LOOK_NS;
        bool ran = false;
        for (size_t i = 0; i < n && !atomic_load(&g->stop); i++)
                ran |= run_one(g, c, rows[i], &nobody, NULL) == 0;
        if (ran)
                return 0; /* it may be due again */
        return next == INT64_MAX ? RESTORES_LOOK_NS : next - now;
}

static void wait_for_news(struct engine *g, int64_t ns)
{
        int64_t until =
                clock_monotonic() + MAX(MIN(ns, (int64_t)RESTORES_LOOK_NS), CLOCK_NSEC / 50);
        struct timespec ts = clock_timespec(until);
        pthread_mutex_lock(&g->lock);
        unsigned seen = g->restore_news;
        while (seen == g->restore_news && !atomic_load(&g->stop))
                if (pthread_cond_timedwait(&g->cond, &g->lock, &ts) == ETIMEDOUT)
                        break;
        pthread_mutex_unlock(&g->lock);
}

static void *work(void *arg)
{
        struct engine *g = arg;
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        while (!atomic_load(&g->stop)) {
                int64_t wait = RESTORES_LOOK_NS;
                if (c || engine_catalog(g, &c, NULL) == 0)
                        wait = look(g, c);
                if (wait > 0)
                        wait_for_news(g, wait);
        }
        return NULL;
}

void restores_start(struct engine *g)
{
        while (g->n_restorers < ARRAY_SIZE(g->restorers) &&
                thread_start(&g->restorers[g->n_restorers], work, g) == 0)
                g->n_restorers++; /* fewer are slower, and every command can run its own */
}

void restores_join(struct engine *g)
{
        while (g->n_restorers > 0)
                pthread_join(g->restorers[--g->n_restorers], NULL);
}

void restores_key_came(struct engine *g)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        if (engine_catalog(g, &c, NULL) == 0)
                (void)catalog_restore_key_came(c, NULL); /* they are looked at in a minute anyway */
        poke(g);
}

/* ---- waiting in the foreground ---- */

static bool is_over(const struct catalog_restore *r)
{
        return !restore_is_active(r->state);
}

/* A second at most: somebody may have cancelled it, or unlocked a key. True: it is time to look. */
static bool pause_until(int64_t at, const atomic_bool *stop)
{
        const struct timespec step = {.tv_nsec = 100 * 1000 * 1000};
        int64_t end = MIN(at, clock_now() + CLOCK_NSEC);
        do
                (void)nanosleep(&step, NULL); /* woken early: look early */
        while (clock_now() < end && !atomic_load(stop));
        return clock_now() >= at;
}

int engine_restore_run(struct engine *g, int64_t row, bool wait,
        void (*show)(void *ctx, const struct catalog_restore *r), void *ctx,
        const atomic_bool *stop, struct catalog_restore *ret, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        const struct watcher w = {show, ctx, stop};
        int q = engine_catalog(g, &c, e);
        for (bool due = true; q == 0;) {
                struct catalog_restore r = {0};
                if (due)
                        q = run_one(g, c, row, &w, e);
                if (q == 0 || q == -EBUSY)
                        q = catalog_restore_get(c, row, &r, e);
                if (q < 0)
                        break;
                bool over = is_over(&r) || !wait || atomic_load(stop);
                if (show)
                        show(ctx, &r);
                if (over) {
                        *ret = r;
                        break;
                }
                due = pause_until(r.retry_at, stop);
                catalog_restore_done(&r);
        }
        return q;
}
