/* config_internal.h - the table of keys, shared by the config_*.c files and nobody else. */
#pragma once

#include "config.h"

#include <jansson.h>

enum config_type {
        KEY_STRING,
        KEY_PATH, /* "~" and "$HOME" mean the home folder; relative ones begin where CONFIG.json
                     lies */
        KEY_VAULT,
        KEY_TIER,
        KEY_WINDOW, /* "HH:MM-HH:MM" */
        KEY_PATHS,  /* a path or a list of them */
        KEY_STRINGS,
        KEY_COMPRESSION,
        KEY_LEVEL,
        KEY_UNSIGNED,
        KEY_BYTES, /* a number, or "8GiB", "500 MB" */
        KEY_REAL,
        KEY_BOOL,
};

#define CONFIG_SECRET   1u
#define CONFIG_POSITIVE 2u /* zero makes no sense */

struct config_key {
        const char *name;
        enum config_type type;
        size_t offset; /* in struct config */
        unsigned flags;
};

const struct config_key *config_keys(size_t *ret_n);
_unused_ static inline bool config_is_string(enum config_type t)
{
        return t <= KEY_WINDOW;
}
/* Checks and sets one value; the words say what was expected. */
int config_set(struct config *c, const struct config_key *k, const json_t *value, struct err *e);

/* config_show.c: remembers which keys a file had; `from`: "file" or "job". `file` NULL: none. */
int config_note_sources(struct config *c, const json_t *file, const char *from);

/* config_places.c */
char *config_absolute(const char *path); /* begins at the working directory; NULL: errno */
int config_set_places(struct config *c, struct err *e); /* home, data, jobs */
char *config_default_file(const struct config *c);      /* after config_set_places() */
int config_fill_in(struct config *c, struct err *e);    /* defaults of what no file has set */
