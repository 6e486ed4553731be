/* progress.h - how far long work is: a bar on a terminal, a plain line now and then elsewhere.
 *
 * Goes to stderr; stdout is for results. One thread an object. */
#pragma once

#include "base.h"

struct progress {
        const char *what; /* borrowed: "restoring" */
        bool terminal, drawn;
        unsigned columns;
        int64_t begun, next; /* monotonic ns; when it may be shown again */
};

/* Is it a terminal on which a line can be drawn again? TERM=dumb is not. */
bool progress_possible(int fd);
void progress_begin(struct progress *p, const char *what);
/* May be called as often as one likes. `todo` 0: not known. */
void progress_show(struct progress *p, uint64_t done, uint64_t todo);
/* The same with a rate in bytes a second that the caller knows; 0: counted from the beginning. */
void progress_show_rate(struct progress *p, uint64_t done, uint64_t todo, uint64_t rate);
/* Takes the bar away, so that a message can be printed; it comes back with the next show. */
void progress_clear(struct progress *p);

/* "[########--------]  53 %" for `done` of `todo` in `width` columns of bar, into `out`. */
void progress_bar(uint64_t done, uint64_t todo, unsigned width, char *out, size_t size);
