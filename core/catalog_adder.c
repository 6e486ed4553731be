#include "catalog_internal.h"

#include "clock.h"

#define SLICE_NS (200 * (CLOCK_NSEC / 1000))

/* A folder on the way to the member added last: where its path ends, and its row. */
struct level {
        size_t end;
        int64_t row;
};

struct catalog_adder {
        struct catalog *c;
        int64_t archive;
        struct buf last;      /* the folder part of the path added last */
        struct level *levels; /* one a component of it */
        size_t depth, room;
        unsigned pending; /* rows in the open transaction */
        int64_t began;
};

int catalog_adder_new(struct catalog *c, const char *id, struct catalog_adder **ret, struct err *e)
{
        int64_t archive;
        int q = catalog_row(c, id, &archive, e);
        if (q < 0)
                return q;
        struct catalog_adder *a = calloc(1, sizeof *a);
        if (!a)
                return err_oom(e);
        a->c = c;
        a->archive = archive;
        *ret = a;
        return 0;
}

void catalog_adder_free(struct catalog_adder *a)
{
        if (!a)
                return;
        if (a->pending > 0)
                bulk_roll_back(a->c);
        buf_done(&a->last);
        free(a->levels);
        free(a);
}

int catalog_adder_flush(struct catalog_adder *a, struct err *e)
{
        a->pending = 0;
        return bulk_commit(a->c, e);
}

/* ---- where a path belongs ---- */

static bool good_component(const char *s, size_t n)
{
        return n > 0 && !(n == 1 && s[0] == '.') && !(n == 2 && s[0] == '.' && s[1] == '.');
}

static int check_path(const char *path, struct err *e)
{
        if (!path)
                return err_set(e, -EINVAL, "a member needs a path");
        for (const char *p = path;;) {
                size_t n = strcspn(p, "/");
                if (!good_component(p, n))
                        return err_set(e, -EINVAL, "%s is not a path inside an archive", path);
                if (!p[n])
                        return 0;
                p += n + 1;
        }
}

/* How many levels of the last path this one shares. */
static size_t shared(const struct catalog_adder *a, const char *path, size_t len)
{
        size_t n = 0;
        while (n < a->depth && a->levels[n].end <= len && path[a->levels[n].end] == '/' &&
                memcmp(path, a->last.data, a->levels[n].end) == 0)
                n++;
        return n;
}

static int find_folder(struct catalog_adder *a, int64_t parent, const char *path, size_t start,
        size_t end, int64_t *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, a->c, e,
                "SELECT row, kind FROM member WHERE archive = ?1 AND parent = ?2 AND name = ?3",
                "iib", a->archive, parent, path + start, end - start);
        if (r == 0)
                r = query_step(&q, e);
        if (r <= 0)
                return r;
        char kind = *query_text(&q, 1);
        if (kind != 'd' && kind != 'i')
                return err_set(e, -EPROTO, "%s lies below %.*s, which is not a folder", path,
                        (int)end, path);
        *ret = query_i64(&q, 0);
        return 1;
}

static int imply_folder(struct catalog_adder *a, int64_t parent, const char *name, size_t len,
        int64_t *ret, struct err *e)
{
        int q = catalog_exec(a->c, e,
                "INSERT INTO member (archive, parent, name, kind, mode, uid, gid, mtime, size, "
                "tar_len) VALUES (?1, ?2, ?3, 'i', 493, 0, 0, 0, 0, 0)",
                "iib", a->archive, parent, name, len);
        if (q < 0)
                return q;
        *ret = sqlite3_last_insert_rowid(a->c->db);
        return 0;
}

static int push(struct catalog_adder *a, size_t end, int64_t row, struct err *e)
{
        if (a->depth == a->room) {
                size_t room = MAX(a->room * 2, (size_t)16);
                struct level *v = reallocarray(a->levels, room, sizeof *v);
                if (!v)
                        return err_oom(e);
                a->levels = v;
                a->room = room;
        }
        a->levels[a->depth++] = (struct level){.end = end, .row = row};
        return 0;
}

/* Row of the folder of `path`; members come folder by folder, so most of the way is known. */
static int parent_of(struct catalog_adder *a, const char *path, const char **ret_name, int64_t *ret,
        struct err *e)
{
        const char *slash = strrchr(path, '/');
        size_t len = slash ? (size_t)(slash - path) : 0;
        a->depth = shared(a, path, len);
        size_t start = a->depth > 0 ? a->levels[a->depth - 1].end + 1 : 0;
        int64_t row = a->depth > 0 ? a->levels[a->depth - 1].row : 0;
        while (start < len) {
                size_t end = start + strcspn(path + start, "/");
                int64_t next = 0;
                int q = find_folder(a, row, path, start, end, &next, e);
                if (q == 0)
                        q = imply_folder(a, row, path + start, end - start, &next, e);
                if (q >= 0)
                        q = push(a, end, next, e);
                if (q < 0)
                        return q;
                row = next;
                start = end + 1;
        }
        buf_reset(&a->last);
        buf_add(&a->last, path, len);
        *ret_name = slash ? slash + 1 : path;
        *ret = row;
        return buf_oom(&a->last) ? err_oom(e) : 0;
}

