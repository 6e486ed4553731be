#include "import.h"

#include "buf.h"
#include "bytes.h"
#include "catalog.h"
#include "clock.h"
#include "config.h"
#include "json_scan.h"
#include "keys.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <time.h>

/* What an entry says, but for its files. */
struct entry {
        char *key, *compression, *pem, *region, *vault, *description, *object, *checksum;
        int64_t time; /* ns */
        uint64_t size;
        bool succeeded;
};

struct import {
        struct catalog *c;
        const struct config *config;
        struct json_scan *in;
        struct entry *v;
        size_t n, cap;
        struct import_result *result;
        struct err *e;
};

static void entry_done(struct entry *n)
{
        char **texts[] = {&n->key, &n->compression, &n->pem, &n->region, &n->vault, &n->description,
                &n->object, &n->checksum};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                free(*texts[i]);
}

static void import_done(struct import *m)
{
        json_scan_free(m->in);
        for (size_t i = 0; i < m->n; i++)
                entry_done(&m->v[i]);
        free(m->v);
}

/* ---- one entry ---- */

/* "1506700000.25" as ns. */
static bool parse_time(const char *s, int64_t *ret)
{
        char *end;
        long long seconds = strtoll(s, &end, 10);
        int64_t ns = 0, unit = CLOCK_NSEC / 10;
        if (end == s || seconds < 0 || seconds > 253402300799)
                return false;
        if (*end == '.')
                for (end++; *end >= '0' && *end <= '9'; end++, unit /= 10)
                        ns += (*end - '0') * unit;
        *ret = clock_of(seconds, ns);
        return *end == 0;
}

/* null and what is no text stand for none. */
static int read_text(struct import *m, char **slot)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (json_scan_peek(m->in) != '"')
                return json_scan_value(m->in, NULL, NULL, m->e);
        int q = json_scan_string(m->in, &b, m->e);
        if (q < 0)
                return q;
        free(*slot);
        return (*slot = buf_steal(&b)) ? 0 : err_oom(m->e);
}

static int read_size(struct import *m, uint64_t *slot)
{
        double d = 0;
        int c = json_scan_peek(m->in);
        if (c != '-' && (c < '0' || c > '9'))
                return json_scan_value(m->in, NULL, NULL, m->e);
        int q = json_scan_number(m->in, &d, m->e);
        if (q == 0 && d > 0 && d < 1e18)
                *slot = (uint64_t)d;
        return q;
}

static int read_response(struct import *m, struct entry *n)
{
        _cleanup_buf_ struct buf key = BUF_INIT;
        if (json_scan_peek(m->in) != '{')
                return json_scan_value(m->in, NULL, NULL, m->e);
        int q = json_scan_enter(m->in, '{', m->e);
        while (q == 0 && (q = json_scan_key(m->in, &key, m->e)) > 0) {
                if (streq(buf_str(&key), "archiveId"))
                        q = read_text(m, &n->object);
                else if (streq(buf_str(&key), "checksum"))
                        q = read_text(m, &n->checksum);
                else
                        q = json_scan_value(m->in, NULL, NULL, m->e);
        }
        return q;
}

