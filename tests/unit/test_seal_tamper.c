/* What was altered is refused: bits, frames, lengths, and headers that were made to mislead. */
#include "seal_helpers.h"

#include "bytes.h"
#include "seal_internal.h"

#include <openssl/evp.h>

static struct seal_keys keys;

static int setup(_unused_ void **state)
{
        seal_keys_init(&keys);
        return 0;
}

static int teardown(_unused_ void **state)
{
        seal_keys_done(&keys);
        return 0;
}

static int read_it(const struct buf *message, struct err *e)
{
        _cleanup_buf_ struct buf plain = BUF_INIT;
        return seal_read_all(message, seal_unwrap_with_key, keys.priv[0], &plain, e);
}

/* Refused as altered or broken, and in words. */
static void assert_refused(const struct buf *message)
{
        struct err e = {0};
        int r = read_it(message, &e);
        if (r != -EBADMSG && r != -EPROTO && r != -EPROTONOSUPPORT && r != -ENOKEY)
                fail_msg("%d (%s) instead of a refusal", r, e.text);
        assert_int_equal(e.code, r);
        assert_true(strlen(e.text) > 10);
}

static void copy(struct buf *to, const struct buf *from, size_t start, size_t end)
{
        buf_add(to, from->data + start, end - start);
}

static size_t header_size(const struct buf *message)
{
        struct seal_header h;
        assert_int_equal(seal_header_parse(message->data, message->len, &h, NULL), 0);
        size_t len = h.len;
        seal_header_done(&h);
        return len;
}

/* ---- bits ---- */

static void a_flipped_bit_anywhere_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 2, 40, 40, &message);
        assert_int_equal(read_it(&message, NULL), 0);
        for (size_t i = 0; i < message.len; i++) {
                /* all bits where it is cheap; one in each byte of the wrapped keys */
                unsigned step = i > 200 && i < header_size(&message) - 60 ? 7 : 1;
                for (unsigned bit = (unsigned)i % step; bit < 8; bit += step) {
                        message.data[i] ^= (char)(1 << bit);
                        /* the other recipient's key is none of ours, but the tag covers it */
                        assert_refused(&message);
                        message.data[i] ^= (char)(1 << bit);
                }
        }
        assert_int_equal(read_it(&message, NULL), 0);
}

static void a_flipped_bit_in_any_field_of_a_full_frame_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 3 * FRAME + 9, SIZE_MAX, &message);
        const size_t frame = header_size(&message) + MiB;
        /* number, IV, first, middle and last ciphertext byte, tag */
        static const size_t at[] = {0, 3, 4, 11, 15, 16, 524288, MiB - 17, MiB - 16, MiB - 1};
        for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
                message.data[frame + at[i]] ^= 0x10;
                assert_refused(&message);
                message.data[frame + at[i]] ^= 0x10;
        }
        assert_int_equal(read_it(&message, NULL), 0);
}

static void no_byte_of_a_bad_frame_is_released(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 3 * FRAME, SIZE_MAX, &message);
        message.data[header_size(&message) + 2 * MiB - 1] ^= 1; /* the tag of the second frame */
        struct seal_memory m = seal_memory_of(&message);
        const struct seal_source source = seal_source_of(&m);
        _cleanup_(seal_reader_freep) struct seal_reader *r = NULL;
        assert_int_equal(seal_reader_new(&source, seal_unwrap_with_key, keys.priv[0], &r, NULL), 0);

        uint8_t got[64], untouched[64];
        memset(got, 0xaa, sizeof got);
        memset(untouched, 0xaa, sizeof untouched);
        struct err e = {0};
        for (int again = 0; again < 2; again++) {
                assert_int_equal(seal_pread(r, got, sizeof got, FRAME, &e), -EBADMSG);
                assert_memory_equal(got, untouched, sizeof got);
        }
        assert_non_null(strstr(e.text, "frame 2"));

        /* its neighbours stand by themselves */
        assert_int_equal(seal_pread(r, got, sizeof got, 0, NULL), 0);
        assert_int_equal(got[0], seal_byte_at(0));
        assert_int_equal(seal_pread(r, got, sizeof got, 2 * FRAME, NULL), 0);
        assert_int_equal(got[0], seal_byte_at(2 * FRAME));
        assert_int_equal(seal_check_end(r, NULL), 0);
}

/* ---- frames ---- */

