#include "commit_internal.h"

#include "clock.h"
#include "config.h"
#include "crash.h"
#include "io.h"
#include "keys.h"
#include "manifest_put.h"
#include "store.h"
#include "stores.h"
#include "sweep.h"

#include <fcntl.h>

#define PART_MOST (16u * MiB)

/* The recipients as they were at commit, whatever the configuration says now. */
static int load_recipients(struct run *r, struct err *e)
{
        int q = keys_public_list_parse(r->a.keys_pem, r->a.recipients, &r->recipients, e);
        return q < 0 ? err_prefix(e, q, "archive %s", r->a.name) : 0;
}

/* An answer that makes no sense was broken on its way: another will come. */
static int from_network(const struct run *r, int q, struct err *e)
{
        if (q != -EPROTO || !r->store || r->store->traits.direct)
                return q;
        if (e)
                e->code = -EAGAIN;
        return -EAGAIN;
}

static int open_store(struct run *r, bool hurry, struct err *e)
{
        int q = stores_open(r->env->config, r->a.store_url, r->a.storage_class, &r->store, e);
        if (q == 0 && !r->store->traits.direct)
                q = watch_start(r, hurry, e);
        if (q == 0)
                q = from_network(r,
                        store_check(r->store, *r->a.store_id ? r->a.store_id : NULL, NULL, e), e);
        if (q == 0)
                watch_trouble(r, NULL, 0);
        return q;
}

static char *run_volume_name(const struct run *r, unsigned number)
{
        enum compress_kind kind = COMPRESS_NONE;
        (void)compress_parse(r->a.compression, &kind); /* checked when the row was made */
        return stores_volume_name(r->a.origin, r->a.id, number, compress_suffix(kind));
}

int volumes_open(struct run *r, struct err *e)
{
        int q = load_recipients(r, e);
        if (q == 0)
                q = open_store(r, false, e);
        if (q < 0)
                return q;
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n;
        if ((q = catalog_volumes(r->catalog, r->a.id, &v, &n, e)) < 0)
                return q;
        r->cut = 0;
        uint64_t done = 0;
        for (size_t i = 0; i < n && v[i].done; i++) {
                r->cut = v[i].tar_end;
                done += v[i].size;
        }
        atomic_store(&r->sent, done);
        if (!r->store->traits.direct && (q = spooling_open(r, v, n, e)) < 0)
                return q;
        r->a.stored_bytes = run_sent(r);
        return catalog_members_cut(r->catalog, r->a.id, r->cut, e);
}

/* ---- the sink: called from the pipeline's output thread ---- */

/* Where a store takes only so many parts, larger volumes mean larger parts, and buffers. */
uint64_t run_volume_max(const struct run *r)
{
        const struct store_traits *t = &r->store->traits;
        uint64_t max = MIN(r->a.volume_size, t->max_object);
        return t->max_parts ? MIN(max, (uint64_t)t->max_parts * PART_MOST) : max;
}

/* An object of that name is ours, from a run that died between the store's confirmation and our
 * row: it is replaced. */
static int begin_upload(struct run *r, uint64_t max, struct err *e)
{
        const struct store_new n = {
                .name = r->object,
                .max_size = max,
                .part_size = r->store->traits.part_size,
                .replace = true,
                .archive_id = r->a.id,
        };
        return store_begin(r->store, &n, &r->upload, e);
}

int run_volume_begin(struct run *r, unsigned number, uint64_t tar_start, struct err *e)
{
        free(r->object);
        if (!(r->object = run_volume_name(r, number)))
                return err_oom(e);
        pthread_mutex_lock(&r->lock);
        int q = catalog_volume_begin(r->catalog, r->a.id, number, r->object, tar_start, e);
        pthread_mutex_unlock(&r->lock);
        crash_point("volume-begin");
        return q;
}

static int volume_begin(void *ctx, unsigned number, uint64_t tar_start, struct err *e)
{
        struct run *r = ctx;
        int q = run_volume_begin(r, number, tar_start, e);
        return q < 0 ? q : begin_upload(r, run_volume_max(r), e);
}

