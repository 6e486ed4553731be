/* The agent: what is asked at one end is answered at the other, and nonsense and strangers are not.
 */
#include <setjmp.h>
#include <stdarg.h>

#include "agent_internal.h"
#include "bytes.h"
#include "io.h"
#include "keys.h"
#include "secret.h"

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define FINGERPRINT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char folder[] = "/tmp/agent-test-XXXXXX";

/* What the functions that the agent calls saw, and what they shall say. */
struct served {
        pthread_mutex_t lock;
        char passphrase[64];
        int64_t seconds;
        char fingerprint[80];
        size_t wrapped_len;
        unsigned unlocked, locked;
        int fails; /* 0 or a negative errno value */
        atomic_uint expired;
        struct agent *agent;
};

static int unlock(void *ctx, const struct secret *passphrase, int64_t seconds, struct err *e)
{
        struct served *s = ctx;
        pthread_mutex_lock(&s->lock);
        s->unlocked++;
        s->seconds = seconds;
        (void)snprintf(s->passphrase, sizeof s->passphrase, "%s", (const char *)passphrase->data);
        int q = s->fails ? err_set(e, s->fails, "words of the server") : 0;
        pthread_mutex_unlock(&s->lock);
        return q;
}

static void lock(void *ctx)
{
        struct served *s = ctx;
        pthread_mutex_lock(&s->lock);
        s->locked++;
        pthread_mutex_unlock(&s->lock);
}

static int unwrap(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
        uint8_t ret[32], struct err *e)
{
        struct served *s = ctx;
        pthread_mutex_lock(&s->lock);
        (void)snprintf(s->fingerprint, sizeof s->fingerprint, "%s", fingerprint);
        s->wrapped_len = len;
        int q = s->fails ? err_set(e, s->fails, "words of the server") : 0;
        for (size_t i = 0; q == 0 && i < 32; i++)
                ret[i] = (uint8_t)(wrapped[i % len] + i);
        pthread_mutex_unlock(&s->lock);
        return q;
}

static int expire(void *ctx)
{
        struct served *s = ctx;
        atomic_fetch_add(&s->expired, 1);
        return 10;
}

static void serve(struct served *s, const char *data)
{
        *s = (struct served){0};
        pthread_mutex_init(&s->lock, NULL);
        const struct agent_ops ops = {
                .unlock = unlock, .lock = lock, .unwrap = unwrap, .expire = expire, .ctx = s};
        assert_int_equal(agent_start(data, &ops, &s->agent, NULL), 0);
}

static void stop(struct served *s)
{
        agent_stop(s->agent);
        pthread_mutex_destroy(&s->lock);
}

static struct secret *secret_of(const char *text)
{
        struct secret *s;
        assert_int_equal(secret_copy(text, strlen(text), &s), 0);
        return s;
}

/* ---- what is asked is answered ---- */

static void a_passphrase_arrives_whole_with_its_time(_unused_ void **state)
{
        struct served s;
        serve(&s, folder);
        struct secret *p = secret_of("correct horse");
        assert_int_equal(agent_unlock(folder, p, 900, NULL), 0);
        secret_free(p);
        assert_string_equal(s.passphrase, "correct horse");
        assert_int_equal(s.seconds, 900);
        assert_int_equal(agent_lock(folder, NULL), 0);
        assert_int_equal(s.locked, 1);
        stop(&s);
}

static void a_data_key_comes_back(_unused_ void **state)
{
        struct served s;
        uint8_t wrapped[KEYS_WRAPPED_MAX], key[32];
        memset(wrapped, 7, sizeof wrapped);
        serve(&s, folder);
        for (size_t len = 1; len <= sizeof wrapped; len += 341) {
                assert_int_equal(agent_unwrap(folder, FINGERPRINT, wrapped, len, key, NULL), 0);
                assert_int_equal(s.wrapped_len, len);
                assert_int_equal(key[31], 7 + 31);
        }
        assert_string_equal(s.fingerprint, FINGERPRINT);
        stop(&s);
}

static void an_error_comes_back_with_its_words(_unused_ void **state)
{
        struct served s;
        struct err e = {0};
        uint8_t wrapped[256] = {0}, key[32] = {0x55};
        serve(&s, folder);
        s.fails = -ENOKEY;
        assert_int_equal(agent_unwrap(folder, FINGERPRINT, wrapped, 256, key, &e), -ENOKEY);
        assert_string_equal(e.text, "words of the server");
        assert_int_equal(key[0], 0x55);
        stop(&s);
}

