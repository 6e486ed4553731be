#include "report_internal.h"

#include "clock.h"
#include "words.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>

/* ---- what is known of a job ---- */

/* One that people wait for. */
static bool is_job(const struct catalog_archive *a)
{
        return !archive_is_stored(a->state) && a->state != ARCHIVE_PREPARED &&
               a->state != ARCHIVE_DELETED;
}

bool report_is_running(const struct catalog_archive *a)
{
        return a->runner > 0 && (kill((pid_t)a->runner, 0) == 0 || errno != ESRCH);
}

int64_t report_seconds_left(const struct catalog_archive *a)
{
        if (a->state == ARCHIVE_UPLOADING && a->rate > 0 && a->sealed_bytes > a->stored_bytes &&
                report_is_running(a))
                return (int64_t)((a->sealed_bytes - a->stored_bytes) / a->rate);
        if (a->state != ARCHIVE_GATHERING || a->rate == 0 || a->todo_bytes < a->read_bytes ||
                !report_is_running(a))
                return -1;
        return (int64_t)((a->todo_bytes - a->read_bytes) / a->rate);
}

void report_sources(
        const struct catalog_archive *a, void (*each)(void *ctx, const char *target), void *ctx)
{
        size_t i;
        const json_t *v;
        json_auto_t *list = a->packed || !*a->devices ? NULL : json_loads(a->devices, 0, NULL);
        json_array_foreach(list, i, v)
        {
                const char *target = json_string_value(json_object_get(v, "target"));
                if (target)
                        each(ctx, target);
        }
}

/* ---- text ---- */

/* Control characters, also those above 0x7f, could write on the reader's terminal. */
static bool is_control(const char *s)
{
        unsigned char c = (unsigned char)*s;
        return c < 0x20 || c == 0x7f || (c == 0xc2 && ((unsigned char)s[1] & 0xe0) == 0x80);
}

void report_add_line(struct buf *b, const char *s, size_t max)
{
        size_t n = 0;
        for (; s[n] && s[n] != '\n'; n++) {
                bool inside = ((unsigned char)s[n] & 0xc0) == 0x80;
                if (n >= max && !inside)
                        break;
                if (is_control(s + n))
                        buf_addc(b, '?');
                else if (!(inside && n > 0 && is_control(s + n - 1)))
                        buf_addc(b, s[n]);
        }
        if (s[n] && s[n + (s[n] == '\n')])
                buf_adds(b, " …");
}

static void add_bytes(struct buf *b, uint64_t n)
{
        char s[CLOCK_TEXT_MAX];
        clock_bytes_words(n, s);
        buf_adds(b, s);
}

static void add_words(struct buf *b, int64_t ns)
{
        char s[CLOCK_TEXT_MAX];
        clock_words(ns, s);
        buf_adds(b, s);
}

static void label(struct buf *b, const char *name)
{
        buf_addf(b, "    %-12s ", name);
}

/* ---- a block for a job ---- */

static const char *step(const struct catalog_archive *a)
{
        switch (a->state) {
        case ARCHIVE_QUEUED:
                return "it is about to begin";
        case ARCHIVE_WAITING:
                return "something outside is missing";
        case ARCHIVE_GATHERING:
                return "the files are being read";
        case ARCHIVE_UPLOADING:
                return "all files are read; the rest is being stored";
        case ARCHIVE_FAILED:
                return "given up; everything is kept";
        default:
                return "";
        }
}

static void add_left(struct buf *b, const struct catalog_archive *a)
{
        int64_t left = report_seconds_left(a);
        if (left < 0)
                return;
        buf_adds(b, ", ");
        add_words(b, left * CLOCK_NSEC);
        buf_adds(b, " left");
}

static void add_read(struct buf *b, const struct catalog_archive *a)
{
        if (a->read_bytes == 0 && a->todo_bytes == 0)
                return;
        label(b, "read");
        add_bytes(b, a->read_bytes);
        if (a->todo_bytes > 0 && a->todo_bytes >= a->read_bytes) {
                buf_adds(b, " of ");
                add_bytes(b, a->todo_bytes);
                buf_addf(b, " (%.0f %%)", 100.0 * (double)a->read_bytes / (double)a->todo_bytes);
        }
        if (a->rate > 0 && a->state == ARCHIVE_GATHERING && report_is_running(a)) {
                buf_adds(b, ", ");
                add_bytes(b, a->rate);
                buf_adds(b, "/s");
        }
        if (a->state == ARCHIVE_GATHERING)
                add_left(b, a);
        buf_addc(b, '\n');
}

static void add_stored(struct buf *b, const struct catalog_archive *a)
{
        if (a->stored_bytes == 0)
                return;
        label(b, "stored");
        add_bytes(b, a->stored_bytes);
        if (a->sealed_bytes > 0) {
                buf_adds(b, " of ");
                add_bytes(b, a->sealed_bytes);
        } else {
                buf_adds(b, " so far");
        }
        if (a->rate > 0 && a->state == ARCHIVE_UPLOADING && report_is_running(a)) {
                buf_adds(b, ", ");
                add_bytes(b, a->rate);
                buf_adds(b, "/s");
                add_left(b, a);
        }
        buf_addc(b, '\n');
}

