#include "config.h"

#include "buf.h"
#include "config_internal.h"
#include "io.h"
#include "secret.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

/* ---- the keys ---- */

static const struct config_key keys[] = {
        {"COMPRESSION", KEY_COMPRESSION, offsetof(struct config, compression), 0},
        {"COMPRESSION_LEVEL", KEY_LEVEL, offsetof(struct config, compression_level), 0},
        {"COMPRESSION_WORKERS", KEY_UNSIGNED, offsetof(struct config, workers), 0},
        {"TMP_DIR", KEY_PATH, offsetof(struct config, tmp_dir), 0},
        {"JSON_DATABASE", KEY_PATH, offsetof(struct config, json_database), 0},
        {"PUBL_RSA_KEY_PATH", KEY_PATHS, offsetof(struct config, public_keys), 0},
        {"PRIV_RSA_KEY_PATH", KEY_PATHS, offsetof(struct config, private_keys), 0},
        {"RSA_PASSPHRASE", KEY_STRING, offsetof(struct config, passphrase), CONFIG_SECRET},
        {"PRIV_RSA_KEY_PASSPHRASE_FILE", KEY_PATH, offsetof(struct config, passphrase_file), 0},
        {"VAULT", KEY_VAULT, offsetof(struct config, vault), 0},
        {"VAULT_NAME", KEY_STRING, offsetof(struct config, vault_name), 0},
        {"REGION_NAME", KEY_STRING, offsetof(struct config, region_name), 0},
        {"AWS_ACCESS_KEY_ID", KEY_STRING, offsetof(struct config, aws_access_key_id),
                CONFIG_SECRET},
        {"AWS_SECRET_ACCESS_KEY", KEY_STRING, offsetof(struct config, aws_secret_access_key),
                CONFIG_SECRET},
        {"AWS_PROFILE", KEY_STRING, offsetof(struct config, aws_profile), 0},
        {"STORAGE_CLASS", KEY_STRING, offsetof(struct config, storage_class), 0},
        {"ENDPOINT_URL", KEY_STRING, offsetof(struct config, endpoint_url), 0},
        {"PATH_STYLE", KEY_BOOL, offsetof(struct config, path_style), 0},
        {"ALLOW_HTTP", KEY_BOOL, offsetof(struct config, allow_http), 0},
        {"EXCLUDE", KEY_STRINGS, offsetof(struct config, exclude), 0},
        {"VOLUME_SIZE", KEY_BYTES, offsetof(struct config, volume_size), CONFIG_POSITIVE},
        {"SPOOL_LIMIT", KEY_BYTES, offsetof(struct config, spool_limit), CONFIG_POSITIVE},
        {"UPLOAD_CONCURRENCY", KEY_UNSIGNED, offsetof(struct config, upload_concurrency),
                CONFIG_POSITIVE},
        {"UPLOAD_RATE_LIMIT", KEY_BYTES, offsetof(struct config, upload_rate_limit), 0},
        {"UPLOAD_WINDOW", KEY_WINDOW, offsetof(struct config, upload_window), 0},
        {"CACHE_LIMIT", KEY_BYTES, offsetof(struct config, cache_limit), 0},
        {"RESTORE_TIER", KEY_TIER, offsetof(struct config, restore_tier), 0},
        {"RESTORE_DAYS", KEY_UNSIGNED, offsetof(struct config, restore_days), CONFIG_POSITIVE},
        {"COST_LIMIT", KEY_REAL, offsetof(struct config, cost_limit), 0},
        {"MOUNTPOINT", KEY_PATH, offsetof(struct config, mountpoint), 0},
        {"PRIVATE_DESCRIPTIONS", KEY_BOOL, offsetof(struct config, private_descriptions), 0},
        {"NOTIFY_COMMAND", KEY_STRING, offsetof(struct config, notify_command), 0},
};

const struct config_key *config_keys(size_t *ret_n)
{
        *ret_n = ARRAY_SIZE(keys);
        return keys;
}

static const struct config_key *find_key(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (streq(keys[i].name, name))
                        return &keys[i];
        return NULL;
}

static char plain(char c)
{
        return c >= 'a' && c <= 'z' ? (char)(c - 32) : c == '-' || c == ' ' ? '_' : c;
}

#define NAME_MAX_LEN 64u

/* How many letters have to be put in, left out or changed. */
static size_t distance(const char *a, const char *b)
{
        size_t row[NAME_MAX_LEN + 1], n = strlen(b);
        if (n > NAME_MAX_LEN)
                return SIZE_MAX;
        for (size_t j = 0; j <= n; j++)
                row[j] = j;
        for (size_t i = 1; *a; i++, a++) {
                size_t corner = row[0];
                row[0] = i;
                for (size_t j = 1; j <= n; j++) {
                        size_t change = corner + (plain(*a) != b[j - 1]);
                        corner = row[j];
                        row[j] = MIN(change, 1 + MIN(row[j], row[j - 1]));
                }
        }
        return row[n];
}

