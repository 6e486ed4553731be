#include "report_internal.h"

#include "bytes.h"
#include "catalog_version.h"
#include "clock.h"

#include <inttypes.h>

#define WARNINGS_MAX 100

/* ---- members of an object ---- */

static void add_text(struct buf *b, const char *sep, const char *key, const char *s)
{
        buf_addf(b, "%s\"%s\": ", sep, key);
        buf_add_json(b, s, strlen(s));
}

/* null for "". */
static void add_maybe(struct buf *b, const char *sep, const char *key, const char *s)
{
        if (*s)
                add_text(b, sep, key, s);
        else
                buf_addf(b, "%s\"%s\": null", sep, key);
}

static void add_time(struct buf *b, const char *sep, const char *key, int64_t t)
{
        char s[CLOCK_TEXT_MAX] = "";
        if (t != 0)
                clock_iso_ns(t, s);
        add_maybe(b, sep, key, s);
}

static void add_words(struct buf *b, const char *sep, const char *key, const char *s)
{
        buf_addf(b, "%s\"%s\": [", sep, key);
        for (bool first = true; *s; first = false) {
                size_t n = strcspn(s, " ");
                buf_adds(b, first ? "" : ", ");
                buf_add_json(b, s, n);
                s += n + strspn(s + n, " ");
        }
        buf_addc(b, ']');
}

void report_json_archive(struct buf *b, const char *sep, const struct catalog_archive *a)
{
        buf_adds(b, "\"id\": ");
        buf_add_json(b, a->id, strlen(a->id));
        add_text(b, sep, "name", a->name);
        add_text(b, sep, "description", a->description);
        add_text(b, sep, "state", catalog_archive_word(a));
        add_time(b, sep, "created", a->created);
        add_time(b, sep, "stored", a->stored);
        add_time(b, sep, "changed", a->changed);
        const struct {
                const char *key;
                uint64_t value;
        } numbers[] = {
                {"files", a->n_files},
                {"dirs", a->n_dirs},
                {"symlinks", a->n_links},
                {"hardlinks", a->n_hardlinks},
                {"bytes", a->bytes},
                {"tar_bytes", a->tar_bytes},
                {"stored_bytes", a->stored_bytes},
                {"warnings", a->n_warnings},
                {"returned", a->n_returned},
                {"volume_size", a->volume_size},
        };
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
                buf_addf(b, "%s\"%s\": %" PRIu64, sep, numbers[i].key, numbers[i].value);
        add_text(b, sep, "compression", a->compression);
        if (a->level >= 0)
                buf_addf(b, "%s\"level\": %d", sep, a->level);
        else
                buf_addf(b, "%s\"level\": null", sep);
        add_words(b, sep, "recipients", a->recipients);
        add_text(b, sep, "store", a->store_url);
        add_maybe(b, sep, "store_id", a->store_id);
        add_maybe(b, sep, "storage_class", a->storage_class);
        add_maybe(b, sep, "origin", a->origin);
        add_maybe(b, sep, "error", a->error);
}

static void add_source(void *ctx, const char *target)
{
        struct buf *b = ctx;
        buf_adds(b, b->data[b->len - 1] == '[' ? "" : ", ");
        buf_add_json(b, target, strlen(target));
}

void report_json_progress(struct buf *b, const struct catalog_archive *a)
{
        int64_t left = report_seconds_left(a);
        buf_addf(b,
                ", \"running\": %s, \"read_bytes\": %" PRIu64 ", \"todo_bytes\": %" PRIu64
                ", \"rate\": %" PRIu64,
                report_is_running(a) ? "true" : "false", a->read_bytes, a->todo_bytes, a->rate);
        if (left >= 0)
                buf_addf(b, ", \"seconds_left\": %" PRId64, left);
        else
                buf_adds(b, ", \"seconds_left\": null");
        add_time(b, ", ", "retry_at", a->retry_at);
        buf_adds(b, ", \"keep\": [");
        if (!buf_oom(b))
                report_sources(a, add_source, b);
        buf_addc(b, ']');
}

/* ---- info.json ---- */

struct warnings {
        struct buf *b;
        unsigned n;
};

