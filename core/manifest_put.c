#include "manifest_put.h"

#include "catalog.h"
#include "config.h"
#include "io.h"
#include "keys.h"
#include "manifest.h"
#include "pack.h"
#include "store.h"
#include "stores.h"

#include <fcntl.h>

struct put {
        const struct manifest_put *p;
        char *object;
        struct store_upload *upload;
};

static void put_done(struct put *k)
{
        if (k->upload && !k->p->store->traits.direct)
                store_leave(k->upload); /* swept later: it may be that the store is away */
        else
                store_abort(k->upload);
        free(k->object);
}

/* ---- into the store ---- */

static int begin(void *ctx, unsigned number, uint64_t tar_start _unused_, struct err *e)
{
        struct put *k = ctx;
        if (number != 1)
                return err_set(e, -EFBIG, "the manifest does not fit into one object");
        const struct store_new n = {
                .name = k->object,
                .max_size = UINT64_MAX,
                .part_size = k->p->store->traits.part_size,
                .index = true,
                .replace = true,
                .archive_id = k->p->a->id,
        };
        return store_begin(k->p->store, &n, &k->upload, e);
}

static int block(void *ctx _unused_, const struct pack_block *b _unused_, struct err *e _unused_)
{
        return 0;
}

static int part(void *ctx, const struct pack_part *p, struct err *e)
{
        struct put *k = ctx;
        const struct store_part s = {
                .number = p->number,
                .offset = p->offset,
                .data = p->data,
                .len = p->len,
                .tree_hash = p->tree_hash,
                .sha256 = k->p->store->traits.direct ? NULL : p->sha256,
        };
        return store_put_part(k->upload, &s, e);
}

static int end(void *ctx, const struct pack_volume *v, struct err *e)
{
        struct put *k = ctx;
        return store_finish(&k->upload, v->size, v->tree_hash, e);
}

/* ---- from the catalogue ---- */

static int write_temp(const struct manifest_put *p, int *ret_fd, struct err *e)
{
        uint64_t size;
        _cleanup_close_ int fd = open(p->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_errno(e, -errno, "cannot make a file in %s", p->folder);
        _cleanup_close_ int earlier =
                p->earlier ? open(p->earlier, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -EBADF;
        int q = manifest_write_again(p->catalog, p->a->id, p->when, earlier, fd, &size, e);
        if (q < 0)
                return q;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return err_errno(e, -errno, "cannot read the manifest");
        *ret_fd = steal_fd(&fd);
        return 0;
}

static int pack_file(struct pack *pack, int fd, struct err *e)
{
        _cleanup_free_ uint8_t *chunk = malloc(MiB);
        if (!chunk)
                return err_oom(e);
        for (unsigned i = 1;; i++) {
                ssize_t n = io_read_full(fd, chunk, MiB);
                if (n < 0)
                        return err_errno(e, (int)n, "cannot read the manifest");
                if (n == 0)
                        return pack_finish(pack, e);
                int q = pack_write(pack, chunk, (size_t)n, e);
                if (q < 0)
                        return q;
                if (i % MANIFEST_SHARE == 0)
                        pack_cut(pack);
        }
}

int manifest_put(const struct manifest_put *p, struct err *e)
{
        _cleanup_(put_done) struct put k = {.p = p};
        _cleanup_(pack_freep) struct pack *pack = NULL; /* goes before the upload of its sink */
        _cleanup_close_ int fd = -EBADF;
        if (!(k.object = stores_manifest_name(p->a->origin, p->a->id)))
                return err_oom(e);
        int q = write_temp(p, &fd, e);
        if (q < 0)
                return q;
        const struct pack_sink sink = {
                .volume_begin = begin, .block = block, .part = part, .volume_end = end, .ctx = &k};
        /* It is .xz whatever the archive is; where that was to be made fast, so is this. */
        bool fast = !streq(p->a->compression, compress_name(COMPRESS_LZMA));
        const struct pack_params params = {.kind = COMPRESS_LZMA,
                .level = fast ? 0 : p->a->level,
                .workers = p->workers,
                .volume_size = UINT64_MAX, /* of one part, or few: parts of the usual size */
                .part_size = store_part_size(p->store, UINT64_MAX),
                .part_sha256 = !p->store->traits.direct,
                .recipients = p->recipients,
                .n_recipients = p->n_recipients,
                .id = p->a->id,
                .first_volume = 1};
        if ((q = pack_new(&params, &sink, &pack, e)) < 0)
                return q;
        pack_content(pack, COMPRESS_HASHES);
        return pack_file(pack, fd, e);
}

/* ---- again ---- */

int manifest_put_again(const struct config *config, struct catalog *c, struct store *s,
        const struct catalog_archive *a, struct err *e)
{
        _cleanup_(keys_public_list_done) struct keys_public_list keys = {0};
        _cleanup_free_ char *folder = io_join(config->data, "spool");
        if (!folder)
                return err_oom(e);
        int q = keys_public_list_parse(a->keys_pem, a->recipients, &keys, e);
        if (q == 0)
                q = io_mkdir_p(folder, 0700, e);
        if (q < 0)
                return q;
        const struct manifest_put p = {.catalog = c,
                .store = s,
                .a = a,
                .recipients = (const struct keys_public *const *)keys.v,
                .n_recipients = keys.n,
                .workers = config->workers,
                .folder = folder,
                .when = a->stored};
        return manifest_put(&p, e);
}
