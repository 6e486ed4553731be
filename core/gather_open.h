/* gather_open.h - opening what is to be archived: with whose rights, and without leaving a trace.
 *
 * Floor 3, private to gather. The ids are those of the calling thread alone. */
#pragma once

#include "base.h"

#include <sys/stat.h>

/* With whose rights files are opened. All zero: the process's own. */
struct gather_ids {
        bool active;
        uid_t uid;
        gid_t gid;
};

/* As openat(2) with flags O_RDONLY|O_CLOEXEC|O_NONBLOCK|O_NOCTTY|O_NOATIME and `flags`, as `ids`.
 * *atime: begin with true; set to false when O_NOATIME is not allowed, and then not tried again.
 * A descriptor or -errno. Never sleeps in a FIFO; waits for the holder of a lease. */
int gather_open_at(
        const struct gather_ids *ids, int dirfd, const char *name, int flags, bool *noatime);
/* Without opening the content: O_PATH. */
int gather_open_path(const struct gather_ids *ids, int dirfd, const char *name, int flags);
/* Opens for reading what an O_PATH descriptor stands for. */
int gather_reopen(const struct gather_ids *ids, int fd, bool *noatime);
/* readlinkat(2) whole; *ret is the caller's. 0 or -errno. */
int gather_read_link(const struct gather_ids *ids, int dirfd, const char *name, char **ret);
/* fstatat(2) without following. 0 or -errno. */
int gather_stat_at(const struct gather_ids *ids, int dirfd, const char *name, struct stat *ret);

/* chmod through an O_PATH descriptor. 0 or -errno. */
int gather_chmod(int fd, mode_t mode);
/* The path that a descriptor has now; NULL if it has none that fits into PATH_MAX. The caller frees
 * it. */
char *gather_real_path(int fd);
