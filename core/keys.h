/* keys.h - RSA keys: public keys wrap data keys, the private key unwraps them.
 *
 * Floor 2. Wrapping is RSAES-OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017, 7.1). Keys are PEM:
 * SubjectPublicKeyInfo (or PKCS#1) for public ones, PKCS#8 (encrypted or not) or PKCS#1 for private
 * ones; 2,048 to 8,192 bits. Knows nothing of archives. Loaded keys may be shared by threads. */
#pragma once

#include "base.h"
#include "err.h"

struct secret;
struct keys_public;
struct keys_private;

#define KEYS_FINGERPRINT_LEN 64 /* hex SHA-256 of the SubjectPublicKeyInfo DER */
#define KEYS_DATA_KEY_LEN    32
#define KEYS_WRAPPED_MAX     1024 /* 8,192 bits */
#define KEYS_DEFAULT_BITS    3072

/* -ENOKEY if the file is missing, -EINVAL if it is not an RSA public key of a permitted size. */
int keys_public_load(const char *path, struct keys_public **ret, struct err *e);
int keys_public_parse(
        const char *pem, size_t len, const char *what, struct keys_public **ret, struct err *e);
/* A key that was loaded before, when its fingerprint was written down: what has that fingerprint is
 * that key, and is not checked once more. -EINVAL where it has another one. */
int keys_public_known(const char *pem, size_t len, const char *fingerprint, const char *what,
        struct keys_public **ret, struct err *e);
/* PEM SubjectPublicKeyInfo; the caller frees it. NULL when out of memory. */
char *keys_public_pem(const struct keys_public *k);
void keys_public_free(struct keys_public *k);
DEFINE_CLEANUP(keys_public_free, struct keys_public *)
/* 64 lower-case hex digits; lives as long as the key. */
const char *keys_public_fingerprint(const struct keys_public *k);
unsigned keys_public_bits(const struct keys_public *k);

/* The recipients of an archive. */
struct keys_public_list {
        struct keys_public **v;
        size_t n;
};
/* As an archive's row has them: PEM texts one behind the other, and their fingerprints with blanks
 * between. -ENOKEY: there is none. -EINVAL: one is not the key of its fingerprint. */
int keys_public_list_parse(
        const char *pem, const char *fingerprints, struct keys_public_list *ret, struct err *e);
void keys_public_list_done(struct keys_public_list *l);

/* Wraps a data key for the holder of the private key. `out` has KEYS_WRAPPED_MAX bytes. */
int keys_wrap(const struct keys_public *k, const uint8_t data_key[KEYS_DATA_KEY_LEN], uint8_t *out,
        size_t *ret_len, struct err *e);

/* Asked when a private key is encrypted. `attempt` counts from 0. 0 and a secret that the caller
 * frees, or -ENOKEY (with words) to give up. */
typedef int (*keys_passphrase_fn)(
        void *ctx, const char *path, unsigned attempt, struct secret **ret, struct err *e);

/* -ENOKEY: missing, or encrypted and `ask` is NULL or gave up. -EACCES: wrong passphrase three
 * times (or once, where `ask` gives the same again). -EINVAL: not an RSA private key. */
int keys_private_load(const char *path, keys_passphrase_fn ask, void *ctx,
        struct keys_private **ret, struct err *e);
/* The same for keys of any size, 512 bits and more: the predecessor's archives were made with small
 * ones. Good for reading only; nothing is sealed for such a key. */
int keys_private_load_any(const char *path, keys_passphrase_fn ask, void *ctx,
        struct keys_private **ret, struct err *e);
void keys_private_free(struct keys_private *k);
DEFINE_CLEANUP(keys_private_free, struct keys_private *)
/* The fingerprint of the public half. */
const char *keys_private_fingerprint(const struct keys_private *k);
/* -EBADMSG if it was not wrapped for this key or was altered. */
int keys_unwrap(const struct keys_private *k, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[KEYS_DATA_KEY_LEN], struct err *e);

/* The predecessor's wrapping: RSAES-OAEP with SHA-1 and MGF1-SHA-1 of 16 bytes. Its length is that
 * of the modulus. -EBADMSG as above. */
#define KEYS_OLD_DATA_KEY    16
#define KEYS_OLD_WRAPPED_MAX 2048 /* 16,384 bits */
size_t keys_private_wrapped_len(const struct keys_private *k);
int keys_unwrap_old(const struct keys_private *k, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[KEYS_OLD_DATA_KEY], struct err *e);

/* Makes a key pair: the private one as PKCS#8 (encrypted with AES-256-CBC and scrypt, RFC 7914,
 * when `passphrase` is given), mode 0600, the public one 0644, both fsynced, the private one first.
 * Never overwrites: -EEXIST, and then nothing was written. Where the filesystem has O_TMPFILE a
 * file appears whole or not at all, whatever happens. Slow: seconds for large keys. */
int keys_generate(unsigned bits, const char *private_path, const char *public_path,
        const struct secret *passphrase, struct err *e);
