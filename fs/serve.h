/* serve.h - the threads that answer the kernel.
 *
 * The kernel wakes the threads that wait for a request in turn. With many of them, each request
 * finds one whose processor does something else by now, so only as many read as are kept busy: most
 * of the time one. A request that takes long (a disk, a fetch, a commit that waits) does not hold
 * up the others: after two milliseconds another thread reads in its place. */
#pragma once

#include "base.h"
#include "err.h"

struct fuse_session;

/* Serves until the session ends: unmounted, or by fuse_session_exit() in a handler of a signal,
 * which comes to the calling thread. */
int serve_session(struct fuse_session *session, struct err *e);
