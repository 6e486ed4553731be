#include "catalog_internal.h"

#include "clock.h"

#include <stddef.h>

static const char *const state_names[] = {
        [ARCHIVE_PREPARED] = "prepared",
        [ARCHIVE_QUEUED] = "queued",
        [ARCHIVE_WAITING] = "waiting",
        [ARCHIVE_GATHERING] = "gathering",
        [ARCHIVE_UPLOADING] = "uploading",
        [ARCHIVE_STORED] = "stored",
        [ARCHIVE_INCOMPLETE] = "incomplete",
        [ARCHIVE_FAILED] = "failed",
        [ARCHIVE_DELETED] = "deleted",
};

const char *archive_state_name(enum archive_state s)
{
        return (size_t)s < ARRAY_SIZE(state_names) ? state_names[s] : "unknown";
}

/* ---- the table of columns: SQL and reading are made from it ---- */

enum kind { TEXT, SIGNED, UNSIGNED, FLAG, INT };
enum when { ADD = 0, UPDATE = 1, PROGRESS = 2 };

#define COLUMN(field, kind, when)                                                                  \
        {                                                                                          \
#field, kind, when, offsetof(struct catalog_archive, field)                        \
        }
static const struct column {
        const char *name;
        enum kind kind;
        int when; /* bits: which statement writes it besides the one that adds */
        size_t offset;
} columns[] = {
        COLUMN(id, TEXT, ADD),
        COLUMN(name, TEXT, ADD),
        COLUMN(description, TEXT, ADD),
        COLUMN(state, INT, ADD),
        COLUMN(created, SIGNED, ADD),
        COLUMN(stored, SIGNED, ADD),
        COLUMN(changed, SIGNED, ADD),
        COLUMN(origin, TEXT, ADD),
        COLUMN(config_file, TEXT, ADD),
        COLUMN(store_url, TEXT, ADD),
        COLUMN(store_id, TEXT, ADD),
        COLUMN(storage_class, TEXT, ADD),
        COLUMN(compression, TEXT, ADD),
        COLUMN(level, INT, ADD),
        COLUMN(volume_size, UNSIGNED, ADD),
        COLUMN(recipients, TEXT, ADD),
        COLUMN(keys_pem, TEXT, ADD),
        COLUMN(mountpoint, TEXT, ADD),
        COLUMN(spec, TEXT, UPDATE),
        COLUMN(devices, TEXT, UPDATE),
        COLUMN(boot_id, TEXT, UPDATE),
        COLUMN(has_tree, FLAG, UPDATE),
        COLUMN(synced, FLAG, UPDATE),
        COLUMN(keep_tree, FLAG, UPDATE),
        COLUMN(packed, FLAG, UPDATE),
        COLUMN(released, FLAG, UPDATE),
        COLUMN(n_files, UNSIGNED, UPDATE),
        COLUMN(n_dirs, UNSIGNED, UPDATE),
        COLUMN(n_links, UNSIGNED, UPDATE),
        COLUMN(n_hardlinks, UNSIGNED, UPDATE),
        COLUMN(bytes, UNSIGNED, UPDATE),
        COLUMN(tar_bytes, UNSIGNED, UPDATE),
        COLUMN(stored_bytes, UNSIGNED, UPDATE | PROGRESS),
        COLUMN(sums_bytes, UNSIGNED, UPDATE),
        COLUMN(n_warnings, UNSIGNED, ADD), /* catalog_event() counts */
        COLUMN(n_returned, UNSIGNED, UPDATE),
        COLUMN(todo_bytes, UNSIGNED, UPDATE | PROGRESS),
        COLUMN(read_bytes, UNSIGNED, UPDATE | PROGRESS),
        COLUMN(rate, UNSIGNED, UPDATE | PROGRESS),
        COLUMN(runner, SIGNED, ADD),
        COLUMN(abort_wanted, FLAG, ADD),
        COLUMN(error, TEXT, ADD),
        COLUMN(retry_at, SIGNED, ADD),
};

static char *select_sql(void)
{
        struct buf b = BUF_INIT;
        buf_adds(&b, "SELECT row");
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
                buf_addf(&b, ", %s", columns[i].name);
        buf_adds(&b, " FROM archive WHERE row = ?1");
        return buf_steal(&b);
}

