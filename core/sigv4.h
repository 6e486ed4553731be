/* sigv4.h - AWS Signature Version 4: from a request to the headers that prove who sends it.
 *
 * Floor 1. A pure function of its input: no clock, no network, nothing kept. Not here: presigned
 * URLs, chunked signatures, SigV4A. Any thread.
 *
 * Source: "Signature Version 4 signing process" and "Authenticating Requests: Using the
 * Authorization Header" (Amazon S3 API Reference). Everything outside A-Z a-z 0-9 - . _ ~ is
 * percent-encoded, in the path except '/', with upper-case digits; the query is sorted by encoded
 * name, then value. S3 signs the path as it is sent; other services sign it encoded once more. */
#pragma once

#include "base.h"
#include "buf.h"

struct sigv4_pair {
        const char *name, *value;
};

struct sigv4_request {
        const char *method;
        const char *host; /* as in the Host header: with the port where it is not the default */
        const char *path; /* plain bytes, begins with '/'; not encoded */
        const struct sigv4_pair *query; /* plain bytes; an empty value is sent as "name=" */
        size_t n_query;
        /* Further headers that are signed; names in lower case, each once. Not host, x-amz-date and
         * x-amz-security-token: these are added. */
        const struct sigv4_pair *headers;
        size_t n_headers;
        const char *payload; /* hex SHA-256 of the body, or "UNSIGNED-PAYLOAD" */
        const char *region, *service;
        int64_t time; /* seconds since 1970 UTC */
        const char *access_key, *secret_key;
        const char *session_token; /* NULL or "": none */
};

struct sigv4_signed {
        struct buf target; /* path and query as they must be sent */
        struct buf authorization;
        struct buf canonical; /* the canonical request, to compare with what a server expected */
        char date[20];        /* for x-amz-date */
};

/* 0, -EINVAL (method, host, path, keys missing; more than 64 pairs), -EIO (OpenSSL), -ENOMEM. */
int sigv4_sign(const struct sigv4_request *r, struct sigv4_signed *ret);
void sigv4_signed_done(struct sigv4_signed *s);
