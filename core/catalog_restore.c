#include "catalog_restore.h"

#include "catalog_internal.h"
#include "clock.h"

static const char *const names[] = {
        [RESTORE_REQUESTED] = "requested",
        [RESTORE_THAWING] = "thawing",
        [RESTORE_FETCHING] = "fetching",
        [RESTORE_CHECKED] = "checked",
        [RESTORE_READY] = "ready",
        [RESTORE_EXPIRED] = "expired",
        [RESTORE_NEEDS_KEY] = "needs-key",
        [RESTORE_CANCELLED] = "cancelled",
        [RESTORE_FAILED] = "failed",
};

/* The states of restore_is_active(), as SQL has them. */
#define ACTIVE "(0, 1, 2, 3, 6)"
#define READY  "4"
#define OVER   "(5, 7, 8)"

#define COLUMNS                                                                                    \
        "r.row, a.id, a.name, r.state, r.created, r.changed, r.tier, r.days, r.paths, r.target, "  \
        "r.overwrite, r.price, r.deadline, r.ready_until, r.retry_at, r.tries, r.begun, "          \
        "r.todo_files, r.todo_bytes, r.done_files, r.done_bytes, r.fetched, r.cancel_wanted, "     \
        "r.error, r.rate, r.seconds_left, r.rate_at"
#define FROM " FROM restore r JOIN archive a ON a.row = r.archive "

const char *restore_state_name(enum restore_state s)
{
        return (size_t)s < ARRAY_SIZE(names) ? names[s] : "unknown";
}

bool restore_is_active(enum restore_state s)
{
        return s <= RESTORE_CHECKED || s == RESTORE_NEEDS_KEY;
}

void catalog_restore_done(struct catalog_restore *r)
{
        free(r->archive);
        free(r->name);
        free(r->tier);
        free(r->paths);
        free(r->target);
        free(r->error);
        *r = (struct catalog_restore){0};
}

/* True if `path` is one of the paths, or below one; paths_len 0: any is. */
static bool holds(const char *paths, size_t paths_len, const char *path)
{
        if (paths_len == 0)
                return true;
        for (const char *p = paths; p < paths + paths_len; p += strlen(p) + 1) {
                const char *rest = startswith(path, p);
                if (rest && (*rest == 0 || *rest == '/' || *p == 0))
                        return true;
        }
        return false;
}

/* ---- reading ---- */

static int read_row(const struct query *q, struct catalog_restore *ret, struct err *e)
{
        struct catalog_restore r = {
                .row = query_i64(q, 0),
                .archive = strdup(query_text(q, 1)),
                .name = strdup(query_text(q, 2)),
                .state = (enum restore_state)query_i64(q, 3),
                .created = query_i64(q, 4),
                .changed = query_i64(q, 5),
                .tier = strdup(query_text(q, 6)),
                .days = (unsigned)query_i64(q, 7),
                .paths_len = (size_t)sqlite3_column_bytes(q->stmt, 8),
                .target = strdup(query_text(q, 9)),
                .overwrite = query_i64(q, 10) != 0,
                .price = sqlite3_column_double(q->stmt, 11),
                .deadline = query_i64(q, 12),
                .ready_until = query_i64(q, 13),
                .retry_at = query_i64(q, 14),
                .tries = (unsigned)query_i64(q, 15),
                .begun = query_i64(q, 16) != 0,
                .todo_files = query_u64(q, 17),
                .todo_bytes = query_u64(q, 18),
                .done_files = query_u64(q, 19),
                .done_bytes = query_u64(q, 20),
                .fetched = query_u64(q, 21),
                .cancel_wanted = query_i64(q, 22) != 0,
                .error = strdup(query_text(q, 23)),
                .rate = query_u64(q, 24),
                .seconds_left = query_i64(q, 25),
                .rate_at = query_i64(q, 26),
        };
        if ((r.paths = malloc(r.paths_len + 1)) != NULL) {
                if (r.paths_len > 0)
                        memcpy(r.paths, sqlite3_column_blob(q->stmt, 8), r.paths_len);
                r.paths[r.paths_len] = 0;
        }
        if (!r.archive || !r.name || !r.tier || !r.paths || !r.target || !r.error) {
                catalog_restore_done(&r);
                return err_oom(e);
        }
        *ret = r;
        return 0;
}

int catalog_restore_get(struct catalog *c, int64_t row, struct catalog_restore *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, "SELECT " COLUMNS FROM "WHERE r.row = ?1", "i", row);
        if (r == 0)
                r = query_step(&q, e);
        if (r == 0)
                return err_set(e, -ENOENT, "there is no restore %lld", (long long)row);
        return r < 0 ? r : read_row(&q, ret, e);
}

