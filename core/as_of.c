#include "as_of.h"

#include "catalog_version.h"
#include "clock.h"
#include "restore.h"
#include "store.h"
#include "stores.h"

#include <time.h>

/* ---- dates ---- */

int as_of_parse(const char *text, int64_t *ret_ns, struct err *e)
{
        static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S",
                "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d"};
        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
                struct tm tm = {.tm_isdst = -1};
                const char *end = strptime(text, forms[i], &tm);
                bool utc = end && streq(end, "Z");
                if (!end || (*end && !utc))
                        continue;
                bool day = i + 1 == ARRAY_SIZE(forms);
                if (day)
                        tm.tm_mday++;
                time_t t = utc ? timegm(&tm) : mktime(&tm);
                *ret_ns = (int64_t)t * CLOCK_NSEC + (day ? -1 : CLOCK_NSEC - 1);
                return 0;
        }
        return err_set(e, -EINVAL,
                "%s is not a date; one is 2026-11-27, or \"2026-11-27 14:00\", in local time",
                text);
}

/* ---- what it is ---- */

static int add_up(void *ctx, const char *base _unused_, const struct catalog_member *m)
{
        struct restore_progress *p = ctx;
        p->todo_files += m->type == 'f' || m->type == 'h';
        p->todo_bytes += m->type == 'f' ? m->size : 0;
        p->files++; /* anything at all */
        return 0;
}

int as_of_look(struct catalog *c, int64_t when, const char *const *paths,
        int (*archive)(void *ctx, const char *id, uint64_t members), void *ctx,
        struct restore_progress *ret, struct err *e)
{
        struct restore_progress p = {0};
        int q = catalog_asof(c, when, paths, e);
        if (q == 0)
                q = catalog_asof_each(c, NULL, add_up, &p, e);
        if (q == 0 && p.files == 0) {
                char date[CLOCK_TEXT_MAX];
                clock_iso(when, date);
                return err_set(e, -ENOENT, "nothing of %s was stored as of %s", paths[0], date);
        }
        if (q == 0 && archive)
                q = catalog_asof_bases(c, archive, ctx, e);
        p.files = 0;
        if (q == 0)
                *ret = p;
        return q;
}

/* ---- restoring ---- */

struct work {
        const struct config *config;
        struct catalog *c;
        const struct restore_params *params;
        struct restore_progress done;
        struct err damage; /* of the first archive that is damaged */
        char **bases;
        size_t n;
        uint64_t *offsets; /* of the members wanted of the archive that is read, ascending */
        size_t n_offsets, cap;
        struct err *e;
};

static void work_done(struct work *w)
{
        for (size_t i = 0; i < w->n; i++)
                free(w->bases[i]);
        free(w->bases);
        free(w->offsets);
}

static int note_base(void *ctx, const char *id, uint64_t members _unused_)
{
        struct work *w = ctx;
        char **v = reallocarray(w->bases, w->n + 1, sizeof *v);
        if (!v)
                return err_oom(w->e);
        w->bases = v;
        return (v[w->n++] = strdup(id)) ? 0 : err_oom(w->e);
}

static int note_offset(void *ctx, const char *base _unused_, const struct catalog_member *m)
{
        struct work *w = ctx;
        if (w->n_offsets == w->cap) {
                size_t cap = MAX((size_t)1024, w->cap * 2);
                uint64_t *v = reallocarray(w->offsets, cap, sizeof *v);
                if (!v)
                        return err_oom(w->e);
                w->offsets = v;
                w->cap = cap;
        }
        w->offsets[w->n_offsets++] = m->tar_offset;
        return 0;
}

static int by_number(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
        return (x > y) - (x < y);
}

static bool is_wanted(void *ctx, const struct catalog_member *m)
{
        const struct work *w = ctx;
        return w->n_offsets > 0 && m->type != 'i' &&
               bsearch(&m->tar_offset, w->offsets, w->n_offsets, sizeof *w->offsets, by_number);
}

static int restore_base(struct work *w, const char *id)
{
        struct catalog_archive a = {0};
        _cleanup_(store_closep) struct store *s = NULL;
        struct restore_progress p = {0};
        w->n_offsets = 0;
        int q = catalog_archive_get(w->c, id, &a, w->e);
        if (q == 0)
                q = catalog_asof_each(w->c, id, note_offset, w, w->e);
        if (q == 0)
                q = stores_open(w->config, a.store_url, a.storage_class, &s, w->e);
        if (q == 0)
                q = store_check_readable(s, *a.store_id ? a.store_id : NULL, NULL, w->e);
        if (q == 0) {
                struct restore_params r = *w->params;
                r.paths = NULL;
                r.want = is_wanted;
                r.want_ctx = w;
                q = restore_run(w->c, s, &a, &r, &p, w->e);
        }
        if (q == -EREMOTE)
                err_hint(w->e, "thaw it first: autoglacier restore %s --wait", a.name);
        catalog_archive_done(&a);
        w->done.files += p.files;
        w->done.bytes += p.bytes;
        w->done.fetched += p.fetched;
        w->done.warnings += p.warnings;
        w->done.lost += p.lost;
        return MIN(q, 0);
}

/* What is damaged in one archive keeps nothing away that lies in others. */
static int pass_damage(struct work *w, int q)
{
        if (q != -EBADMSG)
                return q;
        if (w->damage.code == 0 && w->e)
                w->damage = *w->e;
        w->damage.code = q;
        return 0;
}

int as_of_run(const struct config *config, struct catalog *c, int64_t when,
        const struct restore_params *params, struct restore_progress *ret, unsigned *ret_archives,
        struct err *e)
{
        _cleanup_(work_done) struct work w = {.config = config, .c = c, .params = params, .e = e};
        int q = as_of_look(c, when, params->paths, note_base, &w, &w.done, e);
        for (size_t i = 0; q == 0 && i < w.n; i++)
                q = pass_damage(&w, restore_base(&w, w.bases[i]));
        if (q == 0)
                q = as_of_folders(c, params, &w.done.warnings, e);
        if (q == 0 && w.damage.code < 0) {
                q = w.damage.code;
                if (e)
                        *e = w.damage;
        }
        if (ret)
                *ret = w.done;
        if (ret_archives)
                *ret_archives = (unsigned)w.n;
        return q < 0 ? q : w.done.warnings > 0;
}
