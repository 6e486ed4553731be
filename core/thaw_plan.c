#include "catalog.h"
#include "cost.h"
#include "thaw_internal.h"

#include "buf.h"

#include <inttypes.h>

void thaw_plan_done(struct thaw_plan *p)
{
        for (size_t i = 0; i < p->n; i++)
                free(p->objects[i].pieces);
        free(p->objects);
        free(p->files);
        *p = (struct thaw_plan){0};
}

/* ---- which members ---- */

struct pick {
        struct catalog *c;
        const char *id;
        struct thaw_plan *plan;
        size_t cap;
        int64_t *folders; /* rows that are still to be looked into */
        size_t n_folders, folders_cap;
        struct buf links; /* targets of hard links, each ended by a zero byte */
        struct err *e;
};

static int add_folder(struct pick *k, int64_t row)
{
        if (k->n_folders == k->folders_cap) {
                size_t cap = MAX((size_t)32, k->folders_cap * 2);
                int64_t *v = reallocarray(k->folders, cap, sizeof *v);
                if (!v)
                        return err_oom(k->e);
                k->folders = v;
                k->folders_cap = cap;
        }
        k->folders[k->n_folders++] = row;
        return 0;
}

static int add_file(struct pick *k, const struct catalog_member *m)
{
        struct thaw_plan *p = k->plan;
        if (p->n_files == k->cap) {
                size_t cap = MAX((size_t)64, k->cap * 2);
                struct thaw_file *v = reallocarray(p->files, cap, sizeof *v);
                if (!v)
                        return err_oom(k->e);
                p->files = v;
                k->cap = cap;
        }
        p->files[p->n_files++] = (struct thaw_file){.member = m->row,
                .tar_offset = m->tar_offset,
                .tar_len = m->tar_len,
                .size = m->size};
        return 0;
}

static int pick_member(void *ctx, const struct catalog_member *m)
{
        struct pick *k = ctx;
        if (m->type == 'd' || m->type == 'i')
                return add_folder(k, m->row);
        if (m->type == 'h' && m->link)
                buf_add(&k->links, m->link, strlen(m->link) + 1);
        return m->type == 'f' && m->size > 0 ? add_file(k, m) : 0;
}

static int pick_below(struct pick *k, struct err *e)
{
        int q = 0;
        while (q == 0 && k->n_folders > 0)
                q = catalog_member_children(
                        k->c, k->id, k->folders[--k->n_folders], pick_member, k, e);
        return q;
}

static int pick_links(struct pick *k, struct err *e)
{
        if (buf_oom(&k->links))
                return err_oom(e);
        int q = 0;
        const char *p = buf_str(&k->links), *end = p + k->links.len;
        for (; q == 0 && p < end; p += strlen(p) + 1)
                q = catalog_member_by_path(k->c, k->id, p, pick_member, k, e);
        return q;
}

static int by_offset(const void *a, const void *b)
{
        const struct thaw_file *x = a, *y = b;
        return x->tar_offset < y->tar_offset ? -1 : x->tar_offset > y->tar_offset;
}

static void sort_files(struct thaw_plan *p)
{
        size_t n = 0;
        if (p->n_files > 0)
                qsort(p->files, p->n_files, sizeof *p->files, by_offset);
        for (size_t i = 0; i < p->n_files; i++)
                if (n == 0 || p->files[n - 1].member != p->files[i].member)
                        p->files[n++] = p->files[i];
        p->n_files = n;
        for (size_t i = 0; i < n; i++)
                p->bytes += p->files[i].size;
}

static int pick_all(struct catalog *c, const char *id, const char *paths, size_t len,
        struct thaw_plan *plan, struct err *e)
{
        struct pick k = {.c = c, .id = id, .plan = plan, .e = e};
        int q = len == 0 ? add_folder(&k, 0) : 0;
        for (const char *p = paths; q == 0 && p < paths + len; p += strlen(p) + 1)
                q = catalog_member_by_path(c, id, p, pick_member, &k, e);
        if (q == 0)
                q = pick_below(&k, e);
        if (q == 0)
                q = pick_links(&k, e);
        free(k.folders);
        buf_done(&k.links);
        sort_files(plan);
        return q;
}

