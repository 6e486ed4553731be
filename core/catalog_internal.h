/* catalog_internal.h - what the files of the catalogue share: statements, transactions, errors.
 *
 * Private to catalog*.c. A connection belongs to one thread at a time. */
#pragma once

#include "buf.h"
#include "catalog.h"

#include <sqlite3.h>

#define CATALOG_STATEMENTS 96

/* Rows a transaction at most, so that other writers never wait long. */
#define CATALOG_SLICE 4000

struct slot {
        const char
                *sql; /* compared by address: SQL is a literal or lives as long as the catalogue */
        sqlite3_stmt *stmt;
        bool busy;
};

struct notes;

struct catalog {
        sqlite3 *db;
        char *path;
        struct slot slots[CATALOG_STATEMENTS];
        bool full;           /* synchronous=FULL is set, else NORMAL */
        bool bulk;           /* an adder's transaction is open */
        bool joined;         /* a call joined it */
        struct notes *notes; /* hard links not written yet; NULL before the first */
        char *sql_select;    /* archive rows: made of the table of columns */
        char *sql_insert;
        char *sql_update;
        char *sql_progress;
};

/* The sentence for what SQLite reports now, with what to do. Returns the code. */
int catalog_fail(struct catalog *c, struct err *e);

/* A statement in use. Reentrant: the same SQL may be running already. */
struct query {
        struct catalog *c;
        sqlite3_stmt *stmt;
        struct slot *slot; /* NULL: made for this use alone */
};
#define _cleanup_query_ _cleanup_(query_done)

/* Prepares and binds: one letter of `types` an argument: i int64_t, u uint64_t, d int, s const char
 * * as text, p const char * as bytes, b const void * and size_t. NULL pointers bind NULL. */
int query_open(
        struct query *q, struct catalog *c, struct err *e, const char *sql, const char *types, ...);
/* 1 a row is there, 0 no more, or -errno. */
int query_step(struct query *q, struct err *e);
void query_done(struct query *q);
/* Prepares, binds and runs to the end. Number of changed rows or -errno. */
int catalog_exec(struct catalog *c, struct err *e, const char *sql, const char *types, ...);

int64_t query_i64(const struct query *q, int column);
uint64_t query_u64(const struct query *q, int column); /* 0 for a negative number */
const char *query_text(
        const struct query *q, int column); /* terminated; "" for NULL; until the next step */

enum txn {
        TXN_LAZY,    /* on disk with the next durable one */
        TXN_DURABLE, /* on disk when txn_end() returns */
};
/* A write transaction. A lazy one joins an adder's that is open; a durable one commits that first.
 */
int txn_begin(struct catalog *c, enum txn kind, struct err *e);
/* Commits if q >= 0, else rolls back. Returns q, or why it could not be committed. */
int txn_end(struct catalog *c, int q, struct err *e);
/* The transaction of an adder. Neither end does anything where none is open. */
int bulk_begin(struct catalog *c, struct err *e);
int bulk_commit(struct catalog *c, struct err *e);
void bulk_roll_back(struct catalog *c);
/* One statement in a transaction of its own: as catalog_exec(). */
int catalog_write(
        struct catalog *c, enum txn kind, struct err *e, const char *sql, const char *types, ...);
/* Runs a statement that changes at most CATALOG_SLICE rows until it changes none, each time in a
 * transaction of its own. `row` is bound to ?1, `arg` to ?2. */
int catalog_slices(struct catalog *c, const char *sql, int64_t row, int64_t arg, struct err *e);

/* The short name of a description: ASCII lower-case letters and digits joined by '-', "archive" if
 * nothing is left. Latin letters lose their accents, other scripts are dropped. */
#define CATALOG_SLUG_MAX 52
void catalog_slug(const char *text, char out[CATALOG_SLUG_MAX]);

/* Row of an archive. -ENOENT in words. */
int catalog_row(struct catalog *c, const char *id, int64_t *ret, struct err *e);
int catalog_row_by_name(struct catalog *c, const char *name, int64_t *ret, struct err *e);
/* The archive with this row. */
int catalog_archive_by_row(
        struct catalog *c, int64_t row, struct catalog_archive *ret, struct err *e);

/* The table of an archive's columns, from which SQL, binding and reading are made. */
enum columns { COLUMNS_ADD = 0, COLUMNS_UPDATE = 1, COLUMNS_PROGRESS = 2 };
/* Makes the SQL of a connection. 0 or -ENOMEM. */
int columns_sql(struct catalog *c);
/* Binds the columns that a statement of this kind has, at ?2 and up, in the order of the table. */
int columns_bind(
        struct query *q, enum columns when, const struct catalog_archive *a, struct err *e);
/* The archive on whose row the query stands. */
int columns_read(const struct query *q, struct catalog_archive *ret, struct err *e);

/* Columns of a member, in the order that member_of() reads; `m` is the table. */
#define MEMBER_COLUMNS                                                                             \
        "m.row, m.parent, m.name, m.kind, m.mode, m.uid, m.gid, m.mtime, m.size, m.tar_offset, "   \
        "m.tar_len, m.sha512, m.link, m.ino"
/* Borrows from the row that the query stands on. */
void member_of(const struct query *q, struct catalog_member *ret);

/* Deeper trees than this are a circle, which only a damaged catalogue has. */
#define CATALOG_DEPTH_MAX 100000

/* Whole paths of members that come in an order in which neighbours share their folder, or some of
 * the folders above it. */
struct paths {
        struct buf text;
        struct path_level {
                int64_t folder; /* its row */
                size_t base;    /* length of its part, with the '/' */
        } * levels;             /* from the top to where we are */
        size_t depth, room;
};
void paths_done(struct paths *p);
/* Borrowed until the next call. */
int paths_of(struct catalog *c, struct paths *p, int64_t parent, const char *name, const char **ret,
        struct err *e);

/* Writes the hard links that were noted, LATER. txn_begin() does it before a durable transaction.
 */
int notes_flush(struct catalog *c, struct err *e);
void notes_free(struct notes *t);

/* SQL: whether the path `a` is the path `b`, or below it. Both are BLOBs. */
#define CATALOG_AT_OR_BELOW(a, b)                                                                  \
        "(" a " = " b " OR (substr(" a ", 1, length(" b ")) = " b " AND substr(" a ", length(" b   \
        ") + 1, 1) = x'2f'))"

/* Puts the members of a stored archive into the index by SHA-512; can be repeated. */
int catalog_sums_fill(struct catalog *c, int64_t archive, struct err *e);
/* Removes all members, and what the index has of them, in slices. */
int catalog_members_forget(struct catalog *c, int64_t archive, struct err *e);
