#include "restore.h"

#include "catalog.h"
#include "clock.h"
#include "reader.h"
#include "untar.h"

#include <inttypes.h>

struct range {
        uint64_t start, end; /* in the tar stream */
};

struct ranges {
        struct range *v; /* in order, merged */
        size_t n, cap;
};

struct work {
        struct catalog *catalog;
        const struct catalog_archive *a;
        const struct restore_params *params;
        struct restore_progress progress;
        struct reader *reader;
        struct err *e;

        struct ranges ranges; /* what to read */
        struct ranges late;   /* and after that: hard links that stand before their content */
        bool *found;          /* for every path asked for */
        char **extra;         /* targets of hard links that were asked for without them */
        size_t n_extra;
        bool sorted; /* they are all known */

        size_t at; /* the range that is being read */
        uint64_t offset;
        int64_t ticked;
};

/* ---- what to read ---- */

static bool below(const char *path, const char *asked)
{
        size_t n = strlen(asked);
        while (n > 0 && asked[n - 1] == '/')
                n--;
        return strncmp(path, asked, n) == 0 && (path[n] == 0 || path[n] == '/' || n == 0);
}

static bool wanted(struct work *w, const char *path)
{
        if (!w->params->paths)
                return true;
        bool yes = false;
        for (size_t i = 0; w->params->paths[i]; i++)
                if (below(path, w->params->paths[i]))
                        yes = w->found[i] = true;
        for (size_t i = 0; i < w->n_extra; i++)
                yes |= streq(path, w->extra[i]);
        return yes;
}

