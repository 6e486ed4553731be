#include "backoff.h"
#include "clock.h"
#include "crash.h"
#include "glacier_text.h"
#include "io.h"
#include "store_glacier.h"
#include "store_glacier_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>

#define TURN_NAP  (CLOCK_NSEC / 20)
#define TURN_MOST (30 * CLOCK_NSEC)

/* Jobs: asking for an archive or the inventory, and how far that is. A job whose id was lost with
 * an answer is found again in the vault's list, by the archive and the range: nothing is asked for,
 * and paid, twice. */

/* ---- reading what the service says of a job ---- */

static const char *text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "";
}

/* False: it is no job for us, or it failed. */
static bool read_job(const json_t *o, struct glacier_job *ret)
{
        struct glacier_job j = {.asked = glacier_time(text_of(o, "CreationDate")),
                .done = glacier_time(text_of(o, "CompletionDate"))};
        bool inventory = streq(text_of(o, "Action"), "InventoryRetrieval");
        const char *id = text_of(o, "JobId"), *archive = text_of(o, "ArchiveId");
        if (streq(text_of(o, "StatusCode"), "Failed") || !*id || strlen(id) >= sizeof j.id ||
                strlen(archive) >= sizeof j.archive || (!inventory && !*archive))
                return false;
        memcpy(j.id, id, strlen(id) + 1);
        if (!inventory)
                memcpy(j.archive, archive, strlen(archive) + 1);
        j.end = (uint64_t)json_integer_value(json_object_get(o, "ArchiveSizeInBytes"));
        uint64_t first, last;
        if (!inventory && sscanf(text_of(o, "RetrievalByteRange"), "%" SCNu64 "-%" SCNu64, &first,
                                  &last) == 2) {
                j.start = first;
                j.end = last + 1;
        }
        if (!json_is_true(json_object_get(o, "Completed")))
                j.done = 0;
        else if (j.done == 0)
                j.done = j.asked; /* it says no more: the earliest it can have been */
        *ret = j;
        return true;
}

/* ---- how far a job is ---- */

int glacier_look_at(struct glacier *g, struct glacier_job *j, struct err *e)
{
        char below[GLACIER_ID_MAX + 16];
        (void)snprintf(below, sizeof below, "/jobs/%s", j->id); /* fits */
        _cleanup_aws_answer_ struct aws_answer a = {0};
        const struct glacier_call c = {.what = "see how far a retrieval is",
                .right = "glacier:DescribeJob",
                .method = "GET",
                .below = below};
        int q = glacier_call(g, &c, &a, e);
        if (q < 0)
                return q;
        json_auto_t *o = json_loadb(buf_str(&a.http.body), a.http.body.len, 0, NULL);
        struct glacier_job now;
        if (!read_job(o, &now))
                return err_set(e, -ENOENT, "the retrieval failed at the service: %s",
                        text_of(o, "StatusMessage"));
        *j = now;
        return glacier_book_set_job(g->book, g->id, j, e);
}

static bool has_expired(struct glacier *g, const struct glacier_job *j)
{
        return j->done && clock_now() + aws_skew(g->aws) > j->done + OUTPUT_LIFE;
}

/* Several ranges of an archive are done when the last one is, and gone when the first one is. */
static void add_job(struct glacier_job *sum, const struct glacier_job *j)
{
        if (!*sum->id)
                *sum = *j;
        else if (!j->done || !sum->done)
                sum->done = 0;
        else
                sum->done = MIN(sum->done, j->done);
}

int glacier_job_now(
        struct glacier *g, const struct glacier_object *o, struct glacier_job *ret, struct err *e)
{
        _cleanup_free_ struct glacier_job *v = NULL;
        struct glacier_job sum = {0};
        size_t n = 0;
        int q = glacier_book_jobs(g->book, g->id, o ? o->archive : "", &v, &n, e);
        for (size_t i = 0; q == 0 && i < n && (o || !*sum.id); i++) {
                q = has_expired(g, &v[i]) ? -ENOENT : glacier_look_at(g, &v[i], e);
                if (q == 0)
                        add_job(&sum, &v[i]);
                else if (q == -ENOENT)
                        q = glacier_book_forget_job(g->book, g->id, v[i].id, e);
        }
        if (q == 0)
                *ret = sum;
        return q;
}

