#include "recover.h"

#include "catalog.h"
#include "catalog_version.h"
#include "io.h"
#include "manifest.h"
#include "recover_internal.h"
#include "store.h"
#include "stores.h"

#include <fcntl.h>
#include <inttypes.h>

/* ---- objects ---- */

static int fetch(void *ctx, void *data, size_t len, uint64_t offset, struct err *e)
{
        const struct recover_open *o = ctx;
        return store_get(o->store, o->object->name, data, len, offset, e);
}

static int check_context(const struct recover_open *o, struct err *e)
{
        const char *id = seal_reader_context(o->seal, SEAL_CONTEXT_ARCHIVE);
        const char *volume = seal_reader_context(o->seal, SEAL_CONTEXT_VOLUME);
        unsigned number = MAX(o->object->volume, 1u); /* a manifest has 1, too */
        if (!id || !volume || !streq(id, o->object->id) ||
                strtoul(volume, NULL, 10) != (unsigned long)number)
                return err_set(e, -EPROTO, "it is another object than its name says");
        return 0;
}

int recover_open(
        struct recover *r, const struct recover_object *o, struct recover_open *ret, struct err *e)
{
        *ret = (struct recover_open){.store = r->store, .object = o};
        const struct seal_source source = {.pread = fetch, .ctx = ret, .size = o->size};
        int q = seal_reader_new(&source, r->params->unwrap, r->params->unwrap_ctx, &ret->seal, e);
        if (q == 0 && (q = check_context(ret, e)) < 0)
                recover_close(ret);
        return q < 0 ? err_prefix(e, q, "%s", o->name) : 0;
}

void recover_close(struct recover_open *o)
{
        seal_reader_free(o->seal);
        o->seal = NULL;
}

/* ---- the manifest's own object ---- */

struct text {
        struct recover_open *open;
        struct compress_decoder *decoder;
        uint64_t at;
};

static ssize_t sealed_bytes(void *ctx, void *data, size_t len, struct err *e)
{
        struct text *t = ctx;
        uint64_t size = seal_reader_size(t->open->seal);
        size_t n = (size_t)MIN((uint64_t)len, size - t->at);
        int q = n > 0 ? seal_pread(t->open->seal, data, n, t->at, e)
                      : seal_check_end(t->open->seal, e);
        if (q < 0)
                return q;
        t->at += n;
        return (ssize_t)n;
}

static ssize_t text_bytes(void *ctx, void *data, size_t len, struct err *e)
{
        struct text *t = ctx;
        return compress_decoder_read(t->decoder, data, len, e);
}

/* Fills the catalogue, and takes it back if it turns out to be of another archive. */
static int take(struct recover *r, const struct recover_group *g, struct text *t, struct err *e)
{
        _cleanup_free_ char *id = NULL;
        int q = manifest_read(text_bytes, t, r->catalog, &id, e);
        if (q < 0)
                return q;
        if (streq(id, g->id))
                return 0;
        (void)catalog_archive_remove(r->catalog, id, NULL); /* the error that counts follows */
        return err_set(e, -EPROTO, "it is the manifest of archive %s", id);
}

static int from_manifest(struct recover *r, const struct recover_group *g, struct err *e)
{
        struct recover_open open;
        int q = recover_open(r, g->manifest, &open, e);
        if (q < 0)
                return q;
        struct text t = {.open = &open};
        q = compress_decoder_new(COMPRESS_LZMA, sealed_bytes, &t, &t.decoder, e);
        if (q == 0 && (q = take(r, g, &t, e)) < 0)
                q = err_prefix(e, q, "%s", g->manifest->name);
        compress_decoder_free(t.decoder);
        recover_close(&open);
        return q;
}

/* ---- one archive ---- */

/* Nothing more can be done with any archive. */
static bool ends_all(int q)
{
        return q == -EACCES || q == -ENODEV || q == -ENOMEM || q == -ECANCELED || q == -ENOSPC ||
               q == -EROFS;
}

