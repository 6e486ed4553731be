/* untar.h - writes members of a tar stream into a folder, safely.
 *
 * Floor 3. Never outside the folder: absolute names lose their '/', names with ".." are refused
 * with -EPROTO, no link is followed on the way. A file gets its final name when all of it has been
 * written. Owners (as root), modes, ns times, xattrs, ACLs, hard links, holes come back; times and
 * modes of folders last. Not here: where the tar bytes come from, and their authenticity. */
#pragma once

#include "base.h"
#include "err.h"

#include <sys/stat.h>

struct untar;

enum untar_clash {
        UNTAR_REFUSE,    /* -EEXIST for what is there already (folders may exist) */
        UNTAR_OVERWRITE, /* files and links are replaced */
};

/* Reads tar bytes: up to `len`; 0 at the end. */
typedef ssize_t (*untar_source_fn)(void *ctx, void *data, size_t len, struct err *e);

struct untar_result {
        const char *path;
        uint64_t size;
        char type; /* 'f' 'd' 'l' 'h' */
        const uint8_t
                *sha512; /* 64 bytes, of the content as it was in the tar; 'f' only, else NULL */
};

struct untar_params {
        const char *to; /* folder; made if missing */
        enum untar_clash clash;
        /* Called for every member before it is written: 1 take it, 0 skip it, -errno stop. NULL:
         * take all. Members below ".autoglacier/" are always skipped. */
        int (*want)(void *ctx, const char *path, struct err *e);
        /* Called when a member's bytes have all been read, before it gets its final name: an error
         * (a wrong SHA-512, say) removes it again and stops. NULL: nothing to check. */
        int (*check)(void *ctx, const struct untar_result *r, struct err *e);
        bool no_sums; /* check() needs none: sha512 is NULL for files, too, which saves time */
        /* A folder was made that no member stands for yet: its mode, owner and mtime, if they are
         * known (1; 0 not known). NULL: nobody knows. Such folders are closed to others. */
        int (*folder)(void *ctx, const char *path, struct stat *ret);
        /* Something that could not be set (an owner, an xattr): the member is there all the same.
         */
        void (*warn)(void *ctx, const char *path, const char *why);
        void *ctx;
};

/* Opens the folder `to`, made (0700) if it is missing. `params` is copied, its strings are borrowed
 * until untar_free(). -errno in words. */
int untar_new(const struct untar_params *params, struct untar **ret, struct err *e);
/* Writes the members of one tar stream (with or without end-of-archive blocks). May be called
 * several times: a restore by ranges gives one stream a member. */
int untar_run(struct untar *u, untar_source_fn source, void *source_ctx, struct err *e);
/* Sets times and modes of the folders, last to first. */
int untar_finish(struct untar *u, struct err *e);
/* Without untar_finish() before: removes nothing that has its final name. */
void untar_free(struct untar *u);
DEFINE_CLEANUP(untar_free, struct untar *)
