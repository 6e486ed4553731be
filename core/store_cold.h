/* store_cold.h - a simulated cold store around a store, for tests. Only with -Dcrash_points=true.
 *
 * Floor 4. Archives must be thawed before they can be read; manifests are always ready. What has
 * been asked for outlives programs, like the service's own memory: every request that a service
 * would charge for is a line of the file `requests` in a folder beside the store inside: "thaw
 * OBJECT TIER OFFSET LEN ASKED READY UNTIL" (times in ns; READY 0: never), "refused OBJECT", "lost
 * OBJECT", "state OBJECT", "get OBJECT OFFSET LEN". A test adds "ready OBJECT", which ends the
 * thawing, and "forgotten OBJECT", which ends what was thawed. */
#pragma once

#include "base.h"
#include "err.h"

struct store;

/* `url` is "cold:SETTINGS/dir:/path"; `inner` is the store that "dir:/path" names, which is taken.
 * SETTINGS, separated by commas, none needed: delay=SECONDS until thawed (0.5), expire=SECONDS
 * readable from then on (the days that are asked for), refuse=N thaws refused at first, lose=N
 * thaws forgotten at first, get_ms=MILLISECONDS a read takes, instant=1 no thaw is needed but
 * reading costs. The folder beside is "/path.cold". */
int store_cold_new(const char *url, struct store **inner, struct store **ret, struct err *e);
/* "dir:/path" of such a URL, or NULL. Borrowed. */
const char *store_cold_inner(const char *url);
