#include "aws.h"

#include "aws_internal.h"
#include "bytes.h"
#include "clock.h"
#include "config.h"
#include "credentials.h"
#include "secret.h"
#include "store.h"

#include <curl/curl.h>
#include <openssl/evp.h>

/* Services take signatures that are up to 15 minutes off, vaults 5. */
#define AGREES (300 * CLOCK_NSEC)

struct aws {
        const char *service;
        char region[64];
        struct http_endpoint endpoint;
        bool own_endpoint;
        struct http *http;
        struct credentials *credentials;
        _Atomic int64_t skew;
};

/* ---- where ---- */

static const char *endpoint_from_env(const char *service)
{
        const char *v =
                getenv(streq(service, "s3") ? "AWS_ENDPOINT_URL_S3" : "AWS_ENDPOINT_URL_GLACIER");
        if (!v || !*v)
                v = getenv("AWS_ENDPOINT_URL");
        return v && *v ? v : NULL;
}

static bool region_is_sane(const char *s)
{
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
        return n > 0 && s[n] == 0;
}

static int set_place(struct aws *a, const struct config *c, struct err *e)
{
        if (c && c->region_name)
                (void)snprintf(
                        a->region, sizeof a->region, "%s", c->region_name); /* checked below */
        else if (!credentials_region(c ? c->aws_profile : NULL, a->region, sizeof a->region))
                (void)snprintf(a->region, sizeof a->region, "us-east-1"); /* fits */
        if (!region_is_sane(a->region))
                return err_set(e, -EINVAL, "REGION_NAME %s is no region; one is written eu-west-1",
                        a->region);
        const char *own = c && c->endpoint_url ? c->endpoint_url : endpoint_from_env(a->service);
        a->own_endpoint = own != NULL;
        if (own)
                return http_endpoint_parse(own, &a->endpoint, e);
        char url[160];
        (void)snprintf(url, sizeof url, "https://%s.%s.amazonaws.com%s", a->service, a->region,
                startswith(a->region, "cn-") ? ".cn" : ""); /* fits */
        return http_endpoint_parse(url, &a->endpoint, e);
}

int aws_new(const struct config *config, const char *service, struct aws **ret, struct err *e)
{
        _cleanup_(aws_freep) struct aws *a = calloc(1, sizeof *a);
        if (!a)
                return err_oom(e);
        a->service = service;
        int q = set_place(a, config, e);
        if (q == 0)
                q = http_new(config && config->allow_http, &a->http, e);
        const struct credentials_params p = {
                .access_key = config ? config->aws_access_key_id : NULL,
                .secret_key = config ? config->aws_secret_access_key : NULL,
                .profile = config ? config->aws_profile : NULL,
                .http = a->http,
        };
        if (q == 0)
                q = credentials_new(&p, &a->credentials, e);
        if (q == 0)
                *ret = steal(a);
        return q;
}

void aws_free(struct aws *a)
{
        if (!a)
                return;
        credentials_free(a->credentials);
        http_free(a->http);
        free(a);
}

const char *aws_region(const struct aws *a)
{
        return a->region;
}

const char *aws_host(const struct aws *a)
{
        return a->endpoint.host;
}

bool aws_is_own_endpoint(const struct aws *a)
{
        return a->own_endpoint;
}

int64_t aws_skew(struct aws *a)
{
        return atomic_load(&a->skew);
}

/* ---- one try ---- */

struct attempt {
        char host[320];
        struct buf path;
        char payload[65];
        struct credentials_keys *keys;
};

static int hash_body(const struct aws_call *c, char out[65])
{
        uint8_t hash[32];
        if (!c->sha256 && !EVP_Digest(c->body_len ? c->body : "", c->body_len, hash, NULL,
                                  EVP_sha256(), NULL))
                return -EIO;
        bytes_hex(c->sha256 ? c->sha256 : hash, sizeof hash, out);
        return 0;
}

static int sign(
        struct aws *a, const struct aws_call *c, struct attempt *t, struct sigv4_signed *ret)
{
        struct sigv4_pair headers[32];
        size_t n = 0;
        if (c->n_headers + 1 > ARRAY_SIZE(headers))
                return -EINVAL;
        for (; n < c->n_headers; n++)
                headers[n] = c->headers[n];
        headers[n++] = (struct sigv4_pair){"x-amz-content-sha256", t->payload};
        const struct sigv4_request r = {
                .method = c->method,
                .host = t->host,
                .path = buf_str(&t->path),
                .query = c->query,
                .n_query = c->n_query,
                .headers = headers,
                .n_headers = n,
                .payload = t->payload,
                .region = a->region,
                .service = a->service,
                .time = (clock_now() + atomic_load(&a->skew)) / CLOCK_NSEC,
                .access_key = t->keys->access_key,
                .secret_key = (const char *)t->keys->secret_key->data,
                .session_token =
                        t->keys->session_token ? (const char *)t->keys->session_token->data : NULL,
        };
        return sigv4_sign(&r, ret);
}

static void add_headers(struct buf *out, const struct aws_call *c, const struct attempt *t,
        const struct sigv4_signed *s)
{
        for (size_t i = 0; i < c->n_headers; i++)
                buf_addf(out, *c->headers[i].value ? "%s: %s\n" : "%s;\n", c->headers[i].name,
                        c->headers[i].value);
        buf_addf(out, "x-amz-content-sha256: %s\nx-amz-date: %s\nAuthorization: %s\n", t->payload,
                s->date, buf_str(&s->authorization));
        if (t->keys->session_token)
                buf_addf(out, "x-amz-security-token: %s\n", (char *)t->keys->session_token->data);
}

