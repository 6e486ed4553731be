/* manifest.h - the list that travels with every archive: JSON Lines, streamed from the catalogue.
 *
 * Floor 3 (above catalog). Memory does not grow with the number of members, on either side. One
 * thread a call. Not here: tar, sealing.
 *
 * Format, version 1. UTF-8 text, one JSON object a line (RFC 8259, jsonlines.org), at most 1 MiB a
 * line. Numbers are integers from 0 to 2^63-1. Times are strings of decimal seconds since 1970 UTC
 * with nine digits after the point, "1795382823.123456789", before 1970 with '-'. Hashes are
 * lower-case hex. Names are any bytes: KEY holds them as text (bytes that are not UTF-8 as U+FFFD),
 * and only where they are not UTF-8, KEY_base64 holds them exactly (RFC 4648, section 4). Offsets
 * named `offset` and `length` count bytes of the whole commit's tar stream. Readers ignore keys
 * they do not know.
 *
 *   line 1    "manifest":"autoglacier" "version":1 "id" "name" "description" "created" (ISO, to the
 *             second) "created_unix" "written_unix" "origin" "compression" (lzma gzip bzip2 zstd
 * none) "level" (-1: the kind's own) "volume_size" "store" (its URL) "store_id" "storage_class"
 *             "recipients" (list: SHA-256 of each SubjectPublicKeyInfo) "public_keys" (PEM, joined)
 *             "files" "dirs" "symlinks" "hardlinks" "bytes" (of file content) "returned" (entries
 * that were not archived and went back) members   "path" [path_base64] "type" (f file, d folder, l
 * symlink, h hard link to a member before) "mode" (permission bits, octal string) "uid" "gid"
 * "mtime" "size" "offset" (of the member's first header block) "length" (headers, data, padding)
 * "sha512" (f; of the content) "link" [link_base64] (l: its text; h: the path of the member that
 * has the content) in the order of the tar stream. A path comes once: where the tar has it twice,
 * the later. blocks    "block" (number) "volume" "offset" "length" "plain_offset" "plain_length"
 * (where the compressed block lies in its volume's decrypted file) volumes   "object" (name in the
 * store) "volume" (number, from 1) "offset" "length" "plain_size" "size" (sealed) "tree_hash"
 * (SHA-256 tree hash of the object) "message_id"; only those confirmed by the store when the
 * manifest was written events    "event" (text) "level" (i w e) "time": the log last "end":true
 * "members" "blocks" (how many lines of each came), then spaces so that the newline ends a multiple
 * of 512 bytes
 *
 * Which kind a line is shows in its first key. */
#pragma once

#include "base.h"
#include "err.h"

struct catalog;

#define MANIFEST_PATH   ".autoglacier/manifest.jsonl"
#define MANIFEST_RECORD 512u

/* MiB of a manifest that one worker compresses: nothing else is left for the others to do. */
#define MANIFEST_SHARE 1

/* Writes the manifest of archive `id` as it stands in the catalogue to fd, padded with spaces
 * before a last newline to a multiple of 512 bytes; *ret_size is its length. Counts are made from
 * the members that are there, whatever the row says. `when` is what "written_unix" says: the time
 * at which the archive counts as stored, once this is the manifest in the store. */
int manifest_write(
        struct catalog *c, const char *id, int64_t when, int fd, uint64_t *ret_size, struct err *e);

/* The same, for an archive of which `earlier` is a manifest that was written when all its members
 * were known: their lines are copied from there, from its beginning on, which takes a tenth of the
 * time. If it has not as many as the catalogue, they are made anew. */
int manifest_write_again(struct catalog *c, const char *id, int64_t when, int earlier, int fd,
        uint64_t *ret_size, struct err *e);

/* The locator: one record of exactly 512 bytes that follows the manifest inside the same tar member
 * and so stands right before the tar's two end blocks. A line of its own:
 * {"manifest_locator":1,"offset":…,"size":…,"volume":…,"plain_offset":…,"block_offset":…}, spaces,
 * newline; the keys are the fields below in their order. */
struct manifest_locator {
        uint64_t tar_offset;       /* of the manifest member's first content byte */
        uint64_t size;             /* of the manifest, this record not counted */
        unsigned volume;           /* in which its first block lies */
        uint64_t plain_offset;     /* of that block in the volume's compressed file */
        uint64_t block_tar_offset; /* of that block in the tar stream */
};
void manifest_locator_write(const struct manifest_locator *l, char out[MANIFEST_RECORD]);
/* -EPROTO it is none or broken; -EPROTONOSUPPORT. */
int manifest_locator_parse(
        const char in[MANIFEST_RECORD], struct manifest_locator *ret, struct err *e);

/* Reads manifest text pulled through `read` (up to len bytes, 0 at the end) and fills the catalogue
 * with the archive `id` of line 1, as `stored` or `incomplete`. For `recover`. A locator may
 * follow, and nothing else. -EEXIST if that id is there; -EPROTO broken, with the line, and the
 * catalogue is as it was; -EPROTONOSUPPORT newer than we are. The caller frees *ret_id. */
typedef ssize_t (*manifest_read_fn)(void *ctx, void *data, size_t len, struct err *e);
int manifest_read(
        manifest_read_fn read, void *ctx, struct catalog *c, char **ret_id, struct err *e);
