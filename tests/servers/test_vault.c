/* A store in a Glacier vault, against the emulator (run by with_emulator). */
#include "buf.h"
#include "bytes.h"
#include "clock.h"
#include "config.h"
#include "err.h"
#include "io.h"
#include "store.h"
#include "store_glacier.h"
#include "store_retry.h"
#include "tree_hash.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#define NAME "archives/0a1b2c3d/20261122T212703Z-1f2e3d4c-0001.tar.xz.esdk"

static struct err err;
#define E (&err)

static void ok_at(int q, const char *file, int line)
{
        if (q < 0)
                print_error("%d: %s\n", q, err.text);
        _assert_true(q >= 0, "ok", file, line);
}
#define OK(call) ok_at((call), __FILE__, __LINE__)
#define FAILS(code, words, call)                                                                   \
        do {                                                                                       \
                err = (struct err){0};                                                             \
                int _q = (call);                                                                   \
                if (_q != (code) || !strstr(err.text, words))                                      \
                        fail_msg("%d, not %d: %s", _q, (code), err.text);                          \
        } while (0)

/* ---- a vault of its own for every test ---- */

struct setup {
        char dir[64], url[80];
        struct config *config;
        struct store *bare; /* without retries */
        struct store *s;
};

static void control(const char *what, const char *json)
{
        char command[600];
        (void)snprintf(command, sizeof command,
                "curl -sf -o /dev/null -d '%s' \"$AUTOGLACIER_TEST_ENDPOINT/_emulator/%s\"", json,
                what);
        assert_int_equal(system(command), 0);
}

/* A machine that knows nothing of the vault yet. */
static void move_in(struct setup *u)
{
        char text[400];
        (void)snprintf(u->dir, sizeof u->dir, "/tmp/ag-vault-XXXXXX");
        assert_non_null(mkdtemp(u->dir));
        assert_int_equal(setenv("AUTOGLACIER_HOME", u->dir, 1), 0);
        int n = snprintf(text, sizeof text, "{\"VAULT\": \"%s\", \"ENDPOINT_URL\": \"%s\"}", u->url,
                getenv("AUTOGLACIER_TEST_ENDPOINT"));
        OK(config_parse(text, (size_t)n, "test", &u->config, E));
        OK(io_mkdir_p(u->config->data, 0700, E));
        struct store *inner;
        OK(store_glacier_new(u->config, u->url, &u->bare, E));
        OK(store_glacier_new(u->config, u->url, &inner, E));
        OK(store_retry_new(&inner, 12, &u->s, E));
}

static void move_out(struct setup *u)
{
        store_close(u->s);
        store_close(u->bare);
        config_free(u->config);
        OK(io_remove_tree(AT_FDCWD, u->dir, E));
}

static int set_up(void **state)
{
        static unsigned n;
        struct setup *u = calloc(1, sizeof *u);
        (void)snprintf(u->url, sizeof u->url, "glacier://vault-%u", ++n);
        control("behaviour", "[]");
        control("advance", "null");
        control("settings", "{\"page\": 2, \"job_seconds\": 3600, \"inventory_every\": 0,"
                            " \"no_vaults\": false, \"stuck_pages\": false}");
        move_in(u);
        OK(store_init(u->s, E));
        *state = u;
        return 0;
}

static int tear_down(void **state)
{
        move_out(*state);
        free(*state);
        return 0;
}

/* ---- content ---- */

static uint8_t *content(size_t len)
{
        uint8_t *d = malloc(len);
        assert_non_null(d);
        for (size_t i = 0; i < len; i++)
                d[i] = (uint8_t)((i >> 20) * 37 + i * 7 + (i >> 9));
        return d;
}

static void hash(const void *data, size_t len, uint8_t ret[32])
{
        struct tree_hash *t = tree_hash_new();
        assert_non_null(t);
        OK(tree_hash_update(t, data, len));
        OK(tree_hash_final(t, ret));
        tree_hash_free(t);
}

