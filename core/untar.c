#include "untar.h"

#include "io.h"
#include "untar_internal.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <openssl/rand.h>

/* More header than this for one member (its names, xattrs, ACLs, map of holes) is not a backup. */
#define HEADER_MAX (16u * MiB)

static void archive_donep(struct archive **a)
{
        if (*a)
                (void)archive_read_free(*a); /* nothing to lose in reading */
}

static void back_to_locale(locale_t *l)
{
        if (*l)
                (void)uselocale(*l);
}

static void locale_done(locale_t *l)
{
        if (*l)
                freelocale(*l);
}

void untar_warn(struct untar *u, const char *what)
{
        if (u->params.warn)
                u->params.warn(u->params.ctx, buf_str(&u->name), what);
}

void untar_warn_errno(struct untar *u, const char *what)
{
        struct err e = {0};
        (void)err_errno(&e, -errno, "%s", what); /* for its words */
        untar_warn(u, e.text);
}

int untar_cannot_write(struct untar *u, int code, struct err *e)
{
        int q = err_errno(e, code, "cannot write %s in %s", buf_str(&u->name), u->params.to);
        if (code == -ENOSPC || code == -EDQUOT)
                err_hint(e, "make room there, or restore to another folder");
        return q;
}

/* ---- opening ---- */

/* A file made and removed in the target tells what time the filesystem thinks it is, and that it
 * can be written at all. */
static int look_at_clock(struct untar *u, struct err *e)
{
        char temp[UNTAR_TEMP_MAX];
        _cleanup_close_ int fd = untar_begin(u, temp);
        struct stat st;
        if (fd < 0)
                return err_errno(e, fd, "cannot write in %s", u->params.to);
        int r = fstat(fd, &st) < 0 ? -errno : 0;
        untar_drop(u, temp);
        u->start = st.st_ctim;
        return r < 0 ? err_errno(e, r, "cannot write in %s", u->params.to) : 0;
}