/* ---- adding ---- */

/* The row stays when a path comes again: it is an inode number, and children may hang on it. The
 * later member counts, in whatever order they come. */
static const char upsert[] =
        "INSERT INTO member (archive, parent, name, kind, mode, uid, gid, mtime, size, "
        "tar_offset, tar_len, sha512, link, ino) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, nullif(?14, 0)) "
        "ON CONFLICT (archive, parent, name) "
        "DO UPDATE SET kind = excluded.kind, mode = excluded.mode, uid = excluded.uid, "
        "gid = excluded.gid, mtime = excluded.mtime, size = excluded.size, "
        "tar_offset = excluded.tar_offset, tar_len = excluded.tar_len, sha512 = excluded.sha512, "
        "link = excluded.link, ino = excluded.ino "
        "WHERE tar_offset IS NULL OR excluded.tar_offset >= tar_offset";

static int put(struct catalog_adder *a, const struct catalog_member *m, struct err *e)
{
        const char *name = NULL;
        int64_t parent = 0;
        int q = parent_of(a, m->path, &name, &parent, e);
        if (q < 0)
                return q;
        char kind[2] = {m->type, 0};
        q = catalog_exec(a->c, e, upsert, "iipsiiiiuuubpi", a->archive, parent, name, kind,
                (int64_t)m->mode, (int64_t)m->uid, (int64_t)m->gid, m->mtime, m->size,
                m->tar_offset, m->tar_len, m->sha512, (size_t)64, m->link, (int64_t)m->ino);
        return q < 0 ? q : 0;
}

static bool slice_is_full(const struct catalog_adder *a)
{
        return a->pending >= CATALOG_SLICE || clock_monotonic() - a->began > SLICE_NS;
}

int catalog_adder_add(struct catalog_adder *a, const struct catalog_member *m, struct err *e)
{
        int q = check_path(m->path, e);
        if (q == 0 && (!m->type || !strchr("fdlhi", m->type)))
                q = err_set(e, -EINVAL, "%s: members are of type f, d, l, h or i", m->path);
        if (q == 0 && !a->c->bulk) { /* also when somebody's durable row ended ours */
                q = bulk_begin(a->c, e);
                a->pending = 0;
                a->began = clock_monotonic();
        }
        if (q < 0 || (q = put(a, m, e)) < 0)
                return q;
        a->pending++;
        return slice_is_full(a) ? catalog_adder_flush(a, e) : 0;
}

/* Touches the archive's row too: a transaction that changes nothing would leave the slices before
 * it unsynced. */
static int forget_links(struct catalog *c, int64_t row, int64_t at, struct err *e)
{
        int q = catalog_exec(c, e, "DELETE FROM hardlink WHERE archive = ?1 AND tar_offset >= ?2",
                "ii", row, at);
        return q < 0 ? q
                     : catalog_exec(c, e, "UPDATE archive SET changed = changed WHERE row = ?1",
                               "i", row);
}

int catalog_members_cut(struct catalog *c, const char *id, uint64_t tar_offset, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q < 0)
                return q;
        int64_t at = (int64_t)MIN(tar_offset, (uint64_t)INT64_MAX);
        /* From the end: what is left after a crash is a beginning. */
        q = catalog_slices(c,
                "DELETE FROM member WHERE row IN (SELECT row FROM member WHERE archive = ?1 AND "
                "tar_offset >= ?2 "
                "ORDER BY tar_offset DESC LIMIT 4000)",
                row, at, e);
        if (q == 0) /* folders that only stood for what is gone */
                q = catalog_slices(c,
                        "DELETE FROM member WHERE row IN (SELECT row FROM member AS m "
                        "WHERE archive = ?1 AND kind = 'i' AND NOT EXISTS "
                        "(SELECT 1 FROM member AS k WHERE k.archive = ?1 AND k.parent = m.row) "
                        "LIMIT 4000) AND ?2 >= 0",
                        row, at, e);
        if (q == 0)
                q = txn_begin(c, TXN_DURABLE, e);
        if (q == 0)
                q = txn_end(c, forget_links(c, row, at, e), e);
        return q < 0 ? q : 0;
}

int catalog_members_drop_unread(struct catalog *c, const char *id, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = catalog_write(c, TXN_LAZY, e,
                        "DELETE FROM member WHERE archive = ?1 AND kind = 'f' AND sha512 IS NULL",
                        "i", row);
        return q < 0 ? q : 0;
}
