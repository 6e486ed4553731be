#include "untar_internal.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/xattr.h>

/* The kernel's form of an ACL, linux/posix_acl_xattr.h, little-endian:
 * version 4 (= 2), then for each entry: tag 2, permissions 2, id 4. */
#define ACL_VERSION     2u
#define ACL_ENTRIES_MAX 8000u

static void add16(struct buf *b, unsigned v)
{
        const uint8_t p[2] = {(uint8_t)v, (uint8_t)(v >> 8)};
        buf_add(b, p, sizeof p);
}

static void add32(struct buf *b, uint32_t v)
{
        add16(b, v & 0xffff);
        add16(b, v >> 16);
}

struct acl_entry {
        uint16_t tag, perm;
        uint32_t id;
};

static int kernel_tag(int tag)
{
        switch (tag) {
        case ARCHIVE_ENTRY_ACL_USER_OBJ:
                return 0x01;
        case ARCHIVE_ENTRY_ACL_USER:
                return 0x02;
        case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
                return 0x04;
        case ARCHIVE_ENTRY_ACL_GROUP:
                return 0x08;
        case ARCHIVE_ENTRY_ACL_MASK:
                return 0x10;
        case ARCHIVE_ENTRY_ACL_OTHER:
                return 0x20;
        default:
                return -1;
        }
}

/* The kernel wants them by tag, then by id. */
static int by_tag(const void *a, const void *b)
{
        const struct acl_entry *x = a, *y = b;
        if (x->tag != y->tag)
                return x->tag < y->tag ? -1 : 1;
        return x->id < y->id ? -1 : x->id > y->id;
}

/* Other programs' tars have names only; ours has ids. */
static int64_t acl_id(int kernel_tag, int id, const char *name)
{
        char room[16384];
        struct passwd pw, *user = NULL;
        struct group gr, *group = NULL;
        if (id >= 0)
                return id;
        if (!name || !*name)
                return -EINVAL;
        if (kernel_tag == 0x02)
                return getpwnam_r(name, &pw, room, sizeof room, &user) == 0 && user
                               ? (int64_t)user->pw_uid
                               : -EINVAL;
        return getgrnam_r(name, &gr, room, sizeof room, &group) == 0 && group
                       ? (int64_t)group->gr_gid
                       : -EINVAL;
}

/* 1 an ACL with more than the mode says, 0 none, -errno. */
static int acl_value(struct archive_entry *entry, int type, struct buf *ret)
{
        int n = archive_entry_acl_reset(entry, type);
        if (n <= 0)
                return 0;
        if ((unsigned)n > ACL_ENTRIES_MAX)
                return -E2BIG;
        _cleanup_free_ struct acl_entry *v = calloc((size_t)n + 3, sizeof *v);
        if (!v)
                return -ENOMEM;
        size_t got = 0;
        bool more = type == ARCHIVE_ENTRY_ACL_TYPE_DEFAULT;
        int t, perm, tag, id;
        const char *name;
        while (got < (size_t)n + 3 &&
                archive_entry_acl_next(entry, type, &t, &perm, &tag, &id, &name) == ARCHIVE_OK) {
                int k = kernel_tag(tag);
                if (k < 0)
                        return -EINVAL;
                bool named = k == 0x02 || k == 0x08;
                int64_t who = named ? acl_id(k, id, name) : UINT32_MAX;
                if (who < 0)
                        return (int)who;
                more = more || named || k == 0x10;
                v[got++] = (struct acl_entry){(uint16_t)k, (uint16_t)(perm & 7), (uint32_t)who};
        }
        if (!more)
                return 0;
        qsort(v, got, sizeof *v, by_tag);
        add32(ret, ACL_VERSION);
        for (size_t i = 0; i < got; i++) {
                add16(ret, v[i].tag);
                add16(ret, v[i].perm);
                add32(ret, v[i].id);
        }
        return buf_oom(ret) ? -ENOMEM : 1;
}

