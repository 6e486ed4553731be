#include "bytes.h"
#include "clock.h"
#include "glacier_text.h"
#include "store_glacier_internal.h"
#include "tree_hash.h"

#include <inttypes.h>

/* The output of jobs. Of an archive it is fetched in pieces that stand under one node of the
 * archive's tree: for those the service sends the tree hash along, and each is checked. */

#define NODE_MAX  (8u * MiB)
#define PIECE_MAX (1u * MiB) /* of an inventory */

struct node {
        char archive[GLACIER_ID_MAX];
        uint64_t start;
        size_t len;
        uint8_t data[];
};

void glacier_node_free(struct node *n)
{
        free(n);
}

/* ---- one piece ---- */

struct piece {
        const char *job, *what;
        uint64_t offset; /* in the job's output */
        void *data;
        size_t len;
};

/* The bytes [offset, offset + len) of a job's output. */
static int fetch(struct glacier *g, const struct piece *f, struct aws_answer *a, struct err *e)
{
        char below[GLACIER_ID_MAX + 24], range[80];
        (void)snprintf(below, sizeof below, "/jobs/%s/output", f->job); /* fits */
        (void)snprintf(range, sizeof range, "bytes=%" PRIu64 "-%" PRIu64, f->offset,
                f->offset + f->len - 1); /* fits */
        const struct glacier_call c = {.what = f->what,
                .right = "glacier:GetJobOutput",
                .method = "GET",
                .below = below,
                .headers = {{"range", range}},
                .n_headers = 1,
                .into = f->data,
                .into_len = f->len};
        return glacier_call(g, &c, a, e);
}

static int check_hash(const struct aws_answer *a, const struct piece *f, struct err *e)
{
        char sent[65], got[65];
        uint8_t hash[32];
        if (!http_header(&a->http, "x-amz-sha256-tree-hash", sent, sizeof sent))
                return 0; /* the frames inside are authenticated in any case */
        _cleanup_(tree_hash_freep) struct tree_hash *t = tree_hash_new();
        if (!t || tree_hash_update(t, f->data, f->len) < 0 || tree_hash_final(t, hash) < 0)
                return err_oom(e);
        bytes_hex(hash, sizeof hash, got);
        return streq(sent, got) ? 0
                                : err_set(e, -EAGAIN, "cannot %s: it came over damaged", f->what);
}

static int fetch_node(struct glacier *g, const struct glacier_object *o,
        const struct glacier_job *j, struct node *n, struct err *e)
{
        char what[GLACIER_NAME_MAX + 64];
        (void)snprintf(
                what, sizeof what, "fetch %s from byte %" PRIu64, o->name, n->start); /* fits */
        const struct piece f = {.job = j->id,
                .what = what,
                .offset = n->start - j->start,
                .data = n->data,
                .len = n->len};
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = fetch(g, &f, &a, e);
        if (q == -ENOENT) {
                (void)glacier_book_forget_job(g->book, g->id, j->id, NULL); /* or the next time */
                return err_set(e, -EREMOTE,
                        "cannot %s: what was retrieved is gone again after a day; ask for it anew",
                        what);
        }
        if (q < 0)
                return q;
        if (a.http.received != n->len)
                return err_set(e, -EAGAIN, "cannot %s: the answer is too short", what);
        return check_hash(&a, &f, e);
}

/* ---- reading ---- */

/* The largest piece under one node that begins at `at`'s MiB, lies in the job's range, and is not
 * longer than what is wanted, rounded up. */
static void choose_node(const struct glacier_object *o, const struct glacier_job *j, uint64_t at,
        uint64_t end, uint64_t *ret_start, size_t *ret_len)
{
        uint64_t start = at / MiB * MiB, span = MiB;
        while (span < NODE_MAX && start % (2 * span) == 0 && start + span < end &&
                MIN(start + 2 * span, o->size) <= j->end)
                span *= 2;
        *ret_start = start;
        *ret_len = (size_t)(MIN(start + span, o->size) - start);
}

static bool copy_from(
        const struct node *n, const char *archive, uint64_t at, void *data, size_t len, size_t *ret)
{
        if (!n || !streq(n->archive, archive) || at < n->start || at >= n->start + n->len)
                return false;
        size_t skip = (size_t)(at - n->start);
        *ret = MIN(len, n->len - skip);
        memcpy(data, n->data + skip, *ret);
        return true;
}

static bool holds(const struct glacier_job *j, uint64_t start, uint64_t end)
{
        return j->start <= start && j->end >= end;
}

/* A finished job whose output holds the range: from the book, or one that runs by what was known
 * last is asked about. */
static int job_for(struct glacier *g, const struct glacier_object *o, uint64_t start, uint64_t end,
        struct glacier_job *ret, struct err *e)
{
        _cleanup_free_ struct glacier_job *v = NULL;
        size_t n = 0, found = SIZE_MAX;
        int q = glacier_book_jobs(g->book, g->id, o->archive, &v, &n, e);
        for (size_t i = 0; q == 0 && i < n && found == SIZE_MAX; i++)
                if (v[i].done && holds(&v[i], start, end))
                        found = i;
        for (size_t i = 0; q == 0 && i < n && found == SIZE_MAX; i++) {
                if (v[i].done || !holds(&v[i], start, end))
                        continue;
                q = glacier_look_at(g, &v[i], e);
                if (q == 0 && v[i].done)
                        found = i;
                else if (q == -ENOENT)
                        q = glacier_book_forget_job(g->book, g->id, v[i].id, e);
        }
        if (q == 0 && found == SIZE_MAX)
                return err_set(e, -EREMOTE, "%s must be retrieved from the vault first", o->name);
        if (q == 0)
                *ret = v[found];
        return q;
}

