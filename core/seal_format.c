#include "seal_internal.h"

#include "bytes.h"
#include "secret.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

void seal_header_done(struct seal_header *h)
{
        free(h->raw);
        free(h->context);
        *h = (struct seal_header){0};
}

/* ---- keys ---- */

static int hkdf(const uint8_t *data_key, const uint8_t *salt, const void *info, size_t info_len,
        uint8_t out[SEAL_KEY])
{
        EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
        EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
        OSSL_PARAM params[] = {
                OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA512", 6),
                OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)data_key, SEAL_KEY),
                OSSL_PARAM_octet_string(
                        OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, SEAL_MESSAGE_ID),
                OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, info_len),
                OSSL_PARAM_END,
        };
        bool ok = ctx && EVP_KDF_derive(ctx, out, SEAL_KEY, params) == 1;
        EVP_KDF_CTX_free(ctx);
        EVP_KDF_free(kdf);
        return ok ? 0 : -ENOMEM;
}

int seal_derive(const uint8_t data_key[SEAL_KEY], const uint8_t message_id[SEAL_MESSAGE_ID],
        uint8_t key[SEAL_KEY], uint8_t commit[SEAL_COMMIT])
{
        static const char derive_info[] = "\x04\x78"
                                          "DERIVEKEY";
        static const char commit_info[] = "COMMITKEY";
        int r = hkdf(data_key, message_id, derive_info, sizeof derive_info - 1, key);
        if (r < 0)
                return r;
        return hkdf(data_key, message_id, commit_info, sizeof commit_info - 1, commit);
}

EVP_CIPHER_CTX *seal_cipher_new(const uint8_t key[SEAL_KEY], bool encrypt)
{
        EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
        if (gcm && EVP_CipherInit_ex(gcm, EVP_aes_256_gcm(), NULL, key, NULL, encrypt) == 1)
                return gcm;
        EVP_CIPHER_CTX_free(gcm);
        return NULL;
}

/* ---- AES-GCM, one message: the key is in the context, the IV and everything else comes here ----
 */

struct gcm_op {
        uint8_t iv[SEAL_IV];
        const void *aad;
        size_t aad_len;
        const uint8_t *in;
        uint8_t *out; /* may be `in` */
        size_t len;
        uint8_t *tag; /* encrypting: written; decrypting: compared */
};

static bool gcm_start(EVP_CIPHER_CTX *gcm, const struct gcm_op *op)
{
        int n = 0;
        return EVP_CipherInit_ex(gcm, NULL, NULL, NULL, op->iv, -1) == 1 &&
               EVP_CipherUpdate(gcm, NULL, &n, op->aad, (int)op->aad_len) == 1 &&
               (op->len == 0 || EVP_CipherUpdate(gcm, op->out, &n, op->in, (int)op->len) == 1);
}

static int gcm_encrypt(EVP_CIPHER_CTX *gcm, const struct gcm_op *op)
{
        int n = 0;
        uint8_t none[SEAL_TAG];
        bool ok = gcm_start(gcm, op) && EVP_CipherFinal_ex(gcm, none, &n) == 1 &&
                  EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG, op->tag) == 1;
        return ok ? 0 : -EIO;
}

static int gcm_decrypt(EVP_CIPHER_CTX *gcm, const struct gcm_op *op)
{
        int n = 0;
        uint8_t none[SEAL_TAG];
        bool ok = gcm_start(gcm, op) &&
                  EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG, op->tag) == 1 &&
                  EVP_CipherFinal_ex(gcm, none, &n) == 1;
        return ok ? 0 : -EBADMSG;
}

/* ---- header ---- */

int seal_header_sign(EVP_CIPHER_CTX *gcm, const void *body, size_t len, uint8_t tag[SEAL_TAG])
{
        return gcm_encrypt(gcm, &(struct gcm_op){.aad = body, .aad_len = len, .tag = tag});
}

int seal_header_check(EVP_CIPHER_CTX *gcm, const struct seal_header *h, struct err *e)
{
        size_t body = h->len - SEAL_TAG;
        if (gcm_decrypt(gcm,
                    &(struct gcm_op){.aad = h->raw, .aad_len = body, .tag = h->raw + body}) == 0)
                return 0;
        return err_set(e, -EBADMSG, "the header does not authenticate: it was altered or damaged");
}

static bool all_text(const uint8_t *p, size_t len)
{
        return len > 0 && !memchr(p, 0, len) && bytes_is_utf8(p, len);
}

/* One length-prefixed string of the context, copied with its terminator. */
static const char *parse_text(struct bytes *b, char **out, bool may_be_empty)
{
        size_t len = bytes_u16(b);
        const uint8_t *p = bytes_take(b, len);
        if (!p || (!all_text(p, len) && !(may_be_empty && len == 0)))
                return NULL;
        char *start = *out;
        memcpy(start, p, len);
        start[len] = '\0';
        *out += len + 1;
        return start;
}

/* Pairs must be in ascending order of their keys, without repetition: so there is one way to write
 * a context, and a lookup cannot depend on who reads. */