static int read_value(struct import *m, struct entry *n, const char *key)
{
        const struct {
                const char *key;
                char **slot;
        } texts[] = {
                {"compression", &n->compression}, {"used_public_key", &n->pem},
                {"region_name", &n->region}, {"vault_name", &n->vault},
                {"descryption", &n->description}, /* so spelled */
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (streq(key, texts[i].key))
                        return read_text(m, texts[i].slot);
        if (streq(key, "archive_size"))
                return read_size(m, &n->size);
        if (streq(key, "response"))
                return read_response(m, n);
        if (streq(key, "JOB SUCCEED") && strchr("tf", json_scan_peek(m->in)))
                return json_scan_bool(m->in, &n->succeeded, m->e);
        return json_scan_value(m->in, NULL, NULL, m->e);
}

static int read_entry(struct import *m, const char *key)
{
        _cleanup_buf_ struct buf name = BUF_INIT;
        if (m->n == m->cap) {
                size_t cap = MAX((size_t)64, m->cap * 2);
                struct entry *v = reallocarray(m->v, cap, sizeof *v);
                if (!v)
                        return err_oom(m->e);
                m->v = v;
                m->cap = cap;
        }
        struct entry *n = &m->v[m->n++];
        *n = (struct entry){.key = strdup(key)};
        if (!n->key)
                return err_oom(m->e);
        if (!parse_time(key, &n->time))
                return json_scan_wrong(m->in, "an entry's key is not the time of a job", m->e);
        int q = json_scan_enter(m->in, '{', m->e);
        while (q == 0 && (q = json_scan_key(m->in, &name, m->e)) > 0)
                q = read_value(m, n, buf_str(&name));
        return q;
}

static int read_log(struct import *m, const char *path)
{
        _cleanup_buf_ struct buf key = BUF_INIT;
        int q = json_scan_open(path, &m->in, m->e);
        if (q == 0)
                q = json_scan_enter(m->in, '{', m->e);
        while (q == 0 && (q = json_scan_key(m->in, &key, m->e)) > 0)
                q = read_entry(m, buf_str(&key));
        return q < 0 ? q : json_scan_end(m->in, m->e);
}

/* ---- the row ---- */

/* The same entry has the same id, whoever imports it. */
static char *id_of(const struct entry *n)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        uint8_t sum[32];
        char hex[9], t[CLOCK_TEXT_MAX], digits[CLOCK_TEXT_MAX], *s;
        size_t k = 0;
        buf_addf(&b, "%s %s %s", n->key, n->vault ? n->vault : "", n->object ? n->object : "");
        if (buf_oom(&b))
                return NULL;
        SHA256((const unsigned char *)b.data, b.len, sum);
        bytes_hex(sum, 4, hex);
        clock_iso(n->time, t);
        for (const char *p = t; *p; p++)
                if (*p != '-' && *p != ':')
                        digits[k++] = *p;
        digits[k] = 0;
        return asprintf(&s, "%s-%s", digits, hex) < 0 ? NULL : s;
}

static char *fingerprint_of(const char *pem)
{
        _cleanup_(keys_public_freep) struct keys_public *k = NULL;
        if (!pem || keys_public_parse(pem, strlen(pem), "the log's key", &k, NULL) < 0)
                return strdup(""); /* smaller keys than ours were in use */
        return strdup(keys_public_fingerprint(k));
}

static char *store_of(const struct entry *n)
{
        char *s;
        return asprintf(&s, "glacier://%s", n->vault && *n->vault ? n->vault : "unknown") < 0 ? NULL
                                                                                              : s;
}

static char *text_or(const char *s, const char *other)
{
        return strdup(s && *s ? s : other);
}

static int make_row(const struct import *m, const struct entry *n, struct catalog_archive *ret)
{
        struct catalog_archive a = {
                .created = n->time,
                .stored = n->time,
                .state = ARCHIVE_PREPARED,
                .level = -1,
                .packed = true,
                .released = true,
                .synced = true,
                .stored_bytes = n->size,
                .id = id_of(n),
                .description = text_or(n->description, "imported"),
                .origin = strdup(IMPORT_ORIGIN),
                .config_file = strdup(m->config->file),
                .store_url = store_of(n),
                .storage_class = strdup(""),
                .compression = text_or(n->compression, "none"),
                .recipients = fingerprint_of(n->pem),
                .keys_pem = text_or(n->pem, ""),
                .spec = strdup("{\"imported\":true}"),
        };
        bool whole = a.id && a.description && a.origin && a.config_file && a.store_url &&
                     a.storage_class && a.compression && a.recipients && a.keys_pem && a.spec;
        *ret = a;
        return whole ? 0 : err_oom(m->e);
}

/* ---- its files ---- */

struct filling {
        struct import *m;
        struct catalog_adder *adder;
        uint64_t at; /* files have no place in a tar that we know: only their order */
};

