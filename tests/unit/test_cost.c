/* Sums are what the table says, what is not checked is marked, and a broken table is refused. */
#include "cost.h"

#include "tree.h"

#include "buf.h"
#include "clock.h"
#include "io.h"

#include <math.h>

#define GB  1000000000ull
#define DAY (86400 * CLOCK_NSEC)

static int setup(void **state)
{
        struct cost_prices *p;
        assert_int_equal(cost_load(NULL, &p, NULL), 0);
        *state = p;
        return 0;
}

static int teardown(void **state)
{
        cost_free(*state);
        return 0;
}

static void near(double got, double want)
{
        if (fabs(got - want) > 1e-9 + want * 1e-9)
                fail_msg("%.9f, not %.9f", got, want);
}

static void storage_is_price_and_overhead(void **state)
{
        struct cost_sum s;
        assert_int_equal(cost_storage(*state, "DEEP_ARCHIVE", 100, 1000 * GB, &s), 0);
        near(s.usd, (1000 + 100 * 40960 / 1e9) * 0.00099);
        assert_false(s.unverified);
        assert_int_equal(cost_storage(*state, "GLACIER", 1, 500 * GB, &s), 0);
        near(s.usd, (500 + 40960 / 1e9) * 0.0036);
        assert_int_equal(cost_storage(*state, "STANDARD", 7, 100 * GB, &s), 0);
        near(s.usd, 2.3);
        assert_int_equal(cost_storage(*state, "GLACIER_IR", 1000, 1000, &s), 0);
        near(s.usd, 1000 * 131072 / 1e9 * 0.004); /* the least an object is charged for */
        assert_true(s.unverified);
        assert_int_equal(cost_storage(*state, "NO_SUCH_CLASS", 1, GB, &s), -ENOENT);
}

static void requests_are_counted_by_the_thousand(void **state)
{
        static const struct {
                const char *cls;
                double thousand;
        } cases[] = {{"STANDARD", 0.005}, {"GLACIER_IR", 0.02}, {"GLACIER", 0.03},
                {"DEEP_ARCHIVE", 0.05}};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct cost_sum s;
                assert_int_equal(cost_upload(*state, cases[i].cls, 2500, &s), 0);
                near(s.usd, cases[i].thousand * 2.5);
                assert_false(s.unverified);
        }
}

static void early_deletion_costs_the_days_that_are_missing(void **state)
{
        struct cost_sum month, s;
        assert_int_equal(cost_storage(*state, "DEEP_ARCHIVE", 1, 100 * GB, &month), 0);
        assert_int_equal(cost_early(*state, "DEEP_ARCHIVE", 1, 100 * GB, 0, &s), 0);
        near(s.usd, month.usd * 6);
        assert_int_equal(cost_early(*state, "DEEP_ARCHIVE", 1, 100 * GB, 150 * DAY, &s), 0);
        near(s.usd, month.usd);
        assert_int_equal(cost_early(*state, "DEEP_ARCHIVE", 1, 100 * GB, 181 * DAY, &s), 0);
        near(s.usd, 0);
        assert_int_equal(cost_early(*state, "GLACIER", 1, 100 * GB, 0, &s), 0);
        near(s.usd, (100 + 40960 / 1e9) * 0.0036 * 3);
        assert_int_equal(cost_early(*state, "STANDARD", 1, 100 * GB, 0, &s), 0);
        near(s.usd, 0);
}

static void getting_back_is_retrieval_requests_and_egress(void **state)
{
        static const struct {
                const char *cls, *tier;
                double gb, thousand;
        } cases[] = {
                {"DEEP_ARCHIVE", "bulk", 0.0025, 0.025},
                {"DEEP_ARCHIVE", "standard", 0.02, 0.10},
                {"GLACIER", "bulk", 0, 0},
                {"GLACIER", "standard", 0.01, 0.05},
                {"GLACIER", "expedited", 0.03, 10},
                {"GLACIER_IR", "standard", 0.03, 0},
        };
        const struct cost_retrieval what = {.objects = 20, .thawed = 80 * GB, .fetched = 3 * GB};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct cost_offer o;
                assert_int_equal(cost_retrieve(*state, cases[i].cls, cases[i].tier, &what, &o), 0);
                double charged = o.latest > 0 ? 80 : 3; /* read at once: only what is read */
                near(o.sum.usd, charged * cases[i].gb + 0.02 * cases[i].thousand + 3 * 0.09);
                assert_false(o.sum.unverified);
                assert_true(o.soonest <= o.latest);
        }
        struct cost_offer o;
        assert_int_equal(cost_retrieve(*state, "DEEP_ARCHIVE", "bulk", &what, &o), 0);
        assert_int_equal(o.latest, 48 * 3600 * CLOCK_NSEC);
        assert_true(o.time_unverified);
        assert_int_equal(cost_retrieve(*state, "GLACIER_IR", "bulk", &what, &o), 0);
        assert_int_equal(o.latest, 0);
        assert_int_equal(cost_retrieve(*state, "VAULT", "standard", &what, &o), 0);
        assert_true(o.sum.unverified);
}

static void a_tier_that_a_class_lacks_has_no_price(void **state)
{
        const struct cost_retrieval what = {1, GB, GB};
        struct cost_offer o;
        assert_int_equal(
                cost_retrieve(*state, "DEEP_ARCHIVE", "expedited", &what, &o), -EOPNOTSUPP);
        assert_int_equal(cost_retrieve(*state, "NO_SUCH_CLASS", "bulk", &what, &o), -ENOENT);
        assert_int_equal(cost_retrieve(*state, "STANDARD", "bulk", &what, &o), 0);
        near(o.sum.usd, 0.09); /* only what leaves */
}

