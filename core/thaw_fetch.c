#include "thaw_internal.h"

#include "buf.h"
#include "cache.h"
#include "content.h"
#include "crash.h"
#include "restore.h"
#include "words.h"

#include <inttypes.h>

/* ---- into the cache ---- */

struct one {
        struct catalog_member m;
        uint8_t sha512[64];
};

static int take_member(void *ctx, const struct catalog_member *m)
{
        struct one *o = ctx;
        o->m = *m;
        o->m.path = o->m.name = o->m.link = NULL;
        o->m.sha512 = NULL;
        if (m->sha512) {
                memcpy(o->sha512, m->sha512, sizeof o->sha512);
                o->m.sha512 = o->sha512;
        }
        return 0;
}

/* A file may take hours: how far it is, and whether it is still wanted, is looked at inside, too.
 */
static bool go_on(void *ctx, uint64_t done)
{
        struct thaw *t = ctx;
        uint64_t before = t->r.done_bytes;
        t->r.done_bytes += done;
        thaw_tick(t);
        t->r.done_bytes = before;
        return !atomic_load(&t->halt);
}

static int fetch_file(struct thaw *t, struct content *k, const struct one *o, struct err *e)
{
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        _cleanup_close_ int kept = -EBADF;
        if (cache_get(t->env->cache, o->sha512, &kept, NULL) == 0)
                return 0;
        int q = catalog_member_path(t->catalog, o->m.row, &path, e);
        if (q == 0)
                q = cache_begin(t->env->cache, o->m.size, &fd, e);
        if (q == 0)
                q = content_fetch(k, &o->m, path, fd, go_on, t, e);
        return q < 0 ? q : cache_put(t->env->cache, o->sha512, &fd, &kept, e);
}

/* Damage of one file does not keep the others away. */
static int settle(struct thaw *t, int q, unsigned *damaged, struct err *e)
{
        if (q != -EBADMSG && q != -EPROTO)
                return q;
        thaw_log(t, 'e', "cannot be read back: %s", e->text);
        ++*damaged;
        return 0;
}

/* The first files, as many as leave room for others; the rest is fetched when it is read. */
static size_t files_ahead(const struct thaw *t, uint64_t *ret_bytes)
{
        uint64_t room = thaw_ahead(cache_limit(t->env->cache)), bytes = 0;
        size_t n = 0;
        for (; n < t->plan.n_files && t->plan.files[n].size <= room - bytes; n++)
                bytes += t->plan.files[n].size;
        *ret_bytes = bytes;
        return n;
}

static int fetch_all(struct thaw *t, struct content *k, unsigned *damaged, struct err *e)
{
        size_t n = files_ahead(t, &t->goal);
        uint64_t before = t->r.fetched;
        int q = 0;
        t->r.done_files = t->r.done_bytes = 0;
        for (size_t i = 0; q == 0 && i < n; i++) {
                const struct thaw_file *f = &t->plan.files[i];
                struct one o;
                q = catalog_member_by_row(t->catalog, f->member, take_member, &o, e);
                if (q == 0 && o.m.sha512)
                        q = settle(t, fetch_file(t, k, &o, e), damaged, e);
                t->r.fetched = before + content_fetched(k);
                if (q < 0)
                        break;
                t->r.done_files++;
                t->r.done_bytes += f->size;
                thaw_tick(t);
                if (atomic_load(&t->halt))
                        q = err_set(e, -ECANCELED, "interrupted");
                crash_point("restore-file");
        }
        return q;
}

/* A full disk keeps nobody from reading what is thawed by now, file by file. */
static int settle_full(struct thaw *t, int q, struct buf *note, const struct err *e)
{
        if (q != -ENOSPC)
                return q;
        buf_addf(note, "%s; the rest is fetched when it is read", e->text);
        thaw_log(t, 'w', "%s", buf_str(note));
        return 0;
}

static int to_cache(struct thaw *t, struct buf *note, struct err *e)
{
        unsigned damaged = 0;
        _cleanup_(content_freep) struct content *k = NULL;
        int q = content_new(t->catalog, t->store, &t->a, t->env->unwrap, t->env->unwrap_ctx, &k, e);
        if (q == 0)
                q = settle_full(t, fetch_all(t, k, &damaged, e), note, e);
        if (damaged > 0)
                buf_addf(note, "%s%s damaged; see the log", note->len > 0 ? "; " : "",
                        WORDS(damaged, "file is", "files are"));
        return q;
}

void thaw_drop(struct thaw *t)
{
        for (size_t i = 0; !*t->r.target && i < t->plan.n_files; i++) {
                struct one o;
                if (catalog_member_by_row(
                            t->catalog, t->plan.files[i].member, take_member, &o, NULL) == 0 &&
                        o.m.sha512)
                        cache_drop(t->env->cache, o.sha512);
        }
}

/* ---- into a folder ---- */

static void progress(void *ctx, const struct restore_progress *p)
{
        struct thaw *t = ctx;
        t->goal = p->todo_bytes;
        t->r.done_files = p->files;
        t->r.done_bytes = p->bytes;
        t->r.fetched = p->fetched;
        thaw_tick(t);
}

static void warn(void *ctx, const char *path, const char *why)
{
        thaw_log(ctx, 'w', "restore: %s: %s", path, why);
}

/* NULL-terminated pointers into the row's paths. The caller frees the list. */
static const char **list_of(const struct catalog_restore *r)
{
        size_t n = 0;
        for (size_t i = 0; i < r->paths_len; i++)
                n += r->paths[i] == 0;
        const char **v = calloc(n + 1, sizeof *v);
        const char *p = r->paths;
        if (!v)
                return NULL;
        for (size_t i = 0; i < n; i++, p += strlen(p) + 1)
                v[i] = p;
        return v;
}

static int begin_target(struct thaw *t, struct err *e)
{
        if (t->r.begun)
                return 0;
        /* before the first byte: afterwards what is there may be of an attempt that was cut off */
        int q = t->r.overwrite ? 0 : thaw_target_is_free(t->catalog, &t->plan, t->r.target, e);
        if (q < 0)
                return q;
        t->r.begun = true;
        return catalog_restore_update(t->catalog, &t->r, e);
}

static int to_folder(struct thaw *t, struct buf *note, struct err *e)
{
        bool again = t->r.begun || t->r.overwrite;
        int q = begin_target(t, e);
        _cleanup_free_ const char **paths = list_of(&t->r);
        struct restore_progress done = {0};
        if (q < 0)
                return q;
        if (!paths)
                return err_oom(e);
        const struct restore_params p = {
                .paths = t->r.paths_len > 0 ? paths : NULL,
                .to = t->r.target,
                .overwrite = again,
                .unwrap = t->env->unwrap,
                .unwrap_ctx = t->env->unwrap_ctx,
                .progress = progress,
                .warn = warn,
                .ctx = t,
                .stop = &t->halt,
        };
        q = restore_run(t->catalog, t->store, &t->a, &p, &done, e);
        progress(t, &done);
        if (q > 0)
                buf_addf(note, "%s; see the log", WORDS(done.warnings, "warning", NULL));
        return MIN(q, 0);
}

int thaw_fetch(struct thaw *t, struct buf *note, struct err *e)
{
        return *t->r.target ? to_folder(t, note, e) : to_cache(t, note, e);
}
