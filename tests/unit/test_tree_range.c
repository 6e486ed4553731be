/* Ranges that a vault sends the hash of: covered by few nodes, with little added. */
#include "tree_range.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SHORT 12345u /* bytes that the last leaf lacks, in some sizes */

/* Is it a node? By the way in which the tree is made: pairs of neighbours, an odd one promoted. */
static bool made_by_pairs(uint64_t a, uint64_t b, uint64_t leaves)
{
        struct {
                uint64_t a, b;
        } v[80];
        uint64_t n = leaves;
        for (uint64_t i = 0; i < n; i++) {
                v[i].a = i;
                v[i].b = i + 1;
        }
        for (;;) {
                for (uint64_t i = 0; i < n; i++)
                        if (v[i].a == a && v[i].b == b)
                                return true;
                if (n == 1)
                        return false;
                for (uint64_t i = 0; 2 * i < n; i++) {
                        v[i].b = v[MIN(2 * i + 1, n - 1)].b;
                        v[i].a = v[2 * i].a;
                }
                n = (n + 1) / 2;
        }
}

static void nodes_are_those_of_the_tree(void **state _unused_)
{
        for (uint64_t leaves = 1; leaves <= 40; leaves++)
                for (uint64_t a = 0; a < leaves; a++)
                        for (uint64_t b = a + 1; b <= leaves; b++) {
                                uint64_t size = leaves * MiB - SHORT;
                                struct tree_range r = {a * MiB, MIN(b * MiB, size)};
                                assert_int_equal(
                                        tree_range_is_node(&r, size), made_by_pairs(a, b, leaves));
                        }
        const uint64_t size = 9 * MiB;
        assert_false(tree_range_is_node(&(struct tree_range){1, MiB}, size));
        assert_false(tree_range_is_node(&(struct tree_range){0, MiB - 1}, size));
        assert_false(tree_range_is_node(&(struct tree_range){MiB, MiB}, size));
        assert_false(tree_range_is_node(&(struct tree_range){0, 16 * MiB}, size));
}

static size_t check(uint64_t start, uint64_t end, uint64_t size)
{
        struct tree_range v[TREE_RANGE_MAX];
        size_t n = tree_range_cover(start, end, size, v);
        assert_true(n > 0 && n <= TREE_RANGE_MAX);
        assert_true(v[0].start <= start && v[n - 1].end >= end);
        for (size_t i = 0; i < n; i++) {
                assert_true(tree_range_is_node(&v[i], size));
                assert_true(i == 0 || v[i].start == v[i - 1].end);
        }
        uint64_t first = start / MiB * MiB, last = MIN((end + MiB - 1) / MiB * MiB, size);
        uint64_t wanted = last - first, asked = v[n - 1].end - v[0].start;
        assert_true(asked <= wanted + MAX((uint64_t)4 * MiB, wanted / 8 + MiB));
        return n;
}

static void every_range_is_covered_by_nodes_and_little_is_added(void **state _unused_)
{
        for (uint64_t leaves = 1; leaves <= 70; leaves++)
                for (uint64_t a = 0; a < leaves; a++)
                        for (uint64_t b = a + 1; b <= leaves; b++) {
                                uint64_t size = leaves * MiB - SHORT * (leaves % 2);
                                (void)check(a * MiB + 7, MIN(b * MiB - 1, size), size);
                        }
}

static void large_objects_are_asked_for_in_few_pieces(void **state _unused_)
{
        size_t most = 0;
        uint64_t x = 88172645463325252u; /* xorshift */
        for (unsigned i = 0; i < 200000; i++) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                uint64_t size = (x % (5 << 20) + 1) * MiB - x % MiB;
                uint64_t start = (x >> 11) % size;
                uint64_t most_len = (size - start) >> (i % 20);
                uint64_t len = MIN(most_len ? (x >> 7) % most_len + 1 : 1, size - start);
                most = MAX(most, check(start, start + len, size));
        }
        print_message("at most %zu pieces\n", most);
        assert_int_equal(check(0, 8192 * (uint64_t)MiB, 8192 * (uint64_t)MiB), 1);
        struct tree_range v[TREE_RANGE_MAX];
        assert_int_equal(tree_range_cover(5, 6, 8192 * (uint64_t)MiB, v), 1);
        assert_int_equal(v[0].end, MiB); /* a node already: nothing is added */
        assert_int_equal(tree_range_cover(5 * MiB, 23 * MiB, 8192 * (uint64_t)MiB, v), 3);
        assert_int_equal(v[0].start, 4 * MiB);
        assert_int_equal(v[2].end, 24 * MiB);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nodes_are_those_of_the_tree),
                cmocka_unit_test(every_range_is_covered_by_nodes_and_little_is_added),
                cmocka_unit_test(large_objects_are_asked_for_in_few_pieces),
        };
        return cmocka_run_group_tests_name("tree_range", tests, NULL, NULL);
}
