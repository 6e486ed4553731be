#include "report_internal.h"

#include "bytes.h"
#include "clock.h"
#include "io.h"

#define CHUNK (64 * KiB)

/* ---- SHA512SUMS ---- */

struct sums {
        struct catalog *c;
        const char *id;
        int fd;
        uint64_t size;
        struct buf out;
        struct err *e;
};

static int spill(struct sums *s, size_t above)
{
        if (buf_oom(&s->out))
                return err_oom(s->e);
        if (s->out.len <= above)
                return 0;
        int q = io_write_full(s->fd, s->out.data, s->out.len);
        if (q < 0)
                return err_errno(s->e, q, "cannot write the list of checksums");
        s->size += s->out.len;
        buf_reset(&s->out);
        return 0;
}

/* As sha512sum(1) does it: a backslash before the line says that the name is escaped. */
static void add_name(struct buf *b, const char *path)
{
        for (const char *p = path; *p; p++) {
                if (*p == '\\')
                        buf_adds(b, "\\\\");
                else if (*p == '\n')
                        buf_adds(b, "\\n");
                else if (*p == '\r')
                        buf_adds(b, "\\r");
                else
                        buf_addc(b, *p);
        }
}

static int add_line(struct sums *s, const uint8_t *sha512, const char *path)
{
        char hex[129];
        bytes_hex(sha512, 64, hex);
        if (strpbrk(path, "\\\n\r"))
                buf_addc(&s->out, '\\');
        buf_adds(&s->out, hex);
        buf_adds(&s->out, "  ");
        add_name(&s->out, path);
        buf_addc(&s->out, '\n');
        return spill(s, CHUNK);
}

struct content {
        bool known;
        uint8_t sha512[64];
};

static int take_content(void *ctx, const struct catalog_member *m)
{
        struct content *t = ctx;
        t->known = m->sha512 != NULL;
        if (t->known)
                memcpy(t->sha512, m->sha512, sizeof t->sha512);
        return 0;
}

static int sums_each(void *ctx, const struct catalog_member *m)
{
        struct sums *s = ctx;
        if (m->sha512)
                return add_line(s, m->sha512, m->path);
        if (m->type != 'h' || !m->link)
                return 0;
        struct content t = {0};
        int q = catalog_member_by_path(s->c, s->id, m->link, take_content, &t, s->e);
        if (q < 0 && q != -ENOENT)
                return q;
        return t.known ? add_line(s, t.sha512, m->path) : 0;
}

int report_sums(struct catalog *c, const char *id, int fd, uint64_t *ret_size, struct err *e)
{
        struct sums s = {.c = c, .id = id, .fd = fd, .e = e};
        int q = catalog_members_each(c, id, CATALOG_AS_TREE, sums_each, &s, e);
        if (q == 0)
                q = spill(&s, 0);
        buf_done(&s.out);
        if (q < 0)
                return q;
        *ret_size = s.size;
        return 0;
}

/* ---- the log ---- */

static const char *level_word(char level)
{
        return level == 'e' ? "error: " : level == 'w' ? "warning: " : "";
}

static int log_each(void *ctx, int64_t time, char level, const char *text)
{
        struct buf *b = ctx;
        char at[CLOCK_TEXT_MAX];
        clock_iso(time, at);
        buf_addf(b, "%s %s", at, level_word(level));
        for (; *text; text++)
                buf_addc(b, (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
        buf_addc(b, '\n');
        return 0;
}

int report_log(struct catalog *c, const char *id, struct buf *ret, struct err *e)
{
        int q = catalog_events(c, id, log_each, ret, e);
        return q == 0 && buf_oom(ret) ? err_oom(e) : q;
}
