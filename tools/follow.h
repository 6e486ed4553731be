/* follow.h - shows how far a job is while another thread runs it, and passes signals on.
 *
 * Looks at the catalogue through a connection of its own, from a thread of its own. */
#pragma once

#include "base.h"
#include "err.h"

struct engine;
struct follow;

/* Until follow_end(): progress of archive `id` to stderr; engine_stop() when cli_stop becomes true.
 */
int follow_begin(struct engine *g, const char *id, struct follow **ret, struct err *e);
void follow_end(struct follow *f);
