/* store_dir.h - a store in a plain folder: an external disk, a NAS, the embedded default.
 *
 * Floor 4. One file an object, written beside under a name with ".partial" and renamed when it is
 * whole; fsync of file and folder. Part hashes are checked as they are written. Never follows a
 * link below its folder. */
#pragma once

#include "store.h"

/* `url` is "dir:/absolute/path". Touches nothing yet: the folder may be missing (a disk unplugged).
 */
int store_dir_new(const char *url, struct store **ret, struct err *e);
