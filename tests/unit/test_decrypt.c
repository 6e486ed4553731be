/* With the key alone: volumes come out whole or not at all; what is sealed inside cannot leave. */
#include "decrypt.h"

#include "damage.h"

static int setup(void **state)
{
        *state = home_new("{\"COMPRESSION\": \"none\"}");
        return 0;
}

static int teardown(void **state)
{
        home_free(*state);
        return 0;
}

static int decrypt(struct home *h, const char *file)
{
        _cleanup_free_ char *out = io_join(h->path, "out");
        const char *const files[] = {file, NULL};
        h->e = (struct err){0};
        return decrypt_run(h->key, files, out, NULL, NULL, NULL, &h->e);
}

static int restore(struct home *h, const char *file, const char *path)
{
        _cleanup_free_ char *to = io_join(h->path, "back");
        const char *const files[] = {file, NULL};
        const char *const paths[] = {path, NULL};
        const struct decrypt_restore r = {
                .key = h->key, .files = files, .to = to, .paths = path ? paths : NULL};
        uint64_t n = 0;
        h->e = (struct err){0};
        return decrypt_restore(&r, &n, &h->e);
}

/* Where the one volume lies; the caller frees it. */
static char *volume(struct home *h)
{
        _cleanup_buf_ struct buf name = BUF_INIT;
        _cleanup_free_ char *path = io_join(h->path, "name");
        home_must(h, io_read_file(AT_FDCWD, path, 4096, &name, &h->e));
        return strndup(name.data, name.len - 1);
}

static bool is_refusal(int q, const char *what)
{
        /* without a catalogue nobody knows for which keys it was sealed */
        if (streq(what, "provider") || streq(what, "recipient"))
                return q == -ENOKEY;
        return q == -EBADMSG || q == -EPROTO || q == -EPROTONOSUPPORT ||
               (q == -ENOENT && streq(what, "gone"));
}

static void damage_anywhere_is_refused_and_nothing_has_the_final_name(void **state)
{
        struct home *h = *state;
        damage_begin(h);
        _cleanup_free_ char *v = volume(h);
        for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
                damage_do(i);
                int q = decrypt(h, v);
                print_message("%s: %s\n", damages[i].what, h->e.text);
                assert_true(is_refusal(q, damages[i].what));
                assert_true(*h->e.text);
                tree_sh("test ! -e $T/out && test ! -e $T/out.partial");
                assert_true(is_refusal(restore(h, v, NULL), damages[i].what));
                damage_left_no_wrong_file();
                damage_undo();
        }
        assert_int_equal(decrypt(h, v), 0);
        assert_int_equal(restore(h, v, NULL), 0);
        tree_sh("diff -r $T/copy $T/back && mkdir $T/tar && tar -C $T/tar -xf $T/out && "
                "rm -r $T/tar/.autoglacier && diff -r $T/copy $T/tar");
}

static void single_paths_come_out(void **state)
{
        struct home *h = *state;
        damage_begin(h);
        _cleanup_free_ char *v = volume(h);
        assert_int_equal(restore(h, v, "e"), 0);
        tree_sh("test \"$(ls $T/back)\" = e && test -e $T/back/e/empty");
        assert_int_equal(restore(h, v, "no/such"), -ENOENT);
        assert_non_null(strstr(h->e.text, "no/such"));
}

static int to_file(void *ctx, const void *data, size_t len, struct err *e)
{
        return fwrite(data, 1, len, ctx) == len ? 0 : err_set(e, -EIO, "cannot write");
}

/* Anybody who has the public key can seal a tar of his own. */
static void seal_tar(struct home *h)
{
        _cleanup_free_ char *from = io_join(h->path, "evil.tar");
        _cleanup_free_ char *to = io_join(h->path, "evil.esdk");
        _cleanup_buf_ struct buf tar = BUF_INIT;
        _cleanup_(seal_writer_freep) struct seal_writer *w = NULL;
        struct keys_public *key = NULL;
        home_must(h, keys_public_load(h->config->public_keys[0], &key, &h->e));
        home_must(h, io_read_file(AT_FDCWD, from, MiB, &tar, &h->e));
        FILE *f = fopen(to, "w");
        assert_non_null(f);
        const struct keys_public *const keys[] = {key};
        home_must(h, seal_writer_new(keys, 1, NULL, 0, to_file, f, &w, &h->e));
        home_must(h, seal_write(w, tar.data, tar.len, &h->e));
        home_must(h, seal_finish(w, &h->e));
        assert_int_equal(fclose(f), 0);
        keys_public_free(key);
}

static void a_sealed_tar_that_leaves_the_folder_is_refused(void **state)
{
        struct home *h = *state;
        _cleanup_free_ char *evil = io_join(h->path, "evil.esdk");
        const char *const makes[] = {
                "tar -cPf $T/evil.tar ../stolen",
                "ln -s .. l; tar -cf $T/evil.tar l; rm l; mkdir l; cp ../stolen l/x; tar -rf "
                "$T/evil.tar l/x",
                "tar -cPf $T/evil.tar --transform 's,^,a/../../,' ../stolen",
        };
        for (size_t i = 0; i < ARRAY_SIZE(makes); i++) {
                _cleanup_buf_ struct buf command = BUF_INIT;
                buf_adds(&command, "rm -rf $T/make $T/back; mkdir $T/make; cd $T/make; "
                                   "echo evil >../stolen; ");
                buf_adds(&command, makes[i]);
                tree_sh(buf_str(&command));
                tree_sh("rm $T/stolen");
                seal_tar(h);
                int q = restore(h, evil, NULL);
                print_message("%d %s\n", q, h->e.text);
                assert_int_equal(q, -EPROTO);
                tree_sh("test ! -e $T/stolen && test ! -e $T/x");
        }
}

static void what_is_there_is_not_overwritten(void **state)
{
        struct home *h = *state;
        damage_begin(h);
        _cleanup_free_ char *v = volume(h);
        tree_sh("echo mine >$T/out && mkdir $T/back && echo mine >$T/back/1 && sleep 0.05");
        assert_int_equal(decrypt(h, v), -EEXIST);
        assert_int_equal(restore(h, v, NULL), -EEXIST);
        tree_sh("test $(cat $T/out $T/back/1 | tr -d '\\n') = minemine");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(damage_anywhere_is_refused_and_nothing_has_the_final_name),
                TEST(single_paths_come_out),
                TEST(a_sealed_tar_that_leaves_the_folder_is_refused),
                TEST(what_is_there_is_not_overwritten),
        };
        return cmocka_run_group_tests_name("decrypt", tests, NULL, NULL);
}
