#include "credentials_internal.h"

int credentials_from_config(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e)
{
        if (!p->access_key && !p->secret_key)
                return -ENOENT;
        if (!p->access_key || !p->secret_key)
                return err_set(e, -EINVAL,
                        "the configuration has only one of AWS_ACCESS_KEY_ID and "
                        "AWS_SECRET_ACCESS_KEY");
        (void)snprintf(ret->source, sizeof ret->source, "the configuration"); /* fits */
        return credentials_set(ret, p->access_key, p->secret_key, NULL, e);
}
