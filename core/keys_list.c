#include "keys.h"

static const char pem_end[] = "-----END PUBLIC KEY-----";

void keys_public_list_done(struct keys_public_list *l)
{
        for (size_t i = 0; i < l->n; i++)
                keys_public_free(l->v[i]);
        free(l->v);
        *l = (struct keys_public_list){0};
}

static int add(struct keys_public_list *l, const char *pem, size_t len, struct err *e)
{
        struct keys_public **v = reallocarray(l->v, l->n + 1, sizeof *v);
        if (!v)
                return err_oom(e);
        l->v = v;
        int q = keys_public_parse(pem, len, "the recipient's key in the catalogue", &v[l->n], e);
        l->n += q == 0;
        return q;
}

int keys_public_list_parse(const char *pem, struct keys_public_list *ret, struct err *e)
{
        _cleanup_(keys_public_list_done) struct keys_public_list l = {0};
        const char *p = pem;
        for (const char *end; (end = strstr(p, pem_end)) != NULL; p = end) {
                end += strlen(pem_end);
                int q = add(&l, p, (size_t)(end - p), e);
                if (q < 0)
                        return q;
        }
        if (l.n == 0)
                return err_set(e, -ENOKEY, "it has no recipient");
        *ret = l;
        l = (struct keys_public_list){0};
        return 0;
}
