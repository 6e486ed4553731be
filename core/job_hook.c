#include "job_hook.h"

#include "buf.h"
#include "child.h"

#include <inttypes.h>
#include <linux/limits.h>
#include <sys/stat.h>

#define LINE_MAX_BYTES 1000
#define LINES_MAX      1000

struct hook {
        const struct job_hook *h;
        struct buf path; /* an answer that is not whole yet */
        struct buf line;
        uint64_t n_paths, n_lines;
        bool failed; /* the hook is to blame for the error in e */
};

/* ---- its answer ---- */

static int refuse(struct hook *k, const char *what, const char *hint, struct err *e)
{
        k->failed = true;
        (void)err_set(e, -EINVAL,
                "the gather hook %s: path %" PRIu64 " that it printed, \"%.200s\", %s",
                k->h->argv[0], k->n_paths, buf_str(&k->path), what);
        if (hint)
                err_hint(e, "%s", hint);
        return -EINVAL;
}

static int take_path(struct hook *k, struct err *e)
{
        struct stat st;
        const char *path = buf_str(&k->path);
        const char *hint = strchr(path, '\n')
                                   ? "it must end each path with a zero byte, not with a "
                                     "newline: printf '%s\\0' PATH"
                                   : NULL;
        if (buf_oom(&k->path))
                return err_oom(e);
        if (k->path.len == 0)
                return 0;
        k->n_paths++;
        if (*path != '/')
                return refuse(k, "is not an absolute path", hint, e);
        if (lstat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG))
                return refuse(k, "is not there", hint, e);
        int q = k->h->path(k->h->ctx, path, e);
        buf_reset(&k->path);
        return q;
}

static int take_answer(void *ctx, const char *data, size_t len, struct err *e)
{
        struct hook *k = ctx;
        int q = 0;
        while (q == 0 && len > 0) {
                const char *end = memchr(data, 0, len);
                size_t n = end ? (size_t)(end - data) : len;
                buf_add(&k->path, data, n);
                if (k->path.len >= PATH_MAX) {
                        k->n_paths++;
                        return refuse(k, "is longer than any path can be",
                                "it must end each path with a zero byte: printf '%s\\0' PATH", e);
                }
                if (end)
                        q = take_path(k, e);
                n += end != NULL;
                data += n;
                len -= n;
        }
        return q;
}

/* ---- what it says ---- */

static int take_line(struct hook *k, struct err *e)
{
        int q = 0;
        if (k->line.len > 0 && k->n_lines++ < LINES_MAX)
                q = k->h->log(k->h->ctx, buf_str(&k->line), e);
        else if (k->line.len > 0 && k->n_lines == LINES_MAX + 1)
                q = k->h->log(k->h->ctx, "(it said more, which is left out)", e);
        buf_reset(&k->line);
        return q;
}

static int take_words(void *ctx, const char *data, size_t len, struct err *e)
{
        struct hook *k = ctx;
        for (size_t i = 0; i < len; i++) {
                if (data[i] != '\n' && k->line.len < LINE_MAX_BYTES) {
                        buf_addc(&k->line, data[i] ? data[i] : ' ');
                        continue;
                }
                int q = take_line(k, e);
                if (q < 0)
                        return q;
                if (data[i] != '\n')
                        buf_addc(&k->line, data[i] ? data[i] : ' ');
        }
        return 0;
}

static int tick(void *ctx, struct err *e)
{
        const struct hook *k = ctx;
        return k->h->tick ? k->h->tick(k->h->ctx, e) : 0;
}

/* ---- all of it ---- */

static int run(struct hook *k, struct err *e)
{
        _cleanup_free_ char *job = NULL;
        if (asprintf(&job, "AUTOGLACIER_JOB=%s", k->h->job) < 0) {
                job = NULL;
                return err_oom(e);
        }
        const char *env[] = {job, NULL};
        const struct child_params p = {.argv = k->h->argv,
                .env = env,
                .in_fd = k->h->list_fd,
                .limit_ns = k->h->limit_ns,
                .out = take_answer,
                .err = take_words,
                .tick = tick,
                .ctx = k};
        int status = 0;
        int q = child_run(&p, &status, e);
        int said = take_line(k, q < 0 ? NULL : e); /* the last words, whatever came of it */
        if (q == -ETIME || q == -ENOEXEC)
                k->failed = true;
        if (q < 0)
                return q;
        _cleanup_free_ char *why = child_why(status);
        if (why) {
                k->failed = true;
                return err_set(e, -EINVAL, "the gather hook %s %s", k->h->argv[0], why);
        }
        return said < 0 ? said : take_path(k, e); /* the last zero byte may be missing */
}

int job_hook_run(const struct job_hook *h, struct err *e)
{
        struct hook k = {.h = h};
        int q = run(&k, e);
        buf_done(&k.path);
        buf_done(&k.line);
        if (q == -ETIME || q == -ENOEXEC)
                (void)err_prefix(e, q, "the gather hook");
        if (k.failed)
                err_hint(e, "nothing was archived");
        if (k.failed && e)
                e->code = -EINVAL; /* not a thing that mends itself */
        return k.failed ? -EINVAL : q;
}
