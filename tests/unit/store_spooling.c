#include "store_spooling.h"

#include "buf.h"
#include "io.h"
#include "store.h"
#include "store_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>

#define PART_SIZE (5u * MiB)

struct spooling {
        struct store base;
        struct store *dir;
        char *folder;
};

struct up {
        struct store_upload base;
        char name[256], token[64], folder[512];
};

static struct spooling *of(struct store *s)
{
        return (struct spooling *)s;
}

static void note(struct spooling *s, const char *fmt, ...) _printf_(2, 3);
static void note(struct spooling *s, const char *fmt, ...)
{
        char path[512], line[1024];
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(line, sizeof line - 1, fmt, ap);
        va_end(ap);
        line[n++] = '\n';
        (void)snprintf(path, sizeof path, "%s/log", s->folder);
        int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || io_write_full(fd, line, (size_t)n) < 0)
                abort();
        (void)close(fd);
}

/* What FOLDER/fail says of this operation. A stopped store gives up first. */
static int look(struct spooling *s, const char *op, struct err *e)
{
        char path[512], which[32];
        int code;
        if (store_stopped(&s->base))
                return err_set(e, -ECANCELED, "stopped");
        (void)snprintf(path, sizeof path, "%s/fail", s->folder);
        FILE *f = fopen(path, "r");
        if (!f)
                return 0;
        bool hit = fscanf(f, "%31s %d", which, &code) == 2 && (streq(which, op) || *which == '*');
        (void)fclose(f);
        if (!hit)
                return 0;
        note(s, "failed %s", op);
        err_set(e, -EAGAIN, "the service is away (%s)", op);
        e->code = code ? -code : -EINPROGRESS;
        return e->code;
}

/* Code 0: tried again for as long as it is there. */
static int may(struct spooling *s, const char *op, struct err *e)
{
        const struct store_control *c = &s->base.control;
        struct err why = {0};
        int q;
        for (unsigned n = 1; (q = look(s, op, &why)) == -EINPROGRESS; n++) {
                if (c->waiting)
                        c->waiting(c->ctx, &why, n, 50000000);
                (void)usleep(50000);
        }
        if (q < 0 && e)
                *e = why;
        return q;
}

static int sp_check(struct store *s, const char *expected, char *ret_id, struct err *e)
{
        int q = may(of(s), "check", e);
        return q < 0 ? q : store_check(of(s)->dir, expected, ret_id, e);
}

static int sp_init(struct store *s, struct err *e)
{
        return store_init(of(s)->dir, e);
}

static struct up *up_new(struct spooling *s, const struct store_new *n, const char *token)
{
        struct up *u = calloc(1, sizeof *u);
        if (!u)
                abort();
        u->base.store = &s->base;
        u->base.part_size = n->part_size;
        (void)snprintf(u->name, sizeof u->name, "%s", n->name);
        (void)snprintf(u->token, sizeof u->token, "%s", token);
        (void)snprintf(u->folder, sizeof u->folder, "%s/uploads/%s", s->folder, token);
        return u;
}

static int sp_begin(
        struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e)
{
        int q = may(of(s), "begin", e);
        if (q < 0)
                return q;
        struct timespec ts;
        char token[64], path[700], folder[600];
        clock_gettime(CLOCK_REALTIME, &ts);
        (void)snprintf(token, sizeof token, "%lld.%09ld", (long long)ts.tv_sec, ts.tv_nsec);
        struct up *u = up_new(of(s), n, token);
        /* A service lives on when its caller is killed: an upload is there whole, or not at all. */
        (void)snprintf(folder, sizeof folder, "%s/beginning-%s", of(s)->folder, token);
        (void)snprintf(path, sizeof path, "%s/uploads", of(s)->folder);
        if ((q = io_mkdir_p(path, 0700, e)) < 0 || (q = io_mkdir_p(folder, 0700, e)) < 0)
                return q;
        (void)snprintf(path, sizeof path, "%s/name", folder);
        if ((q = io_write_file(AT_FDCWD, path, 0600, n->name, strlen(n->name), e)) < 0)
                return q;
        if (rename(folder, u->folder) < 0)
                return err_errno(e, -errno, "cannot begin an upload");
        note(of(s), "begin %s %s", n->name, token);
        *ret = &u->base;
        return 0;
}

