/* Keys: what is made can be read, by us and by others; what is not a key is said to be none. */
#include <setjmp.h>
#include <stdarg.h>

#include "base.h"
#include "buf.h"
#include "io.h"
#include "key_8192.h"
#include "keys.h"
#include "keys_sheet.h"
#include "secret.h"

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[] = "/tmp/keys-test-XXXXXX";
static struct secret *passphrase;

static const char *in_dir(const char *name)
{
        static char path[8][128]; /* several in one call */
        static unsigned next;
        next = (next + 1) % ARRAY_SIZE(path);
        (void)snprintf(path[next], sizeof path[0], "%s/%s", dir, name);
        return path[next];
}

static void shell(const char *command)
{
        char line[1024];
        (void)snprintf(line, sizeof line, "cd %s && { %s; } >/dev/null 2>&1", dir, command);
        if (system(line) != 0)
                fail_msg("%s", command);
}

static int setup(_unused_ void **state)
{
        assert_non_null(mkdtemp(dir));
        assert_int_equal(secret_copy("correct horse", 13, &passphrase), 0);
        assert_int_equal(
                keys_generate(2048, in_dir("plain.pem"), in_dir("plain.pub"), NULL, NULL), 0);
        assert_int_equal(
                keys_generate(2048, in_dir("locked.pem"), in_dir("locked.pub"), passphrase, NULL),
                0);
        return 0;
}

static int teardown(_unused_ void **state)
{
        secret_free(passphrase);
        return io_remove_tree(AT_FDCWD, dir, NULL);
}

/* ---- passphrases ---- */

struct asker {
        const char *answers[4]; /* NULL: gives up */
        unsigned asked;
};

static int ask(void *ctx, const char *path, unsigned attempt, struct secret **ret, struct err *e)
{
        struct asker *a = ctx;
        assert_int_equal(attempt, a->asked);
        assert_non_null(strstr(path, dir));
        assert_true(a->asked < ARRAY_SIZE(a->answers));
        const char *answer = a->answers[a->asked++];
        if (!answer)
                return err_set(e, -ENOKEY, "nobody answers");
        return secret_copy(answer, MAX(strlen(answer), 1u), ret);
}

static int try_private(const char *name, struct asker *a, struct err *e)
{
        _cleanup_(keys_private_freep) struct keys_private *k = NULL;
        int r = keys_private_load(in_dir(name), a ? ask : NULL, a, &k, e);
        assert_true((r == 0) == (k != NULL));
        return r;
}

static void the_right_passphrase_opens(_unused_ void **state)
{
        struct asker a = {{"correct horse"}, 0};
        assert_int_equal(try_private("locked.pem", &a, NULL), 0);
        assert_int_equal(a.asked, 1);
}

static void a_passphrase_may_be_right_at_the_third_attempt(_unused_ void **state)
{
        struct asker a = {{"wrong", "", "correct horse"}, 0};
        assert_int_equal(try_private("locked.pem", &a, NULL), 0);
        assert_int_equal(a.asked, 3);
}

static void three_wrong_passphrases_are_enough(_unused_ void **state)
{
        struct err e = {0};
        struct asker a = {{"one", "two", "three", "correct horse"}, 0};
        assert_int_equal(try_private("locked.pem", &a, &e), -EACCES);
        assert_int_equal(a.asked, 3);
        assert_non_null(strstr(e.text, "passphrase"));
}

static void the_same_wrong_passphrase_is_tried_once(_unused_ void **state)
{
        struct asker a = {{"wrong", "wrong", "correct horse"}, 0};
        assert_int_equal(try_private("locked.pem", &a, NULL), -EACCES);
        assert_int_equal(a.asked, 2);
}

static void a_locked_key_needs_somebody_to_ask(_unused_ void **state)
{
        struct err e = {0};
        assert_int_equal(try_private("locked.pem", NULL, &e), -ENOKEY);
        assert_non_null(strstr(e.text, "locked"));
        struct asker a = {{NULL}, 0};
        assert_int_equal(try_private("locked.pem", &a, &e), -ENOKEY);
        assert_string_equal(e.text, "nobody answers");
}

