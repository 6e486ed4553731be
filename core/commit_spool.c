#include "commit_internal.h"

#include "config.h"
#include "crash.h"
#include "sender.h"
#include "spool.h"
#include "store.h"

#include <inttypes.h>

/* The sink for stores that are reached over a network: finished parts go into the spool, where they
 * stay until the store has confirmed the volume, and from there to the sender. */

uint64_t run_sent(struct run *r)
{
        return atomic_load(&r->sent) + (r->sender ? sender_sent(r->sender) : 0);
}

/* ---- what the sender tells, on the side connection ---- */

static int begun(void *ctx, unsigned volume, const char *token, struct err *e)
{
        struct run *r = ctx;
        const struct catalog_litter l = {r->a.store_url, r->a.store_id, ""};
        pthread_mutex_lock(&r->watch.side_lock);
        int q = r->littering ? 0 : catalog_litter_add(r->watch.side, &l, e);
        r->littering = r->littering || q == 0;
        if (q == 0)
                q = catalog_volume_set_upload(r->watch.side, r->a.id, volume, token, e);
        pthread_mutex_unlock(&r->watch.side_lock);
        return q;
}

static int sent(void *ctx, unsigned volume, unsigned part, struct err *e)
{
        struct run *r = ctx;
        pthread_mutex_lock(&r->watch.side_lock);
        int q = catalog_part_sent(r->watch.side, r->a.id, volume, part, e);
        pthread_mutex_unlock(&r->watch.side_lock);
        return q;
}

static int write_done(struct run *r, unsigned volume, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n;
        int q = catalog_volumes(r->watch.side, r->a.id, &v, &n, e);
        for (size_t i = 0; q == 0 && i < n; i++) {
                if (v[i].number != volume)
                        continue;
                atomic_fetch_add(&r->sent, v[i].size);
                return catalog_volume_done(r->watch.side, r->a.id, &v[i], e);
        }
        return q < 0 ? q : err_set(e, -EPROTO, "volume %u is not in the catalogue", volume);
}

static int confirmed(void *ctx, unsigned volume, struct err *e)
{
        struct run *r = ctx;
        pthread_mutex_lock(&r->watch.side_lock);
        int q = write_done(r, volume, e);
        pthread_mutex_unlock(&r->watch.side_lock);
        crash_point("volume-done");
        return q;
}

/* ---- going on ---- */

struct announce {
        struct run *r;
        struct err *e;
};

static int announce_part(void *ctx, const struct catalog_part *p)
{
        const struct announce *a = ctx;
        struct sender_part s = {.number = p->number,
                .len = (uint32_t)p->size,
                .offset = p->offset,
                .sent = p->sent};
        memcpy(s.tree_hash, p->tree_hash, sizeof s.tree_hash);
        memcpy(s.sha256, p->sha256, sizeof s.sha256);
        return sender_part(a->r->sender, &s, a->e);
}

static int announce(struct run *r, const struct catalog_volume *v, struct err *e)
{
        _cleanup_free_ char *token = NULL;
        struct announce a = {r, e};
        int q = catalog_volume_upload(r->catalog, r->a.id, v->number, &token, e);
        if (q == 0)
                q = sender_volume(r->sender, v->number, v->object, token, e);
        if (q == 0)
                q = catalog_parts(r->catalog, r->a.id, v->number, announce_part, &a, e);
        return q < 0 ? q : sender_packed(r->sender, v->size, v->tree_hash, e);
}

static uint32_t part_size(const struct run *r)
{
        return store_part_size(r->store, run_volume_max(r));
}

/* The watch looks at it. */
static struct sender *set_sender(struct run *r, struct sender *s)
{
        pthread_mutex_lock(&r->watch.side_lock);
        struct sender *before = r->sender;
        r->sender = s;
        pthread_mutex_unlock(&r->watch.side_lock);
        return before;
}

static int start_sender(struct run *r, struct err *e)
{
        const struct config *c = r->env->config;
        const struct sender_params p = {
                .store = r->store,
                .spool = r->spool,
                .concurrency = c->upload_concurrency,
                .part_size = part_size(r),
                .max_size = run_volume_max(r),
                .window = c->upload_window,
                .archive_id = r->a.id,
                .description = c->private_descriptions ? NULL : r->a.description,
                .stop = &r->watch.halt,
                .hooks = {.begun = begun,
                        .sent = sent,
                        .confirmed = confirmed,
                        .trouble = watch_trouble,
                        .ctx = r},
        };
        struct sender *s = NULL;
        int q = sender_start(&p, &s, e);
        if (q < 0)
                return q;
        set_sender(r, s);
        return 0;
}