/* The message with its frames (0 to 3, the last being final) in another order. */
static void rearranged(const struct buf *message, const int *order, size_t n, struct buf *out)
{
        size_t head = header_size(message);
        copy(out, message, 0, head);
        for (size_t i = 0; i < n; i++) {
                size_t start = head + (size_t)order[i] * MiB;
                copy(out, message, start, order[i] == 3 ? message->len : start + MiB);
        }
}

static void frames_exchanged_dropped_or_repeated_are_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 3 * FRAME + 5, SIZE_MAX, &message);
        static const struct {
                int order[5];
                size_t n;
        } cases[] = {
                {{1, 0, 2, 3}, 4},
                {{0, 2, 1, 3}, 4},
                {{0, 1, 3}, 3},
                {{1, 2, 3}, 3},
                {{0, 1, 1, 3}, 4},
                {{0, 0, 1, 2, 3}, 5},
                {{0, 1, 2, 2, 3}, 5},
                {{3}, 1},
                {{0, 1, 2, 3, 3}, 5},
                {{0, 1, 2}, 3},
                {{0}, 1},
                {{0, 3, 1, 2}, 4},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf changed = BUF_INIT;
                rearranged(&message, cases[i].order, cases[i].n, &changed);
                assert_refused(&changed);
        }
        _cleanup_buf_ struct buf same = BUF_INIT;
        rearranged(&message, (const int[]){0, 1, 2, 3}, 4, &same);
        assert_int_equal(read_it(&same, NULL), 0);
}

static void a_frame_of_another_message_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;
        seal_message(&keys, 1, 2 * FRAME, SIZE_MAX, &a);
        seal_message(&keys, 1, 2 * FRAME, SIZE_MAX, &b);
        size_t head = header_size(&a);
        memcpy(a.data + head, b.data + head, MiB);
        assert_refused(&a);
}

static void the_body_of_another_message_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;
        seal_message(&keys, 1, 100, 100, &a);
        seal_message(&keys, 1, 100, 100, &b);
        size_t head = header_size(&a);
        memcpy(a.data + head, b.data + head, a.len - head);
        assert_refused(&a);
}

/* ---- lengths ---- */

static void a_message_cut_off_anywhere_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 60, 60, &message);
        for (size_t len = 0; len < message.len; len++) {
                _cleanup_buf_ struct buf cut = BUF_INIT;
                copy(&cut, &message, 0, len);
                assert_refused(&cut);
        }
}

static void a_message_cut_off_near_a_frame_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 3 * FRAME, SIZE_MAX, &message);
        size_t head = header_size(&message);
        for (size_t frame = 0; frame < 3; frame++)
                for (size_t d = 0; d < 100; d++) {
                        _cleanup_buf_ struct buf cut = BUF_INIT;
                        copy(&cut, &message, 0, MIN(head + frame * MiB + d, message.len - 1));
                        assert_refused(&cut);
                }
}

static void what_is_appended_is_refused(_unused_ void **state)
{
        static const size_t sizes[] = {0, 100, FRAME};
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                _cleanup_buf_ struct buf message = BUF_INIT, twice = BUF_INIT;
                seal_message(&keys, 1, sizes[i], SIZE_MAX, &message);
                copy(&twice, &message, 0, message.len);
                copy(&twice, &message, 0, message.len);
                assert_refused(&twice);
                for (int n = 0; n < 50; n++) {
                        buf_addc(&message, (char)n);
                        assert_refused(&message);
                }
        }
}

/* ---- headers that were made to mislead; the data key is known, so that they can be signed ---- */

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
                _cleanup_buf_ struct buf message = BUF_INIT;
                struct err e = {0};
                buf_adds(&message, texts[i]);
                assert_int_equal(read_it(&message, &e), -EPROTO);
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
                cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
                cmocka_unit_test(a_flipped_bit_in_any_field_of_a_full_frame_is_refused),
                cmocka_unit_test(no_byte_of_a_bad_frame_is_released),
                cmocka_unit_test(frames_exchanged_dropped_or_repeated_are_refused),
                cmocka_unit_test(a_frame_of_another_message_is_refused),
                cmocka_unit_test(the_body_of_another_message_is_refused),
                cmocka_unit_test(a_message_cut_off_anywhere_is_refused),
                cmocka_unit_test(a_message_cut_off_near_a_frame_is_refused),
                cmocka_unit_test(what_is_appended_is_refused),
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
        return cmocka_run_group_tests(tests, setup, teardown);
}
