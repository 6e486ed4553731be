/* tree_range.h - ranges of an object that stand under one node of its tree (tree_hash.h).
 *
 * Floor 1. Pure. A vault retrieves ranges in whole MiB, and sends the hash of what it retrieved
 * along only where that is all that stands under one node ("tree-hash aligned", Amazon S3 Glacier
 * Developer Guide, "Receiving Checksums When Downloading Data"). */
#pragma once

#include "base.h"

struct tree_range {
        uint64_t start, end; /* bytes */
};

/* All that stands under one node of an object of `size` bytes. */
bool tree_range_is_node(const struct tree_range *r, uint64_t size);

#define TREE_RANGE_MAX 16
/* Few nodes, in order, that hold [start, end) of an object of `size` bytes and at most an eighth
 * more, or 4 MiB: both ends are moved out to multiples of a power of two, of those for which that
 * is so the one that leads to the fewest nodes, and what lies between is divided as the tree is.
 * `end` at most `size`, `start` before it. Returns how many. */
size_t tree_range_cover(
        uint64_t start, uint64_t end, uint64_t size, struct tree_range ret[TREE_RANGE_MAX]);