static char *insert_sql(void)
{
        struct buf b = BUF_INIT;
        buf_adds(&b, "INSERT INTO archive (");
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
                buf_addf(&b, "%s%s", i > 0 ? ", " : "", columns[i].name);
        buf_adds(&b, ") VALUES (");
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
                buf_addf(&b, "%s?%zu", i > 0 ? ", " : "", i + 2);
        buf_addc(&b, ')');
        return buf_steal(&b);
}

static char *update_sql(int when)
{
        struct buf b = BUF_INIT;
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
                if (columns[i].when & when)
                        buf_addf(&b, "%s %s = ?%zu", b.len > 0 ? "," : "UPDATE archive SET",
                                columns[i].name, i + 2);
        buf_adds(&b, " WHERE id = ?1");
        return buf_steal(&b);
}

int catalog_archive_sql(struct catalog *c)
{
        c->sql_select = select_sql();
        c->sql_insert = insert_sql();
        c->sql_update = update_sql(UPDATE);
        c->sql_progress = update_sql(PROGRESS);
        return c->sql_select && c->sql_insert && c->sql_update && c->sql_progress ? 0 : -ENOMEM;
}

static int bind_column(
        sqlite3_stmt *s, int at, const struct column *col, const struct catalog_archive *a)
{
        const void *p = (const char *)a + col->offset;
        switch (col->kind) {
        case TEXT:
                return sqlite3_bind_text(
                        s, at, *(char *const *)p ? *(char *const *)p : "", -1, SQLITE_STATIC);
        case SIGNED:
                return sqlite3_bind_int64(s, at, *(const int64_t *)p);
        case UNSIGNED:
                return sqlite3_bind_int64(
                        s, at, (int64_t)MIN(*(const uint64_t *)p, (uint64_t)INT64_MAX));
        case FLAG:
                return sqlite3_bind_int(s, at, *(const bool *)p);
        case INT:
                return sqlite3_bind_int(s, at, *(const int *)p);
        }
        return SQLITE_MISUSE;
}

/* Binds all columns that the statement has: at ?2 and up, in the order of the table. */
static int bind_columns(struct query *q, int when, const struct catalog_archive *a, struct err *e)
{
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
                if (when != ADD && !(columns[i].when & when))
                        continue;
                if (bind_column(q->stmt, (int)i + 2, &columns[i], a) != SQLITE_OK)
                        return catalog_fail(q->c, e);
        }
        return 0;
}

static int read_column(
        const struct query *q, int at, const struct column *col, struct catalog_archive *a)
{
        void *p = (char *)a + col->offset;
        switch (col->kind) {
        case TEXT:
                *(char **)p = strdup(query_text(q, at));
                return *(char **)p ? 0 : -ENOMEM;
        case SIGNED:
                *(int64_t *)p = query_i64(q, at);
                return 0;
        case UNSIGNED:
                *(uint64_t *)p = query_u64(q, at);
                return 0;
        case FLAG:
                *(bool *)p = query_i64(q, at) != 0;
                return 0;
        case INT:
                *(int *)p = (int)query_i64(q, at);
                return 0;
        }
        return -EINVAL;
}

_Static_assert(sizeof(enum archive_state) == sizeof(int), "state is read and bound as an int");

void catalog_archive_done(struct catalog_archive *a)
{
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
                if (columns[i].kind == TEXT)
                        free(*(char **)((char *)a + columns[i].offset));
        *a = (struct catalog_archive){0};
}

/* ---- reading ---- */

static int read_row(const struct query *q, struct catalog_archive *ret, struct err *e)
{
        struct catalog_archive a = {.row = query_i64(q, 0)};
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
                if (read_column(q, (int)i + 1, &columns[i], &a) < 0) {
                        catalog_archive_done(&a);
                        return err_oom(e);
                }
        }
        *ret = a;
        return 0;
}

int catalog_archive_by_row(
        struct catalog *c, int64_t row, struct catalog_archive *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, c->sql_select, "i", row);
        if (r == 0)
                r = query_step(&q, e);
        if (r == 0)
                return err_set(e, -ENOENT, "there is no such archive any more");
        return r < 0 ? r : read_row(&q, ret, e);
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

static int row_by_name(struct catalog *c, const char *name, int64_t *ret, struct err *e)
{
        return row_by(c, "SELECT row FROM archive WHERE name = ?1", name, ret, e);
}