static int parse_context(struct bytes b, struct seal_header *h, struct err *e)
{
        if (b.left == 0)
                return 0;
        /* a pair has 4 bytes of lengths there and 2 of terminators here, so this is enough */
        h->context = malloc(b.left);
        if (!h->context)
                return err_oom(e);
        char *out = h->context;
        const char *last = "";
        unsigned n = bytes_u16(&b);
        for (unsigned i = 0; i < n; i++) {
                const char *key = parse_text(&b, &out, false);
                if (!key || strcmp(last, key) >= 0 || !parse_text(&b, &out, true))
                        return err_set(e, -EPROTO, "the header's encryption context is broken");
                last = key;
        }
        if (n == 0 || b.left > 0)
                return err_set(e, -EPROTO, "the header's encryption context has a wrong length");
        h->context_len = (size_t)(out - h->context);
        return 0;
}

static bool is_fingerprint(const uint8_t *p, size_t len)
{
        if (len != SEAL_FINGERPRINT)
                return false;
        for (size_t i = 0; i < len; i++)
                if (!(p[i] >= '0' && p[i] <= '9') && !(p[i] >= 'a' && p[i] <= 'f'))
                        return false;
        return true;
}

/* A wrapped data key. Those of other providers are for others: they are passed over. */
static int parse_edk(struct bytes *b, struct seal_header *h, struct err *e)
{
        size_t provider_len = bytes_u16(b);
        const uint8_t *provider = bytes_take(b, provider_len);
        size_t name_len = bytes_u16(b);
        const uint8_t *name = bytes_take(b, name_len);
        size_t len = bytes_u16(b);
        const uint8_t *wrapped = bytes_take(b, len);
        if (b->bad)
                return 0; /* said once, for the whole header */
        if (provider_len != strlen(SEAL_PROVIDER) ||
                memcmp(provider, SEAL_PROVIDER, provider_len) != 0)
                return 0;
        if (!is_fingerprint(name, name_len) || len == 0)
                return err_set(
                        e, -EPROTO, "the header names a recipient in a way that is not ours");
        struct seal_edk *k = &h->edks[h->n_edks++];
        memcpy(k->fingerprint, name, name_len);
        k->wrapped = wrapped;
        k->len = len;
        return 0;
}

