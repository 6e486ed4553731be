/* eax.h - AES-EAX, decryption only, as a stream: for the predecessor's archives.
 *
 * Floor 1. The mode of Bellare, Rogaway and Wagner, "The EAX Mode of Operation" (2004), with
 * AES-128, an empty header and a tag of 16 bytes, made of OpenSSL's CMAC and CTR. The tag is known
 * to be good only when all has been read: check first, decrypt after, or throw away what was
 * decrypted. Nothing is ever written in this mode. One thread an object. */
#pragma once

#include "base.h"

#define EAX_KEY 16
#define EAX_TAG 16

struct eax;

/* NULL when out of memory. */
struct eax *eax_new(const uint8_t key[EAX_KEY], const void *nonce, size_t nonce_len);
void eax_free(struct eax *x);
DEFINE_CLEANUP(eax_free, struct eax *)

/* Takes the next bytes of ciphertext; `out` (as many bytes, may be `in`) gets the plaintext, or is
 * NULL where only the tag is wanted. 0 or -ENOMEM. */
int eax_update(struct eax *x, const void *in, size_t len, void *out);
/* After the last bytes: 0, or -EBADMSG: it does not authenticate. Compares in constant time. */
int eax_finish(struct eax *x, const uint8_t tag[EAX_TAG]);
