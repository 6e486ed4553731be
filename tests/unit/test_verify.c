/* Rot, cuts and losses in the store are found and named; a whole archive raises no alarm. */
#include "verify.h"

#include "delete.h"
#include "home.h"

struct found {
        unsigned objects, paths;
        struct buf text;
};

static int setup(void **state)
{
        struct home *h = home_new("{\"COMPRESSION\": \"zstd\"}");
        h->more = calloc(1, sizeof(struct found));
        assert_non_null(h->more);
        home_archive(h, "mkdir d; for i in 1 2 3; do head -c 8000000 /dev/urandom >d/$i; done; "
                        "ln -s 1 d/l; ln d/1 d/h; : >d/empty");
        *state = h;
        return 0;
}

static int teardown(void **state)
{
        struct home *h = *state;
        struct found *f = h->more;
        buf_done(&f->text);
        free(f);
        home_free(h);
        return 0;
}

static void damage(void *ctx, const struct verify_damage *d)
{
        struct found *f = ctx;
        assert_true(d->object || d->path);
        assert_true(*d->why);
        f->objects += d->object != NULL;
        f->paths += d->path != NULL;
        buf_addf(&f->text, "%s %s @%llu: %s\n", d->object ? d->object : "", d->path ? d->path : "",
                (unsigned long long)d->offset, d->why);
}

static int look(struct home *h, bool data)
{
        struct found *f = h->more;
        const struct verify_params p = {
                .unwrap = seal_unwrap_with_key, .unwrap_ctx = h->key, .damage = damage, .ctx = f};
        f->objects = f->paths = 0;
        buf_reset(&f->text);
        h->e = (struct err){0};
        int q = data ? verify_data(h->catalog, h->store, &h->a, &p, &h->e)
                     : verify_objects(h->catalog, h->store, &h->a, &p, &h->e);
        print_message("%d %s\n%s", q, h->e.text, buf_str(&f->text));
        return q;
}

#define V "V=$(echo $T/data/store/archives/*/*.esdk); chmod u+w $V; "

static void a_whole_archive_raises_no_alarm(void **state)
{
        struct home *h = *state;
        const struct found *f = h->more;
        assert_int_equal(look(h, false), 0);
        assert_int_equal(look(h, true), 0);
        assert_int_equal(f->objects + f->paths, 0);
}

static void a_flipped_bit_is_found_and_its_file_named(void **state)
{
        struct home *h = *state;
        const struct found *f = h->more;
        tree_sh(V "printf 'spoiled by a test' | dd of=$V bs=1 seek=20000000 conv=notrunc "
                  "status=none");
        assert_int_equal(look(h, false), -EBADMSG);
        assert_true(f->objects == 1 && f->paths == 0);
        assert_int_equal(look(h, true), -EBADMSG);
        assert_non_null(strstr(buf_str(&f->text), "d/3"));
        assert_null(strstr(buf_str(&f->text), "d/1"));
}

static void damage_in_the_archives_own_manifest_is_found(void **state)
{
        struct home *h = *state;
        const struct found *f = h->more;
        tree_sh(V "printf 'spoiled by a test' | dd of=$V bs=1 seek=$(($(stat -c %s $V) - 30)) "
                  "conv=notrunc "
                  "status=none");
        assert_int_equal(look(h, true), -EBADMSG);
        assert_true(f->objects > 0);
}

static void a_cut_object_is_found(void **state)
{
        struct home *h = *state;
        tree_sh(V "truncate -s -1 $V");
        assert_int_equal(look(h, false), -EBADMSG);
        assert_int_equal(look(h, true), -EBADMSG);
}

static void a_lost_object_is_found(void **state)
{
        struct home *h = *state;
        const struct found *f = h->more;
        tree_sh(V "rm $V");
        assert_int_equal(look(h, false), -EBADMSG);
        assert_non_null(strstr(buf_str(&f->text), "missing"));
        tree_sh("rm -r $T/data/store/manifests");
        assert_int_equal(look(h, false), -EBADMSG);
        assert_non_null(strstr(buf_str(&f->text), "manifest is missing"));
}

static void what_is_not_cleared_away_yet_is_not_deleted(void **state)
{
        struct home *h = *state;
        h->a.released = false;
        assert_int_equal(delete_run(h->catalog, h->store, &h->a, &h->e), -EBUSY);
        assert_int_equal(look(h, false), 0);
        h->a.released = true;
        home_must(h, delete_run(h->catalog, h->store, &h->a, &h->e));
        tree_sh("test -z \"$(find $T/data/store -name '*.esdk')\"");
}

static void a_store_that_is_not_there_is_no_damage(void **state)
{
        struct home *h = *state;
        const struct found *f = h->more;
        tree_sh("mv $T/data/store $T/away");
        assert_int_equal(look(h, false), -ENODEV);
        assert_int_equal(f->objects, 0);
        tree_sh("mv $T/away $T/data/store");
}

static void the_key_is_proven_by_an_archive_and_by_its_other_half(void **state)
{
        struct home *h = *state;
        const char *pub = h->config->public_keys[0];
        home_must(h, verify_key(h->catalog, h->store, &h->a, h->key, pub, &h->e));
        home_must(h, verify_key(h->catalog, h->store, NULL, h->key, pub, &h->e));
        struct keys_private *other = NULL;
        _cleanup_free_ char *a = io_join(h->path, "other.pem");
        _cleanup_free_ char *b = io_join(h->path, "other.pub");
        home_must(h, keys_generate(2048, a, b, NULL, &h->e));
        home_must(h, keys_private_load(a, NULL, NULL, &other, &h->e));
        assert_int_equal(verify_key(h->catalog, h->store, &h->a, other, pub, &h->e), -EACCES);
        assert_int_equal(verify_key(h->catalog, h->store, NULL, other, pub, &h->e), -EACCES);
        assert_int_equal(verify_key(h->catalog, NULL, &h->a, other, pub, &h->e), -EACCES);
        assert_int_equal(verify_key(h->catalog, NULL, &h->a, h->key, pub, &h->e), 1);
        keys_private_free(other);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(a_whole_archive_raises_no_alarm),
                TEST(a_flipped_bit_is_found_and_its_file_named),
                TEST(damage_in_the_archives_own_manifest_is_found),
                TEST(a_cut_object_is_found),
                TEST(a_lost_object_is_found),
                TEST(what_is_not_cleared_away_yet_is_not_deleted),
                TEST(a_store_that_is_not_there_is_no_damage),
                TEST(the_key_is_proven_by_an_archive_and_by_its_other_half),
        };
        return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