static int64_t local_time(const char *s)
{
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(s, "%Y-%m-%d %H:%M:%S", &tm);
        return end ? clock_of(mktime(&tm), 0) : 0;
}

/* As tar stores it: without the slashes in front, and without what would lead out. */
static char *member_path(const char *path)
{
        struct buf b = BUF_INIT;
        while (*path) {
                size_t n = strcspn(path, "/");
                bool plain = n > 0 && !(n == 1 && *path == '.') &&
                             !(n == 2 && path[0] == '.' && path[1] == '.');
                if (plain) {
                        if (b.len > 0)
                                buf_addc(&b, '/');
                        buf_add(&b, path, n);
                }
                path += n + (path[n] == '/');
        }
        return buf_steal(&b);
}

static int add_file(struct filling *f)
{
        struct import *m = f->m;
        _cleanup_free_ char *hash = NULL, *time_of = NULL, *path = NULL;
        _cleanup_buf_ struct buf key = BUF_INIT;
        uint8_t sum[64];
        int q = json_scan_enter(m->in, '{', m->e);
        while (q == 0 && (q = json_scan_key(m->in, &key, m->e)) > 0) {
                const char *k = buf_str(&key);
                q = streq(k, "SHA512")     ? read_text(m, &hash)
                    : streq(k, "mod_time") ? read_text(m, &time_of)
                    : streq(k, "abs_path") ? read_text(m, &path)
                                           : json_scan_value(m->in, NULL, NULL, m->e);
        }
        if (q < 0)
                return q;
        _cleanup_free_ char *name = path ? member_path(path) : NULL;
        if (!name || !*name)
                return path ? 0 : json_scan_wrong(m->in, "a file has no abs_path", m->e);
        bool hashed = hash && strlen(hash) == 128 && bytes_unhex(hash, sum, sizeof sum) == 0;
        const struct catalog_member file = {.path = name,
                .type = 'f',
                .mode = 0600,
                .uid = (uint32_t)geteuid(),
                .gid = (uint32_t)getegid(),
                .mtime = time_of ? local_time(time_of) : 0,
                .tar_offset = f->at++,
                .sha512 = hashed ? sum : NULL};
        m->result->files++;
        return catalog_adder_add(f->adder, &file, m->e);
}

static int add_files(struct filling *f)
{
        int q = json_scan_enter(f->m->in, '[', f->m->e);
        while (q == 0 && (q = json_scan_item(f->m->in, f->m->e)) > 0)
                q = add_file(f);
        return q;
}

/* Sealed, it was longer than its tar by the wrapped key, a nonce and a tag. */
static uint64_t sealed_size(const struct entry *n)
{
        _cleanup_(keys_public_freep) struct keys_public *k = NULL;
        unsigned bits = 2048;
        if (n->pem && keys_public_parse(n->pem, strlen(n->pem), "the log's key", &k, NULL) == 0)
                bits = keys_public_bits(k);
        return n->size ? n->size + bits / 8 + 32 : 0;
}

static int add_volume(struct import *m, const struct entry *n, const char *id)
{
        struct catalog_volume v = {.number = 1, .done = true, .plain_size = n->size};
        v.size = sealed_size(n);
        (void)snprintf(v.object, sizeof v.object, "%s", n->object ? n->object : ""); /* cut */
        if (n->checksum && strlen(n->checksum) == 64)
                (void)bytes_unhex(n->checksum, v.tree_hash, sizeof v.tree_hash); /* or zeros */
        return catalog_volume_done(m->c, id, &v, m->e);
}

static int fill(struct import *m, const struct entry *n, struct catalog_archive *a)
{
        _cleanup_(catalog_adder_freep) struct catalog_adder *adder = NULL;
        _cleanup_buf_ struct buf key = BUF_INIT;
        struct filling f = {.m = m};
        int q = catalog_adder_new(m->c, a->id, &adder, m->e);
        f.adder = adder;
        if (q == 0)
                q = json_scan_enter(m->in, '{', m->e);
        while (q == 0 && (q = json_scan_key(m->in, &key, m->e)) > 0)
                q = streq(buf_str(&key), "files") && json_scan_peek(m->in) == '['
                            ? add_files(&f)
                            : json_scan_value(m->in, NULL, NULL, m->e);
        if (q == 0)
                q = catalog_adder_flush(adder, m->e);
        return q < 0 ? q : add_volume(m, n, a->id);
}

