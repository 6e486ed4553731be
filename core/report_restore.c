#include "report_internal.h"

#include "catalog_restore.h"
#include "clock.h"
#include "config.h"
#include "cost.h"
#include "thaw.h"
#include "words.h"

#include <inttypes.h>

#define RATE_AGE_NS (10 * CLOCK_NSEC) /* older ones are of a program that is gone */

static void label(struct buf *b, const char *name)
{
        buf_addf(b, "    %-12s ", name);
}

static const char *bytes_words(uint64_t n, char out[CLOCK_TEXT_MAX])
{
        clock_bytes_words(n, out);
        return out;
}
#define BYTES(n) bytes_words((n), (char[CLOCK_TEXT_MAX]){0})

/* ---- what it would cost ---- */

static void add_tier(struct buf *b, const struct cost_prices *prices, const char *cls,
        const char *tier, const struct cost_retrieval *what, bool usual)
{
        _cleanup_buf_ struct buf time = BUF_INIT;
        struct cost_offer o;
        if (cost_retrieve(prices, cls, tier, what, &o) < 0)
                return;
        cost_time_words(&time, &o);
        buf_addf(b, "    %-10s ready after %-26s  costs ", tier, buf_str(&time));
        cost_about(b, &o.sum);
        buf_adds(b, usual ? "   <- if no tier is named\n" : "\n");
}

static void add_tiers(struct buf *b, const struct config *config, const struct cost_prices *prices,
        const char *cls, const struct cost_retrieval *what)
{
        if (!cls) {
                buf_adds(b, "    at once, and it costs nothing: the files can be read now\n");
                return;
        }
        if (!cost_knows(prices, cls)) {
                buf_addf(b, "    no price is known for %s\n", cls);
                return;
        }
        for (size_t k = 0; cost_tier(k); k++)
                add_tier(b, prices, cls, cost_tier(k), what,
                        streq(cost_tier(k), config->restore_tier));
        buf_addf(b,
                "    An estimate by the list prices of %s (%s), egress included; (unverified): "
                "not checked against the source.\n",
                cost_date(prices), cost_source(prices));
}

/* Some classes are read at once, and a folder thaws nothing. */
static bool must_thaw(const struct cost_prices *prices, const char *cls)
{
        const struct cost_retrieval none = {0};
        struct cost_offer o;
        for (size_t k = 0; cls && cost_tier(k); k++)
                if (cost_retrieve(prices, cls, cost_tier(k), &none, &o) == 0 && o.latest > 0)
                        return true;
        return false;
}

int report_restore_quote(const struct config *config, const struct catalog_archive *a,
        const struct thaw_plan *plan, struct buf *ret, struct err *e)
{
        const char *cls = cost_class(a->store_url, a->storage_class);
        _cleanup_(cost_freep) struct cost_prices *prices = NULL;
        struct cost_retrieval what;
        int q = cls ? cost_load(config->file, &prices, e) : 0;
        if (q < 0)
                return q;
        thaw_amount(a, plan, &what);
        buf_addf(ret, "%s: %s, %s\n", a->name, WORDS(plan->n_files, "file", NULL),
                BYTES(plan->bytes));
        buf_addf(ret, "    fetches %s of %s", BYTES(plan->fetch), WORDS(plan->n, "object", NULL));
        if (must_thaw(prices, cls))
                buf_addf(ret, " (%s to be thawed)", BYTES(what.thawed));
        buf_addc(ret, '\n');
        add_tiers(ret, config, prices, cls, &what);
        return buf_oom(ret) ? err_oom(e) : 0;
}

void report_restore_ahead(
        struct buf *b, const struct config *config, const struct catalog_archive *a, uint64_t bytes)
{
        uint64_t ahead = thaw_ahead(config->cache_limit);
        if (bytes <= ahead || !cost_class(a->store_url, a->storage_class))
                return;
        buf_addf(b,
                "of %s only %s are fetched at once (three quarters of CACHE_LIMIT); the rest is "
                "fetched when it is read, and once more if it is read again later; for all of it "
                "raise CACHE_LIMIT, or use autoglacier restore %s --to FOLDER",
                BYTES(bytes), BYTES(ahead), a->name);
}

/* ---- restores that are going on ---- */

static const char *step(const struct catalog_restore *r)
{
        switch (r->state) {
        case RESTORE_REQUESTED:
                return "the store is being asked";
        case RESTORE_THAWING:
                return "the store has been asked and makes it readable";
        case RESTORE_FETCHING:
                return "it is being fetched and checked";
        case RESTORE_CHECKED:
                return "all that was fetched is as it was archived";
        case RESTORE_READY:
                return *r->target ? "it is in the folder" : "it can be read below files/";
        case RESTORE_NEEDS_KEY:
                return "a private key is missing or locked; autoglacier unlock";
        case RESTORE_EXPIRED:
        case RESTORE_CANCELLED:
        case RESTORE_FAILED:
                break;
        }
        return "";
}

