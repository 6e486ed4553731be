/* What services say, and what we make of it: XML, errors, addresses, restore headers. No network.
 */
#include <setjmp.h>
#include <stdarg.h>

#include "aws_internal.h"
#include "clock.h"
#include "config.h"
#include "http_internal.h"
#include "reach.h"
#include "store.h"
#include "store_s3_internal.h"
#include "xml.h"

#include <cmocka.h>
#include <jansson.h>

static struct err err;
#define E (&err)

static void has(const char *text, const char *part)
{
        if (!strstr(text, part))
                fail_msg("no \"%s\" in: %s", part, text);
}

/* ---- XML ---- */

static int collect(void *ctx, const char *path, const char *text)
{
        buf_addf(ctx, "%s=%s\n", path, text);
        return 0;
}

static int each(const char *text, struct buf *b)
{
        return xml_each(text, strlen(text), collect, b, E);
}

static void elements_come_with_their_path_and_without_namespaces(void **state _unused_)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        assert_int_equal(each("<?xml version=\"1.0\"?><s3:A xmlns:s3=\"x\"><B>1&amp;2</B>"
                              "<C/><D>\n<E>e</E></D></s3:A>",
                                 &b),
                0);
        assert_string_equal(buf_str(&b), "A/B=1&2\nA/C=\nA/D/E=e\nA/D=\nA=\n");
}

static void what_is_no_xml_is_refused(void **state _unused_)
{
        const char *const bad[] = {"", "<A>", "<A></B>", "no", "<A/><B/>", "<A>&nbsp;</A>"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                assert_int_equal(each(bad[i], &b), -EPROTO);
                assert_true(err.text[0]);
        }
}

static void a_document_type_is_refused(void **state _unused_)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        assert_int_equal(
                each("<!DOCTYPE a [<!ENTITY b \"cccccccccccc\">]><a>&b;&b;</a>", &b), -EPROTO);
        assert_null(strstr(buf_str(&b), "ccc"));
}

static void depth_and_length_have_an_end(void **state _unused_)
{
        _cleanup_buf_ struct buf deep = BUF_INIT;
        _cleanup_buf_ struct buf out = BUF_INIT;
        for (unsigned i = 0; i < 40; i++)
                buf_adds(&deep, "<a>");
        for (unsigned i = 0; i < 40; i++)
                buf_adds(&deep, "</a>");
        assert_int_equal(each(buf_str(&deep), &out), -EPROTO);
        buf_reset(&deep);
        buf_adds(&deep, "<a>");
        for (unsigned i = 0; i < 70000; i++)
                buf_addc(&deep, 'x');
        buf_adds(&deep, "</a>");
        assert_int_equal(each(buf_str(&deep), &out), -EPROTO);
}

static void one_text_is_found(void **state _unused_)
{
        char out[4];
        const char *doc = "<A><B>first</B><B>second</B><C></C></A>";
        assert_true(xml_text(doc, strlen(doc), "A/B", out, sizeof out));
        assert_string_equal(out, "fir");
        assert_true(xml_text(doc, strlen(doc), "A/C", out, sizeof out));
        assert_string_equal(out, "");
        assert_false(xml_text(doc, strlen(doc), "A/D", out, sizeof out));
}

static void a_name_without_end_is_refused(void **state _unused_)
{
        _cleanup_buf_ struct buf doc = BUF_INIT;
        _cleanup_buf_ struct buf out = BUF_INIT;
        buf_addc(&doc, '<');
        for (unsigned i = 0; i < 3000; i++)
                buf_addc(&doc, 'x');
        buf_adds(&doc, "/>");
        assert_int_equal(each(buf_str(&doc), &out), -EPROTO);
        assert_int_equal(out.len, 0);
}

/* ---- errors ---- */

static struct aws *aws;
static const struct aws_call call = {.what = "do it", .right = "s3:Some", .method = "GET"};

static int explain(int status, const char *head, const char *body, struct aws_answer *a)
{
        *a = (struct aws_answer){.http = {.status = status}};
        buf_adds(&a->http.head, head);
        buf_adds(&a->http.body, body);
        aws_read_error(a);
        int q = aws_explain(aws, &call, a, "the environment", E);
        aws_answer_done(a);
        return q;
}

struct told {
        int status;
        const char *head, *body;
        int code;
        const char *words;
};

