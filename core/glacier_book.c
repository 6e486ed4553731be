#include "glacier_book.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>

#define BUSY_MS 30000
#define VERSION 1

struct glacier_book {
        sqlite3 *db;
        char *path;
        pthread_mutex_t lock;
};

static const char schema[] =
        "CREATE TABLE IF NOT EXISTS object ("
        " vault TEXT NOT NULL, archive TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,"
        " tree_hash BLOB NOT NULL, created INTEGER NOT NULL, listed INTEGER NOT NULL,"
        " PRIMARY KEY (vault, archive)) WITHOUT ROWID;"
        "CREATE INDEX IF NOT EXISTS object_name ON object (vault, name, created DESC);"
        "CREATE TABLE IF NOT EXISTS finishing ("
        " vault TEXT NOT NULL, upload TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,"
        " tree_hash BLOB NOT NULL, created INTEGER NOT NULL,"
        " PRIMARY KEY (vault, upload)) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS job ("
        " vault TEXT NOT NULL, id TEXT NOT NULL, archive TEXT NOT NULL, start INTEGER NOT NULL,"
        " end INTEGER NOT NULL, asked INTEGER NOT NULL, done INTEGER NOT NULL,"
        " PRIMARY KEY (vault, id)) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS known ("
        " vault TEXT PRIMARY KEY, complete INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS begun ("
        " vault TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (vault, name)) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS removed ("
        " vault TEXT NOT NULL, archive TEXT NOT NULL, PRIMARY KEY (vault, archive)) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS inventory ("
        " vault TEXT PRIMARY KEY, date INTEGER NOT NULL) WITHOUT ROWID;"
        "PRAGMA user_version=1;";

static int fail(struct glacier_book *b, struct err *e)
{
        int rc = sqlite3_errcode(b->db);
        int code = rc == SQLITE_FULL                             ? -ENOSPC
                   : rc == SQLITE_BUSY                           ? -EAGAIN
                   : rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB ? -EPROTO
                                                                 : -EIO;
        err_set(e, code, "the list of what is in vaults, %s: %s", b->path, sqlite3_errmsg(b->db));
        if (code == -EPROTO)
                err_hint(e, "move it aside; autoglacier recover makes it again from the vault's "
                            "inventory");
        return code;
}

/* ---- statements ---- */

/* One letter of `types` an argument: s const char *, i int64_t, u uint64_t, h 32 bytes. */
static int prepare(struct glacier_book *b, sqlite3_stmt **ret, struct err *e, const char *sql,
        const char *types, va_list ap)
{
        if (sqlite3_prepare_v2(b->db, sql, -1, ret, NULL) != SQLITE_OK)
                return fail(b, e);
        int rc = SQLITE_OK;
        for (int i = 0; rc == SQLITE_OK && types[i]; i++) {
                if (types[i] == 's')
                        rc = sqlite3_bind_text(
                                *ret, i + 1, va_arg(ap, const char *), -1, SQLITE_STATIC);
                else if (types[i] == 'h')
                        rc = sqlite3_bind_blob(
                                *ret, i + 1, va_arg(ap, const void *), 32, SQLITE_STATIC);
                else if (types[i] == 'u')
                        rc = sqlite3_bind_int64(*ret, i + 1, (int64_t)va_arg(ap, uint64_t));
                else
                        rc = sqlite3_bind_int64(*ret, i + 1, va_arg(ap, int64_t));
        }
        return rc == SQLITE_OK ? 0 : fail(b, e);
}

