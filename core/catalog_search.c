#include "catalog_internal.h"

#include <fnmatch.h>

/* Members whose checksums are added to the index in one transaction: sorted, so that it is quick.
 */
#define SUMS_SLICE 65536

/* ---- by name ---- */

struct find {
        struct catalog *c;
        const char *pattern;
        catalog_find_fn each;
        void *ctx;
        struct err *e;
};

static bool matches(const struct find *f, const char *name, const char *path)
{
        return fnmatch(f->pattern, name, 0) == 0 ||
               (path != name && fnmatch(f->pattern, path, 0) == 0);
}

static int found_row(struct find *f, const struct catalog_archive *a, int64_t row, const char *path)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, f->c, f->e,
                "SELECT " MEMBER_COLUMNS " FROM member AS m WHERE row = ?1", "i", row);
        if (r == 0)
                r = query_step(&q, f->e);
        if (r <= 0)
                return r;
        struct catalog_member m;
        member_of(&q, &m);
        m.path = path;
        return f->each(f->ctx, a, &m);
}

/* Only the index of names is read, folder by folder; rows are looked up where they match. */
static int find_in(void *ctx, const struct catalog_archive *a)
{
        struct find *f = ctx;
        if (a->state == ARCHIVE_DELETED)
                return 0;
        _cleanup_(paths_done) struct paths paths = {0};
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, f->c, f->e,
                "SELECT row, parent, name FROM member INDEXED BY member_name WHERE archive = ?1 "
                "ORDER BY parent, name",
                "i", a->row);
        while (r == 0 && (r = query_step(&q, f->e)) > 0) {
                const char *name = query_text(&q, 2), *path;
                r = paths_of(f->c, &paths, query_i64(&q, 1), name, &path, f->e);
                if (r == 0 && matches(f, name, path))
                        r = found_row(f, a, query_i64(&q, 0), path);
        }
        return r;
}

int catalog_find(
        struct catalog *c, const char *pattern, catalog_find_fn each, void *ctx, struct err *e)
{
        struct find f = {.c = c, .pattern = pattern, .each = each, .ctx = ctx, .e = e};
        return catalog_archive_each(c, find_in, &f, e);
}

/* ---- by content ---- */

/* Archives whose members are not in the index yet are read through. */
static const char by_sum[] =
        "SELECT " MEMBER_COLUMNS
        ", a.row, a.created FROM sum JOIN member AS m ON m.row = sum.member "
        "JOIN archive AS a ON a.row = m.archive WHERE sum.prefix = substr(?1, 1, 4) "
        "AND m.sha512 = ?1 AND a.summed AND a.state IN (?2, ?3) "
        "UNION ALL SELECT " MEMBER_COLUMNS
        ", a.row, a.created FROM archive AS a CROSS JOIN member AS m "
        "INDEXED BY member_tar ON m.archive = a.row WHERE NOT a.summed AND a.state IN (?2, ?3) "
        "AND m.tar_offset IS NOT NULL AND m.sha512 = ?1 ORDER BY 16, 1";

int catalog_by_sha512(
        struct catalog *c, const uint8_t sha512[64], catalog_find_fn each, void *ctx, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(
                &q, c, e, by_sum, "bdd", sha512, (size_t)64, ARCHIVE_STORED, ARCHIVE_INCOMPLETE);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_member m;
                member_of(&q, &m);
                struct catalog_archive a = {0};
                _cleanup_free_ char *path = NULL;
                r = catalog_member_path(c, m.row, &path, e);
                if (r == 0)
                        r = catalog_archive_by_row(c, query_i64(&q, 14), &a, e);
                m.path = path;
                if (r == 0)
                        r = each(ctx, &a, &m);
                catalog_archive_done(&a);
        }
        return r;
}

static int row_range(struct catalog *c, int64_t archive, bool *ret_done, int64_t *ret_first,
        int64_t *ret_last, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT (SELECT summed FROM archive WHERE row = ?1), min(row), max(row) "
                "FROM member INDEXED BY member_name WHERE archive = ?1",
                "i", archive);
        if (r == 0)
                r = query_step(&q, e);
        if (r <= 0)
                return r;
        *ret_done = query_i64(&q, 0) != 0;
        *ret_first = query_i64(&q, 1);
        *ret_last = query_i64(&q, 2);
        return 0;
}

