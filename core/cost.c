#include "cost.h"

#include "buf.h"
#include "clock.h"
#include "io.h"

#include <fcntl.h>
#include <jansson.h>

#define GB        1e9
#define DAY_NS    (86400 * CLOCK_NSEC)
#define MONTH     30.0 /* days, as the service counts a minimum time */
#define TABLE_MAX (256u * KiB)

static const char built_in[] =
#include "prices.json.inc"
        ;

struct cost_prices {
        json_t *root, *classes;
        char *name; /* of the file, for words */
};

static const char *const tiers[] = {"bulk", "standard", "expedited"};

const char *cost_tier(size_t k)
{
        return k < ARRAY_SIZE(tiers) ? tiers[k] : NULL;
}

/* ---- the table ---- */

static int check_number(const struct cost_prices *p, const char *cls, const char *key,
        const json_t *v, struct err *e)
{
        if (json_is_number(v) && json_number_value(v) >= 0 && json_number_value(v) < 1e12)
                return 0;
        return err_set(e, -EINVAL, "%s: %s of %s must be a number", p->name, key, cls);
}

static int check_tier(
        const struct cost_prices *p, const char *cls, const json_t *tier, struct err *e)
{
        const char *key;
        json_t *v;
        const json_t *hours = json_object_get(tier, "hours");
        if (json_array_size(hours) != 2 || !json_is_number(json_array_get(hours, 0)) ||
                !json_is_number(json_array_get(hours, 1)))
                return err_set(
                        e, -EINVAL, "%s: hours of a tier of %s must be two numbers", p->name, cls);
        json_object_foreach((json_t *)tier, key, v)
        {
                int q = v == hours ? 0 : check_number(p, cls, key, v, e);
                if (q < 0)
                        return q;
        }
        return 0;
}

static int check_class(const struct cost_prices *p, const char *cls, const json_t *o, struct err *e)
{
        const char *key, *name;
        json_t *v, *tier;
        if (!json_is_number(json_object_get(o, "storage_gb_month")))
                return err_set(e, -EINVAL, "%s: %s has no storage_gb_month", p->name, cls);
        json_object_foreach((json_t *)o, key, v)
        {
                if (streq(key, "unverified"))
                        continue;
                int q = streq(key, "tiers") ? 0 : check_number(p, cls, key, v, e);
                if (q < 0)
                        return q;
        }
        json_object_foreach(json_object_get(o, "tiers"), name, tier)
        {
                int q = check_tier(p, cls, tier, e);
                if (q < 0)
                        return q;
        }
        return 0;
}

static int check_table(struct cost_prices *p, struct err *e)
{
        const char *cls;
        json_t *o;
        p->classes = json_object_get(p->root, "classes");
        if (!json_is_string(json_object_get(p->root, "date")) || !json_is_object(p->classes))
                return err_set(e, -EINVAL, "%s: a table of prices has a date and classes", p->name);
        int q = check_number(p, "the table", "egress_gb", json_object_get(p->root, "egress_gb"), e);
        json_object_foreach(p->classes, cls, o)
        {
                if (q == 0)
                        q = check_class(p, cls, o, e);
        }
        return q;
}

int cost_parse(
        const char *text, size_t len, const char *name, struct cost_prices **ret, struct err *e)
{
        json_error_t why;
        _cleanup_(cost_freep) struct cost_prices *p = calloc(1, sizeof *p);
        if (!p || !(p->name = strdup(name)))
                return err_oom(e);
        p->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
        if (!p->root)
                return err_set(e, -EINVAL, "%s:%d:%d: %s", name, why.line, why.column, why.text);
        int q = check_table(p, e);
        if (q == 0)
                *ret = steal(p);
        return q;
}

int cost_load(const char *config_file, struct cost_prices **ret, struct err *e)
{
        const char *slash = config_file ? strrchr(config_file, '/') : NULL;
        _cleanup_buf_ struct buf text = BUF_INIT;
        if (slash) {
                _cleanup_free_ char *path = NULL;
                if (asprintf(&path, "%.*s/prices.json", (int)(slash - config_file), config_file) <
                        0) {
                        path = NULL;
                        return err_oom(e);
                }
                int q = io_read_file(AT_FDCWD, path, TABLE_MAX, &text, e);
                if (q == 0)
                        return cost_parse(buf_str(&text), text.len, path, ret, e);
                if (q != -ENOENT)
                        return q;
        }
        return cost_parse(built_in, sizeof built_in - 1, "the built-in prices", ret, e);
}

void cost_free(struct cost_prices *p)
{
        if (!p)
                return;
        json_decref(p->root);
        free(p->name);
        free(p);
}

const char *cost_date(const struct cost_prices *p)
{
        return json_string_value(json_object_get(p->root, "date"));
}

const char *cost_source(const struct cost_prices *p)
{
        const char *s = json_string_value(json_object_get(p->root, "source"));
        return s ? s : p->name;
}

/* ---- classes ---- */

