/* keyring.h - the private keys of this set-up, locked or not: what unwraps data keys everywhere.
 *
 * Floor 5. The keys are the files of PRIV_RSA_KEY_PATH. No private key stays in memory: for every
 * data key its file is read, used and forgotten. What stays is a passphrase, in locked memory,
 * until its time is over. Passphrases come, in this order, from what keyring_unlock() was given,
 * from PRIV_RSA_KEY_PASSPHRASE_FILE, and from a question; before the question is asked, a running
 * program that has been unlocked (agent.h) may do the work. Not here: making keys, terminals.
 *
 * Any thread; one at a time gets through. Calls block on the disk, for the time that opening an
 * encrypted key takes (a tenth of a second), and on the question. */
#pragma once

#include "base.h"
#include "err.h"
#include "keys.h"

struct config;
struct keyring;
struct secret;

/* Copies what it needs of `config`. No file is opened yet. */
int keyring_new(const struct config *config, struct keyring **ret, struct err *e);
void keyring_free(struct keyring *k);
DEFINE_CLEANUP(keyring_free, struct keyring *)

/* From now on this key file alone: `--key`. */
int keyring_only(struct keyring *k, const char *path, struct err *e);
/* Who is asked for a passphrase; NULL, as at first: nobody. */
void keyring_ask_with(struct keyring *k, keys_passphrase_fn ask, void *ctx);
/* Whether a running program is asked to unwrap with its keys; at first false. The program that
 * serves the agent must not. */
void keyring_use_agent(struct keyring *k, bool use);

/* A seal_unwrap_fn (seal.h) whose ctx is a struct keyring. -ENOKEY: no key file, or another key
 * than the archive was sealed for, or locked and nobody to ask, each in words; -EACCES: the
 * passphrase is wrong; -EBADMSG: ours, but altered. */
int keyring_unwrap(void *keyring, const char *fingerprint, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[32], struct err *e);

/* The passphrase, if it opens at least one key that is locked, is kept for `seconds` (0: until
 * keyring_lock()). -EACCES: it opens none. -EALREADY: no key is locked, nothing is kept. -ENOKEY:
 * there is no key file. The caller keeps and wipes its own copy. */
int keyring_unlock(
        struct keyring *k, const struct secret *passphrase, int64_t seconds, struct err *e);
/* Forgets every passphrase. */
void keyring_lock(struct keyring *k);
/* Forgets those whose time is over. Milliseconds until the next one is; -1: none is kept that ends.
 */
int keyring_expire(struct keyring *k);