static int by_text(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_extra(const struct work *w, const char *path)
{
        return w->sorted && bsearch(&path, w->extra, w->n_extra, sizeof *w->extra, by_text);
}

static bool member_wanted(struct work *w, const struct catalog_member *m)
{
        if (!w->params->want)
                return wanted(w, m->path);
        return w->params->want(w->params->want_ctx, m) || is_extra(w, m->path);
}

static int ask(void *ctx, const struct catalog_member *m)
{
        return member_wanted(ctx, m);
}

static bool target_wanted(struct work *w, const char *path)
{
        if (!w->params->want)
                return wanted(w, path);
        return catalog_member_by_path(w->catalog, w->a->id, path, ask, w, NULL) == 1;
}

static int add_range(struct ranges *r, uint64_t start, uint64_t len, struct err *e)
{
        if (r->n > 0 && r->v[r->n - 1].end == start) {
                r->v[r->n - 1].end += len;
                return 0;
        }
        if (r->n == r->cap) {
                size_t cap = MAX((size_t)64, r->cap * 2);
                struct range *v = reallocarray(r->v, cap, sizeof *v);
                if (!v)
                        return err_oom(e);
                r->v = v;
                r->cap = cap;
        }
        r->v[r->n++] = (struct range){start, start + len};
        return 0;
}

static int offset_of(void *ctx, const struct catalog_member *m)
{
        *(uint64_t *)ctx = m->tar_offset;
        return 0;
}

/* The content changed while it was read, so that it stands once more behind the link to it. */
static bool comes_before_its_content(struct work *w, const struct catalog_member *m)
{
        uint64_t content = 0;
        struct err ignored = {0};
        return m->type == 'h' &&
               catalog_member_by_path(
                       w->catalog, w->a->id, m->link, offset_of, &content, &ignored) == 0 &&
               content > m->tar_offset;
}

static int select_member(void *ctx, const struct catalog_member *m)
{
        struct work *w = ctx;
        if (m->type == 'i' || !member_wanted(w, m))
                return 0;
        w->progress.todo_files += m->type == 'f';
        w->progress.todo_bytes += m->type == 'f' ? m->size : 0;
        return add_range(comes_before_its_content(w, m) ? &w->late : &w->ranges, m->tar_offset,
                m->tar_len, w->e);
}

/* A hard link whose content was not asked for needs the member that holds it. */
static int select_link_target(void *ctx, const struct catalog_member *m)
{
        struct work *w = ctx;
        if (m->type != 'h' || !member_wanted(w, m) || target_wanted(w, m->link))
                return 0;
        char **v = reallocarray(w->extra, w->n_extra + 1, sizeof *v);
        if (!v)
                return err_oom(w->e);
        w->extra = v;
        if (!(v[w->n_extra] = strdup(m->link)))
                return err_oom(w->e);
        w->n_extra++;
        if (w->params->warn)
                w->params->warn(w->params->ctx, m->path,
                        "is a hard link to a file that was not asked for; that one is restored "
                        "too");
        return 0;
}

static int select_all(struct work *w, struct err *e)
{
        int q = 0;
        if (w->params->paths || w->params->want)
                q = catalog_members_each(w->catalog, w->a->id, false, select_link_target, w, e);
        if (w->n_extra > 0)
                qsort(w->extra, w->n_extra, sizeof *w->extra, by_text);
        w->sorted = true;
        if (q == 0)
                q = catalog_members_each(w->catalog, w->a->id, false, select_member, w, e);
        for (size_t i = 0; q == 0 && i < w->late.n; i++)
                q = add_range(
                        &w->ranges, w->late.v[i].start, w->late.v[i].end - w->late.v[i].start, e);
        for (size_t i = 0; q == 0 && w->params->paths && w->params->paths[i]; i++)
                if (!w->found[i])
                        q = err_set(e, -ENOENT,
                                "%s is not in archive %s; autoglacier files %s lists what is",
                                w->params->paths[i], w->a->name, w->a->name);
        return q;
}

/* ---- reading and checking ---- */

static void tick(struct work *w)
{
        int64_t now = clock_monotonic();
        if (!w->params->progress || now - w->ticked < CLOCK_NSEC / 5)
                return;
        w->ticked = now;
        w->progress.fetched = reader_fetched(w->reader);
        w->params->progress(w->params->ctx, &w->progress);
}

static ssize_t source(void *ctx, void *data, size_t len, struct err *e)
{
        struct work *w = ctx;
        if (w->params->stop && atomic_load(w->params->stop))
                return err_set(e, -ECANCELED, "interrupted");
        tick(w);
        const struct ranges *r = &w->ranges;
        if (w->at < r->n && w->offset == r->v[w->at].end) {
                w->at++;
                w->offset = w->at < r->n ? r->v[w->at].start : 0;
        }
        if (w->at == r->n)
                return 0;
        uint64_t left = r->v[w->at].end - w->offset;
        ssize_t n = reader_read(w->reader, data, (size_t)MIN((uint64_t)len, left), w->offset, e);
        if (n == 0)
                return err_set(e, -EPROTO,
                        "archive %s ends at byte %" PRIu64
                        " of its tar stream, before its last member",
                        w->a->name, w->offset);
        if (n > 0)
                w->offset += (uint64_t)n;
        return n;
}

static int compare_sum(void *ctx, const struct catalog_member *m)
{
        const struct untar_result *u = ctx;
        return m->sha512 && u->size == m->size && memcmp(m->sha512, u->sha512, 64) == 0 ? 0
                                                                                        : -EBADMSG;
}

static int check(void *ctx, const struct untar_result *u, struct err *e)
{
        struct work *w = ctx;
        if (u->type != 'f')
                return 0;
        struct untar_result copy = *u;
        int q = catalog_member_by_path(w->catalog, w->a->id, u->path, compare_sum, &copy, e);
        if (q == -EBADMSG)
                return err_set(e, q,
                        "%s: its content has not the SHA-512 that was recorded; it was not written",
                        u->path);
        if (q < 0)
                return q;
        w->progress.files++;
        w->progress.bytes += u->size;
        return 0;
}

static int copy_folder(void *ctx, const struct catalog_member *m)
{
        struct stat *st = ctx;
        *st = (struct stat){
                .st_mode = S_IFDIR | m->mode,
                .st_uid = m->uid,
                .st_gid = m->gid,
                .st_mtim = {.tv_sec = m->mtime / CLOCK_NSEC, .tv_nsec = m->mtime % CLOCK_NSEC},
        };
        if (st->st_mtim.tv_nsec < 0) { /* before 1970 */
                st->st_mtim.tv_nsec += CLOCK_NSEC;
                st->st_mtim.tv_sec--;
        }
        return m->type == 'd';
}

/* A folder on the way to a path that was asked for alone: its member is not fetched for that. */
static int folder(void *ctx, const char *path, struct stat *ret)
{
        struct work *w = ctx;
        struct err ignored;
        return catalog_member_by_path(w->catalog, w->a->id, path, copy_folder, ret, &ignored);
}

static void warn(void *ctx, const char *path, const char *why)
{
        struct work *w = ctx;
        w->progress.warnings++;
        if (w->params->warn)
                w->params->warn(w->params->ctx, path, why);
}

static int extract(struct work *w, struct err *e)
{
        const struct untar_params p = {
                .to = w->params->to,
                .clash = w->params->overwrite ? UNTAR_OVERWRITE : UNTAR_REFUSE,
                .check = check,
                .folder = folder,
                .warn = warn,
                .ctx = w,
        };
        _cleanup_(untar_freep) struct untar *u = NULL;
        int q = untar_new(&p, &u, e);
        if (q < 0)
                return q;
        w->offset = w->ranges.n > 0 ? w->ranges.v[0].start : 0;
        if ((q = untar_run(u, source, w, e)) < 0)
                return q;
        return untar_finish(u, e);
}

static void work_done(struct work *w)
{
        reader_free(w->reader);
        for (size_t i = 0; i < w->n_extra; i++)
                free(w->extra[i]);
        free(w->extra);
        free(w->ranges.v);
        free(w->late.v);
        free(w->found);
}

int restore_run(struct catalog *c, struct store *s, const struct catalog_archive *a,
        const struct restore_params *params, struct restore_progress *ret, struct err *e)
{
        _cleanup_(work_done) struct work w = {.catalog = c, .a = a, .params = params, .e = e};
        size_t n = 0;
        while (params->paths && params->paths[n])
                n++;
        if (!(w.found = calloc(n + 1, sizeof *w.found)))
                return err_oom(e);
        int q = select_all(&w, e);
        if (q == 0)
                q = reader_new(c, s, a, params->unwrap, params->unwrap_ctx, &w.reader, e);
        if (q == 0)
                q = extract(&w, e);
        if (w.reader)
                w.progress.fetched = reader_fetched(w.reader);
        if (ret)
                *ret = w.progress;
        return q < 0 ? q : w.progress.warnings > 0;
}