/* Runs a statement; `each` (NULL: none) gets its rows. 0, or what `each` returned, or -errno. */
static int run(struct glacier_book *b, struct err *e, int (*each)(void *ctx, sqlite3_stmt *row),
        void *ctx, const char *sql, const char *types, ...)
{
        sqlite3_stmt *stmt = NULL;
        va_list ap;
        va_start(ap, types);
        pthread_mutex_lock(&b->lock);
        int q = prepare(b, &stmt, e, sql, types, ap);
        int rc = SQLITE_DONE;
        while (q == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
                q = each ? each(ctx, stmt) : 0;
        if (q == 0 && rc != SQLITE_DONE)
                q = fail(b, e);
        (void)sqlite3_finalize(stmt); /* its error was seen by the step */
        pthread_mutex_unlock(&b->lock);
        va_end(ap);
        return q == -ENOMEM ? err_oom(e) : q;
}

static void text(sqlite3_stmt *row, int column, char *out, size_t size)
{
        const char *s = (const char *)sqlite3_column_text(row, column);
        (void)snprintf(out, size, "%s", s ? s : ""); /* was written from such a field */
}

/* Columns: archive, name, size, tree_hash, created, listed. */
static int one_object(void *ctx, sqlite3_stmt *row)
{
        struct glacier_object *o = ctx;
        text(row, 0, o->archive, sizeof o->archive);
        text(row, 1, o->name, sizeof o->name);
        o->size = (uint64_t)sqlite3_column_int64(row, 2);
        if (sqlite3_column_bytes(row, 3) == sizeof o->tree_hash)
                memcpy(o->tree_hash, sqlite3_column_blob(row, 3), sizeof o->tree_hash);
        o->created = sqlite3_column_int64(row, 4);
        o->listed = sqlite3_column_int64(row, 5);
        return 1;
}

/* ---- opening ---- */

static int one_number(void *ctx, sqlite3_stmt *row)
{
        *(int64_t *)ctx = sqlite3_column_int64(row, 0);
        return 1;
}

static int check_version(struct glacier_book *b, struct err *e)
{
        int64_t version = 0;
        int q = run(b, e, one_number, &version, "PRAGMA user_version", "");
        return q < 0 || version <= VERSION
                       ? MIN(q, 0)
                       : err_set(e, -EPROTONOSUPPORT,
                                 "%s was made by a newer autoglacier; use the newer program",
                                 b->path);
}

/* 0600 from the first moment; SQLite gives its log the same mode. */
static int make_file(const char *path, struct err *e)
{
        _cleanup_close_ int fd =
                open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 && errno != EEXIST)
                return err_errno(e, -errno, "cannot make %s", path);
        return 0;
}

