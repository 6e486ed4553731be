#include "store_retry.h"

#include "backoff.h"

#include <openssl/rand.h>

struct retry_store {
        struct store base;
        unsigned tries;
};

struct retry_upload {
        struct store_upload base;
        struct store_upload *inner;
};

static struct store *inner_of(struct store *s)
{
        return s->inner;
}

static struct store_upload *inside(struct store_upload *u)
{
        return ((struct retry_upload *)u)->inner;
}

/* True: try again, the waiting is over. False: *q is what the caller gets. */
static bool again(struct store *s, unsigned *n, int *q, struct err *why)
{
        if (*q >= 0 && *n > 0 && s->control.over)
                s->control.over(s->control.ctx);
        if (*q != -EAGAIN && *q != -EBUSY)
                return false;
        unsigned most = s->control.tries ? s->control.tries : ((struct retry_store *)s)->tries;
        if (++*n >= most)
                return false;
        uint64_t random = 0;
        (void)RAND_bytes((unsigned char *)&random, sizeof random); /* jitter, no secret */
        int64_t wait = backoff_delay(*n, *q == -EBUSY, why->wait_ns, random);
        if (s->control.waiting)
                s->control.waiting(s->control.ctx, why, *n, wait);
        if (backoff_wait(wait, s->control.stop) == 0)
                return true;
        *q = err_set(why, -ECANCELED, "stopped");
        return false;
}

static int give(int q, const struct err *why, struct err *e)
{
        if (q < 0 && e)
                *e = *why;
        return q;
}

/* `call` may use `why` for its words. */
#define RETRY(store, e, call)                                                                      \
        struct err why = {0};                                                                      \
        unsigned n_failed = 0;                                                                     \
        int q;                                                                                     \
        do {                                                                                       \
                why = (struct err){0};                                                             \
                q = (call);                                                                        \
        } while (again((store), &n_failed, &q, &why));                                             \
        return give(q, &why, (e))

static int retry_check(struct store *s, const char *expected, char *ret_id, struct err *e)
{
        RETRY(s, e, store_check(inner_of(s), expected, ret_id, &why));
}

static int retry_init(struct store *s, struct err *e)
{
        RETRY(s, e, store_init(inner_of(s), &why));
}

/* ---- uploads ---- */

static struct retry_upload *wrap(struct store *s)
{
        struct retry_upload *u = calloc(1, sizeof *u);
        if (u)
                u->base.store = s;
        return u;
}

static int begin(
        struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e)
{
        RETRY(s, e, store_begin(inner_of(s), n, ret, &why));
}

static int retry_begin(
        struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e)
{
        _cleanup_free_ struct retry_upload *u = wrap(s);
        int q = u ? begin(s, n, &u->inner, e) : err_oom(e);
        if (q < 0)
                return q;
        u->base.part_size = u->inner->part_size;
        *ret = &steal(u)->base;
        return 0;
}

/* A resume that broke tells its parts again from the first: each is told once. */
struct told {
        store_had_fn each;
        void *ctx;
        unsigned last;
};

static int tell_once(void *ctx, const struct store_had *h, struct err *e)
{
        struct told *t = ctx;
        if (h->number <= t->last)
                return 0;
        t->last = h->number;
        return t->each(t->ctx, h, e);
}

static int resume(struct store *s, const struct store_new *n, const char *token, struct told *t,
        struct store_upload **ret, struct err *e)
{
        RETRY(s, e, store_resume(inner_of(s), n, token, tell_once, t, ret, &why));
}

static int retry_resume(struct store *s, const struct store_new *n, const char *token,
        store_had_fn each, void *ctx, struct store_upload **ret, struct err *e)
{
        _cleanup_free_ struct retry_upload *u = wrap(s);
        struct told t = {.each = each, .ctx = ctx};
        int q = u ? resume(s, n, token, &t, &u->inner, e) : err_oom(e);
        if (q < 0)
                return q;
        u->base.part_size = u->inner->part_size;
        *ret = &steal(u)->base;
        return 0;
}

static const char *retry_token(struct store_upload *u)
{
        return store_token(inside(u));
}

static int retry_put_part(struct store_upload *u, const struct store_part *p, struct err *e)
{
        RETRY(u->store, e, store_put_part(inside(u), p, &why));
}

