#include "catalog_internal.h"

static void copy_bytes(const struct query *q, int column, uint8_t *ret, size_t len)
{
        if (sqlite3_column_bytes(q->stmt, column) == (int)len)
                memcpy(ret, sqlite3_column_blob(q->stmt, column), len);
}

/* ---- volumes ---- */

static int begin_volume(struct catalog *c, int64_t row, unsigned number, const char *object,
        uint64_t tar_start, struct err *e)
{
        static const char *const unfinished[] = {
                "DELETE FROM block WHERE archive = ?1 AND volume IN "
                "(SELECT number FROM volume WHERE archive = ?1 AND number >= ?2 AND NOT done)",
                "DELETE FROM part WHERE archive = ?1 AND volume IN "
                "(SELECT number FROM volume WHERE archive = ?1 AND number >= ?2 AND NOT done)",
                "DELETE FROM volume WHERE archive = ?1 AND number >= ?2 AND NOT done",
        };
        int q = 0;
        for (size_t i = 0; q >= 0 && i < ARRAY_SIZE(unfinished); i++)
                q = catalog_exec(c, e, unfinished[i], "ii", row, (int64_t)number);
        return q < 0 ? q
                     : catalog_exec(c, e,
                               "INSERT INTO volume (archive, number, object, done, tar_start, "
                               "tar_end, plain_size, size, tree_hash, message_id) VALUES (?1, ?2, "
                               "?3, 0, ?4, ?4, 0, 0, zeroblob(32), zeroblob(32))",
                               "iisu", row, (int64_t)number, object, tar_start);
}

int catalog_volume_begin(struct catalog *c, const char *id, unsigned number, const char *object,
        uint64_t tar_start, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = txn_begin(c, TXN_DURABLE, e);
        if (q == 0)
                q = txn_end(c, begin_volume(c, row, number, object, tar_start, e), e);
        if (q == -EEXIST)
                return err_set(e, q, "volume %u of %s is finished already", number, id);
        return q < 0 ? q : 0;
}

static int write_volume(
        struct catalog *c, const char *id, const struct catalog_volume *v, bool done, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q < 0)
                return q;
        q = catalog_write(c, TXN_DURABLE, e,
                "INSERT INTO volume (archive, number, object, done, tar_start, tar_end, "
                "plain_size, size, tree_hash, message_id, packed) "
                "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "
                "ON CONFLICT (archive, number) DO UPDATE SET object = excluded.object, "
                "done = excluded.done, tar_start = excluded.tar_start, tar_end = excluded.tar_end, "
                "plain_size = excluded.plain_size, size = excluded.size, "
                "tree_hash = excluded.tree_hash, message_id = excluded.message_id, "
                "packed = excluded.packed, upload = CASE WHEN excluded.done THEN '' ELSE upload "
                "END",
                "iisduuuubbd", row, (int64_t)v->number, v->object, (int)done, v->tar_start,
                v->tar_end, v->plain_size, v->size, v->tree_hash, sizeof v->tree_hash,
                v->message_id, sizeof v->message_id, (int)!done);
        return q < 0 ? q : 0;
}

int catalog_volume_done(
        struct catalog *c, const char *id, const struct catalog_volume *v, struct err *e)
{
        return write_volume(c, id, v, true, e);
}

int catalog_volume_packed(
        struct catalog *c, const char *id, const struct catalog_volume *v, struct err *e)
{
        return write_volume(c, id, v, false, e);
}

static int rewind_volumes(struct catalog *c, int64_t row, unsigned number, struct err *e)
{
        int q = catalog_exec(c, e,
                "UPDATE volume SET packed = 0 WHERE archive = ?1 AND number >= ?2 AND NOT done",
                "ii", row, (int64_t)number);
        return q < 0 ? q
                     : catalog_exec(c, e, "UPDATE archive SET packed = 0 WHERE row = ?1", "i", row);
}

int catalog_volumes_rewind(struct catalog *c, const char *id, unsigned number, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = txn_begin(c, TXN_DURABLE, e);
        if (q == 0)
                q = txn_end(c, rewind_volumes(c, row, number, e), e);
        return q < 0 ? q : 0;
}

static void read_volume(const struct query *q, struct catalog_volume *v)
{
        *v = (struct catalog_volume){
                .number = (unsigned)query_i64(q, 0),
                .done = query_i64(q, 2) != 0,
                .tar_start = query_u64(q, 3),
                .tar_end = query_u64(q, 4),
                .plain_size = query_u64(q, 5),
                .size = query_u64(q, 6),
                .packed = query_i64(q, 9) != 0,
        };
        (void)snprintf(
                v->object, sizeof v->object, "%s", query_text(q, 1)); /* came from such an array */
        copy_bytes(q, 7, v->tree_hash, sizeof v->tree_hash);
        copy_bytes(q, 8, v->message_id, sizeof v->message_id);
}

int catalog_volumes(struct catalog *c, const char *id, struct catalog_volume **ret, size_t *ret_n,
        struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n = 0;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT number, object, done, tar_start, tar_end, plain_size, size, tree_hash, "
                "message_id, packed "
                "FROM volume WHERE archive = ?1 ORDER BY number",
                "i", row);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_volume *more = reallocarray(v, n + 1, sizeof *v);
                if (!more)
                        return err_oom(e);
                v = more;
                read_volume(&q, &v[n++]);
                r = 0;
        }
        if (r < 0)
                return r;
        *ret = steal(v);
        *ret_n = n;
        return 0;
}

/* ---- blocks ---- */