static void part_path(const struct up *u, unsigned number, char out[600])
{
        (void)snprintf(out, 600, "%s/%05u", u->folder, number);
}

static int sp_resume(struct store *s, const struct store_new *n, const char *token,
        store_had_fn each, void *ctx, struct store_upload **ret, struct err *e)
{
        int q = may(of(s), "resume", e);
        if (q < 0)
                return q;
        struct up *u = up_new(of(s), n, token);
        if (access(u->folder, F_OK) < 0) {
                free(u);
                return err_set(e, -ENOENT, "there is no such upload");
        }
        note(of(s), "resume %s", token);
        char path[600];
        for (unsigned i = 1; q == 0 && i < 10000; i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                struct store_had h = {.number = i, .hashed = STORE_HASH_SHA256};
                part_path(u, i, path);
                if (io_read_file(AT_FDCWD, path, GiB, &b, NULL) < 0)
                        continue;
                h.size = b.len;
                EVP_Digest(b.data, b.len, h.hash, NULL, EVP_sha256(), NULL);
                q = each(ctx, &h, e);
        }
        if (q < 0)
                free(u);
        else
                *ret = &u->base;
        return q;
}

static const char *sp_token(struct store_upload *u)
{
        return ((struct up *)u)->token;
}

static int sp_put_part(struct store_upload *base, const struct store_part *p, struct err *e)
{
        struct up *u = (struct up *)base;
        struct spooling *s = of(base->store);
        char path[600];
        uint8_t hash[32];
        if (base->store->control.sending)
                base->store->control.sending(base->store->control.ctx, p->len);
        int q = may(s, "put_part", e);
        if (q < 0)
                return q;
        if (access(u->folder, F_OK) < 0)
                return err_set(e, -ENOENT, "there is no such upload");
        EVP_Digest(p->data, p->len, hash, NULL, EVP_sha256(), NULL);
        if (memcmp(hash, p->sha256, sizeof hash) != 0)
                return err_set(e, -EBADMSG, "the part does not have the SHA-256 that was sent");
        part_path(u, p->number, path);
        q = io_write_file(AT_FDCWD, path, 0600, p->data, p->len, e);
        if (q == 0)
                note(s, "part %s %u %zu", u->name, p->number, p->len);
        return q;
}

static int join(struct spooling *s, const struct up *u, struct store_upload *to, uint64_t *ret_size,
        struct err *e)
{
        char path[600];
        uint64_t size = 0;
        (void)s;
        for (unsigned i = 1;; i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                part_path(u, i, path);
                if (io_read_file(AT_FDCWD, path, GiB, &b, NULL) < 0)
                        break;
                const struct store_part p = {
                        .number = i, .offset = size, .data = b.data, .len = b.len};
                int q = store_put_part(to, &p, e);
                if (q < 0)
                        return q;
                size += b.len;
        }
        *ret_size = size;
        return 0;
}

static int sp_finish(
        struct store_upload *base, uint64_t size, const uint8_t tree_hash[32], struct err *e)
{
        struct up *u = (struct up *)base;
        struct spooling *s = of(base->store);
        int q = may(s, "finish", e);
        struct store_upload *to = NULL;
        uint64_t got = 0;
        if (q == 0 && access(u->folder, F_OK) < 0)
                q = err_set(e, -ENOENT, "there is no such upload");
        if (q == 0)
                q = store_begin(s->dir,
                        &(struct store_new){.name = u->name, .max_size = size, .replace = true},
                        &to, e);
        if (q == 0 && (q = join(s, u, to, &got, e)) == 0 && got != size)
                q = err_set(e, -EPROTO, "the parts have %llu bytes, not %llu",
                        (unsigned long long)got, (unsigned long long)size);
        if (q == 0) {
                q = store_finish(&to, size, tree_hash, e);
                (void)io_remove_tree(AT_FDCWD, u->folder, NULL); /* what stays is seen as litter */
                note(s, "finish %s", u->name);
        }
        store_abort(to);
        if (q != -EAGAIN && q != -EBUSY)
                free(u);
        return q;
}

