#include "manifest_internal.h"

#include "buf.h"
#include "bytes.h"
#include "catalog_version.h"

#include <inttypes.h>
#include <jansson.h>

struct reader {
        manifest_read_fn read;
        void *ctx;
        struct catalog *c;
        struct err *e;
        struct buf in; /* what was pulled and not yet taken, from `taken` on */
        size_t taken;
        uint64_t line;
        bool end, added;
        struct catalog_archive a;
        struct catalog_adder *adder;
        uint64_t members, blocks, stored;
        struct catalog_run run;
        struct buf roots;
};

static int broken(struct reader *r, const char *why)
{
        return err_set(
                r->e, -EPROTO, "line %" PRIu64 " of the manifest is broken: %s", r->line, why);
}

/* ---- lines ---- */

/* Pulls more text behind what is there. 1 more, 0 the end. */
static int pull(struct reader *r)
{
        char chunk[16 * KiB];
        if (r->taken > 0) {
                r->in.len -= r->taken;
                memmove(r->in.data, r->in.data + r->taken, r->in.len);
                r->taken = 0;
        }
        ssize_t n = r->read(r->ctx, chunk, sizeof chunk, r->e);
        if (n < 0)
                return (int)n;
        buf_add(&r->in, chunk, (size_t)n);
        return buf_oom(&r->in) ? err_oom(r->e) : n > 0;
}

/* The next line, without its newline, borrowed until the next call. 1, 0 at the end, -errno. */
static int next_line(struct reader *r, const char **ret, size_t *ret_len)
{
        r->line++;
        for (size_t seen = 0;;) {
                const char *start = buf_str(&r->in) + r->taken;
                size_t have = r->in.len - r->taken;
                const char *nl = have > seen ? memchr(start + seen, '\n', have - seen) : NULL;
                if (nl) {
                        *ret = start;
                        *ret_len = (size_t)(nl - start);
                        r->taken += *ret_len + 1;
                        return 1;
                }
                seen = have;
                if (have > MANIFEST_LINE_MAX)
                        return broken(r, "it is too long");
                int q = pull(r);
                if (q < 0)
                        return q;
                if (q == 0)
                        return have == 0 ? 0 : broken(r, "it ends in the middle");
        }
}

/* ---- values ---- */

static bool get_number(const json_t *o, const char *key, uint64_t max, uint64_t *ret)
{
        const json_t *v = json_object_get(o, key);
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
                (uint64_t)json_integer_value(v) > max)
                return false;
        *ret = (uint64_t)json_integer_value(v);
        return true;
}

static const char *get_text(const json_t *o, const char *key)
{
        return json_string_value(json_object_get(o, key));
}

static bool get_time(const json_t *o, const char *key, int64_t *ret)
{
        const char *s = get_text(o, key);
        return s && manifest_time_parse(s, ret);
}

static bool get_hex(const json_t *o, const char *key, uint8_t *ret, size_t len)
{
        const char *s = get_text(o, key);
        return s && strlen(s) == 2 * len && bytes_unhex(s, ret, len) == 0;
}

/* KEY_base64 if it is there, else KEY. *ret_made is to be freed. */
static const char *get_bytes(const json_t *o, const char *key, char **ret_made)
{
        char exact[32];
        (void)snprintf(exact, sizeof exact, "%s_base64", key); /* keys are short literals */
        const char *s = get_text(o, exact);
        if (!s)
                return get_text(o, key);
        return manifest_base64_parse(s, ret_made) ? *ret_made : NULL;
}

static bool get_mode(const json_t *o, uint32_t *ret)
{
        const char *s = get_text(o, "mode");
        size_t n = s ? strlen(s) : 0;
        if (n == 0 || n > 5 || strspn(s, "01234567") != n)
                return false;
        *ret = (uint32_t)strtoul(s, NULL, 8);
        return *ret <= 07777;
}

/* Names that come from the store become names in folders and on terminals. */
static bool is_plain(const char *s, size_t max, const char *also)
{
        size_t n = s ? strlen(s) : 0;
        if (n == 0 || n > max || *s == '.' || *s == '/')
                return false;
        for (; *s; s++)
                if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
                            (*s >= '0' && *s <= '9') || strchr(also, *s)))
                        return false;
        return true;
}

/* ---- the first line ---- */

static bool keep(char **to, const char *s)
{
        *to = s ? strdup(s) : NULL;
        return *to != NULL;
}

