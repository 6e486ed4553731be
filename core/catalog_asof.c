#include "catalog_version.h"

#include "catalog_internal.h"

/* The state is collected in a temporary table: it does not grow in memory, and nobody waits for it.
 */
static const char tables[] =
        "CREATE TEMP TABLE IF NOT EXISTS asof (path BLOB PRIMARY KEY, base TEXT NOT NULL, "
        "tar_offset "
        "INTEGER NOT NULL, member INTEGER NOT NULL) WITHOUT ROWID;"
        "CREATE TEMP TABLE IF NOT EXISTS asof_missed (chain TEXT, path BLOB, PRIMARY KEY (chain, "
        "path)) WITHOUT ROWID;"
        "DELETE FROM temp.asof; DELETE FROM temp.asof_missed;";

struct archives {
        struct entry {
                char *id;
                int64_t created;
        } * v;
        size_t n;
        int64_t when;
        bool oom;
};

struct collect {
        struct catalog *c;
        const char *const *paths;
        struct archives archives;
        char **chains; /* of which the newest state has been seen */
        size_t n_chains;
        struct buf roots; /* of newer archives: each its id and a root, each ended by a zero byte */
        const char *id;   /* of the archive that is looked at */
        const char *chain; /* its chain, where only what was missed is wanted */
        struct err *e;
};

static void collect_done(struct collect *k)
{
        for (size_t i = 0; i < k->archives.n; i++)
                free(k->archives.v[i].id);
        for (size_t i = 0; i < k->n_chains; i++)
                free(k->chains[i]);
        free(k->archives.v);
        free(k->chains);
        buf_done(&k->roots);
}

static int note_archive(void *ctx, const struct catalog_archive *a)
{
        struct archives *l = ctx;
        if (!archive_is_stored(a->state) || a->created > l->when)
                return 0;
        struct entry *v = reallocarray(l->v, l->n + 1, sizeof *v);
        if (!v)
                return -ENOMEM;
        l->v = v;
        v[l->n] = (struct entry){strdup(a->id), a->created};
        return v[l->n++].id ? 0 : -ENOMEM;
}

/* Newest first, by the time at which they were made. */
static int by_time(const void *a, const void *b)
{
        const struct entry *x = a, *y = b;
        int order = (x->created < y->created) - (x->created > y->created);
        return order ? order : strcmp(y->id, x->id);
}

static bool asked_for(const struct collect *k, const char *path)
{
        for (size_t i = 0; k->paths[i]; i++)
                if (path_below(path, k->paths[i]))
                        return true;
        return false;
}

/* A newer archive has looked there: what it does not have was gone. 1, 0, -errno. */
static int is_gone(struct collect *k, const char *path)
{
        for (size_t at = 0; at < k->roots.len;) {
                const char *id = k->roots.data + at, *root = id + strlen(id) + 1;
                at += strlen(id) + strlen(root) + 2;
                bool missed = false;
                if (!path_below(path, root + (*root == '/')))
                        continue;
                int q = catalog_is_missed(k->c, id, path, &missed, k->e);
                if (q < 0 || !missed)
                        return q < 0 ? q : 1;
        }
        return 0;
}

static int keep(struct collect *k, const char *base, const struct catalog_member *m)
{
        int q = catalog_exec(k->c, k->e,
                "INSERT OR IGNORE INTO temp.asof (path, base, tar_offset, member) "
                "VALUES (?1, ?2, ?3, ?4)",
                "psui", m->path, base, m->tar_offset, m->row);
        return q < 0 ? q : 0;
}

static int take(void *ctx, const char *base, const struct catalog_member *m)
{
        struct collect *k = ctx;
        if (m->type == 'i' || !asked_for(k, m->path))
                return 0;
        int q = is_gone(k, m->path);
        return q < 0 ? q : q > 0 ? 0 : keep(k, base, m);
}

static int take_own(void *ctx, const struct catalog_member *m)
{
        struct collect *k = ctx;
        return take(k, k->id, m);
}

static bool is_known(const struct collect *k, const char *chain)
{
        for (size_t i = 0; i < k->n_chains; i++)
                if (streq(k->chains[i], chain))
                        return true;
        return false;
}

static int remember(struct collect *k, const char *id, struct catalog_run *r)
{
        char **v = reallocarray(k->chains, k->n_chains + 1, sizeof *v);
        if (!v)
                return err_oom(k->e);
        k->chains = v;
        k->chains[k->n_chains++] = steal(r->chain);
        for (size_t at = 0; at < r->roots_len; at += strlen(r->roots + at) + 1) {
                buf_add(&k->roots, id, strlen(id) + 1);
                buf_add(&k->roots, r->roots + at, strlen(r->roots + at) + 1);
        }
        return buf_oom(&k->roots) ? err_oom(k->e) : 0;
}

static int note_missed(void *ctx, const char *path)
{
        struct collect *k = ctx;
        int q = catalog_exec(k->c, k->e,
                "INSERT OR IGNORE INTO temp.asof_missed (chain, path) VALUES (?1, ?2)", "sp",
                k->chains[k->n_chains - 1], path);
        return q < 0 ? q : 0;
}

