#include "catalog_version.h"

#include "catalog_internal.h"

void catalog_run_done(struct catalog_run *r)
{
        free(r->chain);
        free(r->job);
        free(r->roots);
        *r = (struct catalog_run){0};
}

/* ---- what an archive was made from ---- */

/* Counts what an archive left in others, as far as those are known. */
#define COUNT_UNCHANGED                                                                            \
        "UPDATE run SET (n_unchanged, unchanged_bytes) = (SELECT count(*), coalesce(sum(CASE "     \
        "m.kind WHEN 'f' THEN m.size ELSE 0 END), 0) FROM unchanged AS u CROSS JOIN archive AS b " \
        "ON b.id = u.base CROSS JOIN member AS m INDEXED BY member_tar ON m.archive = b.row AND "  \
        "m.tar_offset BETWEEN u.first AND u.last WHERE u.archive = run.archive AND m.kind IN "     \
        "('f', 'h'))"

static int put_run(struct catalog *c, int64_t row, const struct catalog_run *r, struct err *e)
{
        int q = catalog_exec(c, e,
                "INSERT INTO run (archive, chain, job, changed_only, roots) "
                "VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (archive) "
                "DO UPDATE SET chain = excluded.chain, job = excluded.job, "
                "changed_only = excluded.changed_only, roots = excluded.roots",
                "issdb", row, r->chain, r->job ? r->job : "", (int)r->changed_only,
                r->roots ? r->roots : "", r->roots_len);
        if (q < 0)
                return q;
        return catalog_exec(c, e, COUNT_UNCHANGED " WHERE archive = ?1", "i", row);
}

int catalog_run_set(struct catalog *c, const char *id, const struct catalog_run *r, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = txn_begin(c, TXN_DURABLE, e);
        if (q == 0)
                q = txn_end(c, put_run(c, row, r, e), e);
        return q < 0 ? q : 0;
}

int catalog_run_recount(struct catalog *c, struct err *e)
{
        int q = catalog_write(c, TXN_DURABLE, e, COUNT_UNCHANGED, "");
        return q < 0 ? q : 0;
}

int catalog_run_get(struct catalog *c, const char *id, struct catalog_run *ret, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT chain, job, changed_only, roots, n_unchanged, unchanged_bytes FROM run "
                "WHERE archive = ?1",
                "i", row);
        if (r == 0)
                r = query_step(&q, e);
        if (r <= 0)
                return r < 0 ? r : err_set(e, -ENOENT, "%s was not made from a list of files", id);
        struct catalog_run g = {.chain = strdup(query_text(&q, 0)),
                .job = strdup(query_text(&q, 1)),
                .changed_only = query_i64(&q, 2) != 0,
                .roots_len = (size_t)sqlite3_column_bytes(q.stmt, 3),
                .n_unchanged = query_u64(&q, 4),
                .unchanged_bytes = query_u64(&q, 5)};
        g.roots = malloc(g.roots_len + 1);
        if (!g.chain || !g.job || !g.roots) {
                catalog_run_done(&g);
                return err_oom(e);
        }
        if (g.roots_len > 0)
                memcpy(g.roots, sqlite3_column_blob(q.stmt, 3), g.roots_len);
        g.roots[g.roots_len] = 0;
        *ret = g;
        return 0;
}

int catalog_run_latest(struct catalog *c, const char *job, char **ret_id, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT a.id FROM run AS r JOIN archive AS a ON a.row = r.archive WHERE r.job = ?1 "
                "AND r.job != '' ORDER BY a.created DESC, a.row DESC LIMIT 1",
                "s", job);
        if (r == 0)
                r = query_step(&q, e);
        if (r <= 0)
                return r < 0 ? r : err_set(e, -ENOENT, "the job %s has not run yet", job);
        *ret_id = strdup(query_text(&q, 0));
        return *ret_id ? 0 : err_oom(e);
}

/* ---- what could not be read ---- */

int catalog_missed_add(struct catalog *c, const char *id, const char *path, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = catalog_write(c, TXN_LAZY, e,
                        "INSERT OR IGNORE INTO missed (archive, path) VALUES (?1, ?2)", "ip", row,
                        path);
        return q < 0 ? q : 0;
}