static bool get_recipients(const json_t *o, char **ret)
{
        struct buf b = BUF_INIT;
        size_t i;
        const json_t *v, *list = json_object_get(o, "recipients");
        if (!json_is_array(list))
                return false;
        json_array_foreach(list, i, v)
        {
                const char *s = json_string_value(v);
                if (!s || strspn(s, "0123456789abcdef") != strlen(s)) {
                        buf_done(&b);
                        return false;
                }
                buf_addf(&b, "%s%s", i > 0 ? " " : "", s);
        }
        return (*ret = buf_steal(&b)) != NULL;
}

static bool read_head_fields(const json_t *o, struct catalog_archive *a)
{
        uint64_t returned;
        const json_t *level = json_object_get(o, "level");
        if (!json_is_integer(level) || !get_number(o, "volume_size", INT64_MAX, &a->volume_size) ||
                !get_number(o, "returned", INT64_MAX, &returned))
                return false;
        a->level = (int)MAX(-1, MIN(json_integer_value(level), 100));
        a->n_returned = returned;
        return get_time(o, "created_unix", &a->created) &&
               get_time(o, "written_unix", &a->stored) &&
               keep(&a->description, get_text(o, "description")) &&
               keep(&a->origin, get_text(o, "origin")) &&
               keep(&a->compression, get_text(o, "compression")) &&
               keep(&a->store_url, get_text(o, "store")) &&
               keep(&a->store_id, get_text(o, "store_id")) &&
               keep(&a->storage_class, get_text(o, "storage_class")) &&
               keep(&a->keys_pem, get_text(o, "public_keys")) && get_recipients(o, &a->recipients);
}

static int read_head(struct reader *r, const json_t *o)
{
        struct catalog_archive *a = &r->a;
        uint64_t version;
        const char *what = get_text(o, "manifest"), *id = get_text(o, "id"),
                   *name = get_text(o, "name");
        if (!what || !streq(what, "autoglacier") || !get_number(o, "version", INT64_MAX, &version))
                return err_set(r->e, -EPROTO, "this is not a manifest of autoglacier");
        if (version != MANIFEST_VERSION)
                return err_set(r->e, -EPROTONOSUPPORT,
                        "the manifest is of version %" PRIu64
                        ", which is newer than this program; use the newer one",
                        version);
        if (!is_plain(id, 64, "-_") || !read_head_fields(o, a) || !is_plain(a->origin, 64, "-_") ||
                !keep(&a->id, id))
                return broken(r, "it does not tell what archive this is");
        if (is_plain(name, 200, "-_"))
                (void)keep(&a->name, name); /* without it, it gets another */
        a->state = ARCHIVE_PREPARED;
        a->packed = a->released = a->synced = true;
        int q = catalog_archive_add(r->c, a, r->e);
        if (q < 0)
                return q;
        r->added = true;
        return catalog_adder_new(r->c, a->id, &r->adder, r->e);
}

/* ---- the other lines ---- */

static int read_member(struct reader *r, const json_t *o)
{
        _cleanup_free_ char *path = NULL, *link = NULL;
        uint64_t uid, gid;
        uint8_t sha512[64];
        struct catalog_member m = {.path = get_bytes(o, "path", &path)};
        const char *type = get_text(o, "type");
        if (!m.path || !type || strlen(type) != 1 || !strchr("fdlh", *type) ||
                !get_mode(o, &m.mode) || !get_number(o, "uid", UINT32_MAX, &uid) ||
                !get_number(o, "gid", UINT32_MAX, &gid) || !get_time(o, "mtime", &m.mtime) ||
                !get_number(o, "size", INT64_MAX, &m.size) ||
                !get_number(o, "offset", INT64_MAX, &m.tar_offset) ||
                !get_number(o, "length", INT64_MAX, &m.tar_len))
                return broken(r, "it does not describe a member");
        m.type = *type;
        m.uid = (uint32_t)uid;
        m.gid = (uint32_t)gid;
        if (m.type == 'l' || m.type == 'h') {
                if (!(m.link = get_bytes(o, "link", &link)))
                        return broken(r, "it does not say where the link leads");
        }
        if (json_object_get(o, "sha512")) {
                if (m.type != 'f' || !get_hex(o, "sha512", sha512, sizeof sha512))
                        return broken(r, "its SHA-512 is none");
                m.sha512 = sha512;
        }
        if (json_object_get(o, "ino") && !get_number(o, "ino", UINT64_MAX, &m.ino))
                return broken(r, "its inode is none");
        r->members++;
        int q = catalog_adder_add(r->adder, &m, r->e);
        return q == -EINVAL || q == -EPROTO ? broken(r, "its path is none inside an archive") : q;
}

