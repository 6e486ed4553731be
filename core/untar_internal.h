/* untar_internal.h - the pieces of untar: the way through the folders, giving names, attributes.
 *
 * Floor 3, private to untar. One thread.
 *
 * The stack of open folders is the only thing that grows, with the depth of a path. A folder gets
 * its mode and times when the stream leaves it; when a later member comes back into it, it is
 * opened up and then set as it was. So nothing is remembered of folders that were left. */
#pragma once

#include "buf.h"
#include "descent.h"
#include "untar.h"

#include <openssl/evp.h>
#include <sys/stat.h>

struct archive;
struct archive_entry;

#define UNTAR_TEMP_MAX 64

struct untar_level {
        size_t path_len;             /* of this folder's path in untar.path */
        struct archive_entry *attrs; /* its member, once there was one */
        struct stat was;             /* what to set again where there is no member */
        bool known;                  /* `was` is what params.folder() said */
        bool was_ours;               /* `was` holds what was set before */
};

struct untar {
        struct untar_params params;
        bool root;             /* may give files away */
        int target;            /* the folder */
        struct timespec start; /* by the clock of the filesystem */
        struct descent descent;
        struct untar_level *levels; /* levels[i] is descent's level i + 1; level 0 is the target */
        size_t n, cap;
        struct buf path; /* of the innermost folder; "" for the target */
        struct buf name; /* of the member in hand, made plain */
        EVP_MD_CTX *sha;
        bool unnamed;  /* files without a name can be given one */
        uint64_t temp; /* for names of what is not finished, otherwise */
        struct err source_err;
        untar_source_fn source;
        void *source_ctx;
        uint64_t header_bytes; /* taken from the source for the header in hand */
        size_t first;          /* bytes of chunk that libarchive has not seen */
        uint8_t chunk[128 * 1024];
};

void untar_warn(struct untar *u, const char *what); /* of the member in hand */
void untar_warn_errno(struct untar *u, const char *what);

/* Makes the folder `path` (plain, `len` bytes; 0: the target) the innermost one, with those that
 * are missing on the way. -EPROTO something else is in the way that came out of this tar; -EEXIST
 * something that was there before. */
int untar_go(struct untar *u, const char *path, size_t len, struct err *e);
/* Leaves all folders: they get their modes and times. */
int untar_leave_all(struct untar *u, struct err *e);
/* untar_go() to a folder that has a member: `entry` is kept for when it is left. */
int untar_folder(struct untar *u, struct archive_entry *entry, struct err *e);

/* Whether `name` in the innermost folder may be replaced: not a folder, and either overwriting was
 * asked for or it came out of this tar before. */
bool untar_may_replace(struct untar *u, const char *name);
/* -EEXIST in words: `name` in the innermost folder is what is in the way of the member in hand. */
int untar_exists(struct untar *u, const char *name, struct err *e);
/* `code` in words: the member in hand cannot be written. */
int untar_cannot_write(struct untar *u, int code, struct err *e);
/* Opens a new file in the innermost folder that has no name yet, so that a killed program leaves
 * nothing behind; where the filesystem cannot do that, it is called `temp` (else ""). */
int untar_begin(struct untar *u, char temp[UNTAR_TEMP_MAX]);
/* Removes what untar_begin() made. */
void untar_drop(struct untar *u, const char *temp);
/* Gives it its name. */
int untar_name(struct untar *u, int fd, const char *temp, const char *name, struct err *e);
/* Symbolic and hard links appear whole. */
int untar_symlink(struct untar *u, const char *name, struct archive_entry *entry, struct err *e);
int untar_hardlink(struct untar *u, const char *name, const char *target, struct err *e);

/* "a/b" from "/a//./b/": -EPROTO if it has "..", or a component is too long. "" for the target. */
int untar_plain(const char *path, struct buf *ret, struct err *e);

/* Owner, xattrs, ACLs, mode, times, in an order in which none undoes another. What cannot be set is
 * a warning. `fd` is open for reading or writing. */
void untar_attrs(struct untar *u, int fd, struct archive_entry *entry);
/* Owner and times of a symbolic link in the innermost folder. */
void untar_attrs_link(struct untar *u, const char *name, struct archive_entry *entry);
