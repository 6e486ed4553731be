#include "pack_internal.h"

/* Who compresses a block hashes what lies in it, so that no byte is fetched once more and the
 * caller need not wait. What goes on in the next block is passed on with the state of its hash. */

struct pack_hash {
        atomic_uint owners; /* the caller, and the pipeline until it is known */
        atomic_bool known;
        uint8_t sha512[64];
        EVP_MD_CTX *ctx; /* where it takes several pieces; of who hashes the next one */
        unsigned done;   /* pieces; under pack.lock */
};

void pack_hash_free(struct pack_hash *h)
{
        if (!h || atomic_fetch_sub(&h->owners, 1) > 1)
                return;
        EVP_MD_CTX_free(h->ctx);
        free(h);
}

bool pack_hash_get(const struct pack_hash *h, uint8_t ret[64])
{
        if (!atomic_load(&h->known))
                return false;
        memcpy(ret, h->sha512, sizeof h->sha512);
        return true;
}

/* ---- the caller's side ---- */

int pack_hash(struct pack *p, uint64_t len, struct pack_hash **ret, struct err *e)
{
        if (p->hashing || len == 0)
                return err_set(e, -EINVAL, "nothing to hash, or too much at once");
        struct pack_hash *h = calloc(1, sizeof *h);
        if (!h)
                return err_oom(e);
        atomic_init(&h->owners, 2);
        p->hashing = h;
        p->hash_left = len;
        p->hash_pieces = 0;
        *ret = h;
        return 0;
}

static struct pack_piece *add_piece(struct pack_job *j)
{
        if (j->n_pieces == j->room) {
                size_t room = MAX(j->room * 2, (size_t)64);
                struct pack_piece *v = reallocarray(j->pieces, room, sizeof *v);
                if (!v)
                        return NULL;
                j->pieces = v;
                j->room = room;
        }
        return &j->pieces[j->n_pieces++];
}

int pack_hash_put(struct pack *p, struct pack_job *j, size_t len, struct err *e)
{
        if (!p->hashing || len == 0)
                return 0;
        len = (size_t)MIN((uint64_t)len, p->hash_left);
        struct pack_piece *x = j->n_pieces > 0 ? &j->pieces[j->n_pieces - 1] : NULL;
        if (!x || x->hash != p->hashing) {
                if (!(x = add_piece(j)))
                        return err_oom(e);
                *x = (struct pack_piece){
                        .hash = p->hashing, .start = j->in_len, .number = p->hash_pieces++};
        }
        x->len += len;
        p->hash_left -= len;
        if (p->hash_left == 0) {
                x->last = true;
                p->hashing = NULL;
        }
        return 0;
}

/* ---- the workers' side ---- */

static int wait_for_turn(struct pack *p, const struct pack_piece *x)
{
        pthread_mutex_lock(&p->lock);
        while (!p->failed.code && !p->stopping && x->hash->done < x->number)
                pthread_cond_wait(&p->changed, &p->lock);
        bool stop = p->failed.code || p->stopping;
        pthread_mutex_unlock(&p->lock);
        return stop ? -ECANCELED : 0;
}

static void pass_on(struct pack *p, struct pack_hash *h)
{
        pthread_mutex_lock(&p->lock);
        h->done++;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
}

static bool update(struct pack *p, const uint8_t *in, const struct pack_piece *x, EVP_MD_CTX *ctx)
{
        return ctx && (x->number > 0 || EVP_DigestInit_ex(ctx, p->sha512, NULL)) &&
               EVP_DigestUpdate(ctx, in + x->start, x->len) &&
               (!x->last || EVP_DigestFinal_ex(ctx, x->hash->sha512, NULL));
}

static int hash_piece(
        struct pack *p, const uint8_t *in, struct pack_piece *x, EVP_MD_CTX *own, struct err *e)
{
        struct pack_hash *h = x->hash;
        if (x->number == 0 && !x->last)
                h->ctx = EVP_MD_CTX_new();
        if (!update(p, in, x, x->number == 0 && x->last ? own : h->ctx))
                return err_set(e, -EIO, "SHA-512 failed");
        if (!x->last) {
                pass_on(p, h);
                return 0;
        }
        atomic_store(&h->known, true);
        x->hash = NULL;
        pack_hash_free(h);
        return 0;
}

/* What began in the block before comes last: its turn may still have to come. */
int pack_hash_block(struct pack *p, struct pack_job *j, EVP_MD_CTX *own, struct err *e)
{
        size_t first = j->n_pieces > 0 && j->pieces[0].number > 0;
        int q = 0;
        for (size_t i = first; q == 0 && i < j->n_pieces; i++)
                q = hash_piece(p, j->in, &j->pieces[i], own, e);
        if (q == 0 && first && (q = wait_for_turn(p, &j->pieces[0])) == 0)
                q = hash_piece(p, j->in, &j->pieces[0], own, e);
        return q;
}

/* No thread runs any more. A hash that was not finished is that of its last piece, or still waits
 * for it. */
void pack_hash_done(struct pack *p)
{
        for (unsigned i = 0; p->jobs && i < p->n_jobs; i++) {
                struct pack_job *j = &p->jobs[i];
                for (size_t n = 0; n < j->n_pieces; n++)
                        if (j->pieces[n].last)
                                pack_hash_free(j->pieces[n].hash);
                free(j->pieces);
        }
        pack_hash_free(p->hashing);
        EVP_MD_free(p->sha512);
}