int untar_new(const struct untar_params *params, struct untar **ret, struct err *e)
{
        _cleanup_(untar_freep) struct untar *u = calloc(1, sizeof *u);
        if (!u)
                return err_oom(e);
        u->target = -EBADF;
        u->params = *params;
        if (!(u->sha = EVP_MD_CTX_new()))
                return err_oom(e);
        u->root = geteuid() == 0;
        u->unnamed = access("/proc/self/fd", X_OK) == 0;
        if (RAND_bytes((unsigned char *)&u->temp, sizeof u->temp) != 1)
                return err_set(e, -EIO, "no random numbers");
        int r = io_mkdir_p(params->to, 0700, e);
        if (r < 0)
                return r;
        _cleanup_close_ int fd = open(params->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return err_errno(e, -errno, "cannot open %s", params->to);
        u->target = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (u->target < 0)
                return err_errno(e, -errno, "cannot open %s", params->to);
        if ((r = descent_push(&u->descent, &fd)) < 0)
                return err_errno(e, r, "cannot open %s", params->to);
        if ((r = look_at_clock(u, e)) < 0)
                return r;
        *ret = steal(u);
        return 0;
}

void untar_free(struct untar *u)
{
        if (!u)
                return;
        for (size_t i = 0; i < u->n; i++)
                archive_entry_free(u->levels[i].attrs);
        free(u->levels);
        descent_done(&u->descent);
        base_closep(&u->target);
        buf_done(&u->path);
        buf_done(&u->name);
        EVP_MD_CTX_free(u->sha);
        free(u);
}

/* ---- content ---- */

struct content {
        int fd;
        uint64_t size, at;
        bool hash;
};

static int put(struct untar *u, struct content *c, const uint8_t *data, size_t len, struct err *e)
{
        if (c->hash && !EVP_DigestUpdate(u->sha, data, len))
                return err_set(e, -EIO, "SHA-512 failed");
        int r = io_pwrite_full(c->fd, data, len, c->at);
        if (r < 0)
                return untar_cannot_write(u, r, e);
        c->at += len;
        return 0;
}

/* Nothing is written where a hole is; its zeros count for the sum. */
static int pass_hole(struct untar *u, struct content *c, uint64_t to, struct err *e)
{
        static const uint8_t zeros[64 * 1024];
        if (!c->hash)
                c->at = to;
        while (c->at < to) {
                size_t n = (size_t)MIN(to - c->at, (uint64_t)sizeof zeros);
                if (!EVP_DigestUpdate(u->sha, zeros, n))
                        return err_set(e, -EIO, "SHA-512 failed");
                c->at += n;
        }
        return 0;
}

static int failure(struct untar *u, struct archive *a, struct err *e)
{
        if (u->source_err.code < 0) {
                if (e)
                        *e = u->source_err;
                return u->source_err.code;
        }
        if (archive_errno(a) == ENOMEM)
                return err_oom(e);
        const char *words = archive_error_string(a);
        return err_set(e, -EPROTO, "the tar stream is broken%s%s: %s", u->name.len ? " in " : "",
                buf_str(&u->name), words ? words : "unknown");
}

static int copy(struct untar *u, struct archive *a, struct content *c, struct err *e)
{
        for (;;) {
                const void *data = NULL;
                size_t len = 0;
                la_int64_t offset = 0;
                u->header_bytes = 0;
                int q = archive_read_data_block(a, &data, &len, &offset);
                if (q == ARCHIVE_EOF)
                        return pass_hole(u, c, c->size, e);
                if (q != ARCHIVE_OK)
                        return failure(u, a, e);
                if (offset < 0 || (uint64_t)offset < c->at || (uint64_t)offset > c->size ||
                        len > c->size - (uint64_t)offset)
                        return err_set(e, -EPROTO,
                                "the tar stream is broken: %s has an impossible "
                                "map of its holes",
                                buf_str(&u->name));
                int r = pass_hole(u, c, (uint64_t)offset, e);
                if (r == 0)
                        r = put(u, c, data, len, e);
                if (r < 0)
                        return r;
        }
}

static int ask(struct untar *u, const struct untar_result *result, struct err *e)
{
        return u->params.check ? u->params.check(u->params.ctx, result, e) : 0;
}

static int fill(
        struct untar *u, struct archive *a, struct archive_entry *entry, int fd, struct err *e)
{
        la_int64_t size = archive_entry_size(entry);
        if (size < 0)
                return err_set(e, -EPROTO, "%s has no size", buf_str(&u->name));
        struct content c = {
                .fd = fd, .size = (uint64_t)size, .hash = u->params.check && !u->params.no_sums};
        if (c.hash && !EVP_DigestInit_ex(u->sha, EVP_sha512(), NULL))
                return err_set(e, -EIO, "SHA-512 failed");
        /* first: a hole that no filesystem holds is refused before its zeros are counted */
        if (ftruncate(fd, size) < 0)
                return untar_cannot_write(u, -errno, e);
        int r = copy(u, a, &c, e);
        if (r < 0)
                return r;
        uint8_t sum[64];
        if (c.hash && !EVP_DigestFinal_ex(u->sha, sum, NULL))
                return err_set(e, -EIO, "SHA-512 failed");
        r = ask(u,
                &(struct untar_result){.path = buf_str(&u->name),
                        .size = c.size,
                        .type = 'f',
                        .sha512 = c.hash ? sum : NULL},
                e);
        if (r == 0)
                untar_attrs(u, fd, entry);
        return r;
}

static int file(struct untar *u, struct archive *a, struct archive_entry *entry, const char *name,
        struct err *e)
{
        int dir = descent_fd(&u->descent);
        struct stat st;
        /* said before the bytes are fetched, not after */
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !untar_may_replace(u, name))
                return untar_exists(u, name, e);
        char temp[UNTAR_TEMP_MAX];
        _cleanup_close_ int fd = untar_begin(u, temp);
        if (fd < 0)
                return untar_cannot_write(u, fd, e);
        int r = fill(u, a, entry, fd, e);
        if (r == 0)
                r = untar_name(u, fd, temp, name, e);
        if (r < 0)
                untar_drop(u, temp);
        return r;
}

/* ---- members ---- */

static int hardlink(struct untar *u, const char *name, const char *target, struct err *e)
{
        _cleanup_buf_ struct buf plain = BUF_INIT;
        int r = untar_plain(target, &plain, e);
        return r < 0 ? r : untar_hardlink(u, name, buf_str(&plain), e);
}

static int other(struct untar *u, struct archive_entry *entry, char type, struct err *e)
{
        const char *slash = strrchr(u->name.data, '/');
        size_t len = slash ? (size_t)(slash - u->name.data) : 0;
        const char *name = slash ? slash + 1 : u->name.data;
        int r = ask(u, &(struct untar_result){.path = buf_str(&u->name), .type = type}, e);
        if (r == 0)
                r = untar_go(u, u->name.data, len, e);
        if (r < 0)
                return r;
        return type == 'h' ? hardlink(u, name, archive_entry_hardlink(entry), e)
                           : untar_symlink(u, name, entry, e);
}