/* What a manifest says is authentic only in that it was sealed for us: its volumes must be the ones
 * that belong to the archive, or a delete of it would remove those of another. */
static int check_names(struct recover *r, const struct recover_group *g, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n = 0;
        struct catalog_archive a = {0};
        enum compress_kind kind = COMPRESS_NONE;
        int q = catalog_volumes(r->catalog, g->id, &v, &n, e);
        if (q == 0)
                q = catalog_archive_get(r->catalog, g->id, &a, e);
        if (q == 0 && (!streq(a.origin, g->origin) || compress_parse(a.compression, &kind) < 0))
                q = err_set(e, -EPROTO, "its manifest is not of this archive");
        for (size_t i = 0; q == 0 && i < n; i++) {
                _cleanup_free_ char *name =
                        stores_volume_name(g->origin, g->id, v[i].number, compress_suffix(kind));
                if (!name)
                        q = err_oom(e);
                else if (!streq(name, v[i].object))
                        q = err_set(e, -EPROTO, "its manifest names an object of another archive");
        }
        catalog_archive_done(&a);
        if (q == -EPROTO)
                (void)catalog_archive_remove(r->catalog, g->id, NULL); /* q says why */
        return q;
}

static const struct recover_object *find(const struct recover_group *g, unsigned number)
{
        for (size_t i = 0; i < g->n; i++)
                if (g->volumes[i].volume == number)
                        return &g->volumes[i];
        return NULL;
}

/* Are the volumes there, with the sizes they had? */
static int check_sizes(struct recover *r, const struct recover_group *g, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n = 0;
        int q = catalog_volumes(r->catalog, g->id, &v, &n, e);
        for (size_t i = 0; q == 0 && i < n; i++) {
                const struct recover_object *o = find(g, v[i].number);
                if (!o)
                        q = err_set(e, -EBADMSG, "its volume %s is missing", v[i].object);
                else if (o->size != v[i].size)
                        q = err_set(e, -EBADMSG,
                                "its volume %s has %" PRIu64 " bytes, not %" PRIu64, v[i].object,
                                o->size, v[i].size);
        }
        return q;
}

static int copy_err(const struct err *from, struct err *e)
{
        if (e)
                *e = *from;
        return from->code;
}

/* From its manifest, else from its end. 1: from its end, with `e` saying why. */
static int fill(struct recover *r, const struct recover_group *g, struct err *e)
{
        struct err first = {0};
        int q = g->manifest ? from_manifest(r, g, &first)
                            : err_set(&first, -ENOENT, "its manifest is missing");
        if (q == 0)
                q = check_names(r, g, &first);
        if (q == 0 || ends_all(q) || q == -EPROTONOSUPPORT || q == -EREMOTE)
                return copy_err(&first, e);
        struct err second = {0};
        int t = recover_from_tail(r, g, &second);
        if (t == 0)
                t = check_names(r, g, &second);
        /* that it names other keys may be damage, too: then the archive itself is ours */
        if (q == -ENOKEY && t < 0)
                return copy_err(ends_all(t) ? &second : &first, e);
        if (t == -EREMOTE)
                return recover_ask_end(r, g, &first, e);
        if (t < 0)
                return err_set(e, t, "%s; %s", first.text, second.text);
        (void)err_set(e, q, "%s; it was read from the archive's own end", first.text);
        return 1;
}

static int lock_job(struct recover *r, const char *id, int *ret_fd, struct err *e)
{
        _cleanup_free_ char *name = NULL;
        if (asprintf(&name, "%s/locks/%s.lock", r->params->data, id) < 0) {
                name = NULL;
                return err_oom(e);
        }
        return io_lock_file(AT_FDCWD, name, ret_fd, e);
}

