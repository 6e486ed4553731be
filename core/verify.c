#include "verify.h"

#include "catalog.h"
#include "keys.h"
#include "seal.h"
#include "secret.h"
#include "store.h"
#include "stores.h"
#include "tree_hash.h"
#include "words.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#define READ_SIZE (1024u * 1024u)

struct check {
        struct catalog *catalog;
        struct store *store;
        const struct catalog_archive *a;
        const struct verify_params *p;
        const char *object;
        uint8_t *data;
        uint64_t done, todo;
        unsigned damaged;
        struct err *e;
};

static void damage(struct check *k, uint64_t offset, const char *why)
{
        k->damaged++;
        k->p->damage(k->p->ctx,
                &(struct verify_damage){.object = k->object, .offset = offset, .why = why});
}

/* The hash of one part, read from the store. 0, or -errno of the store. */
static int hash_part(
        struct check *k, uint64_t offset, uint64_t size, uint8_t ret[32], struct err *e)
{
        _cleanup_(tree_hash_freep) struct tree_hash *t = tree_hash_new();
        if (!t)
                return err_oom(e);
        while (size > 0) {
                if (k->p->stop && atomic_load(k->p->stop))
                        return err_set(e, -ECANCELED, "interrupted");
                size_t n = (size_t)MIN(size, (uint64_t)READ_SIZE);
                int q = store_get(k->store, k->object, k->data, n, offset, e);
                if (q == 0)
                        q = tree_hash_update(t, k->data, n);
                if (q < 0)
                        return q;
                offset += n;
                size -= n;
                k->done += n;
                if (k->p->progress)
                        k->p->progress(k->p->ctx, k->done, k->todo);
        }
        return tree_hash_final(t, ret);
}

/* 1: its hash; 0: it cannot be read, which is told; -errno: nothing can be said of the store. */
static int try_part(struct check *k, uint64_t offset, uint64_t size, uint8_t ret[32], struct err *e)
{
        struct err why = {0};
        int q = hash_part(k, offset, size, ret, &why);
        if (q == 0)
                return 1;
        if (q == -ECANCELED || q == -ENODEV || q == -ENOMEM)
                return e ? err_set(e, q, "%s", why.text) : q;
        damage(k, offset, why.text);
        return 0;
}

static int check_part(void *ctx, const struct catalog_part *part)
{
        struct check *k = ctx;
        uint8_t hash[32];
        int q = try_part(k, part->offset, part->size, hash, k->e);
        if (q == 1 && memcmp(hash, part->tree_hash, sizeof hash) != 0)
                damage(k, part->offset,
                        "the part that begins here has changed since it was stored");
        return MIN(q, 0);
}

struct parts_hash {
        EVP_MD_CTX *md;
        unsigned n;
        bool known;
};

static int add_part_hash(void *ctx, const struct catalog_part *part)
{
        static const uint8_t unknown[32];
        struct parts_hash *h = ctx;
        h->n++;
        h->known = h->known && memcmp(part->sha256, unknown, sizeof unknown) != 0 &&
                   EVP_DigestUpdate(h->md, part->sha256, sizeof part->sha256);
        return 0;
}

/* Against the store's SHA-256 over the SHA-256s of the parts, where we know those. */
static int check_parts_hash(struct check *k, const struct catalog_volume *v,
        const struct store_state *st, struct err *e)
{
        uint8_t hash[32];
        struct parts_hash h = {.md = EVP_MD_CTX_new(), .known = true};
        if (!h.md || !EVP_DigestInit_ex(h.md, EVP_sha256(), NULL)) {
                EVP_MD_CTX_free(h.md);
                return err_oom(e);
        }
        int q = catalog_parts(k->catalog, k->a->id, v->number, add_part_hash, &h, e);
        bool same = h.n == st->hash_parts && EVP_DigestFinal_ex(h.md, hash, NULL) &&
                    memcmp(hash, st->hash, sizeof hash) == 0;
        EVP_MD_CTX_free(h.md);
        if (q == 0 && h.known && h.n > 0 && !same)
                damage(k, 0, "the store's own checksum is not that of what was stored");
        return q;
}

