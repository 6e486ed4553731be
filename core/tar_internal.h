/* tar_internal.h - the pieces of tar.c: which parts of a file are data, and its xattrs and ACLs.
 *
 * Floor 2, private to tar. One thread. */
#pragma once

#include "base.h"

#include <sys/stat.h>

struct archive_entry;

#define TAR_EXTENTS_MAX 4096u

/* The data of a file, in order; what lies between is hole. `n` == 0: all of it is hole. */
struct tar_map {
        bool sparse; /* false: no holes, the rest is not filled in */
        size_t n;
        uint64_t size;
        uint64_t min_gap; /* holes shorter than this were taken for data */
        struct tar_extent {
                uint64_t start, end;
        } extents[TAR_EXTENTS_MAX];
};

/* Asks the filesystem where the holes are. A file in more pieces than fit into the map has its
 * shortest holes stored as zeros, so that memory stays what it is. The file offset is kept. A
 * filesystem that cannot tell gives a map without holes. */
void tar_map_scan(struct tar_map *m, int fd, const struct stat *st);

/* From `at`: the end of the hole (ret_hole true) or of the data that is there. */
uint64_t tar_map_next(const struct tar_map *m, uint64_t at, bool *ret_hole);

#define TAR_XATTR_MAX 65536u /* the kernel's limit for a list and for a value */

struct tar_attrs {
        char names[TAR_XATTR_MAX];
        char value[TAR_XATTR_MAX];
};

/* Puts xattrs and ACLs of `fd` into the entry. Returns how many could not be read. */
unsigned tar_attrs_read(struct tar_attrs *a, int fd, bool is_dir, struct archive_entry *entry);
