/* gather.h - walks what is to be archived, in one fixed order, and shows each entry once.
 *
 * Floor 3. Two kinds of roots: a frozen staging tree, whose links at the top stand for their
 * targets (DESIGN, "Symlinks"), and explicit files (for `backup`, whose archive names are their
 * absolute paths without the leading '/'). The order is depth first, names of a folder sorted as
 * bytes, so that a walk can be resumed after a given path. Never follows links below the top, never
 * leaves a filesystem below a linked folder, never enters the folders in `avoid` or any autoglacier
 * mount. Opens with O_NONBLOCK|O_NOFOLLOW and looks again with fstat. Not here: reading content,
 * tar, the catalogue. One thread a walk. Memory: the names of the folders on the current path.
 *
 * A link at the top that leads to something in the staging area itself stays a link. An explicit
 * file that is a link is archived as a link. An explicit file is taken even if EXCLUDE names it or
 * if it lies on another filesystem below an explicit folder: naming it is stronger. */
#pragma once

#include "base.h"
#include "err.h"

#include <sys/stat.h>

struct staging;

/* One entry. Everything is borrowed for the call. */
struct gather_entry {
        /* Name in the archive: relative, no "..", any bytes but 0. */
        const char *path;
        /* Where it really is, absolute, if it came through a link or a list; else NULL. */
        const char *source;
        int fd;             /* files and folders: open for reading; links: -EBADF */
        struct stat st;     /* with the mode it had before it was opened up */
        const char *link;   /* target text of a symlink, else NULL */
        bool staged;        /* it lies in the frozen tree itself (not behind a link) */
        bool leads_outside; /* a symlink whose target is outside the archive */
};

enum gather_problem {
        GATHER_UNREADABLE, /* could not be read: goes back to staging if `staged` or at the top */
        GATHER_SPECIAL,    /* FIFO, device or socket: not archived, goes back */
        GATHER_EXCLUDED,   /* EXCLUDE names it: goes back, silently */
        GATHER_LITTER,     /* dropped */
        GATHER_AVOIDED,    /* data folder, own mount, other filesystem: only a warning */
};

struct gather_visitor {
        /* In order. -ECANCELED etc. end the walk. */
        int (*entry)(void *ctx, const struct gather_entry *g, struct err *e);
        /* `staged_path` is the path in the frozen tree that goes back (for a linked top entry: the
         * link), or NULL where nothing can go back. `why` is a sentence without a subject. */
        int (*problem)(void *ctx, enum gather_problem what, const char *path,
                const char *staged_path, const char *why, struct err *e);
        /* NULL, or asked of each file before it is opened, `st` as lstat gave it: 1 passes over it,
         * 0 goes on, -errno ends the walk. */
        int (*pass)(void *ctx, const char *path, const struct stat *st, struct err *e);
        void *ctx;
};

struct gather_params {
        struct staging *staging; /* with `id`: the frozen tree; NULL: explicit files */
        const char *id;
        const char *mountpoint; /* absolute, clean: relative link texts at the top start there */
        /* NULL-terminated absolute paths, when there is no tree. */
        const char *const *files;
        /* NULL-terminated patterns. */
        const char *const *exclude;
        /* NULL-terminated absolute folders that are not entered: data folder, TMP_DIR, dir: stores.
         * What a link or the list names below one is taken, unless it is also `closed`. */
        const char *const *avoid;
        /* NULL-terminated absolute folders in which nothing is archived even where a link or the
         * list leads straight to it: the data folder. With `staging`, the folder that holds it is
         * always among them. */
        const char *const *closed;
        /* NULL, or skip what the order puts at or before this path ... */
        const char *resume_after;
        bool resume_at;       /* ... at it not, if true */
        bool follow_as_owner; /* root daemon: open what a link leads to with its owner's ids */
        /* A linked device that is gone: returns its identity as it was at commit, from a table made
         * by gather_devices(). NULL: no check. */
        const char *devices;
};

/* 0, or what a visitor returned, or -ENODEV with words if a linked source is not there now (wait
 * and try again), or -errno. */
int gather_walk(const struct gather_params *params, const struct gather_visitor *v, struct err *e);

/* The sources of the links at the top as JSON: [{"name","target","dev","fs"}] with what identifies
 * their device; recorded at commit. The caller frees it. What is not UTF-8 is in base64, under
 * "name_base64" and so on. */
int gather_devices(int tree_fd, const char *mountpoint, char **ret_json, struct err *e);

/* The name in the archive of an explicit file: absolute, cleaned, without the leading '/'. The
 * caller frees it; NULL when out of memory. */
char *gather_name(const char *file);

/* Compares archive paths in walk order: a folder before what it holds. Like strcmp. */
int gather_order(const char *a, const char *b);
