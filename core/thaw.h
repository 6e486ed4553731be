/* thaw.h - the verb: what was asked for from a cold store is thawed, fetched, checked, ready.
 *
 * Floor 5. A restore is a row of the catalogue (catalog_restore.h); thaw_run() takes it as far as
 * it goes now and says in the row when to look again. Every step can be repeated: a store is never
 * asked again for what it has thawed or is thawing. Works for every store; one that needs no
 * thawing says that it is ready. Not here: who runs it when, asking for passphrases. One thread a
 * restore. Blocks on the store. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct buf;
struct cache;
struct catalog;
struct catalog_archive;
struct catalog_restore;
struct config;
struct cost_offer;
struct cost_prices;
struct cost_retrieval;
struct tree_range;

/* What people write to ask for something. */
struct thaw_words {
        const char *tier; /* "bulk", … or NULL */
        double max_price; /* USD; below 0: none given */
        bool everything;  /* "all" */
        char *paths;      /* each ended by a zero byte, as they were written */
        size_t paths_len;
};
void thaw_words_done(struct thaw_words *w);
/* `[tier] [max=PRICE] path …` or `… all`, which a tier alone means too, in any number of lines.
 * Words are split at blanks; '…', "…" and \\ quote; what is quoted is a path. Lines that begin with
 * '#' are left out. -EINVAL nothing is named, a quote without its end, a path together with all,
 * max without a number. */
int thaw_words_parse(const char *text, size_t len, struct thaw_words *ret, struct err *e);

/* One object of the store that is needed. */
struct thaw_object {
        unsigned volume;
        char name[160];
        uint64_t size;
        struct tree_range *pieces; /* what a store that thaws ranges is asked for, header and all */
        size_t n_pieces;
        uint64_t fetch; /* bytes that will be fetched of it */
};
struct thaw_plan {
        struct thaw_object *objects;
        size_t n, pieces; /* of all objects */
        struct thaw_file {
                int64_t member; /* row; has content */
                uint64_t tar_offset, tar_len, size;
        } * files; /* in the order of the tar stream, each once */
        size_t n_files;
        uint64_t bytes; /* of content */
        uint64_t fetch; /* from the store, in all */
        uint64_t thaw;  /* bytes of whole objects, which is what most stores charge for */
        uint64_t range; /* bytes that a store thaws that can thaw ranges */
};
void thaw_plan_done(struct thaw_plan *p);
/* What has to be thawed and fetched for these paths (each ended by a zero byte; none: everything).
 * -ENOENT names the path that is not in the archive. */
int thaw_plan_make(struct catalog *c, const struct catalog_archive *a, const char *paths,
        size_t paths_len, struct thaw_plan *ret, struct err *e);
/* The paths as members are named: without "./", "/" at either end, "files/" in front where that is
 * no member; sorted, each once; none if one of them, like "/", is everything. -ENOENT. The caller
 * frees *ret. */
int thaw_paths_plain(struct catalog *c, const char *id, const char *paths, size_t len, char **ret,
        size_t *ret_len, struct err *e);

/* What the store charges for: whole objects, or in a vault ranges of them. */
void thaw_amount(
        const struct catalog_archive *a, const struct thaw_plan *plan, struct cost_retrieval *ret);
/* What a tier costs and how long it takes. A store that costs nothing, or a class without a price:
 * *ret_known tells which. -EINVAL the class has no such tier; the words name those it has. */
int thaw_price(const struct cost_prices *prices, const struct catalog_archive *a,
        const struct thaw_plan *plan, const char *tier, struct cost_offer *ret, bool *ret_known,
        struct err *e);

/* Whether there is room for it, before anything is paid for: -ENOSPC tells how much is missing. In
 * the target folder for all of it; in the cache, of which `cached` bytes may go, for its largest
 * file. */
int thaw_room_in_folder(const struct thaw_plan *p, const char *folder, struct err *e);
int thaw_room_in_cache(struct catalog *c, const struct thaw_plan *p, const char *folder,
        uint64_t cached, struct err *e);
/* Whether none of its files is in the folder: -EEXIST names one. */
int thaw_target_is_free(
        struct catalog *c, const struct thaw_plan *p, const char *folder, struct err *e);
/* How much of what was asked for is fetched into the cache before anybody reads it. */
uint64_t thaw_ahead(uint64_t cache_limit);

struct thaw_env {
        const struct config *config;
        struct catalog *catalog;
        struct cache *cache;
        int locks_fd; /* folder of lock files, the same for all programs of the data folder */
        int (*unwrap)(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
                uint8_t ret_data_key[32], struct err *e);
        void *unwrap_ctx;
        const atomic_bool *stop;
        void (*changed)(void *ctx, const char *archive); /* after every change of state */
        void *ctx;
        void (*tick)(
                void *ctx, const struct catalog_restore *r); /* a few times a second; or NULL */
        void *tick_ctx;
};
/* 0: the row says where it is now. -errno: not even the row could be read or written. */
int thaw_run(const struct thaw_env *env, int64_t row, struct err *e);