static void an_open_key_is_not_asked_for(_unused_ void **state)
{
        struct asker a = {{NULL}, 0};
        assert_int_equal(try_private("plain.pem", &a, NULL), 0);
        assert_int_equal(a.asked, 0);
}

static void a_locked_key_is_scrypt_and_aes_256(_unused_ void **state)
{
        shell("openssl asn1parse -in locked.pem | grep -q ':scrypt$' &&"
              "openssl asn1parse -in locked.pem | grep -q aes-256-cbc");
}

/* ---- wrapping ---- */

static void check_pair(const char *private_name, const char *public_name)
{
        _cleanup_(keys_public_freep) struct keys_public *pub = NULL;
        _cleanup_(keys_private_freep) struct keys_private *priv = NULL;
        struct asker a = {{"correct horse"}, 0};
        struct err e = {0};
        if (keys_public_load(in_dir(public_name), &pub, &e) < 0 ||
                keys_private_load(in_dir(private_name), ask, &a, &priv, &e) < 0)
                fail_msg("%s", e.text);
        assert_string_equal(keys_public_fingerprint(pub), keys_private_fingerprint(priv));

        const uint8_t key[KEYS_DATA_KEY_LEN] = "0123456789abcdef0123456789abcde";
        uint8_t wrapped[KEYS_WRAPPED_MAX], got[KEYS_DATA_KEY_LEN] = {0};
        size_t len = 0;
        assert_int_equal(keys_wrap(pub, key, wrapped, &len, NULL), 0);
        assert_int_equal(len, keys_public_bits(pub) / 8);
        assert_int_equal(keys_unwrap(priv, wrapped, len, got, NULL), 0);
        assert_memory_equal(got, key, sizeof key);
}

static void what_was_wrapped_unwraps(_unused_ void **state)
{
        check_pair("plain.pem", "plain.pub");
        check_pair("locked.pem", "locked.pub");
}

static void keys_of_the_largest_size_work(_unused_ void **state)
{
        assert_int_equal(io_write_file(AT_FDCWD, in_dir("big.pem"), 0600, KEY_8192,
                                 sizeof KEY_8192 - 1, NULL),
                0);
        shell("openssl pkey -in big.pem -pubout -out big.pub");
        check_pair("big.pem", "big.pub");
}

static void what_was_wrapped_and_altered_does_not_unwrap(_unused_ void **state)
{
        _cleanup_(keys_public_freep) struct keys_public *pub = NULL;
        _cleanup_(keys_private_freep) struct keys_private *priv = NULL;
        assert_int_equal(keys_public_load(in_dir("plain.pub"), &pub, NULL), 0);
        assert_int_equal(keys_private_load(in_dir("plain.pem"), NULL, NULL, &priv, NULL), 0);
        const uint8_t key[KEYS_DATA_KEY_LEN] = {1};
        uint8_t wrapped[KEYS_WRAPPED_MAX] = {0}, got[KEYS_DATA_KEY_LEN] = {0xaa};
        size_t len = 0;
        struct err e = {0};
        assert_int_equal(keys_wrap(pub, key, wrapped, &len, NULL), 0);
        for (size_t i = 0; i < len; i += 5) {
                wrapped[i] ^= 0x40;
                assert_int_equal(keys_unwrap(priv, wrapped, len, got, &e), -EBADMSG);
                wrapped[i] ^= 0x40;
        }
        static const size_t lengths[] = {0, 1, 255, 257, 1024};
        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
                assert_int_equal(keys_unwrap(priv, wrapped, lengths[i], got, &e), -EBADMSG);
        assert_int_equal(got[0], 0xaa); /* untouched on failure */
}

static void a_data_key_of_another_length_does_not_unwrap(_unused_ void **state)
{
        shell("head -c 31 /dev/zero > short && openssl pkeyutl -encrypt -pubin -inkey plain.pub"
              " -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -in short -out w31");
        _cleanup_(keys_private_freep) struct keys_private *priv = NULL;
        _cleanup_buf_ struct buf wrapped = BUF_INIT;
        uint8_t got[KEYS_DATA_KEY_LEN];
        assert_int_equal(keys_private_load(in_dir("plain.pem"), NULL, NULL, &priv, NULL), 0);
        assert_int_equal(io_read_file(AT_FDCWD, in_dir("w31"), 4096, &wrapped, NULL), 0);
        assert_int_equal(
                keys_unwrap(priv, (uint8_t *)wrapped.data, wrapped.len, got, NULL), -EBADMSG);
}