static int put(struct store_upload *u, const uint8_t *d, size_t len, unsigned number)
{
        uint8_t tree[32], sha[32];
        size_t at = (size_t)(number - 1) * MiB, n = MIN(len - at, MiB);
        hash(d + at, n, tree);
        assert_true(EVP_Digest(d + at, n, sha, NULL, EVP_sha256(), NULL));
        const struct store_part p = {.number = number,
                .offset = at,
                .data = d + at,
                .len = n,
                .tree_hash = tree,
                .sha256 = sha};
        return store_put_part(u, &p, E);
}

static const struct store_new new_object = {
        .name = NAME, .max_size = 8 * MiB, .part_size = MiB, .description = "Fotos & mehr, 2026 ü"};

static void send_parts(struct store_upload *u, const uint8_t *d, size_t len)
{
        for (unsigned i = 1; (size_t)(i - 1) * MiB < len; i++)
                OK(put(u, d, len, i));
}

static void store_object(struct store *s, const uint8_t *d, size_t len)
{
        struct store_upload *u;
        uint8_t tree[32];
        hash(d, len, tree);
        OK(store_begin(s, &new_object, &u, E));
        send_parts(u, d, len);
        OK(store_finish(&u, len, tree, E));
}

static enum store_access access_of(struct store *s, const char *name)
{
        struct store_state st;
        OK(store_state(s, name, &st, E));
        return st.access;
}

static const struct store_thaw everything = {.tier = "bulk", .days = 1};

static void retrieve(struct store *s, const struct store_thaw *t)
{
        OK(store_thaw(s, NAME, t, E));
        control("advance", "3601");
        assert_int_equal(access_of(s, NAME), STORE_READY);
}

/* ---- the vault ---- */

static void missing_vault_is_named_with_the_remedy(void **state)
{
        struct setup *u = *state;
        struct store *s;
        OK(store_glacier_new(u->config, "glacier://not-there", &s, E));
        FAILS(-ENODEV, "autoglacier init", store_check(s, NULL, NULL, E));
        FAILS(-ENODEV, "autoglacier init", store_state(s, NAME, &(struct store_state){0}, E));
        store_close(s);
        FAILS(-EINVAL, "glacier://NAME", store_glacier_new(u->config, "glacier://a/b", &s, E));
}

static void another_vault_is_not_taken_for_ours(void **state)
{
        struct setup *u = *state;
        char id[33], again[33];
        OK(store_check(u->s, NULL, id, E));
        OK(store_init(u->s, E));
        OK(store_check(u->s, id, again, E));
        assert_string_equal(id, again);
        id[0] ^= 1;
        FAILS(-ENODEV, "another one", store_check(u->s, id, NULL, E));
}

static void account_without_vaults_is_sent_to_buckets(void **state)
{
        struct setup *u = *state;
        control("settings", "{\"no_vaults\": true}");
        FAILS(-EOPNOTSUPP, "s3://", store_init(u->s, E));
        FAILS(-EOPNOTSUPP, "s3://", store_check(u->s, NULL, NULL, E));
}

/* ---- sending ---- */

static void object_is_there_and_cold_once_stored(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(3 * MiB + 5), tree[32], byte;
        struct store_state st;
        store_object(u->s, d, 3 * MiB + 5);
        hash(d, 3 * MiB + 5, tree);
        OK(store_state(u->s, NAME, &st, E));
        assert_int_equal(st.access, STORE_COLD);
        assert_int_equal(st.size, 3 * MiB + 5);
        assert_int_equal(st.hashed, STORE_HASH_TREE);
        assert_memory_equal(st.hash, tree, sizeof tree);
        FAILS(-EREMOTE, NAME, store_get(u->s, NAME, &byte, 1, 0, E));
        struct store_upload *up;
        FAILS(-EEXIST, NAME, store_begin(u->s, &new_object, &up, E));
        FAILS(-ENOENT, "other", store_state(u->s, "other", &st, E));
        free(d);
}

static int count_had(void *ctx, const struct store_had *h, struct err *e _unused_)
{
        assert_int_equal(h->hashed, STORE_HASH_TREE);
        *(unsigned *)ctx = *(unsigned *)ctx * 10 + h->number;
        return 0;
}

