#include "catalog_internal.h"

/* ---- single ones ---- */

int catalog_archive_by_row(
        struct catalog *c, int64_t row, struct catalog_archive *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, c->sql_select, "i", row);
        if (r == 0)
                r = query_step(&q, e);
        if (r == 0)
                return err_set(e, -ENOENT, "there is no such archive any more");
        return r < 0 ? r : columns_read(&q, ret, e);
}

static int row_by(struct catalog *c, const char *sql, const char *what, int64_t *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, sql, "s", what);
        if (r == 0)
                r = query_step(&q, e);
        if (r == 0)
                return err_set(e, -ENOENT, "there is no archive %s", what);
        if (r > 0)
                *ret = query_i64(&q, 0);
        return r < 0 ? r : 0;
}

int catalog_row(struct catalog *c, const char *id, int64_t *ret, struct err *e)
{
        return row_by(c, "SELECT row FROM archive WHERE id = ?1", id, ret, e);
}

int catalog_archive_get(
        struct catalog *c, const char *id, struct catalog_archive *ret, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        return q < 0 ? q : catalog_archive_by_row(c, row, ret, e);
}

int catalog_row_by_name(struct catalog *c, const char *name, int64_t *ret, struct err *e)
{
        return row_by(c, "SELECT row FROM archive WHERE name = ?1", name, ret, e);
}

int catalog_archive_get_name(
        struct catalog *c, const char *name, struct catalog_archive *ret, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row_by_name(c, name, &row, e);
        return q < 0 ? q : catalog_archive_by_row(c, row, ret, e);
}

/* The only archive, not deleted, whose name or id begins so. */
static int row_by_beginning(struct catalog *c, const char *what, int64_t *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT row, name FROM archive WHERE state NOT IN (?2, ?3) AND "
                "(substr(name, 1, length(?1)) = ?1 OR substr(id, 1, length(?1)) = ?1) ORDER BY "
                "created, row",
                "sdd", what, ARCHIVE_DELETED, ARCHIVE_PREPARED);
        if (r == 0)
                r = query_step(&q, e);
        if (r <= 0)
                return r < 0 ? r
                             : err_set(e, -ENOENT,
                                       "there is no archive whose name or id begins with %s", what);
        int64_t row = query_i64(&q, 0);
        _cleanup_free_ char *first = strdup(query_text(&q, 1));
        if (!first)
                return err_oom(e);
        r = query_step(&q, e);
        if (r > 0)
                return err_set(e, -ENOTUNIQ,
                        "%s is the beginning of several archives: %s, %s, …; give more of the name",
                        what, first, query_text(&q, 1));
        *ret = row;
        return r;
}

static int row_latest(struct catalog *c, int64_t *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT row FROM archive WHERE state NOT IN (?1, ?2) "
                "ORDER BY created DESC, row DESC LIMIT 1",
                "dd", ARCHIVE_DELETED, ARCHIVE_PREPARED);
        if (r == 0)
                r = query_step(&q, e);
        if (r == 0)
                return err_set(e, -ENOENT, "there is no archive yet");
        if (r > 0)
                *ret = query_i64(&q, 0);
        return r < 0 ? r : 0;
}

int catalog_archive_resolve(
        struct catalog *c, const char *what, struct catalog_archive *ret, struct err *e)
{
        int64_t row = 0;
        int q = *what ? catalog_row_by_name(c, what, &row, e)
                      : err_set(e, -ENOENT, "the name of an archive is empty");
        if (q == -ENOENT && *what)
                q = catalog_row(c, what, &row, e);
        if (q == -ENOENT && *what)
                q = streq(what, "latest") ? row_latest(c, &row, e)
                                          : row_by_beginning(c, what, &row, e);
        return q < 0 ? q : catalog_archive_by_row(c, row, ret, e);
}

int catalog_archive_each(struct catalog *c, int (*each)(void *ctx, const struct catalog_archive *a),
        void *ctx, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, "SELECT row FROM archive ORDER BY created, row", "");
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_archive a = {0};
                r = catalog_archive_by_row(c, query_i64(&q, 0), &a, e);
                if (r == 0)
                        r = each(ctx, &a);
                catalog_archive_done(&a);
                if (r != 0)
                        return r;
        }
        return r;
}

int catalog_is_empty(struct catalog *c, bool *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, "SELECT 1 FROM archive LIMIT 1", "");
        if (r == 0)
                r = query_step(&q, e);
        if (r < 0)
                return r;
        *ret = r == 0;
        return 0;
}