static void what_is_too_long_is_refused_before_it_is_sent(_unused_ void **state)
{
        struct served s;
        uint8_t wrapped[KEYS_WRAPPED_MAX + 1] = {0}, key[32];
        serve(&s, folder);
        assert_int_equal(
                agent_unwrap(folder, FINGERPRINT, wrapped, sizeof wrapped, key, NULL), -EINVAL);
        assert_int_equal(agent_unwrap(folder, "short", wrapped, 256, key, NULL), -EINVAL);
        struct secret *p;
        assert_int_equal(secret_new(AGENT_MESSAGE_MAX, &p), 0);
        assert_int_equal(agent_unlock(folder, p, 0, NULL), -EINVAL);
        secret_free(p);
        assert_int_equal(s.unlocked, 0);
        stop(&s);
}

static void a_very_long_data_folder_will_do(_unused_ void **state)
{
        char path[400], name[160];
        struct served s;
        memset(name, 'x', sizeof name - 1);
        name[sizeof name - 1] = 0;
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        assert_int_equal(mkdir(path, 0700), 0);
        serve(&s, path);
        assert_int_equal(agent_lock(path, NULL), 0);
        stop(&s);
}

static void time_passes_without_requests(_unused_ void **state)
{
        struct served s;
        serve(&s, folder);
        while (atomic_load(&s.expired) < 3)
                (void)usleep(1000);
        stop(&s);
}

/* ---- nobody there ---- */

static void without_a_server_there_is_nobody(_unused_ void **state)
{
        struct err e = {0};
        assert_int_equal(agent_lock(folder, &e), -ENOENT);
        assert_non_null(strstr(e.text, "autoglacier mount"));
        assert_int_equal(agent_lock("/tmp/agent-test-not-there", NULL), -ENOENT);
}