static void parts_that_the_vault_has_are_told_page_by_page(void **state)
{
        struct setup *u = *state;
        size_t len = 7 * MiB;
        uint8_t *d = content(len), tree[32];
        struct store_upload *up;
        OK(store_begin(u->s, &new_object, &up, E));
        _cleanup_free_ char *token = strdup(store_token(up));
        for (unsigned i = 1; i <= 7; i++)
                if (i != 4 && i != 6)
                        OK(put(up, d, len, i));
        store_leave(up);
        unsigned had = 0;
        OK(store_resume(u->s, &new_object, token, count_had, &had, &up, E));
        assert_int_equal(had, 12357);
        OK(put(up, d, len, 4));
        OK(put(up, d, len, 6));
        hash(d, len, tree);
        OK(store_finish(&up, len, tree, E));
        assert_int_equal(access_of(u->s, NAME), STORE_COLD);
        free(d);
}

static void upload_that_expired_is_gone(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(MiB);
        struct store_upload *up;
        unsigned had = 0;
        OK(store_begin(u->s, &new_object, &up, E));
        _cleanup_free_ char *token = strdup(store_token(up));
        OK(put(up, d, MiB, 1));
        control("advance", "86401");
        FAILS(-ENOENT, "a day", put(up, d, MiB, 1));
        store_leave(up);
        FAILS(-ENOENT, NAME, store_resume(u->s, &new_object, token, count_had, &had, &up, E));
        FAILS(-ENOENT, NAME, store_state(u->s, NAME, &(struct store_state){0}, E));
        free(d);
}

static unsigned archives_in_vault(struct setup *u)
{
        char command[400];
        (void)snprintf(command, sizeof command,
                "exit $(/usr/bin/python3 -c \"import sqlite3, json; print(sum("
                "'deleted' not in json.loads(b) for b, in sqlite3.connect("
                "'$AUTOGLACIER_TEST_EMULATOR/state.db').execute("
                "'SELECT body FROM doc WHERE kind=\\\"archive\\\" AND parent=\\\"%s\\\"')))\")",
                u->url + strlen("glacier://"));
        int q = system(command);
        assert_true(WIFEXITED(q));
        return (unsigned)WEXITSTATUS(q);
}

static void lost_answer_to_the_finish_costs_no_second_archive(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(2 * MiB);
        control("behaviour", "[{\"op\": \"CompleteMultipartUpload\", \"kind\": \"cut-after\","
                             " \"count\": 2}]");
        store_object(u->s, d, 2 * MiB);
        assert_int_equal(archives_in_vault(u), 1);
        free(d);
}

static void finish_whose_answer_was_never_seen_is_found_at_the_resume(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(2 * MiB), tree[32];
        struct store_upload *up;
        unsigned had = 0;
        hash(d, 2 * MiB, tree);
        OK(store_begin(u->bare, &new_object, &up, E));
        _cleanup_free_ char *token = strdup(store_token(up));
        send_parts(up, d, 2 * MiB);
        control("behaviour", "[{\"op\": \"CompleteMultipartUpload\", \"kind\": \"500\","
                             " \"after\": true, \"count\": 1}]");
        FAILS(-EAGAIN, NAME, store_finish(&up, 2 * MiB, tree, E));
        store_leave(up);
        FAILS(-ENOENT, NAME, store_state(u->s, NAME, &(struct store_state){0}, E));
        FAILS(-ENOENT, "", store_resume(u->s, &new_object, token, count_had, &had, &up, E));
        assert_int_equal(access_of(u->s, NAME), STORE_COLD);
        assert_int_equal(archives_in_vault(u), 1);
        free(d);
}

static bool keep_named(void *ctx, const char *name, const char *token)
{
        assert_string_equal(name, NAME);
        return streq(token, ctx);
}

static void sweep_takes_back_what_nobody_wants(void **state)
{
        struct setup *u = *state;
        struct store_upload *wanted, *lost, *other;
        struct store_new n = new_object;
        uint8_t *d = content(MiB);
        OK(store_begin(u->s, &n, &wanted, E));
        OK(store_begin(u->s, &n, &lost, E));
        n.name = "archives/ffffffff/of-another-machine";
        OK(store_begin(u->s, &n, &other, E));
        _cleanup_free_ char *token = strdup(store_token(wanted));
        OK(store_sweep(u->s, "archives/0a1b2c3d/", keep_named, token, E));
        OK(put(wanted, d, MiB, 1));
        OK(put(other, d, MiB, 1));
        FAILS(-ENOENT, NAME, put(lost, d, MiB, 1));
        store_leave(lost);
        store_abort(wanted);
        store_abort(other);
        free(d);
}

