#include "catalog_version.h"

#include "catalog_internal.h"

#include <inttypes.h>

/* ---- ranges ---- */

static int add_range(struct catalog *c, int64_t row, const struct catalog_range *r, struct err *e)
{
        int q = catalog_exec(c, e,
                "INSERT INTO unchanged (archive, at, base, first, last) "
                "VALUES (?1, ?2, ?3, ?4, ?5)",
                "iusuu", row, r->at, r->base, r->first, r->last);
        return q < 0 ? q : 0;
}

int catalog_unchanged_add(
        struct catalog *c, const char *id, const struct catalog_range *r, size_t n, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = txn_begin(c, TXN_LAZY, e);
        if (q < 0)
                return q;
        for (size_t i = 0; q == 0 && i < n; i++)
                q = add_range(c, row, &r[i], e);
        return txn_end(c, q, e);
}

int catalog_unchanged_cut(struct catalog *c, const char *id, uint64_t at, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = catalog_write(c, TXN_LAZY, e,
                        "DELETE FROM unchanged WHERE archive = ?1 AND at >= ?2", "iu", row, at);
        return q < 0 ? q : 0;
}

int catalog_ranges_each(struct catalog *c, const char *id,
        int (*each)(void *ctx, const struct catalog_range *r), void *ctx, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT at, base, first, last FROM unchanged WHERE archive = ?1 ORDER BY row", "i",
                row);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                const struct catalog_range g = {.at = query_u64(&q, 0),
                        .base = query_text(&q, 1),
                        .first = query_u64(&q, 2),
                        .last = query_u64(&q, 3)};
                r = each(ctx, &g);
        }
        return r;
}

int catalog_unchanged_each(
        struct catalog *c, const char *id, catalog_unchanged_fn each, void *ctx, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_(paths_done) struct paths paths = {0};
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT " MEMBER_COLUMNS
                ", u.base FROM unchanged AS u CROSS JOIN archive AS b ON b.id = u.base CROSS JOIN "
                "member AS m INDEXED BY member_tar ON m.archive = b.row AND m.tar_offset BETWEEN "
                "u.first AND u.last WHERE u.archive = ?1 ORDER BY u.row, m.tar_offset",
                "i", row);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_member m;
                member_of(&q, &m);
                r = paths_of(c, &paths, m.parent, m.name, &m.path, e);
                if (r == 0)
                        r = each(ctx, query_text(&q, 14), &m);
        }
        return r;
}

int catalog_bases_each(struct catalog *c, const char *id,
        int (*each)(void *ctx, const char *base, const char *name, uint64_t files), void *ctx,
        struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT u.base, b.name, count(m.row) FROM unchanged AS u "
                "LEFT JOIN archive AS b ON b.id = u.base "
                "LEFT JOIN member AS m INDEXED BY member_tar ON m.archive = b.row "
                "AND m.tar_offset BETWEEN u.first AND u.last AND m.kind IN ('f', 'h') "
                "WHERE u.archive = ?1 GROUP BY u.base ORDER BY u.base",
                "i", row);
        while (r == 0 && (r = query_step(&q, e)) > 0)
                r = each(ctx, query_text(&q, 0), query_text(&q, 1), query_u64(&q, 2));
        return r;
}

int catalog_has_unchanged(struct catalog *c, const char *id, bool *ret, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT 1 FROM unchanged WHERE archive = (SELECT row FROM archive WHERE id = ?1) "
                "LIMIT 1",
                "s", id);
        if (r == 0)
                r = query_step(&q, e);
        if (r < 0)
                return r;
        *ret = r > 0;
        return 0;
}

int catalog_unchanged_check(struct catalog *c, const char *id, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT u.base FROM unchanged AS u WHERE u.archive = ?1 AND NOT EXISTS (SELECT 1 "
                "FROM archive AS a WHERE a.id = u.base AND a.state IN (?2, ?3)) LIMIT 1",
                "idd", row, (int)ARCHIVE_STORED, (int)ARCHIVE_INCOMPLETE);
        if (r == 0 && (r = query_step(&q, e)) > 0)
                r = err_set(e, -ENODATA,
                        "the archive %s, which holds what has not changed, is not stored any more",
                        query_text(&q, 0));
        return r;
}

/* ---- the state of a folder: own members, and those left in others ---- */

/* An archive in which the folder, or the name, is looked for. */
struct layer {
        int64_t archive;
        char *base; /* id */
};

struct layers {
        struct layer *v;
        size_t n;
};

static void layers_done(struct layers *l)
{
        for (size_t i = 0; i < l->n; i++)
                free(l->v[i].base);
        free(l->v);
}

static int add_layer(struct layers *l, int64_t archive, const char *base, struct err *e)
{
        struct layer *v = reallocarray(l->v, l->n + 1, sizeof *v);
        if (!v)
                return err_oom(e);
        l->v = v;
        v[l->n] = (struct layer){archive, strdup(base)};
        return v[l->n++].base ? 0 : err_oom(e);
}

/* The archive itself comes first: what it holds is newer. */
static int find_layers(
        struct catalog *c, const char *id, int64_t row, struct layers *ret, struct err *e)
{
        int r = add_layer(ret, row, id, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT DISTINCT b.row, b.id FROM unchanged AS u "
                "JOIN archive AS b ON b.id = u.base WHERE u.archive = ?1 ORDER BY b.row DESC",
                "i", row);
        while (r == 0 && (r = query_step(&q, e)) > 0)
                r = add_layer(ret, query_i64(&q, 0), query_text(&q, 1), e);
        return r;
}

/* Members of ?1 in folder ?2 that count in the state of ?3, and implied folders on the way to some.
 */
