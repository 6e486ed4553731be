/* The sealed format against other code: its steps against seal.txt (make.py), whole messages
 * against the seeds of the fuzz target (fuzz/make_seal.py), whose names say whether they open. */
#include <setjmp.h>
#include <stdarg.h>

#include "base.h"
#include "buf.h"
#include "bytes.h"
#include "io.h"
#include "seal_internal.h"

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>

struct vectors {
        FILE *file;
        const char *messages; /* folder */
        char line[4096];
};

static void unhex(const char *hex, void *out, size_t len)
{
        assert_int_equal(strlen(hex), 2 * len);
        assert_int_equal(bytes_unhex(hex, out, len), 0);
}

/* The next line of the kind `name`, cut into words. Returns how many; 0 at the end. */
static size_t next(struct vectors *v, const char *name, char *words[8])
{
        while (fgets(v->line, sizeof v->line, v->file)) {
                size_t n = 0;
                char *rest = v->line;
                while (n < 8 && (words[n] = strtok_r(rest, " \n", &rest)))
                        n++;
                if (n > 0 && streq(words[0], name))
                        return n;
        }
        return 0;
}

static struct vectors *start(void **state)
{
        struct vectors *v = *state;
        rewind(v->file);
        return v;
}

static void keys_are_derived_as_elsewhere(void **state)
{
        struct vectors *v = start(state);
        char *w[8];
        unsigned seen = 0;
        for (; next(v, "kdf", w) == 5; seen++) {
                uint8_t data_key[32], id[32], key[32], commit[32], want[32];
                unhex(w[1], data_key, 32);
                unhex(w[2], id, 32);
                assert_int_equal(seal_derive(data_key, id, key, commit), 0);
                unhex(w[3], want, 32);
                assert_memory_equal(key, want, 32);
                unhex(w[4], want, 32);
                assert_memory_equal(commit, want, 32);
        }
        assert_int_equal(seen, 3);
}

static void headers_are_signed_as_elsewhere(void **state)
{
        struct vectors *v = start(state);
        char *w[8];
        unsigned seen = 0;
        for (; next(v, "header", w) == 4; seen++) {
                uint8_t key[32], body[1024], tag[16], want[16];
                size_t len = strlen(w[2]) / 2;
                assert_true(len <= sizeof body);
                unhex(w[1], key, 32);
                unhex(w[2], body, len);
                unhex(w[3], want, 16);
                EVP_CIPHER_CTX *gcm = seal_cipher_new(key, true);
                assert_int_equal(seal_header_sign(gcm, body, len, tag), 0);
                EVP_CIPHER_CTX_free(gcm);
                assert_memory_equal(tag, want, 16);
        }
        assert_int_equal(seen, 4);
}

static void check_frame(char *const *w)
{
        uint8_t key[32], id[32], digest[32], want[32];
        uint32_t number = (uint32_t)strtoul(w[3], NULL, 10);
        bool final = streq(w[4], "final");
        size_t n = strtoul(w[5], NULL, 10), len;
        unhex(w[1], key, 32);
        unhex(w[2], id, 32);
        unhex(w[6], want, 32);
        _cleanup_free_ uint8_t *plain = malloc(n + 1), *wire = malloc(SEAL_FRAME_MAX);
        assert_non_null(plain);
        assert_non_null(wire);
        for (size_t i = 0; i < n; i++)
                plain[i] = (uint8_t)(7 * i + i / 256);

        EVP_CIPHER_CTX *gcm = seal_cipher_new(key, true);
        assert_int_equal(seal_frame_write(gcm, id, number, final, plain, n, wire, &len), 0);
        EVP_CIPHER_CTX_free(gcm);
        assert_int_equal(EVP_Digest(wire, len, digest, NULL, EVP_sha256(), NULL), 1);
        assert_memory_equal(digest, want, 32);

        gcm = seal_cipher_new(key, false);
        assert_int_equal(seal_frame_read(gcm, id, number, final, wire, len, NULL), 0);
        EVP_CIPHER_CTX_free(gcm);
        assert_memory_equal(wire + (final ? SEAL_FINAL_HEAD : SEAL_FRAME_HEAD), plain, n);
}

static void frames_are_sealed_as_elsewhere(void **state)
{
        struct vectors *v = start(state);
        char *w[8];
        unsigned seen = 0;
        for (; next(v, "frame", w) == 7; seen++)
                check_frame(w);
        assert_int_equal(seen, 12);
}

static int from_buf(void *ctx, void *data, size_t len, uint64_t offset, struct err *e)
{
        const struct buf *b = ctx;
        if (offset > b->len || len > b->len - offset)
                return err_set(e, -EPROTO, "too short");
        memcpy(data, b->data + offset, len);
        return 0;
}

static int give_key(_unused_ void *ctx, _unused_ const char *fingerprint, const uint8_t *wrapped,
        size_t len, uint8_t ret_data_key[32], struct err *e)
{
        if (len != 7 || memcmp(wrapped, "wrapped", 7) != 0)
                return err_set(e, -ENOKEY, "not for us");
        memset(ret_data_key, 'k', 32);
        return 0;
}

static bool opens(const char *folder, const char *name)
{
        _cleanup_free_ char *path = io_join(folder, name);
        _cleanup_buf_ struct buf message = BUF_INIT;
        _cleanup_(seal_reader_freep) struct seal_reader *r = NULL;
        assert_int_equal(io_read_file(AT_FDCWD, path, MiB, &message, NULL), 0);
        const struct seal_source source = {from_buf, &message, message.len};
        return seal_reader_new(&source, give_key, NULL, &r, NULL) == 0 &&
               seal_check_end(r, NULL) == 0;
}

static void messages_open_as_their_names_say(void **state)
{
        const struct vectors *v = *state;
        DIR *folder = opendir(v->messages);
        assert_non_null(folder);
        unsigned good = 0, bad = 0;
        for (struct dirent *d; (d = readdir(folder));) {
                bool ok = startswith(d->d_name, "seal-ok-") != NULL;
                if (!ok && !startswith(d->d_name, "seal-fail-"))
                        continue;
                if (opens(v->messages, d->d_name) != ok)
                        fail_msg("%s", d->d_name);
                good += ok;
                bad += !ok;
        }
        (void)closedir(folder); /* only read */
        assert_true(good >= 6 && bad >= 20);
}

int main(int argc, char **argv)
{
        struct vectors v = {.file = argc == 3 ? fopen(argv[1], "re") : NULL, .messages = argv[2]};
        if (!v.file) {
                (void)fprintf(stderr, "usage: test_vectors seal.txt CORPUS\n");
                return 2;
        }
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_prestate(keys_are_derived_as_elsewhere, &v),
                cmocka_unit_test_prestate(headers_are_signed_as_elsewhere, &v),
                cmocka_unit_test_prestate(frames_are_sealed_as_elsewhere, &v),
                cmocka_unit_test_prestate(messages_open_as_their_names_say, &v),
        };
        int r = cmocka_run_group_tests(tests, NULL, NULL);
        (void)fclose(v.file); /* only read */
        return r;
}
