#include "report_internal.h"

#include "clock.h"
#include "config.h"
#include "cost.h"
#include "words.h"

#include <inttypes.h>

#define SENT_PART (64.0 * MiB) /* a part of a large upload, for what is not sent yet */

/* One archive, as far as money goes. */
struct figures {
        const char *cls; /* NULL: it costs nothing */
        bool known;
        uint64_t objects, bytes, requests;
        struct cost_sum month, sent, early;
};

struct costs {
        struct catalog *c;
        const struct cost_prices *prices;
        const struct config *config;
        struct buf *b;
        bool json;
        int width;
        unsigned n;
        struct cost_sum month, early;
        bool unknown;
        struct err *e;
};

static int count_part(void *ctx, const struct catalog_part *p _unused_)
{
        ++*(uint64_t *)ctx;
        return 0;
}

static int count_objects(
        struct catalog *c, const struct catalog_archive *a, struct figures *f, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n = 0;
        int q = catalog_volumes(c, a->id, &v, &n, e);
        for (size_t i = 0; q == 0 && i < n; i++) {
                if (!v[i].done)
                        continue;
                f->objects++;
                f->bytes += v[i].size;
                f->requests += 2; /* begin and complete */
                q = catalog_parts(c, a->id, v[i].number, count_part, &f->requests, e);
        }
        return q;
}

static int measure(struct costs *k, const struct catalog_archive *a, struct figures *f)
{
        *f = (struct figures){.cls = cost_class(a->store_url, a->storage_class)};
        int q = count_objects(k->c, a, f, k->e);
        if (q < 0)
                return q;
        if (!f->cls) {
                f->known = true;
                return 0;
        }
        int64_t age = clock_now() - a->stored;
        f->known = cost_storage(k->prices, f->cls, f->objects, f->bytes, &f->month) == 0 &&
                   cost_upload(k->prices, f->cls, f->requests, &f->sent) == 0 &&
                   cost_early(k->prices, f->cls, f->objects, f->bytes, age, &f->early) == 0;
        return 0;
}

static void add_sum(struct cost_sum *to, const struct cost_sum *s)
{
        to->usd += s->usd;
        to->unverified |= s->unverified;
}

/* ---- text ---- */

static void add_words(struct buf *b, const struct figures *f, const struct cost_sum *s)
{
        _cleanup_buf_ struct buf words = BUF_INIT;
        if (f->known)
                cost_words(&words, s);
        buf_addf(b, " %16s", f->known ? buf_str(&words) : "not known");
}

static void add_line(struct costs *k, const struct catalog_archive *a, const struct figures *f)
{
        char bytes[CLOCK_TEXT_MAX];
        clock_bytes_words(f->bytes, bytes);
        buf_addf(k->b, "%-*s  %-13s %9s", k->width, a->name, f->cls ? f->cls : "-", bytes);
        add_words(k->b, f, &f->month);
        add_words(k->b, f, &f->sent);
        add_words(k->b, f, &f->early);
        buf_addc(k->b, '\n');
}

/* ---- JSON ---- */

static void add_usd(struct buf *b, const char *key, const struct cost_sum *s)
{
        buf_addf(b, ", \"%s\": {\"usd\": %.6f, \"unverified\": %s}", key, s->usd,
                s->unverified ? "true" : "false");
}

static void add_tiers(struct costs *k, const struct figures *f)
{
        const struct cost_retrieval what = {f->objects, f->bytes, f->bytes};
        struct cost_offer o;
        bool first = true;
        buf_adds(k->b, ", \"restore_all\": {");
        for (size_t i = 0; f->cls && cost_tier(i); i++) {
                if (cost_retrieve(k->prices, f->cls, cost_tier(i), &what, &o) < 0)
                        continue;
                buf_addf(k->b,
                        "%s\"%s\": {\"usd\": %.6f, \"unverified\": %s, \"seconds\": [%" PRId64
                        ", %" PRId64 "], \"seconds_unverified\": %s}",
                        first ? "" : ", ", cost_tier(i), o.sum.usd,
                        o.sum.unverified ? "true" : "false", (int64_t)(o.soonest / CLOCK_NSEC),
                        (int64_t)(o.latest / CLOCK_NSEC), o.time_unverified ? "true" : "false");
                first = false;
        }
        buf_addc(k->b, '}');
}

static void add_json(struct costs *k, const struct catalog_archive *a, const struct figures *f)
{
        buf_adds(k->b, k->n > 0 ? ",\n    {\"id\": " : "\n    {\"id\": ");
        buf_add_json(k->b, a->id, strlen(a->id));
        buf_adds(k->b, ", \"name\": ");
        buf_add_json(k->b, a->name, strlen(a->name));
        buf_adds(k->b, ", \"class\": ");
        if (f->cls)
                buf_add_json(k->b, f->cls, strlen(f->cls));
        else
                buf_adds(k->b, "null");
        buf_addf(k->b, ", \"known\": %s, \"objects\": %" PRIu64 ", \"bytes\": %" PRIu64,
                f->known ? "true" : "false", f->objects, f->bytes);
        add_usd(k->b, "month", &f->month);
        add_usd(k->b, "sent", &f->sent);
        add_usd(k->b, "delete_now", &f->early);
        add_tiers(k, f);
        buf_addc(k->b, '}');
}

