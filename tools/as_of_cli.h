/* as_of_cli.h - `restore --as-of`: a tree as it was, from all the archives that hold it.
 *
 * Words of the command line are paths. One thread. */
#pragma once

#include "cli.h"

/* A cli_status, or -errno with words. */
int restore_as_of(struct cli *cli, const char *date, struct err *e);
