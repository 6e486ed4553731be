#include "aws_internal.h"

#include "clock.h"
#include "xml.h"

#include <curl/curl.h>
#include <jansson.h>

/* ---- reading ---- */

static const char *first_of(const json_t *o, const char *const *names)
{
        const char *v = NULL;
        for (; *names && !v; names++)
                v = json_string_value(json_object_get(o, *names));
        return v;
}

static void read_json(struct aws_answer *r)
{
        json_auto_t *o = json_loadb(r->http.body.data, r->http.body.len, 0, NULL);
        const char *code = first_of(o, (const char *const[]){"code", "Code", "__type", NULL});
        const char *message = first_of(o, (const char *const[]){"message", "Message", NULL});
        if (code) /* cut where too long; "namespace#Code" */
                (void)snprintf(r->code, sizeof r->code, "%s",
                        strchr(code, '#') ? strchr(code, '#') + 1 : code);
        if (message)
                (void)snprintf(r->message, sizeof r->message, "%s", message); /* likewise */
}

static void take_text(const struct buf *b, const char *name, char *out, size_t size)
{
        char path[40];
        (void)snprintf(path, sizeof path, "ErrorResponse/Error/%s", name); /* fits */
        if (!xml_text(b->data, b->len, startswith(path, "ErrorResponse/"), out, size))
                (void)xml_text(b->data, b->len, path, out, size); /* or none */
}

void aws_read_error(struct aws_answer *r)
{
        const struct buf *b = &r->http.body;
        if (b->len > 0 && b->data[strspn(b->data, " \t\r\n")] == '{') {
                read_json(r);
        } else if (b->len > 0) {
                take_text(b, "Code", r->code, sizeof r->code);
                take_text(b, "Message", r->message, sizeof r->message);
        }
        if (!*r->code && http_header(&r->http, "x-amzn-ErrorType", r->code, sizeof r->code))
                r->code[strcspn(r->code, ":")] = 0;
}

/* ---- meaning ---- */

enum advice {
        ADVICE_NONE,
        ADVICE_KEY,
        ADVICE_SECRET,
        ADVICE_RIGHT,
        ADVICE_REGION,
        ADVICE_CLOCK,
        ADVICE_EXPIRED,
        ADVICE_BUCKET,
        ADVICE_CLASS,
        ADVICE_NO_VAULTS,
        ADVICE_POLICY,
        ADVICE_QUOTA,
        ADVICE_CAPACITY,
};

static const struct meaning {
        const char *code;
        int error;
        enum advice advice;
} meanings[] = {
        {"AccessDenied", -EACCES, ADVICE_RIGHT},
        {"AccessDeniedException", -EACCES, ADVICE_RIGHT},
        {"AllAccessDisabled", -EACCES, ADVICE_NONE},
        {"AuthorizationHeaderMalformed", -EPERM, ADVICE_REGION},
        {"AuthFailure", -EPERM, ADVICE_KEY},
        {"BadDigest", -EAGAIN, ADVICE_NONE},
        {"BandwidthLimitExceeded", -EBUSY, ADVICE_NONE},
        {"ConditionalRequestConflict", -EAGAIN, ADVICE_NONE},
        {"ExpiredToken", -EAGAIN, ADVICE_EXPIRED},
        {"ExpiredTokenException", -EAGAIN, ADVICE_EXPIRED},
        {"IllegalLocationConstraintException", -EPERM, ADVICE_REGION},
        {"IncompleteBody", -EAGAIN, ADVICE_NONE},
        {"InsufficientCapacityException", -EAGAIN, ADVICE_CAPACITY},
        {"GlacierExpeditedRetrievalNotAvailable", -EAGAIN, ADVICE_CAPACITY},
        {"InternalError", -EAGAIN, ADVICE_NONE},
        {"InvalidAccessKeyId", -EPERM, ADVICE_KEY},
        {"InvalidDigest", -EAGAIN, ADVICE_NONE},
        {"InvalidObjectState", -EREMOTE, ADVICE_NONE},
        {"InvalidSecurity", -EPERM, ADVICE_SECRET},
        {"InvalidSignatureException", -EPERM, ADVICE_SECRET},
        {"InvalidStorageClass", -EINVAL, ADVICE_CLASS},
        {"InvalidToken", -EPERM, ADVICE_KEY},
        {"LimitExceededException", -EDQUOT, ADVICE_QUOTA},
        {"MethodNotAllowed", -EOPNOTSUPP, ADVICE_NONE},
        {"MissingAuthenticationTokenException", -EPERM, ADVICE_KEY},
        {"NoLongerSupportedException", -EOPNOTSUPP, ADVICE_NO_VAULTS},
        {"NoSuchBucket", -ENODEV, ADVICE_BUCKET},
        {"NoSuchKey", -ENOENT, ADVICE_NONE},
        {"NoSuchUpload", -ENOENT, ADVICE_NONE},
        {"NotImplemented", -EOPNOTSUPP, ADVICE_NONE},
        {"OperationAborted", -EAGAIN, ADVICE_NONE},
        {"PermanentRedirect", -EPERM, ADVICE_REGION},
        {"PolicyEnforcedException", -EDQUOT, ADVICE_POLICY},
        {"PreconditionFailed", -EEXIST, ADVICE_NONE},
        {"QuotaExceeded", -EDQUOT, ADVICE_QUOTA},
        {"RequestExpired", -EPERM, ADVICE_CLOCK},
        {"RequestLimitExceeded", -EBUSY, ADVICE_NONE},
        {"RequestTimeTooSkewed", -EPERM, ADVICE_CLOCK},
        {"RequestTimeout", -EAGAIN, ADVICE_NONE},
        {"RequestTimeoutException", -EAGAIN, ADVICE_NONE},
        {"ResourceNotFoundException", -ENOENT, ADVICE_NONE},
        {"RestoreAlreadyInProgress", -EALREADY, ADVICE_NONE},
        {"ServiceUnavailable", -EBUSY, ADVICE_NONE},
        {"ServiceUnavailableException", -EAGAIN, ADVICE_NONE},
        {"SignatureDoesNotMatch", -EPERM, ADVICE_SECRET},
        {"SlowDown", -EBUSY, ADVICE_NONE},
        {"Throttling", -EBUSY, ADVICE_NONE},
        {"ThrottlingException", -EBUSY, ADVICE_NONE},
        {"ThrottledException", -EBUSY, ADVICE_NONE},
        {"TokenRefreshRequired", -EAGAIN, ADVICE_EXPIRED},
        {"TooManyRequestsException", -EBUSY, ADVICE_NONE},
        {"UnrecognizedClientException", -EPERM, ADVICE_KEY},
        {"XAmzContentChecksumMismatch", -EAGAIN, ADVICE_NONE},
        {"XAmzContentSHA256Mismatch", -EAGAIN, ADVICE_NONE},
        {"XMinioAdminBucketQuotaExceeded", -EDQUOT, ADVICE_QUOTA},
        {"XMinioStorageFull", -EDQUOT, ADVICE_QUOTA},
};