int catalog_restore_each(struct catalog *c, const char *archive,
        int (*each)(void *ctx, const struct catalog_restore *r), void *ctx, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT " COLUMNS FROM "WHERE ?1 IS NULL OR a.id = ?1 ORDER BY r.row", "s",
                archive);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_restore row = {0};
                if ((r = read_row(&q, &row, e)) == 0)
                        r = each(ctx, &row);
                catalog_restore_done(&row);
        }
        return r;
}

/* ---- changing ---- */

/* What the archive's state says of its restores: one that is on its way, or one that can be read.
 */
static int tell_archive(struct catalog *c, int64_t restore, struct err *e)
{
        return catalog_exec(c, e,
                "UPDATE archive SET changed = ?2, restoring = CASE "
                "WHEN EXISTS (SELECT 1 FROM restore r WHERE r.archive = archive.row AND r.state "
                "IN " ACTIVE ") THEN 1 "
                "WHEN EXISTS (SELECT 1 FROM restore r WHERE r.archive = archive.row AND "
                "r.state = " READY " AND r.target = '') THEN 2 ELSE 0 END "
                "WHERE row = (SELECT archive FROM restore WHERE row = ?1)",
                "ii", restore, clock_now());
}

/* 1: *ret_row is one like it that is active. */
static int find_same(struct catalog *c, int64_t archive, const struct catalog_restore *r,
        int64_t *ret_row, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int n = query_open(&q, c, e,
                "SELECT row FROM restore WHERE archive = ?1 AND paths = ?2 AND target = ?3 AND "
                "NOT cancel_wanted AND state IN " ACTIVE,
                "ibs", archive, (const void *)(r->paths ? r->paths : ""), r->paths_len,
                r->target ? r->target : "");
        if (n == 0 && (n = query_step(&q, e)) > 0)
                *ret_row = query_i64(&q, 0);
        return n;
}

int catalog_restore_is_known(struct catalog *c, const struct catalog_restore *r, struct err *e)
{
        int64_t archive = 0, same;
        int q = catalog_row(c, r->archive, &archive, e);
        return q < 0 ? q : find_same(c, archive, r, &same, e);
}

static int add(
        struct catalog *c, int64_t archive, struct catalog_restore *r, bool *ret_old, struct err *e)
{
        int q = find_same(c, archive, r, &r->row, e);
        *ret_old = q > 0;
        if (q != 0)
                return q < 0 ? q : 0;
        /* One that is over and was the same is history: the log has it. */
        q = catalog_exec(c, e,
                "DELETE FROM restore WHERE archive = ?1 AND paths = ?2 AND target = ?3 AND state "
                "IN " OVER,
                "ibs", archive, (const void *)(r->paths ? r->paths : ""), r->paths_len,
                r->target ? r->target : "");
        if (q < 0)
                return q;
        q = catalog_exec(c, e,
                "INSERT INTO restore VALUES (NULL, ?1, 0, ?2, ?2, ?3, ?4, ?5, ?6, ?7, "
                "CAST(?8 AS REAL) / 1000000, ?9, 0, 0, 0, 0, ?10, ?11, 0, 0, 0, 0, '', 0, -1, 0)",
                "iisibsiiiuu", archive, clock_now(), r->tier ? r->tier : "bulk", (int64_t)r->days,
                (const void *)(r->paths ? r->paths : ""), r->paths_len, r->target ? r->target : "",
                (int64_t)r->overwrite, (int64_t)(r->price * 1000000), r->deadline, r->todo_files,
                r->todo_bytes);
        if (q < 0)
                return q;
        r->row = sqlite3_last_insert_rowid(c->db);
        return tell_archive(c, r->row, e);
}

int catalog_restore_add(struct catalog *c, struct catalog_restore *r, bool *ret_old, struct err *e)
{
        int64_t archive = 0;
        int q = catalog_row(c, r->archive, &archive, e);
        if (q == 0)
                q = txn_begin(c, TXN_DURABLE, e);
        if (q == 0)
                q = txn_end(c, add(c, archive, r, ret_old, e), e);
        return q < 0 ? q : 0;
}

static int read_cancel(struct catalog *c, struct catalog_restore *r, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int n = query_open(
                &q, c, e, "SELECT cancel_wanted FROM restore WHERE row = ?1", "i", r->row);
        if (n == 0 && (n = query_step(&q, e)) > 0)
                r->cancel_wanted = query_i64(&q, 0) != 0;
        return n < 0 ? n : 0;
}

static int state_before(struct catalog *c, int64_t row, int64_t *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int n = query_open(&q, c, e, "SELECT state FROM restore WHERE row = ?1", "i", row);
        if (n == 0 && (n = query_step(&q, e)) > 0)
                *ret = query_i64(&q, 0);
        return n < 0 ? n : 0;
}

