#include "descent.h"

#include "tree.h"

#include <sys/resource.h>

static char dir[64];

static int setup(void **state)
{
        (void)state;
        tree_setup(dir);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        tree_remove(dir);
        return 0;
}

static int open_dir(int at, const char *name)
{
        return openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void go_down(struct descent *d, unsigned levels)
{
        int fd = open_dir(AT_FDCWD, dir);
        assert_int_equal(descent_push(d, &fd), 0);
        assert_int_equal(fd, -EBADF);
        for (unsigned i = 0; i < levels; i++) {
                assert_int_equal(mkdirat(descent_fd(d), "d", 0700), 0);
                fd = open_dir(descent_fd(d), "d");
                assert_int_equal(descent_push(d, &fd), 0);
        }
}

static unsigned open_files(void)
{
        unsigned n = 0;
        for (int fd = 0; fd < 1024; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static void a_deep_tree_needs_few_descriptors_and_leads_back_to_its_top(void **state)
{
        (void)state;
        _cleanup_descent_ struct descent d = {.max_open = 8};
        struct stat top, now;
        assert_int_equal(stat(dir, &top), 0);
        unsigned before = open_files();
        go_down(&d, 3000);
        assert_true(open_files() <= before + 8);
        for (unsigned i = 0; i < 3000; i++) {
                int fd;
                assert_int_equal(descent_pop(&d, &fd), 0);
                assert_true(fd >= 0);
                (void)close(fd);
                assert_true(descent_fd(&d) >= 0);
                assert_int_equal(unlinkat(descent_fd(&d), "d", AT_REMOVEDIR), 0);
        }
        assert_int_equal(fstat(descent_fd(&d), &now), 0);
        assert_int_equal(now.st_ino, top.st_ino);
}

static void going_down_again_after_coming_back_works(void **state)
{
        (void)state;
        _cleanup_descent_ struct descent d = {.max_open = 2};
        go_down(&d, 5);
        for (unsigned round = 0; round < 3; round++) {
                for (unsigned i = 0; i < 4; i++) {
                        _cleanup_close_ int left = -EBADF;
                        assert_int_equal(descent_pop(&d, &left), 0);
                }
                for (unsigned i = 0; i < 4; i++) {
                        int fd = open_dir(descent_fd(&d), "d");
                        assert_true(fd >= 0);
                        assert_int_equal(descent_push(&d, &fd), 0);
                }
        }
}

static void a_folder_that_was_moved_elsewhere_is_not_taken_for_its_parent(void **state)
{
        (void)state;
        _cleanup_descent_ struct descent d = {.max_open = 2};
        go_down(&d, 4);
        tree_sh("mkdir $T/other && mv $T/d/d/d $T/other/");
        int fd;
        assert_int_equal(descent_pop(&d, &fd), 0); /* both still open */
        (void)close(fd);
        assert_int_equal(descent_pop(&d, &fd), -ESTALE);
        (void)close(fd);
        assert_int_equal(descent_fd(&d), -EBADF);
        assert_int_equal(descent_pop(&d, &fd), -ESTALE); /* and nothing above it either */
        assert_int_equal(fd, -EBADF);
}

static void an_empty_stack_has_no_folder(void **state)
{
        (void)state;
        _cleanup_descent_ struct descent d = DESCENT_INIT;
        int fd;
        assert_int_equal(descent_fd(&d), -EBADF);
        assert_int_equal(descent_pop(&d, &fd), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(a_deep_tree_needs_few_descriptors_and_leads_back_to_its_top),
                TEST(going_down_again_after_coming_back_works),
                TEST(a_folder_that_was_moved_elsewhere_is_not_taken_for_its_parent),
                TEST(an_empty_stack_has_no_folder),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
