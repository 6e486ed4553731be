#include "job.h"

#include "buf.h"
#include "clock.h"
#include "config.h"
#include "glob.h"
#include "io.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <time.h>

#define JOB_FILE_MAX     (64u * MiB)
#define DESCRIPTION_MAX  1024u
#define HOOK_LIMIT       (600 * CLOCK_NSEC)
#define HOOK_LIMIT_MAX_S (7 * 24 * 3600)

/* ---- reading ---- */

struct reading {
        struct job *job;
        struct buf text;
        char *folder; /* in which the file lies */
        struct err *e;
};

static int wrong(struct reading *r, const char *key, const char *what)
{
        return err_set(r->e, -EINVAL, "%s:%d: %s: %s", r->job->file,
                config_line_of(buf_str(&r->text), r->text.len, key, 1), key, what);
}

static void free_list(char **v)
{
        for (size_t i = 0; v && v[i]; i++)
                free(v[i]);
        free(v);
}

/* A list of texts, as they stand or as paths. */
static int read_list(struct reading *r, const char *key, const json_t *v, bool paths, char ***slot)
{
        size_t n = json_is_array(v) ? json_array_size(v) : 1;
        if (!json_is_array(v) && !json_is_string(v))
                return wrong(r, key, "must be a list of texts in quotes");
        char **list = calloc(n + 1, sizeof *list);
        if (!list)
                return err_oom(r->e);
        for (size_t i = 0; i < n; i++) {
                const char *s = json_string_value(json_is_array(v) ? json_array_get(v, i) : v);
                if (s && *s)
                        list[i] = paths ? config_expand(s, r->folder) : strdup(s);
                if (!list[i]) {
                        free_list(list);
                        return s && *s ? err_oom(r->e)
                                       : wrong(r, key, "an entry is not a text in quotes");
                }
        }
        free_list(*slot);
        *slot = list;
        return 0;
}

static int read_config(
        struct reading *r _unused_, const char *key _unused_, const json_t *v _unused_)
{
        return 0; /* config_load_over() reads it */
}

static int read_files(struct reading *r, const char *key, const json_t *v)
{
        return read_list(r, key, v, true, &r->job->files);
}

static int read_globs(struct reading *r, const char *key, const json_t *v)
{
        return read_list(r, key, v, true, &r->job->globs);
}

static int read_description(struct reading *r, const char *key, const json_t *v)
{
        const char *s = json_string_value(v);
        if (!s || !*s)
                return wrong(r, key, "must be a text in quotes");
        if (strlen(s) > DESCRIPTION_MAX)
                return wrong(r, key, "must have at most 1,024 bytes");
        r->job->description = strdup(s);
        return r->job->description ? 0 : err_oom(r->e);
}

/* A program is a path, never a name that is looked for. */
static int read_hook(struct reading *r, const char *key, const json_t *v)
{
        if (json_is_null(v))
                return 0;
        int q = read_list(r, key, v, false, &r->job->hook);
        if (q < 0)
                return q;
        if (!r->job->hook[0])
                return wrong(r, key, "must name a program");
        char *path = config_expand(r->job->hook[0], r->folder);
        if (!path)
                return err_oom(r->e);
        free(r->job->hook[0]);
        r->job->hook[0] = path;
        return 0;
}

static int read_limit(struct reading *r, const char *key, const json_t *v)
{
        int64_t s = json_is_integer(v) ? json_integer_value(v) : 0;
        if (json_is_string(v) && clock_parse_duration(json_string_value(v), &s) < 0)
                s = 0;
        if (s < 1 || s > HOOK_LIMIT_MAX_S)
                return wrong(r, key,
                        "must be a number of seconds, or a text like \"10m\"; a week at "
                        "most");
        r->job->hook_limit_ns = s * CLOCK_NSEC;
        return 0;
}

static int read_bool(struct reading *r, const char *key, const json_t *v, bool *slot)
{
        if (!json_is_boolean(v))
                return wrong(r, key, "must be true or false");
        *slot = json_is_true(v);
        return 0;
}

static int read_changed_only(struct reading *r, const char *key, const json_t *v)
{
        return read_bool(r, key, v, &r->job->changed_only);
}

static int read_checksum(struct reading *r, const char *key, const json_t *v)
{
        return read_bool(r, key, v, &r->job->checksum);
}

static const struct key {
        const char *name;
        int (*read)(struct reading *r, const char *key, const json_t *v);
} keys[] = {
        {"CONFIG", read_config},
        {"files", read_files},
        {"list_of_globs", read_globs},
        {"description", read_description},
        {"gather_hook", read_hook},
        {"gather_hook_limit", read_limit},
        {"changed_only", read_changed_only},
        {"checksum", read_checksum},
};

static const struct key *find_key(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (streq(keys[i].name, name))
                        return &keys[i];
        return NULL;
}

static int read_keys(struct reading *r, json_t *o)
{
        const char *key;
        json_t *value;
        json_object_foreach(o, key, value)
        {
                const struct key *k = find_key(key);
                int q = k ? k->read(r, key, value)
                          : wrong(r, key,
                                    "a job has no such key; it has CONFIG, files, list_of_globs, "
                                    "description, gather_hook, gather_hook_limit, changed_only and "
                                    "checksum");
                if (q < 0)
                        return q;
        }
        return 0;
}

static int check_whole(struct reading *r)
{
        struct job *j = r->job;
        if (!j->files[0] && !j->globs[0] && !j->hook)
                return err_set(r->e, -EINVAL,
                        "%s: the job names nothing to archive: it needs files, list_of_globs or a "
                        "gather_hook",
                        j->file);
        if (j->checksum && !j->changed_only)
                return wrong(r, "checksum", "says how changed_only looks, which is not there");
        return 0;
}