static void list_without_an_end_is_refused(void **state)
{
        struct setup *u = *state;
        struct store_upload *up[3];
        uint8_t *d = content(3 * MiB);
        for (unsigned i = 0; i < 3; i++)
                OK(store_begin(u->s, &new_object, &up[i], E));
        _cleanup_free_ char *token = strdup(store_token(up[0]));
        for (unsigned i = 1; i <= 3; i++)
                OK(put(up[0], d, 3 * MiB, i));
        control("settings", "{\"stuck_pages\": true}");
        FAILS(-EPROTO, "again and again",
                store_sweep(u->s, "archives/0a1b2c3d/", keep_named, token, E));
        unsigned had = 0;
        struct store_upload *again;
        FAILS(-EPROTO, "again and again",
                store_resume(u->s, &new_object, token, count_had, &had, &again, E));
        control("settings", "{\"stuck_pages\": false}");
        for (unsigned i = 0; i < 3; i++)
                store_abort(up[i]);
        free(d);
}

static void faults_on_the_way_are_got_over(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(6 * MiB), *back = malloc(6 * MiB);
        control("behaviour", "[{\"p\": 0.3, \"seconds\": 0.1}]");
        store_object(u->s, d, 6 * MiB);
        OK(store_thaw(u->s, NAME, &everything, E));
        control("advance", "3601");
        assert_int_equal(access_of(u->s, NAME), STORE_READY);
        OK(store_get(u->s, NAME, back, 6 * MiB, 0, E));
        assert_memory_equal(back, d, 6 * MiB);
        assert_int_equal(archives_in_vault(u), 1);
        free(d);
        free(back);
}

/* ---- retrieving ---- */

static void object_is_read_once_its_retrieval_is_done(void **state)
{
        struct setup *u = *state;
        size_t len = 11 * MiB + 77;
        uint8_t *d = content(len), *back = malloc(len);
        struct store_state st;
        store_object(u->s, d, len);
        OK(store_thaw(u->s, NAME, &everything, E));
        assert_int_equal(access_of(u->s, NAME), STORE_THAWING);
        OK(store_thaw(u->s, NAME, &everything, E));
        FAILS(-EREMOTE, NAME, store_get(u->s, NAME, back, 1, 0, E));
        control("advance", "3601");
        OK(store_get(u->s, NAME, back, 1, 0, E)); /* without asking for the state first */
        OK(store_state(u->s, NAME, &st, E));
        assert_int_equal(st.access, STORE_READY);
        assert_true(st.ready_until > clock_now());
        static const size_t ranges[][2] = {{0, 11 * MiB + 77}, {5, 3}, {MiB - 1, 2}, {3 * MiB, MiB},
                {7 * MiB + 1, 4 * MiB + 76}, {11 * MiB, 77}, {4, 0}};
        for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
                memset(back, 0, len);
                OK(store_get(u->s, NAME, back, ranges[i][1], ranges[i][0], E));
                assert_memory_equal(back, d + ranges[i][0], ranges[i][1]);
        }
        FAILS(-EPROTO, "ends", store_get(u->s, NAME, back, 2, len - 1, E));
        free(d);
        free(back);
}

static void part_of_an_object_is_retrieved_alone(void **state)
{
        struct setup *u = *state;
        size_t len = 6 * MiB + 9;
        uint8_t *d = content(len), *back = malloc(len);
        store_object(u->s, d, len);
        retrieve(u->s, &(struct store_thaw){.tier = "standard", .offset = 3 * MiB + 5, .len = MiB});
        OK(store_get(u->s, NAME, back, 2 * MiB, 3 * MiB, E));
        assert_memory_equal(back, d + 3 * MiB, 2 * MiB);
        FAILS(-EREMOTE, NAME, store_get(u->s, NAME, back, 1, 0, E));
        FAILS(-EREMOTE, NAME, store_get(u->s, NAME, back, 1, 6 * MiB, E));
        FAILS(-EINVAL, "ends", store_thaw(u->s, NAME, &(struct store_thaw){.offset = len}, E));
        free(d);
        free(back);
}

