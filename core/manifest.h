/* manifest.h - the list that travels with every archive: JSON Lines, streamed from the catalogue.
 *
 * Floor 3 (above catalog). Line 1 tells the archive (all that info.json tells), then one line a
 * member, then one a block, then {"end":…}. Format: doc/FORMAT.md. Memory does not grow with the
 * number of members. Not here: tar, sealing. */
#pragma once

#include "base.h"
#include "err.h"

struct catalog;

#define MANIFEST_PATH ".autoglacier/manifest.jsonl"
#define MANIFEST_RECORD 512u

/* Writes the manifest of archive `id` as it stands in the catalogue to fd, padded with spaces before
 * a last newline to a multiple of 512 bytes; *ret_size is its length. */
int manifest_write(struct catalog *c, const char *id, int fd, uint64_t *ret_size, struct err *e);

/* The locator: one record of exactly 512 bytes, JSON padded with spaces, that ends the manifest and so
 * stands right before the tar's two end blocks. */
struct manifest_locator {
        uint64_t tar_offset;   /* of the manifest member's first content byte */
        uint64_t size;         /* of the manifest, this record not counted */
        unsigned volume;       /* in which its first block lies */
        uint64_t plain_offset; /* of that block in the volume's compressed file */
        uint64_t block_tar_offset; /* of that block in the tar stream */
};
void manifest_locator_write(const struct manifest_locator *l, char out[MANIFEST_RECORD]);
int manifest_locator_parse(const char in[MANIFEST_RECORD], struct manifest_locator *ret, struct err *e);

/* Reads manifest text pulled through `read` (up to len bytes, 0 at the end) and fills the catalogue
 * with the archive `id` of line 1, as `stored`. For `recover`. -EEXIST if that id is there. */
typedef ssize_t (*manifest_read_fn)(void *ctx, void *data, size_t len, struct err *e);
int manifest_read(manifest_read_fn read, void *ctx, struct catalog *c, char **ret_id, struct err *e);