struct sources {
        struct buf *b;
        unsigned n;
};

static void add_source(void *ctx, const char *target)
{
        struct sources *s = ctx;
        if (s->n++ < 20) {
                label(s->b, s->n == 1 ? "keep" : "");
                report_add_line(s->b, target, 200);
                buf_addc(s->b, '\n');
        }
}

/* What is reached through links must not be moved or unplugged before it is read. */
static void add_sources(struct buf *b, const struct catalog_archive *a)
{
        struct sources s = {.b = b};
        if (a->state == ARCHIVE_UPLOADING)
                return;
        report_sources(a, add_source, &s);
        if (s.n == 0)
                return;
        label(b, "");
        if (s.n > 20)
                buf_addf(b, "and %u more: ", s.n - 20);
        buf_adds(b, "must stay in place until all of it is read\n");
}

static void add_error(struct buf *b, const struct catalog_archive *a)
{
        if (*a->error) {
                label(b, a->state == ARCHIVE_WAITING ? "waits for" : "last error");
                report_add_line(b, a->error, ERR_TEXT_MAX);
                buf_addc(b, '\n');
        }
        int64_t wait = a->retry_at - clock_now();
        if (a->state == ARCHIVE_WAITING && a->retry_at != 0) {
                label(b, "next try");
                if (wait > 0) {
                        buf_adds(b, "in ");
                        add_words(b, wait);
                } else {
                        buf_adds(b, "now");
                }
                buf_addc(b, '\n');
        }
        if (a->state == ARCHIVE_FAILED) {
                label(b, "what to do");
                buf_addf(b,
                        "autoglacier retry %s tries again, autoglacier abort gives the files "
                        "back; below a mount, writing to its .retry or .abort does\n",
                        a->name);
        }
}

static void add_job(struct buf *b, const struct catalog_archive *a)
{
        buf_addf(b, "%s\n", a->name);
        label(b, "description");
        report_add_line(b, a->description, 200);
        buf_addc(b, '\n');
        label(b, "state");
        buf_addf(b, "%s: %s\n", archive_state_name(a->state), step(a));
        if (a->state != ARCHIVE_FAILED && !report_is_running(a)) {
                label(b, "");
                buf_adds(b, "no program is working on it; a mount, or any running autoglacier, "
                            "takes it up\n");
        }
        add_read(b, a);
        add_stored(b, a);
        add_sources(b, a);
        add_error(b, a);
        if (a->n_warnings > 0) {
                label(b, "warnings");
                buf_adds(b, WORDS(a->n_warnings, "warning", "warnings"));
                buf_addf(b, ", in archives/%s/log\n", a->name);
        }
}

static void add_last(struct buf *b, const struct catalog_archive *a)
{
        int64_t ago = clock_now() - a->stored;
        char at[CLOCK_TEXT_MAX];
        clock_iso(a->stored, at);
        buf_addf(b, "Last stored: %s\n", a->name);
        label(b, "description");
        report_add_line(b, a->description, 200);
        buf_addc(b, '\n');
        label(b, "stored");
        buf_adds(b, at);
        if (ago >= 0) {
                buf_adds(b, ", ");
                add_words(b, ago);
                buf_adds(b, " ago");
        }
        buf_addc(b, '\n');
        label(b, "holds");
        buf_adds(b, WORDS(a->n_files + a->n_hardlinks, "file", NULL));
        buf_adds(b, ", ");
        add_bytes(b, a->bytes);
        buf_adds(b, ", stored as ");
        add_bytes(b, a->stored_bytes);
        buf_addc(b, '\n');
        if (a->n_returned > 0) {
                label(b, "incomplete");
                buf_adds(b, WORDS(a->n_returned, "entry", "entries"));
                buf_addf(b, " could not be archived; see archives/%s/log\n", a->name);
        }
        if (a->n_warnings > 0) {
                label(b, "warnings");
                buf_adds(b, WORDS(a->n_warnings, "warning", "warnings"));
                buf_addf(b, ", in archives/%s/log\n", a->name);
        }
}

/* ---- the whole ---- */

struct status {
        bool json, failed;
        unsigned jobs;
        struct buf out;
        int64_t last, last_stored; /* row of the one stored last, and when */
};

static int status_each(void *ctx, const struct catalog_archive *a)
{
        struct status *s = ctx;
        if (archive_is_stored(a->state) && a->stored >= s->last_stored) {
                s->last = a->row;
                s->last_stored = a->stored;
        }
        if (!is_job(a))
                return 0;
        s->failed = s->failed || a->state == ARCHIVE_FAILED;
        if (s->jobs++ > 0)
                buf_addc(&s->out, s->json ? ',' : '\n');
        if (!s->json) {
                add_job(&s->out, a);
                return 0;
        }
        buf_adds(&s->out, "\n    {");
        report_json_archive(&s->out, ", ", a);
        report_json_progress(&s->out, a);
        buf_addc(&s->out, '}');
        return 0;
}

