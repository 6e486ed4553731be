#include "engine_internal.h"

#include "clock.h"
#include "config.h"
#include "io.h"
#include "keys.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/rand.h>

static char *new_id(int64_t now)
{
        uint32_t r;
        char t[CLOCK_TEXT_MAX], digits[CLOCK_TEXT_MAX];
        if (RAND_bytes((unsigned char *)&r, sizeof r) != 1)
                return NULL;
        clock_iso(now, t);
        size_t n = 0;
        for (const char *p = t; *p; p++)
                if (*p != '-' && *p != ':')
                        digits[n++] = *p;
        digits[n] = 0;
        char *id;
        return asprintf(&id, "%s-%08" PRIx32, digits, r) < 0 ? NULL : id;
}

/* Loads every recipient's key: a commit without one would be of no use to anybody. */
static int recipients(const struct config *cfg, struct catalog_archive *a, struct err *e)
{
        _cleanup_buf_ struct buf names = BUF_INIT;
        _cleanup_buf_ struct buf pems = BUF_INIT;
        for (size_t i = 0; cfg->public_keys[i]; i++) {
                _cleanup_(keys_public_freep) struct keys_public *k = NULL;
                int q = keys_public_load(cfg->public_keys[i], &k, e);
                if (q < 0)
                        return err_prefix(e, -ENOKEY, "no public key to encrypt with"), -ENOKEY;
                _cleanup_free_ char *pem = keys_public_pem(k);
                if (!pem)
                        return err_oom(e);
                buf_addf(&names, "%s%s", i ? " " : "", keys_public_fingerprint(k));
                buf_adds(&pems, pem);
        }
        if (names.len == 0)
                return err_set(e, -ENOKEY, "no public key to encrypt with is configured");
        a->recipients = buf_steal(&names);
        a->keys_pem = buf_steal(&pems);
        return a->recipients && a->keys_pem ? 0 : err_oom(e);
}

static char *boot_id(void)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, &b, NULL) < 0)
                buf_reset(&b); /* then no crash of the machine is noticed, nothing worse */
        return buf_steal(&b);
}

static int strings(struct engine *g, struct catalog *c, const char *text, struct catalog_archive *a,
        struct err *e)
{
        const struct config *cfg = g->config;
        _cleanup_free_ char *key = NULL;
        if (asprintf(&key, "store_id:%s", cfg->vault) < 0) {
                key = NULL;
                return err_oom(e);
        }
        int q = catalog_get(c, key, &a->store_id, e);
        if (q == 0)
                q = catalog_origin(c, &a->origin, e);
        if (q < 0)
                return q;
        if (!a->store_id)
                a->store_id = strdup("");
        a->id = new_id(a->created);
        a->description = strdup(text);
        a->config_file = strdup(cfg->file);
        a->store_url = strdup(cfg->vault);
        /* a vault is its own, a folder has none */
        bool classes = !startswith(cfg->vault, "glacier:") && !startswith(cfg->vault, "dir:");
        a->storage_class = strdup(classes && cfg->storage_class ? cfg->storage_class : "");
        a->compression = strdup(compress_name(cfg->compression));
        a->mountpoint = strdup(g->mountpoint ? g->mountpoint : "");
        a->devices = strdup("");
        a->error = strdup("");
        a->boot_id = boot_id();
        if (!a->store_id || !a->id || !a->description || !a->config_file || !a->store_url ||
                !a->storage_class || !a->compression || !a->mountpoint || !a->devices ||
                !a->error || !a->boot_id)
                return err_oom(e);
        return 0;
}

/* Spool limits: a volume is at most half of what the spool may hold, and at least a block that did
 * not compress. */
static uint64_t volume_size(const struct config *cfg)
{
        return MAX(20ull * MiB, MIN(cfg->volume_size, cfg->spool_limit / 2));
}

int rows_new(struct engine *g, struct catalog *c, const char *text, struct catalog_archive *ret,
        struct err *e)
{
        struct catalog_archive a = {
                .created = clock_now(),
                .state = ARCHIVE_PREPARED,
                .level = g->config->compression_level,
                .volume_size = volume_size(g->config),
        };
        int q = strings(g, c, text, &a, e);
        if (q == 0)
                q = recipients(g->config, &a, e);
        if (q < 0) {
                catalog_archive_done(&a);
                return q;
        }
        *ret = a;
        return 0;
}

/* The facts that a row has before anything is packed. One table for both directions. */
#define FIELD(name)                                                                                \
        {                                                                                          \
#name, offsetof(struct catalog_archive, name)                                      \
        }
static const struct field {
        const char *name;
        size_t offset;
} fields[] = {
        FIELD(id),
        FIELD(description),
        FIELD(origin),
        FIELD(config_file),
        FIELD(store_url),
        FIELD(store_id),
        FIELD(storage_class),
        FIELD(compression),
        FIELD(recipients),
        FIELD(keys_pem),
        FIELD(mountpoint),
        FIELD(spec),
        FIELD(devices),
        FIELD(boot_id),
};

static char **slot(const struct catalog_archive *a, const struct field *f)
{
        return (char **)((char *)a + f->offset);
}

char *rows_to_json(const struct catalog_archive *a)
{
        json_auto_t *o = json_object();
        if (!o)
                return NULL;
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                if (json_object_set_new(o, fields[i].name, json_string(*slot(a, &fields[i]))) < 0)
                        return NULL;
        if (json_object_set_new(o, "created", json_integer(a->created)) < 0 ||
                json_object_set_new(o, "level", json_integer(a->level)) < 0 ||
                json_object_set_new(o, "volume_size", json_integer((json_int_t)a->volume_size)) < 0)
                return NULL;
        return json_dumps(o, JSON_INDENT(1));
}

int rows_from_json(const char *json, struct catalog_archive *ret, struct err *e)
{
        json_error_t why;
        json_auto_t *o = json_loads(json, 0, &why);
        if (!o)
                return err_set(e, -EPROTO, "line %d: %s", why.line, why.text);
        struct catalog_archive a = {.has_tree = true};
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                const char *s = json_string_value(json_object_get(o, fields[i].name));
                char *copy = s ? strdup(s) : NULL;
                if (!copy) {
                        catalog_archive_done(&a);
                        return err_set(e, -EPROTO, "%s is missing", fields[i].name);
                }
                *slot(&a, &fields[i]) = copy;
        }
        a.created = json_integer_value(json_object_get(o, "created"));
        a.level = (int)json_integer_value(json_object_get(o, "level"));
        a.volume_size = (uint64_t)json_integer_value(json_object_get(o, "volume_size"));
        a.error = strdup("");
        if (!a.error) {
                catalog_archive_done(&a);
                return err_oom(e);
        }
        *ret = a;
        return 0;
}
