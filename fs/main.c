#include "options.h"

#include "config.h"
#include "daemon.h"
#include "dispatch.h"
#include "engine.h"
#include "inode.h"
#include "io.h"
#include "mount.h"
#include "notifier.h"
#include "outside.h"
#include "place.h"
#include "root.h"
#include "secret.h"
#include "serve.h"
#include "virtual.h"

#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Set by signals; the session and the worker look at it. */
static atomic_bool stopping;
static struct fuse_session *volatile running;

static void on_signal(int sig _unused_)
{
        stopping = true;
        if (running)
                fuse_session_exit(running);
}

static void catch_signals(void)
{
        struct sigaction sa = {.sa_handler = on_signal};
        sigemptyset(&sa.sa_mask);
        static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
                (void)sigaction(signals[i], &sa, NULL); /* valid signals */
        (void)signal(SIGPIPE, SIG_IGN);
        (void)signal(SIGXFSZ, SIG_IGN); /* the write says it */
}

/* To what it may be at most: that is returned, or `otherwise` where it is not known. */
static rlim_t raise_limit(int what, rlim_t otherwise)
{
        struct rlimit r;
        if (getrlimit(what, &r) < 0)
                return otherwise;
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(what, &r); /* the old one does too */
        return getrlimit(what, &r) < 0 ? otherwise : r.rlim_cur;
}

static int session_mount(struct mount *m, bool allow_other, struct err *e)
{
        const char *others = m->root_daemon || allow_other ? ",allow_other" : "";
        _cleanup_free_ char *opts = NULL;
        if (asprintf(&opts, "-ofsname=autoglacier,subtype=autoglacier,default_permissions%s",
                    others) < 0) {
                opts = NULL;
                return err_oom(e);
        }
        struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
        if (fuse_opt_add_arg(&args, "autoglacierfs") < 0 || fuse_opt_add_arg(&args, opts) < 0)
                return err_oom(e);
        m->session = fuse_session_new(&args, &dispatch_ops, sizeof dispatch_ops, m);
        fuse_opt_free_args(&args);
        if (!m->session)
                return err_set(e, -EIO, "cannot make a FUSE session");
        if (access("/dev/fuse", F_OK) < 0)
                return err_set(e, -ENODEV,
                        "there is no /dev/fuse; load the kernel's module with: modprobe fuse");
        if (fuse_session_mount(m->session, m->mountpoint) < 0)
                return err_set(e, -EIO,
                        "cannot mount on %s; is fuse3 installed, and may this user use /dev/fuse?",
                        m->mountpoint);
        outside_init(m);
        return 0;
}

static int write_pid(const struct mount *m, struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        _cleanup_free_ char *path = io_join(engine_data(m->engine), "mount.pid");
        if (!path)
                return err_oom(e);
        buf_addf(&b, "{\"pid\": %ld, \"mountpoint\": ", (long)getpid());
        buf_add_json(&b, m->mountpoint, strlen(m->mountpoint));
        buf_adds(&b, "}\n");
        return io_write_file(AT_FDCWD, path, 0600, buf_str(&b), b.len, e);
}

static int open_all(struct mount *m, const struct config *config, const struct options *o,
        size_t fds, struct err *e)
{
        int q = engine_open(config, ENGINE_MOUNT, m->mountpoint, &m->engine, e);
        _cleanup_free_ char *said = NULL;
        if (q == 0)
                q = engine_prepare(m->engine, &said, e);
        if (q < 0)
                return q;
        if (said && *said)
                daemon_say(said);
        m->staging = engine_staging(m->engine);
        if (!(m->inodes = inode_table_new(fds)))
                return err_oom(e);
        if ((q = notifier_new(m, &m->notifier, e)) < 0 || (q = vtree_new(m, &m->vtree, e)) < 0)
                return q;
        root_init();
        if ((q = root_open(m, e)) < 0 || (q = session_mount(m, o->allow_other, e)) < 0)
                return q;
        engine_on_change(m->engine, virtual_changed, m);
        if ((q = notifier_start(m->notifier, e)) < 0 || (q = engine_start(m->engine, e)) < 0)
                return q;
        return write_pid(m, e);
}

static int loop(struct mount *m, struct err *e)
{
        running = m->session;
        int q = stopping ? 0 : serve_session(m->session, e);
        running = NULL;
        return q;
}

/* The mountpoint goes first; jobs go on after a plain unmount, and stop where they can be taken up
 * again after a signal. */
static void end(struct mount *m)
{
        if (m->engine) {
                engine_on_change(m->engine, NULL, NULL);
                engine_content_end(m->engine); /* requests that wait are answered first */
        }
        if (m->session) {
                fuse_session_unmount(m->session);
                notifier_free(m->notifier);
                m->notifier = NULL;
                fuse_session_destroy(m->session);
        }
        notifier_free(m->notifier);
        if (m->engine) {
                _cleanup_free_ char *pid = io_join(engine_data(m->engine), "mount.pid");
                if (pid)
                        (void)unlink(pid); /* a stale one is found out by its lock */
                engine_unmounted(m->engine);
                if (!stopping)
                        engine_drain(m->engine, &stopping);
                engine_close(m->engine);
        }
        handles_done(&m->handles);
        vtree_free(m->vtree);
        inode_table_free(m->inodes);
        if (m->root) {
                base_closep(&m->root->fd);
                free(m->root);
        }
}

static int serve(
        const struct config *config, const struct options *o, char *mountpoint, struct err *e)
{
        struct mount m = {.mountpoint = mountpoint, .root_daemon = geteuid() == 0};
        handles_init(&m.handles);
        /* Every staged entry that the kernel knows takes a descriptor. How large a file may grow is
         * for its writer's limit to say. */
        size_t fds = (size_t)raise_limit(RLIMIT_NOFILE, 1024);
        (void)raise_limit(RLIMIT_FSIZE, 0);
        umask(0); /* modes are the caller's business; core passes its own */
        catch_signals();
        int q = open_all(&m, config, o, fds, e);
        if (q == 0) {
                daemon_ready();
                q = loop(&m, e);
        }
        end(&m);
        return q;
}

static int run(const struct options *o, struct err *e)
{
        _cleanup_(config_freep) struct config *config = NULL;
        _cleanup_free_ char *mountpoint = NULL;
        int q = config_load(o->config_file, &config, e);
        if (q < 0)
                return q;
        if ((q = config_check_places(config, e)) < 0) /* before anything is made there */
                return q;
        const char *wanted = o->mountpoint ? o->mountpoint : config->mountpoint;
        if ((q = place_prepare(wanted, &mountpoint, e)) < 0)
                return q;
        if (!o->foreground && (q = daemon_start(config->data, e)) != 0)
                return q < 0 ? q : 0;
        q = serve(config, o, mountpoint, e);
        if (q < 0)
                daemon_failed(e);
        return q;
}

int main(int argc, char **argv)
{
        struct err e = {0};
        struct options o = {0};
        secret_no_core(); /* keys come into memory */
        int q = options_parse(argc, argv, &o, &e);
        if (q < 0) {
                (void)fprintf(stderr, "autoglacier: mount: %s\n", e.text);
                options_usage(stderr);
                return 2;
        }
        if (o.help || o.version) {
                if (o.help)
                        options_usage(stdout);
                else
                        (void)puts("autoglacierfs " VERSION);
                return 0;
        }
        q = run(&o, &e);
        if (q < 0)
                (void)fprintf(stderr, "autoglacier: mount: %s\n", e.text);
        options_done(&o);
        return q < 0;
}
