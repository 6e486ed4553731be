#include "catalog_version.h"

#include "catalog_internal.h"

/* As many versions are read at once: few queries, little memory. */
#define BATCH 512

struct held {
        struct catalog_version v;          /* strings lie in `text` */
        size_t key, name, link, base, sum; /* offsets in it; link and sum: SIZE_MAX for none */
        size_t key_len;
};

struct catalog_versions {
        struct catalog *c;
        int64_t scope;
        struct buf text;
        struct held rows[BATCH];
        size_t n, at;
        bool more;         /* there may be some behind those that are held */
        struct buf asked;  /* key of the path asked last */
        struct buf wanted; /* key of the path asked now */
        struct catalog_version found;
};

/* ---- keys ---- */

static void key_of(const char *path, struct buf *ret)
{
        buf_reset(ret);
        buf_adds(ret, path);
        for (size_t i = 0; i < ret->len && !buf_oom(ret); i++)
                if (ret->data[i] == '/')
                        ret->data[i] = 0;
}

static int compare(const void *a, size_t n, const void *b, size_t m)
{
        int c = memcmp(a, b, MIN(n, m));
        return c ? c : (n > m) - (n < m);
}

/* ---- which store, which recipients ---- */

static int by_text(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Fingerprints in one order, so that the same set is the same text. */
static char *sorted_words(const char *s)
{
        _cleanup_free_ char *copy = strdup(s);
        _cleanup_free_ char **v = calloc(strlen(s) / 2 + 2, sizeof *v);
        struct buf b = BUF_INIT;
        size_t n = 0;
        char *save = NULL;
        if (!copy || !v)
                return NULL;
        for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
                v[n++] = w;
        qsort(v, n, sizeof *v, by_text);
        for (size_t i = 0; i < n; i++)
                buf_addf(&b, "%s%s", i > 0 ? " " : "", v[i]);
        return buf_steal(&b);
}

static int find_scope(struct catalog *c, const struct catalog_archive *a, const char *recipients,
        int64_t *ret, struct err *e)
{
        int r = catalog_write(c, false, e,
                "INSERT OR IGNORE INTO scope (store_url, store_id, recipients) VALUES (?1, ?2, ?3)",
                "sss", a->store_url, a->store_id, recipients);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT row FROM scope WHERE store_url = ?1 AND store_id = ?2 AND recipients = ?3",
                "sss", a->store_url, a->store_id, recipients);
        if (r == 0 && (r = query_step(&q, e)) > 0)
                *ret = query_i64(&q, 0);
        return r < 0 ? r : 0;
}

/* ---- the index ---- */

/* A source that is not stored any more makes all of it void: an older version may count again. */
static int drop_stale(struct catalog *c, int64_t scope, struct err *e)
{
        int64_t stale = 0;
        {
                _cleanup_query_ struct query q = {0};
                int r = query_open(&q, c, e,
                        "SELECT count(*) FROM version_source AS s WHERE scope = ?1 AND NOT EXISTS "
                        "(SELECT 1 FROM archive AS a WHERE a.row = s.archive AND a.state IN (?2, "
                        "?3))",
                        "idd", scope, (int)ARCHIVE_STORED, (int)ARCHIVE_INCOMPLETE);
                if (r == 0 && (r = query_step(&q, e)) > 0)
                        stale = query_i64(&q, 0);
                if (r < 0)
                        return r;
        }
        if (stale == 0)
                return 0;
        int r = catalog_write(
                c, false, e, "DELETE FROM version_source WHERE scope = ?1", "i", scope);
        if (r < 0)
                return r;
        return catalog_slices(c,
                "DELETE FROM version WHERE scope = ?1 AND key IN (SELECT key FROM version WHERE "
                "scope = ?1 ORDER BY key LIMIT 4000) AND ?2 = 0",
                scope, 0, e);
}

struct filling {
        struct catalog *c;
        int64_t scope, archive;
        struct paths paths;
        struct buf key;
        int64_t at; /* tar offset of the last one */
        struct err *e;
};

