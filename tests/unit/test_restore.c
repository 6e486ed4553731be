/* Single paths come back by range; damage anywhere is refused and leaves no wrong file. */
#include "restore.h"

#include "damage.h"

static int setup(void **state)
{
        *state = home_new("{\"COMPRESSION\": \"none\"}");
        return 0;
}

static int setup_lzma(void **state)
{
        *state = home_new("{\"COMPRESSION\": \"lzma\"}");
        return 0;
}

static int setup_volumes(void **state)
{
        *state = home_new("{\"COMPRESSION\": \"zstd\", \"VOLUME_SIZE\": \"64MiB\"}");
        return 0;
}

static int teardown(void **state)
{
        home_free(*state);
        return 0;
}

/* Collects what was told of members. */
static void warn(void *ctx, const char *path, const char *why)
{
        struct buf *b = ctx;
        buf_addf(b, "%s: %s\n", path, why);
}

struct wish {
        struct buf *told;
        const char *const *paths;
        bool overwrite;
        const atomic_bool *stop;
};

static int restore_as(struct home *h, const struct wish *w, struct restore_progress *ret)
{
        _cleanup_free_ char *to = io_join(h->path, "back");
        const struct restore_params p = {.paths = w->paths,
                .to = to,
                .overwrite = w->overwrite,
                .unwrap = seal_unwrap_with_key,
                .unwrap_ctx = h->key,
                .warn = w->told ? warn : NULL,
                .ctx = w->told,
                .stop = w->stop};
        struct restore_progress ignored;
        h->e = (struct err){0};
        return restore_run(h->catalog, h->store, &h->a, &p, ret ? ret : &ignored, &h->e);
}

static int restore(struct home *h, const char *path, struct restore_progress *ret)
{
        const char *const paths[] = {path, NULL};
        return restore_as(h, &(struct wish){.paths = path ? paths : NULL}, ret);
}

#define HALF_FILES "find $T/back -name '.autoglacier-*'"

/* ---- by range ---- */

static int bytes_of(void *ctx, const struct catalog_member *m)
{
        *(uint64_t *)ctx = m->tar_len;
        return 0;
}

/* What does not compress is stored as it is: nothing else of its block is needed. */
static void one_file_fetches_its_own_bytes_and_at_most_three_mib(void **state)
{
        struct home *h = *state;
        home_archive(h, "mkdir d; for i in 1 2 3 4 5 6 7; do head -c 6000000 /dev/urandom >d/$i; "
                        "done; head -c 1000000 /dev/urandom >d/5b; cp -a . $T/copy");
        const char *const files[] = {"d/1", "d/3", "d/5b", "d/7"};
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                uint64_t need = 0;
                home_must(h, catalog_member_by_path(
                                     h->catalog, h->a.id, files[i], bytes_of, &need, &h->e));
                struct restore_progress p = {0};
                assert_int_equal(restore(h, files[i], &p), 0);
                print_message("%s: %llu bytes of the tar, %llu fetched\n", files[i],
                        (unsigned long long)need, (unsigned long long)p.fetched);
                assert_true(p.fetched >= need);
                assert_true(p.fetched <= need + 3 * (uint64_t)MiB);
                assert_int_equal(p.files, 1);
        }
        tree_sh("for f in d/1 d/3 d/5b d/7; do cmp $T/copy/$f $T/back/$f || exit 1; done; "
                "test $(ls $T/back/d | wc -l) = 4");
}

static void a_folder_fetches_no_block_twice(void **state)
{
        struct home *h = *state;
        home_archive(h, "mkdir a b; for i in 1 2 3 4; do head -c 9000000 /dev/urandom >a/$i; done; "
                        "head -c 30000000 /dev/urandom >b/x; cp -a . $T/copy");
        struct restore_progress p = {0};
        assert_int_equal(restore(h, "a/", &p), 0);
        assert_true(p.fetched < 36000000u + 16 * MiB + 3 * MiB);
        assert_int_equal(p.bytes, 36000000);
        assert_int_equal(p.todo_bytes, 36000000);
        tree_sh("diff -r $T/copy/a $T/back/a && test ! -e $T/back/b");
}