static int read_some(struct glacier *g, const struct glacier_object *o, uint64_t at, void *data,
        size_t len, size_t *ret, struct err *e)
{
        struct glacier_job j;
        pthread_mutex_lock(&g->lock);
        bool had = copy_from(g->node, o->archive, at, data, len, ret);
        pthread_mutex_unlock(&g->lock);
        if (had)
                return 0;
        uint64_t start = at / MiB * MiB;
        size_t n_len;
        int q = job_for(g, o, start, MIN(start + MiB, o->size), &j, e);
        if (q < 0)
                return q;
        choose_node(o, &j, at, at + len, &start, &n_len);
        struct node *n = malloc(sizeof *n + n_len);
        if (!n)
                return err_oom(e);
        n->start = start;
        n->len = n_len;
        memcpy(n->archive, o->archive, sizeof n->archive);
        q = fetch_node(g, o, &j, n, e);
        if (q < 0) {
                free(n);
                return q;
        }
        (void)copy_from(n, o->archive, at, data, len, ret); /* it begins at or before `at` */
        pthread_mutex_lock(&g->lock);
        free(g->node);
        g->node = n;
        pthread_mutex_unlock(&g->lock);
        return 0;
}

int glacier_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e)
{
        struct glacier *g = glacier_of(s);
        struct glacier_object o;
        int q = glacier_ready(g, e);
        if (q == 0)
                q = glacier_book_find(g->book, g->id, name, &o, e);
        if (q < 0)
                return q;
        if (offset > o.size || len > o.size - offset)
                return err_set(e, -EPROTO,
                        "%s ends at byte %" PRIu64 ", before the end of what is asked for", name,
                        o.size);
        for (size_t done = 0, n = 0; q == 0 && done < len; done += n)
                q = read_some(g, &o, offset + done, (char *)data + done, len - done, &n, e);
        return q;
}

/* ---- the inventory ---- */

struct taking {
        struct glacier *g;
        struct glacier_book *book; /* of its own: many rows at once */
        int64_t stamp;
};

static int take_listed(void *ctx, const struct glacier_listed *l, struct err *e)
{
        const struct taking *t = ctx;
        struct glacier_object o = {.size = l->size, .created = l->created, .listed = t->stamp};
        if (strlen(l->archive) >= sizeof o.archive)
                return 0; /* no vault gives such ids */
        if (!glacier_description_name(l->description, o.name, sizeof o.name))
                return glacier_book_seen(t->book, t->g->id, l->archive, t->stamp, e);
        memcpy(o.archive, l->archive, strlen(l->archive) + 1);
        memcpy(o.tree_hash, l->tree_hash, sizeof o.tree_hash);
        return glacier_book_add(t->book, t->g->id, &o, e);
}

/* How long the output is: asked by its first byte. */
static int output_size(struct glacier *g, const struct glacier_job *j, uint64_t *ret, struct err *e)
{
        char first[1], range[80];
        uint64_t size;
        const struct piece f = {.job = j->id,
                .what = "fetch the vault's inventory",
                .data = first,
                .len = sizeof first};
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = fetch(g, &f, &a, e);
        if (q < 0)
                return q;
        const char *slash = http_header(&a.http, "Content-Range", range, sizeof range)
                                    ? strchr(range, '/')
                                    : NULL;
        if (!slash || sscanf(slash, "/%" SCNu64, &size) != 1)
                return err_set(
                        e, -EPROTO, "%s does not say how long the inventory is", aws_host(g->aws));
        *ret = size;
        return 0;
}

static int feed(
        struct taking *t, struct glacier_inventory *i, const void *data, size_t len, struct err *e)
{
        int q = glacier_book_batch_begin(t->book, e);
        return q < 0 ? q
                     : glacier_book_batch_end(t->book, glacier_inventory_feed(i, data, len, e), e);
}

static int feed_all(
        struct taking *t, const struct glacier_job *j, struct glacier_inventory *i, struct err *e)
{
        struct glacier *g = t->g;
        uint64_t size = 0;
        _cleanup_free_ char *piece = malloc(PIECE_MAX);
        int q = piece ? output_size(g, j, &size, e) : err_oom(e);
        for (uint64_t at = 0; q == 0 && at < size;) {
                _cleanup_aws_answer_ struct aws_answer a = {0};
                const struct piece f = {.job = j->id,
                        .what = "fetch the vault's inventory",
                        .offset = at,
                        .data = piece,
                        .len = (size_t)MIN(size - at, PIECE_MAX)};
                q = fetch(g, &f, &a, e);
                if (q == 0 && a.http.received == 0)
                        q = err_set(e, -EAGAIN, "cannot %s: the answer is empty", f.what);
                if (q == 0)
                        q = feed(t, i, piece, a.http.received, e);
                at += a.http.received;
        }
        return q;
}

int glacier_take_inventory(struct glacier *g, const struct glacier_job *j, struct err *e)
{
        int64_t date = 0;
        struct taking t = {.g = g, .stamp = j->done};
        _cleanup_(glacier_book_closep) struct glacier_book *own = NULL;
        _cleanup_(glacier_inventory_freep) struct glacier_inventory *i = NULL;
        int q = glacier_book_open(g->book_path, &own, e);
        t.book = own;
        if (q == 0)
                q = glacier_inventory_new(take_listed, &t, &i, e);
        if (q == 0)
                q = feed_all(&t, j, i, e);
        if (q == -ENOENT)
                return glacier_book_forget_job(g->book, g->id, j->id, e); /* gone: asked anew */
        if (q == 0)
                q = glacier_inventory_end(i, &date, e);
        if (q == 0)
                q = glacier_book_set_inventory(g->book, g->id, date, INVENTORY_LAGS, e);
        return q < 0 ? q : glacier_book_forget_job(g->book, g->id, j->id, e);
}
