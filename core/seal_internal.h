/* seal_internal.h - what the writer and the reader of a sealed message share: header and frames.
 *
 * Part of the seal module; nobody else includes it (the tests do). The functions are pure: bytes
 * in, bytes out. Any thread, one cipher context a thread. Sources: AWS Encryption SDK message
 * format reference (message version 2) and its algorithm reference (suite 0x0478); RFC 5869 for
 * HKDF. */
#pragma once

#include "base.h"
#include "err.h"
#include "seal.h"

#include <openssl/types.h>

#define SEAL_VERSION     0x02
#define SEAL_SUITE       0x0478
#define SEAL_FRAMED      0x02
#define SEAL_KEY         32u
#define SEAL_COMMIT      32u
#define SEAL_TAG         16u
#define SEAL_IV          12u
#define SEAL_FINGERPRINT 64u
#define SEAL_PROVIDER    "autoglacier"

#define SEAL_FRAME_HEAD (4u + SEAL_IV)           /* number, IV */
#define SEAL_FINAL_HEAD (4u + 4u + SEAL_IV + 4u) /* FFFFFFFF, number, IV, length */
#define SEAL_FINAL_MARK 0xffffffffu
/* The most bytes that one frame takes: the final one with a full load. */
#define SEAL_FRAME_MAX (SEAL_FINAL_HEAD + SEAL_FRAME_PLAIN + SEAL_TAG)

/* One encrypted data key of ours, as it stands in the header. Points into the header's bytes. */
struct seal_edk {
        char fingerprint[SEAL_FINGERPRINT + 1];
        const uint8_t *wrapped;
        size_t len;
};

/* A parsed header. It owns `raw` and `context`. */
struct seal_header {
        uint8_t *raw; /* body and tag */
        size_t len;   /* of raw; the body is SEAL_TAG shorter */
        uint8_t message_id[SEAL_MESSAGE_ID];
        uint8_t commit[SEAL_COMMIT];
        char *context;      /* key \0 value \0 key \0 value \0 … */
        size_t context_len; /* of all that */
        struct seal_edk edks[SEAL_RECIPIENTS];
        size_t n_edks;
};

void seal_header_done(struct seal_header *h);

/* The keys of a message: HKDF-SHA512 of the data key with the message id as salt. `key` encrypts,
 * `commit` stands in the header. 0 or -ENOMEM. */
int seal_derive(const uint8_t data_key[SEAL_KEY], const uint8_t message_id[SEAL_MESSAGE_ID],
        uint8_t key[SEAL_KEY], uint8_t commit[SEAL_COMMIT]);

/* A cipher context with the key in it. The caller frees it with EVP_CIPHER_CTX_free. NULL when out
 * of memory. */
EVP_CIPHER_CTX *seal_cipher_new(const uint8_t key[SEAL_KEY], bool encrypt);

/* The tag over a header body: AES-GCM with IV 0, the body as AAD, no plaintext. */
int seal_header_sign(EVP_CIPHER_CTX *gcm, const void *body, size_t len, uint8_t tag[SEAL_TAG]);
/* -EBADMSG if the header's tag is not right. */
int seal_header_check(EVP_CIPHER_CTX *gcm, const struct seal_header *h, struct err *e);

/* Parses the beginning of a message; `len` may reach beyond the header. Authenticates nothing. `h`
 * needs no done() after an error. -EPROTO, -EPROTONOSUPPORT, -ENOMEM. */
int seal_header_parse(const void *data, size_t len, struct seal_header *ret, struct err *e);
/* Reads the header's bytes and parses them. */
int seal_header_read(const struct seal_source *source, struct seal_header *ret, struct err *e);

/* Encrypts `n` bytes as frame `number` (from 1) into `wire`, which has SEAL_FRAME_MAX bytes. A
 * frame that is not final has exactly SEAL_FRAME_PLAIN bytes. 0 or -EIO. */
int seal_frame_write(EVP_CIPHER_CTX *gcm, const uint8_t message_id[SEAL_MESSAGE_ID],
        uint32_t number, bool final, const void *plain, size_t n, uint8_t *wire, size_t *ret_len);

/* Decrypts in place the frame that fills `wire`; its plaintext then starts behind the frame's head
 * and is wire_len - head - SEAL_TAG long. -EPROTO, -EBADMSG; the bytes are then useless. */
int seal_frame_read(EVP_CIPHER_CTX *gcm, const uint8_t message_id[SEAL_MESSAGE_ID], uint32_t number,
        bool final, uint8_t *wire, size_t wire_len, struct err *e);
