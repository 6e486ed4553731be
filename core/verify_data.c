#include "verify.h"

#include "catalog.h"
#include "manifest.h"
#include "reader.h"
#include "store.h"
#include "stores.h"
#include "words.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <openssl/evp.h>

DEFINE_CLEANUP(EVP_MD_CTX_free, EVP_MD_CTX *)
_unused_ static inline void archive_donep(struct archive **a)
{
        if (*a)
                archive_read_free(*a);
}

#define EVERYTHING UINT64_MAX /* will be read */

struct scan {
        const struct catalog_archive *a;
        const struct verify_params *p;
        struct reader *reader;
        struct err *e;     /* the caller's */
        struct err why;    /* of the member that is being read */
        uint64_t at, end;  /* what is left of it in the tar stream */
        uint64_t last_end; /* of the members */
        uint64_t done;
        unsigned damaged;
        uint8_t chunk[64 * 1024];
};

static la_ssize_t member_bytes(struct archive *ar, void *ctx, const void **ret)
{
        struct scan *s = ctx;
        if (s->at == s->end)
                return 0;
        ssize_t n = reader_read(s->reader, s->chunk,
                (size_t)MIN((uint64_t)sizeof s->chunk, s->end - s->at), s->at, EVERYTHING, &s->why);
        if (n == 0)
                n = err_set(&s->why, -EPROTO, "the tar stream ends here");
        if (n < 0) {
                archive_set_error(ar, EIO, "%s", s->why.text);
                return -1;
        }
        s->at += (uint64_t)n;
        *ret = s->chunk;
        return n;
}

static int hash_content(struct archive *ar, uint64_t size, EVP_MD_CTX *sha)
{
        static const uint8_t zeros[64 * 1024];
        uint64_t at = 0;
        for (;;) {
                const void *data;
                size_t len;
                la_int64_t offset;
                int q = archive_read_data_block(ar, &data, &len, &offset);
                if (q != ARCHIVE_OK && q != ARCHIVE_EOF)
                        return -EPROTO;
                uint64_t next = q == ARCHIVE_EOF ? size : (uint64_t)offset;
                if (next < at || next > size)
                        return -EPROTO;
                for (; at < next; at += MIN(next - at, (uint64_t)sizeof zeros)) /* a hole */
                        EVP_DigestUpdate(
                                sha, zeros, (size_t)MIN(next - at, (uint64_t)sizeof zeros));
                if (q == ARCHIVE_EOF)
                        return 0;
                EVP_DigestUpdate(sha, data, len);
                at += len;
        }
}

static int hash_member(struct scan *s, const struct catalog_member *m, uint8_t ret[64])
{
        _cleanup_(archive_donep) struct archive *ar = archive_read_new();
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *sha = EVP_MD_CTX_new();
        if (!ar || !sha || archive_read_support_format_tar(ar) != ARCHIVE_OK ||
                !EVP_DigestInit_ex(sha, EVP_sha512(), NULL))
                return err_oom(&s->why);
        struct archive_entry *entry;
        if (archive_read_open(ar, s, NULL, member_bytes, NULL) != ARCHIVE_OK ||
                archive_read_next_header(ar, &entry) != ARCHIVE_OK ||
                hash_content(ar, m->size, sha) < 0) {
                if (!s->why.code)
                        err_set(&s->why, -EPROTO, "its tar member is broken");
                return s->why.code;
        }
        return EVP_DigestFinal_ex(sha, ret, NULL) ? 0 : err_set(&s->why, -EIO, "SHA-512 failed");
}

static bool says_nothing(int code)
{
        return code == -ENOKEY || code == -EREMOTE || code == -EINPROGRESS || code == -ENODEV ||
               code == -ENOMEM || code == -EACCES || code == -ECANCELED;
}

/* The rest of a member's bytes, or of the stream; they are authenticated and decoded. */
static int pass(struct scan *s)
{
        ssize_t n = 1;
        while (n > 0 && s->at < s->end) {
                n = reader_read(s->reader, s->chunk,
                        (size_t)MIN((uint64_t)sizeof s->chunk, s->end - s->at), s->at, EVERYTHING,
                        &s->why);
                if (n > 0)
                        s->at += (uint64_t)n;
        }
        return n < 0 ? (int)n : 0;
}

static int check_content(struct scan *s, const struct catalog_member *m)
{
        if (m->type != 'f')
                return pass(s);
        uint8_t sum[64];
        int q = hash_member(s, m, sum);
        if (q == 0 && (!m->sha512 || memcmp(sum, m->sha512, 64) != 0))
                q = err_set(&s->why, -EBADMSG, "its content has not the SHA-512 that was recorded");
        return q;
}

