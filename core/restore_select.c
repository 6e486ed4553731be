#include "restore_internal.h"

#include "catalog_version.h"

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
        return w->sorted && w->n_extra > 0 &&
               bsearch(&path, w->extra, w->n_extra, sizeof *w->extra, by_text);
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
                        q = not_here(w, w->params->paths[i], e);
        return q;
}