static bool get_flag(const json_t *o, const char *key, bool *ret)
{
        const json_t *v = json_object_get(o, key);
        *ret = json_is_true(v);
        return json_is_boolean(v);
}

static int read_run(struct reader *r, const json_t *o)
{
        const char *chain = get_text(o, "chain"), *job = get_text(o, "job");
        if (r->run.chain || !chain || !job || !get_flag(o, "changed_only", &r->run.changed_only))
                return broken(r, "it does not say what the archive was made from");
        r->run.chain = strdup(chain);
        r->run.job = strdup(job);
        return r->run.chain && r->run.job ? 0 : err_oom(r->e);
}

static int read_root(struct reader *r, const json_t *o)
{
        _cleanup_free_ char *exact = NULL;
        const char *path = get_bytes(o, "root", &exact);
        if (!path || *path != '/' || r->roots.len > MiB)
                return broken(r, "it does not name a root");
        buf_add(&r->roots, path, strlen(path) + 1);
        return 0;
}

static int read_missed(struct reader *r, const json_t *o)
{
        _cleanup_free_ char *exact = NULL;
        const char *path = get_bytes(o, "missed", &exact);
        return path ? catalog_missed_add(r->c, r->a.id, path, r->e)
                    : broken(r, "it does not name what was missed");
}

static int read_unchanged(struct reader *r, const json_t *o)
{
        struct catalog_range g = {.base = get_text(o, "unchanged")};
        if (!is_plain(g.base, 64, "-_") || !get_number(o, "first", INT64_MAX, &g.first) ||
                !get_number(o, "last", INT64_MAX, &g.last) || g.last < g.first)
                return broken(r, "it does not say what is unchanged");
        return catalog_unchanged_add(r->c, r->a.id, &g, 1, r->e);
}

static int read_block(struct reader *r, const json_t *o)
{
        uint64_t number, volume, len, plain_len;
        struct catalog_block b;
        if (!get_number(o, "block", UINT32_MAX, &number) ||
                !get_number(o, "volume", UINT32_MAX, &volume) ||
                !get_number(o, "offset", INT64_MAX, &b.tar_offset) ||
                !get_number(o, "length", UINT32_MAX, &len) ||
                !get_number(o, "plain_offset", INT64_MAX, &b.plain_offset) ||
                !get_number(o, "plain_length", UINT32_MAX, &plain_len))
                return broken(r, "it does not describe a block");
        b.number = (unsigned)number;
        b.volume = (unsigned)volume;
        b.tar_len = (uint32_t)len;
        b.plain_len = (uint32_t)plain_len;
        r->blocks++;
        return catalog_block_add(r->c, r->a.id, &b, r->e);
}

static int read_volume(struct reader *r, const json_t *o)
{
        uint64_t number, len;
        struct catalog_volume v = {.done = true};
        const char *object = get_text(o, "object");
        if (!is_plain(object, sizeof v.object - 1, "-_./") || strstr(object, "..") ||
                !get_number(o, "volume", UINT32_MAX, &number) ||
                !get_number(o, "offset", INT64_MAX, &v.tar_start) ||
                !get_number(o, "length", (uint64_t)INT64_MAX - v.tar_start, &len) ||
                !get_number(o, "plain_size", INT64_MAX, &v.plain_size) ||
                !get_number(o, "size", INT64_MAX / 2, &v.size) ||
                !get_hex(o, "tree_hash", v.tree_hash, sizeof v.tree_hash) ||
                !get_hex(o, "message_id", v.message_id, sizeof v.message_id))
                return broken(r, "it does not describe a volume");
        v.number = (unsigned)number;
        v.tar_end = v.tar_start + len;
        (void)snprintf(v.object, sizeof v.object, "%s", object); /* measured above */
        r->stored += v.size;
        r->a.tar_bytes = MAX(r->a.tar_bytes, v.tar_end);
        return catalog_volume_done(r->c, r->a.id, &v, r->e);
}