static void damage(struct scan *s, const struct verify_damage *d)
{
        s->damaged++;
        s->p->damage(s->p->ctx, d);
}

static int check_member(void *ctx, const struct catalog_member *m)
{
        struct scan *s = ctx;
        if (s->p->stop && atomic_load(s->p->stop))
                return err_set(s->e, -ECANCELED, "interrupted");
        s->why = (struct err){0};
        s->at = m->tar_offset;
        s->end = m->tar_offset + m->tar_len;
        int q = check_content(s, m);
        if (says_nothing(q)) {
                if (s->e)
                        *s->e = s->why; /* nothing can be said about the archive */
                return q;
        }
        if (q < 0)
                damage(s, &(struct verify_damage){
                                  .path = m->path, .offset = m->tar_offset, .why = s->why.text});
        s->last_end = MAX(s->last_end, s->end);
        if (m->type != 'f')
                return 0;
        s->done += m->size;
        if (s->p->progress)
                s->p->progress(s->p->ctx, s->done, s->a->bytes);
        return 0;
}

/* Behind the members: the manifest and the end of the tar. And the ends of the volumes. */
static int check_rest(struct scan *s, const struct catalog_volume *v, size_t n)
{
        s->why = (struct err){0};
        s->at = s->last_end;
        s->end = n > 0 ? v[n - 1].tar_end : 0;
        int q = pass(s);
        if (says_nothing(q))
                return s->e ? err_set(s->e, q, "%s", s->why.text) : q;
        if (q < 0)
                damage(s, &(struct verify_damage){
                                  .path = MANIFEST_PATH, .offset = s->at, .why = s->why.text});
        for (size_t i = 0; i < n; i++) {
                s->why = (struct err){0};
                q = reader_check_end(s->reader, v[i].number, &s->why);
                if (says_nothing(q))
                        return s->e ? err_set(s->e, q, "%s", s->why.text) : q;
                if (q < 0)
                        damage(s, &(struct verify_damage){.object = v[i].object,
                                          .offset = v[i].size,
                                          .why = s->why.text});
        }
        return 0;
}

/* Its object of its own. That it is missing has been told where the objects were looked at. */
static int check_manifest(struct scan *s, struct store *store)
{
        _cleanup_free_ char *name = stores_manifest_name(s->a->origin, s->a->id);
        if (!name)
                return err_oom(s->e);
        s->why = (struct err){0};
        int q = verify_manifest(store, s->a, s->p->unwrap, s->p->unwrap_ctx, &s->why);
        bool told = q == -ENOENT && !store->traits.cold;
        if (q == 0 || told)
                return 0;
        if (q != -ENOENT && q != -EBADMSG && q != -EPROTO)
                return s->e ? err_set(s->e, q, "%s", s->why.text) : q;
        damage(s, &(struct verify_damage){.object = name, .why = s->why.text});
        return 0;
}

/* Where reading costs nothing, what the store holds is compared with the hashes too: they name the
 * place in the object. */
static int check_objects(struct catalog *c, struct store *store, const struct catalog_archive *a,
        const struct verify_params *p, bool *ret_damaged, struct err *e)
{
        if (store->traits.cold)
                return 0;
        int q = verify_objects(c, store, a, p, e);
        *ret_damaged = q == -EBADMSG;
        return *ret_damaged ? 0 : q;
}

static int scan_all(struct catalog *c, struct scan *s, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n;
        int q = catalog_volumes(c, s->a->id, &v, &n, e);
        if (q == 0)
                q = catalog_members_each(c, s->a->id, CATALOG_AS_TAR, check_member, s, e);
        return q < 0 ? q : check_rest(s, v, n);
}

int verify_data(struct catalog *c, struct store *store, const struct catalog_archive *a,
        const struct verify_params *p, struct err *e)
{
        _cleanup_free_ struct scan *s = calloc(1, sizeof *s);
        _cleanup_(reader_freep) struct reader *reader = NULL;
        if (!s)
                return err_oom(e);
        bool objects = false;
        int q = check_objects(c, store, a, p, &objects, e);
        if (q == 0)
                q = reader_new(c, store, a, p->unwrap, p->unwrap_ctx, &reader, e);
        if (q < 0)
                return q;
        s->a = a;
        s->p = p;
        s->reader = reader;
        s->e = e;
        if ((q = scan_all(c, s, e)) < 0 || (q = check_manifest(s, store)) < 0)
                return q;
        if (s->damaged > 0)
                return err_set(e, -EBADMSG, "archive %s: %s damaged", a->name,
                        WORDS(s->damaged, "member or object is", "members or objects are"));
        return objects ? err_set(e, -EBADMSG, "archive %s is damaged", a->name) : 0;
}
