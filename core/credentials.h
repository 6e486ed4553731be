/* credentials.h - whose requests these are: keys from the first source that has them.
 *
 * Floor 3. In this order: the configuration; AWS_ACCESS_KEY_ID and its like; the profile in
 * ~/.aws/credentials and ~/.aws/config (AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE, AWS_PROFILE);
 * that profile's credential_process; a container's service; the machine's (IMDSv2). Keys that
 * expire are fetched again before they do. Not here: roles that must be assumed and single sign-on
 * (`aws configure export-credentials` as credential_process does both). Any thread. */
#pragma once

#include "base.h"
#include "err.h"

struct credentials;
struct http;
struct secret;

struct credentials_keys {
        char access_key[160];
        struct secret *secret_key;
        struct secret *session_token; /* NULL: none */
        int64_t expires;              /* ns; 0: never */
        char source[160];             /* where they came from, for messages */
        unsigned refs;                /* private */
};

struct credentials_params {
        const char *access_key,
                *secret_key; /* of the configuration; NULL: not there. Borrowed as */
        const char *profile; /* long as the credentials live */
        struct http *http;
};

/* Asks no source yet. 0 or -ENOMEM. */
int credentials_new(const struct credentials_params *p, struct credentials **ret, struct err *e);
void credentials_free(struct credentials *c);
DEFINE_CLEANUP(credentials_free, struct credentials *)

/* Keys that are good now; give them back with credentials_put(). -ENOKEY with what to do if no
 * source has any; -EAGAIN if one cannot be asked now, or had some before. */
int credentials_get(struct credentials *c, struct credentials_keys **ret, struct err *e);
void credentials_put(struct credentials *c, struct credentials_keys *k);
/* The service says that these have expired: the next get asks the source again. */
void credentials_expired(struct credentials *c, const struct credentials_keys *k);

/* The region of AWS_REGION, AWS_DEFAULT_REGION, or the profile. False if none says. */
bool credentials_region(const char *profile, char *out, size_t size);
