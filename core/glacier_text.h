/* glacier_text.h - what we write into a vault's descriptions, and what its inventory says.
 *
 * Floor 2. A description is at most 1,024 bytes of 0x20 to 0x7E:
 *
 *     autoglacier:NAME [text]
 *
 * NAME is the object's name, text the user's, which may be missing and is cut at a character where
 * it is too long; both percent-encoded as urllib.parse.quote() does: the names that autoglacier
 * gives stand there as they are. The inventory is the JSON
 * that GetJobOutput gives (Amazon S3 Glacier Developer Guide, "Get Job Output"); it is read as a
 * stream and never whole in memory. Any thread; a reader belongs to one at a time. */
#pragma once

#include "base.h"
#include "err.h"

#define GLACIER_DESCRIPTION_MAX 1024

/* text NULL: none. -ENAMETOOLONG if the name alone does not fit. */
int glacier_description(const char *name, const char *text, char ret[GLACIER_DESCRIPTION_MAX + 1]);
/* The name in a description into `ret` of `size` bytes; false if the description is not ours. */
bool glacier_description_name(const char *description, char *ret, size_t size);

struct glacier_listed {
        const char *archive, *description;
        uint64_t size;
        uint8_t tree_hash[32];
        int64_t created; /* ns */
};

struct glacier_inventory;
typedef int (*glacier_listed_fn)(void *ctx, const struct glacier_listed *l, struct err *e);

/* `each` is called for every archive; `ctx` and what it points to are borrowed. */
int glacier_inventory_new(
        glacier_listed_fn each, void *ctx, struct glacier_inventory **ret, struct err *e);
void glacier_inventory_free(struct glacier_inventory *i);
DEFINE_CLEANUP(glacier_inventory_free, struct glacier_inventory *)
/* -EPROTO broken; or what `each` returned. */
int glacier_inventory_feed(
        struct glacier_inventory *i, const void *data, size_t len, struct err *e);
/* All is read: its date, ns. -EPROTO if it was cut short. */
int glacier_inventory_end(struct glacier_inventory *i, int64_t *ret_date, struct err *e);

/* "2026-11-27T23:57:46.794Z" to ns; 0 if it is none. */
int64_t glacier_time(const char *s);
