/* recover.h - the verb: the machine is gone; the catalogue comes back from the store and the key.
 *
 * Floor 5. Reads the manifest of every archive in the store; where there is none, or a damaged one,
 * the copy at the archive's own end. What the catalogue knows already is left alone, so it can be
 * repeated, and goes on where it was cut off. Archives of several machines in one store come back
 * alike; those sealed for other keys are told, not touched. Volumes are not read, but for that copy
 * and what the copy cannot know of the last ones. A cold store is asked for its
 * list and for manifests, and waited for. Not here: asking for passphrases, printing. One
 * thread a call; other programs, a mount among them, may work at the same time. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct catalog;
struct store;

enum recover_result {
        RECOVER_KNOWN,  /* it was in the catalogue already */
        RECOVER_FOUND,  /* it is in the catalogue now */
        RECOVER_MENDED, /* likewise, from its own end; `why` says what is wrong with its manifest */
        RECOVER_FOREIGN, /* sealed for other keys: not ours */
        RECOVER_DAMAGED, /* `why`; it may be in the catalogue all the same (`name` is then set) */
        RECOVER_BUSY,    /* another program is at it */
};

struct recover_archive {
        const char *id, *origin;
        const char *name; /* in the catalogue; NULL if it is not there */
        enum recover_result result;
        const char *why; /* in words, where there is something to say; else NULL */
};

struct recover_counts {
        unsigned known, found, mended, foreign, damaged, busy;
        int64_t listed; /* ns: what the store holds was known as of then; 0: as of now */
};

struct recover_params {
        const char *data; /* data folder, for the locks of jobs */
        int (*unwrap)(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
                uint8_t ret_data_key[32], struct err *e);
        void *unwrap_ctx;
        void (*told)(void *ctx, const struct recover_archive *r);  /* once for each archive */
        void (*progress)(void *ctx, uint64_t done, uint64_t todo); /* bytes; NULL allowed */
        /* A cold store takes hours for `what`; it is waited for. NULL allowed. */
        void (*waiting)(void *ctx, const char *what);
        void *ctx;
        const atomic_bool *stop; /* NULL allowed */
};

/* 0 also if some are damaged: look at the counts (filled in every case). -EACCES a wrong
 * passphrase, -ENOKEY no private key, -ENODEV the store is not there, -ECANCELED; what was found
 * till then stays. */
int recover_run(struct catalog *c, struct store *s, const struct recover_params *p,
        struct recover_counts *ret, struct err *e);