static void filling_done(struct filling *f)
{
        paths_done(&f->paths);
        buf_done(&f->key);
}

/* A member read later is the newer version. */
static int fill_one(struct filling *f, const struct catalog_member *m)
{
        const char *path = NULL;
        int q = paths_of(f->c, &f->paths, m->parent, m->name, &path, f->e);
        if (q < 0)
                return q;
        key_of(path, &f->key);
        if (buf_oom(&f->key))
                return err_oom(f->e);
        f->at = (int64_t)m->tar_offset;
        return catalog_exec(f->c, f->e,
                "INSERT INTO version (scope, key, member) VALUES (?1, ?2, ?3) ON CONFLICT "
                "(scope, key) DO UPDATE SET member = excluded.member WHERE "
                "excluded.member > version.member",
                "ibi", f->scope, f->key.data, f->key.len, m->row);
}

/* Reads and writes in one transaction: one that reads first cannot write when others have. */
static int fill_slice(struct filling *f)
{
        _cleanup_query_ struct query q = {0};
        int n = 0;
        int r = query_open(&q, f->c, f->e,
                "SELECT " MEMBER_COLUMNS " FROM member AS m WHERE archive = ?1 AND tar_offset > ?2 "
                "ORDER BY tar_offset LIMIT "
                "4000",
                "ii", f->archive, f->at);
        while (r == 0 && (r = query_step(&q, f->e)) > 0) {
                struct catalog_member m;
                member_of(&q, &m);
                r = fill_one(f, &m);
                r = r < 0 ? r : 0;
                n++;
        }
        return r < 0 ? r : n;
}

static int fill_archive(struct catalog *c, int64_t scope, int64_t archive, struct err *e)
{
        _cleanup_(filling_done) struct filling f = {
                .c = c, .scope = scope, .archive = archive, .at = -1, .e = e};
        int q;
        do {
                q = txn_begin(c, false, e);
                if (q == 0)
                        q = txn_end(c, fill_slice(&f), e);
        } while (q > 0);
        if (q == 0)
                q = catalog_write(c, false, e,
                        "INSERT OR IGNORE INTO version_source (scope, archive) VALUES (?1, ?2)",
                        "ii", scope, archive);
        return q < 0 ? q : 0;
}

/* The oldest archive that belongs in the scope and is not in it. Staged trees have names of their
 * own, not paths: only lists count. */
static int next_source(struct catalog *c, const struct catalog_archive *a, const char *recipients,
        int64_t scope, int64_t *after, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT a.row, a.recipients FROM archive AS a JOIN run AS r ON r.archive = a.row "
                "WHERE a.row > ?1 AND a.store_url = ?2 AND a.store_id = ?3 AND a.state IN (?4, ?5) "
                "AND a.row NOT IN (SELECT archive FROM version_source WHERE scope = ?6) ORDER BY "
                "a.row",
                "issddi", *after, a->store_url, a->store_id, (int)ARCHIVE_STORED,
                (int)ARCHIVE_INCOMPLETE, scope);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                _cleanup_free_ char *theirs = sorted_words(query_text(&q, 1));
                if (!theirs)
                        return err_oom(e);
                if (streq(theirs, recipients)) {
                        *after = query_i64(&q, 0);
                        return 1;
                }
                r = 0;
        }
        return r;
}

static int bring_up_to_date(
        struct catalog_versions *v, const struct catalog_archive *a, struct err *e)
{
        _cleanup_free_ char *recipients = sorted_words(a->recipients);
        int64_t row = 0;
        if (!recipients)
                return err_oom(e);
        int q = find_scope(v->c, a, recipients, &v->scope, e);
        if (q == 0)
                q = drop_stale(v->c, v->scope, e);
        while (q == 0 && (q = next_source(v->c, a, recipients, v->scope, &row, e)) > 0)
                q = fill_archive(v->c, v->scope, row, e);
        return q;
}