int catalog_block_add(
        struct catalog *c, const char *id, const struct catalog_block *b, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q < 0)
                return q;
        q = catalog_write(c, TXN_LAZY, e,
                "INSERT OR REPLACE INTO block VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", "iuiiiui", row,
                b->tar_offset, (int64_t)b->tar_len, (int64_t)b->volume, (int64_t)b->number,
                b->plain_offset, (int64_t)b->plain_len);
        return q < 0 ? q : 0;
}

int catalog_blocks(struct catalog *c, const char *id, uint64_t tar_offset, uint64_t len,
        int (*each)(void *ctx, const struct catalog_block *b), void *ctx, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        uint64_t end = len > UINT64_MAX - tar_offset ? UINT64_MAX : tar_offset + len;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT volume, number, tar_offset, plain_offset, tar_len, plain_len "
                "FROM block WHERE archive = ?1 AND tar_offset >= coalesce((SELECT max(tar_offset) "
                "FROM block WHERE archive = ?1 AND tar_offset <= ?2), 0) "
                "AND tar_offset < ?3 ORDER BY tar_offset",
                "iuu", row, tar_offset, end);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_block b = {
                        .volume = (unsigned)query_i64(&q, 0),
                        .number = (unsigned)query_i64(&q, 1),
                        .tar_offset = query_u64(&q, 2),
                        .plain_offset = query_u64(&q, 3),
                        .tar_len = (uint32_t)query_u64(&q, 4),
                        .plain_len = (uint32_t)query_u64(&q, 5),
                };
                r = b.tar_offset + b.tar_len > tar_offset ? each(ctx, &b) : 0;
        }
        return r;
}

/* ---- parts ---- */

static int add_part(struct catalog *c, const char *id, const struct catalog_part *p,
        const uint8_t *sha256, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q < 0)
                return q;
        q = catalog_write(c, sha256 != NULL, e,
                "INSERT OR REPLACE INTO part (archive, volume, number, start, size, tree_hash, "
                "sha256) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                "iiiuubb", row, (int64_t)p->volume, (int64_t)p->number, p->offset, p->size,
                p->tree_hash, sizeof p->tree_hash, sha256, sizeof p->sha256);
        return q < 0 ? q : 0;
}

int catalog_part_add(struct catalog *c, const char *id, const struct catalog_part *p, struct err *e)
{
        return add_part(c, id, p, NULL, e);
}

int catalog_part_spooled(
        struct catalog *c, const char *id, const struct catalog_part *p, struct err *e)
{
        return add_part(c, id, p, p->sha256, e);
}

int catalog_part_sent(
        struct catalog *c, const char *id, unsigned volume, unsigned number, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q < 0)
                return q;
        q = catalog_write(c, TXN_LAZY, e,
                "UPDATE part SET sent = 1 WHERE archive = ?1 AND volume = ?2 AND number = ?3",
                "iii", row, (int64_t)volume, (int64_t)number);
        return q < 0 ? q : 0;
}

static void read_part(const struct query *q, unsigned volume, struct catalog_part *p)
{
        *p = (struct catalog_part){
                .volume = volume,
                .number = (unsigned)query_i64(q, 0),
                .offset = query_u64(q, 1),
                .size = query_u64(q, 2),
                .sent = query_i64(q, 5) != 0,
        };
        copy_bytes(q, 3, p->tree_hash, sizeof p->tree_hash);
        copy_bytes(q, 4, p->sha256, sizeof p->sha256);
}

int catalog_parts(struct catalog *c, const char *id, unsigned volume,
        int (*each)(void *ctx, const struct catalog_part *p), void *ctx, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT number, start, size, tree_hash, sha256, sent FROM part WHERE archive = ?1 "
                "AND volume = ?2 ORDER BY number",
                "ii", row, (int64_t)volume);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_part p;
                read_part(&q, volume, &p);
                r = each(ctx, &p);
        }
        return r;
}

/* ---- uploads ---- */

static int set_upload(
        struct catalog *c, int64_t row, unsigned number, const char *token, struct err *e)
{
        int q = catalog_exec(c, e,
                "UPDATE volume SET upload = ?3 WHERE archive = ?1 AND number = ?2", "iis", row,
                (int64_t)number, token);
        return q < 0 ? q
                     : catalog_exec(c, e,
                               "UPDATE part SET sent = 0 WHERE archive = ?1 AND volume = ?2", "ii",
                               row, (int64_t)number);
}

int catalog_volume_set_upload(
        struct catalog *c, const char *id, unsigned number, const char *token, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = txn_begin(c, TXN_DURABLE, e);
        if (q == 0)
                q = txn_end(c, set_upload(c, row, number, token, e), e);
        return q < 0 ? q : 0;
}

int catalog_volume_upload(
        struct catalog *c, const char *id, unsigned number, char **ret, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e, "SELECT upload FROM volume WHERE archive = ?1 AND number = ?2",
                "ii", row, (int64_t)number);
        if (r == 0)
                r = query_step(&q, e);
        if (r < 0)
                return r;
        char *token = strdup(r > 0 ? query_text(&q, 0) : "");
        if (!token)
                return err_oom(e);
        *ret = token;
        return 0;
}

static int exists(struct query *q, int opened, bool *ret, struct err *e)
{
        int r = opened == 0 ? query_step(q, e) : opened;
        if (r < 0)
                return r;
        *ret = r > 0;
        return 0;
}

int catalog_object_wanted(struct catalog *c, const char *object, bool *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(
                &q, c, e, "SELECT 1 FROM volume WHERE object = ?1 AND upload != '-'", "s", object);
        return exists(&q, r, ret, e);
}

int catalog_upload_wanted(
        struct catalog *c, const char *object, const char *token, bool *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT 1 FROM volume WHERE object = ?1 AND NOT done AND upload IN ('', ?2)", "ss",
                object, token);
        return exists(&q, r, ret, e);
}