/* Answers without a code: to HEAD, from proxies. */
static struct meaning by_status(int status)
{
        switch (status) {
        case 301:
        case 302:
        case 303:
        case 307:
        case 308:
                return (struct meaning){"", -EPERM, ADVICE_REGION};
        case 405:
        case 501:
                return (struct meaning){"", -EOPNOTSUPP, ADVICE_NONE};
        case 401:
                return (struct meaning){"", -EPERM, ADVICE_KEY};
        case 403:
                return (struct meaning){"", -EACCES, ADVICE_RIGHT};
        case 404:
                return (struct meaning){"", -ENOENT, ADVICE_NONE};
        case 409:
                return (struct meaning){"", -EAGAIN, ADVICE_NONE};
        case 412:
                return (struct meaning){"", -EEXIST, ADVICE_NONE};
        case 416:
                return (struct meaning){"", -EPROTO, ADVICE_NONE};
        case 429:
        case 503:
                return (struct meaning){"", -EBUSY, ADVICE_NONE};
        case 408:
        case 500:
        case 502:
        case 504:
                return (struct meaning){"", -EAGAIN, ADVICE_NONE};
        default:
                return (struct meaning){"", status >= 500 ? -EAGAIN : -EINVAL, ADVICE_NONE};
        }
}

static struct meaning meaning_of(const struct aws_answer *r)
{
        /* An expired token or a request that came too slowly, in the answer to HEAD. */
        if (r->http.status == 400 && r->http.body.len == 0 && !*r->code)
                return (struct meaning){"", -EAGAIN, ADVICE_NONE};
        /* A vault calls it a wrong signature. */
        if (strcasestr(r->message, "scoped to a valid region"))
                return (struct meaning){"", -EPERM, ADVICE_REGION};
        for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
                if (streq(meanings[i].code, r->code))
                        return meanings[i];
        return by_status(r->http.status);
}

bool aws_is_expired(const struct aws_answer *r)
{
        return meaning_of(r).advice == ADVICE_EXPIRED;
}

/* ---- what to do ---- */

static bool their_region(const struct aws_answer *r, char *out, size_t size)
{
        if (http_header(&r->http, "x-amz-bucket-region", out, size) && *out)
                return true;
        return r->http.body.len > 0 &&
               xml_text(r->http.body.data, r->http.body.len, "Error/Region", out, size) && *out;
}

/* Something in front of the service sends everybody on, from http to https for one. */
static bool elsewhere(const struct aws *a, const struct aws_call *c, const struct aws_answer *r,
        struct http_endpoint *ret)
{
        char where[1024];
        if (!aws_is_own_endpoint(a) || !http_header(&r->http, "Location", where, sizeof where) ||
                http_endpoint_parse(where, ret, NULL) < 0)
                return false;
        size_t n = c->subhost ? strlen(c->subhost) : 0;
        if (n > 0 && strncmp(ret->host, c->subhost, n) == 0 && ret->host[n] == '.')
                memmove(ret->host, ret->host + n + 1, strlen(ret->host + n + 1) + 1);
        return true;
}

