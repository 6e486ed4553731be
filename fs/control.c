#include "control.h"

#include "buf.h"
#include "bytes.h"

struct control {
        struct control_actions actions;
        char **helps;    /* NULL-terminated */
        struct buf held; /* bytes kept back */
        bool past_help;  /* what was written cannot be the help text any more */
        bool committed;
};

struct control *control_new(const char *const *helps, const struct control_actions *actions)
{
        struct control *c = calloc(1, sizeof *c);
        size_t n = 0;
        if (!c)
                return NULL;
        c->actions = *actions;
        while (helps[n])
                n++;
        c->helps = calloc(n + 1, sizeof *c->helps);
        for (size_t i = 0; c->helps && i < n; i++)
                if (!(c->helps[i] = strdup(helps[i])))
                        break;
        if (!c->helps || (n > 0 && !c->helps[n - 1])) {
                control_free(c);
                return NULL;
        }
        return c;
}

void control_free(struct control *c)
{
        if (!c)
                return;
        buf_done(&c->held);
        for (char **h = c->helps; h && *h; h++)
                free(*h);
        free(c->helps);
        free(c);
}

bool control_committed(const struct control *c)
{
        return c->committed;
}

static bool is_blank(char ch)
{
        return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' || ch == '\v' || ch == '\f';
}

static bool all_blank(const char *s, size_t len)
{
        for (size_t i = 0; i < len; i++)
                if (!is_blank(s[i]))
                        return false;
        return true;
}

/* How many bytes at the end may be the beginning of a character that is not all there yet. */
static size_t split_tail(const char *s, size_t len)
{
        for (size_t n = 1; n <= 3 && n <= len; n++) {
                unsigned char ch = (unsigned char)s[len - n];
                if ((ch & 0xc0) == 0x80)
                        continue;
                if (ch < 0xc2 || ch > 0xf4) /* no character begins with it */
                        return 0;
                size_t need = ch >= 0xf0 ? 4 : ch >= 0xe0 ? 3 : 2;
                return need > n ? n : 0;
        }
        return 0;
}

/* An editor writes back what it has read, with something added. What could still become the whole
 * of such a text is decided at the next write, or at release. */
static void drop_help(struct control *c, struct buf *b)
{
        bool may = false;
        for (char **h = c->helps; !c->past_help && *h; h++) {
                size_t n = strlen(*h);
                if (n == 0 || memcmp(buf_str(b), *h, MIN(n, b->len)) != 0)
                        continue;
                may = true;
                if (b->len < n)
                        continue;
                memmove(b->data, b->data + n, b->len - n + 1);
                b->len -= n;
                c->past_help = true;
        }
        c->past_help = c->past_help || !may;
}

/* Somebody may describe an archive as "#": only a whole line of the help counts as an editor's
 * work. */
static bool may_become_help(const struct control *c, const struct buf *b)
{
        return !c->past_help && memchr(buf_str(b), '\n', b->len) && b->len > 40;
}

static int take_text(struct control *c, const char *text, size_t len, struct err *e)
{
        if (memchr(text, 0, len) || !bytes_is_utf8(text, len))
                return err_set(e, -EINVAL, "the description is not UTF-8 text");
        if (!c->committed && len > CONTROL_MAX)
                return err_set(e, -EFBIG, "a description has at most %u bytes, this one has %zu",
                        CONTROL_MAX, len);
        if (c->committed)
                return c->actions.extend(c->actions.ctx, text, len, e);
        int q = c->actions.commit(c->actions.ctx, text, len, e);
        c->committed = q == 0;
        return q;
}

static int put_back(struct control *c, const char *data, size_t len)
{
        buf_reset(&c->held);
        buf_add(&c->held, data, len);
        return buf_oom(&c->held) ? -ENOMEM : 0;
}

int control_write(struct control *c, const char *data, size_t len, struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        buf_add(&b, buf_str(&c->held), c->held.len);
        buf_add(&b, data, len);
        if (buf_oom(&b))
                return err_oom(e);
        if (!c->committed)
                drop_help(c, &b);
        if (may_become_help(c, &b) || (!c->committed && all_blank(buf_str(&b), b.len))) {
                if (b.len > 64 * KiB)
                        return err_set(
                                e, -EFBIG, "a description has at most %u bytes", CONTROL_MAX);
                return put_back(c, buf_str(&b), b.len) < 0 ? err_oom(e) : 0;
        }
        size_t tail = split_tail(buf_str(&b), b.len);
        int q = b.len > tail ? take_text(c, buf_str(&b), b.len - tail, e) : 0;
        if (q < 0 && !(q == -EFBIG && c->committed))
                return q;
        int r = put_back(c, buf_str(&b) + b.len - tail, tail);
        return q < 0 ? q : r < 0 ? err_oom(e) : 0;
}

int control_release(struct control *c, struct err *e)
{
        /* Without text nothing happens: `touch`, blanks, or the help text written back. */
        if (!c->committed)
                return 0;
        /* the rest of a character that never came: seen, since nobody can be told any more */
        if (!all_blank(buf_str(&c->held), c->held.len))
                (void)take_text(c, "\xef\xbf\xbd", 3, NULL); /* too much is logged */
        return c->actions.seal(c->actions.ctx, e);
}
