#include "pack_internal.h"

#include "keys.h"
#include "pages.h"
#include "thread.h"

#define MAX_WORKERS 8u
#define RECORD      512u /* of a tar: a block ends with one, so that headers can be searched for */
#define SHARE_LEAST (4u * MiB) /* shorter blocks compress too badly to be worth a worker */

/* ---- errors ---- */

void pack_fail(struct pack *p, const struct err *why)
{
        pthread_mutex_lock(&p->lock);
        if (!p->failed.code)
                p->failed = *why;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
}

/* Under the lock: an error that some thread left, as ours. */
static int failed(const struct pack *p, struct err *e)
{
        if (p->failed.code && e)
                *e = p->failed;
        return p->failed.code;
}

/* ---- workers ---- */

static struct pack_job *next_ready(struct pack *p)
{
        for (uint64_t n = p->sealed; n < p->filled; n++) {
                struct pack_job *j = &p->jobs[n % p->n_jobs];
                if (j->state == JOB_READY)
                        return j;
        }
        return NULL;
}

static struct pack_job *take_job(struct pack *p)
{
        pthread_mutex_lock(&p->lock);
        struct pack_job *j = NULL;
        while (!p->failed.code && !p->stopping && !(j = next_ready(p)) &&
                !(p->finishing && p->sealed == p->filled))
                pthread_cond_wait(&p->changed, &p->lock);
        if (p->failed.code || p->stopping)
                j = NULL;
        if (j)
                j->state = JOB_BUSY;
        pthread_mutex_unlock(&p->lock);
        return j;
}

static void *worker(void *arg)
{
        struct pack *p = arg;
        struct err e = {0};
        _cleanup_(compress_encoder_freep) struct compress_encoder *c = NULL;
        EVP_MD_CTX *sha = EVP_MD_CTX_new();
        int q = sha ? compress_encoder_new(p->params.kind, p->params.level, &c, &e) : err_oom(&e);
        size_t cap = compress_bound(p->params.kind, PACK_BLOCK_SIZE);
        for (struct pack_job *j; q == 0 && (j = take_job(p)) != NULL;) {
                q = compress_encode(
                        c, j->what, j->in, j->in_len, j->out, cap, &j->out_len, &j->block, &e);
                if (q == 0)
                        q = pack_hash_block(p, j, sha, &e);
                if (q < 0)
                        break; /* never done: the sealer would take what is in its buffer */
                pthread_mutex_lock(&p->lock);
                j->state = JOB_DONE;
                pthread_cond_broadcast(&p->changed);
                pthread_mutex_unlock(&p->lock);
        }
        EVP_MD_CTX_free(sha);
        if (q < 0 && e.code)
                pack_fail(p, &e);
        return NULL;
}

/* ---- the caller's side ---- */

/* How long the block at `start` becomes. What is left is divided equally among as many blocks as
 * bring every worker to the end of the same round; the last one takes what there is. */
static void plan_block(struct pack *p, uint64_t start)
{
        const size_t slack = PACK_BLOCK_SIZE / 16;
        p->limit = PACK_BLOCK_SIZE;
        p->enough = PACK_BLOCK_SIZE - slack;
        if (p->expected <= start)
                return;
        uint64_t left = p->expected - start;
        uint64_t blocks = (left - 1) / PACK_BLOCK_SIZE + 1;
        while ((p->filled + blocks) % p->n_workers != 0)
                blocks++;
        blocks = MIN(blocks, MAX(left / SHARE_LEAST, (uint64_t)1));
        p->enough = blocks == 1 ? PACK_BLOCK_SIZE : (size_t)(left / blocks);
        p->limit = MIN((p->enough + slack) / RECORD * RECORD, (size_t)PACK_BLOCK_SIZE);
}

void pack_expect(struct pack *p, uint64_t end)
{
        if (end == p->expected)
                return;
        p->expected = end;
        if (p->filling)
                plan_block(p, p->filling->tar_offset);
}

void pack_content(struct pack *p, enum compress_content what)
{
        p->what = what;
}

static int get_filling(struct pack *p, struct err *e)
{
        if (p->filling)
                return 0;
        pthread_mutex_lock(&p->lock);
        struct pack_job *j = &p->jobs[p->filled % p->n_jobs];
        while (!p->failed.code && j->state != JOB_FREE)
                pthread_cond_wait(&p->changed, &p->lock);
        int q = failed(p, e);
        pthread_mutex_unlock(&p->lock);
        if (q < 0)
                return q;
        j->in_len = 0;
        j->n_pieces = 0;
        j->tar_offset = p->offset;
        j->what = p->what;
        p->filling = j;
        plan_block(p, p->offset);
        return 0;
}

static void hand_over(struct pack *p)
{
        if (!p->filling || p->filling->in_len == 0)
                return;
        pthread_mutex_lock(&p->lock);
        p->filling->state = JOB_READY;
        p->filled++;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        p->filling = NULL;
}

