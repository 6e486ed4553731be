#include "catalog_version.h"

#include "catalog_internal.h"

/* As many versions are read at once: few queries, little memory. */
#define BATCH 512

/* Up to so many archives are read side by side as they are. With more of them the index is made,
 * which takes the time of reading them all, once. */
#define SOURCES_MAX 16

struct held {
        struct catalog_version v;          /* strings lie in `text` */
        size_t key, name, link, base, sum; /* offsets in it; link and sum: SIZE_MAX for none */
        size_t key_len;
};

/* A place in the index, or in the members of one archive, which come in the order of a walk, too.
 */
struct cursor {
        int64_t archive; /* 0: the index */
        char *base;      /* id of the archive */
        struct paths paths;
        int64_t at_offset; /* of the member read last */
        struct buf last;   /* its key */
        struct buf text;
        struct held rows[BATCH];
        size_t n, at;
        bool more; /* there may be some behind those that are held */
};

struct catalog_versions {
        struct catalog *c;
        int64_t scope;
        struct cursor **cursors; /* the newest archive first */
        size_t n;
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
        int r = catalog_write(c, TXN_LAZY, e,
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
                c, TXN_LAZY, e, "DELETE FROM version_source WHERE scope = ?1", "i", scope);
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
        int64_t created; /* when the archive was */
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

/* The version of the archive that was made later is the newer one, in whatever order they are
 * known: `recover` may have met them the other way round. */
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
                "(scope, key) DO UPDATE SET member = excluded.member WHERE ?4 >= coalesce((SELECT "
                "a.created FROM member AS m JOIN archive AS a ON a.row = m.archive WHERE m.row = "
                "version.member), 0)",
                "ibii", f->scope, f->key.data, f->key.len, m->row, f->created);
}