/* ---- asking ---- */

static bool covers(const struct glacier_job *j, const struct glacier_job *wanted)
{
        return streq(j->archive, wanted->archive) && j->start <= wanted->start &&
               j->end >= wanted->end;
}

/* 1: one that does is known already, runs or has its output there. */
static int known_job(struct glacier *g, const struct glacier_job *wanted, struct err *e)
{
        _cleanup_free_ struct glacier_job *v = NULL;
        size_t n = 0;
        int q = glacier_book_jobs(g->book, g->id, wanted->archive, &v, &n, e);
        for (size_t i = 0; q == 0 && i < n; i++) {
                if (!covers(&v[i], wanted) || has_expired(g, &v[i]))
                        continue;
                q = glacier_look_at(g, &v[i], e);
                if (q == 0 && (*wanted->archive || !v[i].done))
                        return 1; /* an inventory that is there is asked for anew */
                if (q == -ENOENT)
                        q = glacier_book_forget_job(g->book, g->id, v[i].id, e);
        }
        return q;
}

static int adopt_from_page(
        struct glacier *g, const json_t *list, const struct glacier_job *wanted, struct err *e)
{
        struct glacier_job j;
        for (size_t i = 0; i < json_array_size(list); i++) {
                if (!read_job(json_array_get(list, i), &j) || !covers(&j, wanted) ||
                        has_expired(g, &j) || (!*j.archive && j.done))
                        continue;
                int q = glacier_book_set_job(g->book, g->id, &j, e);
                return q < 0 ? q : 1;
        }
        return 0;
}

/* 1: the vault's list has one. */
static int listed_job(struct glacier *g, const struct glacier_job *wanted, struct err *e)
{
        char marker[GLACIER_ID_MAX] = "";
        int q;
        do {
                _cleanup_aws_answer_ struct aws_answer a = {0};
                const struct glacier_call c = {.what = "list retrievals",
                        .right = "glacier:ListJobs",
                        .method = "GET",
                        .below = "/jobs",
                        .query = {{"marker", marker}},
                        .n_query = *marker ? 1 : 0};
                if ((q = glacier_call(g, &c, &a, e)) < 0)
                        return q;
                json_auto_t *o = json_loadb(buf_str(&a.http.body), a.http.body.len, 0, NULL);
                q = adopt_from_page(g, json_object_get(o, "JobList"), wanted, e);
                if (q == 0)
                        q = glacier_next_page(o, marker, c.what, e);
        } while (q == 0 && *marker);
        return q;
}

static const char *tier_name(const char *tier)
{
        return !tier || streq(tier, "bulk") ? "Bulk"
               : streq(tier, "expedited")   ? "Expedited"
                                            : "Standard";
}

/* An inventory comes in the standard tier only, where no other is asked for. */
static char *job_body(const struct glacier_object *o, const struct glacier_job *wanted,
        const struct store_thaw *t)
{
        char range[64];
        json_auto_t *b = json_object();
        bool whole = o && wanted->start == 0 && wanted->end == o->size;
        (void)snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, wanted->start,
                wanted->end - 1); /* fits */
        int q = json_object_set_new(
                b, "Type", json_string(o ? "archive-retrieval" : "inventory-retrieval"));
        q |= json_object_set_new(b, "Description", json_string(o ? o->name : "inventory"));
        if (o) {
                q |= json_object_set_new(b, "ArchiveId", json_string(o->archive));
                q |= json_object_set_new(b, "Tier", json_string(tier_name(t->tier)));
                if (!whole)
                        q |= json_object_set_new(b, "RetrievalByteRange", json_string(range));
        } else {
                q |= json_object_set_new(b, "Format", json_string("JSON"));
        }
        return q == 0 ? json_dumps(b, JSON_COMPACT) : NULL;
}