static void ranges_of_an_object_are_ready_when_all_are(void **state)
{
        struct setup *u = *state;
        size_t len = 6 * MiB;
        uint8_t *d = content(len), back[10];
        const struct store_thaw head = {.tier = "bulk", .len = MiB},
                                tail = {.tier = "bulk", .offset = 5 * MiB};
        store_object(u->s, d, len);
        retrieve(u->s, &head);
        OK(store_thaw(u->s, NAME, &tail, E));
        assert_int_equal(access_of(u->s, NAME), STORE_THAWING);
        OK(store_get(u->s, NAME, back, sizeof back, 0, E));
        FAILS(-EREMOTE, NAME, store_get(u->s, NAME, back, sizeof back, 5 * MiB, E));
        control("advance", "3601");
        assert_int_equal(access_of(u->s, NAME), STORE_READY);
        OK(store_get(u->s, NAME, back, sizeof back, 5 * MiB, E));
        assert_memory_equal(back, d + 5 * MiB, sizeof back);
        free(d);
}

static void pieces_are_read_as_one(void **state)
{
        struct setup *u = *state;
        size_t len = 6 * MiB;
        uint8_t *d = content(len), *back = malloc(len);
        static const struct store_thaw pieces[] = {
                {.tier = "bulk", .offset = MiB, .len = MiB},
                {.tier = "bulk", .offset = 2 * MiB, .len = 2 * MiB},
                {.tier = "bulk", .offset = 4 * MiB},
        };
        store_object(u->s, d, len);
        for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
                OK(store_thaw(u->s, NAME, &pieces[i], E));
        control("advance", "3601");
        OK(store_get(u->s, NAME, back, len - MiB - 7, MiB + 5, E));
        assert_memory_equal(back, d + MiB + 5, len - MiB - 7);
        FAILS(-EREMOTE, NAME, store_get(u->s, NAME, back, 10, MiB - 5, E));
        free(d);
        free(back);
}

static void output_that_expired_is_asked_for_anew(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(MiB), byte;
        store_object(u->s, d, MiB);
        retrieve(u->s, &everything);
        control("advance", "90000");
        FAILS(-EREMOTE, "anew", store_get(u->s, NAME, &byte, 1, 0, E));
        assert_int_equal(access_of(u->s, NAME), STORE_COLD);
        retrieve(u->s, &everything);
        OK(store_get(u->s, NAME, &byte, 1, 0, E));
        free(d);
}

static unsigned requests_of(const char *operation)
{
        char command[300];
        (void)snprintf(command, sizeof command,
                "exit $(grep -c '\"operation\": \"%s\".*\"status\": 2' "
                "\"$AUTOGLACIER_TEST_EMULATOR/requests.jsonl\")",
                operation);
        int q = system(command);
        assert_true(WIFEXITED(q));
        return (unsigned)WEXITSTATUS(q);
}

static void retrieval_whose_answer_was_lost_is_not_paid_twice(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(MiB);
        store_object(u->s, d, MiB);
        control("behaviour", "[{\"op\": \"InitiateJob\", \"kind\": \"cut-after\", \"count\": 1}]");
        unsigned before = requests_of("InitiateJob");
        OK(store_thaw(u->s, NAME, &everything, E));
        assert_int_equal(requests_of("InitiateJob"), before + 1);
        assert_int_equal(access_of(u->s, NAME), STORE_THAWING);
        free(d);
}

/* A program of its own that asks when the pipe says so. */
static pid_t asker(const struct setup *u, const int go[2])
{
        (void)fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child > 0)
                return child;
        struct store *s = NULL;
        char byte;
        (void)close(go[1]);
        if (store_glacier_new(u->config, u->url, &s, E) < 0 || store_check(s, NULL, NULL, E) < 0 ||
                read(go[0], &byte, 1) != 0)
                _exit(2);
        _exit(store_thaw(s, NAME, &everything, E) == 0 ? 0 : 1);
}

