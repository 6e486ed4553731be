#include "manifest_internal.h"

#include "buf.h"
#include "bytes.h"
#include "catalog_version.h"
#include "clock.h"
#include "io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define CHUNK (64 * KiB)

struct writer {
        int fd;
        struct buf out;
        uint64_t size; /* written to fd already */
        uint64_t members, blocks;
        int earlier; /* a manifest of the same archive, or -EBADF */
        struct err *e;
};

static int spill(struct writer *w, size_t above)
{
        if (buf_oom(&w->out))
                return err_oom(w->e);
        if (w->out.len <= above)
                return 0;
        int q = io_write_full(w->fd, w->out.data, w->out.len);
        if (q < 0)
                return err_errno(w->e, q, "cannot write the manifest");
        w->size += w->out.len;
        buf_reset(&w->out);
        return 0;
}

static int end_line(struct writer *w)
{
        buf_adds(&w->out, "}\n");
        return spill(w, CHUNK);
}

/* ---- values ---- */

static void add_text(struct buf *b, const char *key, const char *s)
{
        buf_addf(b, ",\"%s\":", key);
        buf_add_json(b, s, strlen(s));
}

static void add_number(struct buf *b, const char *key, uint64_t v)
{
        buf_addf(b, ",\"%s\":%" PRIu64, key, v);
}

static void add_time(struct buf *b, const char *key, int64_t t)
{
        char s[MANIFEST_TIME_MAX];
        manifest_time_write(t, s);
        buf_addf(b, ",\"%s\":\"%s\"", key, s);
}

/* Bytes: as text for people, and where they are not UTF-8 once more, exactly. */
static void add_bytes(struct buf *b, const char *key, const char *s)
{
        size_t n = strlen(s);
        buf_addc(b, '"');
        buf_adds(b, key);
        buf_adds(b, "\":");
        buf_add_json(b, s, n);
        if (bytes_is_utf8(s, n))
                return;
        _cleanup_free_ char *base64 = malloc(BYTES_BASE64_LEN(n));
        if (!base64) {
                b->oom = true;
                return;
        }
        bytes_base64(s, n, base64);
        buf_addf(b, ",\"%s_base64\":\"%s\"", key, base64);
}

/* Words separated by blanks as a list. */
static void add_words(struct buf *b, const char *key, const char *s)
{
        buf_addf(b, ",\"%s\":[", key);
        for (bool first = true; *s; first = false) {
                size_t n = strcspn(s, " ");
                buf_adds(b, first ? "" : ",");
                buf_add_json(b, s, n);
                s += n + strspn(s + n, " ");
        }
        buf_addc(b, ']');
}

/* ---- lines ---- */