static void a_socket_left_by_a_killed_program_answers_nobody_and_is_replaced(_unused_ void **state)
{
        pid_t pid = fork();
        if (pid == 0) {
                struct served s;
                serve(&s, folder);
                _exit(0); /* without agent_stop() */
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(agent_lock(folder, NULL), -ENOENT);
        struct served s;
        serve(&s, folder);
        assert_int_equal(agent_lock(folder, NULL), 0);
        stop(&s);
        assert_int_equal(agent_lock(folder, NULL), -ENOENT);
        char path[128];
        (void)snprintf(path, sizeof path, "%s/agent.sock", folder);
        assert_int_equal(access(path, F_OK), -1);
}

/* ---- nonsense and strangers ---- */

static int dial(void)
{
        struct sockaddr_un at;
        _cleanup_close_ int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(agent_address(dir, &at), 0);
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
        return fd;
}

/* The errno value that comes back for these bytes; -1 for a hang-up. */
static int answer_to(const void *message, size_t len)
{
        _cleanup_close_ int fd = dial();
        uint8_t answer[2048];
        assert_int_equal(send(fd, message, len, MSG_NOSIGNAL), (ssize_t)len);
        ssize_t n = recv(fd, answer, sizeof answer, 0);
        if (n <= 0)
                return -1;
        struct bytes b = bytes_of(answer, (size_t)n);
        return (int)bytes_u32(&b);
}

static void nonsense_is_refused_and_the_server_lives(_unused_ void **state)
{
        struct served s;
        uint8_t m[AGENT_MESSAGE_MAX + 100] = {AGENT_VERSION};
        serve(&s, folder);
        assert_int_equal(answer_to("\2\1xxxxxxxxpass", 14), EPROTONOSUPPORT);
        assert_int_equal(answer_to("\1", 1), EPROTONOSUPPORT);
        assert_int_equal(answer_to("\1\0", 2), EPROTO);
        assert_int_equal(answer_to("\1\77", 2), EPROTO);
        assert_int_equal(answer_to("\1\1", 2), EPROTO);                     /* no time */
        assert_int_equal(answer_to("\1\1\0\0\0\0\0\0\0\1", 10), EPROTO);    /* no passphrase */
        assert_int_equal(answer_to("\1\1\377\0\0\0\0\0\0\1p", 11), EPROTO); /* below zero */
        m[1] = AGENT_UNWRAP;
        assert_int_equal(answer_to(m, 2), EPROTO);
        assert_int_equal(answer_to(m, 2 + 64), EPROTO);                        /* no wrapped key */
        assert_int_equal(answer_to(m, 2 + 64 + KEYS_WRAPPED_MAX + 1), EPROTO); /* too long a one */
        assert_int_equal(answer_to(m, sizeof m), EPROTO); /* cut by the kernel */
        assert_int_equal(s.unlocked, 0);
        assert_int_equal(agent_lock(folder, NULL), 0);
        stop(&s);
}

static void who_hangs_up_without_a_word_is_forgotten(_unused_ void **state)
{
        struct served s;
        serve(&s, folder);
        for (int i = 0; i < 5; i++)
                (void)close(dial());
        assert_int_equal(agent_lock(folder, NULL), 0);
        stop(&s);
}

static void a_program_of_another_user_gets_nothing(_unused_ void **state)
{
        if (geteuid() != 0) {
                print_message("needs root to become another user\n");
                skip();
        }
        struct served s;
        char path[128];
        serve(&s, folder);
        (void)snprintf(path, sizeof path, "%s/agent.sock", folder);
        assert_int_equal(chmod(folder, 0755), 0); /* so that only the check of the user is left */
        assert_int_equal(chmod(path, 0666), 0);
        pid_t pid = fork();
        if (pid == 0) {
                uint8_t answer[64];
                struct sockaddr_un at;
                int dir = open(folder, O_PATH | O_DIRECTORY);
                int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
                bool ok = setresuid(65534, 65534, 65534) == 0 && agent_address(dir, &at) == 0 &&
                          connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
                (void)send(fd, "\1\2", 2, MSG_NOSIGNAL); /* it may have hung up already */
                _exit(ok ? recv(fd, answer, sizeof answer, 0) > 0 : 2);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(chmod(folder, 0700), 0);
        assert_int_equal(s.locked, 0);
        stop(&s);
}

/* ---- many at once ---- */

static void *ask_often(void *arg)
{
        uint8_t wrapped[256], key[32];
        uint8_t mine = *(uint8_t *)arg;
        memset(wrapped, mine, sizeof wrapped);
        for (int i = 0; i < 50; i++) {
                struct secret *p = secret_of("pass");
                if (agent_unwrap(folder, FINGERPRINT, wrapped, sizeof wrapped, key, NULL) < 0 ||
                        key[1] != (uint8_t)(mine + 1) || agent_unlock(folder, p, i, NULL) < 0)
                        return secret_free(p), arg;
                secret_free(p);
        }
        return NULL;
}

static void many_programs_at_once_each_get_their_own_answer(_unused_ void **state)
{
        struct served s;
        pthread_t threads[6];
        uint8_t numbers[6];
        serve(&s, folder);
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
                numbers[i] = (uint8_t)(10 * i);
                assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &numbers[i]), 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
                void *bad;
                assert_int_equal(pthread_join(threads[i], &bad), 0);
                assert_null(bad);
        }
        assert_int_equal(s.unlocked, 300);
        stop(&s);
}

static int setup(_unused_ void **state)
{
        return mkdtemp(folder) ? 0 : -1;
}

static int teardown(_unused_ void **state)
{
        return io_remove_tree(AT_FDCWD, folder, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_passphrase_arrives_whole_with_its_time),
                cmocka_unit_test(a_data_key_comes_back),
                cmocka_unit_test(an_error_comes_back_with_its_words),
                cmocka_unit_test(what_is_too_long_is_refused_before_it_is_sent),
                cmocka_unit_test(a_very_long_data_folder_will_do),
                cmocka_unit_test(time_passes_without_requests),
                cmocka_unit_test(without_a_server_there_is_nobody),
                cmocka_unit_test(a_socket_left_by_a_killed_program_answers_nobody_and_is_replaced),
                cmocka_unit_test(nonsense_is_refused_and_the_server_lives),
                cmocka_unit_test(who_hangs_up_without_a_word_is_forgotten),
                cmocka_unit_test(a_program_of_another_user_gets_nothing),
                cmocka_unit_test(many_programs_at_once_each_get_their_own_answer),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
