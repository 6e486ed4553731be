#include "credentials_internal.h"

int credentials_from_env(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e)
{
        const char *access = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
        if (p->profile || !access || !*access || !secret || !*secret)
                return -ENOENT; /* a profile that is named in the configuration is meant */
        (void)snprintf(ret->source, sizeof ret->source, "the environment"); /* fits */
        return credentials_set(ret, access, secret, getenv("AWS_SESSION_TOKEN"), e);
}
