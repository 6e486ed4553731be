#include "json_scan.h"

#include "buf.h"
#include "bytes.h"

#include <fcntl.h>
#include <inttypes.h>

#define DEPTH_MAX  512
#define STRING_MAX (16u * MiB)
#define NUMBER_MAX 64u

struct json_scan {
        char *name;
        int fd;
        int failed; /* reading did */
        char data[64 * KiB];
        size_t at, have;
        uint64_t line;
        unsigned depth;
        bool first[DEPTH_MAX + 1]; /* no comma before the next */
        /* What is passed over goes here, while a value is copied. */
        int (*copy)(void *ctx, const char *data, size_t len, struct err *e);
        void *copy_ctx;
        struct buf held; /* copied but not handed out */
};

int json_scan_open(const char *path, struct json_scan **ret, struct err *e)
{
        _cleanup_(json_scan_freep) struct json_scan *s = calloc(1, sizeof *s);
        if (!s)
                return err_oom(e);
        s->line = 1;
        s->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (s->fd < 0)
                return err_errno(e, -errno, "cannot open %s", path);
        if (!(s->name = strdup(path)))
                return err_oom(e);
        *ret = steal(s);
        return 0;
}

void json_scan_free(struct json_scan *s)
{
        if (!s)
                return;
        base_closep(&s->fd);
        buf_done(&s->held);
        free(s->name);
        free(s);
}

int json_scan_wrong(struct json_scan *s, const char *why, struct err *e)
{
        if (s->failed < 0)
                return err_errno(e, s->failed, "cannot read %s", s->name);
        return err_set(e, -EPROTO, "%s:%" PRIu64 ": %s", s->name, s->line, why);
}

/* ---- characters ---- */

static int look(struct json_scan *s)
{
        while (s->at == s->have && s->failed == 0) {
                ssize_t n = read(s->fd, s->data, sizeof s->data);
                if (n < 0 && errno == EINTR)
                        continue;
                s->at = 0;
                s->have = n > 0 ? (size_t)n : 0;
                s->failed = n < 0 ? -errno : n == 0 ? 1 : 0;
        }
        return s->at < s->have ? (unsigned char)s->data[s->at] : 0;
}

static bool at_end(struct json_scan *s)
{
        return look(s) == 0 && s->at == s->have;
}

static int take(struct json_scan *s)
{
        int c = look(s);
        if (s->at == s->have)
                return 0;
        s->at++;
        s->line += c == '\n';
        if (s->copy)
                buf_addc(&s->held, (char)c);
        return c;
}

static int hand_out(struct json_scan *s, size_t above, struct err *e)
{
        if (!s->copy || s->held.len <= above)
                return 0;
        if (buf_oom(&s->held))
                return err_oom(e);
        int q = s->copy(s->copy_ctx, s->held.data, s->held.len, e);
        buf_reset(&s->held);
        return q;
}

static int skip(struct json_scan *s)
{
        int c;
        while ((c = look(s)) == ' ' || c == '\t' || c == '\n' || c == '\r')
                (void)take(s);
        return c;
}

int json_scan_peek(struct json_scan *s)
{
        return skip(s);
}

/* ---- strings ---- */

static void add_utf8(struct buf *b, uint32_t c)
{
        if (c < 0x80) {
                buf_addc(b, (char)c);
        } else if (c < 0x800) {
                buf_addc(b, (char)(0xc0 | c >> 6));
                buf_addc(b, (char)(0x80 | (c & 0x3f)));
        } else if (c < 0x10000) {
                buf_addc(b, (char)(0xe0 | c >> 12));
                buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
                buf_addc(b, (char)(0x80 | (c & 0x3f)));
        } else {
                buf_addc(b, (char)(0xf0 | c >> 18));
                buf_addc(b, (char)(0x80 | (c >> 12 & 0x3f)));
                buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
                buf_addc(b, (char)(0x80 | (c & 0x3f)));
        }
}

