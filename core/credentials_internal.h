/* credentials_internal.h - one function a source, shared by the credentials_*.c files and nobody
 * else. */
#pragma once

#include "credentials.h"

/* Each fills `ret` (zeroed before) or returns -ENOENT: not to be had here. */
typedef int (*credentials_source)(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e);

int credentials_from_config(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e);
int credentials_from_env(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e);
int credentials_from_profile(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e);
int credentials_from_process(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e);
int credentials_from_container(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e);
int credentials_from_machine(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e);

/* Sets the three; token NULL or "": none. */
int credentials_set(struct credentials_keys *k, const char *access, const char *secret,
        const char *token, struct err *e);
/* From the JSON that processes and metadata services answer with (AccessKeyId, SecretAccessKey,
 * Token or SessionToken, Expiration). Wipes nothing of `text`. */
int credentials_from_json(struct credentials_keys *k, const char *text, size_t len,
        const char *source, struct err *e);

/* The profile that counts: the configuration's, AWS_PROFILE, "default". */
const char *credentials_profile(const char *configured);
/* A setting of a profile in ~/.aws/credentials, then ~/.aws/config. */
bool credentials_setting(const char *profile, const char *key, char *out, size_t size);
