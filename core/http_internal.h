/* http_internal.h - addresses and errors, shared by the http_*.c files and nobody else. */
#pragma once

#include "http.h"

#include <curl/curl.h>

/* The host of a URL, without port and brackets. -EINVAL. */
int http_host_of(const char *url, char *out, size_t size);
/* "localhost", 127.x.y.z, "::1": a claim that the socket checks. */
bool http_is_loopback(const char *host);
/* libcurl's failure in words and in our vocabulary. */
int http_error(CURLcode code, const char *why, const char *url, struct err *e);
