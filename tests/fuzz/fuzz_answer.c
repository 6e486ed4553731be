/* fuzz_answer.c - what a service answers, against anything: head and body of an HTTP answer.
 *
 * Head and body are divided by the first empty line, as on the wire. Whatever comes, there is a
 * sentence of bounded length without control characters, and a code of our vocabulary. */
#include "aws_internal.h"
#include "clock.h"
#include "config.h"
#include "store.h"
#include "store_s3_internal.h"
#include "xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int look(void *ctx, const char *path, const char *text)
{
        ++*(unsigned *)ctx;
        if (strlen(path) > 1024 || strlen(text) > 65536)
                abort();
        return 0;
}

static void check_error(const struct err *e, int code)
{
        if (code >= 0 || e->code != code || !*e->text || strlen(e->text) >= sizeof e->text ||
                e->wait_ns < 0)
                abort();
        for (const char *p = e->text; *p; p++)
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                        abort();
}

static void check_restore(const struct http_answer *a)
{
        char v[256];
        struct store_state st = {.access = STORE_COLD};
        if (http_header(a, "x-amz-restore", v, sizeof v))
                s3_parse_restore(v, &st);
        if (st.access == STORE_THAWING && st.ready_until)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static const struct config config = {.region_name = (char *)"us-east-1"};
        static struct aws *aws;
        if (!aws && aws_new(&config, "s3", &aws, NULL) < 0)
                abort();
        const uint8_t *cut = memmem(data, len, "\n\n", 2);
        size_t head = cut ? (size_t)(cut - data) + 2 : 0;
        struct aws_answer a = {0};
        buf_add(&a.http.head, data, head);
        buf_add(&a.http.body, data + head, len - head);
        const char *space = strchr(buf_str(&a.http.head), ' ');
        a.http.status = space ? atoi(space + 1) : 200;
        const struct aws_call call = {.what = "do it", .right = "s3:Some"};
        struct err e = {0};
        aws_read_error(&a);
        check_error(&e, aws_explain(aws, &call, &a, "", &e));
        (void)aws_hidden_error(aws, &call, &a, &e); /* either is fine */
        unsigned seen = 0;
        (void)xml_each(data + head, len - head, look, &seen, NULL); /* refused or not */
        check_restore(&a.http);
        aws_answer_done(&a);
        return 0;
}
