#include "options.h"

void options_usage(FILE *f)
{
        (void)fputs("usage: autoglacierfs [--config FILE] [-f] [MOUNTPOINT] [-o OPTIONS]\n"
                    "       autoglacierfs SOURCE MOUNTPOINT -o OPTIONS   (as mount(8) calls it)\n"
                    "\n"
                    "Mounts the staging folder. Normally run by: autoglacier mount [MOUNTPOINT]\n"
                    "\n"
                    "  -f               stay in the foreground, messages to the terminal\n"
                    "  --config FILE    another configuration\n"
                    "  -o config=FILE   the same\n"
                    "  -o allow_other   let other users in (root always does; others need "
                    "user_allow_other\n"
                    "                   in /etc/fuse.conf)\n"
                    "  --help, --version\n",
                f);
}

/* What mount(8) and fstab pass along: about the mount, not about us. */
static const char *const generic[] = {"rw", "ro", "auto", "noauto", "user", "nouser", "users",
        "owner", "_netdev", "nofail", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "atime",
        "noatime", "relatime", "norelatime", "diratime", "nodiratime", "strictatime", "sync",
        "async", "dirsync", "defaults", "default_permissions", "nonempty"};

static bool is_generic(const char *o)
{
        for (size_t i = 0; i < ARRAY_SIZE(generic); i++)
                if (streq(o, generic[i]))
                        return true;
        return startswith(o, "x-") || startswith(o, "comment=") || startswith(o, "fsname=") ||
               startswith(o, "subtype=") || startswith(o, "uid=") || startswith(o, "gid=");
}

static int replace(char **slot, const char *value, struct err *e)
{
        free(*slot);
        return (*slot = strdup(value)) ? 0 : err_oom(e);
}

static int parse_o(struct options *o, const char *list, struct err *e)
{
        _cleanup_free_ char *copy = strdup(list);
        char *save = NULL;
        if (!copy)
                return err_oom(e);
        for (char *s = strtok_r(copy, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
                const char *v = startswith(s, "config=");
                int q = v ? replace(&o->config_file, v, e) : 0;
                if (q < 0)
                        return q;
                if (v || is_generic(s))
                        continue;
                if (!streq(s, "allow_other"))
                        return err_set(e, -EINVAL, "unknown mount option %s", s);
                o->allow_other = true;
        }
        return 0;
}

struct words {
        const char *v[2];
        size_t n;
};

static int parse_flag(struct options *o, int argc, char **argv, int *i, struct err *e)
{
        const char *a = argv[*i];
        const char *v = startswith(a, "--config=");
        if (v)
                return replace(&o->config_file, v, e);
        if (streq(a, "-f") || streq(a, "-d")) {
                o->foreground = true;
                return 0;
        }
        if (streq(a, "--help") || streq(a, "-h")) {
                o->help = true;
                return 0;
        }
        if (streq(a, "--version") || streq(a, "-V")) {
                o->version = true;
                return 0;
        }
        bool with_value = streq(a, "--config") || streq(a, "-o");
        if (with_value && *i + 1 < argc) {
                const char *next = argv[++*i];
                return streq(a, "-o") ? parse_o(o, next, e) : replace(&o->config_file, next, e);
        }
        if (with_value)
                return err_set(e, -EINVAL, "%s needs a value", a);
        if (startswith(a, "-o"))
                return parse_o(o, a + 2, e);
        return err_set(e, -EINVAL, "unknown option %s", a);
}

static bool is_config_file(const char *word)
{
        return endswith(word, ".json") && access(word, R_OK) == 0;
}

static int take_words(struct options *o, const struct words *w, struct err *e)
{
        if (w->n == 2 && is_config_file(w->v[0]) && !o->config_file) {
                int q = replace(&o->config_file, w->v[0], e);
                if (q < 0)
                        return q;
        }
        return w->n > 0 ? replace(&o->mountpoint, w->v[w->n - 1], e) : 0;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *e)
{
        struct options o = {0};
        struct words w = {0};
        int q = 0;
        for (int i = 1; q == 0 && i < argc; i++) {
                if (argv[i][0] == '-' && argv[i][1])
                        q = parse_flag(&o, argc, argv, &i, e);
                else if (w.n == 2)
                        q = err_set(e, -EINVAL, "too many arguments: %s", argv[i]);
                else
                        w.v[w.n++] = argv[i];
        }
        if (q == 0)
                q = take_words(&o, &w, e);
        if (q < 0) {
                options_done(&o);
                return q;
        }
        *ret = o;
        return 0;
}

void options_done(struct options *o)
{
        free(o->mountpoint);
        free(o->config_file);
}
