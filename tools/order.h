/* order.h - an archive that was ordered here, run to its end or left to others. */
#pragma once

#include "cli.h"

/* Runs archive `id` here, with a progress display, and says what came of it; then what other
 * programs have left, until a signal comes. An exit status, which tells of `id` alone. */
int order_run(struct cli *cli, const char *id);
/* Lets go of it: a mount, or the next command, does it. Prints its name. */
int order_detach(struct cli *cli, const char *id);
