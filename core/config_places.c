#include "config_internal.h"

#include "io.h"
#include "own_mount.h"

#include <pwd.h>
#include <sys/stat.h>

static const char *home_folder(void)
{
        const char *h = getenv("HOME");
        if (h && *h == '/')
                return h;
        static _Thread_local char text[4096]; /* where HOME is not set; several threads may ask */
        struct passwd pw, *found = NULL;
        return getpwuid_r(geteuid(), &pw, text, sizeof text, &found) == 0 && found ? pw.pw_dir
                                                                                   : "/";
}

char *config_expand(const char *s, const char *base)
{
        const char *rest;
        if ((rest = startswith(s, "~/")) || (rest = startswith(s, "$HOME/")) ||
                (rest = startswith(s, "${HOME}/")))
                return io_join(home_folder(), rest);
        if (streq(s, "~") || streq(s, "$HOME") || streq(s, "${HOME}"))
                return strdup(home_folder());
        return *s == '/' ? strdup(s) : io_join(base, s);
}

char *config_absolute(const char *path)
{
        if (*path == '/')
                return strdup(path);
        _cleanup_free_ char *cwd = getcwd(NULL, 0);
        return cwd ? io_join(cwd, path) : NULL;
}

static char *xdg(const char *variable, const char *fallback)
{
        const char *v = getenv(variable);
        _cleanup_free_ char *base = v && *v == '/' ? strdup(v) : io_join(home_folder(), fallback);
        return base ? io_join(base, "autoglacier") : NULL;
}

int config_set_places(struct config *c, struct err *e)
{
        const char *home = getenv("AUTOGLACIER_HOME");
        if (home && *home) {
                if (!(c->home = config_absolute(home)))
                        return err_errno(e, -errno, "cannot tell where %s is", home);
                c->data = io_join(c->home, "data");
                c->jobs = io_join(c->home, "jobs");
                return c->data && c->jobs ? 0 : err_oom(e);
        }
        _cleanup_free_ char *conf = xdg("XDG_CONFIG_HOME", ".config");
        c->data = xdg("XDG_DATA_HOME", ".local/share");
        c->jobs = conf ? io_join(conf, "jobs") : NULL;
        return c->data && c->jobs ? 0 : err_oom(e);
}

char *config_default_file(const struct config *c)
{
        if (c->home)
                return io_join(c->home, "CONFIG.json");
        _cleanup_free_ char *conf = xdg("XDG_CONFIG_HOME", ".config");
        return conf ? io_join(conf, "CONFIG.json") : NULL;
}

/* ---- defaults ---- */

static char *below_data(const struct config *c, const char *path)
{
        return io_join(c->data, path);
}

static int default_lists(struct config *c)
{
        if (!c->public_keys) {
                c->public_keys = calloc(2, sizeof(char *));
                if (!c->public_keys || !(c->public_keys[0] = below_data(c, "keys/public.pem")))
                        return -ENOMEM;
        }
        if (!c->private_keys) {
                c->private_keys = calloc(2, sizeof(char *));
                if (!c->private_keys || !(c->private_keys[0] = below_data(c, "keys/private.pem")))
                        return -ENOMEM;
        }
        if (!c->exclude && !(c->exclude = calloc(1, sizeof(char *))))
                return -ENOMEM;
        return 0;
}

static int default_vault(struct config *c)
{
        if (c->vault)
                return 0;
        int n;
        if (c->vault_name)
                n = asprintf(&c->vault, "glacier://%s", c->vault_name);
        else
                n = asprintf(&c->vault, "dir:%s/store", c->data);
        if (n < 0)
                c->vault = NULL;
        return n < 0 ? -ENOMEM : 0;
}

int config_fill_in(struct config *c, struct err *e)
{
        const char *tmp = getenv("TMPDIR");
        if (default_lists(c) < 0 || default_vault(c) < 0 ||
                (!c->tmp_dir && !(c->tmp_dir = strdup(tmp && *tmp == '/' ? tmp : "/tmp"))) ||
                (!c->storage_class && !(c->storage_class = strdup("DEEP_ARCHIVE"))) ||
                (!c->restore_tier && !(c->restore_tier = strdup("bulk"))) ||
                (!c->mountpoint && !(c->mountpoint = io_join(home_folder(), "glacier"))))
                return err_oom(e);
        return 0;
}

/* ---- places that would eat themselves ---- */

static bool inside_own_mount(const char *path)
{
        _cleanup_free_ char *probe = strdup(path);
        struct stat st;
        while (probe && stat(probe, &st) < 0) {
                char *slash = strrchr(probe, '/');
                if (!slash || slash == probe)
                        return false;
                *slash = 0;
        }
        return probe && own_mount_has_device(st.st_dev);
}

int config_check_places(const struct config *c, struct err *e)
{
        const char *dir = startswith(c->vault, "dir:");
        const char *places[] = {c->data, dir};
        for (size_t i = 0; i < ARRAY_SIZE(places); i++)
                if (places[i] && inside_own_mount(places[i]))
                        return err_set(e, -EINVAL,
                                "%s lies inside an autoglacier mount; it must be outside",
                                places[i]);
        return 0;
}