/* ---- what others make and read ---- */

static void keys_in_all_usual_forms_are_read(_unused_ void **state)
{
        shell("openssl rsa -traditional -in plain.pem -out pkcs1.pem &&"
              "openssl rsa -in plain.pem -RSAPublicKey_out -out pkcs1.pub &&"
              "openssl rsa -traditional -aes128 -passout 'pass:correct horse' -in plain.pem"
              " -out old-locked.pem &&"
              "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 1000 -in plain.pem"
              " -passout 'pass:correct horse' -out pbkdf2.pem");
        check_pair("pkcs1.pem", "plain.pub");
        check_pair("plain.pem", "pkcs1.pub");
        check_pair("old-locked.pem", "pkcs1.pub");
        check_pair("pbkdf2.pem", "plain.pub");
}

static void what_we_make_is_read_by_openssl(_unused_ void **state)
{
        shell("openssl pkey -in locked.pem -passin 'pass:correct horse' -check -noout &&"
              "openssl pkey -in locked.pem -passin 'pass:correct horse' -pubout | cmp - "
              "locked.pub");
}

static void the_fingerprint_is_sha256_of_the_public_der(_unused_ void **state)
{
        _cleanup_(keys_public_freep) struct keys_public *pub = NULL;
        assert_int_equal(keys_public_load(in_dir("plain.pub"), &pub, NULL), 0);
        char command[256];
        (void)snprintf(command, sizeof command,
                "openssl pkey -pubin -in plain.pub -outform DER | sha256sum | grep -q ^%s",
                keys_public_fingerprint(pub));
        shell(command);
}

static void the_pem_of_a_public_key_is_its_file(_unused_ void **state)
{
        _cleanup_(keys_public_freep) struct keys_public *pub = NULL;
        _cleanup_buf_ struct buf file = BUF_INIT;
        assert_int_equal(keys_public_load(in_dir("plain.pub"), &pub, NULL), 0);
        assert_int_equal(io_read_file(AT_FDCWD, in_dir("plain.pub"), 4096, &file, NULL), 0);
        _cleanup_free_ char *pem = keys_public_pem(pub);
        assert_string_equal(pem, buf_str(&file));
}

/* ---- what is not a key ---- */

static void refuse_public(const char *name, int want, const char *words)
{
        struct keys_public *k = NULL;
        struct err e = {0};
        int r = keys_public_load(in_dir(name), &k, &e);
        if (r != want || k || !strstr(e.text, words) || !strstr(e.text, name))
                fail_msg("%s: %d (%s) instead of %d (%s)", name, r, e.text, want, words);
}

static void what_is_not_a_public_key_is_refused(_unused_ void **state)
{
        shell("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out small.pem &&"
              "openssl pkey -in small.pem -pubout -out small.pub &&"
              "openssl genpkey -algorithm ED25519 | openssl pkey -pubout -out ed.pub &&"
              "openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 |"
              " openssl pkey -pubout -out pss.pub &&"
              "openssl req -x509 -new -key plain.pem -subj /CN=x -out cert.pem &&"
              "ssh-keygen -q -t rsa -b 2048 -N '' -f ssh || echo ssh-rsa AAAA > ssh.pub &&"
              "head -c 200 plain.pub > cut.pub && : > empty.pub && echo hello > text.pub &&"
              "head -c 100000 /dev/zero > large.pub");
        refuse_public("small.pub", -EINVAL, "1024 bits");
        refuse_public("ed.pub", -EINVAL, "not an RSA key");
        refuse_public("pss.pub", -EINVAL, "not an RSA key");
        refuse_public("plain.pem", -EINVAL, "is a private key");
        refuse_public("locked.pem", -EINVAL, "is a private key");
        refuse_public("missing.pub", -ENOKEY, "there is no key");
        static const char *const none[] = {
                "cert.pem", "ssh.pub", "cut.pub", "empty.pub", "text.pub"};
        for (size_t i = 0; i < ARRAY_SIZE(none); i++)
                refuse_public(none[i], -EINVAL, "not a public key");
        refuse_public("large.pub", -EFBIG, "");
}

