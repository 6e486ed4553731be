#include "catalog_internal.h"

#include "clock.h"

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
        bool stored = archive_is_stored(s);
        int q = catalog_write(c, TXN_DURABLE, e,
                "UPDATE archive SET state = ?2, error = ?3, retry_at = ?4, changed = ?5, "
                "stored = CASE WHEN ?6 AND stored = 0 THEN ?5 ELSE stored END WHERE id = ?1",
                "sdsiid", id, (int)s, error ? error : "", retry_at, clock_now(), (int)stored);
        return must_exist(q, id, e);
}

int catalog_archive_set_stored(
        struct catalog *c, const char *id, enum archive_state s, int64_t when, struct err *e)
{
        int q = catalog_write(c, TXN_DURABLE, e,
                "UPDATE archive SET state = ?2, error = '', retry_at = 0, changed = ?3, stored = "
                "?3 WHERE id = ?1 AND abort_wanted = 0",
                "sdi", id, (int)s, when);
        if (q == 0)
                return err_set(e, -ECANCELED, "taken back");
        return q < 0 ? q : 0;
}

int catalog_archive_set_store(
        struct catalog *c, const char *id, const char *url, const char *store_id, struct err *e)
{
        return must_exist(catalog_write(c, TXN_DURABLE, e,
                                  "UPDATE archive SET store_url = ?2, store_id = CASE WHEN ?3 = '' "
                                  "THEN store_id ELSE ?3 END WHERE id = ?1",
                                  "sss", id, url, store_id),
                id, e);
}

static int write_columns(struct catalog *c, const char *sql, int when,
        const struct catalog_archive *a, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, sql, "s", a->id);
        if (r == 0)
                r = columns_bind(&q, when, a, e);
        if (r == 0)
                r = query_step(&q, e);
        return r < 0 ? r : must_exist(sqlite3_changes(c->db), a->id, e);
}

int catalog_archive_update(struct catalog *c, const struct catalog_archive *a, struct err *e)
{
        int q = txn_begin(c, TXN_DURABLE, e);
        return q < 0 ? q : txn_end(c, write_columns(c, c->sql_update, COLUMNS_UPDATE, a, e), e);
}

int catalog_archive_abort_wanted(struct catalog *c, const char *id, bool *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, "SELECT abort_wanted FROM archive WHERE id = ?1", "s", id);
        if (r == 0)
                r = query_step(&q, e);
        if (r < 0)
                return r;
        *ret = r > 0 && query_i64(&q, 0) != 0;
        return 0;
}

int catalog_archive_progress(
        struct catalog *c, const struct catalog_archive *a, bool *ret_abort, struct err *e)
{
        int r = txn_begin(c, TXN_LAZY, e);
        if (r == 0)
                r = txn_end(c, write_columns(c, c->sql_progress, COLUMNS_PROGRESS, a, e), e);
        return r < 0 ? r : catalog_archive_abort_wanted(c, a->id, ret_abort, e);
}

int catalog_archive_sent(struct catalog *c, const char *id, uint64_t stored_bytes, uint64_t rate,
        bool *ret_abort, struct err *e)
{
        int r = catalog_write(c, TXN_LAZY, e,
                "UPDATE archive SET stored_bytes = ?2, rate = ?3 WHERE id = ?1 AND (stored_bytes "
                "!= ?2 OR rate != ?3)",
                "suu", id, stored_bytes, rate);
        return r < 0 ? r : catalog_archive_abort_wanted(c, id, ret_abort, e);
}

int catalog_archive_want_abort(struct catalog *c, const char *id, struct err *e)
{
        int q = catalog_write(c, TXN_DURABLE, e,
                "UPDATE archive SET abort_wanted = 1 WHERE id = ?1 AND state NOT IN (?2, ?3)",
                "sdd", id, (int)ARCHIVE_STORED, (int)ARCHIVE_INCOMPLETE);
        if (q == 0)
                return err_set(e, -EBUSY,
                        "it is stored already; autoglacier delete removes it from the store");
        return q < 0 ? q : 0;
}

int catalog_archive_set_runner(struct catalog *c, const char *id, int64_t pid, struct err *e)
{
        return must_exist(catalog_write(c, TXN_LAZY, e,
                                  "UPDATE archive SET runner = ?2 WHERE id = ?1", "si", id, pid),
                id, e);
}

int catalog_archive_set_description(
        struct catalog *c, const char *id, const char *text, struct err *e)
{
        return must_exist(catalog_write(c, TXN_DURABLE, e,
                                  "UPDATE archive SET description = ?2, changed = ?3 WHERE id = ?1",
                                  "ssi", id, text, clock_now()),
                id, e);
}

/* ---- adding ---- */

static int name_taken(struct catalog *c, const char *name, struct err *e)
{
        int64_t row = 0;
        struct err ignored = {0};
        int q = catalog_row_by_name(c, name, &row, &ignored);
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
                r = columns_bind(&q, COLUMNS_ADD, a, e);
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
        int q = txn_begin(c, TXN_DURABLE, e);
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
        if (q >= 0)
                q = catalog_exec(c, e, "DELETE FROM restore WHERE archive = ?1", "i", row);
        return q < 0 ? q : catalog_exec(c, e, "DELETE FROM archive WHERE row = ?1", "i", row);
}

int catalog_archive_remove(struct catalog *c, const char *id, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = catalog_members_forget(c, row, e);
        if (q == 0)
                q = txn_begin(c, TXN_DURABLE, e);
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
                q = txn_begin(c, TXN_DURABLE, e);
        if (q < 0)
                return q;
        q = forget_rest(c, row, e);
        if (q >= 0)
                q = catalog_exec(c, e,
                        "UPDATE archive SET packed = 0, n_files = 0, n_dirs = 0, n_links = 0, "
                        "n_hardlinks = 0, "
                        "bytes = 0, tar_bytes = 0, stored_bytes = 0, sealed_bytes = 0, sums_bytes "
                        "= 0, n_returned = "
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
                q = notes_flush(c, e);
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
