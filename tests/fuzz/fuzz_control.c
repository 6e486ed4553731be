/* fuzz_control.c - the protocol of `.commit` against any series of writes.
 *
 * The input is cut into writes: a byte with a length, then that many bytes. Whatever comes, there
 * is at most one commit, it comes first, what was said is UTF-8, within the limit and only text
 * that was written, and a commit is sealed exactly once. */
#include "base.h"
#include "buf.h"
#include "control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char help[] = "Write a description into this file.\nNothing is staged.\n";

struct model {
        struct buf text;
        unsigned commits, seals;
        bool refuse; /* the engine refuses the first try, as it does when nothing is staged */
};

static void need(bool good)
{
        if (!good)
                abort();
}

/* RFC 3629, without the rest of the project. */
static size_t sequence(const uint8_t *p, size_t left)
{
        size_t n = p[0] < 0x80                   ? 1
                   : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                   : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                   : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                                 : 0;
        if (n == 0 || n > left)
                return 0;
        for (size_t i = 1; i < n; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
                (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
                return 0;
        return n;
}

static void check_text(const char *text, size_t len)
{
        for (size_t i = 0, n; i < len; i += n) {
                n = sequence((const uint8_t *)text + i, len - i);
                need(n > 0 && text[i] != 0);
        }
}

static int on_commit(void *ctx, const char *text, size_t len, struct err *e)
{
        struct model *m = ctx;
        need(m->commits == 0 && len > 0);
        check_text(text, len);
        if (m->refuse) {
                m->refuse = false;
                return err_set(e, -ENODATA, "nothing is staged");
        }
        m->commits++;
        buf_add(&m->text, text, len);
        return 0;
}

/* As the engine: what is too much is cut. */
static int on_extend(void *ctx, const char *text, size_t len, struct err *e)
{
        struct model *m = ctx;
        need(m->commits == 1 && m->seals == 0);
        check_text(text, len);
        size_t room = CONTROL_MAX - m->text.len;
        buf_add(&m->text, text, MIN(room, len));
        return len <= room ? 0 : err_set(e, -EFBIG, "too long");
}

static int on_seal(void *ctx, struct err *e _unused_)
{
        struct model *m = ctx;
        need(m->commits == 1 && m->seals == 0);
        m->seals++;
        return 0;
}

static void write_all(struct control *c, const uint8_t *data, size_t len)
{
        for (size_t i = 0; i < len;) {
                size_t n = MIN((size_t)data[i], len - i - 1);
                struct err e = {0};
                int q = control_write(c, (const char *)data + i + 1, n, &e);
                need(q == 0 || (e.code == q && e.text[0]));
                i += n + 1;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        if (len == 0)
                return 0;
        struct model m = {.text = BUF_INIT, .refuse = data[0] & 1};
        const struct control_actions actions = {
                .commit = on_commit, .extend = on_extend, .seal = on_seal, .ctx = &m};
        struct control *c = control_new(data[0] & 2 ? (const char *const[]){"another", help, NULL}
                                                    : (const char *const[]){NULL},
                &actions);
        need(c != NULL);
        write_all(c, data + 1, len - 1);
        need(control_committed(c) == (m.commits == 1));
        (void)control_release(c, NULL); /* what it says is the model's own */
        need(m.seals == m.commits && m.text.len <= CONTROL_MAX);
        control_free(c);
        buf_done(&m.text);
        return 0;
}