#define IN_STATE                                                                                   \
        "(m.archive = ?3 OR m.kind = 'i' OR (SELECT u.last FROM unchanged AS u WHERE u.archive = " \
        "?3 AND u.base = ?4 AND u.first <= m.tar_offset ORDER BY u.first DESC LIMIT 1) >= "        \
        "m.tar_offset)"

static int folder_row(struct catalog *c, int64_t archive, const char *path, size_t len,
        int64_t *ret, struct err *e)
{
        int64_t parent = 0;
        for (size_t at = 0; at < len;) {
                size_t n = strcspn(path + at, "/");
                n = MIN(n, len - at);
                _cleanup_query_ struct query q = {0};
                int r = query_open(&q, c, e,
                        "SELECT row FROM member WHERE archive = ?1 AND parent = ?2 AND name = ?3",
                        "iib", archive, parent, path + at, n);
                if (r == 0)
                        r = query_step(&q, e);
                if (r <= 0)
                        return r;
                parent = query_i64(&q, 0);
                at += n + 1;
        }
        *ret = parent;
        return 1;
}

struct state {
        struct catalog *c;
        const char *id;
        int64_t row;
        struct layers layers;
        catalog_unchanged_fn each;
        void *ctx;
        struct err *e;
};

static int state_of(struct state *s)
{
        int q = catalog_row(s->c, s->id, &s->row, s->e);
        return q < 0 ? q : find_layers(s->c, s->id, s->row, &s->layers, s->e);
}

/* Whether a layer before this one shows the name; an implied folder gives way to a real one. */
static int is_shown(struct state *s, size_t layer, const char *path, size_t path_len,
        const struct catalog_member *m)
{
        for (size_t i = 0; i < s->layers.n; i++) {
                if (i == layer)
                        continue;
                int64_t folder = 0;
                int r = folder_row(s->c, s->layers.v[i].archive, path, path_len, &folder, s->e);
                if (r <= 0) {
                        if (r < 0)
                                return r;
                        continue;
                }
                _cleanup_query_ struct query q = {0};
                r = query_open(&q, s->c, s->e,
                        "SELECT m.kind FROM member AS m WHERE m.archive = ?1 AND m.parent = ?2 "
                        "AND " IN_STATE " AND m.name = ?5",
                        "iiisp", s->layers.v[i].archive, folder, s->row, s->layers.v[i].base,
                        m->name);
                if (r == 0)
                        r = query_step(&q, s->e);
                if (r < 0)
                        return r;
                bool real = r > 0 && *query_text(&q, 0) != 'i';
                if (r > 0 && (real ? m->type == 'i' || i < layer : m->type == 'i' && i < layer))
                        return 1;
        }
        return 0;
}

static int layer_children(struct state *s, size_t layer, const char *path)
{
        const struct layer *l = &s->layers.v[layer];
        int64_t folder = 0;
        int r = folder_row(s->c, l->archive, path, strlen(path), &folder, s->e);
        if (r <= 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, s->c, s->e,
                "SELECT " MEMBER_COLUMNS
                " FROM member AS m WHERE m.archive = ?1 AND m.parent = ?2 AND " IN_STATE,
                "iiis", l->archive, folder, s->row, l->base);
        while (r == 0 && (r = query_step(&q, s->e)) > 0) {
                struct catalog_member m;
                member_of(&q, &m);
                r = s->layers.n > 1 ? is_shown(s, layer, path, strlen(path), &m) : 0;
                if (r == 0)
                        r = s->each(s->ctx, l->base, &m);
                else if (r > 0)
                        r = 0;
        }
        return r;
}

int catalog_state_children(struct catalog *c, const char *id, const char *path,
        catalog_unchanged_fn each, void *ctx, struct err *e)
{
        struct state s = {.c = c, .id = id, .each = each, .ctx = ctx, .e = e};
        int q = state_of(&s);
        for (size_t i = 0; q == 0 && i < s.layers.n; i++)
                q = layer_children(&s, i, path);
        layers_done(&s.layers);
        return q;
}

static int layer_lookup(struct state *s, size_t layer, const char *path, bool implied)
{
        const struct layer *l = &s->layers.v[layer];
        const char *slash = strrchr(path, '/');
        size_t len = slash ? (size_t)(slash - path) : 0;
        int64_t folder = 0;
        int r = folder_row(s->c, l->archive, path, len, &folder, s->e);
        if (r <= 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, s->c, s->e,
                "SELECT " MEMBER_COLUMNS
                " FROM member AS m WHERE m.archive = ?1 AND m.parent = ?2 AND " IN_STATE
                " AND m.name = ?5 AND (m.kind = 'i') = ?6",
                "iiispd", l->archive, folder, s->row, l->base, slash ? slash + 1 : path,
                (int)implied);
        if (r == 0)
                r = query_step(&q, s->e);
        if (r <= 0)
                return r;
        struct catalog_member m;
        member_of(&q, &m);
        m.path = path;
        r = s->each(s->ctx, l->base, &m);
        return r < 0 ? r : 1;
}

int catalog_state_lookup(struct catalog *c, const char *id, const char *path,
        catalog_unchanged_fn found, void *ctx, struct err *e)
{
        struct state s = {.c = c, .id = id, .each = found, .ctx = ctx, .e = e};
        int q = state_of(&s);
        for (size_t i = 0; q == 0 && i < 2 * s.layers.n; i++)
                q = layer_lookup(&s, i % s.layers.n, path, i >= s.layers.n);
        layers_done(&s.layers);
        if (q == 0)
                return err_set(e, -ENOENT, "the archive holds no %s", path);
        return q < 0 ? q : 0;
}