int thaw_plan_make(struct catalog *c, const struct catalog_archive *a, const char *paths,
        size_t paths_len, struct thaw_plan *ret, struct err *e)
{
        struct thaw_plan p = {0};
        int q = pick_all(c, a->id, paths, paths_len, &p, e);
        if (q == 0)
                q = thaw_ranges(c, a, &p, e);
        if (q < 0)
                thaw_plan_done(&p);
        else
                *ret = p;
        return q;
}

/* ---- paths as people write them ---- */

static int nothing(void *ctx _unused_, const struct catalog_member *m _unused_)
{
        return 0;
}

static int plain_path(
        struct catalog *c, const char *id, const char *written, char **ret, struct err *e)
{
        const char *p = written, *rest;
        while ((rest = startswith(p, "./")) || (rest = startswith(p, "/")))
                p = rest;
        _cleanup_free_ char *path = strdup(p);
        if (!path)
                return err_oom(e);
        for (size_t n = strlen(path); n > 0 && path[n - 1] == '/'; n--)
                path[n - 1] = 0;
        int q = *path ? catalog_member_by_path(c, id, path, nothing, NULL, e) : 0;
        if (q == -ENOENT && (rest = startswith(path, "files/")) &&
                catalog_member_by_path(c, id, rest, nothing, NULL, NULL) == 0) {
                if (!(*ret = strdup(rest)))
                        return err_oom(e);
                return 0;
        }
        if (q == -ENOENT)
                return err_set(
                        e, q, "%s is not in the archive; paths are those below files/", written);
        if (q == 0)
                *ret = steal(path);
        return q;
}

static int by_text(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

int thaw_paths_plain(struct catalog *c, const char *id, const char *paths, size_t len, char **ret,
        size_t *ret_len, struct err *e)
{
        size_t n = 0, k = 0;
        for (size_t i = 0; i < len; i++)
                n += paths[i] == 0;
        _cleanup_free_ char **v = calloc(n + 1, sizeof *v);
        _cleanup_buf_ struct buf b = BUF_INIT;
        int q = v ? 0 : err_oom(e);
        for (const char *p = paths; q == 0 && p < paths + len; p += strlen(p) + 1)
                if ((q = plain_path(c, id, p, &v[k], e)) == 0)
                        k++;
        if (k > 0)
                qsort(v, k, sizeof *v, by_text);
        bool everything = k > 0 && *v[0] == 0; /* "/" */
        for (size_t i = 0; i < k && !everything; i++)
                if (i == 0 || !streq(v[i - 1], v[i]))
                        buf_add(&b, v[i], strlen(v[i]) + 1);
        for (size_t i = 0; i < k; i++)
                free(v[i]);
        if (q < 0)
                return q;
        *ret_len = b.len;
        return (*ret = buf_steal(&b)) ? 0 : err_oom(e);
}

uint64_t thaw_ahead(uint64_t cache_limit)
{
        return cache_limit / 4 * 3; /* what others read shall have room, too */
}

/* ---- prices ---- */

static int no_tier(
        const struct cost_prices *prices, const char *cls, const char *tier, struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        const struct cost_retrieval none = {0};
        struct cost_offer o;
        for (size_t k = 0; cost_tier(k); k++)
                if (cost_retrieve(prices, cls, cost_tier(k), &none, &o) == 0)
                        buf_addf(&b, "%s%s", b.len > 0 ? ", " : "", cost_tier(k));
        return err_set(e, -EINVAL, "%s has no tier %s, only %s", cls, tier, buf_str(&b));
}

void thaw_amount(
        const struct catalog_archive *a, const struct thaw_plan *plan, struct cost_retrieval *ret)
{
        bool ranges = startswith(a->store_url, "glacier://");
        *ret = (struct cost_retrieval){.objects = ranges ? plan->pieces : plan->n,
                .thawed = ranges ? plan->range : plan->thaw,
                .fetched = plan->fetch};
}

int thaw_price(const struct cost_prices *prices, const struct catalog_archive *a,
        const struct thaw_plan *plan, const char *tier, struct cost_offer *ret, bool *ret_known,
        struct err *e)
{
        const char *cls = cost_class(a->store_url, a->storage_class);
        struct cost_retrieval what;
        struct cost_offer o = {0};
        thaw_amount(a, plan, &what);
        int q = cls ? cost_retrieve(prices, cls, tier, &what, &o) : 0;
        if (q == -EOPNOTSUPP)
                return no_tier(prices, cls, tier, e);
        *ret_known = q == 0;
        *ret = o;
        return 0;
}
