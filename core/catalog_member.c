#include "catalog_internal.h"

void member_of(const struct query *q, struct catalog_member *ret)
{
        sqlite3_stmt *s = q->stmt;
        bool sum = sqlite3_column_bytes(s, 11) == 64;
        *ret = (struct catalog_member){
                .row = query_i64(q, 0),
                .parent = query_i64(q, 1),
                .name = query_text(q, 2),
                .type = *query_text(q, 3),
                .mode = (uint32_t)query_i64(q, 4),
                .uid = (uint32_t)query_i64(q, 5),
                .gid = (uint32_t)query_i64(q, 6),
                .mtime = query_i64(q, 7),
                .size = query_u64(q, 8),
                .tar_offset = query_u64(q, 9),
                .tar_len = query_u64(q, 10),
                .sha512 = sum ? sqlite3_column_blob(s, 11) : NULL,
                .link = sqlite3_column_type(s, 12) == SQLITE_NULL ? NULL : query_text(q, 12),
                .ino = (uint64_t)query_i64(q, 13),
        };
}

/* ---- single members ---- */

/* Hands over the one row the query gives, with its whole path if `with_path`. */
static int one(struct query *q, const char *what, bool with_path, catalog_member_fn found,
        void *ctx, struct err *e)
{
        int r = query_step(q, e);
        if (r == 0)
                return err_set(e, -ENOENT, "the archive holds no %s", what);
        if (r < 0)
                return r;
        struct catalog_member m;
        member_of(q, &m);
        if (!with_path)
                return found(ctx, &m);
        _cleanup_free_ char *path = NULL;
        if ((r = catalog_member_path(q->c, m.row, &path, e)) < 0)
                return r;
        m.path = path;
        return found(ctx, &m);
}

static int lookup(struct catalog *c, int64_t archive, int64_t parent, const char *name, size_t len,
        const char *path, catalog_member_fn found, void *ctx, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT " MEMBER_COLUMNS
                " FROM member AS m WHERE archive = ?1 AND parent = ?2 AND name = ?3",
                "iib", archive, parent, name, len);
        if (r == 0)
                r = query_step(&q, e);
        if (r == 0)
                return err_set(e, -ENOENT, "the archive holds no %s", path);
        if (r < 0)
                return r;
        struct catalog_member m;
        member_of(&q, &m);
        m.path = path;
        return found(ctx, &m);
}

int catalog_member_lookup(struct catalog *c, const char *id, int64_t parent, const char *name,
        catalog_member_fn found, void *ctx, struct err *e)
{
        int64_t archive = 0;
        int q = catalog_row(c, id, &archive, e);
        return q < 0 ? q : lookup(c, archive, parent, name, strlen(name), name, found, ctx, e);
}

int catalog_member_by_row(
        struct catalog *c, int64_t row, catalog_member_fn found, void *ctx, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(
                &q, c, e, "SELECT " MEMBER_COLUMNS " FROM member AS m WHERE row = ?1", "i", row);
        return r < 0 ? r : one(&q, "such member", true, found, ctx, e);
}

static int take_row(void *ctx, const struct catalog_member *m)
{
        *(int64_t *)ctx = m->row;
        return 0;
}

int catalog_member_by_path(struct catalog *c, const char *id, const char *path,
        catalog_member_fn found, void *ctx, struct err *e)
{
        int64_t archive = 0, parent = 0;
        int q = catalog_row(c, id, &archive, e);
        const char *p = path;
        for (size_t n; q == 0 && p[n = strcspn(p, "/")]; p += n + 1)
                q = lookup(c, archive, parent, p, n, path, take_row, &parent, e);
        return q < 0 ? q : lookup(c, archive, parent, p, strlen(p), path, found, ctx, e);
}

int catalog_member_at(struct catalog *c, const char *id, uint64_t tar_offset,
        catalog_member_fn found, void *ctx, struct err *e)
{
        int64_t archive = 0;
        int r = catalog_row(c, id, &archive, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT " MEMBER_COLUMNS
                " FROM member AS m WHERE archive = ?1 AND tar_offset <= ?2 "
                "ORDER BY tar_offset DESC LIMIT 1",
                "iu", archive, tar_offset);
        return r < 0 ? r : one(&q, "member so early", true, found, ctx, e);
}

/* ---- many members ---- */

int catalog_member_children(struct catalog *c, const char *id, int64_t parent,
        catalog_member_fn each, void *ctx, struct err *e)
{
        int64_t archive = 0;
        int r = catalog_row(c, id, &archive, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT " MEMBER_COLUMNS
                " FROM member AS m WHERE archive = ?1 AND parent = ?2 ORDER BY name",
                "ii", archive, parent);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_member m;
                member_of(&q, &m);
                r = each(ctx, &m);
        }
        return r;
}

static int each_by_tar(
        struct catalog *c, int64_t archive, catalog_member_fn each, void *ctx, struct err *e)
{
        _cleanup_(paths_done) struct paths paths = {0};
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT " MEMBER_COLUMNS
                " FROM member AS m WHERE archive = ?1 AND tar_offset IS NOT NULL "
                "ORDER BY tar_offset, row",
                "i", archive);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_member m;
                member_of(&q, &m);
                r = paths_of(c, &paths, m.parent, m.name, &m.path, e);
                if (r == 0)
                        r = each(ctx, &m);
        }
        return r;
}

