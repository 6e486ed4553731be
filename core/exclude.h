/* exclude.h - which names are left out: file managers' litter and the user's EXCLUDE patterns.
 *
 * Floor 2. Pure functions; any thread. */
#pragma once

#include "base.h"

/* Litter that is not archived and is dropped: `.Trash-*`, `.DS_Store`, `.goutputstream-*`,
 * `.directory`, `Thumbs.db`, and what editors and KIO put beside `.commit` (`.commit.sw*`,
 * `.commit~`, `#.commit#`, `.commit.part` …). `name` is one component. */
bool exclude_is_litter(const char *name);

/* True if one of the patterns (NULL-terminated list, NULL allowed) matches. A pattern without '/'
 * is held against the last component, one with '/' against the whole path, from its beginning;
 * a trailing '/' is ignored; `*` does not cross '/', `**` does (fnmatch(3) otherwise). */
bool exclude_matches(const char *const *patterns, const char *path);
