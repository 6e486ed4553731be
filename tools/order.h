/* order.h - an archive that was ordered here, run to its end or left to others. */
#pragma once

#include "cli.h"

/* For the table of every command that calls order_run(). */
#define ORDER_OPTIONS                                                                              \
        {                                                                                          \
                "patience", 'p', "TIME",                                                           \
                        "how long to wait for a store that is away: 10m, unless given", false      \
        }

/* Runs archive `id` here, with a progress display, and says what came of it; then what other
 * programs have left, until a signal comes. An exit status, which tells of `id` alone. One whose
 * store stays away is left to whoever goes on with it, as unfinished. */
int order_run(struct cli *cli, const char *id);
/* Before anything is made: CLI_DONE, or an exit status since an option was wrong. */
int order_check(struct cli *cli);
/* Lets go of it: a mount, or the next command, does it. Prints its name. */
int order_detach(struct cli *cli, const char *id);