static void add_paths(struct buf *b, const struct catalog_restore *r)
{
        unsigned n = 0;
        label(b, "restores");
        if (r->paths_len == 0)
                buf_adds(b, "everything");
        for (const char *p = r->paths; p < r->paths + r->paths_len; p += strlen(p) + 1)
                if (n++ < 5) {
                        buf_adds(b, n > 1 ? ", " : "");
                        report_add_line(b, p, 100);
                }
        if (n > 5)
                buf_addf(b, " and %u more", n - 5);
        if (*r->target) {
                buf_adds(b, " to ");
                report_add_line(b, r->target, 200);
        }
        buf_addc(b, '\n');
}

static void add_when(struct buf *b, const struct catalog_restore *r)
{
        char at[CLOCK_TEXT_MAX];
        if (r->state == RESTORE_READY && !*r->target) {
                clock_iso(r->ready_until, at);
                label(b, "until");
                buf_addf(b, "%s\n", at);
        } else if (r->state <= RESTORE_THAWING && r->deadline > 0) {
                clock_iso(r->deadline, at);
                label(b, "expected by");
                buf_adds(b, at);
                clock_words(r->deadline - clock_now(), at);
                buf_addf(b, "%s%s\n", r->deadline > clock_now() ? ", in " : ", it is late",
                        r->deadline > clock_now() ? at : "");
        }
}

static bool has_rate(const struct catalog_restore *r)
{
        return r->state == RESTORE_FETCHING && r->rate > 0 &&
               clock_now() - r->rate_at < RATE_AGE_NS;
}

static void add_fetched(struct buf *b, const struct catalog_restore *r)
{
        char left[CLOCK_TEXT_MAX];
        label(b, "fetched");
        buf_addf(b, "%s of %s, %s of %s", BYTES(r->done_bytes), BYTES(r->todo_bytes),
                WORDS(r->done_files, "file", NULL), WORDS(r->todo_files, "file", NULL));
        if (has_rate(r))
                buf_addf(b, ", %s/s", BYTES(r->rate));
        if (has_rate(r) && r->seconds_left >= 0) {
                clock_words(r->seconds_left * CLOCK_NSEC, left);
                buf_addf(b, ", %s left", left);
        }
        buf_addc(b, '\n');
}

static void add_restore(struct buf *b, const struct catalog_restore *r)
{
        buf_addf(b, "%s\n", r->name);
        label(b, "restore");
        buf_addf(b, "%s: %s\n", restore_state_name(r->state), step(r));
        add_paths(b, r);
        label(b, "tier");
        buf_adds(b, r->tier);
        if (r->price > 0) {
                buf_adds(b, ", ");
                cost_about(b, &(struct cost_sum){.usd = r->price});
        }
        buf_addc(b, '\n');
        add_when(b, r);
        add_fetched(b, r);
        if (*r->error) {
                label(b, r->state == RESTORE_FAILED ? "last error" : "note");
                report_add_line(b, r->error, ERR_TEXT_MAX);
                buf_addc(b, '\n');
        }
}

struct restores {
        struct buf *b;
        unsigned n;
        bool failed;
        int64_t since; /* failed ones that are older are history */
};

static bool is_shown(const struct catalog_restore *r, int64_t since)
{
        return restore_is_active(r->state) || (r->state == RESTORE_READY && !*r->target) ||
               (r->state == RESTORE_FAILED && r->changed > since);
}

static int each_restore(void *ctx, const struct catalog_restore *r)
{
        struct restores *s = ctx;
        if (!is_shown(r, s->since))
                return 0;
        s->n++;
        s->failed |= r->state == RESTORE_FAILED;
        buf_addc(s->b, '\n');
        add_restore(s->b, r);
        return 0;
}

static int64_t a_day_ago(void)
{
        return clock_now() - 86400 * CLOCK_NSEC;
}

int report_restores(
        struct catalog *c, const char *id, struct buf *ret, bool *ret_failed, struct err *e)
{
        struct restores s = {.b = ret, .since = a_day_ago()};
        int q = catalog_restore_each(c, id, each_restore, &s, e);
        if (ret_failed && s.failed)
                *ret_failed = true;
        return q;
}

