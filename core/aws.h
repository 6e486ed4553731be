/* aws.h - one service of Amazon, or one that speaks as it: signed requests, and errors in words.
 *
 * Floor 3. Knows endpoint, region, credentials and the service's clock; each request is signed anew
 * when it is sent. A request is sent once more at once where the cause is ours to mend: our clock
 * is off (the service's Date is taken from then on), or the credentials expired (the source is
 * asked again). Not here: waiting and trying again (store_retry.h), what operations mean. Any
 * thread. */
#pragma once

#include "base.h"
#include "err.h"
#include "http.h"
#include "sigv4.h"

struct aws;
struct config;

/* `service` "s3" or "glacier": the name in the signature, and in the default address. Endpoint:
 * ENDPOINT_URL, AWS_ENDPOINT_URL_S3 (_GLACIER), AWS_ENDPOINT_URL, Amazon's. `config` must outlive
 * it. Sends nothing. */
int aws_new(const struct config *config, const char *service, struct aws **ret, struct err *e);
void aws_free(struct aws *a);
DEFINE_CLEANUP(aws_free, struct aws *)

const char *aws_region(const struct aws *a);
const char *aws_host(const struct aws *a);     /* with port where it is not the scheme's own */
bool aws_is_own_endpoint(const struct aws *a); /* not Amazon's */
/* How far the service's clock is before ours, ns; 0 while it agrees within five minutes, or nothing
 * has been asked. */
int64_t aws_skew(struct aws *a);

struct aws_call {
        const char *what;  /* "send part 3 of archives/…": comes after "cannot" in messages */
        const char *right; /* what the user must be allowed: "s3:PutObject" */
        const char *method;
        const char *subhost; /* comes before the endpoint's host ("bucket"), or NULL */
        const char *path;    /* not encoded, begins with '/' */
        const struct sigv4_pair *query;
        size_t n_query;
        const struct sigv4_pair *headers; /* lower case; all are signed */
        size_t n_headers;
        const void *body;
        size_t body_len;
        const uint8_t *sha256; /* of the body, 32 bytes; NULL: computed */
        void *into;            /* as in http.h */
        size_t into_len;
        unsigned stall_seconds;
        const struct store_control *control; /* NULL allowed; `sending` only with `counts` */
        bool once;                           /* as in http.h */
        bool counts;                         /* the body counts as payload: control->sending */
};

struct aws_answer {
        struct http_answer http;
        char code[80];     /* the service's word for the error, "" if there was none */
        char message[400]; /* and its sentence */
};
void aws_answer_done(struct aws_answer *a);
#define _cleanup_aws_answer_ _cleanup_(aws_answer_done)

/* 0 for a 2xx answer. Otherwise words that say what to do, and: -EAGAIN may work later, -EBUSY the
 * service has too much to do (err.wait_ns: what it asks for), -EACCES a right is missing, -EPERM
 * the keys, the region or the clock are wrong, -ENOENT, -ENODEV no such bucket or vault, -EEXIST a
 * condition was not met, -EREMOTE must be thawed first, -EALREADY asked for before, -EDQUOT a
 * quota, -EOPNOTSUPP the service has not got it, -EKEYREJECTED, -ECANCELED, -EINVAL. `ret` is
 * zeroed before, or of an earlier call. */
int aws_do(struct aws *a, const struct aws_call *c, struct aws_answer *ret, struct err *e);

/* The error inside a 200 answer (CompleteMultipartUpload): 0 if there is none. */
int aws_hidden_error(
        struct aws *a, const struct aws_call *c, struct aws_answer *ret, struct err *e);
