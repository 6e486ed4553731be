#include "recover_internal.h"
#include "store.h"

#include <ctype.h>

static const enum compress_kind kinds[] = {
        COMPRESS_LZMA, COMPRESS_ZSTD, COMPRESS_GZIP, COMPRESS_BZIP2, COMPRESS_NONE};

static bool is_plain(const char *s, size_t n)
{
        if (n == 0 || n > 64)
                return false;
        for (size_t i = 0; i < n; i++)
                if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '_')
                        return false;
        return true;
}

/* "ID-0001.tar.xz" behind the last '/'. */
static bool parse_volume(const char *s, size_t len, struct recover_object *o)
{
        const char *dot = memchr(s, '.', len);
        const char *dash = dot ? memrchr(s, '-', (size_t)(dot - s)) : NULL;
        if (!dash || dot - dash < 5 || dot - dash > 8)
                return false;
        size_t tail = len - (size_t)(dot - s);
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                const char *suffix = compress_suffix(kinds[i]);
                if (strlen(suffix) != tail || strncmp(dot, suffix, tail) != 0)
                        continue;
                o->kind = kinds[i];
                for (const char *p = dash + 1; p < dot; p++) {
                        if (*p < '0' || *p > '9')
                                return false;
                        o->volume = o->volume * 10 + (unsigned)(*p - '0');
                }
                o->id = strndup(s, (size_t)(dash - s));
                return o->volume > 0 && is_plain(s, (size_t)(dash - s));
        }
        return false;
}

static bool parse_manifest(const char *s, size_t len, struct recover_object *o)
{
        static const char suffix[] = ".jsonl.xz";
        size_t n = len - MIN(len, sizeof suffix - 1);
        if (strncmp(s + n, suffix, len - n) != 0 || !is_plain(s, n))
                return false;
        o->id = strndup(s, n);
        return true;
}

static void object_done(struct recover_object *o)
{
        free(o->name);
        free(o->origin);
        free(o->id);
}

/* "archives/ORIGIN/….esdk" or "manifests/ORIGIN/….esdk"; what else lies there is not ours. */
static bool parse(const char *name, struct recover_object *o)
{
        const char *volume = startswith(name, "archives/");
        const char *p = volume ? volume : startswith(name, "manifests/");
        const char *slash = p ? strchr(p, '/') : NULL;
        if (!slash || !endswith(name, ".esdk") || !is_plain(p, (size_t)(slash - p)))
                return false;
        const char *s = slash + 1;
        size_t len = strlen(s);
        if (len < 5)
                return false;
        return (volume ? parse_volume : parse_manifest)(s, len - 5, o) &&
               (o->origin = strndup(p, (size_t)(slash - p))) && (o->name = strdup(name)) && o->id;
}

static int add(void *ctx, const char *name, const struct store_state *st, struct err *e)
{
        struct recover_list *l = ctx;
        struct recover_object o = {.size = st->size, .modified = st->modified};
        if (!parse(name, &o)) {
                object_done(&o);
                return 0;
        }
        if (l->n == l->cap) {
                size_t cap = MAX((size_t)64, l->cap * 2);
                struct recover_object *v = reallocarray(l->v, cap, sizeof *v);
                if (!v) {
                        object_done(&o);
                        return err_oom(e);
                }
                l->v = v;
                l->cap = cap;
        }
        l->v[l->n++] = o;
        return 0;
}

static int order(const void *a, const void *b)
{
        const struct recover_object *x = a, *y = b;
        int q = strcmp(x->id, y->id);
        if (q == 0)
                q = strcmp(x->origin, y->origin);
        if (q == 0)
                q = x->volume < y->volume ? -1 : x->volume > y->volume;
        return q;
}

int recover_list_read(struct store *s, struct recover_list *ret, struct err *e)
{
        int q = store_list(s, "manifests/", add, ret, e);
        if (q == 0)
                q = store_list(s, "archives/", add, ret, e);
        if (q == 0 && ret->n > 0)
                qsort(ret->v, ret->n, sizeof *ret->v, order);
        return q;
}

void recover_list_done(struct recover_list *l)
{
        for (size_t i = 0; i < l->n; i++)
                object_done(&l->v[i]);
        free(l->v);
}
