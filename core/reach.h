/* reach.h - before the first commit: is the store there, may we do what we need, is the clock
 * right?
 *
 * Floor 5. Asks the service by doing: lists, begins an upload in the storage class and gives it up,
 * writes a small object, finds it in the list, reads it, removes it, and asks for a cold object
 * that is not there. What is refused is named with the right that is missing. Also writes down the
 * policies that give those rights. Not here: making the store (store_init). One thread a call. */
#pragma once

#include "base.h"
#include "err.h"

struct buf;
struct config;
struct store;

enum reach_result {
        REACH_OK,
        REACH_WARNING, /* works, but the user should know */
};
/* Each check that was made, in words. What fails comes out of reach_check() instead. */
typedef void (*reach_fn)(void *ctx, enum reach_result r, const char *text);

/* For stores over a network; nothing is done for others (their check and init say it all). A vault
 * keeps what it gets and tells hours later: there only an upload is tried, and given up. 0, or the
 * first check that failed. Leaves at most one small object behind, where objects may not be
 * removed. */
int reach_check(struct store *s, reach_fn tell, void *ctx, struct err *e);

/* Appends the policy for the user whose keys are used, as JSON: all that any command needs; or,
 * `write_only`, what backups need, for machines that somebody else may come to control: objects can
 * be added and confirmed, not removed, and old versions not reached. -ENOTSUP for a store that
 * knows no policies. */
int reach_policy(const struct config *c, bool write_only, struct buf *ret, struct err *e);
