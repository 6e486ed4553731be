/* manifest_internal.h - what writer and reader of the manifest share. Private to manifest*.c. */
#pragma once

#include "catalog.h"
#include "manifest.h"

#define MANIFEST_VERSION  1
#define MANIFEST_LINE_MAX MiB

#define MANIFEST_TIME_MAX 32
/* Nanoseconds since 1970 as decimal seconds, "-1.500000000": exact in every language. */
void manifest_time_write(int64_t t, char out[MANIFEST_TIME_MAX]);
bool manifest_time_parse(const char *s, int64_t *ret);

/* Standard base64 with padding to bytes without a zero byte; the caller frees them. */
bool manifest_base64_parse(const char *s, char **ret);