static void programs_that_ask_in_the_same_second_pay_once(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(MiB);
        pid_t children[6];
        int go[2];
        store_object(u->s, d, MiB);
        unsigned before = requests_of("InitiateJob");
        control("behaviour", "[{\"op\": \"InitiateJob\", \"kind\": \"slow\", \"seconds\": 1}]");
        assert_int_equal(pipe2(go, O_CLOEXEC), 0);
        for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
                children[i] = asker(u, go);
                assert_true(children[i] > 0);
        }
        (void)sleep(1); /* they are all there; if not, the test proves less */
        (void)close(go[1]);
        for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
                int status;
                assert_int_equal(waitpid(children[i], &status, 0), children[i]);
                assert_int_equal(status, 0);
        }
        assert_int_equal(requests_of("InitiateJob"), before + 1);
        (void)close(go[0]);
        free(d);
}

static void damaged_output_is_fetched_again(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(2 * MiB), *back = malloc(2 * MiB);
        store_object(u->s, d, 2 * MiB);
        retrieve(u->s, &everything);
        control("behaviour", "[{\"op\": \"GetJobOutput\", \"kind\": \"corrupt\", \"count\": 1}]");
        FAILS(-EAGAIN, "damaged", store_get(u->bare, NAME, back, 2 * MiB, 0, E));
        control("behaviour", "[{\"op\": \"GetJobOutput\", \"kind\": \"corrupt\", \"count\": 2}]");
        OK(store_get(u->s, NAME, back, 2 * MiB, 0, E));
        assert_memory_equal(back, d, 2 * MiB);
        free(d);
        free(back);
}

static void refusals_say_what_to_do(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(MiB);
        store_object(u->s, d, MiB);
        static const struct {
                const char *kind;
                int code;
                const char *words;
        } cases[] = {
                {"policy", -EDQUOT, "retrieval policy"},
                {"limit", -EDQUOT, "quota"},
                {"capacity", -EAGAIN, "standard"},
                {"denied", -EACCES, "glacier:InitiateJob"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char rule[80];
                (void)snprintf(rule, sizeof rule, "[{\"op\": \"InitiateJob\", \"kind\": \"%s\"}]",
                        cases[i].kind);
                control("behaviour", rule);
                FAILS(cases[i].code, cases[i].words, store_thaw(u->bare, NAME, &everything, E));
        }
        free(d);
}

/* ---- the inventory ---- */

static int add_name(
        void *ctx, const char *name, const struct store_state *st, struct err *e _unused_)
{
        assert_true(st->size > 0);
        buf_addf(ctx, "%s ", name);
        return 0;
}

static void expect_names(struct store *s, const char *prefix, const char *names)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(store_list(s, prefix, add_name, &b, E));
        assert_string_equal(buf_str(&b), names);
}

static void take_inventory(struct store *s)
{
        OK(store_thaw(s, "", &everything, E));
        assert_int_equal(access_of(s, ""), STORE_THAWING);
        control("advance", "3601");
        assert_int_equal(access_of(s, ""), STORE_READY);
}

static void new_machine_learns_names_from_the_inventory(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(2 * MiB), tree[32];
        struct store_state st;
        store_object(u->s, d, 2 * MiB);
        expect_names(u->s, "archives/", NAME " ");
        move_out(u);
        move_in(u);
        FAILS(-EREMOTE, "inventory", store_list(u->s, "", add_name, NULL, E));
        FAILS(-EREMOTE, "inventory", store_state(u->s, NAME, &st, E));
        FAILS(-EREMOTE, "inventory", store_remove(u->s, NAME, E));
        assert_int_equal(access_of(u->s, ""), STORE_COLD);
        take_inventory(u->s);
        expect_names(u->s, "archives/", NAME " ");
        expect_names(u->s, "manifests/", "");
        hash(d, 2 * MiB, tree);
        OK(store_state(u->s, NAME, &st, E));
        assert_memory_equal(st.hash, tree, sizeof tree);
        OK(store_state(u->s, "", &st, E));
        assert_true(st.modified > 0);
        retrieve(u->s, &everything);
        free(d);
}

