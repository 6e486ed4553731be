/* sender.h - sends what the spool holds: several parts at once, one upload after the other.
 *
 * Floor 4. Volumes are sent in the order they are announced, and parts of a volume as soon as they
 * are in the spool, so packing and sending overlap. What goes wrong outside (the service, the
 * credentials, the network) is waited for; an upload that the store has forgotten is begun anew
 * from the spool; parts that the store has already are not sent again. Not here: what is recorded
 * (the hooks do), how large the spool may grow.
 *
 * sender_volume(), sender_part() and sender_packed() from one thread; the others from any. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct sender;
struct spool;
struct store;

struct sender_part {
        unsigned number; /* from 1, without gaps */
        uint32_t len;
        uint64_t offset; /* in the volume */
        uint8_t tree_hash[32], sha256[32];
        bool sent; /* an earlier run was told so; the store is asked all the same */
};

/* Called from the sender's threads, never two at once for one volume. */
struct sender_hooks {
        /* The upload is known by `token`; "" before a new one is begun. Durable when it returns. */
        int (*begun)(void *ctx, unsigned volume, const char *token, struct err *e);
        int (*sent)(void *ctx, unsigned volume, unsigned part, struct err *e);
        /* The store has confirmed every byte. Afterwards the volume leaves the spool. */
        int (*confirmed)(void *ctx, unsigned volume, struct err *e);
        /* `why` stands in the way and it is tried again in `wait_ns`, 0: when the window opens.
         * NULL: it goes on. */
        void (*trouble)(void *ctx, const struct err *why, int64_t wait_ns);
        void *ctx;
};

struct sender_params {
        struct store *store;     /* not a direct one */
        struct spool *spool;     /* with what sender_part() announces */
        unsigned concurrency;    /* parts at once; fewer where parts are large */
        uint32_t part_size;      /* of every part but a volume's last */
        uint64_t max_size;       /* of a volume */
        const char *window;      /* window.h; NULL: always */
        const char *archive_id;  /* all strings are borrowed for the sender's life */
        const char *description; /* NULL: private */
        const atomic_bool *stop; /* the one that the store was given: end soon */
        struct sender_hooks hooks;
};

/* Starts `concurrency` threads, or as many as there is room for: each keeps a part in memory. `p`
 * is copied. -ENOMEM; -errno where a thread cannot be started. */
int sender_start(const struct sender_params *p, struct sender **ret, struct err *e);
/* Ends the threads after the calls that run; uploads can be resumed. */
void sender_free(struct sender *s);
DEFINE_CLEANUP(sender_free, struct sender *)

/* The next volume, `object` in the store. token: of its upload by an earlier run, or "". */
int sender_volume(
        struct sender *s, unsigned volume, const char *object, const char *token, struct err *e);
/* A part of the volume announced last is in the spool. */
int sender_part(struct sender *s, const struct sender_part *p, struct err *e);
/* The volume announced last is whole. */
int sender_packed(struct sender *s, uint64_t size, const uint8_t tree_hash[32], struct err *e);

/* Whether a whole volume waits to be confirmed: then room in the spool will come. */
bool sender_pending(struct sender *s);
/* Waits for news, at most a quarter of a second. -ECANCELED when stopped; -EBADMSG, here and from
 * the functions above, when the spool has lost sender_damaged(), which must be packed again; other
 * errors are for good. */
int sender_wait(struct sender *s, struct err *e);
/* The number of that volume; 0: none. */
unsigned sender_damaged(struct sender *s);
/* Confirmed bytes of volumes that are not confirmed as a whole. */
uint64_t sender_sent(struct sender *s);