int catalog_versions_new(struct catalog *c, const struct catalog_archive *a,
        struct catalog_versions **ret, struct err *e)
{
        _cleanup_(catalog_versions_freep) struct catalog_versions *v = calloc(1, sizeof *v);
        if (!v)
                return err_oom(e);
        v->c = c;
        v->more = true;
        int q = bring_up_to_date(v, a, e);
        if (q == 0)
                *ret = steal(v);
        return q;
}

void catalog_versions_free(struct catalog_versions *v)
{
        if (!v)
                return;
        buf_done(&v->text);
        buf_done(&v->asked);
        buf_done(&v->wanted);
        free(v);
}

/* ---- looking ---- */

static size_t keep(struct buf *b, const void *data, size_t len)
{
        size_t at = b->len;
        buf_add(b, data, len);
        buf_addc(b, 0);
        return at;
}

static void hold(struct catalog_versions *v, const struct query *q)
{
        struct held *h = &v->rows[v->n++];
        *h = (struct held){.link = SIZE_MAX, .sum = SIZE_MAX};
        member_of(q, &h->v.m);
        h->key_len = (size_t)sqlite3_column_bytes(q->stmt, 14);
        h->key = keep(&v->text, sqlite3_column_blob(q->stmt, 14), h->key_len);
        h->name = keep(&v->text, h->v.m.name, strlen(h->v.m.name));
        h->base = keep(&v->text, query_text(q, 15), strlen(query_text(q, 15)));
        if (h->v.m.link)
                h->link = keep(&v->text, h->v.m.link, strlen(h->v.m.link));
        if (h->v.m.sha512)
                h->sum = keep(&v->text, h->v.m.sha512, 64);
}

/* The next batch, from the key that is wanted on. */
static int read_batch(struct catalog_versions *v, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        v->n = v->at = 0;
        buf_reset(&v->text);
        int r = query_open(&q, v->c, e,
                "SELECT " MEMBER_COLUMNS
                ", v.key, a.id FROM version AS v JOIN member AS m ON m.row = v.member JOIN archive "
                "AS a ON a.row = m.archive WHERE v.scope = ?1 AND v.key >= ?2 ORDER BY v.key LIMIT "
                "512",
                "ib", v->scope, v->wanted.data, v->wanted.len);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                hold(v, &q);
                r = 0;
        }
        v->more = v->n == BATCH;
        return r < 0 ? r : buf_oom(&v->text) ? err_oom(e) : 0;
}

static const struct catalog_version *show(struct catalog_versions *v, const struct held *h)
{
        const char *t = v->text.data;
        v->found = h->v;
        v->found.m.name = t + h->name;
        v->found.m.link = h->link == SIZE_MAX ? NULL : t + h->link;
        v->found.m.sha512 = h->sum == SIZE_MAX ? NULL : (const uint8_t *)t + h->sum;
        v->found.base = t + h->base;
        return &v->found;
}

int catalog_versions_find(struct catalog_versions *v, const char *path,
        const struct catalog_version **ret, struct err *e)
{
        key_of(path, &v->wanted);
        if (buf_oom(&v->wanted))
                return err_oom(e);
        const struct buf *w = &v->wanted;
        bool back = v->asked.data && compare(w->data, w->len, v->asked.data, v->asked.len) < 0;
        buf_reset(&v->asked);
        buf_add(&v->asked, w->data, w->len);
        if (back) {
                v->n = v->at = 0;
                v->more = true;
        }
        for (;;) {
                while (v->at < v->n) {
                        const struct held *h = &v->rows[v->at];
                        int order = compare(v->text.data + h->key, h->key_len, w->data, w->len);
                        if (order == 0)
                                *ret = show(v, h);
                        if (order >= 0)
                                return order == 0;
                        v->at++;
                }
                if (!v->more)
                        return 0;
                int q = read_batch(v, e);
                if (q < 0)
                        return q;
        }
}
