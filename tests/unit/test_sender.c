/* The sender by itself, against a store that outlives it: order, what is known already, what went
 * wrong. */
#include "sender.h"

#include "clock.h"
#include "spool.h"
#include "store.h"
#include "store_spooling.h"
#include "tree.h"

#include <openssl/evp.h>
#include <pthread.h>

#define PART (64u * KiB)

struct told {
        pthread_mutex_t lock;
        char token[128];
        unsigned begun, sent, confirmed, last_confirmed;
        bool in_order;
        struct err trouble; /* code 0: none since the last success */
        unsigned troubles;
};

static struct scene {
        char path[64];
        struct store *store;
        struct spool *spool;
        struct sender *sender;
        atomic_bool stop;
        struct told told;
} s;

static int begun(
        _unused_ void *ctx, _unused_ unsigned volume, const char *token, _unused_ struct err *e)
{
        pthread_mutex_lock(&s.told.lock);
        (void)snprintf(s.told.token, sizeof s.told.token, "%s", token);
        s.told.begun += *token != 0;
        pthread_mutex_unlock(&s.told.lock);
        return 0;
}

static int sent(_unused_ void *ctx, _unused_ unsigned volume, _unused_ unsigned part,
        _unused_ struct err *e)
{
        pthread_mutex_lock(&s.told.lock);
        s.told.sent++;
        pthread_mutex_unlock(&s.told.lock);
        return 0;
}

static int confirmed(_unused_ void *ctx, unsigned volume, _unused_ struct err *e)
{
        pthread_mutex_lock(&s.told.lock);
        s.told.in_order = s.told.in_order && volume == s.told.last_confirmed + 1;
        s.told.last_confirmed = volume;
        s.told.confirmed++;
        pthread_mutex_unlock(&s.told.lock);
        return 0;
}

static void trouble(_unused_ void *ctx, const struct err *why, _unused_ int64_t wait_ns)
{
        pthread_mutex_lock(&s.told.lock);
        s.told.trouble = why ? *why : (struct err){0};
        s.told.troubles += why != NULL;
        pthread_mutex_unlock(&s.told.lock);
}

static void start(void)
{
        struct err e = {0};
        const struct sender_params p = {.store = s.store,
                .spool = s.spool,
                .concurrency = 3,
                .part_size = PART,
                .max_size = 100 * PART,
                .archive_id = "A",
                .stop = &s.stop,
                .hooks = {
                        .begun = begun, .sent = sent, .confirmed = confirmed, .trouble = trouble}};
        assert_int_equal(sender_start(&p, &s.sender, &e), 0);
}

static int setup(_unused_ void **state)
{
        char folder[100];
        struct err e = {0};
        s = (struct scene){.told.in_order = true};
        pthread_mutex_init(&s.told.lock, NULL);
        tree_setup(s.path);
        tree_sh("mkdir -p $T/spool $T/remote/objects");
        (void)snprintf(folder, sizeof folder, "%s/remote", s.path);
        assert_int_equal(store_spooling_new("test", folder, &s.store, &e), 0);
        store_set_control(s.store, &(struct store_control){.stop = &s.stop});
        assert_int_equal(store_init(s.store, &e), 0);
        assert_int_equal(spool_open(s.path, "A", &s.spool, &e), 0);
        start();
        return 0;
}

static int teardown(_unused_ void **state)
{
        sender_free(s.sender);
        spool_close(s.spool);
        store_close(s.store);
        tree_remove(s.path);
        return 0;
}

static struct sender_part part_of(unsigned number, const uint8_t *data, uint32_t len)
{
        struct sender_part p = {.number = number, .len = len, .offset = (number - 1) * PART};
        assert_true(EVP_Digest(data, len, p.sha256, NULL, EVP_sha256(), NULL));
        return p;
}

/* A volume of n parts into the spool, announced as it grows. */
static void volume(unsigned number, unsigned n, const char *token, bool write)
{
        static uint8_t data[PART];
        static const uint8_t no_hash[32];
        char object[40];
        struct err e = {0};
        (void)snprintf(object, sizeof object, "archives/o/A-%04u", number);
        if (write)
                assert_int_equal(spool_begin(s.spool, number, &e), 0);
        assert_int_equal(sender_volume(s.sender, number, object, token, &e), 0);
        for (unsigned i = 1; i <= n; i++) {
                memset(data, (int)(number * 16 + i), sizeof data);
                uint32_t len = i == n ? 100 : PART;
                struct sender_part p = part_of(i, data, len);
                if (write)
                        assert_int_equal(spool_write(s.spool, number, data, len, p.offset, &e), 0);
                assert_int_equal(sender_part(s.sender, &p, &e), 0);
        }
        assert_int_equal(sender_packed(s.sender, (n - 1) * PART + 100, no_hash, &e), 0);
}

#define WITHIN_NS (120 * CLOCK_NSEC)

static int drain(void)
{
        int q = 0;
        struct err e = {0};
        for (int64_t end = clock_monotonic() + WITHIN_NS;
                q == 0 && sender_pending(s.sender) && clock_monotonic() < end;)
                q = sender_wait(s.sender, &e);
        return q;
}

static bool until(unsigned *what, unsigned least)
{
        for (int64_t end = clock_monotonic() + WITHIN_NS; clock_monotonic() < end;) {
                pthread_mutex_lock(&s.told.lock);
                bool there = *what >= least;
                pthread_mutex_unlock(&s.told.lock);
                if (there)
                        return true;
                (void)usleep(10000);
        }
        return false;
}