static const char *suggestion(const char *name)
{
        const char *best = NULL;
        size_t least = SIZE_MAX;
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                size_t d = distance(name, keys[i].name);
                bool part = strlen(name) > 3 && strstr(keys[i].name, name);
                if (d < least && (part || d <= MAX((size_t)2, strlen(keys[i].name) / 3))) {
                        least = d;
                        best = keys[i].name;
                }
        }
        return best;
}

/* ---- reading ---- */

static struct config *new_config(void)
{
        struct config *c = calloc(1, sizeof *c);
        if (c) {
                c->compression = COMPRESS_LZMA;
                c->compression_level = -1;
                c->volume_size = 8 * GiB;
                c->spool_limit = 32 * GiB;
                c->cache_limit = 8 * GiB;
                c->upload_concurrency = 4;
                c->restore_days = 7;
                c->cost_limit = 5;
        }
        return c;
}

/* jansson keeps no lines of values: the key is looked for where it stands as a key. */
int config_line_of(const char *text, size_t len, const char *key, int at)
{
        int line = 1, depth = 0;
        size_t n = strlen(key);
        for (size_t i = 0; i < len; i++) {
                if (text[i] == '\n') {
                        line++;
                } else if (text[i] == '{' || text[i] == '[') {
                        depth++;
                } else if (text[i] == '}' || text[i] == ']') {
                        depth--;
                } else if (text[i] == '"') {
                        size_t start = ++i;
                        while (i < len && text[i] != '"')
                                i += text[i] == '\\' ? 2 : 1;
                        size_t end = i + 1;
                        while (end < len && (text[end] == ' ' || text[end] == '\t'))
                                end++;
                        if (depth == at && i <= len && i - start == n &&
                                memcmp(text + start, key, n) == 0 && end < len && text[end] == ':')
                                return line;
                }
        }
        return line;
}

struct source {
        const char *text, *name;
        size_t len;
        int depth; /* of the keys */
        bool is_file;
};

/* What one of them says may not go with what the other does, here or in the file below. */
static int check_level(
        const struct config *c, const json_t *o, const struct source *s, struct err *e)
{
        struct err why = {0};
        int q = compress_check_level(c->compression, c->compression_level, &why);
        if (q == 0)
                return 0;
        const char *key =
                json_object_get(o, "COMPRESSION_LEVEL") ? "COMPRESSION_LEVEL" : "COMPRESSION";
        return err_set(e, q, "%s:%d: %s", s->name, config_line_of(s->text, s->len, key, s->depth),
                why.text);
}

static int set_all(struct config *c, const json_t *o, const struct source *s, struct err *e)
{
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)o, key, value)
        {
                const struct config_key *k = find_key(key);
                int line = config_line_of(s->text, s->len, key, s->depth);
                if (!k) {
                        const char *like = suggestion(key);
                        return err_set(e, -EINVAL, "%s:%d: unknown key %s%s%s%s", s->name, line,
                                key, like ? "; did you mean " : "", like ? like : "",
                                like ? "?" : "");
                }
                struct err why = {0};
                int q = config_set(c, k, value, &why);
                if (q < 0)
                        return err_set(e, q, "%s:%d: %s: %s", s->name, line, key, why.text);
        }
        return check_level(c, o, s, e);
}

static const char *secret_in(const json_t *o)
{
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (keys[i].flags & CONFIG_SECRET &&
                        json_string_length(json_object_get(o, keys[i].name)) > 0)
                        return keys[i].name;
        return NULL;
}

static int check_secret(const json_t *o, const struct source *s, struct err *e)
{
        const char *key = secret_in(o);
        struct stat st;
        if (!key || !s->is_file)
                return 0;
        if (stat(s->name, &st) < 0)
                return err_errno(e, -errno, "cannot look at %s", s->name);
        if (st.st_mode & 077)
                return err_set(e, -EINVAL,
                        "%s:%d: %s is a secret, but others can read the file; make it yours alone "
                        "with: chmod 600 %s",
                        s->name, config_line_of(s->text, s->len, key, s->depth), key, s->name);
        return 0;
}