/* A volume of which the spool lost something is packed again, and all after it. */
static int lost(struct run *r, unsigned volume, struct err *e)
{
        run_event(r, 'i',
                "volume %u is not any more in the spool as it was written; it is packed again",
                volume);
        r->a.packed = false;
        pthread_mutex_lock(&r->lock);
        int q = catalog_volumes_rewind(r->catalog, r->a.id, volume, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}

/* Takes up what earlier runs packed: moves the cut behind it. */
int spooling_open(struct run *r, const struct catalog_volume *v, size_t n, struct err *e)
{
        int q = spool_open(r->env->data, r->a.id, &r->spool, e);
        if (q == 0)
                q = start_sender(r, e);
        size_t i = 0;
        for (; i < n && v[i].done; i++)
                spool_remove(r->spool, v[i].number);
        for (; q == 0 && i < n && v[i].packed; i++) {
                if (!spool_holds(r->spool, v[i].number, v[i].size))
                        return lost(r, v[i].number, e);
                q = announce(r, &v[i], e);
                r->cut = v[i].tar_end;
        }
        return q;
}

/* What the sender said; a loss in the spool becomes work to be done again. */
static int told(struct run *r, int q, struct err *e)
{
        unsigned volume = q == -EBADMSG ? sender_damaged(r->sender) : 0;
        if (volume == 0)
                return q;
        q = lost(r, volume, e);
        return q < 0 ? q
                     : err_set(e, -EAGAIN, "volume %u was damaged in the spool and is packed again",
                               volume);
}

/* Waits for the sender, but not for ever where others are to go on, or other jobs wait. */
static int wait_for_sender(struct run *r, struct err *e)
{
        struct err why = {0};
        int q = told(r, sender_wait(r->sender, e), e);
        if (q < 0 || !watch_gives_way(r, &why))
                return q;
        atomic_store(&r->watch.halt, true); /* the calls that run would go on trying */
        return err_set(e, -EAGAIN, "%s", why.text);
}

int spooling_drain(struct run *r, struct err *e)
{
        while (r->sender && sender_pending(r->sender)) {
                int q = wait_for_sender(r, e);
                if (q < 0)
                        return q;
        }
        return 0;
}

/* ---- the sink ---- */

/* Room comes when the store confirms a volume that is whole; if none is, the one that is being made
 * has to become so. */
static int wait_for_room(struct run *r, uint64_t len, struct err *e)
{
        uint64_t limit = r->env->config->spool_limit;
        while (spool_used(r->spool) + len > limit || !spool_has_room(r->spool, len)) {
                if (!sender_pending(r->sender))
                        break;
                int q = wait_for_sender(r, e);
                if (q < 0)
                        return q;
        }
        if (!spool_has_room(r->spool, len))
                return err_set(e, -ENOSPC,
                        "room on the disk that holds %s/spool, where what is sealed waits to be "
                        "sent; remove something there, or make VOLUME_SIZE smaller",
                        r->env->data);
        return 0;
}

static int volume_begin(void *ctx, unsigned number, uint64_t tar_start, struct err *e)
{
        struct run *r = ctx;
        int q = run_volume_begin(r, number, tar_start, e);
        if (q == 0)
                q = spool_begin(r->spool, number, e);
        return q < 0 ? q : told(r, sender_volume(r->sender, number, r->object, "", e), e);
}

static int record_part(struct run *r, const struct pack_part *p, struct err *e)
{
        struct catalog_part row = {
                .volume = p->volume, .number = p->number, .offset = p->offset, .size = p->len};
        memcpy(row.tree_hash, p->tree_hash, sizeof row.tree_hash);
        memcpy(row.sha256, p->sha256, sizeof row.sha256);
        pthread_mutex_lock(&r->lock);
        int q = catalog_part_spooled(r->catalog, r->a.id, &row, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}

static int part(void *ctx, const struct pack_part *p, struct err *e)
{
        struct run *r = ctx;
        int q = wait_for_room(r, p->len, e);
        if (q == 0)
                q = spool_write(r->spool, p->volume, p->data, p->len, p->offset, e);
        crash_point("part-spooled");
        if (q == 0)
                q = record_part(r, p, e);
        crash_point("part-recorded");
        if (q < 0)
                return q;
        struct sender_part s = {.number = p->number, .len = (uint32_t)p->len, .offset = p->offset};
        memcpy(s.tree_hash, p->tree_hash, sizeof s.tree_hash);
        memcpy(s.sha256, p->sha256, sizeof s.sha256);
        return told(r, sender_part(r->sender, &s, e), e);
}

static int volume_end(void *ctx, const struct pack_volume *v, struct err *e)
{
        struct run *r = ctx;
        int q = record_flush(r, v->tar_end, e);
        crash_point("volume-written");
        if (q < 0)
                return q;
        struct catalog_volume row = run_volume_row(r, v);
        pthread_mutex_lock(&r->lock);
        q = catalog_volume_packed(r->catalog, r->a.id, &row, e);
        pthread_mutex_unlock(&r->lock);
        crash_point("volume-packed");
        return q < 0 ? q : told(r, sender_packed(r->sender, v->size, v->tree_hash, e), e);
}

void spooling_sink(struct pack_sink *sink)
{
        sink->volume_begin = volume_begin;
        sink->part = part;
        sink->volume_end = volume_end;
}

/* ---- the end ---- */

void spooling_close(struct run *r)
{
        sender_free(set_sender(r, NULL)); /* its threads need the lock to end */
        spool_close(r->spool);
        r->spool = NULL;
}

void spooling_clear(struct run *r)
{
        struct spool *s = NULL;
        if (spool_open(r->env->data, r->a.id, &s, NULL) < 0)
                return; /* no spool, nothing in it */
        spool_clear(s);
        spool_close(s);
}
