/* first.h - what happens when a set-up is used for the first time: said plainly. */
#pragma once

#include "cli.h"

/* engine_prepare(), and what it made goes to stderr. Needs an engine opened for work. */
int first_use(struct cli *cli, struct err *e);
/* Prints the recovery sheet of a key pair to stdout. */
int first_sheet(struct cli *cli, const char *private_path, const char *public_path, struct err *e);