static int open_db(struct glacier_book *b, struct err *e)
{
        int q = make_file(b->path, e);
        if (q < 0)
                return q;
        int rc =
                sqlite3_open_v2(b->path, &b->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
        if (rc != SQLITE_OK)
                return b->db ? fail(b, e) : err_oom(e);
        (void)sqlite3_busy_timeout(b->db, BUSY_MS); /* cannot fail */
        if ((q = check_version(b, e)) < 0)
                return q;
        if (sqlite3_exec(b->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL) != SQLITE_OK ||
                sqlite3_exec(b->db, "PRAGMA synchronous=FULL", NULL, NULL, NULL) != SQLITE_OK ||
                sqlite3_exec(b->db, schema, NULL, NULL, NULL) != SQLITE_OK)
                return fail(b, e);
        return 0;
}

int glacier_book_open(const char *path, struct glacier_book **ret, struct err *e)
{
        _cleanup_(glacier_book_closep) struct glacier_book *b = calloc(1, sizeof *b);
        if (!b)
                return err_oom(e);
        (void)pthread_mutex_init(&b->lock, NULL); /* a default one cannot fail */
        if (!(b->path = strdup(path)))
                return err_oom(e);
        int q = open_db(b, e);
        if (q == 0)
                *ret = steal(b);
        return q;
}

void glacier_book_close(struct glacier_book *b)
{
        if (!b)
                return;
        (void)sqlite3_close(b->db); /* no statement is open */
        (void)pthread_mutex_destroy(&b->lock);
        free(b->path);
        free(b);
}

/* ---- what the book can know ---- */

int glacier_book_meet(struct glacier_book *b, const char *vault, bool empty, struct err *e)
{
        return run(b, e, NULL, NULL, "INSERT OR IGNORE INTO known VALUES (?, ?)", "si", vault,
                (int64_t)empty);
}

int glacier_book_complete(struct glacier_book *b, const char *vault, bool *ret, struct err *e)
{
        int64_t complete = 0;
        int q = run(b, e, one_number, &complete, "SELECT complete FROM known WHERE vault = ?", "s",
                vault);
        if (q < 0)
                return q;
        *ret = complete;
        return 0;
}

int glacier_book_begun(struct glacier_book *b, const char *vault, const char *name, struct err *e)
{
        return run(
                b, e, NULL, NULL, "INSERT OR IGNORE INTO begun VALUES (?, ?)", "ss", vault, name);
}

int glacier_book_was_begun(
        struct glacier_book *b, const char *vault, const char *name, struct err *e)
{
        int64_t ignored;
        return run(b, e, one_number, &ignored, "SELECT 1 FROM begun WHERE vault = ? AND name = ?",
                "ss", vault, name);
}

/* ---- objects ---- */

int glacier_book_add(
        struct glacier_book *b, const char *vault, const struct glacier_object *o, struct err *e)
{
        return run(b, e, NULL, NULL,
                "INSERT OR REPLACE INTO object SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7"
                " WHERE NOT EXISTS (SELECT 1 FROM removed WHERE vault = ?1 AND archive = ?2)",
                "sssuhii", vault, o->archive, o->name, o->size, o->tree_hash, o->created,
                o->listed);
}

#define SELECT_OBJECT "SELECT archive, name, size, tree_hash, created, listed FROM object "

int glacier_book_find(struct glacier_book *b, const char *vault, const char *name,
        struct glacier_object *ret, struct err *e)
{
        int q = run(b, e, one_object, ret,
                SELECT_OBJECT "WHERE vault = ? AND name = ? ORDER BY created DESC LIMIT 1", "ss",
                vault, name);
        return q == 0 ? err_set(e, -ENOENT, "no archive is known to hold %s", name) : MIN(q, 0);
}

int glacier_book_find_other(struct glacier_book *b, const char *vault,
        const struct glacier_object *than, struct glacier_object *ret, struct err *e)
{
        int q = run(b, e, one_object, ret,
                SELECT_OBJECT "WHERE vault = ? AND name = ? AND archive <> ? LIMIT 1", "sss", vault,
                than->name, than->archive);
        return q == 0 ? err_set(e, -ENOENT, "there is no other") : MIN(q, 0);
}

int glacier_book_next(struct glacier_book *b, const char *vault, const char *prefix,
        const char *after, struct glacier_object *ret, struct err *e)
{
        int q = run(b, e, one_object, ret,
                SELECT_OBJECT "WHERE vault = ?1 AND name > ?3 AND substr(name, 1, length(?2)) = ?2"
                              " ORDER BY name, created DESC LIMIT 1",
                "sss", vault, prefix, after);
        return q == 0 ? err_set(e, -ENOENT, "no more objects") : MIN(q, 0);
}

int glacier_book_forget(
        struct glacier_book *b, const char *vault, const char *archive, struct err *e)
{
        int q = run(b, e, NULL, NULL, "INSERT OR IGNORE INTO removed VALUES (?, ?)", "ss", vault,
                archive);
        return q < 0 ? q
                     : run(b, e, NULL, NULL, "DELETE FROM object WHERE vault = ? AND archive = ?",
                               "ss", vault, archive);
}

/* ---- uploads that are being finished ---- */

int glacier_book_finishing(struct glacier_book *b, const char *vault, const char *upload,
        const struct glacier_object *o, struct err *e)
{
        return run(b, e, NULL, NULL, "INSERT OR REPLACE INTO finishing VALUES (?, ?, ?, ?, ?, ?)",
                "sssuhi", vault, upload, o->name, o->size, o->tree_hash, o->created);
}

int glacier_book_find_finishing(struct glacier_book *b, const char *vault, const char *upload,
        struct glacier_object *ret, struct err *e)
{
        int q = run(b, e, one_object, ret,
                "SELECT '', name, size, tree_hash, created, 0 FROM finishing"
                " WHERE vault = ? AND upload = ?",
                "ss", vault, upload);
        return q == 0 ? err_set(e, -ENOENT, "the upload was not being finished") : MIN(q, 0);
}

struct unfinished {
        char *upload;
        struct glacier_object *o;
};

static int one_unfinished(void *ctx, sqlite3_stmt *row)
{
        const struct unfinished *u = ctx;
        text(row, 6, u->upload, GLACIER_ID_MAX);
        return one_object(u->o, row);
}

int glacier_book_find_unfinished(struct glacier_book *b, const char *vault, const char *name,
        char ret_upload[GLACIER_ID_MAX], struct glacier_object *ret, struct err *e)
{
        struct unfinished u = {ret_upload, ret};
        int q = run(b, e, one_unfinished, &u,
                "SELECT '', name, size, tree_hash, created, 0, upload FROM finishing"
                " WHERE vault = ? AND name = ? LIMIT 1",
                "ss", vault, name);
        return q == 0 ? err_set(e, -ENOENT, "nothing of that name was being finished") : MIN(q, 0);
}

int glacier_book_forget_finishing(
        struct glacier_book *b, const char *vault, const char *upload, struct err *e)
{
        return run(b, e, NULL, NULL, "DELETE FROM finishing WHERE vault = ? AND upload = ?", "ss",
                vault, upload);
}

/* The object is there before its note goes: a crash in between leaves a note that does no harm. */
int glacier_book_finished(struct glacier_book *b, const char *vault, const char *upload,
        const struct glacier_object *o, struct err *e)
{
        int q = glacier_book_add(b, vault, o, e);
        return q < 0 ? q : glacier_book_forget_finishing(b, vault, upload, e);
}

/* ---- jobs ---- */

int glacier_book_set_job(
        struct glacier_book *b, const char *vault, const struct glacier_job *j, struct err *e)
{
        return run(b, e, NULL, NULL, "INSERT OR REPLACE INTO job VALUES (?, ?, ?, ?, ?, ?, ?)",
                "sssuuii", vault, j->id, j->archive, j->start, j->end, j->asked, j->done);
}

int glacier_book_forget_job(
        struct glacier_book *b, const char *vault, const char *id, struct err *e)
{
        return run(b, e, NULL, NULL, "DELETE FROM job WHERE vault = ? AND id = ?", "ss", vault, id);
}

struct jobs {
        struct glacier_job *v;
        size_t n;
};

static int one_job(void *ctx, sqlite3_stmt *row)
{
        struct jobs *l = ctx;
        struct glacier_job *v = reallocarray(l->v, l->n + 1, sizeof *v);
        if (!v)
                return -ENOMEM;
        l->v = v;
        struct glacier_job *j = &v[l->n++];
        text(row, 0, j->id, sizeof j->id);
        text(row, 1, j->archive, sizeof j->archive);
        j->start = (uint64_t)sqlite3_column_int64(row, 2);
        j->end = (uint64_t)sqlite3_column_int64(row, 3);
        j->asked = sqlite3_column_int64(row, 4);
        j->done = sqlite3_column_int64(row, 5);
        return 0;
}

int glacier_book_jobs(struct glacier_book *b, const char *vault, const char *archive,
        struct glacier_job **ret, size_t *ret_n, struct err *e)
{
        struct jobs l = {0};
        int q = run(b, e, one_job, &l,
                "SELECT id, archive, start, end, asked, done FROM job"
                " WHERE vault = ? AND archive = ? ORDER BY asked DESC",
                "ss", vault, archive);
        if (q < 0) {
                free(l.v);
                return q;
        }
        *ret = l.v;
        *ret_n = l.n;
        return 0;
}

/* ---- inventories ---- */

int glacier_book_seen(struct glacier_book *b, const char *vault, const char *archive,
        int64_t listed, struct err *e)
{
        return run(b, e, NULL, NULL, "UPDATE object SET listed = ? WHERE vault = ? AND archive = ?",
                "iss", listed, vault, archive);
}

int glacier_book_set_inventory(
        struct glacier_book *b, const char *vault, int64_t date, int64_t grace, struct err *e)
{
        int q = run(b, e, NULL, NULL,
                "DELETE FROM object WHERE vault = ? AND listed < ? AND created < ?", "sii", vault,
                date, date - grace);
        if (q == 0)
                q = run(b, e, NULL, NULL, "INSERT OR REPLACE INTO known VALUES (?, 1)", "s", vault);
        return q < 0 ? q
                     : run(b, e, NULL, NULL, "INSERT OR REPLACE INTO inventory VALUES (?, ?)", "si",
                               vault, date);
}

int glacier_book_batch_begin(struct glacier_book *b, struct err *e)
{
        return run(b, e, NULL, NULL, "BEGIN IMMEDIATE", "");
}

int glacier_book_batch_end(struct glacier_book *b, int q, struct err *e)
{
        if (q == 0 && (q = run(b, e, NULL, NULL, "COMMIT", "")) == 0)
                return 0;
        (void)run(b, NULL, NULL, NULL, "ROLLBACK", ""); /* SQLite may have done so itself */
        return q;
}

int glacier_book_inventory(struct glacier_book *b, const char *vault, int64_t *ret, struct err *e)
{
        int64_t date = 0;
        int q = run(
                b, e, one_number, &date, "SELECT date FROM inventory WHERE vault = ?", "s", vault);
        if (q < 0)
                return q;
        *ret = date;
        return 0;
}