/* Whether the newer states of this chain could not read it, so that it counts from an older one. */
static int was_missed(struct collect *k, const char *path)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, k->c, k->e,
                "SELECT 1 FROM temp.asof_missed AS a WHERE a.chain = ?1 AND " CATALOG_AT_OR_BELOW(
                        "?2", "a.path") " LIMIT 1",
                "sp", k->chain, path);
        return r < 0 ? r : query_step(&q, k->e);
}

static int take_missed(void *ctx, const char *base, const struct catalog_member *m)
{
        struct collect *k = ctx;
        int q = was_missed(k, m->path);
        if (q <= 0)
                return q;
        return m->type == 'i' || !asked_for(k, m->path) ? 0 : keep(k, base, m);
}

static int take_own_missed(void *ctx, const struct catalog_member *m)
{
        struct collect *k = ctx;
        return take_missed(k, k->id, m);
}

static int any_missed(struct collect *k)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, k->c, k->e,
                "SELECT 1 FROM temp.asof_missed WHERE chain = ?1 LIMIT 1", "s", k->chain);
        return r < 0 ? r : query_step(&q, k->e);
}

/* What this state could read needs no older one. */
static int forget_missed(struct collect *k)
{
        int q = catalog_exec(k->c, k->e,
                "DELETE FROM temp.asof_missed WHERE chain = ?1 AND path NOT IN (SELECT path FROM "
                "missed WHERE archive = (SELECT row FROM archive WHERE id = ?2))",
                "ss", k->chain, k->id);
        return q < 0 ? q : 0;
}

/* An older state of a chain: only what the newer ones could not read. */
static int take_older(struct collect *k, const char *id, const char *chain)
{
        k->id = id;
        k->chain = chain;
        int q = any_missed(k);
        if (q <= 0)
                return q;
        q = catalog_members_each(k->c, id, CATALOG_AS_TAR, take_own_missed, k, k->e);
        if (q == 0)
                q = catalog_unchanged_each(k->c, id, take_missed, k, k->e);
        return q < 0 ? q : forget_missed(k);
}

static int take_archive(struct collect *k, const char *id)
{
        _cleanup_(catalog_run_done) struct catalog_run r = {0};
        int q = catalog_run_get(k->c, id, &r, k->e);
        bool list = q == 0;
        if (q < 0 && q != -ENOENT)
                return q;
        if (list && is_known(k, r.chain))
                return take_older(k, id, r.chain);
        k->id = id;
        q = catalog_members_each(k->c, id, CATALOG_AS_TAR, take_own, k, k->e);
        if (q == 0 && list)
                q = catalog_unchanged_each(k->c, id, take, k, k->e);
        if (q == 0 && list && (q = remember(k, id, &r)) == 0)
                q = catalog_missed_each(k->c, id, note_missed, k, k->e);
        return q;
}

int catalog_asof(struct catalog *c, int64_t when, const char *const *paths, struct err *e)
{
        _cleanup_(collect_done) struct collect k = {
                .c = c, .paths = paths, .archives = {.when = when}, .e = e};
        if (sqlite3_exec(c->db, tables, NULL, NULL, NULL) != SQLITE_OK)
                return catalog_fail(c, e);
        int q = catalog_archive_each(c, note_archive, &k.archives, e);
        if (q == -ENOMEM)
                return err_oom(e);
        if (k.archives.n > 0)
                qsort(k.archives.v, k.archives.n, sizeof *k.archives.v, by_time);
        for (size_t i = 0; q == 0 && i < k.archives.n; i++)
                q = take_archive(&k, k.archives.v[i].id);
        return q;
}

int catalog_asof_bases(struct catalog *c,
        int (*each)(void *ctx, const char *base, uint64_t members), void *ctx, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(
                &q, c, e, "SELECT base, count(*) FROM temp.asof GROUP BY base ORDER BY base", "");
        while (r == 0 && (r = query_step(&q, e)) > 0)
                r = each(ctx, query_text(&q, 0), query_u64(&q, 1));
        return r;
}

#define COLLECTED                                                                                  \
        "SELECT " MEMBER_COLUMNS                                                                   \
        ", s.base, s.path FROM temp.asof AS s JOIN member AS m ON m.row = s.member "

static int each_collected(struct query *q, catalog_unchanged_fn each, void *ctx, struct err *e)
{
        int r = 0;
        while (r == 0 && (r = query_step(q, e)) > 0) {
                struct catalog_member m;
                member_of(q, &m);
                m.path = query_text(q, 15);
                r = each(ctx, query_text(q, 14), &m);
        }
        return r;
}

int catalog_asof_each(
        struct catalog *c, const char *base, catalog_unchanged_fn each, void *ctx, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                COLLECTED "WHERE ?1 = '' OR s.base = ?1 ORDER BY s.base, s.tar_offset", "s",
                base ? base : "");
        return r < 0 ? r : each_collected(&q, each, ctx, e);
}

int catalog_asof_folders(
        struct catalog *c, bool inner_first, catalog_unchanged_fn each, void *ctx, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                inner_first ? COLLECTED "WHERE m.kind = 'd' ORDER BY s.path DESC"
                            : COLLECTED "WHERE m.kind = 'd' ORDER BY s.path",
                "");
        return r < 0 ? r : each_collected(&q, each, ctx, e);
}