static void what_is_not_a_private_key_is_refused(_unused_ void **state)
{
        shell("openssl genpkey -algorithm ED25519 -out ed.pem &&"
              "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out small.pem &&"
              "head -c 900 plain.pem > cut.pem && : > empty.pem");
        static const struct {
                const char *name, *words;
                int want;
        } bad[] = {
                {"plain.pub", "not a private key", -EINVAL},
                {"cut.pem", "not a private key", -EINVAL},
                {"empty.pem", "not a private key", -EINVAL},
                {"ed.pem", "not an RSA key", -EINVAL},
                {"small.pem", "1024 bits", -EINVAL},
                {"missing.pem", "there is no key", -ENOKEY},
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct err e = {0};
                int r = try_private(bad[i].name, NULL, &e);
                if (r != bad[i].want || !strstr(e.text, bad[i].words))
                        fail_msg("%s: %d (%s)", bad[i].name, r, e.text);
        }
}

/* Two keys one behind the other, as an archive's row has them; `names` are what it says they are.
 */
static int parse_list(
        const struct keys_public *a, const struct keys_public *b, const char *names, struct err *e)
{
        _cleanup_(keys_public_list_done) struct keys_public_list l = {0};
        _cleanup_free_ char *one = keys_public_pem(a), *two = keys_public_pem(b);
        _cleanup_buf_ struct buf pems = BUF_INIT;
        buf_addf(&pems, "%s%s", one, two);
        int r = keys_public_list_parse(buf_str(&pems), names, &l, e);
        if (r == 0) {
                assert_int_equal(l.n, 2);
                assert_string_equal(keys_public_fingerprint(l.v[0]), keys_public_fingerprint(a));
                assert_string_equal(keys_public_fingerprint(l.v[1]), keys_public_fingerprint(b));
        }
        return r;
}

static void a_recipient_whose_fingerprint_is_another_is_refused(_unused_ void **state)
{
        _cleanup_(keys_public_freep) struct keys_public *a = NULL, *b = NULL;
        assert_int_equal(keys_public_load(in_dir("plain.pub"), &a, NULL), 0);
        assert_int_equal(keys_public_load(in_dir("locked.pub"), &b, NULL), 0);
        const char *x = keys_public_fingerprint(a), *y = keys_public_fingerprint(b);
        const struct {
                const char *first, *second;
                int want;
        } lists[] = {
                {x, y, 0}, {y, x, -EINVAL}, {x, x, -EINVAL}, {x, "", -EINVAL}, {"", "", -EINVAL}};
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
                _cleanup_buf_ struct buf names = BUF_INIT;
                struct err e = {0};
                buf_addf(&names, "%s%s%s", lists[i].first, *lists[i].second ? " " : "",
                        lists[i].second);
                int r = parse_list(a, b, buf_str(&names), &e);
                if (r != lists[i].want || (r < 0 && !strstr(e.text, "fingerprint")))
                        fail_msg("%zu: %d (%s)", i, r, e.text);
        }
        _cleanup_buf_ struct buf joined = BUF_INIT;
        buf_addf(&joined, "%s%s", x, y);
        assert_int_equal(parse_list(a, b, buf_str(&joined), NULL), -EINVAL);
        assert_int_equal(
                keys_public_list_parse("", x, &(struct keys_public_list){0}, NULL), -ENOKEY);
}

/* ---- making them ---- */

