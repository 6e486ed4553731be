/* Sealed volumes on their way: what is written is there, what is lost is seen, nothing else is
 * touched. */
#include "spool.h"

#include "tree.h"

static char dir[64];
static struct spool *spool;

static int setup(_unused_ void **state)
{
        struct err e = {0};
        tree_setup(dir);
        tree_sh("mkdir $T/spool");
        assert_int_equal(spool_open(dir, "A", &spool, &e), 0);
        return 0;
}

static int teardown(_unused_ void **state)
{
        spool_close(spool);
        tree_remove(dir);
        return 0;
}

static void write_parts(unsigned volume)
{
        struct err e = {0};
        assert_int_equal(spool_begin(spool, volume, &e), 0);
        assert_int_equal(spool_write(spool, volume, "first,", 6, 0, &e), 0);
        assert_int_equal(spool_write(spool, volume, "second", 6, 6, &e), 0);
}

static void what_is_written_is_read_by_range(_unused_ void **state)
{
        struct err e = {0};
        char got[7] = "";
        write_parts(1);
        write_parts(2);
        assert_int_equal(spool_read(spool, 1, got, 6, 6, &e), 0);
        assert_string_equal(got, "second");
        assert_true(spool_holds(spool, 1, 12));
        assert_false(spool_holds(spool, 1, 11));
        assert_int_equal(spool_used(spool), 24);
}

static void what_is_gone_or_cut_is_seen(_unused_ void **state)
{
        struct err e = {0};
        char got[6];
        write_parts(1);
        write_parts(2);
        tree_sh("rm $T/spool/A-0001.esdk; truncate -s 11 $T/spool/A-0002.esdk");
        assert_int_equal(spool_read(spool, 1, got, 6, 0, &e), -EBADMSG);
        assert_int_equal(spool_read(spool, 2, got, 6, 6, &e), -EBADMSG);
        assert_false(spool_holds(spool, 1, 12));
        assert_false(spool_holds(spool, 2, 12));
}

static void a_volume_begun_again_is_empty(_unused_ void **state)
{
        struct err e = {0};
        write_parts(1);
        assert_int_equal(spool_begin(spool, 1, &e), 0);
        assert_true(spool_holds(spool, 1, 0));
        assert_int_equal(spool_write(spool, 2, "x", 1, 0, &e), -EINVAL);
}

static void clearing_takes_this_archive_alone(_unused_ void **state)
{
        write_parts(1);
        tree_sh("touch $T/spool/AB-0001.esdk $T/spool/A.manifest");
        spool_remove(spool, 7); /* missing is no error */
        spool_clear(spool);
        tree_sh("test \"$(ls $T/spool | LC_ALL=C sort | tr '\\n' ' ')\" = 'A.manifest AB-0001.esdk "
                "'");
}

static void others_cannot_read_it(_unused_ void **state)
{
        write_parts(1);
        tree_sh("test $(stat -c %a $T/spool/A-0001.esdk) = 600");
}

static void a_full_disk_leaves_the_file_as_it_was(_unused_ void **state)
{
        struct err e = {0};
        if (!tree_is_root() ||
                tree_status("mount -t tmpfs -o size=1M none $T/spool 2>/dev/null") != 0)
                return;
        _cleanup_free_ char *much = calloc(1, 2 * MiB);
        spool_close(spool);
        assert_int_equal(spool_open(dir, "A", &spool, &e), 0);
        write_parts(1);
        assert_false(spool_has_room(spool, 2 * MiB));
        assert_true(spool_has_room(spool, 100 * KiB));
        assert_int_equal(spool_write(spool, 1, much, 2 * MiB, 12, &e), -ENOSPC);
        assert_true(spool_holds(spool, 1, 12));
        spool_clear(spool); /* closes what is open there */
        spool_close(spool);
        tree_sh("umount $T/spool");
        assert_int_equal(spool_open(dir, "A", &spool, &e), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
                T(what_is_written_is_read_by_range),
                T(what_is_gone_or_cut_is_seen),
                T(a_volume_begun_again_is_empty),
                T(clearing_takes_this_archive_alone),
                T(others_cannot_read_it),
                T(a_full_disk_leaves_the_file_as_it_was),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
