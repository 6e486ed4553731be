#include "verify.h"

#include "catalog.h"
#include "compress.h"
#include "seal.h"
#include "store.h"
#include "stores.h"

struct object {
        struct store *store;
        const char *name;
        struct seal_reader *seal;
        uint64_t at;
};

static int fetch(void *ctx, void *data, size_t len, uint64_t offset, struct err *e)
{
        const struct object *o = ctx;
        return store_get(o->store, o->name, data, len, offset, e);
}

static ssize_t sealed_bytes(void *ctx, void *data, size_t len, struct err *e)
{
        struct object *o = ctx;
        size_t n = (size_t)MIN((uint64_t)len, seal_reader_size(o->seal) - o->at);
        int q = n > 0 ? seal_pread(o->seal, data, n, o->at, e) : seal_check_end(o->seal, e);
        o->at += n;
        return q < 0 ? q : (ssize_t)n;
}

static int read_all(struct object *o, struct err *e)
{
        uint8_t chunk[16 * KiB];
        struct compress_decoder *d = NULL;
        ssize_t n = compress_decoder_new(COMPRESS_LZMA, sealed_bytes, o, &d, e);
        if (n == 0)
                do
                        n = compress_decoder_read(d, chunk, sizeof chunk, e);
                while (n > 0);
        compress_decoder_free(d);
        return (int)n;
}

static int check_id(const struct object *o, const struct catalog_archive *a, struct err *e)
{
        const char *id = seal_reader_context(o->seal, SEAL_CONTEXT_ARCHIVE);
        return id && streq(id, a->id) ? 0 : err_set(e, -EPROTO, "it is of another archive");
}

int verify_manifest(struct store *s, const struct catalog_archive *a, verify_unwrap_fn unwrap,
        void *ctx, struct err *e)
{
        _cleanup_free_ char *name = stores_manifest_name(a->origin, a->id);
        struct store_state st;
        struct object o = {.store = s, .name = name};
        if (!name)
                return err_oom(e);
        int q = store_state(s, name, &st, e);
        if (q == -ENOENT)
                return err_set(e, q,
                        "the manifest is missing; the archive can still be read, and holds a copy "
                        "of it");
        if (q < 0 || !unwrap || st.access != STORE_READY)
                return q;
        const struct seal_source source = {.pread = fetch, .ctx = &o, .size = st.size};
        q = seal_reader_new(&source, unwrap, ctx, &o.seal, e);
        if (q == 0)
                q = check_id(&o, a, e);
        if (q == 0)
                q = read_all(&o, e);
        seal_reader_free(o.seal);
        return q == -EBADMSG || q == -EPROTO ? err_prefix(e, q, "the manifest is damaged") : q;
}
