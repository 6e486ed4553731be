#include "buf.h"

#include "bytes.h"

void buf_done(struct buf *b)
{
        free(b->data);
        *b = (struct buf)BUF_INIT;
}

void buf_reset(struct buf *b)
{
        b->len = 0;
        if (b->data)
                b->data[0] = 0;
}

static bool reserve(struct buf *b, size_t more)
{
        if (b->oom)
                return false;
        size_t need = b->len + more + 1;
        if (need <= b->cap)
                return true;
        size_t cap = MAX(need, MAX(b->cap * 2, (size_t)64));
        char *p = realloc(b->data, cap);
        if (!p) {
                b->oom = true;
                return false;
        }
        b->data = p;
        b->cap = cap;
        return true;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
        if (!reserve(b, len))
                return;
        if (len > 0)
                memcpy(b->data + b->len, data, len);
        b->len += len;
        b->data[b->len] = 0;
}

void buf_adds(struct buf *b, const char *s)
{
        buf_add(b, s, strlen(s));
}

void buf_addc(struct buf *b, char c)
{
        buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        if (n < 0 || !reserve(b, (size_t)n))
                return;
        va_start(ap, fmt);
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap); /* measured above */
        va_end(ap);
        b->len += (size_t)n;
}

/* The length of the UTF-8 sequence at s, or 0. */
static size_t sequence(const char *s, size_t len)
{
        for (size_t n = 1; n <= 4 && n <= len; n++)
                if (bytes_is_utf8(s, n))
                        return n;
        return 0;
}

void buf_add_json(struct buf *b, const char *s, size_t len)
{
        buf_addc(b, '"');
        while (len > 0) {
                unsigned char c = (unsigned char)*s;
                size_t n = sequence(s, len);
                if (n == 0) {
                        buf_adds(b, "\xef\xbf\xbd");
                        n = 1;
                } else if (c == '"' || c == '\\') {
                        buf_addf(b, "\\%c", c);
                } else if (c == '\n') {
                        buf_adds(b, "\\n");
                } else if (c < 0x20 || c == 0x7f) {
                        buf_addf(b, "\\u%04x", c);
                } else {
                        buf_add(b, s, n);
                }
                s += n;
                len -= n;
        }
        buf_addc(b, '"');
}

const char *buf_str(const struct buf *b)
{
        return b->data ? b->data : "";
}

char *buf_steal(struct buf *b)
{
        if (!reserve(b, 0))
                return NULL;
        b->data[b->len] = 0;
        char *p = b->data;
        *b = (struct buf)BUF_INIT;
        return p;
}

bool buf_oom(const struct buf *b)
{
        return b->oom;
}
