/* files.h - the files that a command line names: absolute, there, each once.
 *
 * A link named stays a link: only the folder it lies in is resolved. One thread. */
#pragma once

#include "base.h"
#include "err.h"

struct files {
        char **paths; /* NULL-terminated once anything was added */
        size_t n, cap;
        char **empty; /* patterns that matched nothing */
        size_t n_empty;
};

/* NULL-terminated words. -ENOENT and the like name the file. */
int files_add(struct files *f, const char *const *words, struct err *e);
/* Patterns of glob.h, and "~/". -ENODATA if there is no file at all then. */
int files_glob(struct files *f, const char *const *patterns, struct err *e);
void files_done(struct files *f);
