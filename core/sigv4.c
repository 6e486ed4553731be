#include "sigv4.h"

#include "bytes.h"
#include "secret.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <time.h>

#define ALGORITHM "AWS4-HMAC-SHA256"
#define PAIRS_MAX 64
#define HASH      32

/* Percent-encodes all but the unreserved characters (RFC 3986). */
static void encode(struct buf *out, const char *s, size_t len, bool keep_slash)
{
        static const char digits[] = "0123456789ABCDEF";
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)s[i];
                bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                             (c >= '0' && c <= '9') || (c && strchr("-._~", c)) ||
                             (keep_slash && c == '/');
                if (plain) {
                        buf_addc(out, (char)c);
                } else {
                        buf_addc(out, '%');
                        buf_addc(out, digits[c >> 4]);
                        buf_addc(out, digits[c & 15]);
                }
        }
}

static int compare_pairs(const void *a, const void *b)
{
        const struct sigv4_pair *x = a, *y = b;
        int q = strcmp(x->name, y->name);
        return q ? q : strcmp(x->value, y->value);
}

/* ---- the query: encoded, then sorted ---- */

static int add_query(struct buf *out, const struct sigv4_request *r)
{
        struct sigv4_pair pairs[PAIRS_MAX];
        char *made[2 * PAIRS_MAX] = {0};
        int q = 0;
        for (size_t i = 0; i < r->n_query; i++) {
                const char *texts[] = {r->query[i].name, r->query[i].value};
                for (size_t k = 0; k < 2; k++) {
                        struct buf b = BUF_INIT;
                        buf_adds(&b, "");
                        encode(&b, texts[k], strlen(texts[k]), false);
                        if (!(made[2 * i + k] = b.len ? buf_steal(&b) : strdup("")))
                                q = -ENOMEM;
                        buf_done(&b);
                }
                if (q == 0)
                        pairs[i] = (struct sigv4_pair){made[2 * i], made[2 * i + 1]};
        }
        if (q == 0 && r->n_query > 0)
                qsort(pairs, r->n_query, sizeof *pairs, compare_pairs);
        for (size_t i = 0; q == 0 && i < r->n_query; i++)
                buf_addf(out, "%s%s=%s", i ? "&" : "", pairs[i].name, pairs[i].value);
        for (size_t i = 0; i < 2 * r->n_query; i++)
                free(made[i]);
        return q;
}

/* ---- the canonical request ---- */

/* Blanks at both ends go, runs of blanks inside become one. */
static void add_value(struct buf *out, const char *v)
{
        while (isspace((unsigned char)*v))
                v++;
        for (; *v; v++) {
                bool blank = isspace((unsigned char)*v);
                if (blank && (v[1] == 0 || isspace((unsigned char)v[1])))
                        continue;
                buf_addc(out, blank ? ' ' : *v);
        }
}

static size_t all_headers(
        const struct sigv4_request *r, const char *date, struct sigv4_pair out[PAIRS_MAX + 3])
{
        size_t n = 0;
        for (; n < r->n_headers; n++)
                out[n] = r->headers[n];
        out[n++] = (struct sigv4_pair){"host", r->host};
        out[n++] = (struct sigv4_pair){"x-amz-date", date};
        if (r->session_token && *r->session_token)
                out[n++] = (struct sigv4_pair){"x-amz-security-token", r->session_token};
        qsort(out, n, sizeof *out, compare_pairs);
        return n;
}

static void add_canonical(struct buf *out, struct buf *names, const struct sigv4_request *r,
        const char *target, const char *date)
{
        size_t path = strcspn(target, "?");
        buf_addf(out, "%s\n", r->method);
        if (streq(r->service, "s3"))
                buf_add(out, target, path);
        else
                encode(out, target, path, true);
        buf_addf(out, "\n%s\n", target[path] ? target + path + 1 : "");
        struct sigv4_pair h[PAIRS_MAX + 3];
        size_t n = all_headers(r, date, h);
        for (size_t i = 0; i < n; i++) {
                buf_addf(out, "%s:", h[i].name);
                add_value(out, h[i].value);
                buf_addc(out, '\n');
                buf_addf(names, "%s%s", i ? ";" : "", h[i].name);
        }
        buf_addf(out, "\n%s\n%s", buf_str(names), r->payload);
}

