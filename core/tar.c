#include "tar.h"

#include "tar_internal.h"

#include <archive.h>
#include <archive_entry.h>
#include <grp.h>
#include <pwd.h>

#define NAMES_KEPT 64u

/* Two libarchive writers share one sink, each writes whole members: its character set is a setting
 * of the writer and cannot be changed for a member. */
enum { ASCII, BINARY, WRITERS };

struct name {
        bool known;
        uint32_t id;
        char text[64];
};

struct tar_writer {
        tar_sink_fn sink;
        void *ctx;
        uint64_t offset;
        struct err err; /* of the sink */
        struct archive *writers[WRITERS];
        struct archive *member; /* the one that writes the member that is open; NULL if none is */
        struct archive_entry *entry;
        uint64_t size, done; /* of the member's content */
        struct tar_map map;
        struct tar_attrs attrs;
        struct name users[NAMES_KEPT], groups[NAMES_KEPT];
};

static la_ssize_t to_sink(struct archive *a, void *ctx, const void *data, size_t len)
{
        struct tar_writer *w = ctx;
        int r = w->err.code < 0 ? w->err.code : w->sink(w->ctx, data, len, &w->err);
        if (r < 0) {
                w->err.code = r;
                archive_set_error(a, -r, "%s", w->err.text);
                return -1;
        }
        w->offset += len;
        return (la_ssize_t)len;
}

static int to_nothing(
        _unused_ void *ctx, _unused_ const void *data, _unused_ size_t len, _unused_ struct err *e)
{
        return 0;
}

/* What libarchive says of itself, unless it is the sink that failed. */
static int failure(struct tar_writer *w, struct archive *a, const char *path, struct err *e)
{
        if (w->err.code < 0) {
                if (e)
                        *e = w->err;
                return w->err.code;
        }
        const char *words = archive_error_string(a);
        int code = archive_errno(a) == ENOMEM ? -ENOMEM : -EIO;
        return err_set(
                e, code, "cannot put %s into the tar stream: %s", path, words ? words : "unknown");
}

static int writer_open(
        struct tar_writer *w, const char *options, struct archive **ret, struct err *e)
{
        struct archive *a = *ret = archive_write_new();
        if (!a)
                return err_oom(e);
        if (archive_write_set_format_pax(a) != ARCHIVE_OK ||
                archive_write_set_options(a, options) != ARCHIVE_OK ||
                archive_write_set_bytes_per_block(a, 0) != ARCHIVE_OK ||
                archive_write_open(a, w, NULL, to_sink, NULL) != ARCHIVE_OK)
                return failure(w, a, "anything", e);
        return 0;
}

int tar_writer_new(tar_sink_fn sink, void *ctx, struct tar_writer **ret, struct err *e)
{
        _cleanup_(tar_writer_freep) struct tar_writer *w = calloc(1, sizeof *w);
        if (!w || !(w->entry = archive_entry_new()))
                return err_oom(e);
        w->sink = sink;
        w->ctx = ctx;
        int r = writer_open(w, "xattrheader=SCHILY", &w->writers[ASCII], e);
        if (r < 0)
                return r;
        r = writer_open(w, "xattrheader=SCHILY,hdrcharset=BINARY", &w->writers[BINARY], e);
        if (r < 0)
                return r;
        *ret = steal(w);
        return 0;
}

void tar_writer_free(struct tar_writer *w)
{
        if (!w)
                return;
        w->sink = to_nothing; /* libarchive writes the end of an archive when it is freed */
        for (size_t i = 0; i < WRITERS; i++)
                (void)archive_write_free(w->writers[i]);
        archive_entry_free(w->entry);
        free(w);
}

uint64_t tar_offset(const struct tar_writer *w)
{
        return w->offset;
}

static bool is_ascii(const char *s)
{
        for (; s && *s; s++)
                if ((unsigned char)*s >= 0x80)
                        return false;
        return true;
}

static const char *user_name(struct tar_writer *w, uid_t uid)
{
        struct name *n = &w->users[uid % NAMES_KEPT];
        if (n->known && n->id == uid)
                return n->text;
        char room[4096];
        struct passwd pw, *found = NULL;
        *n = (struct name){.known = true, .id = uid};
        if (getpwuid_r(uid, &pw, room, sizeof room, &found) == 0 && found &&
                strlen(pw.pw_name) < sizeof n->text)
                strcpy(n->text, pw.pw_name);
        return n->text;
}

static const char *group_name(struct tar_writer *w, gid_t gid)
{
        struct name *n = &w->groups[gid % NAMES_KEPT];
        if (n->known && n->id == gid)
                return n->text;
        char room[16384]; /* holds the members too; a larger group goes by its number */
        struct group gr, *found = NULL;
        *n = (struct name){.known = true, .id = gid};
        if (getgrgid_r(gid, &gr, room, sizeof room, &found) == 0 && found &&
                strlen(gr.gr_name) < sizeof n->text)
                strcpy(n->text, gr.gr_name);
        return n->text;
}