struct pick {
        int64_t row;
        bool json;
        struct buf *out;
};

static int pick_last(void *ctx, const struct catalog_archive *a)
{
        const struct pick *p = ctx;
        if (a->row != p->row)
                return 0;
        if (!p->json) {
                add_last(p->out, a);
                return 1;
        }
        buf_addc(p->out, '{');
        report_json_archive(p->out, ", ", a);
        buf_addc(p->out, '}');
        return 1;
}

static int status_text(
        struct catalog *c, struct status *s, const char *not_yet, struct buf *ret, struct err *e)
{
        struct pick p = {.row = s->last, .out = ret};
        if (*not_yet)
                buf_addf(ret, "%s\n\n", not_yet);
        buf_adds(ret, s->jobs > 0 ? buf_str(&s->out) : "Nothing is being archived.\n");
        int q = report_restores(c, NULL, ret, &s->failed, e);
        if (q < 0 || s->last == 0)
                return q;
        buf_addc(ret, '\n');
        return catalog_archive_each(c, pick_last, &p, e);
}

static int status_json(
        struct catalog *c, struct status *s, const char *not_yet, struct buf *ret, struct err *e)
{
        struct pick p = {.row = s->last, .json = true, .out = ret};
        buf_addf(ret, "{\n  \"version\": 1,\n  \"backup\": %s,\n  \"not_yet\": ",
                *not_yet ? "false" : "true");
        if (*not_yet)
                buf_add_json(ret, not_yet, strlen(not_yet));
        else
                buf_adds(ret, "null");
        _cleanup_buf_ struct buf restores = BUF_INIT;
        int q = report_json_restores(c, NULL, &restores, &s->failed, e);
        if (q < 0)
                return q;
        buf_addf(ret, ",\n  \"failed\": %s,\n  \"jobs\": [%s%s],\n  \"restores\": %s",
                s->failed ? "true" : "false", buf_str(&s->out), s->jobs > 0 ? "\n  " : "",
                buf_str(&restores));
        buf_adds(ret, ",\n  \"last_stored\": ");
        if (s->last == 0)
                buf_adds(ret, "null");
        else
                q = catalog_archive_each(c, pick_last, &p, e);
        buf_adds(ret, "\n}\n");
        return q;
}

int report_status(struct catalog *c, const struct config *config, bool json, struct buf *ret,
        bool *ret_failed, struct err *e)
{
        _cleanup_buf_ struct buf not_yet = BUF_INIT;
        struct status s = {.json = json};
        int q = report_not_yet(c, config, &not_yet, e);
        if (q == 0)
                q = catalog_archive_each(c, status_each, &s, e);
        if (q == 0)
                q = (json ? status_json : status_text)(c, &s, buf_str(&not_yet), ret, e);
        if (q >= 0 && (buf_oom(ret) || buf_oom(&s.out)))
                q = err_oom(e);
        buf_done(&s.out);
        if (q < 0)
                return q;
        if (ret_failed)
                *ret_failed = s.failed;
        return 0;
}

/* ---- the list ---- */

struct list {
        bool json;
        unsigned n;
        int width;
        struct buf *out;
};

static bool is_listed(const struct catalog_archive *a)
{
        return a->state != ARCHIVE_PREPARED && a->state != ARCHIVE_DELETED;
}

static int list_width(void *ctx, const struct catalog_archive *a)
{
        struct list *l = ctx;
        if (is_listed(a))
                l->width = MAX(l->width, (int)strlen(a->name));
        return 0;
}

static int list_each(void *ctx, const struct catalog_archive *a)
{
        struct list *l = ctx;
        if (!is_listed(a))
                return 0;
        if (l->json) {
                buf_adds(l->out, l->n++ > 0 ? ",\n    {" : "\n    {");
                report_json_archive(l->out, ", ", a);
                buf_addc(l->out, '}');
                return 0;
        }
        _cleanup_buf_ struct buf files = BUF_INIT;
        char bytes[CLOCK_TEXT_MAX];
        buf_adds(&files, WORDS(a->n_files + a->n_hardlinks, "file ", "files"));
        clock_bytes_words(a->bytes, bytes);
        buf_addf(l->out, "%-*s  %-10s %16s %10s\n", l->width, a->name, catalog_archive_word(a),
                buf_str(&files), bytes);
        return 0;
}

int report_list(struct catalog *c, bool json, struct buf *ret, struct err *e)
{
        struct list l = {.json = json, .out = ret};
        int q = catalog_archive_each(c, list_width, &l, e);
        if (json)
                buf_adds(ret, "{\n  \"version\": 1,\n  \"archives\": [");
        if (q == 0)
                q = catalog_archive_each(c, list_each, &l, e);
        if (json)
                buf_adds(ret, l.n > 0 ? "\n  ]\n}\n" : "]\n}\n");
        return q == 0 && buf_oom(ret) ? err_oom(e) : q;
}