/* ---- the signature ---- */

static int hmac(
        const void *key, size_t key_len, const void *data, size_t len, unsigned char out[HASH])
{
        return HMAC(EVP_sha256(), key, (int)key_len, data, len, out, NULL) ? 0 : -EIO;
}

static int derive(const struct sigv4_request *r, const char *day, unsigned char out[HASH])
{
        size_t n = strlen(r->secret_key) + 4;
        struct secret *first = NULL;
        int q = secret_new(n, &first);
        if (q < 0)
                return q;
        memcpy(first->data, "AWS4", 4);
        memcpy(first->data + 4, r->secret_key, n - 4);
        unsigned char k[HASH];
        q = hmac(first->data, n, day, 8, k);
        secret_free(first);
        if (q == 0)
                q = hmac(k, HASH, r->region, strlen(r->region), k);
        if (q == 0)
                q = hmac(k, HASH, r->service, strlen(r->service), k);
        if (q == 0)
                q = hmac(k, HASH, "aws4_request", 12, out);
        secret_wipe(k, sizeof k);
        return q;
}

static int sign(const struct sigv4_request *r, struct sigv4_signed *s, const char *names)
{
        unsigned char hash[HASH], key[HASH];
        char hex[2 * HASH + 1];
        if (!EVP_Digest(s->canonical.data, s->canonical.len, hash, NULL, EVP_sha256(), NULL))
                return -EIO;
        bytes_hex(hash, HASH, hex);
        _cleanup_buf_ struct buf text = BUF_INIT;
        buf_addf(&text, ALGORITHM "\n%s\n%.8s/%s/%s/aws4_request\n%s", s->date, s->date, r->region,
                r->service, hex);
        if (buf_oom(&text))
                return -ENOMEM;
        int q = derive(r, s->date, key);
        if (q == 0)
                q = hmac(key, HASH, text.data, text.len, hash);
        secret_wipe(key, sizeof key);
        if (q < 0)
                return q;
        bytes_hex(hash, HASH, hex);
        buf_addf(&s->authorization,
                ALGORITHM " Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
                r->access_key, s->date, r->region, r->service, names, hex);
        return buf_oom(&s->authorization) ? -ENOMEM : 0;
}

static bool is_whole(const struct sigv4_request *r)
{
        return r->method && r->host && r->path && *r->path == '/' && r->payload && r->region &&
               r->service && r->access_key && r->secret_key && *r->secret_key &&
               r->n_query <= PAIRS_MAX && r->n_headers <= PAIRS_MAX;
}

int sigv4_sign(const struct sigv4_request *r, struct sigv4_signed *ret)
{
        if (!is_whole(r))
                return -EINVAL;
        struct sigv4_signed s = {0};
        _cleanup_buf_ struct buf names = BUF_INIT;
        time_t t = (time_t)r->time;
        struct tm tm;
        int q = 0;
        if (!gmtime_r(&t, &tm) || strftime(s.date, sizeof s.date, "%Y%m%dT%H%M%SZ", &tm) == 0)
                q = -EINVAL;
        encode(&s.target, r->path, strlen(r->path), true);
        if (r->n_query > 0)
                buf_addc(&s.target, '?');
        if (q == 0)
                q = add_query(&s.target, r);
        if (q == 0)
                add_canonical(&s.canonical, &names, r, buf_str(&s.target), s.date);
        if (q == 0 && (buf_oom(&s.target) || buf_oom(&s.canonical) || buf_oom(&names)))
                q = -ENOMEM;
        if (q == 0)
                q = sign(r, &s, buf_str(&names));
        if (q < 0)
                sigv4_signed_done(&s);
        else
                *ret = s;
        return q;
}

void sigv4_signed_done(struct sigv4_signed *s)
{
        buf_done(&s->target);
        buf_done(&s->authorization);
        buf_done(&s->canonical);
}
