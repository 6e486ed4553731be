#include "commit_internal.h"

#include "clock.h"
#include "tar.h"

#include <fcntl.h>
#include <inttypes.h>

#define CHUNK      (1024u * 1024u)
#define HASH_LEAST (4u * KiB) /* less is hashed here sooner than handed over */

/* The tar writer's bytes go into the pipeline, except those that finished volumes hold already. */
static int to_pack(void *ctx, const void *data, size_t len, struct err *e)
{
        struct run *r = ctx;
        uint64_t at = r->base + r->delivered;
        r->delivered += len;
        if (at < r->skip_until) {
                uint64_t skip = MIN((uint64_t)len, r->skip_until - at);
                data = (const char *)data + skip;
                len -= (size_t)skip;
        }
        return len > 0 ? pack_write(r->pack, data, len, e) : 0;
}

int member_tar_open(struct run *r, uint64_t base, struct err *e)
{
        tar_writer_free(r->tar);
        r->tar = NULL;
        r->base = base;
        r->delivered = 0;
        return tar_writer_new(to_pack, r, &r->tar, e);
}

static uint64_t position(const struct run *r)
{
        return r->base + tar_offset(r->tar);
}

/* Content that goes into the pipeline just as it is can be hashed there. */
static int begin_hash(struct run *r, uint64_t size, struct err *e)
{
        bool hole;
        bool plain = tar_next(r->tar, &hole) == size && !hole && position(r) >= r->skip_until;
        if (plain && size >= HASH_LEAST)
                return pack_hash(r->pack, size, &r->hash, e);
        return EVP_DigestInit_ex(r->sha, r->sha512, NULL) ? 0 : err_set(e, -EIO, "SHA-512 failed");
}

/* The next bytes of the member's content. */
static int content(struct run *r, size_t len, struct err *e)
{
        if (!r->hash && !EVP_DigestUpdate(r->sha, r->chunk, len))
                return err_set(e, -EIO, "SHA-512 failed");
        return tar_data(r->tar, r->chunk, len, e);
}

static int pad(struct run *r, uint64_t len, struct err *e)
{
        memset(r->chunk, 0, CHUNK);
        while (len > 0) {
                size_t n = (size_t)MIN(len, (uint64_t)CHUNK);
                int q = content(r, n, e);
                if (q < 0)
                        return q;
                len -= n;
        }
        return 0;
}

/* What was a hole when the header was written is not read: it held zeros then, and the tar has no
 * room for what has come there since. */
static int skip_hole(struct run *r, int fd, uint64_t len, struct err *e)
{
        if (lseek(fd, (off_t)len, SEEK_CUR) < 0)
                return err_errno(e, -errno, "cannot read on behind a hole");
        return pad(r, len, e);
}

/* One read of every byte. What the header promised is delivered whatever the file does: a file that
 * shrinks is filled up with zeros, one that grows is cut, and both are noticed. */
static int copy_content(struct run *r, const struct member_source *m, uint64_t size, struct err *e)
{
        uint64_t left = size;
        while (left > 0) {
                bool hole;
                size_t len = (size_t)MIN(tar_next(r->tar, &hole), (uint64_t)CHUNK);
                if (hole) {
                        int q = skip_hole(r, m->fd, len, e);
                        if (q < 0 || (q = run_tick(r, e)) < 0)
                                return q;
                        left -= len;
                        continue;
                }
                ssize_t n = read(m->fd, r->chunk, len);
                if (n < 0 && errno == EINTR)
                        continue;
                int why = n < 0 ? -errno : 0;
                if (n <= 0) {
                        int q = pad(r, left, e);
                        if (q < 0)
                                return q;
                        if (why == 0)
                                return MEMBER_CHANGED;
                        (void)err_errno(e, why, "cannot read %s", m->source ? m->source : m->path);
                        return MEMBER_UNREADABLE;
                }
                int q = content(r, (size_t)n, e);
                if (q < 0)
                        return q;
                left -= (uint64_t)n;
                r->a.read_bytes += (uint64_t)n;
                if ((q = run_tick(r, e)) < 0)
                        return q;
        }
        return MEMBER_OK;
}

static bool same_version(int fd, const struct stat *st)
{
        struct stat now;
        return fstat(fd, &now) == 0 && now.st_size == st->st_size &&
               now.st_mtim.tv_sec == st->st_mtim.tv_sec &&
               now.st_mtim.tv_nsec == st->st_mtim.tv_nsec;
}

static char type_of(const struct member_source *m, const char *hardlink)
{
        if (hardlink)
                return 'h';
        return S_ISDIR(m->st->st_mode) ? 'd' : m->link ? 'l' : 'f';
}

/* What an interrupted run has written of this member: the header must come out the same again. */
static struct stat as_recorded(const struct catalog_member *m, const struct stat *st)
{
        struct stat s = *st;
        s.st_mode = (st->st_mode & S_IFMT) | m->mode;
        s.st_uid = m->uid;
        s.st_gid = m->gid;
        s.st_mtim = clock_timespec(m->mtime);
        s.st_size = m->type == 'f' ? (off_t)m->size : st->st_size;
        return s;
}

