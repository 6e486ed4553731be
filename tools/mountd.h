/* mountd.h - the running mount of a data folder, seen from outside: which process, on which folder.
 *
 * DATA/mount.pid tells both, and DATA/mount.lock is held as long as the folder is mounted. Not
 * here: FUSE. One thread. */
#pragma once

#include "base.h"
#include "err.h"

struct cli;

struct mountd {
        pid_t pid;        /* 0: nothing is mounted */
        char *mountpoint; /* NULL: likewise */
};
void mountd_done(struct mountd *m);

/* 0 also when nothing is mounted. */
int mountd_find(const char *data, struct mountd *ret, struct err *e);
/* Waits until the mount lock of `data` is free, at most `seconds`. True if it is. */
bool mountd_wait_gone(const char *data, unsigned seconds);
/* Whether `pid` is a program of ours that lives, by its name. */
bool mountd_is_ours(pid_t pid);
/* Waits until a process is gone, at most `seconds`. True if it is. */
bool mountd_wait_pid(pid_t pid, unsigned seconds);
/* The folder on which a program of `data` that was killed has left its mount; NULL if there is
 * none. The caller frees it. */
int mountd_find_dead(const char *data, char **ret, struct err *e);