static int take_hex(struct json_scan *s, uint32_t *ret, struct err *e)
{
        char hex[5] = "";
        uint8_t two[2];
        for (int i = 0; i < 4; i++)
                hex[i] = (char)take(s);
        if (bytes_unhex(hex, two, 2) < 0)
                return json_scan_wrong(s, "a \\u needs four hex digits", e);
        *ret = (uint32_t)two[0] << 8 | two[1];
        return 0;
}

/* `pending`: a high surrogate that waits for its other half, or 0. */
static void flush_pending(struct buf *b, uint32_t *pending)
{
        if (*pending)
                add_utf8(b, 0xfffd);
        *pending = 0;
}

static void add_unit(struct buf *b, uint32_t u, uint32_t *pending)
{
        if (*pending && u >= 0xdc00 && u <= 0xdfff) {
                add_utf8(b, 0x10000 + ((*pending - 0xd800) << 10) + (u - 0xdc00));
                *pending = 0;
                return;
        }
        flush_pending(b, pending);
        if (u >= 0xd800 && u <= 0xdbff)
                *pending = u;
        else if (u >= 0xdc80 && u <= 0xdcff)
                buf_addc(b, (char)(u - 0xdc00));
        else
                add_utf8(b, u >= 0xdc00 && u <= 0xdfff ? 0xfffd : u);
}

static int take_escape(struct json_scan *s, struct buf *b, uint32_t *pending, struct err *e)
{
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        int c = take(s);
        const char *p = c ? strchr(from, c) : NULL;
        if (c == 'u') {
                uint32_t u = 0;
                int q = take_hex(s, &u, e);
                if (q == 0)
                        add_unit(b, u, pending);
                return q;
        }
        if (!p)
                return json_scan_wrong(s, "there is no such escape in a text", e);
        flush_pending(b, pending);
        buf_addc(b, to[p - from]);
        return 0;
}

int json_scan_string(struct json_scan *s, struct buf *ret, struct err *e)
{
        uint32_t pending = 0;
        if (skip(s) != '"')
                return json_scan_wrong(s, "a text in quotes was expected", e);
        (void)take(s);
        for (;;) {
                if (at_end(s))
                        return json_scan_wrong(s, "it ends in the middle of a text", e);
                if (look(s) < 0x20)
                        return json_scan_wrong(s, "a text goes over the end of its line", e);
                int c = take(s);
                if (c == '"')
                        break;
                int q = 0;
                if (c == '\\') {
                        q = take_escape(s, ret, &pending, e);
                } else {
                        flush_pending(ret, &pending);
                        buf_addc(ret, (char)c);
                }
                if (q < 0 || (q = hand_out(s, 32 * KiB, e)) < 0)
                        return q;
                if (ret->len > STRING_MAX)
                        return json_scan_wrong(s, "a text is longer than 16 MiB", e);
        }
        flush_pending(ret, &pending);
        return buf_oom(ret) ? err_oom(e) : 0;
}

/* ---- numbers and words ---- */

static bool digits(struct json_scan *s, struct buf *b)
{
        size_t n = b->len;
        while (look(s) >= '0' && look(s) <= '9' && b->len < NUMBER_MAX)
                buf_addc(b, (char)take(s));
        return b->len > n;
}

int json_scan_number(struct json_scan *s, double *ret, struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (skip(s) == '-')
                buf_addc(&b, (char)take(s));
        bool zero = look(s) == '0', ok = digits(s, &b);
        ok = ok && !(zero && b.len > 1 + (b.data[0] == '-'));
        if (ok && look(s) == '.') {
                buf_addc(&b, (char)take(s));
                ok = digits(s, &b);
        }
        if (ok && (look(s) == 'e' || look(s) == 'E')) {
                buf_addc(&b, (char)take(s));
                if (look(s) == '+' || look(s) == '-')
                        buf_addc(&b, (char)take(s));
                ok = digits(s, &b);
        }
        if (!ok || b.len >= NUMBER_MAX)
                return json_scan_wrong(s, "a number was expected", e);
        *ret = strtod(buf_str(&b), NULL);
        return 0;
}

