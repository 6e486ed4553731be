/* gather_walk.h - what the parts of gather share: the whole walk, and the walk from one root.
 *
 * Floor 3, private to gather. One thread. */
#pragma once

#include "base.h"
#include "err.h"
#include "gather.h"
#include "gather_devices.h"
#include "gather_open.h"

struct gather_folder_id {
        dev_t dev;
        ino_t ino;
};

/* One call of gather_walk(). */
struct gather {
        const struct gather_params *params;
        const struct gather_visitor *visitor;
        struct err *e;
        struct gather_folder_id *avoid;
        size_t n_avoid;
        char **closed; /* real paths */
        size_t n_closed;
        const char **listed; /* archive paths of explicit files, in order, each once */
        char **cleaned;      /* those of them that are not parts of what was given */
        size_t n_cleaned;
        size_t n_listed, next_listed;
        struct gather_table *table;
        struct gather_mounts mounts;
        bool resumed; /* the place to go on from has been passed */
};

/* Where a walk begins. Everything is borrowed. */
struct gather_start {
        const char *path;   /* archive path; "" stands for no entry, only for what is below */
        const char *source; /* absolute, or NULL in the frozen tree */
        bool staged;
        const char *top_link; /* the staged link that led here, or NULL */
        struct gather_ids ids;
        int fd; /* open on it for reading; or -EBADF: `source` is opened, no link followed */
};

/* Visits the start and all that is below it. 0 or what ended the walk. */
int gather_walk_from(struct gather *g, const struct gather_start *s);

/* A link at the top of the frozen tree: walks what it stands for. 1: it stays a link. */
int gather_follow(struct gather *g, int tree_fd, const char *name);

/* Before `path` is visited: visits explicit files that come before it and have not been met.
 * *ret_listed: `path` is one itself. */
int gather_listed_before(struct gather *g, const char *path, bool *ret_listed);
/* Whether the absolute path `target` is in the archive, lexically. */
bool gather_is_listed(const struct gather *g, const char *target);

/* Whether fd is on a folder that must not be entered, or lies in one that is closed. */
bool gather_is_avoided(const struct gather *g, const struct stat *st);
/* Whether fd is on an autoglacier mount. */
bool gather_is_ours(struct gather *g, int fd);

enum gather_turn {
        GATHER_PASS,    /* visited before: it and all below it */
        GATHER_THROUGH, /* visited before, but not all below it */
        GATHER_TAKE,
};
enum gather_turn gather_turn(struct gather *g, const char *path);
