/* bytes.h - a bounds-checked cursor over bytes, hex and base64.
 *
 * Floor 0. All parsing of binary input goes through a `struct bytes`: it never reads past its end;
 * the first read that would sets `bad` and from then on every read gives zeros. Check `bad` once
 * at the end. Integers are big-endian unless the name says le. Any thread. */
#pragma once

#include "base.h"

struct bytes {
        const uint8_t *p;
        size_t left;
        bool bad;
};

struct bytes bytes_of(const void *data, size_t len);
uint8_t bytes_u8(struct bytes *b);
uint16_t bytes_u16(struct bytes *b);
uint32_t bytes_u32(struct bytes *b);
uint64_t bytes_u64(struct bytes *b);
uint32_t bytes_u32le(struct bytes *b);
/* A borrowed view of the next `len` bytes, or NULL (and bad) if there are fewer. */
const uint8_t *bytes_take(struct bytes *b, size_t len);

/* Writers: store at p, return p + size. The caller guarantees the room. */
uint8_t *bytes_put_u16(uint8_t *p, uint16_t v);
uint8_t *bytes_put_u32(uint8_t *p, uint32_t v);
uint8_t *bytes_put_u64(uint8_t *p, uint64_t v);

/* Lower-case hex of `len` bytes into `out` (2 * len + 1 bytes with the terminator). */
void bytes_hex(const void *data, size_t len, char *out);
/* Exactly 2 * len hex digits (either case) to `len` bytes. 0 or -EINVAL. */
int bytes_unhex(const char *hex, void *out, size_t len);

#define BYTES_BASE64_LEN(n) (((n) + 2) / 3 * 4 + 1)
/* Standard base64 (RFC 4648, with padding) into `out` of BYTES_BASE64_LEN(len). */
void bytes_base64(const void *data, size_t len, char *out);

/* True if the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool bytes_is_utf8(const void *data, size_t len);
