/* Our signatures against botocore's, case by case: sigv4.txt (make_sigv4.py). */
#include <setjmp.h>
#include <stdarg.h>

#include "base.h"
#include "buf.h"
#include "sigv4.h"

#include <cmocka.h>

#define PAIRS 16
#define TIME  1795382823 /* 2026-11-22T21:27:03Z */

struct example {
        char *name, *method, *host, *path, *payload, *region, *service, *token, *authorization;
        struct sigv4_pair query[PAIRS], headers[PAIRS];
        size_t n_query, n_headers;
};

static void plain(char *s)
{
        char *out = s;
        for (; *s; s++, out++) {
                unsigned byte = 0;
                if (*s == '%' && sscanf(s + 1, "%2x", &byte) == 1) {
                        *out = (char)byte;
                        s += 2;
                } else {
                        *out = *s;
                }
        }
        *out = 0;
}

static char *own(const char *s)
{
        char *copy = strdup(s);
        plain(copy);
        return copy;
}

static void add_pair(struct sigv4_pair *pairs, size_t *n, char *value)
{
        char *space = strchr(value, ' ');
        assert_non_null(space);
        assert_true(*n < PAIRS);
        *space = 0;
        pairs[*n] = (struct sigv4_pair){own(value), own(space + 1)};
        ++*n;
}

static void set_field(struct example *x, char *line)
{
        char *value = strchr(line, ' ');
        assert_non_null(value);
        *value++ = 0;
        const struct {
                const char *name;
                char **slot;
        } fields[] = {{"name", &x->name}, {"method", &x->method}, {"host", &x->host},
                {"path", &x->path}, {"payload", &x->payload}, {"region", &x->region},
                {"service", &x->service}, {"token", &x->token},
                {"authorization", &x->authorization}};
        if (streq(line, "query")) {
                add_pair(x->query, &x->n_query, value);
                return;
        }
        if (streq(line, "header")) {
                add_pair(x->headers, &x->n_headers, value);
                return;
        }
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                if (streq(line, fields[i].name)) {
                        *fields[i].slot = own(value);
                        return;
                }
        fail_msg("unknown field %s", line);
}

static bool next(FILE *f, struct example *x)
{
        char line[8192];
        *x = (struct example){0};
        while (fgets(line, sizeof line, f)) {
                line[strcspn(line, "\n")] = 0;
                if (*line == '#')
                        continue;
                if (*line)
                        set_field(x, line);
                else if (x->name)
                        return true;
        }
        return x->name != NULL;
}

static void done(struct example *x)
{
        char *texts[] = {x->name, x->method, x->host, x->path, x->payload, x->region, x->service,
                x->token, x->authorization};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                free(texts[i]);
        for (size_t i = 0; i < PAIRS; i++) {
                free((char *)x->query[i].name);
                free((char *)x->query[i].value);
                free((char *)x->headers[i].name);
                free((char *)x->headers[i].value);
        }
}

static struct sigv4_request request_of(struct example *x)
{
        x->headers[x->n_headers++] =
                (struct sigv4_pair){strdup("x-amz-content-sha256"), strdup(x->payload)};
        return (struct sigv4_request){
                .method = x->method,
                .host = x->host,
                .path = x->path,
                .query = x->query,
                .n_query = x->n_query,
                .headers = x->headers,
                .n_headers = x->n_headers,
                .payload = x->payload,
                .region = x->region,
                .service = x->service,
                .time = TIME,
                .access_key = "AKIDEXAMPLE",
                .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                .session_token = x->token,
        };
}

static void signatures_are_those_of_botocore(void **state)
{
        FILE *f = fopen(*state, "re");
        assert_non_null(f);
        struct example x;
        unsigned n = 0;
        for (; next(f, &x); n++) {
                struct sigv4_signed s;
                struct sigv4_request r = request_of(&x);
                assert_int_equal(sigv4_sign(&r, &s), 0);
                if (!streq(buf_str(&s.authorization), x.authorization))
                        fail_msg("%s\n%s\n%s\n%s", x.name, buf_str(&s.authorization),
                                x.authorization, buf_str(&s.canonical));
                sigv4_signed_done(&s);
                done(&x);
        }
        done(&x);
        (void)fclose(f);
        assert_true(n > 60);
}

static struct sigv4_request small(void)
{
        return (struct sigv4_request){.method = "GET",
                .host = "h",
                .path = "/a b(1)/~",
                .payload = "UNSIGNED-PAYLOAD",
                .region = "r",
                .service = "s3",
                .access_key = "a",
                .secret_key = "s"};
}

static void what_is_sent_is_what_was_signed(void **state _unused_)
{
        const struct sigv4_pair query[] = {{"uploads", ""}, {"a", "1 2"}};
        struct sigv4_request r = small();
        struct sigv4_signed s;
        r.query = query;
        r.n_query = 2;
        assert_int_equal(sigv4_sign(&r, &s), 0);
        assert_string_equal(buf_str(&s.target), "/a%20b%281%29/~?a=1%202&uploads=");
        assert_string_equal(s.date, "19700101T000000Z");
        sigv4_signed_done(&s);
}

static void what_is_not_whole_is_refused(void **state _unused_)
{
        struct sigv4_signed s;
        struct sigv4_request r = small();
        r.path = "no-slash";
        assert_int_equal(sigv4_sign(&r, &s), -EINVAL);
        r = small();
        r.secret_key = "";
        assert_int_equal(sigv4_sign(&r, &s), -EINVAL);
        r = small();
        r.n_query = 65;
        assert_int_equal(sigv4_sign(&r, &s), -EINVAL);
}

int main(int argc, char **argv)
{
        void *file = argc > 1 ? argv[1] : NULL;
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_prestate(signatures_are_those_of_botocore, file),
                cmocka_unit_test(what_is_sent_is_what_was_signed),
                cmocka_unit_test(what_is_not_whole_is_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
