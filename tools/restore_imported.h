/* restore_imported.h - `restore` of an archive that the Python program made: thaw, fetch, decrypt.
 *
 * One thread. */
#pragma once

#include "cli.h"

/* paths NULL: all of it. A cli_status, or -errno with words. */
int restore_imported(
        struct cli *cli, const struct catalog_archive *a, const char *const *paths, struct err *e);