static void sp_abort(struct store_upload *base)
{
        struct up *u = (struct up *)base;
        (void)io_remove_tree(AT_FDCWD, u->folder, NULL); /* what stays is seen as litter */
        free(u);
}

static void sp_leave(struct store_upload *base)
{
        note(of(base->store), "left %s", ((struct up *)base)->name);
        free(base);
}

static int sp_sweep(
        struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e)
{
        char path[512];
        int q = may(of(s), "sweep", e);
        if (q < 0)
                return q;
        (void)snprintf(path, sizeof path, "%s/uploads", of(s)->folder);
        DIR *d = opendir(path);
        for (struct dirent *de; d && (de = readdir(d)) != NULL;) {
                _cleanup_buf_ struct buf name = BUF_INIT;
                char file[800];
                if (de->d_name[0] == '.')
                        continue;
                (void)snprintf(file, sizeof file, "%s/%s/name", path, de->d_name);
                if (io_read_file(AT_FDCWD, file, 4096, &name, NULL) < 0 ||
                        !startswith(buf_str(&name), prefix) ||
                        keep(ctx, buf_str(&name), de->d_name))
                        continue;
                note(of(s), "swept %s", buf_str(&name));
                *strrchr(file, '/') = 0;
                (void)io_remove_tree(AT_FDCWD, file, NULL); /* what stays is seen as litter */
        }
        if (d)
                (void)closedir(d);
        return 0;
}

static int sp_state(struct store *s, const char *name, struct store_state *ret, struct err *e)
{
        int q = may(of(s), "state", e);
        return q < 0 ? q : store_state(of(s)->dir, name, ret, e);
}

static int sp_thaw(struct store *s, const char *name, const struct store_thaw *t, struct err *e)
{
        return store_thaw(of(s)->dir, name, t, e);
}

static int sp_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e)
{
        return store_get(of(s)->dir, name, data, len, offset, e);
}

static int sp_list(
        struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e)
{
        return store_list(of(s)->dir, prefix, each, ctx, e);
}

static int sp_remove(struct store *s, const char *name, struct err *e)
{
        int q = may(of(s), "remove", e);
        return q < 0 ? q : store_remove(of(s)->dir, name, e);
}

static uint64_t sp_space(struct store *s _unused_)
{
        return UINT64_MAX;
}

static void sp_close(struct store *s)
{
        store_close(of(s)->dir);
        free(of(s)->folder);
        free(s->url);
        free(s);
}

static const struct store_ops ops = {
        .check = sp_check,
        .init = sp_init,
        .begin = sp_begin,
        .resume = sp_resume,
        .token = sp_token,
        .put_part = sp_put_part,
        .finish = sp_finish,
        .abort = sp_abort,
        .leave = sp_leave,
        .sweep = sp_sweep,
        .state = sp_state,
        .thaw = sp_thaw,
        .get = sp_get,
        .list = sp_list,
        .remove = sp_remove,
        .space = sp_space,
        .close = sp_close,
};

int store_spooling_new(const char *url, const char *folder, struct store **ret, struct err *e)
{
        char dir[512];
        struct spooling *s = calloc(1, sizeof *s);
        if (!s)
                return err_oom(e);
        (void)snprintf(dir, sizeof dir, "dir:%s/objects", folder);
        s->folder = strdup(folder);
        s->base = (struct store){
                .ops = &ops,
                .traits = {.max_object = INT64_MAX,
                        .part_size = MiB,
                        .max_parts = 10000,
                        .kind = "spooling"},
                .url = strdup(url),
        };
        int q = store_dir_new(dir, &s->dir, e);
        if (q == 0)
                *ret = &s->base;
        else
                sp_close(&s->base);
        return q;
}
