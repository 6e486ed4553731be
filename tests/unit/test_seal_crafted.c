/* Headers that were made to mislead are refused. The data key is known here, so that they can be
 * signed: what is refused is refused for what it says. */
#include "seal_helpers.h"

#include "bytes.h"
#include "seal_internal.h"

#include <openssl/evp.h>

static const uint8_t DATA_KEY[SEAL_KEY] = "a data key that the tests know.";
static const char NAME[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

static int unwrap_known(_unused_ void *ctx, const char *fingerprint, const uint8_t *wrapped,
        size_t len, uint8_t ret[32], struct err *e)
{
        if (!streq(fingerprint, NAME))
                return err_set(e, -ENOKEY, "another key");
        if (len != 7 || memcmp(wrapped, "wrapped", 7) != 0)
                return err_set(e, -EBADMSG, "wrapped for nobody");
        memcpy(ret, DATA_KEY, SEAL_KEY);
        return 0;
}

static void add_number(struct buf *b, uint64_t v, unsigned size)
{
        uint8_t p[8];
        (void)bytes_put_u64(p, v);
        buf_add(b, p + 8 - size, size);
}

static void add_text(struct buf *b, const char *text)
{
        add_number(b, strlen(text), 2);
        buf_adds(b, text);
}

struct crafted {
        unsigned version, suite, type, n_edks, frame;
        const char *aad; /* with its length; NULL: empty */
        size_t aad_len;
        const char *provider, *name, *wrapped;
        size_t size;       /* of the plaintext in the final frame */
        bool wrong_commit; /* signed correctly all the same */
        bool wrong_iv;     /* in the final frame, authentic all the same */
};

#define CRAFTED                                                                                    \
        {                                                                                          \
                .version = 2, .suite = 0x478, .type = 2, .n_edks = 1, .frame = FRAME,              \
                .provider = "autoglacier", .name = NAME, .wrapped = "wrapped"                      \
        }

static void add_final(struct buf *b, const uint8_t *key, const uint8_t *id, const struct crafted *c)
{
        _cleanup_free_ uint8_t *plain = seal_bytes(c->size), *wire = malloc(SEAL_FRAME_MAX);
        EVP_CIPHER_CTX *gcm = seal_cipher_new(key, true);
        size_t len;
        assert_non_null(wire);
        assert_int_equal(seal_frame_write(gcm, id, 1, true, plain, c->size, wire, &len), 0);
        if (c->wrong_iv) {
                /* the same AAD and text under an IV of ours: the tag is right, the IV is not ours
                 */
                _cleanup_buf_ struct buf aad = BUF_INIT;
                const uint8_t iv[12] = {[11] = 9};
                int n;
                buf_add(&aad, id, SEAL_MESSAGE_ID);
                buf_adds(&aad, "AWSKMSEncryptionClient Final Frame");
                add_number(&aad, 1, 4);
                add_number(&aad, c->size, 8);
                memcpy(wire + 8, iv, sizeof iv);
                assert_int_equal(EVP_EncryptInit_ex(gcm, NULL, NULL, NULL, iv), 1);
                assert_int_equal(
                        EVP_EncryptUpdate(gcm, NULL, &n, (uint8_t *)aad.data, (int)aad.len), 1);
                assert_int_equal(EVP_EncryptUpdate(gcm, wire + 24, &n, plain, (int)c->size), 1);
                assert_int_equal(EVP_EncryptFinal_ex(gcm, wire + 24, &n), 1);
                assert_int_equal(
                        EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, 16, wire + 24 + c->size),
                        1);
        }
        EVP_CIPHER_CTX_free(gcm);
        buf_add(b, wire, len);
}

static void craft(const struct crafted *c, struct buf *b)
{
        uint8_t id[SEAL_MESSAGE_ID] = "message id", key[SEAL_KEY], commit[SEAL_COMMIT],
                tag[SEAL_TAG];
        assert_int_equal(seal_derive(DATA_KEY, id, key, commit), 0);
        if (c->wrong_commit)
                commit[31] ^= 1;
        add_number(b, c->version, 1);
        add_number(b, c->suite, 2);
        buf_add(b, id, sizeof id);
        if (c->aad)
                buf_add(b, c->aad, c->aad_len);
        else
                add_number(b, 0, 2);
        add_number(b, c->n_edks, 2);
        for (unsigned i = 0; i < MIN(c->n_edks, 100u); i++) {
                add_text(b, c->provider);
                add_text(b, c->name);
                add_text(b, c->wrapped);
        }
        add_number(b, c->type, 1);
        add_number(b, c->frame, 4);
        buf_add(b, commit, sizeof commit);
        EVP_CIPHER_CTX *gcm = seal_cipher_new(key, true);
        assert_int_equal(seal_header_sign(gcm, b->data, b->len, tag), 0);
        EVP_CIPHER_CTX_free(gcm);
        buf_add(b, tag, sizeof tag);
        add_final(b, key, id, c);
        assert_false(buf_oom(b));
}