static int hardlink_of(
        struct run *r, const struct member_source *m, uint64_t at, char **ret, struct err *e)
{
        *ret = NULL;
        if (!S_ISREG(m->st->st_mode) || m->st->st_nlink < 2 || m->second)
                return 0;
        pthread_mutex_lock(&r->lock);
        int q = catalog_hardlink(r->catalog, r->a.id, (uint64_t)m->st->st_dev,
                (uint64_t)m->st->st_ino, m->path, at, ret, e);
        pthread_mutex_unlock(&r->lock);
        if (q == 0 && *ret && streq(*ret, m->path)) { /* noted by the run that was cut off */
                free(*ret);
                *ret = NULL;
        }
        return q;
}

/* Its other names, which come later, are not to be links to what is not in the archive. */
static int broke_off(struct run *r, const struct member_source *m, uint64_t at, struct err *e)
{
        struct err why = {0};
        if (m->st->st_nlink < 2 || m->second)
                return MEMBER_UNREADABLE;
        pthread_mutex_lock(&r->lock);
        int q = catalog_hardlink_forget(r->catalog, r->a.id, at, &why);
        pthread_mutex_unlock(&r->lock);
        if (q < 0 && e)
                *e = why;
        return q < 0 ? q : MEMBER_UNREADABLE;
}

static int stale(const struct member_source *m, struct err *e)
{
        return err_set(e, -ERESTART,
                "%s changed while its archive was interrupted in the middle of it", m->path);
}

/* Header, content, end. `row` is filled in. MEMBER_* or -errno. */
static int write_member(struct run *r, const struct member_source *m, const struct stat *st,
        struct catalog_member *row, struct err *e)
{
        const char *hardlink = row->type == 'h' ? row->link : NULL;
        struct tar_member t = {
                .path = m->path, .st = st, .fd = m->fd, .link = m->link, .hardlink = hardlink};
        unsigned lost = 0;
        r->lost = true; /* until all of it is known to be in the archive */
        int q = tar_begin(r->tar, &t, &lost, e);
        if (q < 0)
                return q;
        row->tar_len = r->head_len = position(r) - row->tar_offset;
        r->lost = lost > 0;
        if (lost > 0)
                run_event(
                        r, 'w', "%s: some extended attributes or ACLs could not be read", m->path);
        if (r->replay.path && !r->replay.sha512 && r->replay.type == 'f' &&
                r->replay.tar_len != row->tar_len)
                return stale(m, e);
        int result = MEMBER_OK;
        if (row->type == 'f') {
                /* A small member's row comes soon enough; a long one may hold a cut. */
                if (row->size >= MiB && (q = record_open(r, row, e)) < 0)
                        return q;
                if ((q = begin_hash(r, row->size, e)) < 0)
                        return q;
                result = copy_content(r, m, row->size, e);
                if (result < 0)
                        return result;
        }
        if ((q = tar_end(r->tar, e)) < 0)
                return q;
        row->tar_len = position(r) - row->tar_offset;
        if (r->replay.path && (r->replay.sha512 || row->type != 'f') &&
                r->replay.tar_len != row->tar_len)
                return stale(m, e);
        if (result == MEMBER_OK && row->type == 'f' && !same_version(m->fd, st))
                result = MEMBER_CHANGED;
        return result;
}

static void count(struct run *r, const struct catalog_member *row)
{
        r->a.n_files += row->type == 'f';
        r->a.n_dirs += row->type == 'd';
        r->a.n_links += row->type == 'l';
        r->a.n_hardlinks += row->type == 'h';
        r->a.bytes += row->type == 'f' ? row->size : 0;
        r->a.tar_bytes = position(r);
}

int member_add(struct run *r, const struct member_source *m, struct err *e)
{
        bool settled = !r->a.has_tree && changed_is_settled(m->st, clock_now());
        struct stat st = r->replay.path ? as_recorded(&r->replay, m->st) : *m->st;
        if (!r->replay.path) {
                pack_expect(r->pack, expect_tar(r));
                pack_member(r->pack);
        }
        uint64_t at = position(r);
        _cleanup_free_ char *hardlink = NULL;
        int q = hardlink_of(r, m, at, &hardlink, e);
        if (q < 0)
                return q;
        struct catalog_member row = {
                .path = m->path,
                .type = type_of(m, hardlink),
                .mode = st.st_mode & 07777,
                .uid = st.st_uid,
                .gid = st.st_gid,
                .mtime = clock_of(st.st_mtim.tv_sec, st.st_mtim.tv_nsec),
                .size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0,
                .tar_offset = at,
                .link = hardlink ? hardlink : m->link,
        };
        uint8_t digest[64];
        int result = write_member(r, m, &st, &row, e);
        if (result == MEMBER_UNREADABLE)
                result = broke_off(r, m, at, e);
        if (result < 0 || result == MEMBER_UNREADABLE) {
                record_close(r);
                return result;
        }
        if (row.type == 'f' && !r->hash) {
                if (!EVP_DigestFinal_ex(r->sha, digest, NULL))
                        return err_set(e, -EIO, "SHA-512 failed");
                row.sha512 = digest;
        }
        row.ino = settled && result == MEMBER_OK && !r->lost ? (uint64_t)m->st->st_ino : 0;
        q = record_add(r, &row, e);
        if (q < 0)
                return q;
        count(r, &row);
        return result;
}