static int parse_edks(struct bytes *b, struct seal_header *h, struct err *e)
{
        unsigned n = bytes_u16(b);
        if (!b->bad && (n == 0 || n > SEAL_RECIPIENTS))
                return err_set(e, -EPROTO, "the header has %u wrapped keys; 1 to %u are possible",
                        n, SEAL_RECIPIENTS);
        for (unsigned i = 0; i < n && !b->bad; i++) {
                int r = parse_edk(b, h, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int parse_start(struct bytes *b, struct err *e)
{
        unsigned version = bytes_u8(b);
        unsigned suite = bytes_u16(b);
        if (b->bad)
                return err_set(e, -EPROTO, "not a sealed archive: it is too short");
        if (version != 1 && version != SEAL_VERSION)
                return err_set(e, -EPROTO, "not a sealed archive: it begins with other bytes");
        if (version != SEAL_VERSION)
                return err_set(e, -EPROTONOSUPPORT,
                        "a sealed message of version %u; only version %u is read", version,
                        SEAL_VERSION);
        if (suite != SEAL_SUITE)
                return err_set(e, -EPROTONOSUPPORT,
                        "a sealed message with algorithm suite %04x; only %04x is read", suite,
                        SEAL_SUITE);
        return 0;
}

static int parse_end(struct bytes *b, struct seal_header *h, struct err *e)
{
        unsigned type = bytes_u8(b);
        uint32_t frame = bytes_u32(b);
        const uint8_t *commit = bytes_take(b, SEAL_COMMIT);
        (void)bytes_take(b, SEAL_TAG); /* seal_header_check() finds it at the end of raw */
        if (b->bad)
                return 0;
        if (type != SEAL_FRAMED || frame != SEAL_FRAME_PLAIN)
                return err_set(e, -EPROTONOSUPPORT,
                        "a sealed message of type %u with frames of %u bytes; only type %u with %u "
                        "bytes is read",
                        type, frame, SEAL_FRAMED, SEAL_FRAME_PLAIN);
        memcpy(h->commit, commit, SEAL_COMMIT);
        return 0;
}

/* version 1 | suite 2 | message id 32 | AAD length 2, AAD | EDK count 2, EDKs | type 1 | frame
 * length 4 | commitment 32 | tag 16 */
static int parse_fields(struct bytes *b, struct seal_header *h, struct err *e)
{
        int r = parse_start(b, e);
        if (r < 0)
                return r;
        const uint8_t *id = bytes_take(b, SEAL_MESSAGE_ID);
        size_t aad_len = bytes_u16(b);
        const uint8_t *aad = bytes_take(b, aad_len);
        if (id)
                memcpy(h->message_id, id, SEAL_MESSAGE_ID);
        if (aad)
                r = parse_context(bytes_of(aad, aad_len), h, e);
        if (r == 0)
                r = parse_edks(b, h, e);
        if (r == 0)
                r = parse_end(b, h, e);
        return r;
}

int seal_header_parse(const void *data, size_t len, struct seal_header *ret, struct err *e)
{
        len = MIN(len, SEAL_HEADER_MAX);
        struct seal_header h = {.raw = malloc(MAX(len, 1u))};
        if (!h.raw)
                return err_oom(e);
        if (len > 0)
                memcpy(h.raw, data, len);
        struct bytes b = bytes_of(h.raw, len);
        int r = parse_fields(&b, &h, e);
        if (r == 0 && b.bad)
                r = len == SEAL_HEADER_MAX
                            ? err_set(e, -EPROTO, "the header is larger than 128 KiB")
                            : err_set(e, -EPROTO, "the header is cut off");
        if (r < 0) {
                seal_header_done(&h);
                return r;
        }
        h.len = len - b.left;
        *ret = h;
        return 0;
}

int seal_header_read(const struct seal_source *source, struct seal_header *ret, struct err *e)
{
        size_t len = (size_t)MIN(source->size, (uint64_t)SEAL_HEADER_MAX);
        _cleanup_free_ uint8_t *data = malloc(MAX(len, 1u));
        if (!data)
                return err_oom(e);
        int r = len > 0 ? source->pread(source->ctx, data, len, 0, e) : 0;
        return r < 0 ? r : seal_header_parse(data, len, ret, e);
}

/* ---- frames ---- */

#define FRAME_AAD_MAX (SEAL_MESSAGE_ID + sizeof "AWSKMSEncryptionClient Final Frame" - 1 + 4 + 8)

static size_t frame_aad(const uint8_t *message_id, uint32_t number, bool final, uint64_t len,
        uint8_t out[FRAME_AAD_MAX])
{
        const char *words =
                final ? "AWSKMSEncryptionClient Final Frame" : "AWSKMSEncryptionClient Frame";
        size_t n = strlen(words);
        memcpy(out, message_id, SEAL_MESSAGE_ID);
        memcpy(out + SEAL_MESSAGE_ID, words, n);
        uint8_t *p = bytes_put_u32(out + SEAL_MESSAGE_ID + n, number);
        return (size_t)(bytes_put_u64(p, len) - out);
}

/* The head of a frame: number 4, IV 12 - the final one: FFFFFFFF, number 4, IV 12, length 4. The IV
 * is the number. Returns the head's length. */
static size_t frame_head(uint32_t number, bool final, uint32_t len, uint8_t out[SEAL_FINAL_HEAD])
{
        uint8_t *p = out;
        if (final)
                p = bytes_put_u32(p, SEAL_FINAL_MARK);
        p = bytes_put_u32(p, number);
        memset(p, 0, SEAL_IV - 4);
        p = bytes_put_u32(p + SEAL_IV - 4, number);
        if (final)
                p = bytes_put_u32(p, len);
        return (size_t)(p - out);
}

int seal_frame_write(EVP_CIPHER_CTX *gcm, const uint8_t message_id[SEAL_MESSAGE_ID],
        uint32_t number, bool final, const void *plain, size_t n, uint8_t *wire, size_t *ret_len)
{
        uint8_t aad[FRAME_AAD_MAX];
        size_t head = frame_head(number, final, (uint32_t)n, wire);
        struct gcm_op op = {
                .aad = aad,
                .aad_len = frame_aad(message_id, number, final, n, aad),
                .in = plain,
                .out = wire + head,
                .len = n,
                .tag = wire + head + n,
        };
        (void)bytes_put_u32(op.iv + SEAL_IV - 4, number);
        int r = gcm_encrypt(gcm, &op);
        if (r < 0)
                return r;
        *ret_len = head + n + SEAL_TAG;
        return 0;
}

int seal_frame_read(EVP_CIPHER_CTX *gcm, const uint8_t message_id[SEAL_MESSAGE_ID], uint32_t number,
        bool final, uint8_t *wire, size_t wire_len, struct err *e)
{
        size_t head = final ? SEAL_FINAL_HEAD : SEAL_FRAME_HEAD;
        if (wire_len < head + SEAL_TAG)
                return err_set(e, -EPROTO, "frame %u is cut off", number);
        size_t n = wire_len - head - SEAL_TAG;

        /* There is only one right head for a frame in this place: compare it as a whole. */
        uint8_t want[SEAL_FINAL_HEAD];
        (void)frame_head(number, final, (uint32_t)n, want);
        if (memcmp(wire, want, head) != 0)
                return err_set(e, -EPROTO,
                        "there is no %sframe %u where it should be: something was cut off, "
                        "exchanged or added",
                        final ? "final " : "", number);

        uint8_t aad[FRAME_AAD_MAX];
        struct gcm_op op = {
                .aad = aad,
                .aad_len = frame_aad(message_id, number, final, n, aad),
                .in = wire + head,
                .out = wire + head,
                .len = n,
                .tag = wire + head + n,
        };
        (void)bytes_put_u32(op.iv + SEAL_IV - 4, number);
        int r = gcm_decrypt(gcm, &op);
        if (r < 0) {
                secret_wipe(wire, wire_len);
                return err_set(
                        e, r, "frame %u does not authenticate: it was altered or damaged", number);
        }
        return 0;
}
