#include "pack_internal.h"

/* The sealer takes finished blocks in order and makes sealed volumes of them; the writer hands what
 * comes of it to the sink, so that hashing and the disk work at the same time. */

/* ---- events ---- */

static int push(struct pack *p, const struct pack_event *ev)
{
        pthread_mutex_lock(&p->lock);
        while (!p->failed.code && !p->stopping && p->events_n == PACK_EVENTS)
                pthread_cond_wait(&p->changed, &p->lock);
        bool stop = p->failed.code || p->stopping;
        if (!stop) {
                p->events[(p->events_head + p->events_n) % PACK_EVENTS] = *ev;
                p->events_n++;
                pthread_cond_broadcast(&p->changed);
        }
        pthread_mutex_unlock(&p->lock);
        return stop ? -ECANCELED : 0;
}

static bool pop(struct pack *p, struct pack_event *ret)
{
        pthread_mutex_lock(&p->lock);
        while (!p->failed.code && !p->stopping && p->events_n == 0 && !p->sealer_done)
                pthread_cond_wait(&p->changed, &p->lock);
        bool got = !p->failed.code && !p->stopping && p->events_n > 0;
        if (got) {
                *ret = p->events[p->events_head];
                p->events_head = (p->events_head + 1) % PACK_EVENTS;
                p->events_n--;
                pthread_cond_broadcast(&p->changed);
        }
        pthread_mutex_unlock(&p->lock);
        return got;
}

static uint8_t *take_part_buf(struct pack *p)
{
        uint8_t *buf = NULL;
        pthread_mutex_lock(&p->lock);
        while (!buf && !p->failed.code && !p->stopping) {
                for (unsigned i = 0; i < PACK_PARTS && !buf; i++)
                        if (p->part_free[i]) {
                                p->part_free[i] = false;
                                buf = p->part_bufs[i];
                        }
                if (!buf)
                        pthread_cond_wait(&p->changed, &p->lock);
        }
        pthread_mutex_unlock(&p->lock);
        return buf;
}

/* ---- the writer ---- */

static int deliver(struct pack *p, const struct pack_event *ev, struct err *e)
{
        switch (ev->kind) {
        case EVENT_BEGIN:
                return p->sink.volume_begin(p->sink.ctx, ev->number, ev->tar_start, e);
        case EVENT_BLOCK:
                return p->sink.block(p->sink.ctx, &ev->block, e);
        case EVENT_PART:
                return p->sink.part(p->sink.ctx, &ev->part, e);
        case EVENT_END:
                return p->sink.volume_end(p->sink.ctx, &ev->volume, e);
        }
        return -EINVAL;
}

static void delivered(struct pack *p, const struct pack_event *ev)
{
        pthread_mutex_lock(&p->lock);
        p->written += ev->kind == EVENT_BLOCK;
        for (unsigned i = 0; ev->kind == EVENT_PART && i < PACK_PARTS; i++)
                if (p->part_bufs[i] == ev->part.data)
                        p->part_free[i] = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
}

void *pack_writer(void *arg)
{
        struct pack *p = arg;
        struct pack_event ev;
        while (pop(p, &ev)) {
                struct err e = {0};
                int q = deliver(p, &ev, &e);
                if (q < 0) {
                        if (!e.code)
                                err_errno(&e, q, "the pipeline failed");
                        pack_fail(p, &e);
                        break;
                }
                delivered(p, &ev);
        }
        return NULL;
}

/* ---- parts ---- */

static int end_part(struct pack *p, struct err *e)
{
        struct pack_making *m = &p->making;
        struct pack_event ev = {.kind = EVENT_PART};
        ev.part = (struct pack_part){.volume = m->v.number,
                .number = ++m->v.n_parts,
                .offset = m->offset,
                .data = m->buf,
                .len = m->len};
        if (tree_hash_final(m->part, ev.part.tree_hash) < 0 ||
                tree_hash_add(m->whole, ev.part.tree_hash, p->params.part_size / TREE_HASH_LEAF) <
                        0)
                return err_set(e, -EIO, "SHA-256 failed");
        if (m->sha && (!EVP_DigestFinal_ex(m->sha, ev.part.sha256, NULL) ||
                              !EVP_DigestInit_ex(m->sha, EVP_sha256(), NULL)))
                return err_set(e, -EIO, "SHA-256 failed");
        m->offset += m->len;
        m->buf = NULL;
        m->len = 0;
        return push(p, &ev);
}

static int take_sealed(void *ctx, const void *data, size_t len, struct err *e)
{
        struct pack *p = ctx;
        struct pack_making *m = &p->making;
        const uint8_t *from = data;
        while (len > 0) {
                if (!m->buf && !(m->buf = take_part_buf(p)))
                        return err_set(e, -ECANCELED, "cancelled");
                size_t n = MIN(len, p->params.part_size - m->len);
                memcpy(m->buf + m->len, from, n);
                if (tree_hash_update(m->part, from, n) < 0 ||
                        (m->sha && !EVP_DigestUpdate(m->sha, from, n)))
                        return err_set(e, -EIO, "SHA-256 failed");
                m->len += n;
                from += n;
                len -= n;
                int q = m->len == p->params.part_size ? end_part(p, e) : 0;
                if (q < 0)
                        return q;
        }
        return 0;
}

/* ---- volumes ---- */

void pack_making_done(struct pack_making *m)
{
        seal_writer_free(m->seal);
        compress_file_free(m->file);
        tree_hash_free(m->whole);
        tree_hash_free(m->part);
        EVP_MD_CTX_free(m->sha);
        *m = (struct pack_making){0};
}