/* ---- all of it ---- */

static int each(void *ctx, const struct catalog_archive *a)
{
        struct costs *k = ctx;
        struct figures f;
        if (!archive_is_stored(a->state))
                return 0;
        int q = measure(k, a, &f);
        if (q < 0)
                return q;
        if (k->json)
                add_json(k, a, &f);
        else
                add_line(k, a, &f);
        add_sum(&k->month, &f.month);
        add_sum(&k->early, &f.early);
        k->unknown |= !f.known;
        k->n++;
        return 0;
}

static int width(void *ctx, const struct catalog_archive *a)
{
        struct costs *k = ctx;
        if (archive_is_stored(a->state))
                k->width = MAX(k->width, (int)strlen(a->name));
        return 0;
}

static void begin(struct costs *k)
{
        if (k->json) {
                buf_addf(k->b,
                        "{\n  \"version\": 1,\n  \"prices\": {\"date\": \"%s\", \"source\": ",
                        cost_date(k->prices));
                buf_add_json(k->b, cost_source(k->prices), strlen(cost_source(k->prices)));
                buf_adds(k->b, "},\n  \"archives\": [");
                return;
        }
        buf_addf(k->b, "%-*s  %-13s %9s %16s %16s %16s\n", k->width, "archive", "class", "stored",
                "a month", "was sent for", "to delete now");
}

static void end(struct costs *k)
{
        if (k->json) {
                buf_adds(k->b, k->n > 0 ? "\n  ]" : "]");
                buf_addf(k->b, ",\n  \"complete\": %s", k->unknown ? "false" : "true");
                add_usd(k->b, "month", &k->month);
                add_usd(k->b, "delete_now", &k->early);
                buf_adds(k->b, "\n}\n");
                return;
        }
        buf_addf(k->b, "\n%s: ", WORDS(k->n, "archive", NULL));
        cost_words(k->b, &k->month);
        buf_adds(k->b, " a month");
        buf_adds(k->b, k->unknown ? ", without those whose price is not known\n" : "\n");
        buf_addf(k->b,
                "An estimate by the list prices of %s (%s), without taxes.\n"
                "(unverified): made with a figure that nobody has checked against the source.\n",
                cost_date(k->prices), cost_source(k->prices));
}

int report_cost(struct catalog *c, const struct config *config, const struct catalog_archive *one,
        bool json, struct buf *ret, struct err *e)
{
        _cleanup_(cost_freep) struct cost_prices *prices = NULL;
        int q = cost_load(config->file, &prices, e);
        struct costs k = {.c = c,
                .prices = prices,
                .config = config,
                .b = ret,
                .json = json,
                .width = (int)strlen("archive"),
                .e = e};
        if (q == 0)
                q = one ? width(&k, one) : catalog_archive_each(c, width, &k, e);
        if (q < 0)
                return q;
        begin(&k);
        q = one ? each(&k, one) : catalog_archive_each(c, each, &k, e);
        if (q < 0)
                return q;
        end(&k);
        return buf_oom(ret) ? err_oom(e) : 0;
}

/* ---- before it is stored, and in info.json ---- */

void report_price_to_store(const struct config *config, uint64_t bytes, struct buf *ret)
{
        const char *cls = cost_class(config->vault, config->storage_class);
        _cleanup_(cost_freep) struct cost_prices *prices = NULL;
        struct cost_sum month = {0}, sent = {0};
        uint64_t volumes = bytes / MAX(config->volume_size, (uint64_t)MiB) + 1;
        uint64_t requests = (uint64_t)((double)bytes / SENT_PART) + 3 * volumes;
        if (!cls)
                return;
        struct err why = {0};
        if (cost_load(config->file, &prices, &why) < 0) {
                buf_addf(ret, "price: not known: %s\n", why.text);
                return;
        }
        if (cost_storage(prices, cls, volumes, bytes, &month) < 0 ||
                cost_upload(prices, cls, requests, &sent) < 0) {
                buf_addf(ret, "price: not known for %s\n", cls);
                return;
        }
        buf_adds(ret, "price: at most ");
        cost_words(ret, &month);
        buf_adds(ret, " a month and ");
        cost_words(ret, &sent);
        buf_addf(ret, " to send, by the list prices of %s for %s\n", cost_date(prices), cls);
}

int report_month_usd(struct catalog *c, const struct catalog_archive *a, double *ret, struct err *e)
{
        struct figures f = {0};
        _cleanup_(cost_freep) struct cost_prices *prices = NULL;
        const char *cls = cost_class(a->store_url, a->storage_class);
        int q = count_objects(c, a, &f, e);
        if (q == 0)
                q = cost_load(a->config_file, &prices, e);
        if (q < 0)
                return q;
        if (cls && cost_storage(prices, cls, f.objects, f.bytes, &f.month) < 0)
                return -ENOENT;
        *ret = f.month.usd;
        return 0;
}