static void fill_entry(struct tar_writer *w, const struct tar_member *m)
{
        struct archive_entry *entry = archive_entry_clear(w->entry);
        archive_entry_copy_pathname(entry, m->path);
        archive_entry_set_mode(entry, m->st->st_mode);
        archive_entry_set_uid(entry, m->st->st_uid);
        archive_entry_set_gid(entry, m->st->st_gid);
        archive_entry_copy_uname(entry, user_name(w, m->st->st_uid));
        archive_entry_copy_gname(entry, group_name(w, m->st->st_gid));
        archive_entry_set_mtime(entry, m->st->st_mtim.tv_sec, m->st->st_mtim.tv_nsec);
        archive_entry_set_size(entry, (la_int64_t)w->size);
        if (m->hardlink)
                archive_entry_copy_hardlink(entry, m->hardlink);
        else if (S_ISLNK(m->st->st_mode))
                archive_entry_copy_symlink(entry, m->link);
}

static void fill_holes(struct tar_writer *w, const struct tar_member *m)
{
        tar_map_scan(&w->map, m->fd, m->st);
        if (!w->map.sparse)
                return;
        for (size_t i = 0; i < w->map.n; i++) {
                const struct tar_extent *x = &w->map.extents[i];
                archive_entry_sparse_add_entry(
                        w->entry, (la_int64_t)x->start, (la_int64_t)(x->end - x->start));
        }
        if (w->map.n == 0)
                archive_entry_sparse_add_entry(w->entry, 0, 0);
}

static bool is_member(const struct tar_member *m)
{
        mode_t mode = m->st->st_mode;
        if (S_ISLNK(mode))
                return m->link && *m->path;
        return (S_ISREG(mode) || S_ISDIR(mode)) && m->st->st_size >= 0 && *m->path;
}

int tar_begin(struct tar_writer *w, const struct tar_member *m, unsigned *ret_lost, struct err *e)
{
        if (w->member)
                return err_set(e, -EINVAL, "the member before %s is not finished", m->path);
        if (!is_member(m))
                return err_set(e, -EINVAL, "%s is not a file, folder or link", m->path);
        bool content = S_ISREG(m->st->st_mode) && !m->hardlink;
        w->size = content ? (uint64_t)m->st->st_size : 0;
        w->done = 0;
        fill_entry(w, m);
        w->map.sparse = false;
        w->map.size = w->size;
        unsigned lost = 0;
        if (!m->hardlink)
                lost = tar_attrs_read(&w->attrs, m->fd, S_ISDIR(m->st->st_mode), w->entry);
        if (content)
                fill_holes(w, m);
        bool ascii = is_ascii(m->path) && is_ascii(m->link) && is_ascii(m->hardlink) &&
                     is_ascii(archive_entry_uname(w->entry)) &&
                     is_ascii(archive_entry_gname(w->entry));
        struct archive *a = w->writers[ascii ? ASCII : BINARY];
        if (archive_write_header(a, w->entry) != ARCHIVE_OK)
                return failure(w, a, m->path, e);
        w->member = a;
        if (ret_lost)
                *ret_lost = lost;
        return 0;
}

static bool all_zero(const uint8_t *p, size_t len)
{
        return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

static bool fits_holes(const struct tar_writer *w, const uint8_t *data, size_t len)
{
        for (uint64_t at = 0; at < len;) {
                bool hole;
                uint64_t end =
                        MIN(tar_map_next(&w->map, w->done + at, &hole) - w->done, (uint64_t)len);
                if (hole && !all_zero(data + at, (size_t)(end - at)))
                        return false;
                at = end;
        }
        return true;
}

static const char *path_of(const struct tar_writer *w)
{
        const char *path = archive_entry_pathname(w->entry);
        return path ? path : "a member";
}

int tar_data(struct tar_writer *w, const void *data, size_t len, struct err *e)
{
        if (!w->member || len > w->size - w->done)
                return err_set(e, -EINVAL, "more content than the header of %s says", path_of(w));
        if (w->map.sparse && !fits_holes(w, data, len))
                return err_set(e, -ERESTART, "%s got content in one of its holes while it was read",
                        path_of(w));
        const uint8_t *p = data;
        while (len > 0) {
                la_ssize_t n = archive_write_data(w->member, p, len);
                if (n <= 0)
                        return failure(w, w->member, path_of(w), e);
                p += n;
                len -= (size_t)n;
                w->done += (uint64_t)n;
        }
        return 0;
}

uint64_t tar_next(const struct tar_writer *w, bool *ret_hole)
{
        *ret_hole = false;
        if (!w->member || w->done >= w->size)
                return 0;
        return tar_map_next(&w->map, w->done, ret_hole) - w->done;
}

int tar_end(struct tar_writer *w, struct err *e)
{
        struct archive *a = w->member;
        if (!a)
                return err_set(e, -EINVAL, "no member of the tar stream is open");
        if (w->done != w->size)
                return err_set(e, -EINVAL, "the content of %s is shorter than its header says",
                        path_of(w));
        w->member = NULL;
        return archive_write_finish_entry(a) == ARCHIVE_OK ? 0 : failure(w, a, path_of(w), e);
}

int tar_finish(struct tar_writer *w, struct err *e)
{
        if (w->member)
                return err_set(e, -EINVAL, "%s is not finished", path_of(w));
        struct archive *a = w->writers[ASCII];
        return archive_write_close(a) == ARCHIVE_OK ? 0 : failure(w, a, "the end", e);
}
