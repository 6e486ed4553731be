#include "catalog_internal.h"

#include <inttypes.h>
#include <stdarg.h>

/* ---- errors in words ---- */

static const struct {
        int rc, code;
        const char *words, *hint;
} failures[] = {
        {SQLITE_NOTADB, -EPROTO, "it is damaged, or is not a catalogue at all",
                "move it aside and put a copy from a backup in its place; what is in the store is "
                "not "
                "touched by this"},
        {SQLITE_CORRUPT, -EPROTO, "it is damaged",
                "move it aside and put a copy from a backup in its place; what is in the store is "
                "not "
                "touched by this"},
        {SQLITE_FULL, -ENOSPC, "the disk is full", "make room on the disk that holds it"},
        {SQLITE_BUSY, -EAGAIN, "another program has been writing to it for more than 30 s", NULL},
        {SQLITE_LOCKED, -EAGAIN, "it is locked", NULL},
        {SQLITE_READONLY, -EROFS, "it cannot be written to",
                "look at its permissions, and those of its folder"},
        {SQLITE_PERM, -EACCES, "permission denied", NULL},
        {SQLITE_AUTH, -EACCES, "permission denied", NULL},
        {SQLITE_NOMEM, -ENOMEM, "out of memory", NULL},
        {SQLITE_INTERRUPT, -ECANCELED, "interrupted", NULL},
        {SQLITE_CONSTRAINT, -EEXIST, "such a row is there already", NULL},
        {SQLITE_TOOBIG, -EFBIG, "a text is too long for it", NULL},
        {SQLITE_SCHEMA, -EPROTO, "another program has changed its tables", NULL},
};

/* What the system said, where SQLite only knows that reading or writing did not work. */
static int fail_io(struct catalog *c, struct err *e)
{
        int code = -sqlite3_system_errno(c->db);
        if (code == 0)
                code = sqlite3_errcode(c->db) == SQLITE_CANTOPEN ? -ENOENT : -EIO;
        if (code == -ENOENT && access(c->path, F_OK) == 0)
                return err_set(e, -EACCES,
                        "the catalogue %s: its log cannot be made beside it; look at the "
                        "permissions of its folder",
                        c->path);
        (void)err_errno(e, code, "the catalogue %s", c->path);
        if (code == -ENOSPC || code == -EDQUOT)
                err_hint(e, "make room on the disk that holds it");
        return code;
}

int catalog_fail(struct catalog *c, struct err *e)
{
        int rc = sqlite3_errcode(c->db) & 0xff;
        if (rc == SQLITE_IOERR || rc == SQLITE_CANTOPEN)
                return fail_io(c, e);
        for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
                if (failures[i].rc != rc)
                        continue;
                (void)err_set(e, failures[i].code, "the catalogue %s: %s (%s)", c->path,
                        failures[i].words, sqlite3_errmsg(c->db));
                if (failures[i].hint)
                        err_hint(e, "%s", failures[i].hint);
                return failures[i].code;
        }
        return err_set(e, -EIO, "the catalogue %s: %s", c->path, sqlite3_errmsg(c->db));
}

/* ---- statements ---- */

static struct slot *slot_for(struct catalog *c, const char *sql)
{
        for (size_t i = 0; i < ARRAY_SIZE(c->slots); i++) {
                struct slot *s = &c->slots[i];
                if (!s->sql)
                        s->sql = sql;
                if (s->sql == sql)
                        return s->busy ? NULL : s;
        }
        return NULL;
}

static int prepare(struct query *q, const char *sql, struct err *e)
{
        q->slot = slot_for(q->c, sql);
        unsigned flags = q->slot ? SQLITE_PREPARE_PERSISTENT : 0;
        if (!q->slot || !q->slot->stmt) {
                if (sqlite3_prepare_v3(q->c->db, sql, -1, flags, &q->stmt, NULL) != SQLITE_OK) {
                        q->slot = NULL;
                        return catalog_fail(q->c, e);
                }
                if (q->slot)
                        q->slot->stmt = q->stmt;
        } else {
                q->stmt = q->slot->stmt;
        }
        if (q->slot)
                q->slot->busy = true;
        return 0;
}

static int bind_bytes(sqlite3_stmt *s, int i, const void *data, size_t len)
{
        if (!data)
                return sqlite3_bind_null(s, i);
        return len > 0 ? sqlite3_bind_blob64(s, i, data, len, SQLITE_STATIC)
                       : sqlite3_bind_zeroblob(s, i, 0);
}

/* Text and bytes are not copied: the caller's stay until the statement is done. */
static int bind_all(sqlite3_stmt *s, const char *types, va_list ap)
{
        int rc = SQLITE_OK;
        for (int i = 1; rc == SQLITE_OK && types[i - 1]; i++) {
                const char *p;
                uint64_t u;
                switch (types[i - 1]) {
                case 'i':
                        rc = sqlite3_bind_int64(s, i, va_arg(ap, int64_t));
                        break;
                case 'u':
                        u = va_arg(ap, uint64_t);
                        rc = sqlite3_bind_int64(s, i, (int64_t)MIN(u, (uint64_t)INT64_MAX));
                        break;
                case 'd':
                        rc = sqlite3_bind_int(s, i, va_arg(ap, int));
                        break;
                case 's':
                        rc = sqlite3_bind_text(s, i, va_arg(ap, const char *), -1, SQLITE_STATIC);
                        break;
                case 'p':
                        p = va_arg(ap, const char *);
                        rc = bind_bytes(s, i, p, p ? strlen(p) : 0);
                        break;
                default: /* 'b' */
                        p = va_arg(ap, const char *);
                        rc = bind_bytes(s, i, p, va_arg(ap, size_t));
                }
        }
        return rc;
}

