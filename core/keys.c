#include "keys.h"

#include "buf.h"
#include "bytes.h"
#include "io.h"
#include "secret.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define BITS_MIN     2048u
#define OLD_BITS_MIN 512u /* for reading the predecessor's archives */
#define BITS_MAX     8192u
#define PEM_MAX      (64u * KiB)
#define ATTEMPTS     3u
#define DATA_KEY_LEN KEYS_DATA_KEY_LEN

/* The two types differ for the compiler only, so that one cannot be taken for the other. */
struct keys_public {
        EVP_PKEY *key;
        char fingerprint[KEYS_FINGERPRINT_LEN + 1];
};

struct keys_private {
        EVP_PKEY *key;
        char fingerprint[KEYS_FINGERPRINT_LEN + 1];
};

/* ---- both halves ---- */

static int fingerprint_of(EVP_PKEY *key, char out[KEYS_FINGERPRINT_LEN + 1])
{
        uint8_t *der = NULL;
        uint8_t digest[32];
        int len = i2d_PUBKEY(key, &der);
        bool ok = len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1;
        OPENSSL_free(der);
        if (!ok)
                return -ENOMEM;
        bytes_hex(digest, sizeof digest, out);
        return 0;
}

static char *public_pem_of(EVP_PKEY *key)
{
        BIO *bio = BIO_new(BIO_s_mem());
        char *text = NULL, *copy = NULL;
        if (bio && PEM_write_bio_PUBKEY(bio, key) == 1) {
                long len = BIO_get_mem_data(bio, &text);
                copy = strndup(text, (size_t)len);
        }
        BIO_free(bio);
        return copy;
}

static int check_kind(EVP_PKEY *key, const char *what, bool any_size, struct err *e)
{
        if (!EVP_PKEY_is_a(key, "RSA"))
                return err_set(e, -EINVAL, "%s is a key, but not an RSA key", what);
        unsigned bits = (unsigned)EVP_PKEY_get_bits(key);
        unsigned min = any_size ? OLD_BITS_MIN : BITS_MIN;
        unsigned max = any_size ? KEYS_OLD_WRAPPED_MAX * 8u : BITS_MAX;
        if (bits < min || bits > max)
                return err_set(e, -EINVAL,
                        "%s is an RSA key of %u bits; %u to %u bits are possible", what, bits, min,
                        max);
        return 0;
}

static int read_pem(const char *path, struct buf *pem, struct err *e)
{
        int r = io_read_file(AT_FDCWD, path, PEM_MAX, pem, e);
        return r == -ENOENT ? err_set(e, -ENOKEY, "there is no key at %s", path) : r;
}

/* PKCS#1 or the general form (SubjectPublicKeyInfo, PKCS#8): the decoder knows them all. */
static EVP_PKEY *decode(const void *pem, size_t len, int selection, pem_password_cb *ask, void *ctx)
{
        EVP_PKEY *key = NULL;
        const uint8_t *p = pem;
        OSSL_DECODER_CTX *d =
                OSSL_DECODER_CTX_new_for_pkey(&key, "PEM", NULL, NULL, selection, NULL, NULL);
        if (d && (!ask || OSSL_DECODER_CTX_set_pem_password_cb(d, ask, ctx) == 1))
                (void)OSSL_DECODER_from_data(d, &p, &len); /* key stays NULL when it fails */
        OSSL_DECODER_CTX_free(d);
        ERR_clear_error();
        return key;
}

/* ---- public ---- */

/* A private key given as the public one would be stored where it does not belong: say so. */
static bool looks_private(const char *pem, size_t len)
{
        return memmem(pem, len, "PRIVATE KEY-----", 16) != NULL;
}

/* Takes as long as starting a program: the number is tried for factors. */
static int check_sound(EVP_PKEY *key, const char *what, struct err *e)
{
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
        bool ok = ctx && EVP_PKEY_public_check(ctx) == 1;
        EVP_PKEY_CTX_free(ctx);
        ERR_clear_error();
        return ok ? 0 : err_set(e, -EINVAL, "%s is not a sound RSA public key", what);
}

/* Of a permitted size, with its fingerprint. */
static int read_public(
        const char *pem, size_t len, const char *what, struct keys_public **ret, struct err *e)
{
        _cleanup_(keys_public_freep) struct keys_public *k = calloc(1, sizeof *k);
        if (!k)
                return err_oom(e);
        k->key = decode(pem, len, EVP_PKEY_PUBLIC_KEY, NULL, NULL);
        if (!k->key)
                return err_set(e, -EINVAL, "%s is not a public key in PEM form", what);
        int r = check_kind(k->key, what, false, e);
        if (r < 0)
                return r;
        if (fingerprint_of(k->key, k->fingerprint) < 0)
                return err_oom(e);
        *ret = steal(k);
        return 0;
}