static int parse_text(struct config *c, const struct source *s, struct err *e)
{
        json_auto_t *o = NULL;
        int q = config_json(s->text, s->len, s->name, &o, e);
        if (q < 0)
                return q;
        if (!json_is_object(o))
                return err_set(e, -EINVAL,
                        "%s:1: the configuration must be one dictionary: { ... }", s->name);
        q = set_all(c, o, s, e);
        if (q == 0)
                q = check_secret(o, s, e);
        if (q == 0)
                q = config_note_sources(c, o, "file") < 0 ? err_oom(e) : 0;
        return q;
}

static int finish(struct config *c, struct err *e)
{
        int q = config_fill_in(c, e);
        if (q == 0 && !c->effective && config_note_sources(c, NULL, NULL) < 0)
                q = err_oom(e);
        return q;
}

int config_parse(const char *text, size_t len, const char *name, struct config **ret, struct err *e)
{
        _cleanup_(config_freep) struct config *c = new_config();
        if (!c)
                return err_oom(e);
        int q = config_set_places(c, e);
        if (q == 0 && !(c->file = config_absolute(name)))
                q = err_oom(e);
        if (q == 0)
                q = parse_text(c, &(struct source){text, name, len, 1, false}, e);
        if (q == 0)
                q = finish(c, e);
        if (q == 0)
                *ret = steal(c);
        return q;
}

static int read_config(struct config *c, bool must_exist, struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct err why = {0};
        int q = io_read_file(AT_FDCWD, c->file, 1 * MiB, &b, &why);
        struct stat st;
        if (q == -ENOENT && lstat(c->file, &st) == 0) /* where it leads may be an unmounted disk */
                return err_set(e, -EINVAL, "%s is a link that leads nowhere", c->file);
        if (q == -ENOENT && !must_exist)
                return 0;
        if (q < 0)
                return err_set(e, q, "%s", why.text);
        c->exists = true;
        return parse_text(c, &(struct source){buf_str(&b), c->file, b.len, 1, true}, e);
}

/* A vault named one way takes the place of one that was named the other way. */
static void forget_vault(struct config *c, const json_t *o)
{
        if (!json_object_get(o, "VAULT") && !json_object_get(o, "VAULT_NAME"))
                return;
        free(c->vault);
        free(c->vault_name);
        c->vault = c->vault_name = NULL;
}

/* Paths in the overlay begin where its file lies. */
static int lay_over(struct config *c, const struct config_overlay *o, struct err *e)
{
        json_auto_t *whole = json_loadb(o->text, o->len, JSON_REJECT_DUPLICATES, NULL);
        const json_t *own = json_object_get(whole, o->key);
        if (!own)
                return 0;
        if (!json_is_object(own))
                return err_set(e, -EINVAL, "%s:%d: %s must be a dictionary: { ... }", o->name,
                        config_line_of(o->text, o->len, o->key, 1), o->key);
        const struct source s = {o->text, o->name, o->len, 2, o->is_file};
        int q = check_secret(own, &s, e);
        if (q < 0)
                return q;
        forget_vault(c, own);
        char *file = c->file;
        if (!(c->file = strdup(o->name))) {
                c->file = file;
                return err_oom(e);
        }
        q = set_all(c, own, &s, e);
        free(c->file);
        c->file = file;
        return q < 0 ? q : config_note_sources(c, own, "job") < 0 ? err_oom(e) : 0;
}

int config_load_over(
        const char *path, const struct config_overlay *overlay, struct config **ret, struct err *e)
{
        _cleanup_(config_freep) struct config *c = new_config();
        if (!c)
                return err_oom(e);
        int q = config_set_places(c, e);
        if (q < 0)
                return q;
        c->file = path ? config_absolute(path) : config_default_file(c);
        if (!c->file)
                return path ? err_errno(e, -errno, "cannot tell where %s is", path) : err_oom(e);
        q = read_config(c, path != NULL, e);
        if (q == 0 && overlay)
                q = lay_over(c, overlay, e);
        if (q < 0 || (q = finish(c, e)) < 0)
                return q;
        *ret = steal(c);
        return 0;
}

int config_load(const char *path, struct config **ret, struct err *e)
{
        return config_load_over(path, NULL, ret, e);
}

static void free_list(char **v)
{
        for (size_t i = 0; v && v[i]; i++)
                free(v[i]);
        free(v);
}

void config_free(struct config *c)
{
        if (!c)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                void *slot = (char *)c + keys[i].offset;
                char *text = config_is_string(keys[i].type) ? *(char **)slot : NULL;
                if (text && keys[i].flags & CONFIG_SECRET)
                        secret_wipe(text, strlen(text));
                free(text);
                if (keys[i].type == KEY_PATHS || keys[i].type == KEY_STRINGS)
                        free_list(*(char ***)slot);
        }
        free(c->file);
        free(c->home);
        free(c->data);
        free(c->jobs);
        free(c->effective);
        free(c);
}