static int member(struct untar *u, struct archive *a, struct archive_entry *entry, struct err *e)
{
        if (archive_entry_hardlink(entry))
                return other(u, entry, 'h', e);
        int r;
        switch (archive_entry_filetype(entry)) {
        case AE_IFLNK:
                return other(u, entry, 'l', e);
        case AE_IFDIR:
                r = ask(u, &(struct untar_result){.path = buf_str(&u->name), .type = 'd'}, e);
                return r < 0 ? r : untar_folder(u, entry, e);
        case AE_IFREG:
                break;
        default:
                untar_warn(u, "is a device, pipe or socket; it was left out");
                return 0;
        }
        const char *slash = strrchr(u->name.data, '/');
        r = untar_go(u, u->name.data, slash ? (size_t)(slash - u->name.data) : 0, e);
        return r < 0 ? r : file(u, a, entry, slash ? slash + 1 : u->name.data, e);
}

static bool is_inner(const char *path)
{
        const char *rest = startswith(path, ".autoglacier");
        return rest && (*rest == 0 || *rest == '/');
}

static int take(struct untar *u, struct archive *a, struct archive_entry *entry, struct err *e)
{
        const char *path = archive_entry_pathname(entry);
        if (!path)
                return err_set(e, -EPROTO, "the tar stream has a member without a name");
        int r = untar_plain(path, &u->name, e);
        if (r < 0)
                return r;
        bool wanted = u->name.len > 0 && !is_inner(u->name.data);
        if (wanted && u->params.want) {
                if ((r = u->params.want(u->params.ctx, u->name.data, e)) < 0)
                        return r;
                wanted = r > 0;
        }
        return wanted ? member(u, a, entry, e) : 0;
}

/* ---- the stream ---- */

static la_ssize_t pull(struct archive *a, void *ctx, const void **ret)
{
        struct untar *u = ctx;
        *ret = u->chunk;
        if (u->first > 0) {
                la_ssize_t n = (la_ssize_t)u->first;
                u->first = 0;
                return n;
        }
        ssize_t n = u->header_bytes > HEADER_MAX
                            ? err_set(&u->source_err, -EPROTO,
                                      "the tar stream has a header of more than 16 MiB: refused")
                            : u->source(u->source_ctx, u->chunk, sizeof u->chunk, &u->source_err);
        if (n < 0) {
                u->source_err.code = (int)n;
                archive_set_error(a, EIO, "%s", u->source_err.text);
                return -1;
        }
        u->header_bytes += (uint64_t)n;
        return n;
}

/* What is left of a member has to be read before its successor's header is counted. */
static int pass_rest(struct untar *u, struct archive *a, struct err *e)
{
        const void *data;
        size_t len;
        la_int64_t offset;
        int q;
        do {
                u->header_bytes = 0;
                q = archive_read_data_block(a, &data, &len, &offset);
        } while (q == ARCHIVE_OK);
        return q == ARCHIVE_EOF ? 0 : failure(u, a, e);
}

static int each(struct untar *u, struct archive *a, struct err *e)
{
        for (;;) {
                struct archive_entry *entry;
                buf_reset(&u->name);
                u->header_bytes = 0;
                int q = archive_read_next_header(a, &entry);
                if (q == ARCHIVE_EOF)
                        return 0;
                /* a warning is about a character set, and names are bytes to us */
                if (q != ARCHIVE_OK && q != ARCHIVE_WARN)
                        return failure(u, a, e);
                int r = take(u, a, entry, e);
                if (r == 0)
                        r = pass_rest(u, a, e);
                if (r < 0)
                        return r;
        }
}

int untar_run(struct untar *u, untar_source_fn source, void *source_ctx, struct err *e)
{
        /* in the C locale libarchive hands out names as they are, instead of converting them */
        _cleanup_(locale_done) locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        _cleanup_(archive_donep) struct archive *a = archive_read_new();
        if (!plain || !a || archive_read_support_format_tar(a) != ARCHIVE_OK)
                return err_oom(e);
        _cleanup_(back_to_locale) _unused_ locale_t before = uselocale(plain);
        u->source = source;
        u->source_ctx = source_ctx;
        u->source_err = (struct err){0};
        u->header_bytes = 0;
        buf_reset(&u->name);
        ssize_t n = source(source_ctx, u->chunk, sizeof u->chunk, e);
        if (n <= 0)
                return (int)n; /* libarchive takes an empty stream for none */
        u->first = (size_t)n;
        if (archive_read_open(a, u, NULL, pull, NULL) != ARCHIVE_OK)
                return failure(u, a, e);
        return each(u, a, e);
}

int untar_finish(struct untar *u, struct err *e)
{
        return untar_leave_all(u, e);
}