static int write_head(struct writer *w, const struct catalog_archive *a,
        const struct catalog_totals *t, int64_t when)
{
        struct buf *b = &w->out;
        char created[CLOCK_TEXT_MAX];
        clock_iso(a->created, created);
        buf_addf(b, "{\"manifest\":\"autoglacier\",\"version\":%d", MANIFEST_VERSION);
        const struct {
                const char *key, *value;
        } texts[] = {
                {"id", a->id},
                {"name", a->name},
                {"description", a->description},
                {"created", created},
                {"origin", a->origin},
                {"compression", a->compression},
                {"store", a->store_url},
                {"store_id", a->store_id},
                {"storage_class", a->storage_class},
                {"public_keys", a->keys_pem},
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                add_text(b, texts[i].key, texts[i].value);
        add_words(b, "recipients", a->recipients);
        add_time(b, "created_unix", a->created);
        add_time(b, "written_unix", when);
        buf_addf(b, ",\"level\":%d", a->level);
        const struct {
                const char *key;
                uint64_t value;
        } numbers[] = {
                {"volume_size", a->volume_size},
                {"files", t->n_files},
                {"dirs", t->n_dirs},
                {"symlinks", t->n_links},
                {"hardlinks", t->n_hardlinks},
                {"bytes", t->bytes},
                {"returned", a->n_returned},
        };
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
                add_number(b, numbers[i].key, numbers[i].value);
        return end_line(w);
}

/* The fixed part of a line at once: there may be millions. */
static void add_facts(struct buf *b, const struct catalog_member *m)
{
        char text[320], mtime[MANIFEST_TIME_MAX];
        manifest_time_write(m->mtime, mtime);
        int n = snprintf(text, sizeof text,
                ",\"type\":\"%c\",\"mode\":\"%04o\",\"uid\":%u,\"gid\":%u,\"mtime\":\"%s\","
                "\"size\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"length\":%" PRIu64,
                m->type, m->mode, m->uid, m->gid, mtime, m->size, m->tar_offset, m->tar_len);
        buf_add(b, text, (size_t)n); /* at most 200 characters */
}

static void add_sum(struct buf *b, const uint8_t sha512[64])
{
        char hex[129];
        bytes_hex(sha512, 64, hex);
        buf_adds(b, ",\"sha512\":\"");
        buf_add(b, hex, 128);
        buf_addc(b, '"');
}

static int write_member(void *ctx, const struct catalog_member *m)
{
        struct writer *w = ctx;
        struct buf *b = &w->out;
        if (m->type == 'f' && !m->sha512)
                return 0; /* it broke off: what the tar has of it is no file */
        buf_addc(b, '{');
        add_bytes(b, "path", m->path);
        add_facts(b, m);
        if (m->sha512)
                add_sum(b, m->sha512);
        if (m->ino)
                add_number(b, "ino", m->ino);
        if (m->link) {
                buf_addc(b, ',');
                add_bytes(b, "link", m->link);
        }
        w->members++;
        return end_line(w);
}

/* The member lines of an earlier manifest, which follow its first line: counted, or with `w`
 * copied. Returns their number, or 0 where it cannot be read. */
static uint64_t earlier_members(int earlier, struct writer *w)
{
        _cleanup_close_ int fd = fcntl(earlier, F_DUPFD_CLOEXEC, 0);
        if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0)
                return 0;
        FILE *f = fdopen(fd, "r");
        if (!f)
                return 0;
        (void)steal_fd(&fd);
        _cleanup_free_ char *line = NULL;
        size_t room = 0;
        uint64_t n = 0;
        ssize_t len = getline(&line, &room, f); /* the archive's line */
        while (len > 0 && (len = getline(&line, &room, f)) > 0) {
                if (!startswith(line, "{\"path\":") || line[len - 1] != '\n')
                        break;
                n++;
                if (!w)
                        continue;
                buf_add(&w->out, line, (size_t)len);
                if (spill(w, CHUNK) < 0)
                        break;
        }
        (void)fclose(f); /* only read */
        return n;
}

static int write_members(struct writer *w, struct catalog *c, const struct catalog_archive *a,
        const struct catalog_totals *t)
{
        uint64_t all = t->n_files + t->n_dirs + t->n_links + t->n_hardlinks;
        if (w->earlier < 0 || earlier_members(w->earlier, NULL) != all)
                return catalog_members_each(c, a->id, CATALOG_AS_TAR, write_member, w, w->e);
        w->members = earlier_members(w->earlier, w);
        return w->members == all ? 0 : err_set(w->e, -EIO, "cannot copy the manifest");
}

/* ---- what it was made from, and what it left in other archives ---- */

static int write_range(void *ctx, const struct catalog_range *r)
{
        struct writer *w = ctx;
        buf_adds(&w->out, "{\"unchanged\":");
        buf_add_json(&w->out, r->base, strlen(r->base));
        add_number(&w->out, "first", r->first);
        add_number(&w->out, "last", r->last);
        return end_line(w);
}

static int write_path(struct writer *w, const char *key, const char *path)
{
        buf_addc(&w->out, '{');
        add_bytes(&w->out, key, path);
        return end_line(w);
}

static int write_missed(void *ctx, const char *path)
{
        return write_path(ctx, "missed", path);
}

static int write_run(struct writer *w, struct catalog *c, const char *id)
{
        _cleanup_(catalog_run_done) struct catalog_run r = {0};
        int q = catalog_run_get(c, id, &r, w->e);
        if (q == -ENOENT)
                return 0;
        if (q < 0)
                return q;
        buf_adds(&w->out, "{\"chain\":");
        buf_add_json(&w->out, r.chain, strlen(r.chain));
        add_text(&w->out, "job", r.job);
        buf_addf(&w->out, ",\"changed_only\":%s", r.changed_only ? "true" : "false");
        q = end_line(w);
        for (size_t at = 0; q == 0 && at < r.roots_len; at += strlen(r.roots + at) + 1)
                q = write_path(w, "root", r.roots + at);
        if (q == 0)
                q = catalog_ranges_each(c, id, write_range, w, w->e);
        return q < 0 ? q : catalog_missed_each(c, id, write_missed, w, w->e);
}