int report_restore_help(struct catalog *c, const struct config *config,
        const struct catalog_archive *a, struct buf *ret, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        _cleanup_buf_ struct buf ahead = BUF_INIT;
        struct thaw_plan whole = {.n_files = a->n_files, .bytes = a->bytes};
        int q = catalog_volumes(c, a->id, &v, &whole.n, e);
        for (size_t i = 0; q == 0 && i < whole.n; i++)
                whole.thaw += v[i].size;
        whole.pieces = whole.n;
        whole.fetch = whole.range = whole.thaw;
        buf_adds(ret,
                "# Write into this file what shall be readable below files/:\n"
                "#   echo \"photos/2026\" > .restore     files and folders; \"…\" around names "
                "with blanks\n"
                "#   echo \"standard all\" > .restore    everything, by a tier: bulk, standard, "
                "expedited\n"
                "#   echo \"max=7.50 all\" > .restore    where it costs more than COST_LIMIT "
                "allows\n"
                "#   echo cancel > .restore            not any more\n"
                "# Nothing is asked of the store, and nothing costs, before that.\n\n");
        if (q == 0)
                q = report_restore_quote(config, a, &whole, ret, e);
        if (q == 0)
                buf_addf(ret, "    Up to %.2f USD it is done without asking (COST_LIMIT).\n",
                        config->cost_limit);
        report_restore_ahead(&ahead, config, a, a->bytes);
        if (ahead.len > 0)
                buf_addf(ret, "    NOTE: %s.\n", buf_str(&ahead));
        if (q == 0)
                q = report_restores(c, a->id, ret, NULL, e);
        return q == 0 && buf_oom(ret) ? err_oom(e) : q;
}

/* ---- JSON ---- */

static void add_time(struct buf *b, const char *key, int64_t t)
{
        char s[CLOCK_TEXT_MAX];
        clock_iso_ns(t, s);
        if (t > 0 && t < INT64_MAX)
                buf_addf(b, ", \"%s\": \"%s\"", key, s);
        else
                buf_addf(b, ", \"%s\": null", key);
}

static void add_text(struct buf *b, const char *key, const char *s)
{
        buf_addf(b, ", \"%s\": ", key);
        if (*s)
                buf_add_json(b, s, strlen(s));
        else
                buf_adds(b, "null");
}

static int each_json(void *ctx, const struct catalog_restore *r)
{
        struct restores *s = ctx;
        if (!is_shown(r, s->since))
                return 0;
        struct buf *b = s->b;
        s->failed |= r->state == RESTORE_FAILED;
        buf_addf(b, "%s\n    {\"restore\": %" PRId64, s->n++ > 0 ? "," : "", r->row);
        add_text(b, "archive", r->archive);
        add_text(b, "name", r->name);
        add_text(b, "state", restore_state_name(r->state));
        add_text(b, "tier", r->tier);
        add_text(b, "to", r->target);
        buf_adds(b, ", \"paths\": [");
        for (const char *p = r->paths; p < r->paths + r->paths_len; p += strlen(p) + 1) {
                buf_adds(b, p > r->paths ? ", " : "");
                buf_add_json(b, p, strlen(p));
        }
        buf_addc(b, ']');
        if (r->price >= 0)
                buf_addf(b, ", \"price_usd\": %.4f", r->price);
        else
                buf_adds(b, ", \"price_usd\": null");
        buf_addf(b,
                ", \"files\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"done_files\": %" PRIu64
                ", \"done_bytes\": %" PRIu64 ", \"fetched_bytes\": %" PRIu64,
                r->todo_files, r->todo_bytes, r->done_files, r->done_bytes, r->fetched);
        buf_addf(b, ", \"rate\": %" PRIu64, has_rate(r) ? r->rate : 0);
        if (has_rate(r) && r->seconds_left >= 0)
                buf_addf(b, ", \"seconds_left\": %" PRId64, r->seconds_left);
        else
                buf_adds(b, ", \"seconds_left\": null");
        add_time(b, "created", r->created);
        add_time(b, "changed", r->changed);
        add_time(b, "deadline", r->deadline);
        add_time(b, "ready_until", r->ready_until);
        add_text(b, "error", r->error);
        buf_addc(b, '}');
        return 0;
}

int report_json_restores(
        struct catalog *c, const char *id, struct buf *ret, bool *ret_failed, struct err *e)
{
        struct restores s = {.b = ret, .since = a_day_ago()};
        buf_addc(ret, '[');
        int q = catalog_restore_each(c, id, each_json, &s, e);
        buf_adds(ret, s.n > 0 ? "\n  ]" : "]");
        if (ret_failed && s.failed)
                *ret_failed = true;
        return q;
}