static int settle(struct import *m, struct catalog_archive *a)
{
        struct catalog_totals t;
        int q = catalog_member_totals(m->c, a->id, &t, m->e);
        if (q < 0)
                return q;
        a->n_files = t.n_files;
        a->sums_bytes = t.sums_bytes;
        q = catalog_event(m->c, a->id, 'i', "imported from the log of the Python program", m->e);
        if (q == 0)
                q = catalog_archive_update(m->c, a, m->e);
        if (q == 0)
                q = catalog_archive_set_stored(m->c, a->id, ARCHIVE_STORED, a->stored, m->e);
        return q < 0 ? q : catalog_archive_settle(m->c, a->id, m->e);
}

/* An entry that an archive of ours has made is no old one. After `recover` only time and
 * description tell: the key is that time, moved by some microseconds where it was taken. */
static int is_ours(void *ctx, const struct catalog_archive *a)
{
        const struct entry *n = ctx;
        int64_t apart = n->time - a->created;
        if (!import_is_imported(a) && apart > -CLOCK_NSEC / 1000 && apart < CLOCK_NSEC / 1000 &&
                n->description && streq(n->description, a->description))
                return 1;
        _cleanup_free_ char *mark = NULL;
        if (asprintf(&mark, "\"log\":\"%s\"", n->key) < 0) {
                mark = NULL;
                return -ENOMEM;
        }
        return strstr(a->spec, mark) != NULL;
}

static int add_archive(struct import *m, const struct entry *n, bool *ret_known)
{
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        int q = make_row(m, n, &a);
        if (q == 0)
                q = catalog_archive_add(m->c, &a, m->e);
        *ret_known = q == -EEXIST;
        if (q < 0)
                return q;
        if ((q = fill(m, n, &a)) == 0)
                q = settle(m, &a);
        if (q < 0)
                (void)catalog_archive_remove(m->c, a.id, NULL); /* nothing of it counts */
        return q;
}

/* Its value comes next in the log, and is passed over where it is not wanted. */
static int import_entry(struct import *m, struct entry *n)
{
        if (!n->succeeded) {
                m->result->unfinished++;
                return json_scan_value(m->in, NULL, NULL, m->e);
        }
        int q = catalog_archive_each(m->c, is_ours, n, m->e);
        bool known = q > 0;
        if (q == 0)
                q = add_archive(m, n, &known);
        if (known) {
                m->result->known++;
                return json_scan_value(m->in, NULL, NULL, m->e);
        }
        m->result->archives += q == 0;
        return q;
}

static int import_entries(struct import *m, const char *path)
{
        _cleanup_buf_ struct buf key = BUF_INIT;
        json_scan_free(m->in);
        m->in = NULL;
        int q = json_scan_open(path, &m->in, m->e);
        if (q == 0)
                q = json_scan_enter(m->in, '{', m->e);
        for (size_t i = 0; q == 0 && (q = json_scan_key(m->in, &key, m->e)) > 0; i++) {
                if (i >= m->n || !streq(m->v[i].key, buf_str(&key)))
                        return json_scan_wrong(m->in, "the log changed while it was read", m->e);
                q = import_entry(m, &m->v[i]);
        }
        return q;
}

int import_run(struct catalog *c, const struct config *config, const char *path,
        struct import_result *ret, struct err *e)
{
        struct import_result result = {0};
        _cleanup_(import_done) struct import m = {
                .c = c, .config = config, .result = &result, .e = e};
        int q = read_log(&m, path);
        if (q == 0)
                q = import_entries(&m, path);
        *ret = result;
        return q;
}