static int open_va(struct query *q, struct catalog *c, struct err *e, const char *sql,
        const char *types, va_list ap)
{
        *q = (struct query){.c = c};
        int r = prepare(q, sql, e);
        if (r < 0)
                return r;
        return bind_all(q->stmt, types, ap) == SQLITE_OK ? 0 : catalog_fail(c, e);
}

int query_open(
        struct query *q, struct catalog *c, struct err *e, const char *sql, const char *types, ...)
{
        va_list ap;
        va_start(ap, types);
        int r = open_va(q, c, e, sql, types, ap);
        va_end(ap);
        return r;
}

int query_step(struct query *q, struct err *e)
{
        int rc = sqlite3_step(q->stmt);
        return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : catalog_fail(q->c, e);
}

void query_done(struct query *q)
{
        if (!q->stmt)
                return;
        if (q->slot) {
                (void)sqlite3_reset(q->stmt); /* repeats what step said */
                (void)sqlite3_clear_bindings(q->stmt);
                q->slot->busy = false;
        } else {
                (void)sqlite3_finalize(q->stmt); /* likewise */
        }
        *q = (struct query){0};
}

static int exec_va(struct catalog *c, struct err *e, const char *sql, const char *types, va_list ap)
{
        _cleanup_query_ struct query q = {0};
        int r = open_va(&q, c, e, sql, types, ap);
        while (r == 0 && (r = query_step(&q, e)) > 0)
                r = 0;
        return r < 0 ? r : sqlite3_changes(c->db);
}

int catalog_exec(struct catalog *c, struct err *e, const char *sql, const char *types, ...)
{
        va_list ap;
        va_start(ap, types);
        int r = exec_va(c, e, sql, types, ap);
        va_end(ap);
        return r;
}

int64_t query_i64(const struct query *q, int column)
{
        return sqlite3_column_int64(q->stmt, column);
}

uint64_t query_u64(const struct query *q, int column)
{
        int64_t v = sqlite3_column_int64(q->stmt, column);
        return v > 0 ? (uint64_t)v : 0;
}

const char *query_text(const struct query *q, int column)
{
        const unsigned char *s = sqlite3_column_text(q->stmt, column);
        return s ? (const char *)s : "";
}

/* ---- transactions ---- */

static int run(struct catalog *c, const char *sql, struct err *e)
{
        return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : catalog_fail(c, e);
}

/* With WAL, FULL means an fsync of the log at each commit, and it covers what was written before.
 */
static int set_sync(struct catalog *c, bool full, struct err *e)
{
        if (c->full == full)
                return 0;
        int q = run(c, full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", e);
        if (q == 0)
                c->full = full;
        return q;
}

static int begin(struct catalog *c, enum txn kind, struct err *e)
{
        int q = set_sync(c, kind == TXN_DURABLE, e);
        if (q == 0)
                q = catalog_exec(c, e, "BEGIN IMMEDIATE", "");
        return q < 0 ? q : 0;
}

static void roll_back(struct catalog *c)
{
        if (!sqlite3_get_autocommit(c->db)) /* a full disk rolls back by itself */
                (void)catalog_exec(c, NULL, "ROLLBACK", "");
}

static int end(struct catalog *c, int q, struct err *e)
{
        if (q >= 0) {
                int r = catalog_exec(c, e, "COMMIT", "");
                if (r >= 0)
                        return q;
                q = r;
        }
        roll_back(c);
        return q;
}

int txn_begin(struct catalog *c, enum txn kind, struct err *e)
{
        if (c->bulk && kind == TXN_LAZY) {
                c->joined = true;
                return 0;
        }
        int q = bulk_commit(c, e);
        if (q == 0 && kind == TXN_DURABLE)
                q = notes_flush(c, e);
        return q < 0 ? q : begin(c, kind, e);
}

int txn_end(struct catalog *c, int q, struct err *e)
{
        if (!c->joined)
                return end(c, q, e);
        c->joined = false;
        return q;
}

int bulk_begin(struct catalog *c, struct err *e)
{
        if (c->bulk)
                return 0;
        int q = begin(c, TXN_LAZY, e);
        if (q < 0)
                return q;
        c->bulk = true;
        return 0;
}

int bulk_commit(struct catalog *c, struct err *e)
{
        if (!c->bulk)
                return 0;
        c->bulk = false;
        return end(c, 0, e);
}

void bulk_roll_back(struct catalog *c)
{
        if (c->bulk)
                roll_back(c);
        c->bulk = false;
}

int catalog_write(
        struct catalog *c, enum txn kind, struct err *e, const char *sql, const char *types, ...)
{
        int q = txn_begin(c, kind, e);
        if (q < 0)
                return q;
        va_list ap;
        va_start(ap, types);
        q = exec_va(c, e, sql, types, ap);
        va_end(ap);
        return txn_end(c, q, e);
}

int catalog_slices(struct catalog *c, const char *sql, int64_t row, int64_t arg, struct err *e)
{
        int q;
        do {
                q = catalog_write(c, TXN_LAZY, e, sql, "ii", row, arg);
        } while (q > 0);
        return q;
}