int pack_write(struct pack *p, const void *data, size_t len, struct err *e)
{
        const uint8_t *from = data;
        while (len > 0) {
                int q = get_filling(p, e);
                if (q < 0)
                        return q;
                struct pack_job *j = p->filling;
                size_t n = j->in_len < p->limit ? MIN(len, p->limit - j->in_len) : 0;
                if ((q = pack_hash_put(p, j, n, e)) < 0)
                        return q;
                memcpy(j->in + j->in_len, from, n);
                from += n;
                j->in_len += n;
                p->offset += n;
                len -= n;
                if (j->in_len >= p->limit)
                        hand_over(p);
        }
        return 0;
}

void pack_member(struct pack *p)
{
        if (p->filling && p->filling->in_len >= p->enough)
                hand_over(p);
}

void pack_cut(struct pack *p)
{
        hand_over(p);
}

int pack_flush(struct pack *p, struct err *e)
{
        hand_over(p);
        pthread_mutex_lock(&p->lock);
        while (!p->failed.code && p->written < p->filled)
                pthread_cond_wait(&p->changed, &p->lock);
        int q = failed(p, e);
        pthread_mutex_unlock(&p->lock);
        return q;
}

static void join_all(struct pack *p)
{
        for (unsigned i = 0; i < p->n_threads; i++)
                pthread_join(p->threads[i], NULL);
        p->n_threads = 0;
}

int pack_finish(struct pack *p, struct err *e)
{
        hand_over(p);
        pthread_mutex_lock(&p->lock);
        p->finishing = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        join_all(p);
        return failed(p, e);
}

/* ---- making and ending ---- */

static int start_thread(struct pack *p, void *(*fn)(void *), struct err *e)
{
        int q = thread_start(&p->threads[p->n_threads], fn, p);
        if (q < 0)
                return err_errno(e, q, "cannot start a thread");
        p->n_threads++;
        return 0;
}

static int make_buffers(struct pack *p, struct err *e)
{
        size_t cap = compress_bound(p->params.kind, PACK_BLOCK_SIZE);
        if (!(p->jobs = calloc(p->n_jobs, sizeof *p->jobs)))
                return err_oom(e);
        for (unsigned i = 0; i < p->n_jobs; i++)
                if (!(p->jobs[i].in = pages_new(PACK_BLOCK_SIZE)) ||
                        !(p->jobs[i].out = pages_new(cap)))
                        return err_oom(e);
        for (unsigned i = 0; i < PACK_PARTS; i++) {
                if (!(p->part_bufs[i] = pages_new(p->params.part_size)))
                        return err_oom(e);
                p->part_free[i] = true;
        }
        return 0;
}

static int check_params(const struct pack_params *params, struct err *e)
{
        uint32_t n = params->part_size;
        if (n < MiB || n & (n - 1))
                return err_set(e, -EINVAL, "the part size must be a power of two of MiB");
        struct compress_encoder *probe;
        int q = compress_encoder_new(params->kind, params->level, &probe, e);
        if (q == 0)
                compress_encoder_free(probe);
        return q;
}

int pack_new(const struct pack_params *params, const struct pack_sink *sink, struct pack **ret,
        struct err *e)
{
        int q = check_params(params, e);
        if (q < 0)
                return q;
        _cleanup_(pack_freep) struct pack *p = calloc(1, sizeof *p);
        if (!p)
                return err_oom(e);
        p->params = *params;
        p->sink = *sink;
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->changed, NULL);
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        unsigned workers = params->workers ? params->workers : cpus > 0 ? (unsigned)cpus : 1;
        workers = MIN(workers, MAX_WORKERS);
        p->n_workers = workers;
        p->n_jobs = workers + 1;
        p->offset = params->tar_start;
        p->next_volume = params->first_volume;
        p->next_block = params->first_block;
        p->threads = calloc(workers + 2, sizeof *p->threads);
        p->id = strdup(params->id);
        if (!p->threads || !p->id)
                return err_oom(e);
        if (!(p->sha512 = EVP_MD_fetch(NULL, "SHA512", NULL)))
                return err_set(e, -EIO, "OpenSSL has no SHA-512");
        q = make_buffers(p, e);
        for (unsigned i = 0; q == 0 && i < workers; i++)
                q = start_thread(p, worker, e);
        if (q == 0)
                q = start_thread(p, pack_sealer, e);
        if (q == 0)
                q = start_thread(p, pack_writer, e);
        if (q < 0)
                return q;
        *ret = steal(p);
        return 0;
}

void pack_free(struct pack *p)
{
        if (!p)
                return;
        pthread_mutex_lock(&p->lock);
        p->stopping = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        join_all(p);
        pack_making_done(&p->making);
        pack_hash_done(p);
        size_t cap = compress_bound(p->params.kind, PACK_BLOCK_SIZE);
        for (unsigned i = 0; p->jobs && i < p->n_jobs; i++) {
                pages_free(p->jobs[i].in, PACK_BLOCK_SIZE);
                pages_free(p->jobs[i].out, cap);
        }
        for (unsigned i = 0; i < PACK_PARTS; i++)
                pages_free(p->part_bufs[i], p->params.part_size);
        free(p->jobs);
        free(p->threads);
        free(p->id);
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->lock);
        free(p);
}