static int add_warning(void *ctx, int64_t time _unused_, char level, const char *text)
{
        struct warnings *w = ctx;
        if (level != 'w' || w->n >= WARNINGS_MAX)
                return 0;
        buf_adds(w->b, w->n++ > 0 ? ",\n    " : "\n    ");
        buf_add_json(w->b, text, strlen(text));
        return 0;
}

static void add_volume(struct buf *b, const struct catalog_volume *v)
{
        char hash[65], message[65];
        bytes_hex(v->tree_hash, sizeof v->tree_hash, hash);
        bytes_hex(v->message_id, sizeof v->message_id, message);
        buf_addf(b, "\n    {\"number\": %u", v->number);
        add_text(b, ", ", "object", v->object);
        buf_addf(b, ", \"size\": %" PRIu64 ", \"tar_start\": %" PRIu64 ", \"tar_end\": %" PRIu64,
                v->size, v->tar_start, v->tar_end);
        add_text(b, ", ", "tree_hash", hash);
        add_text(b, ", ", "message_id", message);
        buf_addc(b, '}');
}

static int add_volumes(struct catalog *c, const char *id, struct buf *b, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n = 0, shown = 0;
        int q = catalog_volumes(c, id, &v, &n, e);
        for (size_t i = 0; q == 0 && i < n; i++) {
                if (!v[i].done)
                        continue;
                buf_adds(b, shown++ > 0 ? "," : "");
                add_volume(b, &v[i]);
        }
        buf_adds(b, shown > 0 ? "\n  ]" : "]");
        return q;
}

/* What is not in this archive since it has not changed, and in which ones it is. */
static int add_base(void *ctx, const char *base, const char *name, uint64_t files)
{
        struct buf *b = ctx;
        buf_adds(b, b->data[b->len - 1] == '[' ? "\n    {" : ",\n    {");
        add_text(b, "", "id", base);
        add_maybe(b, ", ", "name", name);
        buf_addf(b, ", \"files\": %" PRIu64 "}", files);
        return 0;
}

static int add_unchanged(struct catalog *c, const char *id, struct buf *b, struct err *e)
{
        struct catalog_run r = {0};
        int q = catalog_run_get(c, id, &r, e);
        bool only = q == 0 && r.changed_only;
        if (q == -ENOENT || !only) {
                buf_adds(b, ",\n  \"unchanged\": null");
                catalog_run_done(&r);
                return q == -ENOENT ? 0 : q;
        }
        buf_addf(b,
                ",\n  \"unchanged\": {\"files\": %" PRIu64 ", \"bytes\": %" PRIu64
                ", \"archives\": [",
                r.n_unchanged, r.unchanged_bytes);
        catalog_run_done(&r);
        if (buf_oom(b))
                return err_oom(e);
        q = catalog_bases_each(c, id, add_base, b, e);
        buf_adds(b, "]}");
        return q;
}

int report_info(struct catalog *c, const struct catalog_archive *a, struct buf *ret, struct err *e)
{
        struct warnings w = {.b = ret};
        buf_adds(ret, "{\n  \"version\": 1,\n  ");
        report_json_archive(ret, ",\n  ", a); /* one a line: people read this too */
        double usd = 0;
        int q = report_month_usd(c, a, &usd, NULL);
        if (q == 0)
                buf_addf(ret, ",\n  \"cost_per_month_usd\": %.6g", usd);
        else
                buf_adds(ret, ",\n  \"cost_per_month_usd\": null");
        buf_adds(ret, ",\n  \"restores\": ");
        q = report_json_restores(c, a->id, ret, NULL, e);
        buf_adds(ret, ",\n  \"volumes\": [");
        if (q == 0)
                q = add_volumes(c, a->id, ret, e);
        if (q == 0)
                q = add_unchanged(c, a->id, ret, e);
        buf_adds(ret, ",\n  \"warning_texts\": [");
        if (q == 0)
                q = catalog_events(c, a->id, add_warning, &w, e);
        buf_adds(ret, w.n > 0 ? "\n  ]\n}\n" : "]\n}\n");
        return q == 0 && buf_oom(ret) ? err_oom(e) : q;
}
