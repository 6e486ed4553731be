#include "keys.h"

static const char pem_end[] = "-----END PUBLIC KEY-----";

void keys_public_list_done(struct keys_public_list *l)
{
        for (size_t i = 0; i < l->n; i++)
                keys_public_free(l->v[i]);
        free(l->v);
        *l = (struct keys_public_list){0};
}

static int add(struct keys_public_list *l, const char *pem, size_t len, const char *fingerprint,
        struct err *e)
{
        struct keys_public **v = reallocarray(l->v, l->n + 1, sizeof *v);
        if (!v)
                return err_oom(e);
        l->v = v;
        int q = keys_public_known(
                pem, len, fingerprint, "the recipient's key in the catalogue", &v[l->n], e);
        l->n += q == 0;
        return q;
}

/* The next word, "" at the end. False where it is no fingerprint at all. */
static bool next_word(const char **p, char ret[KEYS_FINGERPRINT_LEN + 1])
{
        size_t n = strcspn(*p, " ");
        if (n > KEYS_FINGERPRINT_LEN)
                return false;
        memcpy(ret, *p, n);
        ret[n] = 0;
        *p += n + strspn(*p + n, " ");
        return true;
}

int keys_public_list_parse(
        const char *pem, const char *fingerprints, struct keys_public_list *ret, struct err *e)
{
        _cleanup_(keys_public_list_done) struct keys_public_list l = {0};
        const char *p = pem;
        for (const char *end; (end = strstr(p, pem_end)) != NULL; p = end) {
                char fingerprint[KEYS_FINGERPRINT_LEN + 1];
                end += strlen(pem_end);
                if (!next_word(&fingerprints, fingerprint))
                        return err_set(
                                e, -EINVAL, "%.80s is not a key's fingerprint", fingerprints);
                int q = add(&l, p, (size_t)(end - p), fingerprint, e);
                if (q < 0)
                        return q;
        }
        if (l.n == 0)
                return err_set(e, -ENOKEY, "it has no recipient");
        *ret = l;
        l = (struct keys_public_list){0};
        return 0;
}