static void unlock_job(struct recover *r, const char *id, int fd)
{
        _cleanup_free_ char *name = NULL;
        if (asprintf(&name, "%s/locks/%s.lock", r->params->data, id) >= 0)
                (void)unlink(name); /* one that stays is only litter */
        base_closep(&fd);
}

/* What a row says must not be changed by objects that only have its id. */
static int check_origin(
        const struct catalog_archive *a, const struct recover_group *g, struct err *e)
{
        if (streq(a->origin, g->origin))
                return 0;
        return err_set(e, -EPROTO,
                "its objects lie below archives/%s, those of the archive that the catalogue has "
                "under this id below archives/%s",
                g->origin, a->origin);
}

/* 1: in the catalogue, and finished. 0: not. */
static int is_known(struct recover *r, const struct recover_group *g, struct err *e)
{
        struct catalog_archive a = {0};
        struct err ignored = {0};
        int q = catalog_archive_get(r->catalog, g->id, &a, &ignored);
        if (q == -ENOENT)
                return 0;
        if (q < 0)
                return err_set(e, q, "%s", ignored.text);
        /* a row that a recover left half made, when it was killed */
        bool half = a.state == ARCHIVE_PREPARED && a.released;
        q = half ? catalog_archive_remove(r->catalog, g->id, e) : check_origin(&a, g, e);
        catalog_archive_done(&a);
        return q == 0 && !half ? 1 : q;
}

/* The last line of its log, which no manifest has: it was written before. */
static int log_stored(struct recover *r, const char *id, struct err *e)
{
        struct catalog_archive a = {0};
        int q = catalog_archive_get(r->catalog, id, &a, e);
        if (q == 0)
                q = catalog_event_stored(r->catalog, &a, a.stored, e);
        catalog_archive_done(&a);
        return q;
}

static int recover_one(
        struct recover *r, const struct recover_group *g, enum recover_result *ret, struct err *e)
{
        int q = is_known(r, g, e);
        bool known = q > 0;
        *ret = known ? RECOVER_KNOWN : RECOVER_FOUND;
        if (q == 0)
                q = fill(r, g, e);
        if (q < 0)
                return q;
        bool from_end = q == 1 && !known;
        struct err why = {0};
        q = recover_volumes(r, g, &why);
        if (q == 0)
                q = check_sizes(r, g, &why);
        if (q == 0 && !known)
                q = catalog_archive_set_store(r->catalog, g->id, r->store->url, r->store_id, &why);
        if (q == 0 && !known)
                q = log_stored(r, g->id, &why);
        if (q < 0 && e)
                *e = why;
        if (q == 0 && from_end)
                *ret = RECOVER_MENDED;
        return q;
}

/* ---- all ---- */

/* Rows that are not to be touched: of a commit that is not over, or of an archive that is being
 * deleted. */
static bool is_left_alone(struct recover *r, const char *id, enum recover_result *ret)
{
        struct catalog_archive a = {0};
        struct err ignored = {0};
        bool there = catalog_archive_get(r->catalog, id, &a, &ignored) == 0;
        bool over = archive_is_stored(a.state) || (a.state == ARCHIVE_PREPARED && a.released);
        *ret = a.state == ARCHIVE_DELETED ? RECOVER_KNOWN : RECOVER_BUSY;
        catalog_archive_done(&a);
        return there && !over;
}

static void tell(struct recover *r, const struct recover_group *g, enum recover_result result,
        const struct err *why, struct recover_counts *counts)
{
        struct catalog_archive a = {0};
        struct err ignored = {0};
        bool there = catalog_archive_get(r->catalog, g->id, &a, &ignored) == 0;
        unsigned *const count[] = {
                [RECOVER_KNOWN] = &counts->known,
                [RECOVER_FOUND] = &counts->found,
                [RECOVER_MENDED] = &counts->mended,
                [RECOVER_FOREIGN] = &counts->foreign,
                [RECOVER_DAMAGED] = &counts->damaged,
                [RECOVER_BUSY] = &counts->busy,
        };
        ++*count[result];
        r->params->told(r->params->ctx, &(struct recover_archive){.id = g->id,
                                                .origin = g->origin,
                                                .name = there ? a.name : NULL,
                                                .result = result,
                                                .why = *why->text ? why->text : NULL});
        catalog_archive_done(&a);
}