static void a_small_archive_is_fetched_once(void **state)
{
        struct home *h = *state;
        home_archive(h, "head -c 150000 /dev/urandom >a; head -c 40000 /dev/urandom >b; "
                        "cp -a . $T/copy");
        struct restore_progress p = {0};
        assert_int_equal(restore(h, NULL, &p), 0);
        print_message("%llu of %llu fetched\n", (unsigned long long)p.fetched,
                (unsigned long long)h->a.stored_bytes);
        assert_true(p.fetched > 190000 && p.fetched <= h->a.stored_bytes);
        tree_sh("diff -r $T/copy $T/back");
}

static void a_file_over_a_cut_between_volumes_comes_back(void **state)
{
        struct home *h = *state;
        home_archive(h, "head -c 150000000 /dev/urandom >big; echo end >z; cp -a . $T/copy");
        assert_int_equal(restore(h, "big", NULL), 0);
        assert_int_equal(restore(h, "z", NULL), 0);
        tree_sh("diff -r $T/copy $T/back");
}

static void what_is_not_in_the_archive_is_named_before_anything_is_written(void **state)
{
        struct home *h = *state;
        home_archive(h, "echo x >f");
        const char *const paths[] = {"f", "no/such", NULL};
        assert_int_equal(restore_as(h, &(struct wish){.paths = paths}, NULL), -ENOENT);
        assert_non_null(strstr(h->e.text, "no/such"));
        tree_sh("test ! -e $T/back/f");
}

static void folders_on_the_way_are_as_they_were(void **state)
{
        struct home *h = *state;
        home_archive(h, "mkdir -p a/b; echo x >a/b/f; chmod 2751 a; chmod 750 a/b; "
                        "touch -d '1960-05-05 05:05:05.25' a/b; touch -d @77.5 a; cp -a . $T/copy");
        assert_int_equal(restore(h, "a/b/f", NULL), 0);
        tree_sh("for f in a a/b a/b/f; do test \"$(stat -c %a-%y $T/copy/$f)\" = "
                "\"$(stat -c %a-%y $T/back/$f)\" || exit 1; done");
}

static void a_hard_link_brings_its_content_along(void **state)
{
        struct home *h = *state;
        home_archive(h, "echo x >a; mkdir d; ln a d/b");
        assert_int_equal(restore(h, "d/b", NULL), 0);
        tree_sh("test $(cat $T/back/d/b) = x && test $(stat -c %h $T/back/a) = 2");
}

static int offset_of(void *ctx, const struct catalog_member *m)
{
        *(uint64_t *)ctx = m->tar_offset;
        return 0;
}

static void a_hard_link_before_its_content_is_made_after_it(void **state)
{
        struct home *h = *state;
        uint64_t a = 0, b = 0;
        /* A file that changes while it is read stands at the end once more, behind the link. On a
         * busy machine it may be read between two changes. */
        for (int i = 0; i < 20 && a <= b; i++) {
                home_archive(h,
                        "rm -f $T/stop; head -c 30000000 /dev/urandom >a; ln a b; cp a $T/copy; "
                        "(while ! test -e $T/stop; do touch -c a; done) >/dev/null 2>&1 &");
                tree_sh("touch $T/stop");
                home_must(
                        h, catalog_member_by_path(h->catalog, h->a.id, "a", offset_of, &a, &h->e));
                home_must(
                        h, catalog_member_by_path(h->catalog, h->a.id, "b", offset_of, &b, &h->e));
        }
        assert_true(a > b);
        assert_int_equal(restore(h, NULL, NULL), 0);
        tree_sh("cmp $T/copy $T/back/a && test $(stat -c %h $T/back/b) = 2 && rm -r $T/back");
        assert_int_equal(restore(h, "b", NULL), 0);
        tree_sh("cmp $T/copy $T/back/b");
}

static void what_is_there_stays_unless_it_is_to_be_overwritten(void **state)
{
        struct home *h = *state;
        home_archive(h, "echo old >f");
        tree_sh("mkdir $T/back && echo mine >$T/back/f && sleep 0.05");
        assert_int_equal(restore(h, NULL, NULL), -EEXIST);
        tree_sh("test $(cat $T/back/f) = mine");
        assert_int_equal(restore_as(h, &(struct wish){.overwrite = true}, NULL), 0);
        tree_sh("test $(cat $T/back/f) = old");
}