static int seal_plain(struct pack *p, const void *data, size_t len, struct err *e)
{
        p->making.v.plain_size += len;
        return seal_write(p->making.seal, data, len, e);
}

static int begin_volume(struct pack *p, uint64_t tar_start, struct err *e)
{
        struct pack_making *m = &p->making;
        *m = (struct pack_making){
                .open = true, .v = {.number = p->next_volume++, .tar_start = tar_start}};
        m->whole = tree_hash_new();
        m->part = tree_hash_new();
        if (!m->whole || !m->part)
                return err_oom(e);
        if (p->params.part_sha256 &&
                (!(m->sha = EVP_MD_CTX_new()) || !EVP_DigestInit_ex(m->sha, EVP_sha256(), NULL)))
                return err_oom(e);
        struct pack_event ev = {.kind = EVENT_BEGIN, .number = m->v.number, .tar_start = tar_start};
        int q = push(p, &ev);
        if (q == 0)
                q = compress_file_new(p->params.kind, &m->file, e);
        if (q < 0)
                return q;
        char number[16];
        (void)snprintf(number, sizeof number, "%u", m->v.number); /* fits */
        const struct seal_pair context[] = {
                {"autoglacier-archive", p->id},
                {"autoglacier-volume", number},
        };
        q = seal_writer_new(p->params.recipients, p->params.n_recipients, context,
                ARRAY_SIZE(context), take_sealed, p, &m->seal, e);
        if (q < 0)
                return q;
        m->header = seal_writer_wire(m->seal);
        size_t len;
        const void *head = compress_head(m->file, &len);
        return seal_plain(p, head, len, e);
}

static int end_volume(struct pack *p, uint64_t tar_end, struct err *e)
{
        struct pack_making *m = &p->making;
        const void *tail;
        size_t len;
        int q = compress_tail(m->file, &tail, &len, e);
        if (q == 0)
                q = seal_plain(p, tail, len, e);
        if (q == 0)
                q = seal_finish(m->seal, e);
        if (q == 0 && m->len > 0)
                q = end_part(p, e);
        if (q < 0)
                return q;
        m->v.tar_end = tar_end;
        m->v.size = seal_writer_wire(m->seal);
        memcpy(m->v.message_id, seal_writer_message_id(m->seal), sizeof m->v.message_id);
        if (tree_hash_final(m->whole, m->v.tree_hash) < 0)
                return err_set(e, -EIO, "SHA-256 failed");
        struct pack_event ev = {.kind = EVENT_END, .volume = m->v};
        pack_making_done(m);
        return push(p, &ev);
}

static bool fits(const struct pack *p, size_t len)
{
        const struct pack_making *m = &p->making;
        uint64_t plain =
                m->v.plain_size + len + compress_tail_size(m->file) + 64; /* and its Index record */
        return m->v.n_blocks == 0 || seal_wire_size(m->header, plain) <= p->params.volume_size;
}

static int add_block(struct pack *p, const struct pack_job *j, struct err *e)
{
        struct pack_making *m = &p->making;
        int q = 0;
        if (m->open && !fits(p, j->out_len))
                q = end_volume(p, j->tar_offset, e);
        if (q == 0 && !m->open)
                q = begin_volume(p, j->tar_offset, e);
        if (q < 0)
                return q;
        struct pack_event ev = {.kind = EVENT_BLOCK};
        ev.block = (struct pack_block){
                .volume = m->v.number,
                .number = p->next_block++,
                .tar_offset = j->tar_offset,
                .tar_len = (uint32_t)j->in_len,
                .plain_offset = m->v.plain_size,
                .plain_len = (uint32_t)j->out_len,
        };
        m->v.n_blocks++;
        if ((q = compress_add(m->file, &j->block, e)) < 0 ||
                (q = seal_plain(p, j->out, j->out_len, e)) < 0)
                return q;
        return push(p, &ev);
}

/* The next finished block in order, or NULL when there will be none. */
static struct pack_job *next_done(struct pack *p)
{
        pthread_mutex_lock(&p->lock);
        struct pack_job *j = NULL;
        for (;;) {
                j = p->sealed < p->filled ? &p->jobs[p->sealed % p->n_jobs] : NULL;
                bool end = p->failed.code || p->stopping || (!j && p->finishing);
                if (end)
                        j = NULL;
                if (end || (j && j->state == JOB_DONE))
                        break;
                pthread_cond_wait(&p->changed, &p->lock);
        }
        pthread_mutex_unlock(&p->lock);
        return j;
}

static void free_job(struct pack *p, struct pack_job *j)
{
        pthread_mutex_lock(&p->lock);
        j->state = JOB_FREE;
        p->sealed++;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
}

void *pack_sealer(void *arg)
{
        struct pack *p = arg;
        struct err e = {0};
        int q = 0;
        for (struct pack_job *j; q == 0 && (j = next_done(p)) != NULL;) {
                q = add_block(p, j, &e);
                free_job(p, j);
        }
        pthread_mutex_lock(&p->lock);
        bool whole = p->finishing && !p->failed.code && !p->stopping;
        pthread_mutex_unlock(&p->lock);
        /* Nothing was written, ever: one empty file. A run that went on at the stream's end adds
         * none. */
        if (q == 0 && whole && !p->making.open && p->offset == 0)
                q = begin_volume(p, p->offset, &e);
        if (q == 0 && whole && p->making.open)
                q = end_volume(p, p->offset, &e);
        if (q < 0 && e.code)
                pack_fail(p, &e);
        pthread_mutex_lock(&p->lock);
        p->sealer_done = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        return NULL;
}
