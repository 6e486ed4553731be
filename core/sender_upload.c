#include "sender_internal.h"

#include "crash.h"
#include "spool.h"

#include <openssl/evp.h>

/* One step of an upload each: open, a part, finish. What an error means is decided in sender.c. */

static struct store_new new_of(const struct sender *s, const struct sending *v)
{
        return (struct store_new){
                .name = v->object,
                .max_size = s->params.max_size,
                .part_size = s->params.part_size,
                .replace = true, /* a name of ours, from a run that was cut off */
                .archive_id = s->params.archive_id,
                .description = s->params.description,
        };
}

/* ---- opening ---- */

/* Every part is to be sent; `known` stays what an earlier run was told. */
static void forget_sent(struct sender *s, struct sending *v, bool known)
{
        pthread_mutex_lock(&s->lock);
        for (size_t i = 0; i < v->n; i++) {
                v->parts[i].state = PART_READY;
                v->parts[i].p.sent = v->parts[i].p.sent && known;
        }
        v->n_sent = 0;
        v->first = 0;
        pthread_mutex_unlock(&s->lock);
}

/* Ours if the store's hash says so, or where it has none, if it told us before that it has it. */
static bool same_part(const struct store_had *h, const struct sender_part *p)
{
        if (h->size != p->len)
                return false;
        switch (h->hashed) {
        case STORE_HASH_SHA256:
                return memcmp(h->hash, p->sha256, sizeof h->hash) == 0;
        case STORE_HASH_TREE:
                return memcmp(h->hash, p->tree_hash, sizeof h->hash) == 0;
        default:
                return p->sent;
        }
}

struct had {
        struct sender *s;
        struct sending *v;
};

static int had(void *ctx, const struct store_had *h, struct err *e)
{
        const struct had *k = ctx;
        struct sending *v = k->v;
        pthread_mutex_lock(&k->s->lock);
        bool ours = h->number >= 1 && h->number <= v->n &&
                    v->parts[h->number - 1].state != PART_SENT &&
                    same_part(h, &v->parts[h->number - 1].p);
        bool news = ours && !v->parts[h->number - 1].p.sent;
        if (ours) {
                v->parts[h->number - 1].state = PART_SENT;
                v->parts[h->number - 1].p.sent = true;
                v->n_sent++;
        }
        pthread_mutex_unlock(&k->s->lock);
        const struct sender_hooks *hooks = &k->s->params.hooks;
        return news ? hooks->sent(hooks->ctx, v->number, h->number, e) : 0;
}

static bool parts_hash(const struct sending *v, uint8_t ret[32])
{
        EVP_MD_CTX *c = EVP_MD_CTX_new();
        bool ok = c && EVP_DigestInit_ex(c, EVP_sha256(), NULL);
        for (size_t i = 0; ok && i < v->n; i++)
                ok = EVP_DigestUpdate(c, v->parts[i].p.sha256, 32);
        ok = ok && EVP_DigestFinal_ex(c, ret, NULL);
        EVP_MD_CTX_free(c);
        return ok;
}

static bool same_content(const struct sending *v, const struct store_state *st)
{
        uint8_t hash[32];
        if (!v->packed || st->size != v->size)
                return false;
        if (st->hashed == STORE_HASH_SHA256_PARTS && st->hash_parts == v->n)
                return parts_hash(v, hash) && memcmp(hash, st->hash, sizeof hash) == 0;
        if (st->hashed == STORE_HASH_TREE)
                return memcmp(v->tree_hash, st->hash, sizeof v->tree_hash) == 0;
        return true; /* the name, the size, and an upload that we had are all there is to go by */
}

/* The upload is gone: it expired, or a run died between the store's confirmation and our row. */
static int was_finished(struct sender *s, struct sending *v, struct err *e)
{
        struct store_state st;
        struct err why = {0};
        int q = store_state(s->params.store, v->object, &st, &why);
        if (q == -ENOENT)
                return 0;
        if (q < 0)
                return err_set(e, q, "%s", why.text);
        pthread_mutex_lock(&s->lock);
        bool same = same_content(v, &st);
        pthread_mutex_unlock(&s->lock);
        if (!same)
                return 0;
        const struct sender_hooks *hooks = &s->params.hooks;
        q = hooks->confirmed(hooks->ctx, v->number, e);
        return q < 0 ? q : 1;
}