static int update(struct catalog *c, struct catalog_restore *r, struct err *e)
{
        int64_t before = -1;
        r->changed = clock_now();
        int q = state_before(c, r->row, &before, e);
        if (q < 0)
                return q;
        q = catalog_exec(c, e,
                "UPDATE restore SET state = ?2, changed = ?3, deadline = ?4, ready_until = ?5, "
                "retry_at = ?6, tries = ?7, begun = ?8, todo_files = ?9, todo_bytes = ?10, "
                "done_files = ?11, done_bytes = ?12, fetched = ?13, error = ?14 WHERE row = ?1",
                "iiiiiiiiuuuuus", r->row, (int64_t)r->state, r->changed, r->deadline,
                r->ready_until, r->retry_at, (int64_t)r->tries, (int64_t)r->begun, r->todo_files,
                r->todo_bytes, r->done_files, r->done_bytes, r->fetched, r->error ? r->error : "");
        if (q >= 0 && before != (int64_t)r->state) /* looks alone are no news */
                q = tell_archive(c, r->row, e);
        return q < 0 ? q : read_cancel(c, r, e);
}

int catalog_restore_update(struct catalog *c, struct catalog_restore *r, struct err *e)
{
        int q = txn_begin(c, TXN_DURABLE, e);
        if (q == 0)
                q = txn_end(c, update(c, r, e), e);
        return q < 0 ? q : 0;
}

int catalog_restore_progress(struct catalog *c, struct catalog_restore *r, struct err *e)
{
        r->rate_at = clock_now();
        int q = catalog_write(c, TXN_LAZY, e,
                "UPDATE restore SET done_files = ?2, done_bytes = ?3, fetched = ?4, rate = ?5, "
                "seconds_left = ?6, rate_at = ?7 WHERE row = ?1",
                "iuuuuii", r->row, r->done_files, r->done_bytes, r->fetched, r->rate,
                r->seconds_left, r->rate_at);
        return q < 0 ? q : read_cancel(c, r, e);
}

int catalog_restore_want_cancel(struct catalog *c, int64_t row, struct err *e)
{
        int q = catalog_write(c, TXN_DURABLE, e,
                "UPDATE restore SET cancel_wanted = 1, retry_at = 0 WHERE row = ?1", "i", row);
        return q < 0 ? q : 0;
}

/* ---- what may be read ---- */

int catalog_restore_covers(
        struct catalog *c, const char *archive, const char *path, int64_t now, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, archive, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT paths FROM restore WHERE archive = ?1 AND state = " READY
                " AND target = '' AND ready_until > ?2",
                "ii", row, now);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                size_t len = (size_t)sqlite3_column_bytes(q.stmt, 0);
                if (holds(query_text(&q, 0), len, path))
                        return 1;
                r = 0;
        }
        return r;
}

/* ---- what a store was asked for ---- */

int catalog_thaw_get(struct catalog *c, const char *store, const char *object, uint64_t start,
        uint64_t len, struct catalog_thaw *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT start, len, asked, accepted, cold_seen FROM thaw WHERE store = ?1 AND "
                "object = ?2 AND start <= ?3 AND start + len >= ?3 + ?4 ORDER BY asked DESC LIMIT "
                "1",
                "ssuu", store, object, start, len);
        if (r == 0)
                r = query_step(&q, e);
        if (r < 0)
                return r;
        *ret = (struct catalog_thaw){0};
        if (r > 0)
                *ret = (struct catalog_thaw){.start = query_u64(&q, 0),
                        .len = query_u64(&q, 1),
                        .asked = query_i64(&q, 2),
                        .accepted = query_i64(&q, 3),
                        .cold_seen = (unsigned)query_i64(&q, 4)};
        return 0;
}

int catalog_thaw_set(struct catalog *c, const char *store, const char *object,
        const struct catalog_thaw *t, struct err *e)
{
        int q = catalog_write(c, TXN_DURABLE, e,
                "INSERT OR REPLACE INTO thaw VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", "ssuuiii", store,
                object, t->start, t->len, t->asked, t->accepted, (int64_t)t->cold_seen);
        return q < 0 ? q : 0;
}

/* ---- when to look ---- */

int catalog_restore_due(struct catalog *c, int64_t now, int64_t *ret_rows, size_t max,
        size_t *ret_n, int64_t *ret_next, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        size_t n = 0;
        int64_t next = INT64_MAX;
        int r = query_open(&q, c, e,
                "SELECT row, retry_at FROM restore WHERE state IN " ACTIVE " OR state = " READY
                " ORDER BY retry_at, row",
                "");
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                int64_t at = query_i64(&q, 1);
                if (at <= now && n < max)
                        ret_rows[n++] = query_i64(&q, 0);
                else
                        next = MIN(next, MAX(at, now));
                r = 0;
        }
        if (r < 0)
                return r;
        *ret_n = n;
        *ret_next = next;
        return 0;
}

int catalog_restore_key_came(struct catalog *c, struct err *e)
{
        int q = catalog_write(c, TXN_DURABLE, e, "UPDATE restore SET retry_at = 0 WHERE state = ?1",
                "i", (int64_t)RESTORE_NEEDS_KEY);
        return q < 0 ? q : 0;
}
