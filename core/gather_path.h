/* gather_path.h - paths as text: where a link at the top leads, what leaves the archive.
 *
 * Floor 3, private to gather. Pure functions; any thread. */
#pragma once

#include "base.h"

/* True if `path` is `folder` or below it. Both without '/' at the end; "" holds everything. */
bool gather_path_below(const char *path, const char *folder);

/* An absolute path without "//", "/./" and '/' at the end; ".." takes back the component before it.
 * The caller frees it; NULL when out of memory. */
char *gather_path_clean(const char *path);

/* Where the text of a link at the top of the staging area leads, as an absolute path. As long as
 * the text moves within the mountpoint it is followed as text: the mount shows another tree by now.
 * *ret_inside: it leads to something in the staging area itself, and the path means nothing.
 * 0 or -ENOMEM. */
int gather_path_resolve(const char *mountpoint, const char *text, char **ret, bool *ret_inside);

/* True if a link at `path` in the archive with this text leads to something that is not below the
 * first `keep` components of `path`. */
bool gather_path_leaves(const char *path, const char *text, size_t keep);