static void machine_that_comes_later_knows_what_it_made_itself(void **state)
{
        struct setup *u = *state, other = {0};
        uint8_t *d = content(MiB);
        struct store_upload *up;
        struct store_new n = new_object;
        n.name = "archives/ffffffff/mine";
        store_object(u->s, d, MiB);
        memcpy(other.url, u->url, sizeof other.url);
        move_in(&other);
        OK(store_begin(other.s, &n, &up, E));
        store_abort(up);
        FAILS(-ENOENT, n.name, store_state(other.s, n.name, &(struct store_state){0}, E));
        OK(store_remove(other.s, n.name, E));
        FAILS(-EREMOTE, "inventory", store_remove(other.s, NAME, E));
        move_out(&other);
        free(d);
}

static void what_was_removed_is_not_brought_back_by_an_old_inventory(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(MiB);
        control("settings", "{\"inventory_every\": 80000}");
        store_object(u->s, d, MiB);
        control("advance", "80001");
        OK(store_remove(u->s, NAME, E));
        take_inventory(u->s);
        expect_names(u->s, "", "");
        free(d);
}

static void empty_vault_needs_no_inventory(void **state)
{
        struct setup *u = *state;
        expect_names(u->s, "", "");
}

static void inventory_that_lags_forgets_nothing_new(void **state)
{
        struct setup *u = *state;
        uint8_t *d = content(MiB);
        control("settings", "{\"inventory_every\": 80000}");
        FAILS(-EAGAIN, "no inventory yet", store_thaw(u->bare, "", &everything, E));
        control("advance", "80001");
        store_object(u->s, d, MiB);
        take_inventory(u->s);
        expect_names(u->s, "", NAME " ");
        free(d);
}

static void what_others_deleted_is_forgotten_with_the_inventory(void **state)
{
        struct setup *u = *state, other = {0};
        uint8_t *d = content(MiB);
        store_object(u->s, d, MiB);
        memcpy(other.url, u->url, sizeof other.url);
        move_in(&other);
        take_inventory(other.s);
        OK(store_remove(other.s, NAME, E));
        OK(store_remove(other.s, NAME, E));
        expect_names(other.s, "", "");
        move_out(&other);
        take_inventory(u->s);
        expect_names(u->s, "", NAME " "); /* it could be that the inventory is from before */
        control("advance", "180000");
        take_inventory(u->s);
        expect_names(u->s, "", "");
        FAILS(-ENOENT, "inventory of", store_state(u->s, NAME, &(struct store_state){0}, E));
        free(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
        if (!getenv("AUTOGLACIER_TEST_ENDPOINT")) {
                (void)fprintf(stderr, "run this with tests/servers/with_emulator\n");
                return 2;
        }
        const struct CMUnitTest tests[] = {
                TEST(missing_vault_is_named_with_the_remedy),
                TEST(another_vault_is_not_taken_for_ours),
                TEST(account_without_vaults_is_sent_to_buckets),
                TEST(object_is_there_and_cold_once_stored),
                TEST(parts_that_the_vault_has_are_told_page_by_page),
                TEST(upload_that_expired_is_gone),
                TEST(lost_answer_to_the_finish_costs_no_second_archive),
                TEST(finish_whose_answer_was_never_seen_is_found_at_the_resume),
                TEST(sweep_takes_back_what_nobody_wants),
                TEST(list_without_an_end_is_refused),
                TEST(faults_on_the_way_are_got_over),
                TEST(object_is_read_once_its_retrieval_is_done),
                TEST(part_of_an_object_is_retrieved_alone),
                TEST(ranges_of_an_object_are_ready_when_all_are),
                TEST(pieces_are_read_as_one),
                TEST(output_that_expired_is_asked_for_anew),
                TEST(retrieval_whose_answer_was_lost_is_not_paid_twice),
                TEST(programs_that_ask_in_the_same_second_pay_once),
                TEST(damaged_output_is_fetched_again),
                TEST(refusals_say_what_to_do),
                TEST(new_machine_learns_names_from_the_inventory),
                TEST(machine_that_comes_later_knows_what_it_made_itself),
                TEST(what_was_removed_is_not_brought_back_by_an_old_inventory),
                TEST(empty_vault_needs_no_inventory),
                TEST(inventory_that_lags_forgets_nothing_new),
                TEST(what_others_deleted_is_forgotten_with_the_inventory),
        };
        return cmocka_run_group_tests_name("vault", tests, NULL, NULL);
}
