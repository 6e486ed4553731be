#include "compress.h"
#include "decrypt_internal.h"
#include "untar.h"

#define HEAD 6u

struct work {
        const struct decrypt_restore *r;
        struct plain *plain;
        struct compress_decoder *decoder;
        uint8_t head[HEAD]; /* looked at already, to see how it is compressed */
        size_t head_len, head_at;
        bool *found; /* for every path asked for */
        uint64_t files;
        unsigned warnings;
};

static const struct {
        enum compress_kind kind;
        size_t len;
        uint8_t magic[HEAD];
} magics[] = {
        {COMPRESS_LZMA, 6, {0xfd, '7', 'z', 'X', 'Z', 0}},
        {COMPRESS_GZIP, 3, {0x1f, 0x8b, 0x08}},
        {COMPRESS_BZIP2, 3, {'B', 'Z', 'h'}},
        {COMPRESS_ZSTD, 4, {0x28, 0xb5, 0x2f, 0xfd}},
};

static int look(struct work *w, enum compress_kind *ret, struct err *e)
{
        while (w->head_len < HEAD) {
                ssize_t n = plain_read(w->plain, w->head + w->head_len, HEAD - w->head_len, e);
                if (n < 0)
                        return (int)n;
                if (n == 0)
                        break;
                w->head_len += (size_t)n;
        }
        *ret = COMPRESS_NONE;
        for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
                if (w->head_len >= magics[i].len &&
                        memcmp(w->head, magics[i].magic, magics[i].len) == 0)
                        *ret = magics[i].kind;
        return 0;
}

static ssize_t packed_bytes(void *ctx, void *data, size_t len, struct err *e)
{
        struct work *w = ctx;
        if (w->head_at == w->head_len)
                return plain_read(w->plain, data, len, e);
        size_t n = MIN(len, w->head_len - w->head_at);
        memcpy(data, w->head + w->head_at, n);
        w->head_at += n;
        return (ssize_t)n;
}

static ssize_t tar_bytes(void *ctx, void *data, size_t len, struct err *e)
{
        struct work *w = ctx;
        return compress_decoder_read(w->decoder, data, len, e);
}

static int want(void *ctx, const char *path, _unused_ struct err *e)
{
        struct work *w = ctx;
        bool yes = !w->r->paths;
        for (size_t i = 0; w->r->paths && w->r->paths[i]; i++)
                if (path_below(path, w->r->paths[i]))
                        yes = w->found[i] = true;
        return yes;
}

static int count(void *ctx, const struct untar_result *u, _unused_ struct err *e)
{
        struct work *w = ctx;
        w->files += u->type == 'f';
        return 0;
}

static void warn(void *ctx, const char *path, const char *why)
{
        struct work *w = ctx;
        w->warnings++;
        if (w->r->warn)
                w->r->warn(w->r->ctx, path, why);
}

/* Behind the end of the tar there may be more to authenticate. */
static int drain(struct work *w, struct err *e)
{
        uint8_t rest[4096];
        ssize_t n;
        while ((n = tar_bytes(w, rest, sizeof rest, e)) > 0)
                ;
        return n < 0 ? (int)n : 0;
}

static int extract(struct work *w, struct err *e)
{
        const struct untar_params p = {.to = w->r->to,
                .clash = w->r->overwrite ? UNTAR_OVERWRITE : UNTAR_REFUSE,
                .want = want,
                .check = count,
                .no_sums = true, /* every byte has been authenticated */
                .warn = warn,
                .ctx = w};
        _cleanup_(untar_freep) struct untar *u = NULL;
        int q = untar_new(&p, &u, e);
        if (q == 0)
                q = untar_run(u, tar_bytes, w, e);
        if (q == 0)
                q = drain(w, e);
        if (q == 0)
                q = untar_finish(u, e);
        return q;
}

static int check_found(struct work *w, struct err *e)
{
        for (size_t i = 0; w->r->paths && w->r->paths[i]; i++)
                if (!w->found[i])
                        return err_set(e, -ENOENT, "%s is not in the archive", w->r->paths[i]);
        return 0;
}

static void work_done(struct work *w)
{
        compress_decoder_free(w->decoder);
        plain_free(w->plain);
        free(w->found);
}

int decrypt_restore(const struct decrypt_restore *r, uint64_t *ret_files, struct err *e)
{
        const struct plain_params params = {.key = r->key,
                .files = r->files,
                .whole = true,
                .progress = r->progress,
                .ctx = r->ctx,
                .stop = r->stop};
        _cleanup_(work_done) struct work w = {.r = r};
        enum compress_kind kind = COMPRESS_NONE;
        size_t n = 0;
        while (r->paths && r->paths[n])
                n++;
        if (!(w.found = calloc(n + 1, sizeof *w.found)))
                return err_oom(e);
        int q = plain_new(&params, &w.plain, e);
        if (q == 0)
                q = look(&w, &kind, e);
        if (q == 0)
                q = compress_decoder_new(kind, packed_bytes, &w, &w.decoder, e);
        if (q == 0)
                q = extract(&w, e);
        if (q == 0)
                q = check_found(&w, e);
        *ret_files = w.files;
        return q < 0 ? q : w.warnings > 0;
}