static void expect(const struct crafted *c, int want, const char *words)
{
        _cleanup_buf_ struct buf message = BUF_INIT, plain = BUF_INIT;
        struct err e = {0};
        craft(c, &message);
        int r = seal_read_all(&message, unwrap_known, NULL, &plain, &e);
        if (r != want || (words && !strstr(e.text, words)))
                fail_msg("%d (%s) instead of %d (%s)", r, e.text, want, words ? words : "");
        if (r == 0)
                assert_int_equal(plain.len, c->size);
}

static void a_crafted_header_that_is_right_is_read(_unused_ void **state)
{
        struct crafted c = CRAFTED;
        expect(&c, 0, NULL);
        c.size = 1000;
        expect(&c, 0, NULL);
        c.n_edks = SEAL_RECIPIENTS;
        expect(&c, 0, NULL);
}

static void other_versions_and_suites_are_refused(_unused_ void **state)
{
        struct crafted c = CRAFTED;
        c.version = 1;
        expect(&c, -EPROTONOSUPPORT, "version 1");
        c.version = 3;
        expect(&c, -EPROTO, "not a sealed archive");
        c.version = 2;
        static const unsigned suites[] = {0x0578, 0x0378, 0x0178, 0x0014, 0, 0xffff};
        for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
                c.suite = suites[i];
                expect(&c, -EPROTONOSUPPORT, "suite");
        }
}

static void other_frames_are_refused(_unused_ void **state)
{
        struct crafted c = CRAFTED;
        static const unsigned frames[] = {0, 1, 4096, FRAME - 1, FRAME + 1, UINT32_MAX};
        for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
                c.frame = frames[i];
                expect(&c, -EPROTONOSUPPORT, "frames of");
        }
        c.frame = FRAME;
        c.type = 1; /* not framed */
        expect(&c, -EPROTONOSUPPORT, "type 1");
}

static void counts_of_wrapped_keys_out_of_range_are_refused(_unused_ void **state)
{
        static const unsigned counts[] = {0, 65, 100, 65535};
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
                struct crafted c = CRAFTED;
                c.n_edks = counts[i];
                expect(&c, -EPROTO, "wrapped keys");
        }
}

static void a_recipient_named_otherwise_is_refused(_unused_ void **state)
{
        struct crafted c = CRAFTED;
        static const char *const names[] = {"", "me",
                "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF",
                "00112233445566778899aabbccddeeff00112233445566778899aabbccddeef",
                "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                c.name = names[i];
                expect(&c, -EPROTO, "names a recipient");
        }
        c.name = NAME;
        c.wrapped = "";
        expect(&c, -EPROTO, "names a recipient");
}

static void keys_of_other_providers_are_passed_over(_unused_ void **state)
{
        struct crafted c = CRAFTED;
        c.provider = "aws-kms";
        c.name = "arn:aws:kms:eu-central-1:1:key/1";
        expect(&c, -ENOKEY, "another program");
}

static void a_wrapped_key_that_was_damaged_is_refused(_unused_ void **state)
{
        struct crafted c = CRAFTED;
        c.wrapped = "wrappeD";
        expect(&c, -EBADMSG, "wrapped for nobody");
}

static void a_wrong_commitment_is_refused_although_it_is_signed(_unused_ void **state)
{
        struct crafted c = CRAFTED;
        c.wrong_commit = true;
        expect(&c, -EBADMSG, "commitment");
}

static void an_iv_that_is_not_the_number_is_refused_although_it_is_authentic(_unused_ void **state)
{
        struct crafted c = CRAFTED;
        c.size = 100;
        c.wrong_iv = true;
        expect(&c, -EPROTO, "frame 1");
}