static int retry_finish(
        struct store_upload *u, uint64_t size, const uint8_t tree_hash[32], struct err *e)
{
        struct retry_upload *r = (struct retry_upload *)u;
        struct store *s = u->store;
        struct err why = {0};
        unsigned n = 0;
        int q;
        do {
                why = (struct err){0};
                q = store_finish(&r->inner, size, tree_hash, &why);
        } while (r->inner && again(s, &n, &q, &why));
        /* Told to stop while it waited: the upload is still there, and -ECANCELED must free it. */
        if (q == -ECANCELED) {
                store_leave(r->inner);
                r->inner = NULL;
        }
        if (!r->inner)
                free(r);
        return give(q, &why, e);
}

static void retry_abort(struct store_upload *u)
{
        store_abort(inside(u));
        free(u);
}

static void retry_leave(struct store_upload *u)
{
        store_leave(inside(u));
        free(u);
}

static int retry_sweep(
        struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e)
{
        RETRY(s, e, store_sweep(inner_of(s), prefix, keep, ctx, &why));
}

/* ---- what is there ---- */

static int retry_state(struct store *s, const char *name, struct store_state *ret, struct err *e)
{
        RETRY(s, e, store_state(inner_of(s), name, ret, &why));
}

static int retry_thaw(struct store *s, const char *name, const struct store_thaw *t, struct err *e)
{
        RETRY(s, e, store_thaw(inner_of(s), name, t, &why));
}

static int retry_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e)
{
        RETRY(s, e, store_get(inner_of(s), name, data, len, offset, &why));
}

struct listing {
        store_list_fn each;
        void *ctx;
        char *last;   /* the last name that was delivered */
        bool again;   /* a try before this one delivered names up to `last` */
        bool jumbled; /* names do not come in order: what was delivered cannot be told by `last` */
        bool told;    /* what went wrong is the caller's own, not the store's */
};

static int list_once(void *ctx, const char *name, const struct store_state *st, struct err *e)
{
        struct listing *l = ctx;
        bool later = !l->last || strcmp(name, l->last) > 0;
        if (l->again && !later)
                return 0;
        l->again = false;
        l->jumbled = l->jumbled || !later;
        free(l->last);
        if (!(l->last = strdup(name)))
                return err_oom(e);
        int q = l->each(l->ctx, name, st, e);
        l->told = q != 0;
        return q;
}

static int retry_list(
        struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e)
{
        struct listing l = {.each = each, .ctx = ctx};
        struct err why = {0};
        unsigned n = 0;
        int q;
        do {
                why = (struct err){0};
                l.again = l.last != NULL;
                q = store_list(inner_of(s), prefix, list_once, &l, &why);
        } while (!l.told && !l.jumbled && again(s, &n, &q, &why));
        free(l.last);
        return give(q, &why, e);
}

static int retry_remove(struct store *s, const char *name, struct err *e)
{
        RETRY(s, e, store_remove(inner_of(s), name, &why));
}

static uint64_t retry_space(struct store *s)
{
        return store_space(inner_of(s));
}

static void retry_close(struct store *s)
{
        store_close(s->inner);
        free(s->url);
        free(s);
}

static const struct store_ops retry_ops = {
        .check = retry_check,
        .init = retry_init,
        .begin = retry_begin,
        .resume = retry_resume,
        .token = retry_token,
        .put_part = retry_put_part,
        .finish = retry_finish,
        .abort = retry_abort,
        .leave = retry_leave,
        .sweep = retry_sweep,
        .state = retry_state,
        .thaw = retry_thaw,
        .get = retry_get,
        .list = retry_list,
        .remove = retry_remove,
        .space = retry_space,
        .close = retry_close,
};

int store_retry_new(struct store **inner, unsigned tries, struct store **ret, struct err *e)
{
        struct retry_store *r = calloc(1, sizeof *r);
        char *url = strdup((*inner)->url);
        if (!r || !url) {
                free(r);
                free(url);
                return err_oom(e);
        }
        r->base = (struct store){.ops = &retry_ops,
                .traits = (*inner)->traits,
                .url = url,
                .control = (*inner)->control,
                .inner = steal(*inner)};
        r->tries = tries;
        *ret = &r->base;
        return 0;
}