int catalog_archive_get_name(
        struct catalog *c, const char *name, struct catalog_archive *ret, struct err *e)
{
        int64_t row = 0;
        int q = row_by_name(c, name, &row, e);
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
                "SELECT row FROM archive WHERE state NOT IN (?1, ?2) ORDER BY created DESC, row "
                "DESC LIMIT 1",
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
        int q = *what ? row_by_name(c, what, &row, e)
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

/* ---- changing ---- */

static int must_exist(int changed, const char *id, struct err *e)
{
        return changed == 0  ? err_set(e, -ENOENT, "there is no archive %s", id)
               : changed < 0 ? changed
                             : 0;
}

int catalog_archive_set_state(struct catalog *c, const char *id, enum archive_state s,
        const char *error, int64_t retry_at, struct err *e)
{
        bool stored = s == ARCHIVE_STORED || s == ARCHIVE_INCOMPLETE;
        int q = catalog_write(c, true, e,
                "UPDATE archive SET state = ?2, error = ?3, retry_at = ?4, changed = ?5, "
                "stored = CASE WHEN ?6 AND stored = 0 THEN ?5 ELSE stored END WHERE id = ?1",
                "sdsiid", id, (int)s, error ? error : "", retry_at, clock_now(), (int)stored);
        return must_exist(q, id, e);
}

static int write_columns(struct catalog *c, const char *sql, int when,
        const struct catalog_archive *a, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, sql, "s", a->id);
        if (r == 0)
                r = bind_columns(&q, when, a, e);
        if (r == 0)
                r = query_step(&q, e);
        return r < 0 ? r : must_exist(sqlite3_changes(c->db), a->id, e);
}

int catalog_archive_update(struct catalog *c, const struct catalog_archive *a, struct err *e)
{
        int q = txn_begin(c, true, e);
        return q < 0 ? q : txn_end(c, write_columns(c, c->sql_update, UPDATE, a, e), e);
}

int catalog_archive_progress(
        struct catalog *c, const struct catalog_archive *a, bool *ret_abort, struct err *e)
{
        int r = txn_begin(c, false, e);
        if (r == 0)
                r = txn_end(c, write_columns(c, c->sql_progress, PROGRESS, a, e), e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e, "SELECT abort_wanted FROM archive WHERE id = ?1", "s", a->id);
        if (r == 0)
                r = query_step(&q, e);
        if (r < 0)
                return r;
        *ret_abort = r > 0 && query_i64(&q, 0) != 0;
        return 0;
}

int catalog_archive_want_abort(struct catalog *c, const char *id, bool wanted, struct err *e)
{
        return must_exist(
                catalog_write(c, true, e, "UPDATE archive SET abort_wanted = ?2 WHERE id = ?1",
                        "sd", id, (int)wanted),
                id, e);
}

int catalog_archive_set_runner(struct catalog *c, const char *id, int64_t pid, struct err *e)
{
        return must_exist(catalog_write(c, false, e, "UPDATE archive SET runner = ?2 WHERE id = ?1",
                                  "si", id, pid),
                id, e);
}

int catalog_archive_set_description(
        struct catalog *c, const char *id, const char *text, struct err *e)
{
        return must_exist(catalog_write(c, true, e,
                                  "UPDATE archive SET description = ?2, changed = ?3 WHERE id = ?1",
                                  "ssi", id, text, clock_now()),
                id, e);
}

/* ---- adding ---- */

static int name_taken(struct catalog *c, const char *name, struct err *e)
{
        int64_t row = 0;
        struct err ignored = {0};
        int q = row_by_name(c, name, &row, &ignored);
        if (q == 0)
                return 1;
        return q == -ENOENT ? 0 : err_set(e, q, "%s", ignored.text);
}

/* The name that is asked for, if it is free; else one made of time and description. */
static int free_name(struct catalog *c, const struct catalog_archive *a, char **ret, struct err *e)
{
        char time[CLOCK_TEXT_MAX], slug[CATALOG_SLUG_MAX];
        clock_name(a->created, time);
        catalog_slug(a->description ? a->description : "", slug);
        for (unsigned n = a->name && *a->name ? 0 : 1;; n++) {
                _cleanup_free_ char *name = NULL;
                int q = n == 0   ? asprintf(&name, "%s", a->name)
                        : n == 1 ? asprintf(&name, "%s_%s", time, slug)
                                 : asprintf(&name, "%s_%s_%u", time, slug, n);
                if (q < 0) {
                        name = NULL;
                        return err_oom(e);
                }
                q = name_taken(c, name, e);
                if (q == 0)
                        *ret = steal(name);
                if (q <= 0)
                        return q;
        }
}