/* What the store says of the whole object, or (a recovered archive has no parts) reading it. */
static int check_whole(struct check *k, const struct catalog_volume *v,
        const struct store_state *st, struct err *e)
{
        static const uint8_t unknown[32];
        if (st->hashed == STORE_HASH_SHA256_PARTS)
                return check_parts_hash(k, v, st, e);
        if (memcmp(v->tree_hash, unknown, sizeof unknown) == 0)
                return 0;
        uint8_t hash[32];
        if (st->hashed == STORE_HASH_TREE) {
                memcpy(hash, st->hash, sizeof hash);
        } else if (k->store->traits.cold) {
                if (k->p->sized)
                        k->p->sized(k->p->ctx);
                return 0;
        } else {
                int q = try_part(k, 0, v->size, hash, e);
                if (q <= 0)
                        return q;
        }
        if (memcmp(hash, v->tree_hash, sizeof hash) != 0)
                damage(k, 0, "it has changed since it was stored");
        return 0;
}

static int has_parts(void *ctx, _unused_ const struct catalog_part *part)
{
        *(bool *)ctx = true;
        return 1;
}

static int check_content(struct check *k, const struct catalog_volume *v,
        const struct store_state *st, struct err *e)
{
        bool parts = false;
        int q = catalog_parts(k->catalog, k->a->id, v->number, has_parts, &parts, e);
        if (q < 0)
                return q;
        if (k->store->traits.cold || !parts)
                return check_whole(k, v, st, e);
        return catalog_parts(k->catalog, k->a->id, v->number, check_part, k, e);
}

static int check_volume(struct check *k, const struct catalog_volume *v, struct err *e)
{
        k->object = v->object;
        struct store_state st;
        struct err why = {0};
        int q = store_state(k->store, v->object, &st, &why);
        if (q == -ENOENT) {
                damage(k, 0, "it is missing");
                return 0;
        }
        if (q < 0) {
                if (e)
                        *e = why;
                return q;
        }
        if (st.seen && k->p->seen)
                k->p->seen(k->p->ctx, st.seen, st.listed);
        if (st.size != v->size) {
                char text[120];
                (void)snprintf(text, sizeof text,
                        "it has %" PRIu64 " bytes, not %" PRIu64 " as when it was stored", st.size,
                        v->size); /* fits */
                damage(k, MIN(st.size, v->size), text);
                return 0;
        }
        return check_content(k, v, &st, e);
}

static int check_manifest(struct check *k, struct err *e)
{
        _cleanup_free_ char *name = stores_manifest_name(k->a->origin, k->a->id);
        if (!name)
                return err_oom(e);
        k->object = name;
        struct err why = {0};
        int q = verify_manifest(k->store, k->a, NULL, NULL, &why);
        if (q == -ENOENT)
                damage(k, 0, why.text);
        else if (q < 0 && e)
                *e = why;
        k->object = NULL;
        return q == -ENOENT ? 0 : q;
}

int verify_objects(struct catalog *c, struct store *s, const struct catalog_archive *a,
        const struct verify_params *p, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n;
        int q = catalog_volumes(c, a->id, &v, &n, e);
        if (q < 0)
                return q;
        _cleanup_free_ uint8_t *data = malloc(READ_SIZE);
        if (!data)
                return err_oom(e);
        struct check k = {.catalog = c, .store = s, .a = a, .p = p, .data = data, .e = e};
        for (size_t i = 0; i < n; i++)
                k.todo += v[i].size;
        for (size_t i = 0; q == 0 && i < n; i++)
                q = check_volume(&k, &v[i], e);
        if (q == 0)
                q = check_manifest(&k, e);
        if (q == 0 && k.damaged > 0)
                q = err_set(e, -EBADMSG, "archive %s is damaged in %s", a->name,
                        WORDS(k.damaged, "place", NULL));
        return q;
}

/* ---- the key ---- */

struct object {
        struct store *store;
        const char *name;
};

static int fetch(void *ctx, void *data, size_t len, uint64_t offset, struct err *e)
{
        const struct object *o = ctx;
        return store_get(o->store, o->name, data, len, offset, e);
}

static int open_object(
        const struct object *o, uint64_t size, struct keys_private *key, struct err *e)
{
        struct seal_source source = {.pread = fetch, .ctx = (void *)o, .size = size};
        _cleanup_(seal_reader_freep) struct seal_reader *r = NULL;
        return seal_reader_new(&source, seal_unwrap_with_key, key, &r, e);
}