int store_glacier_may_retrieve(struct store *s, struct err *e)
{
        while (s->inner)
                s = s->inner;
        struct glacier_object o = {.name = "nothing", .size = MiB};
        memset(o.archive, 'x', 138); /* as long as an id is */
        const struct glacier_job wanted = {.end = o.size};
        _cleanup_free_ char *body = job_body(&o, &wanted, &(struct store_thaw){0});
        if (!body)
                return err_oom(e);
        _cleanup_aws_answer_ struct aws_answer a = {0};
        const struct glacier_call c = {.what = "ask for an archive",
                .right = "glacier:InitiateJob",
                .method = "POST",
                .below = "/jobs",
                .body = body,
                .body_len = strlen(body),
                .once = true};
        struct err why = {0};
        int q = glacier_call(glacier_of(s), &c, &a, &why);
        bool looked = q == 0 || q == -ENOENT || q == -EINVAL;
        return looked ? 0 : err_set(e, q, "%s", why.text);
}

static int initiate(struct glacier *g, const struct glacier_object *o, struct glacier_job *wanted,
        const struct store_thaw *t, struct err *e)
{
        char what[GLACIER_NAME_MAX + 32];
        _cleanup_free_ char *body = job_body(o, wanted, t);
        if (!body)
                return err_oom(e);
        (void)snprintf(what, sizeof what, "ask for %s", o ? o->name : "the vault's inventory");
        _cleanup_aws_answer_ struct aws_answer a = {0};
        const struct glacier_call c = {.what = what,
                .right = "glacier:InitiateJob",
                .method = "POST",
                .below = "/jobs",
                .body = body,
                .body_len = strlen(body),
                .once = true /* each costs */};
        int q = glacier_call(g, &c, &a, e);
        if (q == -ENOENT && !o)
                return err_set(e, -EAGAIN,
                        "the vault %s has no inventory yet: the first one is made about a day "
                        "after its first archive",
                        g->vault);
        if (q < 0)
                return q;
        crash_point("vault-asked");
        if (!http_header(&a.http, "x-amz-job-id", wanted->id, sizeof wanted->id) || !*wanted->id)
                return err_set(e, -EPROTO, "%s gives no id for a retrieval", aws_host(g->aws));
        return glacier_book_set_job(g->book, g->id, wanted, e);
}

/* Of all programs that have this book one asks at a time: what the next one wants may be known
 * then.
 */
static int take_turn(struct glacier *g, int *ret_fd, struct err *e)
{
        _cleanup_free_ char *path = NULL;
        if (asprintf(&path, "%s.lock", g->book_path) < 0) {
                path = NULL;
                return err_oom(e);
        }
        for (int64_t end = clock_monotonic() + TURN_MOST;;) {
                struct err why = {0};
                int q = io_lock_file(AT_FDCWD, path, ret_fd, &why);
                if (q != -EAGAIN)
                        return q < 0 ? err_set(e, q, "%s", why.text) : 0;
                if (clock_monotonic() > end)
                        return err_set(e, -EAGAIN,
                                "another program is asking the vault %s for something", g->vault);
                if ((q = backoff_wait(TURN_NAP, g->base.control.stop)) < 0)
                        return err_set(e, q, "stopped");
        }
}

int glacier_ask(struct glacier *g, const struct glacier_object *o, const struct store_thaw *t,
        struct err *e)
{
        struct glacier_job wanted = {.asked = clock_now() + aws_skew(g->aws)};
        if (o) {
                memcpy(wanted.archive, o->archive, sizeof wanted.archive);
                if (t->offset >= o->size)
                        return err_set(e, -EINVAL, "%s ends before what is asked for", o->name);
                uint64_t end =
                        t->len && t->len < o->size - t->offset ? t->offset + t->len : o->size;
                wanted.start = t->offset / MiB * MiB;
                wanted.end = MIN((end + MiB - 1) / MiB * MiB, o->size);
        }
        _cleanup_close_ int turn = -EBADF;
        int q = take_turn(g, &turn, e);
        if (q == 0)
                q = known_job(g, &wanted, e);
        if (q == 0)
                q = listed_job(g, &wanted, e);
        return q != 0 ? MIN(q, 0) : initiate(g, o, &wanted, t, e);
}
