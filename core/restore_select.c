#include "restore_internal.h"

#include "catalog_version.h"

static bool path_wanted(struct work *w, const char *path)
{
        if (!w->params->paths)
                return true;
        bool yes = false;
        for (size_t i = 0; w->params->paths[i]; i++)
                if (path_below(path, w->params->paths[i]))
                        yes = w->found[i] = true;
        return yes;
}

static bool asked_for(struct work *w, const struct catalog_member *m)
{
        return w->params->want ? w->params->want(w->params->want_ctx, m) : path_wanted(w, m->path);
}

static int ask(void *ctx, const struct catalog_member *m)
{
        return asked_for(ctx, m);
}

static bool target_asked_for(struct work *w, const char *path)
{
        if (!w->params->want)
                return path_wanted(w, path);
        return catalog_member_by_path(w->catalog, w->a->id, path, ask, w, NULL) == 1;
}

static int by_text(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, each once: of a tree of hard links there may be as many as members. */
static void sort_extra(struct work *w)
{
        size_t n = 0;
        if (w->n_extra > 0)
                qsort(w->extra, w->n_extra, sizeof *w->extra, by_text);
        for (size_t i = 0; i < w->n_extra; i++)
                if (n > 0 && streq(w->extra[n - 1], w->extra[i]))
                        free(w->extra[i]);
                else
                        w->extra[n++] = w->extra[i];
        w->n_extra = n;
}

static bool is_extra(const struct work *w, const char *path)
{
        return w->n_extra > 0 && bsearch(&path, w->extra, w->n_extra, sizeof *w->extra, by_text);
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
        bool asked = m->type != 'i' && asked_for(w, m);
        if (m->type == 'i' || (!asked && !is_extra(w, m->path)))
                return 0;
        if (!asked && w->params->warn)
                w->params->warn(w->params->ctx, m->path,
                        "was not asked for, but a hard link to it was: it is restored, too");
        w->progress.todo_files += m->type == 'f';
        w->progress.todo_bytes += m->type == 'f' ? m->size : 0;
        return add_range(comes_before_its_content(w, m) ? &w->late : &w->ranges, m->tar_offset,
                m->tar_len, w->e);
}

/* A hard link whose content was not asked for needs the member that holds it. */
static int select_link_target(void *ctx, const struct catalog_member *m)
{
        struct work *w = ctx;
        if (m->type != 'h' || !asked_for(w, m) || target_asked_for(w, m->link))
                return 0;
        if (w->n_extra == w->extra_cap) {
                size_t cap = MAX((size_t)64, w->extra_cap * 2);
                char **v = reallocarray(w->extra, cap, sizeof *v);
                if (!v)
                        return err_oom(w->e);
                w->extra = v;
                w->extra_cap = cap;
        }
        if (!(w->extra[w->n_extra] = strdup(m->link)))
                return err_oom(w->e);
        w->n_extra++;
        return 0;
}

static int keep_base(void *ctx, const char *base, const struct catalog_member *m _unused_)
{
        return (*(char **)ctx = strdup(base)) ? 0 : -ENOMEM;
}

/* An archive of only what changed lists more than it holds. */
static int not_here(struct work *w, const char *path, struct err *e)
{
        _cleanup_free_ char *base = NULL;
        struct err ignored = {0};
        if (catalog_state_lookup(w->catalog, w->a->id, path, keep_base, &base, &ignored) == 0)
                return err_set(e, -ENOENT,
                        "%s had not changed when %s was made, and lies in archive %s", path,
                        w->a->name, base);
        return err_set(e, -ENOENT, "%s is not in archive %s; autoglacier files %s lists what is",
                path, w->a->name, w->a->name);
}

int restore_select(struct work *w, struct err *e)
{
        int q = 0;
        if (w->params->paths || w->params->want)
                q = catalog_members_each(
                        w->catalog, w->a->id, CATALOG_AS_TAR, select_link_target, w, e);
        sort_extra(w);
        if (q == 0)
                q = catalog_members_each(w->catalog, w->a->id, CATALOG_AS_TAR, select_member, w, e);
        for (size_t i = 0; q == 0 && i < w->late.n; i++)
                q = add_range(
                        &w->ranges, w->late.v[i].start, w->late.v[i].end - w->late.v[i].start, e);
        for (size_t i = 0; q == 0 && w->params->paths && w->params->paths[i]; i++)
                if (!w->found[i])
                        q = not_here(w, w->params->paths[i], e);
        return q;
}
