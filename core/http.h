/* http.h - requests to services, over one pool of connections.
 *
 * Floor 3. libcurl: keep-alive, HTTP/1.1 and 2, proxies from the environment, IPv6, certificates
 * always verified (AWS_CA_BUNDLE or SSL_CERT_FILE name other roots). Plain http only to this
 * machine, unless the caller insists. Redirects are never followed: a signed request goes where it
 * was signed for. A transfer that stalls is given up; there is no limit on the time of one that
 * moves. Not here: signing, retrying, what an answer means.
 *
 * A struct http may be used by any number of threads at once; each request takes a connection that
 * is idle, or a new one. */
#pragma once

#include "base.h"
#include "buf.h"
#include "err.h"

#include <stdatomic.h>

struct http;

/* allow_plain: http:// to other machines too. */
int http_new(bool allow_plain, struct http **ret, struct err *e);
void http_free(struct http *h); /* no request may be running */
DEFINE_CLEANUP(http_free, struct http *)

struct http_request {
        const char *method;
        const char *url;     /* whole; sent byte for byte as it stands */
        const char *headers; /* "Name: value" lines, each with '\n' at its end; or NULL */
        const void *body;    /* borrowed */
        size_t body_len;
        /* Where the content of a 2xx answer goes. Without it (NULL), and for other answers: into
         * http_answer.body, of at most 16 MiB. */
        void *into;
        size_t into_len;
        unsigned connect_seconds; /* 0: 15 */
        unsigned stall_seconds;   /* nothing moved for so long: given up. 0: 60 */
        bool once; /* never sent twice: libcurl by itself repeats on a kept connection that died */
        bool plain_ok;           /* for metadata services on link-local addresses */
        const atomic_bool *stop; /* NULL allowed */
        void (*sending)(void *ctx, size_t bytes); /* before so many bytes of the body leave; may
                                                     block; NULL allowed */
        void *ctx;
};

struct http_answer {
        int status;
        struct buf head; /* header lines of the last answer */
        struct buf body;
        size_t received; /* into `into` */
};
void http_answer_done(struct http_answer *a);
#define _cleanup_http_answer_ _cleanup_(http_answer_done)

/* 0 if there was an answer, whatever it says. *a must be zeroed, or of an earlier request. Errors
 * in words, naming the host: -EAGAIN it may work later (cut, refused, no route, no such name,
 * stalled); -EKEYREJECTED TLS is not to be trusted; -ECANCELED stopped; -EINVAL the URL;
 * -EFBIG more content than asked for. */
int http_do(struct http *h, const struct http_request *r, struct http_answer *a, struct err *e);

/* Copies the value of a header of the answer (any case) to `out`, cut where too long. False if it
 * is not there. */
bool http_header(const struct http_answer *a, const char *name, char *out, size_t size);

/* "https://host:port/base" taken apart; each at most so long. Base without '/' at its end. -EINVAL.
 */
struct http_endpoint {
        char scheme[8], host[256]; /* host with port where it is not the scheme's own */
        char base[512];
};
int http_endpoint_parse(const char *url, struct http_endpoint *ret, struct err *e);