static void an_interrupted_restore_leaves_whole_files_only(void **state)
{
        struct home *h = *state;
        home_archive(h, "echo x >f");
        const atomic_bool stop = true;
        assert_int_equal(restore_as(h, &(struct wish){.stop = &stop}, NULL), -ECANCELED);
        tree_sh("test -z \"$(" HALF_FILES ")\" && test ! -e $T/back/f");
}

static int no_key(_unused_ void *ctx, _unused_ const char *fingerprint,
        _unused_ const uint8_t *wrapped, _unused_ size_t len, _unused_ uint8_t ret[32],
        struct err *e)
{
        return err_set(e, -ENOKEY, "no");
}

static void without_the_key_it_is_enokey(void **state)
{
        struct home *h = *state;
        home_archive(h, "echo x >f");
        _cleanup_free_ char *to = io_join(h->path, "back");
        const struct restore_params p = {.to = to, .unwrap = no_key};
        assert_int_equal(restore_run(h->catalog, h->store, &h->a, &p, NULL, &h->e), -ENOKEY);
        tree_sh("test ! -e $T/back/f");
}

/* ---- damage ---- */

static void damage_anywhere_is_refused_and_leaves_no_wrong_file(void **state)
{
        struct home *h = *state;
        damage_begin(h);
        for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
                damage_do(i);
                int q = restore(h, NULL, NULL);
                print_message("%s: %s\n", damages[i].what, h->e.text);
                assert_int_equal(q, -EBADMSG);
                assert_true(*h->e.text);
                damage_left_no_wrong_file();
                damage_undo();
        }
        assert_int_equal(restore(h, NULL, NULL), 0);
        tree_sh("diff -r $T/copy $T/back");
}

static void what_is_not_lost_is_restored_and_the_rest_named(void **state)
{
        struct home *h = *state;
        home_archive(h, "mkdir d; for i in 1 2 3 4 5 6 7; do head -c 20000000 /dev/urandom >d/$i; "
                        "done; ln d/4 d/5twin; echo end >z; cp -a . $T/copy");
        _cleanup_buf_ struct buf told = BUF_INIT;
        const struct wish w = {.told = &told};
        struct restore_progress p = {0};
        tree_sh("cd $T/data/store/archives/*; test $(ls | wc -l) = 3; mv *-0002.* $T/away");
        assert_int_equal(restore_as(h, &w, &p), -EBADMSG);
        print_message("%s\n%s", h->e.text, buf_str(&told));
        assert_non_null(strstr(buf_str(&told), "d/4: "));
        assert_non_null(strstr(buf_str(&told), "d/5twin: "));
        assert_null(strstr(buf_str(&told), "d/1: "));
        assert_in_range(p.lost, 4, 5); /* d/3 may end where the first volume does */
        char lost[16];
        (void)snprintf(lost, sizeof lost, "%u", (unsigned)p.lost);
        assert_int_equal(setenv("LOST", lost, 1), 0);
        tree_sh("cd $T/back/d && test $(($(ls | wc -l) + LOST)) = 8 && test -e 1 -a -e 2 -a -e 7 "
                "&& "
                "for i in *; do cmp $i $T/copy/d/$i || exit 1; done && "
                "cmp ../z $T/copy/z && test -z \"$(" HALF_FILES ")\" && rm -rf $T/back");
        buf_reset(&told);
        /* one bit costs the files of one block */
        tree_sh("cd $T/data/store/archives/*; N=$(echo *-0001.* | sed s/-0001/-0002/); "
                "cp $T/away $N; printf 'spoiled by a test' | dd of=$N bs=1 seek=30000000 "
                "conv=notrunc status=none");
        assert_int_equal(restore_as(h, &w, &p), -EBADMSG);
        print_message("%s\n%s", h->e.text, buf_str(&told));
        tree_sh("cd $T/back/d && test $(ls | wc -l) -ge 5 && "
                "for i in *; do cmp $i $T/copy/d/$i || exit 1; done && cmp ../z $T/copy/z");
}