static void volumes_are_confirmed_in_order_and_leave_the_spool(_unused_ void **state)
{
        volume(1, 5, "", true);
        volume(2, 1, "", true);
        volume(3, 3, "", true);
        assert_int_equal(drain(), 0);
        assert_true(s.told.in_order);
        assert_int_equal(s.told.confirmed, 3);
        assert_int_equal(s.told.sent, 9);
        assert_int_equal(sender_sent(s.sender), 0);
        tree_sh("test -z \"$(ls $T/spool)\" && test $(stat -c %s "
                "$T/remote/objects/archives/o/A-0003) "
                "= 131172");
}

static void parts_out_of_order_are_refused(_unused_ void **state)
{
        struct err e = {0};
        struct sender_part p = part_of(2, (const uint8_t *)"x", 1);
        assert_int_equal(sender_part(s.sender, &p, &e), -EINVAL);
        assert_int_equal(sender_volume(s.sender, 1, "archives/o/A-0001", "", &e), 0);
        assert_int_equal(sender_part(s.sender, &p, &e), -EINVAL);
}

static void what_the_store_has_is_not_sent_again(_unused_ void **state)
{
        tree_sh("echo finish 11 > $T/remote/fail");
        volume(1, 5, "", true);
        assert_true(until(&s.told.troubles, 1));
        char token[128];
        memcpy(token, s.told.token, sizeof token);
        sender_free(s.sender);
        /* One part is gone there, one is another one. */
        tree_sh("cd $T/remote/uploads/*; rm 00002; echo other > 00004; rm $T/remote/fail "
                "$T/remote/log");
        start();
        volume(1, 5, token, false);
        assert_int_equal(drain(), 0);
        assert_int_equal(s.told.confirmed, 1);
        tree_sh("test \"$(grep ^part $T/remote/log | cut -d' ' -f3 | sort | tr '\\n' ' ')\" = '2 4 "
                "'");
}

static void an_object_that_was_finished_is_not_sent_again(_unused_ void **state)
{
        volume(1, 3, "", true);
        assert_int_equal(drain(), 0);
        char token[128];
        memcpy(token, s.told.token, sizeof token);
        sender_free(s.sender); /* as if it had died before it was told */
        tree_sh("rm $T/remote/log");
        s.told.last_confirmed = 0;
        start();
        volume(1, 3, token, true);
        assert_int_equal(drain(), 0);
        assert_int_equal(s.told.confirmed, 2);
        tree_sh("! grep -q ^part $T/remote/log");
}

static void an_object_of_another_size_is_replaced(_unused_ void **state)
{
        tree_sh("mkdir -p $T/remote/objects/archives/o; echo old > "
                "$T/remote/objects/archives/o/A-0001");
        volume(1, 3, "1.1", true); /* a token that the store does not know */
        assert_int_equal(drain(), 0);
        assert_int_equal(s.told.sent, 3);
        tree_sh("test $(stat -c %s $T/remote/objects/archives/o/A-0001) = 131172");
}

static int trouble_now(void)
{
        pthread_mutex_lock(&s.told.lock);
        int code = s.told.trouble.code;
        pthread_mutex_unlock(&s.told.lock);
        return code;
}

static void trouble_is_told_and_gone_when_it_is_over(_unused_ void **state)
{
        tree_sh("echo put_part 13 > $T/remote/fail");
        volume(1, 3, "", true);
        assert_true(until(&s.told.troubles, 2));
        assert_int_equal(trouble_now(), -EACCES);
        tree_sh("rm $T/remote/fail");
        assert_int_equal(drain(), 0);
        assert_int_equal(trouble_now(), 0);
}

static void an_upload_that_cannot_be_finished_yet_is_left_and_resumed(_unused_ void **state)
{
        tree_sh("echo finish 11 > $T/remote/fail");
        volume(1, 3, "", true);
        assert_true(until(&s.told.troubles, 2));
        tree_sh("rm $T/remote/fail");
        assert_int_equal(drain(), 0);
        assert_int_equal(s.told.confirmed, 1);
        tree_sh("test $(grep -c '^left' $T/remote/log) = $(grep -c '^failed finish' "
                "$T/remote/log) && grep -q ^resume $T/remote/log");
}

static void a_lost_volume_is_named(_unused_ void **state)
{
        tree_sh("echo begin 11 > $T/remote/fail");
        volume(1, 3, "", true);
        assert_true(until(&s.told.troubles, 1));
        tree_sh("rm $T/spool/A-0001.esdk $T/remote/fail");
        assert_int_equal(drain(), -EBADMSG);
        assert_int_equal(sender_damaged(s.sender), 1);
}

static void what_will_never_work_ends_it(_unused_ void **state)
{
        struct err e = {0};
        tree_sh("echo finish 22 > $T/remote/fail");
        volume(1, 3, "", true);
        assert_int_equal(drain(), -EINVAL);
        assert_int_equal(sender_volume(s.sender, 2, "archives/o/A-0002", "", &e), -EINVAL);
        assert_non_null(strstr(e.text, "the service is away"));
}

static void a_stop_is_soon_noticed(_unused_ void **state)
{
        struct err e = {0};
        tree_sh("echo put_part 11 > $T/remote/fail");
        volume(1, 3, "", true);
        assert_true(until(&s.told.troubles, 1));
        atomic_store(&s.stop, true);
        assert_int_equal(sender_wait(s.sender, &e), -ECANCELED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
                T(volumes_are_confirmed_in_order_and_leave_the_spool),
                T(parts_out_of_order_are_refused),
                T(what_the_store_has_is_not_sent_again),
                T(an_object_that_was_finished_is_not_sent_again),
                T(an_object_of_another_size_is_replaced),
                T(trouble_is_told_and_gone_when_it_is_over),
                T(an_upload_that_cannot_be_finished_yet_is_left_and_resumed),
                T(a_lost_volume_is_named),
                T(what_will_never_work_ends_it),
                T(a_stop_is_soon_noticed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
