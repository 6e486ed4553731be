#include "catalog_internal.h"

#include "bytes.h"
#include "clock.h"
#include "io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#define BUSY_MS        30000
#define APPLICATION_ID 0x4147434c /* "AGCL" */

/* migrations[n] takes a catalogue from user_version n to n + 1. */
static const char *const migrations[] = {
#include "schema.sql.inc"
        ,
#include "schema_spool.sql.inc"
        ,
#include "schema_restore.sql.inc"
        ,
#include "schema_job.sql.inc"
        ,
#include "schema_rate.sql.inc"
        ,
};

/* ---- opening ---- */

static int setup(struct catalog *c, const char *sql, struct err *e)
{
        return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : catalog_fail(c, e);
}

static int pragma_int(struct catalog *c, const char *sql, int64_t *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, sql, "");
        if (r == 0 && (r = query_step(&q, e)) > 0)
                *ret = query_i64(&q, 0);
        return r < 0 ? r : 0;
}

static int check_version(struct catalog *c, int64_t *ret, struct err *e)
{
        int64_t version = 0, tables = 0, id = 0;
        /* In this order: another program that makes it right now does so in one transaction. */
        int q = pragma_int(c, "SELECT count(*) FROM sqlite_schema", &tables, e);
        if (q == 0)
                q = pragma_int(c, "PRAGMA application_id", &id, e);
        if (q == 0)
                q = pragma_int(c, "PRAGMA user_version", &version, e);
        if (q < 0)
                return q;
        if (tables > 0 && id != APPLICATION_ID)
                return err_set(e, -EPROTO,
                        "%s is a database, but not a catalogue of autoglacier; move it aside",
                        c->path);
        if (version > (int64_t)ARRAY_SIZE(migrations))
                return err_set(e, -EPROTONOSUPPORT,
                        "the catalogue %s was made by a newer autoglacier (its version is %" PRId64
                        ", this program knows up to %zu); use the newer program",
                        c->path, version, ARRAY_SIZE(migrations));
        *ret = version;
        return 0;
}

static int migrate_steps(struct catalog *c, struct err *e)
{
        int64_t version;
        int q = check_version(c, &version, e); /* again: another program may have been first */
        for (; q == 0 && version < (int64_t)ARRAY_SIZE(migrations); version++)
                q = setup(c, migrations[version], e);
        if (q < 0)
                return q;
        char sql[80];
        (void)snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%zu",
                APPLICATION_ID, ARRAY_SIZE(migrations)); /* fits */
        return setup(c, sql, e);
}

static int migrate(struct catalog *c, struct err *e)
{
        int64_t version;
        int q = check_version(c, &version, e);
        if (q < 0 || version == (int64_t)ARRAY_SIZE(migrations))
                return q;
        q = txn_begin(c, TXN_DURABLE, e);
        return q < 0 ? q : txn_end(c, migrate_steps(c, e), e);
}

/* 0600 from the first moment; the log and its index get the same mode from SQLite. It gets its name
 * only after it was closed: closing any descriptor of a file ends all locks that this process has
 * on it (POSIX), and another thread may be in the middle of its first transaction. */
static int make_file(const char *path, struct err *e)
{
        _cleanup_free_ char *temp = NULL;
        if (access(path, F_OK) == 0)
                return 0;
        if (asprintf(&temp, "%s.new-XXXXXX", path) < 0)
                return err_oom(e);
        int fd = mkostemp(temp, O_CLOEXEC);
        if (fd < 0)
                return err_errno(e, -errno, "cannot make the catalogue %s", path);
        (void)close(fd); /* nothing was written */
        int q = link(temp, path) < 0 && errno != EEXIST ? -errno : 0;
        (void)unlink(temp); /* a name less; the file has another */
        if (q == 0)
                q = io_sync_parent(AT_FDCWD, path);
        return q < 0 ? err_errno(e, q, "cannot make the catalogue %s", path) : 0;
}

/* SQLite does not wait here when another program switches to the log at the same moment. */
static int set_wal(struct catalog *c, struct err *e)
{
        const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
        int q = -EAGAIN;
        for (int64_t end = clock_monotonic() + BUSY_MS * (CLOCK_NSEC / 1000); q == -EAGAIN;) {
                q = setup(c, "PRAGMA journal_mode=WAL", e);
                if (q != -EAGAIN || clock_monotonic() > end)
                        break;
                (void)nanosleep(&pause, NULL); /* a shorter pause does no harm */
        }
        return q;
}

static int connect_db(struct catalog *c, const char *name, int flags, struct err *e)
{
        flags |= SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
        int rc = sqlite3_open_v2(name, &c->db, flags, NULL);
        if (!c->db)
                return err_oom(e);
        if (rc != SQLITE_OK)
                return catalog_fail(c, e);
        (void)sqlite3_busy_timeout(c->db, BUSY_MS);
        (void)sqlite3_db_config(
                c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL); /* no harm where unknown */
        return setup(c,
                "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA cache_size=-8192", e);
}