static int block(void *ctx, const struct pack_block *b, struct err *e)
{
        struct run *r = ctx;
        struct catalog_block row = {
                .volume = b->volume,
                .number = b->number,
                .tar_offset = b->tar_offset,
                .tar_len = b->tar_len,
                .plain_offset = b->plain_offset,
                .plain_len = b->plain_len,
        };
        pthread_mutex_lock(&r->lock);
        int q = catalog_block_add(r->catalog, r->a.id, &row, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}

static int put_part(struct run *r, const struct pack_part *p, struct err *e)
{
        struct store_part s = {
                .number = p->number,
                .offset = p->offset,
                .data = p->data,
                .len = p->len,
                .tree_hash = p->tree_hash,
                .sha256 = r->store->traits.direct ? NULL : p->sha256,
        };
        return store_put_part(r->upload, &s, e);
}

static int part(void *ctx, const struct pack_part *p, struct err *e)
{
        struct run *r = ctx;
        int q = put_part(r, p, e);
        if (q < 0)
                return q;
        crash_point("part");
        struct catalog_part row = {
                .volume = p->volume, .number = p->number, .offset = p->offset, .size = p->len};
        memcpy(row.tree_hash, p->tree_hash, sizeof row.tree_hash);
        pthread_mutex_lock(&r->lock);
        q = catalog_part_add(r->catalog, r->a.id, &row, e);
        pthread_mutex_unlock(&r->lock);
        atomic_fetch_add(&r->sent, p->len);
        return q;
}

struct catalog_volume run_volume_row(const struct run *r, const struct pack_volume *v)
{
        struct catalog_volume row = {
                .number = v->number,
                .tar_start = v->tar_start,
                .tar_end = v->tar_end,
                .plain_size = v->plain_size,
                .size = v->size,
        };
        memcpy(row.tree_hash, v->tree_hash, sizeof row.tree_hash);
        memcpy(row.message_id, v->message_id, sizeof row.message_id);
        (void)snprintf(row.object, sizeof row.object, "%s", r->object); /* made by us, short */
        return row;
}

/* Every member that begins before the cut is in the catalogue before the volume counts as done. */
static int volume_end(void *ctx, const struct pack_volume *v, struct err *e)
{
        struct run *r = ctx;
        int q = record_flush(r, v->tar_end, e);
        crash_point("volume-written");
        if (q == 0)
                q = store_finish(&r->upload, v->size, v->tree_hash, e);
        if (q < 0)
                return q;
        crash_point("volume-confirmed");
        struct catalog_volume row = run_volume_row(r, v);
        pthread_mutex_lock(&r->lock);
        q = catalog_volume_done(r->catalog, r->a.id, &row, e);
        pthread_mutex_unlock(&r->lock);
        crash_point("volume-done");
        return q;
}

static int first_after(void *ctx, const struct catalog_block *b)
{
        *(unsigned *)ctx = b->number + 1;
        return 0;
}

static int next_numbers(struct run *r, unsigned *ret_volume, unsigned *ret_block, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n;
        int q = catalog_volumes(r->catalog, r->a.id, &v, &n, e);
        if (q < 0)
                return q;
        unsigned volume = 1, number = 0;
        for (size_t i = 0; i < n && v[i].tar_end <= r->cut && (v[i].done || v[i].packed); i++)
                volume = v[i].number + 1;
        if (r->cut > 0)
                q = catalog_blocks(r->catalog, r->a.id, r->cut - 1, 1, first_after, &number, e);
        *ret_volume = volume;
        *ret_block = number;
        return q;
}

static int make_pack(
        struct run *r, const struct pack_sink *sink, struct pack_params *p, struct err *e)
{
        p->part_size = store_part_size(r->store, p->volume_size);
        p->part_sha256 = !r->store->traits.direct;
        p->recipients = (const struct keys_public *const *)r->recipients.v;
        p->n_recipients = r->recipients.n;
        p->id = r->a.id;
        p->workers = r->env->config->workers;
        return pack_new(p, sink, &r->pack, e);
}

int volumes_pack(struct run *r, struct err *e)
{
        struct pack_params p = {
                .level = r->a.level,
                .volume_size = run_volume_max(r),
                .tar_start = r->cut,
        };
        int q = compress_parse(r->a.compression, &p.kind);
        if (q < 0)
                return err_set(e, q, "unknown compression %s", r->a.compression);
        if ((q = next_numbers(r, &p.first_volume, &p.first_block, e)) < 0)
                return q;
        struct pack_sink sink = {.volume_begin = volume_begin,
                .block = block,
                .part = part,
                .volume_end = volume_end,
                .ctx = r};
        if (!r->store->traits.direct)
                spooling_sink(&sink);
        return make_pack(r, &sink, &p, e);
}

/* ---- the manifest as an object of its own ---- */

int volumes_put_manifest(struct run *r, struct err *e)
{
        _cleanup_free_ char *folder = io_join(r->env->data, "spool");
        _cleanup_free_ char *earlier = manifest_path(r);
        if (!folder || !earlier)
                return err_oom(e);
        r->written = clock_now();
        const struct manifest_put p = {.catalog = r->catalog,
                .store = r->store,
                .a = &r->a,
                .recipients = (const struct keys_public *const *)r->recipients.v,
                .n_recipients = r->recipients.n,
                .workers = r->env->config->workers,
                .folder = folder,
                .earlier = earlier,
                .when = r->written};
        int q = manifest_put(&p, e);
        crash_point("manifest-stored");
        return from_network(r, q, e);
}

/* ---- the end ---- */

/* What the store may have of the archive. */
struct sent {
        struct catalog_volume *v;
        size_t n;
        char *manifest;
};

static void sent_done(struct sent *s)
{
        free(s->v);
        free(s->manifest);
}

static int open_for_forgetting(struct run *r)
{
        struct err ignored = {0};
        if (r->store)
                return 0;
        int q = open_store(r, true, &ignored);
        if (q < 0)
                atomic_store(&r->watch.halt, true);
        return q;
}

static int note_litter(struct run *r, const char *object, struct err *e)
{
        const struct catalog_litter l = {r->a.store_url, r->a.store_id, object};
        return catalog_litter_add(r->catalog, &l, e);
}

static int note_sent(struct run *r, const struct sent *s, struct err *e)
{
        int q = s->n > 0 ? note_litter(r, "", e) : 0;
        for (size_t i = 0; q == 0 && i < s->n; i++)
                if (s->v[i].done || s->v[i].packed)
                        q = note_litter(r, s->v[i].object, e);
        return q == 0 && r->a.packed ? note_litter(r, s->manifest, e) : q;
}

/* Noted first: what cannot be removed now is removed when the store is back. "-" is no upload's
 * token, so that none is wanted. */
static int forget_sent(struct run *r, const struct sent *s, struct err *e)
{
        int q = note_sent(r, s, e);
        for (size_t i = 0; q == 0 && i < s->n; i++)
                q = catalog_volume_set_upload(r->catalog, r->a.id, s->v[i].number, "-", e);
        if (q == 0 && open_for_forgetting(r) == 0)
                (void)sweep_store(r->catalog, r->store, r->a.store_id, NULL); /* or later */
        spooling_clear(r);
        return q;
}

static int remove_placed(struct run *r, const struct sent *s, struct err *e)
{
        int q = r->store ? 0 : open_store(r, true, e);
        for (size_t i = 0; q == 0 && i < s->n; i++) {
                const struct catalog_volume *v = &s->v[i];
                struct store_upload *u = NULL;
                if (!v->done && store_begin(r->store, &(struct store_new){.name = v->object}, &u,
                                        NULL) == 0)
                        store_abort(u); /* discards what an unfinished upload left */
                q = store_remove(r->store, v->object, e);
        }
        return q < 0 ? q : store_remove(r->store, s->manifest, e);
}

/* Nothing is added any more. */
static int stop_sending(struct run *r, struct sent *ret, struct err *e)
{
        pack_free(r->pack);
        r->pack = NULL;
        store_abort(r->upload);
        r->upload = NULL;
        spooling_close(r);
        if (!(ret->manifest = stores_manifest_name(r->a.origin, r->a.id)))
                return err_oom(e);
        return catalog_volumes(r->catalog, r->a.id, &ret->v, &ret->n, e);
}

static int remove_sent(struct run *r, const struct sent *s, struct err *e)
{
        return startswith(r->a.store_url, "dir:") ? remove_placed(r, s, e) : forget_sent(r, s, e);
}

int volumes_forget(struct run *r, struct err *e)
{
        _cleanup_(sent_done) struct sent s = {0};
        int q = stop_sending(r, &s, e);
        return q < 0 ? q : remove_sent(r, &s, e);
}

static int reload(struct run *r, struct err *e)
{
        struct catalog_archive now = {0};
        int q = catalog_archive_get(r->catalog, r->a.id, &now, e);
        if (q < 0)
                return q;
        catalog_archive_done(&r->a);
        r->a = now;
        return 0;
}

/* As long as rows say that volumes are there, a run goes on behind them. */
int volumes_restart(struct run *r, struct err *e)
{
        _cleanup_(sent_done) struct sent s = {0};
        int q = stop_sending(r, &s, e);
        if (q < 0 || (q = note_sent(r, &s, e)) < 0 ||
                (q = catalog_archive_restart(r->catalog, r->a.id, e)) < 0 || (q = reload(r, e)) < 0)
                return q;
        (void)remove_sent(r, &s, NULL); /* noted: what stays is removed later, or replaced */
        return 0;
}

int volumes_sealed(struct run *r, uint64_t *ret, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n;
        int q = catalog_volumes(r->catalog, r->a.id, &v, &n, e);
        *ret = 0;
        for (size_t i = 0; q == 0 && i < n; i++)
                *ret += v[i].size;
        return q;
}

/* Uploads that a killed run left and nobody wants. */
void volumes_sweep(struct run *r)
{
        if (r->store && !r->store->traits.direct)
                (void)sweep_store(r->catalog, r->store, r->a.store_id, NULL); /* stays noted */
}

void volumes_close(struct run *r)
{
        pack_free(r->pack); /* stops the sink's thread before its upload goes */
        r->pack = NULL;
        spooling_close(r);
        if (r->upload && !r->store->traits.direct)
                store_leave(r->upload); /* swept later: it may be that the store is away */
        else
                store_abort(r->upload);
        r->upload = NULL;
        watch_stop(r);
        store_close(r->store);
        r->store = NULL;
        keys_public_list_done(&r->recipients);
        free(r->object);
        r->object = NULL;
}
