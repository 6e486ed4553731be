#include "bytes.h"

struct bytes bytes_of(const void *data, size_t len)
{
        return (struct bytes){.p = data, .left = len};
}

const uint8_t *bytes_take(struct bytes *b, size_t len)
{
        if (b->bad || len > b->left) {
                b->bad = true;
                return NULL;
        }
        const uint8_t *p = b->p;
        b->p += len;
        b->left -= len;
        return p;
}

static uint64_t take_be(struct bytes *b, size_t n)
{
        const uint8_t *p = bytes_take(b, n);
        uint64_t v = 0;
        for (size_t i = 0; p && i < n; i++)
                v = v << 8 | p[i];
        return v;
}

static uint64_t take_le(struct bytes *b, size_t n)
{
        const uint8_t *p = bytes_take(b, n);
        uint64_t v = 0;
        for (size_t i = n; p && i > 0; i--)
                v = v << 8 | p[i - 1];
        return v;
}

uint8_t bytes_u8(struct bytes *b)
{
        return (uint8_t)take_be(b, 1);
}

uint16_t bytes_u16(struct bytes *b)
{
        return (uint16_t)take_be(b, 2);
}

uint32_t bytes_u32(struct bytes *b)
{
        return (uint32_t)take_be(b, 4);
}

uint64_t bytes_u64(struct bytes *b)
{
        return take_be(b, 8);
}

uint32_t bytes_u32le(struct bytes *b)
{
        return (uint32_t)take_le(b, 4);
}

static uint8_t *put_be(uint8_t *p, uint64_t v, size_t n)
{
        for (size_t i = 0; i < n; i++)
                p[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
        return p + n;
}

uint8_t *bytes_put_u16(uint8_t *p, uint16_t v)
{
        return put_be(p, v, 2);
}

uint8_t *bytes_put_u32(uint8_t *p, uint32_t v)
{
        return put_be(p, v, 4);
}

uint8_t *bytes_put_u64(uint8_t *p, uint64_t v)
{
        return put_be(p, v, 8);
}

void bytes_hex(const void *data, size_t len, char *out)
{
        static const char digits[] = "0123456789abcdef";
        const uint8_t *p = data;
        for (size_t i = 0; i < len; i++) {
                *out++ = digits[p[i] >> 4];
                *out++ = digits[p[i] & 15];
        }
        *out = 0;
}

static int nibble(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

int bytes_unhex(const char *hex, void *out, size_t len)
{
        uint8_t *p = out;
        if (strlen(hex) != 2 * len)
                return -EINVAL;
        for (size_t i = 0; i < len; i++) {
                int hi = nibble(hex[2 * i]), lo = nibble(hex[2 * i + 1]);
                if (hi < 0 || lo < 0)
                        return -EINVAL;
                p[i] = (uint8_t)(hi << 4 | lo);
        }
        return 0;
}

void bytes_base64(const void *data, size_t len, char *out)
{
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const uint8_t *p = data;
        for (size_t i = 0; i < len; i += 3) {
                size_t n = MIN(len - i, (size_t)3);
                uint32_t v = (uint32_t)p[i] << 16;
                v |= n > 1 ? (uint32_t)p[i + 1] << 8 : 0;
                v |= n > 2 ? p[i + 2] : 0;
                *out++ = digits[v >> 18];
                *out++ = digits[v >> 12 & 63];
                *out++ = n > 1 ? digits[v >> 6 & 63] : '=';
                *out++ = n > 2 ? digits[v & 63] : '=';
        }
        *out = 0;
}

/* The number of bytes of the well-formed sequence at p, or 0. Table 3-7 of the Unicode standard. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
        uint8_t c = p[0];
        if (c < 0x80)
                return 1;
        size_t n = c >= 0xc2 && c <= 0xdf   ? 2
                   : c >= 0xe0 && c <= 0xef ? 3
                   : c >= 0xf0 && c <= 0xf4 ? 4
                                            : 0;
        if (n == 0 || n > left)
                return 0;
        uint8_t lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        uint8_t hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (p[1] < lo || p[1] > hi)
                return 0;
        for (size_t i = 2; i < n; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        return n;
}

bool bytes_is_utf8(const void *data, size_t len)
{
        const uint8_t *p = data;
        while (len > 0) {
                size_t n = utf8_sequence(p, len);
                if (n == 0)
                        return false;
                p += n;
                len -= n;
        }
        return true;
}
