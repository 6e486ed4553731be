/* gather_names.h - the names of a folder, sorted as bytes, in one piece of memory.
 *
 * Floor 3, private to gather. One thread. */
#pragma once

#include "base.h"

struct gather_names {
        char *text; /* for each name: its d_type in one byte, the name, a zero byte */
        size_t len, cap;
        uint32_t *at; /* where each begins, in order */
        size_t n, room;
};

void gather_names_done(struct gather_names *n);
/* Reads all names of the folder that fd is open on, but "." and "..". 0 or -errno. */
int gather_names_read(struct gather_names *n, int fd);
const char *gather_names_get(const struct gather_names *n, size_t i, unsigned char *ret_type);
