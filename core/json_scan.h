/* json_scan.h - a JSON file read as a stream: values one after the other, lines counted.
 *
 * Floor 2. For logs that are larger than memory, where jansson wants all of it at once. Strict
 * (RFC 8259), depth up to 512. Strings come as bytes: \udc80 to \udcff alone, as Python writes
 * bytes that are not UTF-8, become these bytes again; other lone surrogates U+FFFD. Mistakes are
 * -EPROTO "FILE:LINE: why". One thread a scan. */
#pragma once

#include "base.h"
#include "err.h"

struct buf;
struct json_scan;

/* -ENOENT if it is not there. */
int json_scan_open(const char *path, struct json_scan **ret, struct err *e);
void json_scan_free(struct json_scan *s);
DEFINE_CLEANUP(json_scan_free, struct json_scan *)

/* The first character of the next value, spaces passed over: { [ " t f n - 0-9; 0 at the end. */
int json_scan_peek(struct json_scan *s);

/* An object: after _enter('{'), _key() until it returns 0, each time followed by its value.
 * Likewise an array with _enter('[') and _item(). 1 there is one, 0 the end has been passed,
 * -errno. */
int json_scan_enter(struct json_scan *s, char open, struct err *e);
int json_scan_key(struct json_scan *s, struct buf *ret, struct err *e);
int json_scan_item(struct json_scan *s, struct err *e);

/* Whole values. */
int json_scan_string(struct json_scan *s, struct buf *ret, struct err *e);
int json_scan_number(struct json_scan *s, double *ret, struct err *e);
int json_scan_bool(struct json_scan *s, bool *ret, struct err *e);
/* Any value, its bytes as they stand, piece by piece; `copy` NULL: passed over. */
int json_scan_value(struct json_scan *s,
        int (*copy)(void *ctx, const char *data, size_t len, struct err *e), void *ctx,
        struct err *e);
/* Nothing but spaces may follow. */
int json_scan_end(struct json_scan *s, struct err *e);
/* The error for a value of another kind than was looked for. */
int json_scan_wrong(struct json_scan *s, const char *why, struct err *e);