/* Without an ACL in the archive, one that the folder gave the file by default has to go. */
static void set_acl(
        struct untar *u, int fd, const char *xattr, struct archive_entry *entry, int type)
{
        _cleanup_buf_ struct buf value = BUF_INIT;
        int r = acl_value(entry, type, &value);
        if (r == 0) {
                (void)fremovexattr(fd, xattr); /* there is hardly ever one */
                return;
        }
        if (r > 0 && fsetxattr(fd, xattr, value.data, value.len, 0) < 0)
                r = -errno;
        if (r < 0) {
                errno = -r;
                untar_warn_errno(u, "its access control list could not be set");
        }
}

static void set_xattrs(struct untar *u, int fd, struct archive_entry *entry)
{
        const char *name;
        const void *value;
        size_t size;
        (void)archive_entry_xattr_reset(entry); /* returns how many there are */
        while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
                if (fsetxattr(fd, name, value, size, 0) == 0)
                        continue;
                char what[300];
                (void)snprintf(what, sizeof what, "its extended attribute %.200s could not be set",
                        name); /* cut is fine */
                untar_warn_errno(u, what);
        }
}

static mode_t set_owner(struct untar *u, int fd, struct archive_entry *entry)
{
        mode_t mode = archive_entry_mode(entry) & 07777;
        uid_t uid = (uid_t)archive_entry_uid(entry);
        gid_t gid = (gid_t)archive_entry_gid(entry);
        struct stat st;
        if (fstat(fd, &st) < 0 || (st.st_uid == uid && st.st_gid == gid))
                return mode;
        if (u->root && fchown(fd, uid, gid) == 0)
                return mode;
        if (u->root)
                untar_warn_errno(u, "its owner could not be set");
        /* an ordinary user may hand files to groups he is in */
        else if (st.st_uid == uid && fchown(fd, (uid_t)-1, gid) == 0)
                return mode;
        /* a program must not run with rights of somebody else than the one it was made by */
        return mode & ~(mode_t)(S_ISUID | S_ISGID);
}

static void times_of(struct archive_entry *entry, struct timespec ts[2])
{
        ts[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
        ts[1] = (struct timespec){.tv_nsec = UTIME_OMIT};
        if (archive_entry_mtime_is_set(entry))
                ts[1] = (struct timespec){.tv_sec = archive_entry_mtime(entry),
                        .tv_nsec = archive_entry_mtime_nsec(entry)};
}

void untar_attrs(struct untar *u, int fd, struct archive_entry *entry)
{
        bool folder = archive_entry_filetype(entry) == AE_IFDIR;
        mode_t mode = set_owner(u, fd, entry); /* takes capabilities away, so it comes first */
        set_xattrs(u, fd, entry);              /* needs the right to write, so before the mode */
        if (fchmod(fd, mode) < 0)
                untar_warn_errno(u, "its mode could not be set");
        /* with an ACL libarchive's mode lacks the mask; the ACL puts that right */
        set_acl(u, fd, "system.posix_acl_access", entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS);
        if (folder)
                set_acl(u, fd, "system.posix_acl_default", entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT);
        struct timespec ts[2];
        times_of(entry, ts);
        if (futimens(fd, ts) < 0)
                untar_warn_errno(u, "its time could not be set");
}

void untar_attrs_link(struct untar *u, const char *name, struct archive_entry *entry)
{
        int dir = descent_fd(&u->descent);
        if (u->root && fchownat(dir, name, (uid_t)archive_entry_uid(entry),
                               (gid_t)archive_entry_gid(entry), AT_SYMLINK_NOFOLLOW) < 0)
                untar_warn_errno(u, "its owner could not be set");
        struct timespec ts[2];
        times_of(entry, ts);
        if (utimensat(dir, name, ts, AT_SYMLINK_NOFOLLOW) < 0)
                untar_warn_errno(u, "its time could not be set");
}