static int read_event(struct reader *r, const json_t *o)
{
        int64_t time;
        const char *text = get_text(o, "event"), *level = get_text(o, "level");
        if (!text || !level || strlen(level) != 1 || !get_time(o, "time", &time))
                return broken(r, "it does not describe an event");
        return catalog_event_at(r->c, r->a.id, time, *level, text, r->e);
}

static int read_end(struct reader *r, const json_t *o)
{
        uint64_t members, blocks;
        if (!get_number(o, "members", INT64_MAX, &members) ||
                !get_number(o, "blocks", INT64_MAX, &blocks) || members != r->members ||
                blocks != r->blocks)
                return broken(
                        r, "the numbers of members and blocks are not those that came before");
        r->end = true;
        return catalog_adder_flush(r->adder, r->e);
}

static const struct {
        const char *key;
        int (*read)(struct reader *r, const json_t *o);
} lines[] = {
        {"path", read_member},
        {"chain", read_run},
        {"root", read_root},
        {"unchanged", read_unchanged},
        {"missed", read_missed},
        {"block", read_block},
        {"object", read_volume},
        {"event", read_event},
        {"end", read_end},
};

static int read_line(struct reader *r, const char *text, size_t len)
{
        _cleanup_(json_decrefp) json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(o))
                return broken(r, "it is no JSON object");
        if (r->line == 1)
                return read_head(r, o);
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                if (json_object_get(o, lines[i].key))
                        return lines[i].read(r, o);
        return broken(r, "it is of a kind that this program does not know");
}

/* In the tar stream the locator follows; as an object of its own a manifest ends here. */
static int read_rest(struct reader *r)
{
        struct manifest_locator l;
        int q;
        while ((q = pull(r)) > 0)
                if (r->in.len > MANIFEST_RECORD)
                        return broken(r, "more follows the end");
        if (q < 0 || r->in.len == 0)
                return q;
        if (r->in.len != MANIFEST_RECORD)
                return broken(r, "more follows the end");
        return manifest_locator_parse(r->in.data, &l, r->e);
}

static int keep_run(struct reader *r)
{
        if (!r->run.chain)
                return 0;
        if (buf_oom(&r->roots))
                return err_oom(r->e);
        r->run.roots_len = r->roots.len;
        r->run.roots = buf_steal(&r->roots);
        return catalog_run_set(r->c, r->a.id, &r->run, r->e);
}

static int finish(struct reader *r)
{
        struct catalog_totals t;
        int q = read_rest(r);
        if (q == 0)
                q = catalog_member_totals(r->c, r->a.id, &t, r->e);
        if (q < 0)
                return q;
        r->a.n_files = t.n_files;
        r->a.n_dirs = t.n_dirs;
        r->a.n_links = t.n_links;
        r->a.n_hardlinks = t.n_hardlinks;
        r->a.bytes = t.bytes;
        r->a.sums_bytes = t.sums_bytes;
        r->a.stored_bytes = r->stored;
        q = keep_run(r);
        if (q == 0)
                q = catalog_archive_update(r->c, &r->a, r->e);
        if (q == 0)
                q = catalog_archive_set_stored(r->c, r->a.id,
                        r->a.n_returned > 0 ? ARCHIVE_INCOMPLETE : ARCHIVE_STORED, r->a.stored,
                        r->e);
        return q < 0 ? q : catalog_archive_settle(r->c, r->a.id, r->e);
}

static int read_all(struct reader *r)
{
        while (!r->end) {
                const char *text = NULL;
                size_t len = 0;
                int q = next_line(r, &text, &len);
                if (q == 0)
                        return err_set(r->e, -EPROTO,
                                "the manifest ends too early, after %" PRIu64 " lines",
                                r->line - 1);
                if (q > 0)
                        q = read_line(r, text, len);
                if (q < 0)
                        return q;
        }
        return finish(r);
}

int manifest_read(manifest_read_fn read, void *ctx, struct catalog *c, char **ret_id, struct err *e)
{
        struct reader r = {.read = read, .ctx = ctx, .c = c, .e = e};
        int q = read_all(&r);
        catalog_adder_free(r.adder);
        if (q < 0 && r.added)
                (void)catalog_archive_remove(
                        c, r.a.id, NULL); /* a prepared row is nothing to anybody */
        if (q == 0)
                *ret_id = steal(r.a.id);
        catalog_archive_done(&r.a);
        catalog_run_done(&r.run);
        buf_done(&r.roots);
        buf_done(&r.in);
        return q < 0 ? q : 0;
}