static int word(struct json_scan *s, const char *w, struct err *e)
{
        for (const char *p = w; *p; p++)
                if (look(s) != *p || take(s) != *p)
                        return json_scan_wrong(s, "a value was expected", e);
        return 0;
}

int json_scan_bool(struct json_scan *s, bool *ret, struct err *e)
{
        bool yes = skip(s) == 't';
        int q = word(s, yes ? "true" : "false", e);
        if (q == 0)
                *ret = yes;
        return q;
}

/* ---- objects and arrays ---- */

int json_scan_enter(struct json_scan *s, char open, struct err *e)
{
        if (skip(s) != open)
                return json_scan_wrong(s,
                        open == '{' ? "a dictionary { ... } was expected"
                                    : "a list [ ... ] was expected",
                        e);
        if (s->depth == DEPTH_MAX)
                return json_scan_wrong(s, "it is nested too deeply", e);
        (void)take(s);
        s->first[++s->depth] = true;
        return 0;
}

static int next(struct json_scan *s, char close, struct err *e)
{
        int c = skip(s);
        if (c == close) {
                (void)take(s);
                s->depth--;
                return 0;
        }
        if (at_end(s))
                return json_scan_wrong(s, "it ends in the middle", e);
        if (s->first[s->depth]) {
                s->first[s->depth] = false;
                return 1;
        }
        if (c != ',')
                return json_scan_wrong(s, "a comma, or the end of it, was expected", e);
        (void)take(s);
        return 1;
}

int json_scan_item(struct json_scan *s, struct err *e)
{
        return next(s, ']', e);
}

int json_scan_key(struct json_scan *s, struct buf *ret, struct err *e)
{
        int q = next(s, '}', e);
        if (q <= 0)
                return q;
        buf_reset(ret);
        if ((q = json_scan_string(s, ret, e)) < 0)
                return q;
        if (skip(s) != ':')
                return json_scan_wrong(s, "a colon was expected", e);
        (void)take(s);
        return 1;
}

static int one_value(struct json_scan *s, struct buf *scratch, struct err *e);

static int members(struct json_scan *s, char open, struct buf *scratch, struct err *e)
{
        int q = json_scan_enter(s, open, e);
        while (q == 0) {
                q = open == '{' ? json_scan_key(s, scratch, e) : json_scan_item(s, e);
                if (q <= 0)
                        return q;
                q = one_value(s, scratch, e);
        }
        return q;
}

static int one_value(struct json_scan *s, struct buf *scratch, struct err *e)
{
        double number;
        int q;
        switch (skip(s)) {
        case '{':
                q = members(s, '{', scratch, e);
                break;
        case '[':
                q = members(s, '[', scratch, e);
                break;
        case '"':
                buf_reset(scratch);
                q = json_scan_string(s, scratch, e);
                break;
        case 't':
                q = word(s, "true", e);
                break;
        case 'f':
                q = word(s, "false", e);
                break;
        case 'n':
                q = word(s, "null", e);
                break;
        default:
                q = at_end(s) ? json_scan_wrong(s, "it ends where a value was expected", e)
                              : json_scan_number(s, &number, e);
        }
        return q < 0 ? q : hand_out(s, 32 * KiB, e);
}

int json_scan_value(struct json_scan *s,
        int (*copy)(void *ctx, const char *data, size_t len, struct err *e), void *ctx,
        struct err *e)
{
        _cleanup_buf_ struct buf scratch = BUF_INIT;
        (void)skip(s);
        s->copy = copy;
        s->copy_ctx = ctx;
        int q = one_value(s, &scratch, e);
        if (q == 0)
                q = hand_out(s, 0, e);
        s->copy = NULL;
        buf_reset(&s->held);
        return q;
}

int json_scan_end(struct json_scan *s, struct err *e)
{
        (void)skip(s);
        if (!at_end(s))
                return json_scan_wrong(s, "something follows the end", e);
        return s->failed < 0 ? json_scan_wrong(s, "", e) : 0;
}
