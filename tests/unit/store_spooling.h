/* store_spooling.h - a store for tests that is not written in place: a directory store behind
 * uploads that outlive the program, as a service over a network has them. Counts parts, fails on
 * demand.
 *
 * Its uploads are folders FOLDER/uploads/TOKEN with a file a part; FOLDER/log gets a line for every
 * call that a test may want to count, so that it outlives a kill. FOLDER/fail, where it is there,
 * holds the operation that fails and the errno value: "put_part 5", "* 11". With 0 it is tried
 * again until the file is gone. */
#pragma once

#include "err.h"

struct store;

/* Objects are in FOLDER/objects, which must be there; `url` is what it says of itself. */
int store_spooling_new(const char *url, const char *folder, struct store **ret, struct err *e);