/* Reads and writes in one transaction: one that reads first cannot write when others have. */
static int fill_slice(struct filling *f)
{
        _cleanup_query_ struct query q = {0};
        int n = 0;
        int r = query_open(&q, f->c, f->e,
                "SELECT " MEMBER_COLUMNS " FROM member AS m WHERE archive = ?1 AND tar_offset > ?2 "
                "ORDER BY tar_offset LIMIT 4000",
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
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        int q = catalog_archive_by_row(c, archive, &a, e);
        if (q < 0)
                return q;
        f.created = a.created;
        do {
                q = txn_begin(c, TXN_LAZY, e);
                if (q == 0)
                        q = txn_end(c, fill_slice(&f), e);
        } while (q > 0);
        if (q == 0)
                q = catalog_write(c, TXN_LAZY, e,
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

static int fill_index(struct catalog_versions *v, const struct catalog_archive *a,
        const char *recipients, struct err *e)
{
        int64_t row = 0;
        int q = find_scope(v->c, a, recipients, &v->scope, e);
        if (q == 0)
                q = drop_stale(v->c, v->scope, e);
        while (q == 0 && (q = next_source(v->c, a, recipients, v->scope, &row, e)) > 0)
                q = fill_archive(v->c, v->scope, row, e);
        return q;
}

/* ---- cursors ---- */

static void cursor_free(struct cursor *k)
{
        paths_done(&k->paths);
        buf_done(&k->last);
        buf_done(&k->text);
        free(k->base);
        free(k);
}

static void rewind_cursor(struct cursor *k)
{
        k->n = k->at = 0;
        k->at_offset = -1;
        k->more = true;
        buf_reset(&k->last);
}

static int add_cursor(struct catalog_versions *v, int64_t archive, const char *base, struct err *e)
{
        struct cursor **list = reallocarray(v->cursors, v->n + 1, sizeof *list);
        struct cursor *k = list ? calloc(1, sizeof *k) : NULL;
        v->cursors = list ? list : v->cursors;
        if (!k || !(k->base = strdup(base))) {
                free(k);
                return err_oom(e);
        }
        k->archive = archive;
        rewind_cursor(k);
        v->cursors[v->n++] = k;
        return 0;
}

static void drop_cursors(struct catalog_versions *v)
{
        while (v->n > 0)
                cursor_free(v->cursors[--v->n]);
}

/* A cursor for each archive that counts, or, where they are many, one for the index. */
static int open_sources(struct catalog_versions *v, const struct catalog_archive *a,
        const char *recipients, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, v->c, e,
                "SELECT a.row, a.recipients, a.id FROM archive AS a JOIN run AS r ON r.archive = "
                "a.row WHERE a.store_url = ?1 AND a.store_id = ?2 AND a.state IN (?3, ?4) ORDER BY "
                "a.created DESC, a.row DESC",
                "ssdd", a->store_url, a->store_id, (int)ARCHIVE_STORED, (int)ARCHIVE_INCOMPLETE);
        while (r == 0 && v->n <= SOURCES_MAX && (r = query_step(&q, e)) > 0) {
                _cleanup_free_ char *theirs = sorted_words(query_text(&q, 1));
                if (!theirs)
                        return err_oom(e);
                r = streq(theirs, recipients)
                            ? add_cursor(v, query_i64(&q, 0), query_text(&q, 2), e)
                            : 0;
        }
        return r;
}

static int open_cursors(struct catalog_versions *v, const struct catalog_archive *a, struct err *e)
{
        _cleanup_free_ char *recipients = sorted_words(a->recipients);
        if (!recipients)
                return err_oom(e);
        int q = open_sources(v, a, recipients, e);
        if (q < 0 || v->n <= SOURCES_MAX)
                return q;
        drop_cursors(v);
        q = fill_index(v, a, recipients, e);
        return q < 0 ? q : add_cursor(v, 0, "", e);
}

int catalog_versions_new(struct catalog *c, const struct catalog_archive *a,
        struct catalog_versions **ret, struct err *e)
{
        _cleanup_(catalog_versions_freep) struct catalog_versions *v = calloc(1, sizeof *v);
        if (!v)
                return err_oom(e);
        v->c = c;
        int q = open_cursors(v, a, e);
        if (q == 0)
                *ret = steal(v);
        return q;
}

void catalog_versions_free(struct catalog_versions *v)
{
        if (!v)
                return;
        drop_cursors(v);
        free(v->cursors);
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

static void hold(struct cursor *k, const struct catalog_member *m, const void *key, size_t key_len,
        const char *base)
{
        struct held *h = &k->rows[k->n++];
        *h = (struct held){.v = {.m = *m}, .link = SIZE_MAX, .sum = SIZE_MAX, .key_len = key_len};
        h->key = keep(&k->text, key, key_len);
        h->name = keep(&k->text, m->name, strlen(m->name));
        h->base = keep(&k->text, base, strlen(base));
        if (m->link)
                h->link = keep(&k->text, m->link, strlen(m->link));
        if (m->sha512)
                h->sum = keep(&k->text, m->sha512, 64);
}

static int read_index(struct catalog_versions *v, struct cursor *k, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, v->c, e,
                "SELECT " MEMBER_COLUMNS
                ", v.key, a.id FROM version AS v JOIN member AS m ON m.row = v.member JOIN archive "
                "AS a ON a.row = m.archive WHERE v.scope = ?1 AND v.key >= ?2 ORDER BY v.key LIMIT "
                "512",
                "ib", v->scope, v->wanted.data, v->wanted.len);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_member m;
                member_of(&q, &m);
                hold(k, &m, sqlite3_column_blob(q.stmt, 14),
                        (size_t)sqlite3_column_bytes(q.stmt, 14), query_text(&q, 15));
                r = 0;
        }
        k->more = k->n == BATCH;
        return r;
}

/* What was read once more at the end of an archive comes out of order, and is passed over: it is
 * archived again, and then has its place. */
static int read_archive(struct catalog_versions *v, struct cursor *k, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        _cleanup_buf_ struct buf key = BUF_INIT;
        size_t rows = 0;
        int r = query_open(&q, v->c, e,
                "SELECT " MEMBER_COLUMNS " FROM member AS m WHERE archive = ?1 AND tar_offset > ?2 "
                "ORDER BY tar_offset LIMIT 512",
                "ii", k->archive, k->at_offset);
        while (r == 0 && (r = query_step(&q, e)) > 0) {
                struct catalog_member m;
                const char *path = NULL;
                member_of(&q, &m);
                rows++;
                k->at_offset = (int64_t)m.tar_offset;
                if ((r = paths_of(v->c, &k->paths, m.parent, m.name, &path, e)) < 0)
                        return r;
                key_of(path, &key);
                if (k->last.len > 0 && compare(key.data, key.len, k->last.data, k->last.len) <= 0)
                        continue;
                hold(k, &m, key.data, key.len, k->base);
                buf_reset(&k->last);
                buf_add(&k->last, key.data, key.len);
        }
        k->more = rows == BATCH;
        return r < 0 ? r : buf_oom(&key) || buf_oom(&k->last) ? err_oom(e) : 0;
}

static int read_batch(struct catalog_versions *v, struct cursor *k, struct err *e)
{
        k->n = k->at = 0;
        buf_reset(&k->text);
        int q = k->archive ? read_archive(v, k, e) : read_index(v, k, e);
        return q < 0 ? q : buf_oom(&k->text) ? err_oom(e) : 0;
}

static const struct catalog_version *show(
        struct catalog_versions *v, const struct cursor *k, const struct held *h)
{
        const char *t = k->text.data;
        v->found = h->v;
        v->found.m.path = NULL;
        v->found.m.name = t + h->name;
        v->found.m.link = h->link == SIZE_MAX ? NULL : t + h->link;
        v->found.m.sha512 = h->sum == SIZE_MAX ? NULL : (const uint8_t *)t + h->sum;
        v->found.base = t + h->base;
        return &v->found;
}

/* 1 and the version, if it is there; the cursor then stands on it, or on what follows. */
static int look(struct catalog_versions *v, struct cursor *k, const struct catalog_version **ret,
        struct err *e)
{
        const struct buf *w = &v->wanted;
        for (;;) {
                while (k->at < k->n) {
                        const struct held *h = &k->rows[k->at];
                        int order = compare(k->text.data + h->key, h->key_len, w->data, w->len);
                        if (order == 0)
                                *ret = show(v, k, h);
                        if (order >= 0)
                                return order == 0;
                        k->at++;
                }
                if (!k->more)
                        return 0;
                int q = read_batch(v, k, e);
                if (q < 0)
                        return q;
        }
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
        int q = 0;
        for (size_t i = 0; q == 0 && i < v->n; i++) {
                if (back)
                        rewind_cursor(v->cursors[i]);
                q = look(v, v->cursors[i], ret, e);
        }
        return q;
}