static int prove_by_archive(struct catalog *c, struct store *s, const struct catalog_archive *a,
        struct keys_private *key, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n;
        int q = catalog_volumes(c, a->id, &v, &n, e);
        if (q < 0)
                return q;
        if (n == 0)
                return err_set(e, -ENOENT, "archive %s has no volume yet", a->name);
        return open_object(&(struct object){s, v[0].object}, v[0].size, key, e);
}

/* The manifest is sealed for the same keys, and in most stores it is never cold. */
static int prove_by_manifest(
        struct store *s, const struct catalog_archive *a, struct keys_private *key, struct err *e)
{
        _cleanup_free_ char *name = stores_manifest_name(a->origin, a->id);
        struct store_state st;
        if (!name)
                return err_oom(e);
        int q = store_state(s, name, &st, e);
        return q < 0 ? q : open_object(&(struct object){s, name}, st.size, key, e);
}

static int prove_by_pair(struct keys_private *key, const char *public_path, struct err *e)
{
        _cleanup_(keys_public_freep) struct keys_public *pub = NULL;
        int q = keys_public_load(public_path, &pub, e);
        if (q < 0)
                return q;
        uint8_t secret[32], back[32], wrapped[KEYS_WRAPPED_MAX];
        size_t len;
        if (RAND_bytes(secret, sizeof secret) != 1)
                return err_set(e, -EIO, "no random numbers");
        if ((q = keys_wrap(pub, secret, wrapped, &len, e)) < 0)
                return q;
        q = keys_unwrap(key, wrapped, len, back, e);
        if (q == 0 && !secret_equal(secret, back, sizeof secret))
                q = -EBADMSG;
        secret_wipe(back, sizeof back);
        return q < 0 ? err_set(e, -EACCES, "this private key is not the other half of %s",
                               public_path)
                     : 0;
}

static int not_this_key(const struct catalog_archive *a, struct err *e)
{
        (void)err_prefix(e, -EACCES, "this private key does not open archive %s", a->name);
        if (e)
                e->code = -EACCES;
        return -EACCES;
}

/* What can be said without the store: for which public keys it was sealed is in the catalogue, and
 * that the key works is tried on its own other half where that is here. */
static int prove_by_recipient(const struct catalog_archive *a, struct keys_private *key,
        const char *public_path, struct err *e)
{
        _cleanup_(keys_public_freep) struct keys_public *pub = NULL;
        const char *fingerprint = keys_private_fingerprint(key);
        if (!strstr(a->recipients, fingerprint))
                return err_set(e, -ENOKEY, "it was sealed for other keys");
        bool here = keys_public_load(public_path, &pub, NULL) == 0 &&
                    streq(keys_public_fingerprint(pub), fingerprint);
        return here ? prove_by_pair(key, public_path, e) : 0;
}

static bool cannot_be_read_now(int q)
{
        return q == -EREMOTE || q == -ENODEV || q == -EAGAIN || q == -EBUSY || q == -ETIMEDOUT;
}

/* 1: without the archive. */
static int prove(struct catalog *c, struct store *s, const struct catalog_archive *a,
        struct keys_private *key, const char *public_path, struct err *e)
{
        if (!a)
                return prove_by_pair(key, public_path, e);
        int q = s ? prove_by_archive(c, s, a, key, e) : -ENODEV;
        if (q == -EREMOTE) {
                q = prove_by_manifest(s, a, key, e);
                q = q == -ENOENT ? -EREMOTE : q;
        }
        if (!cannot_be_read_now(q))
                return q;
        q = prove_by_recipient(a, key, public_path, e);
        return q < 0 ? q : 1;
}

static int note_proof(struct catalog *c, const char *fingerprint, struct err *e)
{
        _cleanup_free_ char *old = NULL;
        _cleanup_free_ char *now = NULL;
        int q = catalog_get(c, "key_proven", &old, e);
        if (q < 0 || (old && strstr(old, fingerprint)))
                return q;
        if (asprintf(&now, "%s%s%s", old ? old : "", old ? " " : "", fingerprint) < 0) {
                now = NULL;
                return err_oom(e);
        }
        return catalog_set(c, "key_proven", now, e);
}

int verify_key(struct catalog *c, struct store *s, const struct catalog_archive *a,
        struct keys_private *key, const char *public_path, struct err *e)
{
        int q = prove(c, s, a, key, public_path, e);
        if (q == -ENOKEY && a)
                return not_this_key(a, e);
        if (q < 0)
                return q;
        int noted = note_proof(c, keys_private_fingerprint(key), e);
        return noted < 0 ? noted : q;
}