static int send_signed(struct aws *a, const struct aws_call *c, struct attempt *t,
        const struct sigv4_signed *s, struct http_answer *ret, struct err *e)
{
        _cleanup_buf_ struct buf url = BUF_INIT;
        struct buf headers = BUF_INIT;
        buf_addf(&url, "%s://%s%s", a->endpoint.scheme, t->host, buf_str(&s->target));
        add_headers(&headers, c, t, s);
        int q = buf_oom(&url) || buf_oom(&headers) ? err_oom(e) : 0;
        const struct http_request r = {
                .method = c->method,
                .url = buf_str(&url),
                .headers = buf_str(&headers),
                .body = c->body,
                .body_len = c->body_len,
                .into = c->into,
                .into_len = c->into_len,
                .stall_seconds = c->stall_seconds,
                .once = c->once,
                .stop = c->control ? c->control->stop : NULL,
                .sending = c->control && c->counts ? c->control->sending : NULL,
                .ctx = c->control ? c->control->ctx : NULL,
        };
        if (q == 0)
                q = http_do(a->http, &r, ret, e);
        if (headers.len)
                secret_wipe(headers.data, headers.len); /* a session token is in it */
        buf_done(&headers);
        return q;
}

static int try_once(struct aws *a, const struct aws_call *c, struct attempt *t,
        struct aws_answer *ret, struct err *e)
{
        *ret->code = *ret->message = 0;
        int q = credentials_get(a->credentials, &t->keys, e);
        if (q < 0)
                return q;
        struct sigv4_signed s = {0};
        q = sign(a, c, t, &s);
        if (q < 0)
                return err_errno(e, q, "cannot sign a request");
        q = send_signed(a, c, t, &s, &ret->http, e);
        sigv4_signed_done(&s);
        if (q == 0 && (ret->http.status < 200 || ret->http.status > 299))
                aws_read_error(ret);
        return q;
}

/* ---- what can be mended at once ---- */

/* Takes the service's clock. False if it does not differ from what was used. */
static bool take_clock(struct aws *a, const struct aws_answer *r)
{
        char date[64];
        if (!http_header(&r->http, "Date", date, sizeof date))
                return false;
        time_t theirs = curl_getdate(date, NULL);
        if (theirs < 0)
                return false;
        int64_t skew = clock_of(theirs, 0) - clock_now(), old = atomic_load(&a->skew);
        int64_t apart = skew > old ? skew - old : old - skew;
        if (apart < AGREES)
                return false;
        atomic_store(&a->skew, skew > -AGREES && skew < AGREES ? 0 : skew);
        return true;
}

static bool mended(struct aws *a, const struct attempt *t, const struct aws_answer *r)
{
        if (r->http.status < 400 || r->http.status > 403)
                return false;
        bool mute = r->http.status == 400 && !*r->code && t->keys->session_token; /* HEAD */
        if (mute || aws_is_expired(r)) {
                credentials_expired(a->credentials, t->keys);
                return true;
        }
        /* HEAD has no body, and a wrong date can look like a wrong signature: the Date tells. */
        return take_clock(a, r);
}

static int prepare(const struct aws *a, const struct aws_call *c, struct attempt *t)
{
        int n = snprintf(t->host, sizeof t->host, "%s%s%s", c->subhost ? c->subhost : "",
                c->subhost ? "." : "", a->endpoint.host);
        buf_addf(&t->path, "%s%s", a->endpoint.base, c->path);
        if (n < 0 || (size_t)n >= sizeof t->host)
                return -ENAMETOOLONG;
        return buf_oom(&t->path) ? -ENOMEM : hash_body(c, t->payload);
}

int aws_do(struct aws *a, const struct aws_call *c, struct aws_answer *ret, struct err *e)
{
        struct attempt t = {0};
        char source[sizeof t.keys->source] = "";
        int q = prepare(a, c, &t);
        if (q < 0)
                err_errno(e, q, "cannot make a request");
        for (unsigned n = 0; q == 0 && n < 3; n++) {
                q = try_once(a, c, &t, ret, e);
                bool again = q == 0 && n < 2 && mended(a, &t, ret);
                if (t.keys) {
                        memcpy(source, t.keys->source, sizeof source);
                        credentials_put(a->credentials, t.keys);
                        t.keys = NULL;
                }
                if (!again)
                        break;
        }
        buf_done(&t.path);
        if (q < 0)
                return err_prefix(e, q, "cannot %s", c->what);
        if (ret->http.status >= 200 && ret->http.status < 300)
                return 0;
        return aws_explain(a, c, ret, source, e);
}

int aws_hidden_error(struct aws *a, const struct aws_call *c, struct aws_answer *ret, struct err *e)
{
        *ret->code = *ret->message = 0;
        if (ret->http.body.len == 0)
                return 0;
        aws_read_error(ret);
        return *ret->code ? aws_explain(a, c, ret, "", e) : 0;
}

void aws_answer_done(struct aws_answer *a)
{
        http_answer_done(&a->http);
}