const char *cost_class(const char *url, const char *storage_class)
{
        if (startswith(url, "dir:"))
                return NULL;
        if (startswith(url, "glacier://"))
                return "VAULT";
        return storage_class && *storage_class ? storage_class : "STANDARD";
}

bool cost_knows(const struct cost_prices *p, const char *cls)
{
        return json_object_get(p->classes, cls) != NULL;
}

static bool is_unverified(const json_t *cls, const char *key)
{
        size_t i;
        const json_t *v;
        bool found = false;
        json_array_foreach(json_object_get(cls, "unverified"), i, v)
        {
                found |= json_is_string(v) && streq(json_string_value(v), key);
        }
        return found;
}

/* One figure of a class, or of a tier; 0 if it has none. Notes whether it is a checked one. */
static double figure(const json_t *cls, const json_t *from, const char *key, struct cost_sum *sum)
{
        double d = json_number_value(json_object_get(from, key));
        sum->unverified |= d > 0 && is_unverified(cls, key);
        return d;
}

int cost_storage(const struct cost_prices *p, const char *name, uint64_t objects, uint64_t bytes,
        struct cost_sum *ret)
{
        const json_t *cls = json_object_get(p->classes, name);
        struct cost_sum s = {0};
        if (!cls)
                return -ENOENT;
        double charged = (double)bytes + (double)objects * figure(cls, cls, "overhead_bytes", &s);
        double least = (double)objects * figure(cls, cls, "minimum_object_bytes", &s);
        s.usd = MAX(charged, least) / GB * figure(cls, cls, "storage_gb_month", &s);
        *ret = s;
        return 0;
}

int cost_upload(
        const struct cost_prices *p, const char *name, uint64_t requests, struct cost_sum *ret)
{
        const json_t *cls = json_object_get(p->classes, name);
        struct cost_sum s = {0};
        if (!cls)
                return -ENOENT;
        s.usd = (double)requests / 1000 * figure(cls, cls, "put_1000", &s);
        *ret = s;
        return 0;
}

int cost_early(const struct cost_prices *p, const char *name, uint64_t objects, uint64_t bytes,
        int64_t age_ns, struct cost_sum *ret)
{
        struct cost_sum s = {0};
        int q = cost_storage(p, name, objects, bytes, &s);
        if (q < 0)
                return q;
        const json_t *cls = json_object_get(p->classes, name);
        double left = figure(cls, cls, "minimum_days", &s) - (double)age_ns / (double)DAY_NS;
        s.usd *= MAX(left, 0.0) / MONTH;
        *ret = s;
        return 0;
}

int cost_retrieve(const struct cost_prices *p, const char *name, const char *tier,
        const struct cost_retrieval *what, struct cost_offer *ret)
{
        const json_t *cls = json_object_get(p->classes, name);
        struct cost_offer o = {0};
        if (!cls)
                return -ENOENT;
        const json_t *all = json_object_get(cls, "tiers"), *t = json_object_get(all, tier);
        if (!t && json_object_size(all) > 0)
                return -EOPNOTSUPP;
        const json_t *hours = json_object_get(t, "hours");
        o.soonest = (int64_t)(json_number_value(json_array_get(hours, 0)) * 3600e9);
        o.latest = (int64_t)(json_number_value(json_array_get(hours, 1)) * 3600e9);
        /* a class that is read at once charges for what is read, not for whole objects */
        uint64_t charged = o.latest > 0 ? what->thawed : what->fetched;
        o.sum.usd = (double)charged / GB * figure(cls, t, "gb", &o.sum) +
                    (double)what->objects / 1000 * figure(cls, t, "requests_1000", &o.sum) +
                    (double)what->fetched / GB *
                            json_number_value(json_object_get(p->root, "egress_gb"));
        o.time_unverified = is_unverified(cls, "hours");
        *ret = o;
        return 0;
}

/* ---- words ---- */

void cost_words(struct buf *b, const struct cost_sum *sum)
{
        if (sum->usd <= 0)
                buf_adds(b, "nothing");
        else if (sum->usd < 0.01)
                buf_adds(b, "under 0.01 USD");
        else
                buf_addf(b, "%.2f USD", sum->usd);
        if (sum->unverified && sum->usd > 0)
                buf_adds(b, " (unverified)");
}

void cost_about(struct buf *b, const struct cost_sum *sum)
{
        if (sum->usd >= 0.01)
                buf_adds(b, "about ");
        cost_words(b, sum);
}

static void add_time(struct buf *b, int64_t ns)
{
        int64_t minutes = (ns + 30 * CLOCK_NSEC) / (60 * CLOCK_NSEC);
        if (minutes < 60)
                buf_addf(b, "%d min", (int)minutes);
        else
                buf_addf(b, "%d h", (int)((minutes + 30) / 60));
}

void cost_time_words(struct buf *b, const struct cost_offer *o)
{
        if (o->latest == 0) {
                buf_adds(b, "at once");
                return;
        }
        add_time(b, o->soonest);
        buf_adds(b, " to ");
        add_time(b, o->latest);
        if (o->time_unverified)
                buf_adds(b, " (unverified)");
}
