#include "restore.h"

#include "clock.h"
#include "restore_internal.h"
#include "untar.h"
#include "words.h"

#include <inttypes.h>

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
        ssize_t n = reader_read(
                w->reader, data, (size_t)MIN((uint64_t)len, left), w->offset, r->v[w->at].end, e);
        if (n == 0)
                n = err_set(e, -EPROTO,
                        "archive %s ends at byte %" PRIu64
                        " of its tar stream, before its last member",
                        w->a->name, w->offset);
        if (n > 0)
                w->offset += (uint64_t)n;
        w->unreadable = n < 0;
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
        buf_reset(&w->current);
        buf_adds(&w->current, u->path);
        if (buf_oom(&w->current))
                return err_oom(e);
        if (u->type != 'f')
                return 0;
        struct untar_result copy = *u;
        int q = catalog_member_by_path(w->catalog, w->a->id, u->path, compare_sum, &copy, e);
        w->wrong = q == -EBADMSG;
        if (w->wrong)
                return err_set(e, q, "its content has not the SHA-512 that was recorded");
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
                .st_mtim = clock_timespec(m->mtime),
        };
        return m->type == 'd';
}

/* A folder on the way to a path that was asked for alone: its member is not fetched for that. */
static int folder(void *ctx, const char *path, struct stat *ret)
{
        struct work *w = ctx;
        return catalog_member_by_path(w->catalog, w->a->id, path, copy_folder, ret, NULL);
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
        for (q = 1; q > 0;) {
                struct err why = {0};
                w->unreadable = w->wrong = false;
                q = untar_run(u, source, w, &why);
                if (q < 0)
                        q = restore_pass(w, &why, e);
        }
        return q < 0 ? q : untar_finish(u, e);
}

static int say_lost(const struct work *w, struct err *e)
{
        if (w->progress.lost == 0)
                return 0;
        return err_set(e, -EBADMSG,
                "archive %s is damaged: %s not restored; what is not named is there", w->a->name,
                WORDS(w->progress.lost, "member was", "members were"));
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
        buf_done(&w->current);
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
        int q = restore_select(&w, e);
        if (q == 0)
                q = reader_new(c, s, a, params->unwrap, params->unwrap_ctx, &w.reader, e);
        if (q == 0)
                q = extract(&w, e);
        if (q == 0)
                q = say_lost(&w, e);
        if (w.reader)
                w.progress.fetched = reader_fetched(w.reader);
        if (ret)
                *ret = w.progress;
        return q < 0 ? q : w.progress.warnings > 0;
}
