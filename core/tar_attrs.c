#include "tar_internal.h"

#include "bytes.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/xattr.h>

/* The kernel's form of an ACL, linux/posix_acl_xattr.h, little-endian:
 * version 4 (= 2), then for each entry: tag 2, permissions 2, id 4. */
#define ACL_VERSION 2u

static int acl_tag(uint16_t kernel_tag)
{
        switch (kernel_tag) {
        case 0x01:
                return ARCHIVE_ENTRY_ACL_USER_OBJ;
        case 0x02:
                return ARCHIVE_ENTRY_ACL_USER;
        case 0x04:
                return ARCHIVE_ENTRY_ACL_GROUP_OBJ;
        case 0x08:
                return ARCHIVE_ENTRY_ACL_GROUP;
        case 0x10:
                return ARCHIVE_ENTRY_ACL_MASK;
        case 0x20:
                return ARCHIVE_ENTRY_ACL_OTHER;
        default:
                return -1;
        }
}

static uint16_t u16le(struct bytes *b)
{
        uint16_t low = bytes_u8(b);
        return (uint16_t)(low | (uint16_t)(bytes_u8(b) << 8));
}

static bool acl_add(const void *data, size_t len, int type, struct archive_entry *entry)
{
        struct bytes b = bytes_of(data, len);
        if (bytes_u32le(&b) != ACL_VERSION)
                return false;
        while (b.left > 0 && !b.bad) {
                int tag = acl_tag(u16le(&b));
                int perm = u16le(&b) & 7;
                uint32_t id = bytes_u32le(&b);
                bool named = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
                if (b.bad || tag < 0 ||
                        archive_entry_acl_add_entry(
                                entry, type, perm, tag, named ? (int)id : -1, NULL) != ARCHIVE_OK)
                        return false;
        }
        return !b.bad;
}

static bool absent(int error)
{
        return error == ENODATA || error == ENOTSUP || error == ENOSYS;
}

static unsigned acl_read(
        struct tar_attrs *a, int fd, const char *name, int type, struct archive_entry *entry)
{
        ssize_t n = fgetxattr(fd, name, a->value, sizeof a->value);
        if (n < 0)
                return !absent(errno);
        return !acl_add(a->value, (size_t)n, type, entry);
}

/* ACLs travel in their own records; labels and measurements belong to the machine, not to the file.
 */
static bool is_wanted(const char *name)
{
        static const char *const not [] = {"system.", "security.selinux", "security.ima",
                "security.evm", "security.SMACK64", "security.apparmor", "trusted.overlay."};
        for (size_t i = 0; i < ARRAY_SIZE(not ); i++)
                if (startswith(name, not [i]))
                        return false;
        return true;
}

static unsigned xattr_read(
        struct tar_attrs *a, int fd, const char *name, struct archive_entry *entry)
{
        ssize_t n = fgetxattr(fd, name, a->value, sizeof a->value);
        if (n < 0)
                return !absent(errno); /* gone since it was listed */
        archive_entry_xattr_add_entry(
                entry, name, a->value, (size_t)n); /* which escapes '=' and '%' */
        return 0;
}

unsigned tar_attrs_read(struct tar_attrs *a, int fd, bool is_dir, struct archive_entry *entry)
{
        if (fd < 0)
                return 0;
        ssize_t len = flistxattr(fd, a->names, sizeof a->names);
        if (len < 0)
                return !absent(errno);
        unsigned lost = 0;
        bool access = false, by_default = false;
        for (const char *p = a->names; p < a->names + len; p += strlen(p) + 1) {
                access = access || streq(p, "system.posix_acl_access");
                by_default = by_default || streq(p, "system.posix_acl_default");
                if (is_wanted(p))
                        lost += xattr_read(a, fd, p, entry);
        }
        if (access)
                lost += acl_read(
                        a, fd, "system.posix_acl_access", ARCHIVE_ENTRY_ACL_TYPE_ACCESS, entry);
        if (by_default && is_dir)
                lost += acl_read(
                        a, fd, "system.posix_acl_default", ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, entry);
        return lost;
}
