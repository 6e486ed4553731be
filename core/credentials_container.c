#include "credentials_internal.h"

#include "buf.h"
#include "http.h"
#include "io.h"
#include "secret.h"

#include <fcntl.h>

/* ECS and EKS: "Amazon ECS task IAM role", "EKS Pod Identity". */

#define ECS "http://169.254.170.2"

static bool address(char *out, size_t size)
{
        const char *relative = getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        const char *full = getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        int n = relative && *relative ? snprintf(out, size, ECS "%s", relative)
                : full && *full       ? snprintf(out, size, "%s", full)
                                      : -1;
        return n > 0 && (size_t)n < size;
}

static bool may_be_plain(const char *url)
{
        return startswith(url, ECS "/") || startswith(url, "http://169.254.170.23/") ||
               startswith(url, "http://[fd00:ec2::23]/");
}

static int authorization(struct buf *headers, struct err *e)
{
        const char *file = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        const char *token = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (file && *file) {
                int q = io_read_file(AT_FDCWD, file, 64 * KiB, &b, e);
                if (q < 0)
                        return q;
                token = buf_str(&b);
        }
        if (token && *token)
                buf_addf(headers, "Authorization: %.*s\n", (int)strcspn(token, "\r\n"), token);
        return 0;
}

int credentials_from_container(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e)
{
        char url[1024];
        if (!p->http || !address(url, sizeof url))
                return -ENOENT;
        _cleanup_buf_ struct buf headers = BUF_INIT;
        _cleanup_http_answer_ struct http_answer a = {0};
        int q = authorization(&headers, e);
        const struct http_request r = {.method = "GET",
                .url = url,
                .headers = buf_str(&headers),
                .connect_seconds = 2,
                .stall_seconds = 10,
                .plain_ok = may_be_plain(url)};
        if (q == 0)
                q = http_do(p->http, &r, &a, e);
        if (q == 0 && a.status != 200)
                q = err_set(e, -EAGAIN, "the container's credential service answered %d", a.status);
        if (q == 0)
                q = credentials_from_json(
                        ret, buf_str(&a.body), a.body.len, "the container's service", e);
        if (a.body.len)
                secret_wipe(a.body.data, a.body.len);
        return q;
}
