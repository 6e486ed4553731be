#include "credentials_internal.h"

#include "buf.h"
#include "config.h"
#include "io.h"
#include "secret.h"

#include <ctype.h>
#include <fcntl.h>

#define FILE_MAX (1024u * 1024u)

/* The files of Amazon's tools: "[profile name]" (in credentials: "[name]"), "key = value", '#' and
 * ';' begin comments, indented lines belong to nested settings. */

const char *credentials_profile(const char *configured)
{
        const char *v = configured ? configured : getenv("AWS_PROFILE");
        return v && *v ? v : "default";
}

static char *file_path(const char *variable, const char *name)
{
        const char *v = getenv(variable);
        if (v && *v)
                return strdup(v);
        _cleanup_free_ char *folder = config_expand("~/.aws", "/");
        return folder ? io_join(folder, name) : NULL;
}

static char *trim(char *s)
{
        while (isspace((unsigned char)*s))
                s++;
        for (size_t n = strlen(s); n > 0 && isspace((unsigned char)s[n - 1]); n--)
                s[n - 1] = 0;
        return s;
}

static bool is_section(char *line, const char *profile)
{
        char *end = strchr(line, ']');
        if (!end)
                return false;
        *end = 0;
        char *name = trim(line + 1);
        const char *rest = startswith(name, "profile ");
        return streq(rest ? trim((char *)rest) : name, profile);
}

static bool find(char *text, const char *profile, const char *key, char *out, size_t size)
{
        bool inside = false;
        char *save = NULL;
        for (char *line = strtok_r(text, "\r\n", &save); line;
                line = strtok_r(NULL, "\r\n", &save)) {
                if (isspace((unsigned char)*line) || *line == '#' || *line == ';')
                        continue;
                if (*line == '[') {
                        inside = is_section(line, profile);
                        continue;
                }
                char *equals = strchr(line, '=');
                if (!inside || !equals)
                        continue;
                *equals = 0;
                if (strcasecmp(trim(line), key) == 0) {
                        (void)snprintf(out, size, "%s", trim(equals + 1)); /* cut where too long */
                        return true;
                }
        }
        return false;
}

static bool in_file(char *path, const char *profile, const char *key, char *out, size_t size)
{
        _cleanup_free_ char *mine = path;
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (!mine || io_read_file(AT_FDCWD, mine, FILE_MAX, &b, NULL) < 0 || b.len == 0)
                return false;
        bool found = find(b.data, profile, key, out, size);
        secret_wipe(b.data, b.len);
        return found;
}

bool credentials_setting(const char *profile, const char *key, char *out, size_t size)
{
        return in_file(file_path("AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile, key, out,
                       size) ||
               in_file(file_path("AWS_CONFIG_FILE", "config"), profile, key, out, size);
}

bool credentials_region(const char *profile, char *out, size_t size)
{
        static const char *const names[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                const char *v = getenv(names[i]);
                if (v && *v) {
                        (void)snprintf(out, size, "%s", v); /* cut where too long */
                        return true;
                }
        }
        return credentials_setting(credentials_profile(profile), "region", out, size);
}

static int unsupported(const char *profile, struct err *e)
{
        static const char *const keys[] = {"role_arn", "sso_session", "sso_start_url"};
        char value[256];
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (credentials_setting(profile, keys[i], value, sizeof value))
                        return err_set(e, -ENOKEY,
                                "the profile %s uses %s; give the profile in AWS_PROFILE a "
                                "credential_process = aws configure export-credentials --profile "
                                "%s --format process",
                                profile, keys[i], profile);
        return -ENOENT;
}

int credentials_from_profile(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e)
{
        const char *profile = credentials_profile(p->profile);
        char access[160], secret[512], token[4096] = "", process[8];
        if (!credentials_setting(profile, "aws_access_key_id", access, sizeof access))
                return credentials_setting(profile, "credential_process", process, sizeof process)
                               ? -ENOENT
                               : unsupported(profile, e);
        if (!credentials_setting(profile, "aws_secret_access_key", secret, sizeof secret))
                return err_set(e, -EINVAL, "the profile %s has no aws_secret_access_key", profile);
        (void)credentials_setting(profile, "aws_session_token", token, sizeof token); /* or none */
        (void)snprintf(ret->source, sizeof ret->source, "the profile %s", profile); /* may be cut */
        int q = credentials_set(ret, access, secret, token, e);
        secret_wipe(secret, sizeof secret);
        secret_wipe(token, sizeof token);
        return q;
}