static void the_class_follows_from_store_and_class(void **state _unused_)
{
        assert_null(cost_class("dir:/mnt/disk", "DEEP_ARCHIVE"));
        assert_string_equal(cost_class("s3://bucket/x", "GLACIER"), "GLACIER");
        assert_string_equal(cost_class("s3://bucket/x", ""), "STANDARD");
        assert_string_equal(cost_class("glacier://vault", "DEEP_ARCHIVE"), "VAULT");
}

static void words_mark_what_is_not_checked(void **state _unused_)
{
        static const struct {
                struct cost_sum sum;
                const char *words;
        } cases[] = {
                {{0, true}, "nothing"},
                {{0.0049, false}, "under 0.01 USD"},
                {{0.0049, true}, "under 0.01 USD (unverified)"},
                {{12.345, false}, "12.35 USD"},
                {{7, true}, "7.00 USD (unverified)"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                cost_words(&b, &cases[i].sum);
                assert_string_equal(buf_str(&b), cases[i].words);
        }
        _cleanup_buf_ struct buf b = BUF_INIT;
        cost_time_words(&b,
                &(struct cost_offer){.soonest = 60 * CLOCK_NSEC, .latest = 5 * 3600 * CLOCK_NSEC});
        assert_string_equal(buf_str(&b), "1 min to 5 h");
        buf_reset(&b);
        cost_about(&b, &(struct cost_sum){.usd = 3});
        assert_string_equal(buf_str(&b), "about 3.00 USD");
}

static void a_broken_table_is_refused_in_words(void **state _unused_)
{
        static const char *const tables[] = {
                "",
                "[]",
                "{}",
                "{\"date\": \"2026\"}",
                "{\"date\": \"2026\", \"egress_gb\": 1, \"classes\": []}",
                "{\"date\": 2026, \"egress_gb\": 1, \"classes\": {}}",
                "{\"date\": \"2026\", \"classes\": {}}",
                "{\"date\": \"2026\", \"egress_gb\": -1, \"classes\": {}}",
                "{\"date\": \"2026\", \"egress_gb\": 1, \"classes\": {\"A\": {}}}",
                "{\"date\": \"2026\", \"egress_gb\": 1, \"classes\": {\"A\": 7}}",
                "{\"date\": \"2026\", \"egress_gb\": 1, \"classes\": {\"A\": "
                "{\"storage_gb_month\": "
                "\"x\"}}}",
                "{\"date\": \"2026\", \"egress_gb\": 1, \"classes\": {\"A\": "
                "{\"storage_gb_month\": "
                "1, \"tiers\": {\"bulk\": {\"gb\": 1}}}}}",
                "{\"date\": \"2026\", \"egress_gb\": 1, \"classes\": {\"A\": "
                "{\"storage_gb_month\": "
                "1, \"tiers\": {\"bulk\": {\"gb\": \"x\", \"hours\": [1, 2]}}}}}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
                struct cost_prices *p;
                struct err e = {0};
                assert_int_equal(
                        cost_parse(tables[i], strlen(tables[i]), "a table", &p, &e), -EINVAL);
                assert_non_null(strstr(e.text, "a table"));
        }
}

static void a_table_beside_the_configuration_replaces_the_built_in_one(void **state _unused_)
{
        static const char table[] = "{\"date\": \"2031-02-03\", \"egress_gb\": 0, \"classes\": "
                                    "{\"DEEP_ARCHIVE\": {\"storage_gb_month\": 2}}}";
        char dir[64];
        tree_setup(dir);
        _cleanup_free_ char *config = io_join(dir, "CONFIG.json");
        _cleanup_free_ char *path = io_join(dir, "prices.json");
        struct cost_prices *p;
        assert_int_equal(cost_load(config, &p, NULL), 0);
        assert_true(cost_knows(p, "STANDARD"));
        cost_free(p);
        assert_int_equal(io_write_file(AT_FDCWD, path, 0600, table, strlen(table), NULL), 0);
        assert_int_equal(cost_load(config, &p, NULL), 0);
        assert_string_equal(cost_date(p), "2031-02-03");
        assert_false(cost_knows(p, "STANDARD"));
        struct cost_sum s;
        assert_int_equal(cost_storage(p, "DEEP_ARCHIVE", 1, 3 * GB, &s), 0);
        near(s.usd, 6);
        cost_free(p);
        assert_int_equal(io_write_file(AT_FDCWD, path, 0600, "{", 1, NULL), 0);
        struct err e = {0};
        assert_int_equal(cost_load(config, &p, &e), -EINVAL);
        assert_non_null(strstr(e.text, path));
        tree_remove(dir);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(storage_is_price_and_overhead, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        requests_are_counted_by_the_thousand, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        early_deletion_costs_the_days_that_are_missing, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        getting_back_is_retrieval_requests_and_egress, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        a_tier_that_a_class_lacks_has_no_price, setup, teardown),
                cmocka_unit_test(the_class_follows_from_store_and_class),
                cmocka_unit_test(words_mark_what_is_not_checked),
                cmocka_unit_test(a_broken_table_is_refused_in_words),
                cmocka_unit_test(a_table_beside_the_configuration_replaces_the_built_in_one),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
