/* glob.h - file names by pattern, as Python's glob module finds them.
 *
 * Floor 2. `*`, `?` and `[...]` (`[!...]`: none of these) match within one name and pass over
 * hidden names, unless the part of the pattern begins with a dot itself. `**` as a whole part
 * stands for any number of folders, none too, hidden ones left out; links to folders are followed,
 * but never into a folder that is being looked at already. A pattern that ends in `/` finds folders
 * only. Bytes, no locale. Source: Python's library reference, glob and fnmatch, with
 * recursive=True.
 *
 * Not here: `~`, braces, which files may be read: a folder that cannot be listed has no names. Any
 * thread. Memory: the names of the folders on the current path. */
#pragma once

#include "base.h"
#include "err.h"

/* Calls `each` for every name that is there, folder by folder, names sorted as bytes. A name that
 * `**` finds in two ways comes twice. Relative patterns begin at the working directory, and so do
 * the names. Non-zero from `each` ends it and is returned. *ret_n (NULL allowed): how many there
 * were. */
int glob_each(const char *pattern, int (*each)(void *ctx, const char *path, struct err *e),
        void *ctx, uint64_t *ret_n, struct err *e);

/* One name against one part of a pattern; hidden names are not special here. */
bool glob_match(const char *pattern, const char *name);
