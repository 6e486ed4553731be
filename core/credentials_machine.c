#include "credentials_internal.h"

#include "buf.h"
#include "http.h"
#include "secret.h"

/* EC2: "Use the Instance Metadata Service", version 2. */

#define IMDS "http://169.254.169.254"
#define ROLE "/latest/meta-data/iam/security-credentials/"

struct metadata {
        struct http *http;
        const char *base;
        char token[256];
};

static int ask(const struct metadata *m, const char *method, const char *path, const char *header,
        struct http_answer *a)
{
        _cleanup_buf_ struct buf url = BUF_INIT;
        buf_addf(&url, "%s%s", m->base, path);
        const struct http_request r = {.method = method,
                .url = buf_str(&url),
                .headers = header,
                .connect_seconds = 1,
                .stall_seconds = 5,
                .plain_ok = true};
        int q = buf_oom(&url) ? -ENOMEM : http_do(m->http, &r, a, NULL);
        return q < 0 ? q : a->status == 200 ? 0 : -ENOENT;
}

static int get(const struct metadata *m, const char *path, struct http_answer *a)
{
        char header[320];
        (void)snprintf(
                header, sizeof header, "X-aws-ec2-metadata-token: %s\n", m->token); /* fits */
        return ask(m, "GET", path, header, a);
}

static int open_session(struct metadata *m, struct http_answer *a)
{
        int q = ask(
                m, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600\n", a);
        if (q == 0 && (a->body.len == 0 || a->body.len >= sizeof m->token))
                q = -EPROTO;
        if (q == 0)
                memcpy(m->token, a->body.data, a->body.len + 1);
        return q;
}

int credentials_from_machine(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e)
{
        const char *off = getenv("AWS_EC2_METADATA_DISABLED");
        const char *base = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        if (!p->http || (off && strcasecmp(off, "true") == 0))
                return -ENOENT;
        struct metadata m = {.http = p->http, .base = base && *base ? base : IMDS};
        _cleanup_http_answer_ struct http_answer a = {0};
        char path[256];
        int q = open_session(&m, &a);
        if (q == 0)
                q = get(&m, ROLE, &a);
        if (q == 0) {
                int n = snprintf(path, sizeof path, ROLE "%.*s",
                        (int)strcspn(buf_str(&a.body), "\r\n"), buf_str(&a.body));
                q = n < (int)sizeof path ? get(&m, path, &a) : -EPROTO;
        }
        if (q < 0)
                return -ENOENT; /* no such machine, or one without a role */
        q = credentials_from_json(ret, buf_str(&a.body), a.body.len, "the machine's role", e);
        if (a.body.len)
                secret_wipe(a.body.data, a.body.len);
        return q;
}