int keys_public_parse(
        const char *pem, size_t len, const char *what, struct keys_public **ret, struct err *e)
{
        if (looks_private(pem, len)) {
                int r = err_set(e, -EINVAL, "%s is a private key, not a public one", what);
                err_hint(e, "keep it elsewhere and give the public key here");
                return r;
        }
        _cleanup_(keys_public_freep) struct keys_public *k = NULL;
        int r = read_public(pem, len, what, &k, e);
        if (r == 0)
                r = check_sound(k->key, what, e);
        if (r == 0)
                *ret = steal(k);
        return r;
}

int keys_public_known(const char *pem, size_t len, const char *fingerprint, const char *what,
        struct keys_public **ret, struct err *e)
{
        _cleanup_(keys_public_freep) struct keys_public *k = NULL;
        int r = read_public(pem, len, what, &k, e);
        if (r < 0)
                return r;
        if (!streq(k->fingerprint, fingerprint))
                return err_set(e, -EINVAL, "%s has the fingerprint %s, not %s", what,
                        k->fingerprint, fingerprint);
        *ret = steal(k);
        return 0;
}

int keys_public_load(const char *path, struct keys_public **ret, struct err *e)
{
        _cleanup_buf_ struct buf pem = BUF_INIT;
        int r = read_pem(path, &pem, e);
        return r < 0 ? r : keys_public_parse(buf_str(&pem), pem.len, path, ret, e);
}

char *keys_public_pem(const struct keys_public *k)
{
        return public_pem_of(k->key);
}

void keys_public_free(struct keys_public *k)
{
        if (!k)
                return;
        EVP_PKEY_free(k->key);
        free(k);
}

const char *keys_public_fingerprint(const struct keys_public *k)
{
        return k->fingerprint;
}

unsigned keys_public_bits(const struct keys_public *k)
{
        return (unsigned)EVP_PKEY_get_bits(k->key);
}

/* ---- wrapping ---- */

static bool set_oaep(EVP_PKEY_CTX *ctx, const EVP_MD *md)
{
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) == 1 &&
               EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1;
}

int keys_wrap(const struct keys_public *k, const uint8_t data_key[KEYS_DATA_KEY_LEN], uint8_t *out,
        size_t *ret_len, struct err *e)
{
        size_t len = KEYS_WRAPPED_MAX;
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->key, NULL);
        bool ok = ctx && EVP_PKEY_encrypt_init(ctx) == 1 && set_oaep(ctx, EVP_sha256()) &&
                  EVP_PKEY_encrypt(ctx, out, &len, data_key, DATA_KEY_LEN) == 1;
        EVP_PKEY_CTX_free(ctx);
        ERR_clear_error();
        if (!ok)
                return err_set(e, -EINVAL, "cannot encrypt to the public key %s", k->fingerprint);
        *ret_len = len;
        return 0;
}

/* The bytes that were wrapped, if they are as many as they should be. */
static bool unwrap(const struct keys_private *k, const EVP_MD *md, const uint8_t *wrapped,
        size_t len, uint8_t *ret, size_t ret_len)
{
        uint8_t out[KEYS_OLD_WRAPPED_MAX];
        size_t out_len = sizeof out;
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->key, NULL);
        bool ok = ctx && EVP_PKEY_decrypt_init(ctx) == 1 && set_oaep(ctx, md) &&
                  EVP_PKEY_decrypt(ctx, out, &out_len, wrapped, len) == 1 && out_len == ret_len;
        EVP_PKEY_CTX_free(ctx);
        ERR_clear_error();
        if (ok)
                memcpy(ret, out, ret_len);
        secret_wipe(out, sizeof out);
        return ok;
}

int keys_unwrap(const struct keys_private *k, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[KEYS_DATA_KEY_LEN], struct err *e)
{
        if (unwrap(k, EVP_sha256(), wrapped, len, ret_data_key, DATA_KEY_LEN))
                return 0;
        return err_set(e, -EBADMSG,
                "the wrapped data key does not open with the private key %s: it was altered or "
                "damaged",
                k->fingerprint);
}