static int read_text(struct reading *r, const char *config_file)
{
        const char *text = buf_str(&r->text);
        json_auto_t *o = NULL;
        int q = config_json(text, r->text.len, r->job->file, &o, r->e);
        if (q < 0)
                return q;
        if (!json_is_object(o))
                return err_set(
                        r->e, -EINVAL, "%s:1: a job must be one dictionary: { ... }", r->job->file);
        q = read_keys(r, o);
        if (q == 0)
                q = check_whole(r);
        if (q < 0)
                return q;
        const struct config_overlay over = {text, r->text.len, r->job->file, "CONFIG", true};
        return config_load_over(config_file, &over, &r->job->config, r->e);
}

/* ---- finding ---- */

static char *absolute(const char *path)
{
        _cleanup_free_ char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);
        return *path == '/' ? strdup(path) : cwd ? io_join(cwd, path) : NULL;
}

static int find_file(const char *what, const char *config_file, char **ret, struct err *e)
{
        if (strchr(what, '/') || endswith(what, ".json")) {
                *ret = absolute(what);
                return *ret ? 0 : err_errno(e, -errno, "cannot tell where %s is", what);
        }
        _cleanup_(config_freep) struct config *c = NULL;
        int q = config_load(config_file, &c, e);
        if (q < 0)
                return q;
        if (asprintf(ret, "%s/%s.json", c->jobs, what) < 0)
                return err_oom(e);
        if (access(*ret, F_OK) == 0)
                return 0;
        q = err_errno(e, -errno, "there is no job %s: %s", what, *ret);
        free(*ret);
        *ret = NULL;
        return q;
}

static int name_it(struct job *j, struct err *e)
{
        const char *slash = strrchr(j->file, '/');
        const char *base = slash ? slash + 1 : j->file;
        size_t n = strlen(base);
        j->name = strndup(base, endswith(base, ".json") && n > 5 ? n - 5 : n);
        return j->name ? 0 : err_oom(e);
}

int job_load(const char *what, const char *config_file, struct job **ret, struct err *e)
{
        _cleanup_(job_freep) struct job *j = calloc(1, sizeof *j);
        if (!j || !(j->files = calloc(1, sizeof(char *))) ||
                !(j->globs = calloc(1, sizeof(char *))))
                return err_oom(e);
        j->hook_limit_ns = HOOK_LIMIT;
        int q = find_file(what, config_file, &j->file, e);
        if (q < 0 || (q = name_it(j, e)) < 0)
                return q;
        struct reading r = {.job = j, .e = e};
        _cleanup_free_ char *copy = strdup(j->file);
        if (!copy)
                return err_oom(e);
        r.folder = dirname(copy);
        q = io_read_file(AT_FDCWD, j->file, JOB_FILE_MAX, &r.text, e);
        if (q == 0)
                q = read_text(&r, config_file);
        buf_done(&r.text);
        if (q == 0)
                *ret = steal(j);
        return q;
}

int job_load_again(const char *spec, const char *config_file, struct job **ret, struct err *e)
{
        json_auto_t *o = json_loads(spec, 0, NULL);
        const char *file = json_string_value(json_object_get(o, "job"));
        *ret = NULL;
        if (!file)
                return 0;
        return job_load(file, access(config_file, F_OK) == 0 ? config_file : NULL, ret, e);
}

char *job_spec(const struct job *j)
{
        json_auto_t *o = json_pack("{s:b, s:s}", "list", 1, "job", j->file);
        if (o && j->changed_only)
                json_object_set_new(o, "changed", json_string(j->checksum ? "checksum" : "stat"));
        return o ? json_dumps(o, JSON_COMPACT) : NULL;
}

void job_free(struct job *j)
{
        if (!j)
                return;
        free(j->name);
        free(j->file);
        free(j->description);
        free_list(j->files);
        free_list(j->globs);
        free_list(j->hook);
        config_free(j->config);
        free(j);
}

/* ---- all jobs ---- */

static int is_job(const struct dirent *d)
{
        size_t n = strlen(d->d_name);
        return d->d_name[0] != '.' && endswith(d->d_name, ".json") && n > 5;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name);
}

int job_each(const struct config *config, int (*each)(void *ctx, const char *name, struct err *e),
        void *ctx, struct err *e)
{
        struct dirent **list = NULL;
        int n = scandir(config->jobs, &list, is_job, by_name);
        if (n < 0)
                return errno == ENOENT
                               ? 0
                               : err_errno(e, -errno, "cannot list the jobs in %s", config->jobs);
        int q = 0;
        for (int i = 0; i < n; i++) {
                list[i]->d_name[strlen(list[i]->d_name) - 5] = 0;
                if (q == 0)
                        q = each(ctx, list[i]->d_name, e);
                free(list[i]);
        }
        free(list);
        return q;
}

/* ---- the description ---- */

int job_description(const struct job *j, int64_t now, struct buf *ret, struct err *e)
{
        if (!j->description) {
                buf_adds(ret, j->name);
                return buf_oom(ret) ? err_oom(e) : 0;
        }
        char text[4 * DESCRIPTION_MAX];
        time_t t = (time_t)(now / CLOCK_NSEC);
        struct tm tm;
        size_t n = localtime_r(&t, &tm) ? strftime(text, sizeof text, j->description, &tm) : 0;
        if (n == 0 || n > DESCRIPTION_MAX)
                return err_set(e, -EINVAL,
                        "%s: the description is empty or longer than 1,024 bytes with its dates "
                        "filled in",
                        j->file);
        buf_add(ret, text, n);
        return buf_oom(ret) ? err_oom(e) : 0;
}