/* 0, or what ends it all. */
static int one(struct recover *r, const struct recover_group *g, struct recover_counts *counts,
        struct err *e)
{
        struct err why = {0};
        enum recover_result result = RECOVER_KNOWN;
        int lock = -EBADF;
        int q = lock_job(r, g->id, &lock, &why);
        enum recover_result alone = RECOVER_BUSY;
        if (q == -EAGAIN || (q == 0 && is_left_alone(r, g->id, &alone))) {
                (void)err_set(&why, -EAGAIN, "another program is at it, or it is not stored yet");
                tell(r, g, alone, &why, counts);
                base_closep(&lock);
                return 0;
        }
        if (q == 0)
                q = recover_one(r, g, &result, &why);
        if (lock >= 0)
                unlock_job(r, g->id, lock);
        if (ends_all(q))
                return err_set(e, q, "%s", why.text);
        if (q == -ENOKEY)
                result = RECOVER_FOREIGN;
        else if (q < 0)
                result = RECOVER_DAMAGED;
        tell(r, g, result, &why, counts);
        return 0;
}

bool recover_is_known(struct recover *r, const char *id)
{
        struct catalog_archive a = {0};
        struct err ignored = {0};
        bool known = catalog_archive_get(r->catalog, id, &a, &ignored) == 0 &&
                     !(a.state == ARCHIVE_PREPARED && a.released);
        catalog_archive_done(&a);
        return known;
}

size_t recover_next_group(const struct recover_list *l, size_t at, struct recover_group *g)
{
        const struct recover_object *first = &l->v[at];
        size_t end = at;
        while (end < l->n && streq(l->v[end].id, first->id) &&
                streq(l->v[end].origin, first->origin))
                end++;
        bool has = first->volume == 0;
        *g = (struct recover_group){.manifest = has ? first : NULL,
                .volumes = first + has,
                .n = end - at - has,
                .id = first->id,
                .origin = first->origin};
        return end;
}

/* About how much is read for an archive. */
static uint64_t weight(const struct recover_group *g)
{
        return g->manifest ? g->manifest->size : MiB;
}

static uint64_t weigh_all(const struct recover_list *l)
{
        struct recover_group g;
        uint64_t n = 0;
        for (size_t at = 0; at < l->n; n += weight(&g))
                at = recover_next_group(l, at, &g);
        return n;
}

int recover_run(struct catalog *c, struct store *s, const struct recover_params *p,
        struct recover_counts *ret, struct err *e)
{
        struct recover r = {.catalog = c, .store = s, .params = p};
        _cleanup_(recover_list_done) struct recover_list l = {0};
        *ret = (struct recover_counts){0};
        struct err ignored = {0};
        if (store_check_readable(s, NULL, r.store_id, &ignored) < 0)
                r.store_id[0] = 0; /* what follows says what is wrong */
        int q = recover_inventory(&r, &ret->listed, e);
        if (q == 0)
                q = recover_list_read(s, &l, e);
        if (q == 0)
                q = recover_thaw(&r, &l, e);
        uint64_t done = 0, todo = weigh_all(&l);
        for (size_t at = 0; q == 0 && at < l.n;) {
                struct recover_group g;
                if (p->stop && atomic_load(p->stop))
                        return err_set(e, -ECANCELED, "interrupted; repeat it to go on");
                if (p->progress)
                        p->progress(p->ctx, done, todo);
                at = recover_next_group(&l, at, &g);
                done += weight(&g);
                q = one(&r, &g, ret, e);
        }
        return q < 0 ? q : catalog_run_recount(c, e);
}