/* 3 MiB of files before a frame that is damaged, and 3 MiB behind it, in one block. */
static void a_damaged_frame_of_what_is_stored_costs_the_files_in_it(void **state)
{
        struct home *h = *state;
        home_archive(h, "mkdir d; for i in 00 01 02 03 04 05 06 07 08 09 10 11 12 13 14; do "
                        "head -c 500000 /dev/urandom >d/$i; done; cp -a . $T/copy");
        tree_sh("cd $T/data/store/archives/*; printf 'spoiled by a test' | "
                "dd of=$(ls) bs=1 seek=3500000 conv=notrunc status=none");
        _cleanup_buf_ struct buf told = BUF_INIT;
        struct restore_progress p = {0};
        assert_int_equal(restore_as(h, &(struct wish){.told = &told}, &p), -EBADMSG);
        print_message("%s\n%s", h->e.text, buf_str(&told));
        assert_in_range(p.lost, 1, 4);
        tree_sh("cd $T/back/d && test $(ls | wc -l) -ge 11 && "
                "for i in *; do cmp $i $T/copy/d/$i || exit 1; done; test -e 00 -a -e 14");
}

static void another_archive_in_its_place_is_refused(void **state)
{
        struct home *h = *state;
        home_archive(h, "echo evil >f");
        tree_sh("mv $T/data/store/archives/*/*.esdk $T/other");
        home_archive(h, "echo good >f");
        tree_sh("cat $T/other >$(echo $T/data/store/archives/*/*.esdk)");
        assert_int_equal(restore(h, NULL, NULL), -EBADMSG);
        tree_sh("test ! -e $T/back/f");
}

static int with_another_sum(void *ctx, const struct catalog_member *m)
{
        struct home *h = ctx;
        _cleanup_(catalog_adder_freep) struct catalog_adder *adder = NULL;
        uint8_t sum[64] = {1};
        struct catalog_member changed = *m;
        changed.sha512 = sum;
        changed.path = "g";
        home_must(h, catalog_adder_new(h->catalog, h->a.id, &adder, &h->e));
        home_must(h, catalog_adder_add(adder, &changed, &h->e));
        return catalog_adder_flush(adder, &h->e);
}

static void a_wrong_sum_in_the_catalogue_is_refused(void **state)
{
        struct home *h = *state;
        home_archive(h, "echo good >f; echo x >g");
        home_must(h, catalog_member_by_path(h->catalog, h->a.id, "g", with_another_sum, h, &h->e));
        assert_int_equal(restore(h, NULL, NULL), -EBADMSG);
        tree_sh("test ! -e $T/back/g && test $(cat $T/back/f) = good");
}

int main(void)
{
#define TEST(f)         cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_LZMA(f)    cmocka_unit_test_setup_teardown(f, setup_lzma, teardown)
#define TEST_VOLUMES(f) cmocka_unit_test_setup_teardown(f, setup_volumes, teardown)
        const struct CMUnitTest tests[] = {
                TEST(one_file_fetches_its_own_bytes_and_at_most_three_mib),
                TEST_LZMA(one_file_fetches_its_own_bytes_and_at_most_three_mib),
                TEST(a_damaged_frame_of_what_is_stored_costs_the_files_in_it),
                TEST_LZMA(a_damaged_frame_of_what_is_stored_costs_the_files_in_it),
                TEST(a_folder_fetches_no_block_twice),
                TEST(a_small_archive_is_fetched_once),
                TEST_VOLUMES(a_file_over_a_cut_between_volumes_comes_back),
                TEST(what_is_not_in_the_archive_is_named_before_anything_is_written),
                TEST(folders_on_the_way_are_as_they_were),
                TEST(a_hard_link_brings_its_content_along),
                TEST(a_hard_link_before_its_content_is_made_after_it),
                TEST(what_is_there_stays_unless_it_is_to_be_overwritten),
                TEST(an_interrupted_restore_leaves_whole_files_only),
                TEST(without_the_key_it_is_enokey),
                TEST(damage_anywhere_is_refused_and_leaves_no_wrong_file),
                TEST_VOLUMES(what_is_not_lost_is_restored_and_the_rest_named),
                TEST(another_archive_in_its_place_is_refused),
                TEST(a_wrong_sum_in_the_catalogue_is_refused),
        };
        return cmocka_run_group_tests_name("restore", tests, NULL, NULL);
}