static int open_db(struct catalog *c, struct err *e)
{
        int q = connect_db(c, c->path, SQLITE_OPEN_READWRITE, e);
        if (q == 0)
                q = set_wal(c, e);
        if (q == 0)
                q = setup(c,
                        "PRAGMA journal_size_limit=16777216; PRAGMA synchronous=FULL; PRAGMA "
                        "foreign_keys=ON",
                        e);
        c->full = true;
        return q < 0 ? q : migrate(c, e);
}

/* Where nothing can be written, SQLite cannot have its log and its index beside the file, and reads
 * it only if it is told that nobody changes it. What stands in a log is not in the file yet. */
static int open_unchanging(struct catalog *c, struct err *e)
{
        _cleanup_buf_ struct buf name = BUF_INIT;
        _cleanup_free_ char *log = NULL;
        struct stat st;
        int64_t version;
        if (asprintf(&log, "%s-wal", c->path) < 0) {
                log = NULL;
                return err_oom(e);
        }
        if (stat(log, &st) == 0 && st.st_size > 0)
                return err_set(e, -EROFS,
                        "the catalogue %s lies where nothing can be written, and its newest "
                        "changes are in %s; copy the data folder to where it can",
                        c->path, log);
        buf_adds(&name, *c->path == '/' ? "file://" : "file:");
        for (const char *p = c->path; *p; p++)
                buf_addf(&name, strchr("%?#", *p) ? "%%%02X" : "%c", (unsigned)*p);
        buf_adds(&name, "?immutable=1");
        if (buf_oom(&name))
                return err_oom(e);
        int q = connect_db(c, buf_str(&name), SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, e);
        if (q == 0)
                q = check_version(c, &version, e);
        if (q == 0 && version < (int64_t)ARRAY_SIZE(migrations))
                q = err_set(e, -EROFS,
                        "the catalogue %s was made by an older autoglacier and lies where nothing "
                        "can be written; copy the data folder to where it can",
                        c->path);
        return q;
}

static int open_file(struct catalog *c, struct err *e)
{
        if (access(c->path, W_OK) < 0 && errno == EROFS && access(c->path, R_OK) == 0)
                return open_unchanging(c, e);
        int q = make_file(c->path, e);
        return q < 0 ? q : open_db(c, e);
}

int catalog_open(const char *path, struct catalog **ret, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = calloc(1, sizeof *c);
        if (!c || !(c->path = strdup(path ? path : ":memory:")) || columns_sql(c) < 0)
                return err_oom(e);
        int q = path ? open_file(c, e) : open_db(c, e);
        if (q < 0)
                return q;
        *ret = steal(c);
        return 0;
}

void catalog_close(struct catalog *c)
{
        if (!c)
                return;
        bulk_roll_back(c);
        notes_free(c->notes);
        for (size_t i = 0; i < ARRAY_SIZE(c->slots); i++)
                (void)sqlite3_finalize(c->slots[i].stmt); /* repeats an error that was told */
        (void)sqlite3_close(c->db); /* nothing is left open that could make it busy */
        free(c->sql_select);
        free(c->sql_insert);
        free(c->sql_update);
        free(c->sql_progress);
        free(c->path);
        free(c);
}

/* ---- settings ---- */

int catalog_get(struct catalog *c, const char *key, char **ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, "SELECT value FROM setting WHERE key = ?1", "s", key);
        if (r == 0)
                r = query_step(&q, e);
        if (r < 0)
                return r;
        char *value = NULL;
        if (r > 0 && !(value = strdup(query_text(&q, 0))))
                return err_oom(e);
        *ret = value;
        return 0;
}

int catalog_set(struct catalog *c, const char *key, const char *value, struct err *e)
{
        int q = value ? catalog_write(c, TXN_DURABLE, e,
                                "INSERT OR REPLACE INTO setting VALUES (?1, ?2)", "ss", key, value)
                      : catalog_write(
                                c, TXN_DURABLE, e, "DELETE FROM setting WHERE key = ?1", "s", key);
        return q < 0 ? q : 0;
}

static int make_origin(struct catalog *c, struct err *e)
{
        uint8_t random[4];
        char hex[2 * sizeof random + 1];
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
                return err_errno(e, -errno, "no random bytes");
        bytes_hex(random, sizeof random, hex);
        /* Two programs that start at once agree on the first one's. */
        int q = catalog_write(
                c, TXN_DURABLE, e, "INSERT OR IGNORE INTO setting VALUES ('origin', ?1)", "s", hex);
        return q < 0 ? q : 0;
}

int catalog_origin(struct catalog *c, char **ret, struct err *e)
{
        char *value = NULL;
        int q = catalog_get(c, "origin", &value, e);
        if (q == 0 && !value && (q = make_origin(c, e)) == 0)
                q = catalog_get(c, "origin", &value, e);
        if (q < 0)
                return q;
        *ret = value;
        return 0;
}

int catalog_version(struct catalog *c, int64_t *ret, struct err *e)
{
        return pragma_int(c, "SELECT n FROM change", ret, e);
}