/* One query and one length of path for each level we are in: memory grows with depth alone. */
struct tree_walk {
        struct catalog *c;
        int64_t archive;
        struct buf path;
        struct tree_level {
                struct query query; /* kept for the next folder on this level */
                size_t base;
        } * levels;
        size_t depth, opened, room;
};

static void tree_walk_done(struct tree_walk *w)
{
        while (w->opened > 0)
                query_done(&w->levels[--w->opened].query);
        free(w->levels);
        buf_done(&w->path);
}

static int tree_level(struct tree_walk *w, struct tree_level **ret, struct err *e)
{
        if (w->depth > CATALOG_DEPTH_MAX)
                return err_set(e, -EPROTO, "the catalogue %s is damaged: a folder contains itself",
                        w->c->path);
        if (w->depth == w->room) {
                size_t room = MAX(w->room * 2, (size_t)16);
                struct tree_level *v = reallocarray(w->levels, room, sizeof *v);
                if (!v)
                        return err_oom(e);
                w->levels = v;
                w->room = room;
        }
        *ret = &w->levels[w->depth++];
        return 0;
}

static int tree_enter(struct tree_walk *w, int64_t folder, struct err *e)
{
        struct tree_level *l = NULL;
        int q = tree_level(w, &l, e);
        if (q < 0)
                return q;
        if (folder != 0)
                buf_addc(&w->path, '/');
        l->base = w->path.len;
        if (w->depth <= w->opened) {
                (void)sqlite3_reset(l->query.stmt); /* its end was seen */
                return sqlite3_bind_int64(l->query.stmt, 2, folder) == SQLITE_OK
                               ? 0
                               : catalog_fail(w->c, e);
        }
        w->opened++;
        return query_open(&l->query, w->c, e,
                "SELECT " MEMBER_COLUMNS
                " FROM member AS m WHERE archive = ?1 AND parent = ?2 ORDER BY name",
                "ii", w->archive, folder);
}

static int tree_next(
        struct tree_walk *w, struct tree_level *l, catalog_member_fn each, void *ctx, struct err *e)
{
        struct catalog_member m;
        member_of(&l->query, &m);
        w->path.len = MIN(w->path.len, l->base);
        buf_adds(&w->path, m.name);
        if (buf_oom(&w->path))
                return err_oom(e);
        m.path = buf_str(&w->path);
        int r = each(ctx, &m);
        return r == 0 && (m.type == 'd' || m.type == 'i') ? tree_enter(w, m.row, e) : r;
}

static int tree_run(
        struct tree_walk *w, int64_t folder, catalog_member_fn each, void *ctx, struct err *e)
{
        int r = tree_enter(w, folder, e);
        while (r == 0 && w->depth > 0) {
                struct tree_level *l = &w->levels[w->depth - 1];
                r = query_step(&l->query, e);
                if (r == 0)
                        w->depth--;
                else if (r > 0)
                        r = tree_next(w, l, each, ctx, e);
        }
        return r;
}

static int each_as_tree(
        struct catalog *c, int64_t archive, catalog_member_fn each, void *ctx, struct err *e)
{
        _cleanup_(tree_walk_done) struct tree_walk w = {.c = c, .archive = archive};
        return tree_run(&w, 0, each, ctx, e);
}

/* The first of a tree is handed over and remembered. */
struct top {
        catalog_member_fn each;
        void *ctx;
        int64_t row;
        bool folder;
};

static int take_top(void *ctx, const struct catalog_member *m)
{
        struct top *t = ctx;
        t->row = m->row;
        t->folder = m->type == 'd' || m->type == 'i';
        return t->each(t->ctx, m);
}

/* The folder of `path`, of which `n` bytes are its name. */
static int go_near(struct catalog *c, const char *id, const char *path, size_t n,
        struct catalog_near *near, struct err *e)
{
        if (near->path && strlen(near->path) == n && memcmp(near->path, path, n) == 0)
                return 0;
        char *folder = strndup(path, n);
        if (!folder)
                return err_oom(e);
        free(near->path);
        near->path = NULL;
        near->folder = 0;
        int q = catalog_row(c, id, &near->archive, e);
        if (q == 0 && n > 0)
                q = catalog_member_by_path(c, id, folder, take_row, &near->folder, e);
        if (q == 0)
                near->path = steal(folder);
        free(folder);
        return q;
}

int catalog_members_below(struct catalog *c, const char *id, const char *path,
        struct catalog_near *near, catalog_member_fn each, void *ctx, struct err *e)
{
        struct top t = {.each = each, .ctx = ctx};
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        int q = go_near(c, id, path, slash ? (size_t)(slash - path) : 0, near, e);
        if (q == 0)
                q = lookup(
                        c, near->archive, near->folder, name, strlen(name), path, take_top, &t, e);
        if (q != 0 || !t.folder)
                return q;
        _cleanup_(tree_walk_done) struct tree_walk w = {.c = c, .archive = near->archive};
        buf_adds(&w.path, path);
        return tree_run(&w, t.row, each, ctx, e);
}

int catalog_members_each(struct catalog *c, const char *id, enum catalog_order order,
        catalog_member_fn each, void *ctx, struct err *e)
{
        int64_t archive = 0;
        int q = catalog_row(c, id, &archive, e);
        if (q < 0)
                return q;
        return order == CATALOG_AS_TREE ? each_as_tree(c, archive, each, ctx, e)
                                        : each_by_tar(c, archive, each, ctx, e);
}