static int add_row(struct catalog *c, struct catalog_archive *a, struct err *e)
{
        char *name = NULL;
        int r = free_name(c, a, &name, e);
        if (r < 0)
                return r;
        free(a->name);
        a->name = name;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e, c->sql_insert, "");
        if (r == 0)
                r = bind_columns(&q, ADD, a, e);
        if (r == 0)
                r = query_step(&q, e);
        if (r == -EEXIST)
                return err_set(e, -EEXIST, "there is an archive with the id %s already", a->id);
        if (r == 0)
                a->row = sqlite3_last_insert_rowid(c->db);
        return r;
}

int catalog_archive_add(struct catalog *c, struct catalog_archive *a, struct err *e)
{
        if (!a->id || !*a->id)
                return err_set(e, -EINVAL, "an archive needs an id");
        a->changed = clock_now();
        if (a->created == 0)
                a->created = a->changed;
        int q = txn_begin(c, true, e);
        return q < 0 ? q : txn_end(c, add_row(c, a, e), e);
}

/* ---- taking away ---- */

static const char *const small_tables[] = {
        "DELETE FROM volume WHERE archive = ?1",
        "DELETE FROM block WHERE archive = ?1",
        "DELETE FROM part WHERE archive = ?1",
        "DELETE FROM list WHERE archive = ?1",
        "DELETE FROM hardlink WHERE archive = ?1",
};

static int forget_rest(struct catalog *c, int64_t row, struct err *e)
{
        int q = 0;
        for (size_t i = 0; q >= 0 && i < ARRAY_SIZE(small_tables); i++)
                q = catalog_exec(c, e, small_tables[i], "i", row);
        return q;
}

static int remove_row(struct catalog *c, int64_t row, struct err *e)
{
        int q = forget_rest(c, row, e);
        if (q >= 0)
                q = catalog_exec(c, e, "DELETE FROM event WHERE archive = ?1", "i", row);
        return q < 0 ? q : catalog_exec(c, e, "DELETE FROM archive WHERE row = ?1", "i", row);
}

int catalog_archive_remove(struct catalog *c, const char *id, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = catalog_members_forget(c, row, e);
        if (q == 0)
                q = txn_begin(c, true, e);
        if (q == 0)
                q = txn_end(c, remove_row(c, row, e), e);
        return q < 0 ? q : 0;
}

int catalog_archive_restart(struct catalog *c, const char *id, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = catalog_members_forget(c, row, e);
        if (q == 0)
                q = txn_begin(c, true, e);
        if (q < 0)
                return q;
        q = forget_rest(c, row, e);
        if (q >= 0)
                q = catalog_exec(c, e,
                        "UPDATE archive SET packed = 0, n_files = 0, n_dirs = 0, n_links = 0, "
                        "n_hardlinks = 0, "
                        "bytes = 0, tar_bytes = 0, stored_bytes = 0, sums_bytes = 0, n_returned = "
                        "0, read_bytes = 0, "
                        "rate = 0 WHERE row = ?1",
                        "i", row);
        q = txn_end(c, q, e);
        return q < 0 ? q : 0;
}

/* Slices, so that a large archive does not keep others from writing. */
int catalog_archive_settle(struct catalog *c, const char *id, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = catalog_slices(c,
                        "DELETE FROM hardlink WHERE (archive, dev, ino) IN (SELECT archive, dev, "
                        "ino FROM hardlink "
                        "WHERE archive = ?1 LIMIT 4000) AND ?2 = 0",
                        row, 0, e);
        if (q == 0)
                q = catalog_slices(c,
                        "DELETE FROM list WHERE row IN (SELECT row FROM list WHERE archive = ?1 "
                        "LIMIT 4000) AND ?2 = 0",
                        row, 0, e);
        return q < 0 ? q : catalog_sums_fill(c, row, e);
}
