/* buf.h - a growable byte string, always terminated by a zero byte that is not counted.
 *
 * Floor 1. For text and small records, not for file content. One thread at a time. An allocation
 * that fails sets `oom`; from then on appending does nothing. Check buf_oom() once at the end. */
#pragma once

#include "base.h"

#include <stdarg.h>

struct buf {
        char *data; /* NULL until the first byte is appended; use buf_str() for a string */
        size_t len;
        size_t cap;
        bool oom;
};

#define BUF_INIT                                                                                   \
        {                                                                                          \
                0                                                                                  \
        }
#define _cleanup_buf_ _cleanup_(buf_done)

void buf_done(struct buf *b);
void buf_reset(struct buf *b); /* empty again, memory kept */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
/* Appends `s` of `len` bytes as a JSON string with quotes; bytes that are not UTF-8 become U+FFFD.
 */
void buf_add_json(struct buf *b, const char *s, size_t len);
/* The text; "" when nothing was appended. Borrowed until the next change. */
const char *buf_str(const struct buf *b);
/* Gives the text away (the caller frees it) and leaves the buffer empty. NULL when out of memory.
 */
char *buf_steal(struct buf *b);
bool buf_oom(const struct buf *b);
