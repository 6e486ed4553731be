#include "catalog_internal.h"

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

const char *catalog_archive_word(const struct catalog_archive *a)
{
        if (a->state == ARCHIVE_PREPARED)
                return archive_state_name(ARCHIVE_QUEUED);
        if (a->restoring == 0 || !archive_is_stored(a->state))
                return archive_state_name(a->state);
        return a->restoring == 1 ? "restoring" : "restored";
}

/* ---- the table of columns: SQL and reading are made from it ---- */

enum kind { TEXT, SIGNED, UNSIGNED, FLAG, INT };

/* clang-format off */
#define COLUMN(field, kind, when) {#field, kind, when, offsetof(struct catalog_archive, field)}
/* clang-format on */
static const struct column {
        const char *name;
        enum kind kind;
        int when; /* bits: which statement writes it besides the one that adds */
        size_t offset;
} columns[] = {
        COLUMN(id, TEXT, COLUMNS_ADD), COLUMN(name, TEXT, COLUMNS_ADD),
        COLUMN(description, TEXT, COLUMNS_ADD), COLUMN(state, INT, COLUMNS_ADD),
        COLUMN(created, SIGNED, COLUMNS_ADD), COLUMN(stored, SIGNED, COLUMNS_ADD),
        COLUMN(changed, SIGNED, COLUMNS_ADD), COLUMN(origin, TEXT, COLUMNS_ADD),
        COLUMN(config_file, TEXT, COLUMNS_ADD), COLUMN(store_url, TEXT, COLUMNS_ADD),
        COLUMN(store_id, TEXT, COLUMNS_ADD), COLUMN(storage_class, TEXT, COLUMNS_ADD),
        COLUMN(compression, TEXT, COLUMNS_ADD), COLUMN(level, INT, COLUMNS_ADD),
        COLUMN(volume_size, UNSIGNED, COLUMNS_ADD), COLUMN(recipients, TEXT, COLUMNS_ADD),
        COLUMN(keys_pem, TEXT, COLUMNS_ADD), COLUMN(mountpoint, TEXT, COLUMNS_ADD),
        COLUMN(spec, TEXT, COLUMNS_UPDATE), COLUMN(devices, TEXT, COLUMNS_UPDATE),
        COLUMN(boot_id, TEXT, COLUMNS_UPDATE), COLUMN(has_tree, FLAG, COLUMNS_UPDATE),
        COLUMN(synced, FLAG, COLUMNS_UPDATE), COLUMN(keep_tree, FLAG, COLUMNS_UPDATE),
        COLUMN(packed, FLAG, COLUMNS_UPDATE), COLUMN(released, FLAG, COLUMNS_UPDATE),
        COLUMN(n_files, UNSIGNED, COLUMNS_UPDATE), COLUMN(n_dirs, UNSIGNED, COLUMNS_UPDATE),
        COLUMN(n_links, UNSIGNED, COLUMNS_UPDATE), COLUMN(n_hardlinks, UNSIGNED, COLUMNS_UPDATE),
        COLUMN(bytes, UNSIGNED, COLUMNS_UPDATE), COLUMN(tar_bytes, UNSIGNED, COLUMNS_UPDATE),
        COLUMN(stored_bytes, UNSIGNED, COLUMNS_UPDATE | COLUMNS_PROGRESS),
        COLUMN(sealed_bytes, UNSIGNED, COLUMNS_UPDATE),
        COLUMN(sums_bytes, UNSIGNED, COLUMNS_UPDATE),
        COLUMN(n_warnings, UNSIGNED, COLUMNS_ADD), /* catalog_event() counts */
        COLUMN(n_returned, UNSIGNED, COLUMNS_UPDATE),
        COLUMN(todo_bytes, UNSIGNED, COLUMNS_UPDATE | COLUMNS_PROGRESS),
        COLUMN(read_bytes, UNSIGNED, COLUMNS_UPDATE | COLUMNS_PROGRESS),
        COLUMN(rate, UNSIGNED, COLUMNS_UPDATE | COLUMNS_PROGRESS),
        COLUMN(runner, SIGNED, COLUMNS_ADD), COLUMN(abort_wanted, FLAG, COLUMNS_ADD),
        COLUMN(error, TEXT, COLUMNS_ADD), COLUMN(retry_at, SIGNED, COLUMNS_ADD),
        COLUMN(restoring, INT, COLUMNS_ADD), /* catalog_restore_*() keep it */
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

static char *update_sql(enum columns when)
{
        struct buf b = BUF_INIT;
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
                if (columns[i].when & (int)when)
                        buf_addf(&b, "%s %s = ?%zu", b.len > 0 ? "," : "UPDATE archive SET",
                                columns[i].name, i + 2);
        buf_adds(&b, " WHERE id = ?1");
        return buf_steal(&b);
}

int columns_sql(struct catalog *c)
{
        c->sql_select = select_sql();
        c->sql_insert = insert_sql();
        c->sql_update = update_sql(COLUMNS_UPDATE);
        c->sql_progress = update_sql(COLUMNS_PROGRESS);
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

int columns_bind(struct query *q, enum columns when, const struct catalog_archive *a, struct err *e)
{
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
                if (when != COLUMNS_ADD && !(columns[i].when & (int)when))
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

int columns_read(const struct query *q, struct catalog_archive *ret, struct err *e)
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