static void modes_are_tight_whatever_the_umask(_unused_ void **state)
{
        struct stat st;
        mode_t before = umask(0);
        int r = keys_generate(2048, in_dir("m.pem"), in_dir("m.pub"), NULL, NULL);
        umask(before);
        assert_int_equal(r, 0);
        assert_int_equal(stat(in_dir("m.pem"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(stat(in_dir("m.pub"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
}

static void refuse_to_make(const char *priv, const char *pub, int want)
{
        struct err e = {0};
        int r = keys_generate(2048, in_dir(priv), in_dir(pub), NULL, &e);
        if (r != want || !*e.text)
                fail_msg("%d (%s) instead of %d", r, e.text, want);
}

static bool exists(const char *name)
{
        struct stat st;
        return lstat(in_dir(name), &st) == 0;
}

static void existing_files_are_never_overwritten(_unused_ void **state)
{
        shell("cp plain.pem keep.pem && cp plain.pub keep.pub && ln -s nowhere dangling &&"
              "sha256sum keep.pem keep.pub > sums");
        refuse_to_make("keep.pem", "new.pub", -EEXIST);
        refuse_to_make("new.pem", "keep.pub", -EEXIST);
        refuse_to_make("keep.pem", "keep.pub", -EEXIST);
        refuse_to_make("dangling", "new.pub", -EEXIST);
        refuse_to_make("new.pem", "dangling", -EEXIST);
        refuse_to_make("same", "same", -EEXIST);
        assert_false(exists("new.pem") || exists("new.pub") || exists("nowhere") || exists("same"));
        shell("sha256sum -c sums");
}

static void a_pair_that_cannot_be_made_leaves_nothing(_unused_ void **state)
{
        refuse_to_make("none/new.pem", "new.pub", -ENOENT);
        refuse_to_make("new.pem", "none/new.pub", -ENOENT);
        assert_false(exists("new.pem") || exists("new.pub"));
        assert_int_equal(keys_generate(2047, in_dir("x"), in_dir("y"), NULL, NULL), -EINVAL);
        assert_int_equal(keys_generate(8193, in_dir("x"), in_dir("y"), NULL, NULL), -EINVAL);
        assert_false(exists("x") || exists("y"));
}

static void the_sheet_names_the_files_and_the_fingerprint(_unused_ void **state)
{
        _cleanup_buf_ struct buf sheet = BUF_INIT;
        const char *fingerprint =
                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        keys_recovery_sheet("/home/me/private.pem", "/home/me/public.pem", fingerprint, &sheet);
        assert_non_null(strstr(buf_str(&sheet), "/home/me/private.pem"));
        assert_non_null(strstr(buf_str(&sheet), "/home/me/public.pem"));
        assert_non_null(strstr(buf_str(&sheet), "01234567 89abcdef 01234567 89abcdef\n"));
        for (const char *line = buf_str(&sheet); *line; line = strchr(line, '\n') + 1)
                assert_true(strchr(line, '\n') - line <= 78);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_right_passphrase_opens),
                cmocka_unit_test(a_passphrase_may_be_right_at_the_third_attempt),
                cmocka_unit_test(three_wrong_passphrases_are_enough),
                cmocka_unit_test(the_same_wrong_passphrase_is_tried_once),
                cmocka_unit_test(a_locked_key_needs_somebody_to_ask),
                cmocka_unit_test(an_open_key_is_not_asked_for),
                cmocka_unit_test(a_locked_key_is_scrypt_and_aes_256),
                cmocka_unit_test(what_was_wrapped_unwraps),
                cmocka_unit_test(keys_of_the_largest_size_work),
                cmocka_unit_test(what_was_wrapped_and_altered_does_not_unwrap),
                cmocka_unit_test(a_data_key_of_another_length_does_not_unwrap),
                cmocka_unit_test(keys_in_all_usual_forms_are_read),
                cmocka_unit_test(what_we_make_is_read_by_openssl),
                cmocka_unit_test(the_fingerprint_is_sha256_of_the_public_der),
                cmocka_unit_test(the_pem_of_a_public_key_is_its_file),
                cmocka_unit_test(what_is_not_a_public_key_is_refused),
                cmocka_unit_test(what_is_not_a_private_key_is_refused),
                cmocka_unit_test(a_recipient_whose_fingerprint_is_another_is_refused),
                cmocka_unit_test(modes_are_tight_whatever_the_umask),
                cmocka_unit_test(existing_files_are_never_overwritten),
                cmocka_unit_test(a_pair_that_cannot_be_made_leaves_nothing),
                cmocka_unit_test(the_sheet_names_the_files_and_the_fingerprint),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