size_t keys_private_wrapped_len(const struct keys_private *k)
{
        return ((size_t)EVP_PKEY_get_bits(k->key) + 7) / 8;
}

int keys_unwrap_old(const struct keys_private *k, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[KEYS_OLD_DATA_KEY], struct err *e)
{
        if (unwrap(k, EVP_sha1(), wrapped, len, ret_data_key, KEYS_OLD_DATA_KEY))
                return 0;
        return err_set(e, -EBADMSG,
                "it is no archive for the private key %s: it was made for another one, or is "
                "damaged, or something else altogether",
                k->fingerprint);
}

/* ---- private ---- */

/* What the decoder's question for a passphrase finds and leaves. */
struct answer {
        const struct secret *passphrase; /* NULL: none yet */
        bool asked;
};

static int answer_passphrase(char *out, int size, _unused_ int rwflag, void *ctx)
{
        struct answer *a = ctx;
        a->asked = true;
        if (!a->passphrase || a->passphrase->len > (size_t)size)
                return -1;
        memcpy(out, a->passphrase->data, a->passphrase->len);
        return (int)a->passphrase->len;
}

/* The key, or NULL with *ret_asked telling whether a passphrase stood in the way. */
static EVP_PKEY *decode_private(
        const struct buf *pem, const struct secret *passphrase, bool *ret_asked)
{
        struct answer a = {.passphrase = passphrase};
        EVP_PKEY *key = decode(buf_str(pem), pem->len, EVP_PKEY_KEYPAIR, answer_passphrase, &a);
        *ret_asked = a.asked;
        return key;
}

static bool same(const struct secret *a, const struct secret *b)
{
        return a && b && a->len == b->len && secret_equal(a->data, b->data, a->len);
}

/* Asks and tries, until it opens or there is no point in asking again. */
static int decode_asking(const struct buf *pem, const char *path, keys_passphrase_fn ask, void *ctx,
        EVP_PKEY **ret, struct err *e)
{
        _cleanup_secret_ struct secret *before = NULL;
        for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
                _cleanup_secret_ struct secret *now = NULL;
                int r = ask(ctx, path, attempt, &now, e);
                if (r < 0)
                        return r;
                if (same(before, now))
                        break;
                bool asked;
                *ret = decode_private(pem, now, &asked);
                if (*ret)
                        return 0;
                secret_free(before);
                before = steal(now);
        }
        return err_set(e, -EACCES, "the passphrase of the private key %s is wrong", path);
}

static int decode_file(
        const char *path, keys_passphrase_fn ask, void *ctx, EVP_PKEY **ret, struct err *e)
{
        _cleanup_buf_ struct buf pem = BUF_INIT;
        int r = read_pem(path, &pem, e);
        if (r < 0)
                return r;
        bool asked = false;
        *ret = decode_private(&pem, NULL, &asked);
        if (*ret)
                r = 0;
        else if (!asked)
                r = err_set(e, -EINVAL, "%s is not a private key in PEM form", path);
        else if (!ask)
                r = err_set(e, -ENOKEY, "the private key %s is locked with a passphrase", path);
        else
                r = decode_asking(&pem, path, ask, ctx, ret, e);
        secret_wipe(pem.data, pem.len);
        return r;
}

static int load(const char *path, keys_passphrase_fn ask, void *ctx, bool any_size,
        struct keys_private **ret, struct err *e)
{
        _cleanup_(keys_private_freep) struct keys_private *k = calloc(1, sizeof *k);
        if (!k)
                return err_oom(e);
        int r = decode_file(path, ask, ctx, &k->key, e);
        if (r == 0)
                r = check_kind(k->key, path, any_size, e);
        if (r == 0)
                r = fingerprint_of(k->key, k->fingerprint) < 0 ? err_oom(e) : 0;
        if (r < 0)
                return r;
        *ret = steal(k);
        return 0;
}

int keys_private_load(const char *path, keys_passphrase_fn ask, void *ctx,
        struct keys_private **ret, struct err *e)
{
        return load(path, ask, ctx, false, ret, e);
}

int keys_private_load_any(const char *path, keys_passphrase_fn ask, void *ctx,
        struct keys_private **ret, struct err *e)
{
        return load(path, ask, ctx, true, ret, e);
}

void keys_private_free(struct keys_private *k)
{
        if (!k)
                return;
        EVP_PKEY_free(k->key); /* OpenSSL wipes the numbers of a private key */
        free(k);
}

const char *keys_private_fingerprint(const struct keys_private *k)
{
        return k->fingerprint;
}
