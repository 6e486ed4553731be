/* keyring_internal.h - shared by the keyring_*.c files and nobody else. */
#pragma once

#include "keyring.h"

#include <pthread.h>

/* One private key's file and what is known of it. */
struct entry {
        char *path;
        char fingerprint[KEYS_FINGERPRINT_LEN + 1]; /* "" until it has been opened once */
        struct secret *passphrase;                  /* NULL: none, or none needed */
        int64_t until;                              /* monotonic ns; 0: for ever */
};

struct keyring {
        pthread_mutex_t lock; /* everything below */
        struct entry *entries;
        size_t n;
        struct secret *passphrase; /* RSA_PASSPHRASE, or NULL */
        char *passphrase_file;     /* or NULL */
        char *data;                /* folder of the agent's socket */
        char *config_file;         /* for words only */
        bool use_agent;
        keys_passphrase_fn ask; /* or NULL */
        void *ask_ctx;
};

/* All of these are called under the lock. */

/* keyring.c: passphrases that are kept */
int keyring_keep(struct entry *n, const struct secret *passphrase, int64_t seconds);
int keyring_forget_late(struct keyring *k); /* as keyring_expire() */

/* keyring_load.c: opening the file of a key. -ENOKEY: it is locked. */
int keyring_load_with(const struct entry *n, const struct secret *passphrase,
        struct keys_private **ret, struct err *e);
/* Without any question: plain, with the passphrase kept, with the one from the file. */
int keyring_load_quietly(
        struct keyring *k, struct entry *n, struct keys_private **ret, struct err *e);
/* Asks, and keeps the answer that was right. */
int keyring_load_asking(
        struct keyring *k, struct entry *n, struct keys_private **ret, struct err *e);