int catalog_missed_each(struct catalog *c, const char *id, int (*each)(void *ctx, const char *path),
        void *ctx, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(
                &q, c, e, "SELECT path FROM missed WHERE archive = ?1 ORDER BY path", "i", row);
        while (r == 0 && (r = query_step(&q, e)) > 0)
                r = each(ctx, query_text(&q, 0));
        return r;
}

int catalog_is_missed(struct catalog *c, const char *id, const char *path, bool *ret, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT 1 FROM missed WHERE archive = ?1 AND " CATALOG_AT_OR_BELOW("?2", "path"),
                "ip", row, path);
        if (r == 0)
                r = query_step(&q, e);
        if (r < 0)
                return r;
        *ret = r > 0;
        return 0;
}

/* ---- what would be lost with an archive ---- */

struct search {
        struct catalog *c;
        int64_t archive;
        const char *id;
        int64_t *others; /* stored archives, newest first */
        size_t n;
        int (*each)(void *ctx, const struct catalog_member *m, const char *later);
        void *ctx;
        struct err *e;
};

static int find_others(struct search *s)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, s->c, s->e,
                "SELECT row FROM archive WHERE row != ?1 AND state IN (?2, ?3) ORDER BY row DESC",
                "idd", s->archive, (int)ARCHIVE_STORED, (int)ARCHIVE_INCOMPLETE);
        while (r == 0 && (r = query_step(&q, s->e)) > 0) {
                int64_t *v = reallocarray(s->others, s->n + 1, sizeof *v);
                if (!v)
                        return err_oom(s->e);
                s->others = v;
                v[s->n++] = query_i64(&q, 0);
                r = 0;
        }
        return r;
}

static int holds(struct catalog *c, int64_t archive, const char *path, struct err *e)
{
        int64_t parent = 0;
        bool file = false;
        for (const char *p = path; *p;) {
                size_t n = strcspn(p, "/");
                _cleanup_query_ struct query q = {0};
                int r = query_open(&q, c, e,
                        "SELECT row, kind FROM member WHERE archive = ?1 AND parent = ?2 "
                        "AND name = ?3",
                        "iib", archive, parent, p, n);
                if (r == 0)
                        r = query_step(&q, e);
                if (r <= 0)
                        return r;
                parent = query_i64(&q, 0);
                file = strchr("fh", *query_text(&q, 1)) != NULL;
                p += n + (p[n] == '/');
        }
        return file;
}

/* The name of a stored archive whose listing leads to this member here. 1, 0, -errno. */
static int relied_on(struct search *s, const struct catalog_member *m, struct buf *ret)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, s->c, s->e,
                "SELECT a.name FROM unchanged AS u JOIN archive AS a ON a.row = u.archive WHERE "
                "u.base = ?1 AND u.first <= ?2 AND u.last >= ?2 AND a.state IN (?3, ?4) LIMIT 1",
                "sudd", s->id, m->tar_offset, (int)ARCHIVE_STORED, (int)ARCHIVE_INCOMPLETE);
        if (r == 0 && (r = query_step(&q, s->e)) > 0)
                buf_adds(ret, query_text(&q, 0));
        return r;
}

static int look(void *ctx, const struct catalog_member *m)
{
        struct search *s = ctx;
        if (m->type != 'f' && m->type != 'h')
                return 0;
        _cleanup_buf_ struct buf later = BUF_INIT;
        int q = relied_on(s, m, &later);
        if (q > 0)
                return s->each(s->ctx, m, buf_str(&later));
        for (size_t i = 0; q == 0 && i < s->n; i++)
                q = holds(s->c, s->others[i], m->path, s->e);
        return q < 0 ? q : q > 0 ? 0 : s->each(s->ctx, m, NULL);
}

int catalog_only_here(struct catalog *c, const char *id,
        int (*each)(void *ctx, const struct catalog_member *m, const char *later), void *ctx,
        struct err *e)
{
        struct search s = {.c = c, .id = id, .each = each, .ctx = ctx, .e = e};
        int q = catalog_row(c, id, &s.archive, e);
        if (q == 0)
                q = find_others(&s);
        if (q == 0)
                q = catalog_members_each(c, id, CATALOG_AS_TAR, look, &s, e);
        free(s.others);
        return q;
}
