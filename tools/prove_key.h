/* prove_key.h - `verify --key`: a copy of the private key is shown to open what is stored.
 *
 * One thread. Prints what it found. */
#pragma once

struct cli;

/* With the archive that the command line names, or the newest. A cli_status; a mistake is printed.
 */
int prove_key(struct cli *cli, const char *path);
