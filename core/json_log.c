#include "json_log.h"

#include "buf.h"
#include "bytes.h"
#include "io.h"
#include "json_scan.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

#define LOCK_STEP_NS (50 * 1000 * 1000)

/* ---- text ---- */

static unsigned utf8_len(const char *s)
{
        unsigned char c = (unsigned char)*s;
        unsigned n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        for (unsigned i = 1; i < n; i++)
                if (!s[i])
                        return 0;
        return bytes_is_utf8(s, n) ? n : 0;
}

static uint32_t code_of(const char *s, unsigned n)
{
        uint32_t c = n == 1 ? (unsigned char)*s : (unsigned char)*s & (0xffu >> (n + 1));
        for (unsigned i = 1; i < n; i++)
                c = c << 6 | ((unsigned char)s[i] & 0x3f);
        return c;
}

void json_log_text(FILE *f, const char *s)
{
        static const char special[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
        (void)fputc('"', f);
        while (*s) {
                unsigned n = utf8_len(s);
                uint32_t c = n ? code_of(s, n) : 0xdc00u + (unsigned char)*s;
                const char *p = c < 0x80 ? strchr(special, (int)c) : NULL;
                if (p)
                        (void)fprintf(f, "\\%c", letter[p - special]);
                else if (c >= 0x20 && c < 0x7f)
                        (void)fputc((int)c, f);
                else if (c < 0x10000)
                        (void)fprintf(f, "\\u%04x", c);
                else
                        (void)fprintf(f, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                                0xdc00 + ((c - 0x10000) & 0x3ff));
                s += n ? n : 1;
        }
        (void)fputc('"', f); /* whoever flushes looks for errors */
}

/* As Python's repr() of the float: no zeros at the end, but one digit at least. */
static char *key_of(int64_t us)
{
        char *s;
        if (asprintf(&s, "%" PRId64 ".%06" PRId64, us / 1000000, us % 1000000) < 0)
                return NULL;
        size_t n = strlen(s);
        while (n > 2 && s[n - 1] == '0' && s[n - 2] != '.')
                s[--n] = 0;
        return s;
}

/* ---- the lock ---- */

static int lock(const struct json_log *l, const char *path, int *ret_fd, struct err *e)
{
        _cleanup_free_ char *name = NULL;
        const struct timespec pause = {.tv_nsec = LOCK_STEP_NS};
        if (asprintf(&name, "%s.lock", path) < 0) {
                name = NULL;
                return err_oom(e);
        }
        for (;;) {
                int q = io_lock_file(AT_FDCWD, name, ret_fd, e);
                if (q != -EAGAIN)
                        return q;
                if (l->tick && (q = l->tick(l->ctx, e)) < 0)
                        return q;
                (void)nanosleep(&pause, NULL); /* woken early: look early */
        }
}

/* ---- rewriting ---- */

struct rewrite {
        const struct json_log *l;
        char *path; /* links followed */
        char *tmp;
        int lock;
        FILE *out;
        struct json_scan *in; /* NULL: there is no log yet */
        bool any;             /* an entry has been written */
};

static void rewrite_done(struct rewrite *w)
{
        json_scan_free(w->in);
        if (w->out) {
                (void)fclose(w->out); /* what counts has been flushed */
                (void)unlink(w->tmp);
        }
        base_closep(&w->lock);
        free(w->path);
        free(w->tmp);
}

/* FILE may be a link: what it leads to is replaced, and the lock lies beside that. */
static int open_log(struct rewrite *w, const struct json_log *l, struct err *e)
{
        struct stat st;
        *w = (struct rewrite){.l = l, .lock = -EBADF};
        w->path = realpath(l->path, NULL);
        if (!w->path && !(w->path = strdup(l->path)))
                return err_oom(e);
        if (asprintf(&w->tmp, "%s.new", w->path) < 0) {
                w->tmp = NULL;
                return err_oom(e);
        }
        if (stat(w->path, &st) == 0 && !S_ISREG(st.st_mode)) /* /dev/null would be a file then */
                return err_set(
                        e, -EINVAL, "%s is not a file; without the key no log is kept", w->path);
        int q = lock(l, w->path, &w->lock, e);
        if (q < 0)
                return q;
        bool there = stat(w->path, &st) == 0;
        if (there && st.st_size > 0 && (q = json_scan_open(w->path, &w->in, e)) < 0)
                return q;
        (void)unlink(w->tmp); /* of a program that died */
        int fd = open(w->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0 && there)
                (void)(fchmod(fd, st.st_mode & 07777) +
                        fchown(fd, st.st_uid, st.st_gid)); /* as far as we may */
        if (fd < 0 || !(w->out = fdopen(fd, "w"))) {
                q = -errno;
                base_closep(&fd);
                return err_errno(e, q, "cannot make %s", w->tmp);
        }
        return 0;
}

static int close_log(struct rewrite *w, struct err *e)
{
        int q = 0;
        (void)fputs(w->any ? "\n}" : "{}", w->out);
        if (fflush(w->out) != 0 || ferror(w->out) || fsync(fileno(w->out)) < 0 ||
                rename(w->tmp, w->path) < 0)
                q = errno ? -errno : -EIO;
        if (q == 0)
                q = io_sync_parent(AT_FDCWD, w->path);
        return q < 0 ? err_errno(e, q, "cannot write the log %s", w->path) : 0;
}

static void begin_entry(struct rewrite *w, const char *key)
{
        (void)fputs(w->any ? ",\n  " : "{\n  ", w->out);
        w->any = true;
        json_log_text(w->out, key);
        (void)fputs(": ", w->out);
}

static int copy(void *ctx, const char *data, size_t len, struct err *e)
{
        struct rewrite *w = ctx;
        if (fwrite(data, len, 1, w->out) != 1)
                return err_errno(e, -errno, "cannot write the log %s", w->path);
        return w->l->tick ? w->l->tick(w->l->ctx, e) : 0;
}

/* Copies the entries of others. `mine` is called in place of the entry `key`, or at the end. */
static int copy_entries(struct rewrite *w, const char *key,
        int (*mine)(void *ctx, FILE *f, struct err *e), void *ctx, struct err *e)
{
        _cleanup_buf_ struct buf name = BUF_INIT;
        bool done = false;
        int q = w->in ? json_scan_enter(w->in, '{', e) : 0;
        while (q == 0 && w->in && (q = json_scan_key(w->in, &name, e)) > 0) {
                bool here = !done && streq(buf_str(&name), key);
                begin_entry(w, buf_str(&name));
                q = json_scan_value(w->in, here ? NULL : copy, w, e);
                if (q == 0 && here) {
                        q = mine(ctx, w->out, e);
                        done = true;
                }
        }
        if (q == 0 && w->in)
                q = json_scan_end(w->in, e);
        if (q == 0 && !done) {
                begin_entry(w, key);
                q = mine(ctx, w->out, e);
        }
        return q;
}

int json_log_put(const struct json_log *l, const char *key,
        int (*write)(void *ctx, FILE *f, struct err *e), void *ctx, struct err *e)
{
        _cleanup_(rewrite_done) struct rewrite w;
        int q = open_log(&w, l, e);
        if (q == 0)
                q = copy_entries(&w, key, write, ctx, e);
        return q < 0 ? q : close_log(&w, e);
}

/* ---- a new entry ---- */

/* The keys near `us` that are taken: a bit for each of the next microseconds. */
struct taken {
        int64_t from;
        uint64_t bits[64];
};

static void note_key(struct taken *t, const char *key)
{
        char *end;
        long long s = strtoll(key, &end, 10);
        int64_t us = 0, unit = 100000;
        if (s < 0 || s > INT64_MAX / 2000000)
                return; /* no time that is near */
        if (*end == '.')
                for (end++; *end >= '0' && *end <= '9' && unit > 0; end++, unit /= 10)
                        us += (*end - '0') * unit;
        int64_t k = (int64_t)s * 1000000 + us - t->from;
        if (k >= 0 && k < (int64_t)sizeof t->bits * 8)
                t->bits[k / 64] |= 1ull << (k % 64);
}

static int find_taken(struct rewrite *w, struct taken *t, struct err *e)
{
        _cleanup_buf_ struct buf name = BUF_INIT;
        int q = w->in ? json_scan_enter(w->in, '{', e) : 0;
        while (q == 0 && w->in && (q = json_scan_key(w->in, &name, e)) > 0) {
                note_key(t, buf_str(&name));
                begin_entry(w, buf_str(&name));
                q = json_scan_value(w->in, copy, w, e);
        }
        return q == 0 && w->in ? json_scan_end(w->in, e) : q;
}

int json_log_begin(const struct json_log *l, int64_t time, char **ret_key, struct err *e)
{
        _cleanup_(rewrite_done) struct rewrite w;
        struct taken t = {.from = time / 1000};
        int q = open_log(&w, l, e);
        if (q == 0)
                q = find_taken(&w, &t, e);
        if (q < 0)
                return q;
        int64_t k = 0;
        while (k < (int64_t)sizeof t.bits * 8 && t.bits[k / 64] >> (k % 64) & 1)
                k++;
        _cleanup_free_ char *key = key_of(t.from + k);
        if (!key)
                return err_oom(e);
        begin_entry(&w, key);
        (void)fputs("{\n    \"JOB SUCCEED\": false\n  }", w.out);
        if ((q = close_log(&w, e)) < 0)
                return q;
        *ret_key = steal(key);
        return 0;
}