static void refusals_say_what_to_do(void **state _unused_)
{
        static const struct told cases[] = {
                {403, "", "<Error><Code>AccessDenied</Code><Message/></Error>", -EACCES, "s3:Some"},
                {403, "", "<Error><Code>SignatureDoesNotMatch</Code></Error>", -EPERM,
                        "AWS_SECRET_ACCESS_KEY"},
                {403, "", "<Error><Code>InvalidAccessKeyId</Code></Error>", -EPERM,
                        "access key from the environment"},
                {403, "", "<Error><Code>RequestTimeTooSkewed</Code></Error>", -EPERM, "clock"},
                {301, "HTTP/1.1 301\r\nx-amz-bucket-region: eu-west-3\r\n\r\n", "", -EPERM,
                        "\"REGION_NAME\": \"eu-west-3\""},
                {400, "",
                        "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-x</Region></"
                        "Error>",
                        -EPERM, "eu-x"},
                {404, "", "<Error><Code>NoSuchBucket</Code></Error>", -ENODEV, "make the bucket"},
                {403, "",
                        "{\"code\":\"InvalidSignatureException\",\"message\":\"Credential should "
                        "be scoped to a valid region, not 'eu-x'. \"}",
                        -EPERM, "REGION_NAME"},
                {401, "", "<html>", -EPERM, "AWS_ACCESS_KEY_ID"},
                {404, "", "", -ENOENT, "404"},
                {412, "", "<Error><Code>PreconditionFailed</Code></Error>", -EEXIST,
                        "Precondition"},
                {403, "", "<Error><Code>InvalidObjectState</Code></Error>", -EREMOTE, "Invalid"},
                {409, "", "<Error><Code>RestoreAlreadyInProgress</Code></Error>", -EALREADY, ""},
                {400, "", "<Error><Code>InvalidStorageClass</Code></Error>", -EINVAL,
                        "STORAGE_CLASS"},
                {400, "", "<Error><Code>ExpiredToken</Code></Error>", -EAGAIN, "expired"},
                {400, "HTTP/1.1 400\r\n\r\n", "", -EAGAIN, "400"},
                {400, "", "{\"code\":\"NoLongerSupportedException\",\"message\":\"no\"}",
                        -EOPNOTSUPP, "s3://"},
                {400, "", "{\"code\":\"LimitExceededException\"}", -EDQUOT, "quota"},
                {400, "", "{\"code\":\"PolicyEnforcedException\"}", -EDQUOT, "policy"},
                {507, "", "<Error><Code>XMinioStorageFull</Code></Error>", -EDQUOT, "quota"},
                {400, "", "<Error><Code>XAmzContentChecksumMismatch</Code></Error>", -EAGAIN, ""},
                {503, "", "{\"code\":\"InsufficientCapacityException\"}", -EAGAIN, "standard"},
                {418, "", "", -EINVAL, "418"},
                {405, "", "<html><body>Not Allowed", -EOPNOTSUPP, "405"},
                {501, "", "<Error><Code>NotImplemented</Code></Error>", -EOPNOTSUPP, "NotImpl"},
                {403, "",
                        "<e:ErrorResponse xmlns:e='x'><e:Error><e:Code>AccessDenied</e:Code>"
                        "<e:Message>not you</e:Message></e:Error></e:ErrorResponse>",
                        -EACCES, "not you"},
                {400, "", "{\"__type\":\"com.x#ThrottlingException\",\"Message\":\"slower\"}",
                        -EBUSY, "slower"},
                {302, "HTTP/1.1 302\r\nLocation: https://elsewhere.example/b\r\n", "", -EPERM,
                        "another region"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct aws_answer a;
                int q = explain(cases[i].status, cases[i].head, cases[i].body, &a);
                if (q != cases[i].code || err.code != q)
                        fail_msg("case %zu: %d, not %d: %s", i, q, cases[i].code, err.text);
                has(err.text, "cannot do it");
                has(err.text, cases[i].words);
        }
}

/* A proxy that sends everybody from http to https says nothing of regions. */
static void a_redirect_names_the_address(void **state _unused_)
{
        static const struct config c = {.region_name = (char *)"us-east-1",
                .endpoint_url = (char *)"http://s3.example.org"};
        static const struct aws_call of_bucket = {
                .what = "do it", .method = "GET", .subhost = "photos"};
        struct aws *own;
        struct aws_answer a = {.http = {.status = 301}};
        assert_int_equal(aws_new(&c, "s3", &own, E), 0);
        buf_adds(&a.http.head,
                "HTTP/1.1 301\r\nlocation: https://photos.s3.example.org:8443/x?y\r\n\r\n");
        assert_int_equal(aws_explain(own, &of_bucket, &a, "the environment", E), -EPERM);
        has(err.text, "https://s3.example.org:8443;");
        has(err.text, "ENDPOINT_URL");
        aws_answer_done(&a);
        aws_free(own);
}

static void what_passes_by_itself_is_told_from_what_is_too_much(void **state _unused_)
{
        struct aws_answer a;
        const int later[] = {408, 500, 502, 504, 599};
        for (size_t i = 0; i < ARRAY_SIZE(later); i++)
                assert_int_equal(explain(later[i], "", "", &a), -EAGAIN);
        assert_int_equal(explain(429, "", "", &a), -EBUSY);
        assert_int_equal(explain(503, "", "", &a), -EBUSY);
        assert_int_equal(explain(503, "", "<Error><Code>SlowDown</Code></Error>", &a), -EBUSY);
        assert_int_equal(explain(400, "", "{\"code\":\"ThrottlingException\"}", &a), -EBUSY);
        assert_int_equal(
                explain(400, "", "<Error><Code>RequestTimeout</Code></Error>", &a), -EAGAIN);
}

static void what_the_service_asks_to_wait_is_read(void **state _unused_)
{
        struct aws_answer a;
        assert_int_equal(explain(503, "HTTP/1.1 503\r\nretry-AFTER:  7 \r\n\r\n", "", &a), -EBUSY);
        assert_int_equal(err.wait_ns, 7 * CLOCK_NSEC);
        assert_int_equal(explain(503, "HTTP/1.1 503\r\nRetry-After: -3\r\n\r\n", "", &a), -EBUSY);
        assert_int_equal(err.wait_ns, 0);
        (void)explain(503, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "", &a);
        assert_int_equal(err.wait_ns, 0); /* over long ago */
}

static void an_error_in_a_good_answer_is_found(void **state _unused_)
{
        struct aws_answer a = {.http.status = 200};
        buf_adds(&a.http.body, "  <Error><Code>InternalError</Code></Error>");
        assert_int_equal(aws_hidden_error(aws, &call, &a, E), -EAGAIN);
        buf_reset(&a.http.body);
        buf_adds(&a.http.body,
                "<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>");
        assert_int_equal(aws_hidden_error(aws, &call, &a, E), 0);
        aws_answer_done(&a);
}

static void a_message_cannot_write_on_the_terminal(void **state _unused_)
{
        struct aws_answer a;
        (void)explain(400, "", "<Error><Code>Odd</Code><Message>&#10;x</Message></Error>", &a);
        assert_null(strchr(err.text, '\n'));
}

/* ---- headers and addresses ---- */

static void a_header_is_found_whatever_its_case(void **state _unused_)
{
        struct http_answer a = {0};
        char v[8];
        buf_adds(&a.head, "HTTP/1.1 200 OK\r\nETAGS: no\r\netag:\t \"abc\" \r\nEmpty:\r\nlast: x");
        assert_true(http_header(&a, "ETag", v, sizeof v));
        assert_string_equal(v, "\"abc\"");
        assert_true(http_header(&a, "empty", v, sizeof v));
        assert_string_equal(v, "");
        assert_true(http_header(&a, "Last", v, sizeof v));
        assert_false(http_header(&a, "ETa", v, sizeof v));
        http_answer_done(&a);
}

static void endpoints_are_taken_apart(void **state _unused_)
{
        static const struct {
                const char *url, *scheme, *host, *base;
        } good[] = {
                {"https://s3.example.org", "https", "s3.example.org", ""},
                {"https://s3.example.org:443/", "https", "s3.example.org", ""},
                {"http://127.0.0.1:7480", "http", "127.0.0.1:7480", ""},
                {"http://[::1]:7480/x/y//", "http", "[::1]:7480", "/x/y"},
        };
        struct http_endpoint p;
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(http_endpoint_parse(good[i].url, &p, E), 0);
                assert_string_equal(p.scheme, good[i].scheme);
                assert_string_equal(p.host, good[i].host);
                assert_string_equal(p.base, good[i].base);
        }
        const char *const bad[] = {
                "", "s3.example.org", "ftp://x", "file:///etc/passwd", "https://"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(http_endpoint_parse(bad[i], &p, E), -EINVAL);
}

static void only_this_machine_is_this_machine(void **state _unused_)
{
        const char *const ours[] = {"localhost", "127.0.0.1", "127.9.9.9", "::1", "b.s3.localhost"};
        const char *const theirs[] = {"localhost.example.org", "128.0.0.1", "127.0.0.1.example.org",
                "::2", "notlocalhost", ""};
        for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
                assert_true(http_is_loopback(ours[i]));
        for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
                assert_false(http_is_loopback(theirs[i]));
}

static struct store_state restore(const char *text)
{
        struct store_state st = {.access = STORE_COLD};
        s3_parse_restore(text, &st);
        return st;
}

static void a_restore_header_is_read_in_any_order(void **state _unused_)
{
        struct store_state st =
                restore("ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2096 00:00:00 GMT\"");
        assert_int_equal(st.access, STORE_READY);
        assert_int_equal(st.ready_until, 4006886400 * CLOCK_NSEC);
        st = restore("expiry-date=\"Fri, 21 Dec 2096 00:00:00 GMT\",ongoing-request=\"false\"");
        assert_int_equal(st.access, STORE_READY);
        assert_int_equal(st.ready_until, 4006886400 * CLOCK_NSEC);
        assert_int_equal(restore("ongoing-request=\"true\"").access, STORE_THAWING);
        assert_int_equal(restore("ongoing-request=\"false\"").access, STORE_READY);
        /* over, or nothing that we know */
        st = restore("ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2012 00:00:00 GMT\"");
        assert_int_equal(st.access, STORE_COLD);
        assert_int_equal(restore("").access, STORE_COLD);
        assert_int_equal(restore("not-ongoing-request=\"true\"").access, STORE_COLD);
        assert_int_equal(restore("ongoing-request=").access, STORE_COLD);
}

static void a_bucket_is_taken_from_its_url(void **state _unused_)
{
        char bucket[64], prefix[64];
        assert_true(store_s3_parse("s3://b-1/x/y/", bucket, sizeof bucket, prefix, sizeof prefix));
        assert_string_equal(bucket, "b-1");
        assert_string_equal(prefix, "x/y");
        assert_true(store_s3_parse("s3://b//", bucket, sizeof bucket, prefix, sizeof prefix));
        assert_string_equal(prefix, "");
        assert_false(store_s3_parse("s3:///x", bucket, sizeof bucket, prefix, sizeof prefix));
        assert_false(store_s3_parse("dir:/x", bucket, sizeof bucket, prefix, sizeof prefix));
        struct store *s;
        assert_int_equal(store_s3_new(NULL, "s3://no bucket/x", "", &s, E), -EINVAL);
        has(err.text, "s3://bucket/prefix");
}

/* ---- policies ---- */

static void a_policy_names_bucket_and_prefix(void **state _unused_)
{
        const struct config c = {
                .vault = (char *)"s3://photos/mine/", .region_name = (char *)"cn-north-1"};
        _cleanup_buf_ struct buf all = BUF_INIT;
        _cleanup_buf_ struct buf add = BUF_INIT;
        assert_int_equal(reach_policy(&c, false, &all, E), 0);
        assert_int_equal(reach_policy(&c, true, &add, E), 0);
        has(buf_str(&all), "\"arn:aws-cn:s3:::photos/mine/*\"");
        has(buf_str(&all), "\"s3:prefix\": \"mine/*\"");
        has(buf_str(&all), "s3:DeleteObject");
        has(buf_str(&add), "s3:PutObject");
        assert_null(strstr(buf_str(&add), "Delete"));
        assert_null(strstr(buf_str(&add), "Restore"));
        const struct config odd = {.vault = (char *)"s3://photos/a \"b\""};
        buf_reset(&all);
        assert_int_equal(reach_policy(&odd, false, &all, E), 0);
        json_auto_t *o = json_loads(buf_str(&all), 0, NULL);
        assert_true(json_is_object(o));
        const struct config dir = {.vault = (char *)"dir:/x"};
        assert_int_equal(reach_policy(&dir, false, &all, E), -ENOTSUP);
}

static int make_aws(void **state _unused_)
{
        static const struct config c = {.region_name = (char *)"us-east-1"};
        return aws_new(&c, "s3", &aws, E);
}

static int free_aws(void **state _unused_)
{
        aws_free(aws);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(elements_come_with_their_path_and_without_namespaces),
                cmocka_unit_test(what_is_no_xml_is_refused),
                cmocka_unit_test(a_document_type_is_refused),
                cmocka_unit_test(depth_and_length_have_an_end),
                cmocka_unit_test(a_name_without_end_is_refused),
                cmocka_unit_test(one_text_is_found),
                cmocka_unit_test(refusals_say_what_to_do),
                cmocka_unit_test(a_redirect_names_the_address),
                cmocka_unit_test(what_passes_by_itself_is_told_from_what_is_too_much),
                cmocka_unit_test(what_the_service_asks_to_wait_is_read),
                cmocka_unit_test(an_error_in_a_good_answer_is_found),
                cmocka_unit_test(a_message_cannot_write_on_the_terminal),
                cmocka_unit_test(a_header_is_found_whatever_its_case),
                cmocka_unit_test(endpoints_are_taken_apart),
                cmocka_unit_test(only_this_machine_is_this_machine),
                cmocka_unit_test(a_restore_header_is_read_in_any_order),
                cmocka_unit_test(a_bucket_is_taken_from_its_url),
                cmocka_unit_test(a_policy_names_bucket_and_prefix),
        };
        return cmocka_run_group_tests(tests, make_aws, free_aws);
}
