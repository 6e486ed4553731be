/* config.h - the configuration: one JSON dictionary, defaults, and where the data lives.
 *
 * Floor 3. Reads CONFIG.json as DESIGN section 3 has it; every mistake is named with line and key.
 * Not here: credentials from elsewhere than the file, making keys, opening anything. Immutable once
 * loaded; may be shared by threads. */
#pragma once

#include "base.h"
#include "compress.h"
#include "err.h"

struct buf;
struct json_t; /* jansson's */

struct config {
        char *file; /* absolute path of CONFIG.json, there or not */
        bool exists;
        char *home; /* AUTOGLACIER_HOME, or NULL */
        char *data; /* data folder, absolute */
        char *jobs; /* folder of saved jobs */

        enum compress_kind compression;
        int compression_level; /* -1: default of the kind */
        char *tmp_dir;         /* scratch only; never NULL */
        char *json_database;   /* or NULL */
        char **public_keys; /* PUBL_RSA_KEY_PATH, NULL-terminated; the default key's path if none is
                               configured */
        bool public_keys_configured;
        char **private_keys; /* PRIV_RSA_KEY_PATH, NULL-terminated, or the default path; never NULL,
                                never empty */
        bool private_keys_configured;
        char *passphrase;      /* RSA_PASSPHRASE, as the Python program had it; or NULL; secret */
        char *passphrase_file; /* or NULL */
        char *vault;           /* "dir:/abs", "s3://…", "glacier://…" */
        char *storage_class;
        char *region_name, *vault_name, *endpoint_url, *aws_profile; /* or NULL */
        char *aws_access_key_id, *aws_secret_access_key;             /* or NULL; secret */
        bool path_style;
        bool allow_http;      /* http:// to other machines than this one */
        char **exclude;       /* NULL-terminated, never NULL itself */
        uint64_t volume_size; /* bytes, default 8 GiB */
        uint64_t spool_limit; /* bytes, default 32 GiB */
        uint64_t cache_limit; /* bytes of fetched content kept on disk, default 8 GiB */
        unsigned upload_concurrency;
        uint64_t upload_rate_limit; /* bytes a second; 0: none */
        char *upload_window;        /* "HH:MM-HH:MM" or NULL */
        char *restore_tier;         /* "bulk" by default */
        unsigned restore_days;
        double cost_limit; /* USD */
        char *mountpoint;  /* absolute; default ~/glacier */
        bool private_descriptions;
        char *notify_command; /* or NULL */
        unsigned workers;     /* COMPRESSION_WORKERS; 0: one a processor */
        char *effective;      /* private: JSON of where each value came from; see config_print */
};

/* `path` NULL: AUTOGLACIER_HOME/CONFIG.json, else $XDG_CONFIG_HOME/autoglacier/CONFIG.json. A
 * missing default file is fine; a missing `path` is -ENOENT. Makes no folder. -EINVAL with file,
 * line, key. */
int config_load(const char *path, struct config **ret, struct err *e);
/* The same, with the dictionary `key` of another file (a saved job) laid over it: what that names
 * counts, the rest stays. The mistakes in it are named with its file. */
struct config_overlay {
        const char *text; /* the whole file, well-formed JSON */
        size_t len;
        const char *name; /* the file's absolute path */
        const char *key;  /* "CONFIG"; absent is fine */
        bool is_file;     /* others must not be able to read it if it holds a secret */
};
int config_load_over(
        const char *path, const struct config_overlay *overlay, struct config **ret, struct err *e);
/* The same from text; `name` stands for the file in messages. For tests and fuzzing. */
int config_parse(
        const char *text, size_t len, const char *name, struct config **ret, struct err *e);
void config_free(struct config *c);
DEFINE_CLEANUP(config_free, struct config *)

/* A path as people write it ("~", "$HOME", relative to `base`), absolute. The caller frees it. */
char *config_expand(const char *s, const char *base);
/* JSON from text, whose last byte is followed by a zero. -EINVAL with `name`, line and words. */
int config_json(const char *text, size_t len, const char *name, struct json_t **ret, struct err *e);
/* The line in which `key` stands as a key, `depth` braces deep; the last line if it does not. */
int config_line_of(const char *text, size_t len, const char *key, int depth);

/* Every key with its value and where it came from ("file", "job", "default"), secrets as
 * "********", one a line, or as JSON. */
int config_print(const struct config *c, bool json, struct buf *ret);

/* -EINVAL if data folder, spool or store lie inside a FUSE mount of autoglacier. */
int config_check_places(const struct config *c, struct err *e);
