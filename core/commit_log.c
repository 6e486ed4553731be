#include "commit_internal.h"

#include "bytes.h"
#include "clock.h"
#include "config.h"
#include "gather.h"
#include "glacier_book.h"
#include "io.h"
#include "json_log.h"
#include "spec.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <time.h>

/* What is written into the entry of an archive, as the Python program does. */
struct entry {
        struct run *r;
        FILE *f;
        const char *key;
        bool stored;
        bool first; /* of the files */
        struct err *e;
};

static int tick(void *ctx, struct err *e)
{
        return run_tick(ctx, e);
}

static struct json_log log_of(struct run *r)
{
        return (struct json_log){.path = r->env->config->json_database, .tick = tick, .ctx = r};
}

static void key(struct entry *n, const char *name)
{
        (void)fprintf(n->f, ",\n    \"%s\": ", name); /* whoever flushes looks for errors */
}

static void text(struct entry *n, const char *name, const char *value)
{
        key(n, name);
        if (value)
                json_log_text(n->f, value);
        else
                (void)fputs("null", n->f);
}

/* As strftime('%Y-%m-%d %H:%M:%S') of the local time, which is what the log has always had. */
static void time_text(int64_t ns, char out[32])
{
        time_t t = clock_timespec(ns).tv_sec;
        struct tm tm;
        if (!localtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
                *out = 0;
}

/* ---- the files ---- */

static int keep_sum(void *ctx, const struct catalog_member *m)
{
        uint8_t *sum = ctx;
        if (!m->sha512)
                return -ENOENT;
        memcpy(sum, m->sha512, 64);
        return 0;
}

/* Names of a list are absolute without their first '/'; staged ones lie in the mount. */
static char *absolute_path(const struct run *r, const char *path)
{
        char *s;
        bool staged = r->a.has_tree && *r->a.mountpoint;
        return asprintf(&s, "%s/%s", staged ? r->a.mountpoint : "", path) < 0 ? NULL : s;
}

static int add_file(void *ctx, const struct catalog_member *m)
{
        struct entry *n = ctx;
        uint8_t sum[64];
        char hex[129], when[32];
        if (m->type != 'f' && m->type != 'h')
                return 0;
        int q = m->type == 'f' ? keep_sum(sum, m)
                               : catalog_member_by_path(
                                         n->r->catalog, n->r->a.id, m->link, keep_sum, sum, NULL);
        if (q < 0)
                return 0; /* its content was lost while it was read: the archive says so */
        _cleanup_free_ char *path = absolute_path(n->r, m->path);
        if (!path)
                return err_oom(n->e);
        bytes_hex(sum, sizeof sum, hex);
        time_text(m->mtime, when);
        (void)fprintf(n->f,
                "%s      {\n        \"SHA512\": \"%s\",\n        \"mod_time\": \"%s\",\n        "
                "\"abs_path\": ",
                n->first ? "\n" : ",\n", hex, when);
        json_log_text(n->f, path);
        (void)fputs("\n      }", n->f);
        n->first = false;
        return ferror(n->f) ? err_set(n->e, -EIO, "cannot write the log") : 0;
}

/* What the list names, each where it stands there: as often as it does, a folder with all below
 * it. */
static int add_listed(struct entry *n)
{
        _cleanup_(spec_files_done) struct spec_files list = {0};
        struct catalog_near near = {0};
        int q = spec_files_load(n->r->env->data, n->r->a.id, &list, n->e);
        for (size_t i = 0; q == 0 && list.paths[i]; i++) {
                _cleanup_free_ char *name = gather_name(list.paths[i]);
                if (!name)
                        q = err_oom(n->e);
                else if (!*name) /* "/" */
                        q = catalog_members_each(
                                n->r->catalog, n->r->a.id, CATALOG_AS_TREE, add_file, n, n->e);
                else
                        q = catalog_members_below(
                                n->r->catalog, n->r->a.id, name, &near, add_file, n, n->e);
                if (q == -ENOENT)
                        q = 0; /* unchanged, or it could not be read */
        }
        free(near.path);
        return q;
}

static int add_files(struct entry *n)
{
        key(n, "files");
        (void)fputc('[', n->f);
        n->first = true;
        int q = n->r->a.has_tree ? catalog_members_each(n->r->catalog, n->r->a.id, CATALOG_AS_TAR,
                                           add_file, n, n->e)
                                 : add_listed(n);
        (void)fputs(n->first ? "]" : "\n    ]", n->f);
        return q;
}

/* ---- the rest ---- */

/* A vault knows an archive by an id of its own. */
static void object_of(struct entry *n, const struct catalog_volume *v, char ret[GLACIER_NAME_MAX])
{
        const struct catalog_archive *a = &n->r->a;
        _cleanup_(glacier_book_closep) struct glacier_book *b = NULL;
        _cleanup_free_ char *path = io_join(n->r->env->data, "vaults.db");
        struct glacier_object o;
        (void)snprintf(ret, GLACIER_NAME_MAX, "%s", v->object); /* measured when it was made */
        if (!startswith(a->store_url, "glacier://") || !path || access(path, F_OK) < 0 ||
                glacier_book_open(path, &b, NULL) < 0 ||
                glacier_book_find(b, a->store_id, v->object, &o, NULL) < 0)
                return;
        (void)snprintf(ret, GLACIER_NAME_MAX, "%s", o.archive);
}

static int add_volumes(struct entry *n, const struct catalog_volume *v, size_t count)
{
        char hash[65], object[GLACIER_NAME_MAX];
        object_of(n, &v[0], object);
        key(n, "response");
        bytes_hex(v[0].tree_hash, sizeof v[0].tree_hash, hash);
        (void)fputs("{\n      \"location\": ", n->f);
        json_log_text(n->f, v[0].object);
        (void)fprintf(n->f, ",\n      \"checksum\": \"%s\",\n      \"archiveId\": ", hash);
        json_log_text(n->f, object);
        for (size_t i = 1; i < count; i++) {
                object_of(n, &v[i], object);
                (void)fputs(i == 1 ? ",\n      \"more\": [\n        " : ",\n        ", n->f);
                json_log_text(n->f, object);
        }
        (void)fputs(count > 1 ? "\n      ]\n    }" : "\n    }", n->f);
        return 0;
}

static int add_facts(struct entry *n)
{
        const struct config *c = n->r->env->config;
        const struct catalog_archive *a = &n->r->a;
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t count = 0;
        uint64_t plain = 0;
        int q = catalog_volumes(n->r->catalog, a->id, &v, &count, n->e);
        if (q < 0)
                return q;
        for (size_t i = 0; i < count; i++)
                plain += v[i].plain_size;
        text(n, "compression", a->compression);
        key(n, "archive_size");
        (void)fprintf(n->f, "%" PRIu64, plain);
        _cleanup_buf_ struct buf pem = BUF_INIT; /* the file's own text, as it always was */
        bool one = c->public_keys[0] && !c->public_keys[1];
        if (!one || io_read_file(AT_FDCWD, c->public_keys[0], 64 * KiB, &pem, NULL) < 0)
                buf_reset(&pem);
        text(n, "used_public_key", pem.len > 0 ? buf_str(&pem) : a->keys_pem);
        text(n, "public_key_path", c->public_keys[0]);
        text(n, "region_name", c->region_name);
        text(n, "vault_name", c->vault_name);
        text(n, "descryption", a->description); /* so spelled */
        return n->stored && count > 0 ? add_volumes(n, v, count) : 0;
}

static int write_entry(void *ctx, FILE *f, struct err *e)
{
        struct entry *n = ctx;
        char when[32];
        n->f = f;
        n->e = e;
        time_text(n->r->a.created, when);
        /* where something of the list is missing, the Python program's job had failed */
        bool all = n->stored && n->r->a.n_returned == 0;
        (void)fprintf(f, "{\n    \"JOB SUCCEED\": %s,\n    \"TIMESTAMP\": %s",
                all ? "true" : "false", n->key);
        text(n, "timestring", when);
        int q = add_files(n);
        if (q == 0)
                q = add_facts(n);
        (void)fputs("\n  }", f);
        return q;
}

/* A log that cannot be written is told of; the archive goes on. */
static int settle(struct run *r, int q, const struct err *why, struct err *e)
{
        if (q == -ECANCELED) {
                if (e)
                        *e = *why;
                return q;
        }
        if (q < 0)
                run_event(r, 'w', "JSON_DATABASE has no entry of this: %s; the log stays as it is",
                        why->text);
        return 0;
}

/* ---- when ---- */

int log_begin(struct run *r, struct err *e)
{
        if (!r->env->config->json_database)
                return 0;
        json_auto_t *spec = json_loads(r->a.spec, 0, NULL);
        if (!spec || json_object_get(spec, "log"))
                return 0;
        _cleanup_free_ char *made = NULL;
        struct err why = {0};
        const struct json_log l = log_of(r);
        int q = json_log_begin(&l, r->a.created, &made, &why);
        if (q < 0)
                return settle(r, q, &why, e);
        char *text_of = NULL;
        if (json_object_set_new(spec, "log", json_string(made)) < 0 ||
                !(text_of = json_dumps(spec, JSON_COMPACT)))
                return err_oom(e);
        free(r->a.spec);
        r->a.spec = text_of;
        pthread_mutex_lock(&r->lock);
        q = catalog_archive_update(r->catalog, &r->a, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}

int log_grow(struct run *r, bool stored, struct err *e)
{
        json_auto_t *spec = json_loads(r->a.spec, 0, NULL);
        const char *made = json_string_value(json_object_get(spec, "log"));
        if (!made || !r->env->config->json_database)
                return 0;
        if (stored && !r->a.has_tree && !spec_files_exist(r->env->data, r->a.id))
                return 0; /* the list goes after the entry was written */
        struct entry n = {.r = r, .key = made, .stored = stored};
        struct err why = {0};
        const struct json_log l = log_of(r);
        int q = json_log_put(&l, made, write_entry, &n, &why);
        return settle(r, q, &why, e);
}