static int write_block(void *ctx, const struct catalog_block *k)
{
        struct writer *w = ctx;
        buf_addf(&w->out, "{\"block\":%u", k->number);
        add_number(&w->out, "volume", k->volume);
        add_number(&w->out, "offset", k->tar_offset);
        add_number(&w->out, "length", k->tar_len);
        add_number(&w->out, "plain_offset", k->plain_offset);
        add_number(&w->out, "plain_length", k->plain_len);
        w->blocks++;
        return end_line(w);
}

static int write_volume(struct writer *w, const struct catalog_volume *v)
{
        char hash[65], message[65];
        bytes_hex(v->tree_hash, sizeof v->tree_hash, hash);
        bytes_hex(v->message_id, sizeof v->message_id, message);
        buf_adds(&w->out, "{\"object\":");
        buf_add_json(&w->out, v->object, strlen(v->object));
        add_number(&w->out, "volume", v->number);
        add_number(&w->out, "offset", v->tar_start);
        add_number(&w->out, "length", v->tar_end - v->tar_start);
        add_number(&w->out, "plain_size", v->plain_size);
        add_number(&w->out, "size", v->size);
        add_text(&w->out, "tree_hash", hash);
        add_text(&w->out, "message_id", message);
        return end_line(w);
}

static int write_volumes(struct writer *w, struct catalog *c, const char *id)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n = 0;
        int q = catalog_volumes(c, id, &v, &n, w->e);
        for (size_t i = 0; q == 0 && i < n; i++)
                if (v[i].done)
                        q = write_volume(w, &v[i]);
        return q;
}

static int write_event(void *ctx, int64_t time, char level, const char *text)
{
        struct writer *w = ctx;
        buf_adds(&w->out, "{\"event\":");
        buf_add_json(&w->out, text, strlen(text));
        buf_addf(&w->out, ",\"level\":\"%c\"", level);
        add_time(&w->out, "time", time);
        return end_line(w);
}

static int write_end(struct writer *w)
{
        buf_addf(&w->out, "{\"end\":true");
        add_number(&w->out, "members", w->members);
        add_number(&w->out, "blocks", w->blocks);
        buf_addc(&w->out, '}');
        while ((w->size + w->out.len + 1) % MANIFEST_RECORD != 0 && !buf_oom(&w->out))
                buf_addc(&w->out, ' ');
        buf_addc(&w->out, '\n');
        return spill(w, 0);
}

static int write_all(
        struct writer *w, struct catalog *c, const struct catalog_archive *a, int64_t when)
{
        struct catalog_totals t;
        int q = catalog_member_totals(c, a->id, &t, w->e);
        if (q == 0) {
                t.n_files -= t.n_unread;
                t.bytes -= t.unread_bytes;
        }
        if (q == 0)
                q = write_head(w, a, &t, when);
        if (q == 0)
                q = write_members(w, c, a, &t);
        if (q == 0)
                q = write_run(w, c, a->id);
        if (q == 0)
                q = catalog_blocks(c, a->id, 0, UINT64_MAX, write_block, w, w->e);
        if (q == 0)
                q = write_volumes(w, c, a->id);
        if (q == 0)
                q = catalog_events(c, a->id, write_event, w, w->e);
        return q < 0 ? q : write_end(w);
}

int manifest_write(
        struct catalog *c, const char *id, int64_t when, int fd, uint64_t *ret_size, struct err *e)
{
        return manifest_write_again(c, id, when, -EBADF, fd, ret_size, e);
}

int manifest_write_again(struct catalog *c, const char *id, int64_t when, int earlier, int fd,
        uint64_t *ret_size, struct err *e)
{
        struct catalog_archive a = {0};
        struct writer w = {.fd = fd, .earlier = earlier, .e = e};
        int q = catalog_archive_get(c, id, &a, e);
        if (q == 0)
                q = write_all(&w, c, &a, when);
        buf_done(&w.out);
        catalog_archive_done(&a);
        if (q < 0)
                return q;
        *ret_size = w.size;
        return 0;
}
