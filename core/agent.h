/* agent.h - a socket in the data folder over which a running program unwraps data keys for other
 * programs of the same user, so that a passphrase is given once.
 *
 * Floor 4. Both ends. What is served comes from the caller's functions; keys and passphrases are
 * not kept here. Not here: which keys there are (keyring.h).
 *
 * DATA/agent.sock is a SOCK_SEQPACKET socket of mode 0600. Either side hangs up on a peer of
 * another user (SO_PEERCRED, unix(7)). One request and one answer a connection: request   version 1
 * (u8) | operation (u8) | unlock: seconds (u64), passphrase | unwrap: fingerprint (64), wrapped key
 *   answer    errno value (u32), 0 done | unwrap: data key (32) | failed: a sentence
 * Integers are big-endian. */
#pragma once

#include "base.h"
#include "err.h"

struct agent;
struct secret;

struct agent_ops {
        int (*unlock)(void *ctx, const struct secret *passphrase, int64_t seconds, struct err *e);
        void (*lock)(void *ctx);
        /* As keyring_unwrap(). */
        int (*unwrap)(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
                uint8_t ret_data_key[32], struct err *e);
        /* Called before every wait: forgets what is past its time. Milliseconds until it wants to
         * be called again; -1: not. */
        int (*expire)(void *ctx);
        void *ctx;
};

/* Serves from a thread of its own, in which all functions of `ops` are called. Takes the place of a
 * socket that is there: only one program of a data folder may serve, the holder of its mount lock.
 */
int agent_start(const char *data, const struct agent_ops *ops, struct agent **ret, struct err *e);
/* Ends the thread, removes the socket. */
void agent_stop(struct agent *a);
DEFINE_CLEANUP(agent_stop, struct agent *)

/* The other end. -ENOENT: no program serves this data folder. Else what the functions above
 * returned, with their words. May block for as long as those do. */
int agent_unlock(const char *data, const struct secret *passphrase, int64_t seconds, struct err *e);
int agent_lock(const char *data, struct err *e);
int agent_unwrap(const char *data, const char *fingerprint, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[32], struct err *e);