static void broken_contexts_are_refused(_unused_ void **state)
{
        static const struct {
                const char *aad;
                size_t len;
        } bad[] = {
#define AAD(s) {s, sizeof s - 1}
                AAD("\0\1\0"),                        /* half a count */
                AAD("\0\2\0\0"),                      /* no pair, but not empty */
                AAD("\0\2\0\1"),                      /* a pair that is not there */
                AAD("\0\2\xff\xff"),                  /* 65,535 of them */
                AAD("\0\7\0\1\0\1a\0\2"),             /* a value that is cut off */
                AAD("\0\10\0\1\0\1a\0\0\0"),          /* a byte too much */
                AAD("\0\6\0\1\0\0\0\0"),              /* no name */
                AAD("\0\10\0\1\0\1\0\0\1b"),          /* a zero byte in the name */
                AAD("\0\10\0\1\0\1a\0\1\xff"),        /* a value that is not UTF-8 */
                AAD("\0\16\0\2\0\1b\0\1x\0\1a\0\1y"), /* not sorted */
                AAD("\0\16\0\2\0\1a\0\1x\0\1a\0\1y"), /* twice */
#undef AAD
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct crafted c = CRAFTED;
                c.aad = bad[i].aad;
                c.aad_len = bad[i].len;
                expect(&c, -EPROTO, "context");
        }
        struct crafted c = CRAFTED;
        c.aad = "\0\16\0\2\0\1a\0\1x\0\1b\0\1y";
        c.aad_len = 16;
        expect(&c, 0, NULL);
}

static void a_context_longer_than_the_message_is_refused(_unused_ void **state)
{
        struct crafted c = CRAFTED;
        c.aad = "\xff\xff\0\1";
        c.aad_len = 4;
        expect(&c, -EPROTO, "cut off");
}

static void a_header_over_128_kib_is_refused(_unused_ void **state)
{
        static char big[4001];
        memset(big, 'x', sizeof big - 1);
        struct crafted c = CRAFTED;
        c.n_edks = 64;
        c.provider = "other";
        c.wrapped = big;
        expect(&c, -EPROTO, "128 KiB");
}

static void what_is_no_message_at_all_is_refused(_unused_ void **state)
{
        static const char *const texts[] = {
                "", "\2", "\2\4", "\2\4\x78", "PK\3\4", "\3757zXZ", "-----BEGIN PGP MESSAGE-----"};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_buf_ struct buf message = BUF_INIT, plain = BUF_INIT;
                struct err e = {0};
                buf_adds(&message, texts[i]);
                assert_int_equal(seal_read_all(&message, unwrap_known, NULL, &plain, &e), -EPROTO);
                assert_true(*e.text);
        }
}

/* A copy that is ours but broken must not hide the one that is whole. */
static void a_damaged_wrapped_key_does_not_hide_a_good_one(_unused_ void **state)
{
        struct crafted c = CRAFTED;
        c.n_edks = 2;
        _cleanup_buf_ struct buf message = BUF_INIT, plain = BUF_INIT;
        craft(&c, &message);
        char *first = memmem(message.data, message.len, "wrapped", 7);
        assert_non_null(first);
        *first = 'W';
        /* The second one opens it; that the first was touched shows in the header's tag. */
        struct err e = {0};
        assert_int_equal(seal_read_all(&message, unwrap_known, NULL, &plain, &e), -EBADMSG);
        assert_non_null(strstr(e.text, "header does not authenticate"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_crafted_header_that_is_right_is_read),
                cmocka_unit_test(other_versions_and_suites_are_refused),
                cmocka_unit_test(other_frames_are_refused),
                cmocka_unit_test(counts_of_wrapped_keys_out_of_range_are_refused),
                cmocka_unit_test(a_recipient_named_otherwise_is_refused),
                cmocka_unit_test(keys_of_other_providers_are_passed_over),
                cmocka_unit_test(a_wrapped_key_that_was_damaged_is_refused),
                cmocka_unit_test(a_wrong_commitment_is_refused_although_it_is_signed),
                cmocka_unit_test(an_iv_that_is_not_the_number_is_refused_although_it_is_authentic),
                cmocka_unit_test(broken_contexts_are_refused),
                cmocka_unit_test(a_context_longer_than_the_message_is_refused),
                cmocka_unit_test(a_header_over_128_kib_is_refused),
                cmocka_unit_test(what_is_no_message_at_all_is_refused),
                cmocka_unit_test(a_damaged_wrapped_key_does_not_hide_a_good_one),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
