/* restore_files.h - `restore FILE…`: archives that lie here as files, ours or the predecessor's.
 *
 * Needs no catalogue: what is in them is read from them alone. One thread. */
#pragma once

#include "cli.h"

/* The first word is a file here, and no path inside an archive follows from that. */
bool restore_files_meant(const struct cli *cli);
/* A cli_status, or -errno with words. */
int restore_files(struct cli *cli, struct err *e);
