/* gather_devices.h - which filesystem something is on, in words that survive a reboot.
 *
 * Floor 3, private to gather. Device numbers change from boot to boot; the filesystem's UUID does
 * not. Where there is none: the number that statfs(2) makes of it, for filesystems of which it is
 * stable, or what was mounted. One thread. */
#pragma once

#include "base.h"
#include "err.h"

/* Remembers the last answer: neighbours are mostly on the same filesystem. All zero to begin with.
 */
struct gather_mounts {
        bool known;
        uint64_t mount; /* of the last answer */
        char fs[512];   /* "ext4 uuid=…": type, and what identifies it */
};

/* Fills m->fs for what fd (O_PATH will do) is on. 0 or -errno. */
int gather_mounts_look(struct gather_mounts *m, int fd);
/* After gather_mounts_look(): whether it is a mount of ours. */
bool gather_mounts_is_ours(const struct gather_mounts *m);

struct gather_table; /* what gather_devices() has written */
int gather_table_load(const char *json, struct gather_table **ret, struct err *e);
void gather_table_free(struct gather_table *t);
DEFINE_CLEANUP(gather_table_free, struct gather_table *)
/* The filesystem that the target of this link was on; NULL if it is not in the table. Borrowed. */
const char *gather_table_fs(const struct gather_table *t, const char *name);
