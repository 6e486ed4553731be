#include "legacy.h"

#include "eax.h"
#include "keys.h"
#include "secret.h"

#define NONCE 16u

struct legacy {
        struct legacy_source source;
        uint64_t start; /* of the ciphertext */
        uint64_t at;
        struct secret *key;
        uint8_t nonce[NONCE], tag[EAX_TAG];
        bool checked;
        struct eax *eax; /* of the reading that is going on */
        uint8_t chunk[256 * 1024];
};

static int read_head(struct legacy *l, const struct keys_private *key, struct err *e)
{
        uint8_t wrapped[KEYS_OLD_WRAPPED_MAX], data_key[KEYS_OLD_DATA_KEY];
        size_t len = keys_private_wrapped_len(key);
        uint64_t least = len + NONCE + EAX_TAG;
        if (len > sizeof wrapped || l->source.size < least)
                return err_set(e, -EPROTO, "it is too short for an archive");
        int q = l->source.pread(l->source.ctx, wrapped, len, 0, e);
        if (q == 0)
                q = l->source.pread(l->source.ctx, l->nonce, NONCE, len, e);
        if (q == 0)
                q = l->source.pread(l->source.ctx, l->tag, EAX_TAG, len + NONCE, e);
        if (q == 0)
                q = keys_unwrap_old(key, wrapped, len, data_key, e);
        if (q == 0)
                q = secret_copy(data_key, sizeof data_key, &l->key) < 0 ? err_oom(e) : 0;
        secret_wipe(data_key, sizeof data_key);
        l->start = l->at = least;
        return q;
}

int legacy_new(const struct legacy_source *source, const struct keys_private *key,
        struct legacy **ret, struct err *e)
{
        _cleanup_(legacy_freep) struct legacy *l = calloc(1, sizeof *l);
        if (!l)
                return err_oom(e);
        l->source = *source;
        int q = read_head(l, key, e);
        if (q == 0)
                *ret = steal(l);
        return q;
}

void legacy_free(struct legacy *l)
{
        if (!l)
                return;
        eax_free(l->eax);
        secret_free(l->key);
        free(l);
}

uint64_t legacy_size(const struct legacy *l)
{
        return l->source.size - l->start;
}

static int begin(struct legacy *l, struct err *e)
{
        eax_free(l->eax);
        l->eax = eax_new(l->key->data, l->nonce, NONCE);
        l->at = l->start;
        return l->eax ? 0 : err_oom(e);
}

/* The next bytes of ciphertext into the chunk: how many; 0 at the end. */
static ssize_t next(struct legacy *l, size_t max, struct err *e)
{
        size_t n = (size_t)MIN((uint64_t)MIN(max, sizeof l->chunk), l->source.size - l->at);
        int q = n > 0 ? l->source.pread(l->source.ctx, l->chunk, n, l->at, e) : 0;
        l->at += n;
        return q < 0 ? q : (ssize_t)n;
}

int legacy_check(struct legacy *l, void (*progress)(void *ctx, size_t n), void *ctx,
        const atomic_bool *stop, struct err *e)
{
        int q = begin(l, e);
        if (q < 0)
                return q;
        ssize_t n;
        while ((n = next(l, sizeof l->chunk, e)) > 0) {
                if (stop && atomic_load(stop))
                        return err_set(e, -ECANCELED, "interrupted");
                if (eax_update(l->eax, l->chunk, (size_t)n, NULL) < 0)
                        return err_oom(e);
                if (progress)
                        progress(ctx, (size_t)n);
        }
        if (n < 0)
                return (int)n;
        q = eax_finish(l->eax, l->tag);
        if (q == -EBADMSG)
                return err_set(
                        e, q, "it does not authenticate: it was altered, cut off or damaged");
        if (q < 0)
                return err_oom(e);
        l->checked = true;
        return begin(l, e);
}

ssize_t legacy_read(struct legacy *l, void *data, size_t len, struct err *e)
{
        if (!l->checked)
                return err_set(e, -EINVAL, "the archive was not checked");
        if (!l->eax)
                return 0;
        ssize_t n = next(l, len, e);
        if (n > 0 && eax_update(l->eax, l->chunk, (size_t)n, data) < 0)
                return err_oom(e);
        if (n != 0)
                return n;
        int q = eax_finish(l->eax, l->tag);
        eax_free(l->eax);
        l->eax = NULL;
        return q < 0 ? err_set(e, q, "it changed while it was read") : 0;
}