/* "" first: from then on no sweep takes the new upload for litter before it is recorded. */
static int set_token(struct sender *s, struct sending *v, const char *token, struct err *e)
{
        const struct sender_hooks *hooks = &s->params.hooks;
        char *copy = strdup(token);
        if (!copy)
                return err_oom(e);
        int q = hooks->begun(hooks->ctx, v->number, token, e);
        if (q < 0) {
                free(copy);
                return q;
        }
        pthread_mutex_lock(&s->lock);
        free(v->token);
        v->token = copy;
        pthread_mutex_unlock(&s->lock);
        return 0;
}

static int begin(struct sender *s, struct sending *v, struct err *e)
{
        int q = *v->token ? set_token(s, v, "", e) : 0;
        if (q < 0)
                return q;
        forget_sent(s, v, false);
        const struct store_new n = new_of(s, v);
        struct store_upload *u = NULL;
        if ((q = store_begin(s->params.store, &n, &u, e)) < 0)
                return q;
        crash_point("upload-begun");
        if ((q = set_token(s, v, store_token(u), e)) < 0) {
                store_abort(u);
                return q;
        }
        crash_point("upload-recorded");
        pthread_mutex_lock(&s->lock);
        v->upload = u;
        pthread_mutex_unlock(&s->lock);
        return 0;
}

int sender_open_upload(struct sender *s, struct sending *v, struct err *e)
{
        if (!*v->token)
                return begin(s, v, e);
        forget_sent(s, v, true);
        struct had ctx = {s, v};
        const struct store_new n = new_of(s, v);
        struct store_upload *u = NULL;
        struct err why = {0};
        int q = store_resume(s->params.store, &n, v->token, had, &ctx, &u, &why);
        if (q == -ENOENT) {
                q = was_finished(s, v, e);
                return q == 0 ? begin(s, v, e) : q;
        }
        if (q < 0)
                return err_set(e, q, "%s", why.text);
        pthread_mutex_lock(&s->lock);
        v->upload = u;
        pthread_mutex_unlock(&s->lock);
        return 0;
}

/* ---- a part ---- */

static bool is_whole(const struct sender_part *p, const void *data)
{
        uint8_t hash[32];
        unsigned n = 0;
        return !EVP_Digest(data, p->len, hash, &n, EVP_sha256(), NULL) ||
               memcmp(hash, p->sha256, sizeof hash) == 0;
}

int sender_put(struct sender *s, const struct task *t, void *room, struct err *e)
{
        const struct sender_part *p = &t->part;
        const struct sender_hooks *hooks = &s->params.hooks;
        int q = spool_read(s->params.spool, t->v->number, room, p->len, p->offset, e);
        if (q < 0)
                return q;
        const struct store_part out = {
                .number = p->number,
                .offset = p->offset,
                .data = room,
                .len = p->len,
                .tree_hash = p->tree_hash,
                .sha256 = p->sha256,
        };
        q = store_put_part(t->upload, &out, e);
        if (q < 0 && q != -ECANCELED && !is_whole(p, room))
                return err_set(e, -EBADMSG,
                        "part %u of volume %u is not any more in the spool as it was written",
                        p->number, t->v->number);
        if (q == -EBADMSG) /* but what we sent is good: the way there is not */
                q = err_set(
                        e, -EIO, "part %u of volume %u came over damaged", p->number, t->v->number);
        if (q < 0)
                return q;
        crash_point("part-sent");
        return hooks->sent(hooks->ctx, t->v->number, p->number, e);
}

/* ---- the end ---- */

int sender_finish(struct sender *s, const struct task *t, struct err *e)
{
        struct store_upload *u = t->upload;
        int q = store_finish(&u, t->v->size, t->v->tree_hash, e);
        if (q < 0) {
                store_leave(u); /* it goes on as one that is resumed: what it has is asked */
                return q;
        }
        crash_point("volume-confirmed");
        const struct sender_hooks *hooks = &s->params.hooks;
        q = hooks->confirmed(hooks->ctx, t->v->number, e);
        return q < 0 ? q : 1;
}