/* Runs one of the statements below over all rows of the archive, slice by slice. */
static int sums_slices(struct catalog *c, const char *sql, int64_t archive, int64_t row,
        int64_t last, struct err *e)
{
        int q = 0;
        for (; q >= 0 && row <= last; row += SUMS_SLICE)
                q = catalog_write(c, TXN_LAZY, e, sql, "iii", archive, row, row + SUMS_SLICE);
        return q < 0 ? q : 0;
}

static const char fill_sums[] =
        "INSERT OR IGNORE INTO sum SELECT substr(sha512, 1, 4), row FROM member NOT INDEXED "
        "WHERE row >= ?2 AND row < ?3 AND archive = ?1 AND sha512 IS NOT NULL ORDER BY 1, 2";
static const char drop_sums[] =
        "DELETE FROM sum WHERE (prefix, member) IN (SELECT substr(sha512, 1, 4), row FROM member "
        "NOT INDEXED WHERE row >= ?2 AND row < ?3 AND archive = ?1 AND sha512 IS NOT NULL)";

int catalog_sums_fill(struct catalog *c, int64_t archive, struct err *e)
{
        bool done = false;
        int64_t first = 0, last = -1;
        int q = row_range(c, archive, &done, &first, &last, e);
        if (q < 0 || done)
                return q;
        q = sums_slices(c, fill_sums, archive, first, last, e);
        if (q == 0)
                q = catalog_write(c, TXN_DURABLE, e, "UPDATE archive SET summed = 1 WHERE row = ?1",
                        "i", archive);
        return q < 0 ? q : 0;
}

/* ---- away with them ---- */

/* Half an index must not be taken for a whole one, nor be left behind. */
static int sums_drop(struct catalog *c, int64_t archive, struct err *e)
{
        bool done = false;
        int64_t first = 0, last = -1;
        int q = row_range(c, archive, &done, &first, &last, e);
        if (q < 0)
                return q;
        q = catalog_write(
                c, TXN_LAZY, e, "UPDATE archive SET summed = 0 WHERE row = ?1", "i", archive);
        return q < 0 ? q : sums_slices(c, drop_sums, archive, first, last, e);
}

int catalog_members_forget(struct catalog *c, int64_t archive, struct err *e)
{
        int q = sums_drop(c, archive, e);
        if (q < 0)
                return q;
        return catalog_slices(c,
                "DELETE FROM member WHERE row IN (SELECT row FROM member WHERE archive = ?1 "
                "ORDER BY parent, name LIMIT 4000) AND ?2 = 0",
                archive, 0, e);
}

/* ---- totals ---- */

size_t catalog_sums_line_size(const char *path)
{
        size_t n = 128 + 2 + 1, escaped = 0;
        for (const char *p = path; *p; p++)
                escaped += *p == '\\' || *p == '\n' || *p == '\r';
        return n + strlen(path) + escaped + (escaped > 0);
}

struct totals {
        struct catalog *c;
        const char *id;
        struct catalog_totals t;
        struct err *e;
};

static int has_sum(void *ctx, const struct catalog_member *m)
{
        *(bool *)ctx = m->sha512 != NULL;
        return 0;
}

static int add_up(void *ctx, const struct catalog_member *m)
{
        struct totals *s = ctx;
        bool line = m->sha512 != NULL;
        s->t.n_files += m->type == 'f';
        s->t.n_dirs += m->type == 'd';
        s->t.n_links += m->type == 'l';
        s->t.n_hardlinks += m->type == 'h';
        s->t.bytes += m->type == 'f' ? m->size : 0;
        s->t.n_unread += m->type == 'f' && !m->sha512;
        s->t.unread_bytes += m->type == 'f' && !m->sha512 ? m->size : 0;
        if (m->type == 'h' && m->link) {
                int q = catalog_member_by_path(s->c, s->id, m->link, has_sum, &line, s->e);
                if (q < 0 && q != -ENOENT)
                        return q;
        }
        s->t.sums_bytes += line ? catalog_sums_line_size(m->path) : 0;
        return 0;
}

int catalog_member_totals(
        struct catalog *c, const char *id, struct catalog_totals *ret, struct err *e)
{
        struct totals s = {.c = c, .id = id, .e = e};
        int q = catalog_members_each(c, id, CATALOG_AS_TAR, add_up, &s, e);
        if (q == 0)
                *ret = s.t;
        return q;
}
