/* AES-EAX as PyCryptodome 3.11 makes it: key 00 to 0f, nonce 10 to 1f, message byte i is i mod 251.
 */
#include "eax.h"

#include "bytes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/sha.h>

static const struct vector {
        size_t len;
        const char *sha256; /* of the ciphertext */
        const char *tag;
} vectors[] = {
        {0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "3fd64d3b993873ab43472f44494c9988"},
        {1, "949f94d858ef6ad1333164d796a0d777fd82f9155ece7d6fad68c0b992f0e7af",
                "26934900b82f2861e83ada6f812749ac"},
        {15, "90199a96cc484d1dad507d19ea4bf6d24b5f588a9cdccc026e6c0f33bf1fb6cb",
                "330eb332f184f7e093f9afe0fdd33942"},
        {16, "d437e513bb2695e719c4d581b93a5583a176242a912669dbb94b4c608d3afa16",
                "0622c7ef6154c1700366edba0d5de5cc"},
        {17, "c6772a1babf214c8e18eabdba07369efbe2ba9bf527bb1ee33dbf804b435781f",
                "5ea018ccfbdac9c0c7a1a6bbb8b618cc"},
        {1000, "3346a081233ace7e90c06a09646d81772b2c1272285a43220dd8f3f436b5de41",
                "fd8603f1819107a69d434e08b7bb5852"},
        {300000, "90ce5d7bd4af0aa8a8a1255aba40ebd4cbcff27daeeb0e7955eec4c976441816",
                "b78e843da85c3e466377503c27d5756e"},
};

static struct eax *begin(void)
{
        uint8_t key[16], nonce[16];
        for (uint8_t i = 0; i < 16; i++) {
                key[i] = i;
                nonce[i] = (uint8_t)(16 + i);
        }
        struct eax *x = eax_new(key, nonce, sizeof nonce);
        assert_non_null(x);
        return x;
}

/* The message is `plain`, in pieces of `piece` bytes. */
static void check(const struct vector *v, const uint8_t *plain, size_t piece)
{
        _cleanup_free_ uint8_t *sealed = malloc(v->len + 1), *back = malloc(v->len + 1);
        uint8_t sum[32], want[32], tag[16];
        assert_true(sealed && back);
        assert_int_equal(bytes_unhex(v->sha256, want, sizeof want), 0);
        assert_int_equal(bytes_unhex(v->tag, tag, sizeof tag), 0);
        _cleanup_(eax_freep) struct eax *forth = begin(); /* CTR is its own inverse */
        assert_int_equal(eax_update(forth, plain, v->len, sealed), 0);
        SHA256(sealed, v->len, sum);
        assert_memory_equal(sum, want, sizeof sum);
        _cleanup_(eax_freep) struct eax *x = begin();
        for (size_t at = 0; at < v->len; at += piece)
                assert_int_equal(eax_update(x, sealed + at, MIN(piece, v->len - at), back + at), 0);
        assert_memory_equal(back, plain, v->len);
        assert_int_equal(eax_finish(x, tag), 0);
}

static void messages_of_every_kind_of_length_open(_unused_ void **state)
{
        static uint8_t plain[300000];
        for (size_t i = 0; i < sizeof plain; i++)
                plain[i] = (uint8_t)(i % 251);
        for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
                check(&vectors[i], plain, 1 + vectors[i].len);
                check(&vectors[i], plain, 7);
        }
}

static void an_altered_tag_or_message_is_refused(_unused_ void **state)
{
        uint8_t tag[16], message = 0;
        assert_int_equal(bytes_unhex(vectors[0].tag, tag, sizeof tag), 0);
        for (size_t bit = 0; bit < 128; bit++) {
                _cleanup_(eax_freep) struct eax *x = begin();
                tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
                assert_int_equal(eax_finish(x, tag), -EBADMSG);
                tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        _cleanup_(eax_freep) struct eax *longer = begin();
        assert_int_equal(eax_update(longer, &message, 1, NULL), 0);
        assert_int_equal(eax_finish(longer, tag), -EBADMSG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(messages_of_every_kind_of_length_open),
                cmocka_unit_test(an_altered_tag_or_message_is_refused),
        };
        return cmocka_run_group_tests_name("eax", tests, NULL, NULL);
}