static void advise_region(
        const struct aws *a, const struct aws_call *c, const struct aws_answer *r, struct err *e)
{
        char region[64];
        struct http_endpoint there;
        if (their_region(r, region, sizeof region))
                err_hint(e,
                        "it is in the region %s, not %s: put \"REGION_NAME\": \"%s\" into the "
                        "configuration",
                        region, aws_region(a), region);
        else if (elsewhere(a, c, r, &there))
                err_hint(e,
                        "it sends us on to %s://%s; if that is the service's address, put it into "
                        "ENDPOINT_URL",
                        there.scheme, there.host);
        else
                err_hint(e,
                        "it is in another region than %s: put the right REGION_NAME into the "
                        "configuration",
                        aws_region(a));
}

static void advise_keys(enum advice k, const struct aws_call *c, const char *source, struct err *e)
{
        if (!*source)
                source = "the configuration";
        if (k == ADVICE_KEY)
                err_hint(e,
                        "the service does not know the access key from %s; correct "
                        "AWS_ACCESS_KEY_ID there",
                        source);
        else if (k == ADVICE_SECRET)
                err_hint(e,
                        "the secret key from %s is not the one of its access key; correct "
                        "AWS_SECRET_ACCESS_KEY there",
                        source);
        else if (k == ADVICE_EXPIRED && streq(source, "the environment"))
                err_hint(e, "the keys from the environment have expired; start the program again "
                            "with new ones");
        else if (k == ADVICE_EXPIRED)
                err_hint(e,
                        "the keys from %s have expired; renew them there, and it goes on by itself",
                        source);
        else
                err_hint(e,
                        "the key from %s may not do this; its user needs the right %s "
                        "(autoglacier init prints a policy that is enough)",
                        source, c->right ? c->right : "for it");
}

static void advise(const struct aws *a, const struct aws_call *c, const struct aws_answer *r,
        enum advice k, const char *source, struct err *e)
{
        switch (k) {
        case ADVICE_NONE:
                break;
        case ADVICE_KEY:
        case ADVICE_SECRET:
        case ADVICE_RIGHT:
        case ADVICE_EXPIRED:
                advise_keys(k, c, source, e);
                break;
        case ADVICE_REGION:
                advise_region(a, c, r, e);
                break;
        case ADVICE_CLOCK:
                err_hint(e, "this machine's clock is wrong; set it (timedatectl set-ntp true)");
                break;
        case ADVICE_BUCKET:
                err_hint(e, "make the bucket, or correct VAULT in the configuration");
                break;
        case ADVICE_CLASS:
                err_hint(e, "the service has no such class; put one that it has into "
                            "STORAGE_CLASS");
                break;
        case ADVICE_NO_VAULTS:
                err_hint(e, "this account cannot use Glacier vaults any more; use a bucket: "
                            "\"VAULT\": \"s3://bucket\" with STORAGE_CLASS DEEP_ARCHIVE");
                break;
        case ADVICE_POLICY:
                err_hint(e, "the account's data retrieval policy does not allow so much; raise it "
                            "in the Glacier console, or ask again next hour or with tier bulk");
                break;
        case ADVICE_QUOTA:
                err_hint(e, "this is a quota of the account, not a passing load; free something "
                            "or have it raised");
                break;
        case ADVICE_CAPACITY:
                err_hint(e, "the service has no room for expedited requests now; use tier "
                            "standard, or try later");
                break;
        }
}

static int64_t asked_to_wait(const struct aws_answer *r)
{
        char v[64];
        if (!http_header(&r->http, "Retry-After", v, sizeof v))
                return 0;
        char *end;
        long long s = strtoll(v, &end, 10);
        if (end != v && *end == 0)
                return s > 0 && s < 86400 ? s * CLOCK_NSEC : 0;
        time_t t = curl_getdate(v, NULL);
        int64_t wait = t < 0 ? 0 : clock_of(t, 0) - clock_now();
        return MAX(wait, 0);
}

int aws_explain(const struct aws *a, const struct aws_call *c, const struct aws_answer *r,
        const char *source, struct err *e)
{
        struct meaning m = meaning_of(r);
        if (!*r->code && !*r->message)
                err_set(e, m.error, "cannot %s: %s answered %d", c->what, aws_host(a),
                        r->http.status);
        else
                err_set(e, m.error, "cannot %s: %s%s%s", c->what, r->code, *r->message ? ": " : "",
                        r->message);
        if (e && e->text[0] && m.advice != ADVICE_NONE) {
                size_t n = strlen(e->text);
                while (n > 0 && e->text[n - 1] == '.')
                        e->text[--n] = 0; /* the advice goes on in the same sentence */
        }
        advise(a, c, r, m.advice, source, e);
        if (e)
                e->wait_ns = asked_to_wait(r);
        return m.error;
}
