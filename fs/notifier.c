#include "notifier.h"

#include "inode.h"
#include "io.h"
#include "thread.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH      512
#define MAX_QUEUED 64
#define MANY       1000 /* names */
#define MAX_GONE   500

struct names {
        char *v[MAX_QUEUED];
        size_t n;
};

struct notifier {
        struct mount *m;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        bool stop, all, relieve;
        bool forgetting; /* of all: asked for or begun, and not done */
        struct names forget, touch, appeared;
        _Atomic(const char *) making; /* what the toucher makes just now, or NULL */
        struct inode_name *gone;      /* what the last freeze took away, for the toucher */
        size_t n_gone;
        atomic_int toucher_id; /* as the kernel names it in requests */
        atomic_bool asked;     /* a request of the toucher has come */
        unsigned probes;       /* how often the toucher has tried whether one does */
        pthread_t forgetter, toucher;
        bool started;
};

int notifier_new(struct mount *m, struct notifier **ret, struct err *e)
{
        struct notifier *n = calloc(1, sizeof *n);
        if (!n)
                return err_oom(e);
        n->m = m;
        atomic_init(&n->toucher_id, -1); /* nobody: 0 is who lives in another pid namespace */
        pthread_mutex_init(&n->lock, NULL);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&n->wake, &attr);
        pthread_condattr_destroy(&attr);
        *ret = n;
        return 0;
}

/* A full queue loses a refresh of a window, or leaves a name to its time-out: nothing else. */
static void queue(struct notifier *n, struct names *q, const char *name)
{
        pthread_mutex_lock(&n->lock);
        bool known = false;
        for (size_t i = 0; i < q->n && !known; i++)
                known = streq(q->v[i], name);
        if (!known && q->n < MAX_QUEUED && (q->v[q->n] = strdup(name)) != NULL)
                q->n++;
        pthread_cond_broadcast(&n->wake);
        pthread_mutex_unlock(&n->lock);
}

static char *next(struct names *q)
{
        if (q->n == 0)
                return NULL;
        char *s = q->v[0];
        memmove(q->v, q->v + 1, --q->n * sizeof q->v[0]);
        return s;
}

void notifier_forget_all(struct notifier *n)
{
        pthread_mutex_lock(&n->lock);
        n->all = n->forgetting = true;
        pthread_cond_broadcast(&n->wake);
        pthread_mutex_unlock(&n->lock);
}

void notifier_forget_name(struct notifier *n, const char *name)
{
        queue(n, &n->forget, name);
}

void notifier_relieve(struct notifier *n)
{
        pthread_mutex_lock(&n->lock);
        n->relieve = true;
        pthread_cond_broadcast(&n->wake);
        pthread_mutex_unlock(&n->lock);
}

void notifier_touch(struct notifier *n, const char *path)
{
        queue(n, &n->touch, path);
}

void notifier_appeared(struct notifier *n, const char *name)
{
        queue(n, &n->appeared, name);
}

static void inval(struct notifier *n, fuse_ino_t parent, const char *name)
{
        (void)fuse_lowlevel_notify_inval_entry(
                n->m->session, parent, name, strlen(name)); /* unknown: as good */
}

/* Another one may have been asked for meanwhile. */
static void forgotten(struct notifier *n)
{
        pthread_mutex_lock(&n->lock);
        n->forgetting = n->all;
        pthread_cond_broadcast(&n->wake);
        pthread_mutex_unlock(&n->lock);
}

void notifier_settle(struct notifier *n)
{
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail */
        until.tv_sec++;
        pthread_mutex_lock(&n->lock);
        int q = 0;
        while (n->forgetting && q == 0)
                q = pthread_cond_timedwait(&n->wake, &n->lock, &until);
        pthread_mutex_unlock(&n->lock);
}

static void free_names(struct inode_name *v, size_t count)
{
        for (size_t i = 0; i < count; i++)
                free(v[i].name);
        free(v);
}

/* Takes the names. Of two freezes in a row the windows hear of the last. */
static void tell_gone(struct notifier *n, struct inode_name *v, size_t count)
{
        pthread_mutex_lock(&n->lock);
        struct inode_name *old = n->gone;
        size_t n_old = n->n_gone;
        n->gone = v;
        n->n_gone = count;
        pthread_cond_broadcast(&n->wake);
        pthread_mutex_unlock(&n->lock);
        free_names(old, n_old);
}

static void forget_all(struct notifier *n)
{
        struct inode_name *v = NULL;
        size_t count = inode_below(n->m->inodes, FUSE_ROOT_ID, &v);
        /* A folder takes the kernel some time for each entry that it knows below it. */
        if (inode_table_known(n->m->inodes) > MANY)
                forgotten(n);
        for (size_t i = 0; i < count; i++)
                inval(n, FUSE_ROOT_ID, v[i].name);
        (void)fuse_lowlevel_notify_inval_inode(
                n->m->session, FUSE_ROOT_ID, 0, 0); /* its times and links */
        tell_gone(n, v, count);
}

static void relieve(struct notifier *n)
{
        struct inode_name v[BATCH];
        size_t count = inode_oldest(n->m->inodes, v, BATCH);
        for (size_t i = 0; i < count; i++) {
                inval(n, v[i].parent, v[i].name);
                free(v[i].name);
        }
}

static void *forgetter(void *arg)
{
        struct notifier *n = arg;
        pthread_mutex_lock(&n->lock);
        while (!n->stop) {
                bool all = n->all, some = n->relieve;
                char *name = next(&n->forget);
                n->all = n->relieve = false;
                if (!all && !some && !name) {
                        pthread_cond_wait(&n->wake, &n->lock);
                        continue;
                }
                pthread_mutex_unlock(&n->lock);
                if (all) {
                        forget_all(n);
                        forgotten(n);
                }
                if (some)
                        relieve(n);
                if (name)
                        inval(n, FUSE_ROOT_ID, name);
                free(name);
                pthread_mutex_lock(&n->lock);
        }
        pthread_mutex_unlock(&n->lock);
        return NULL;
}

/* The top of the own mount, or negative: what is removed there must come to this program, and as a
 * request of this thread. Elsewhere, where a lazy unmount has left something else in its place,
 * say, it would be a removal indeed. */
static int open_own(struct notifier *n)
{
        char probe[64];
        struct stat st;
        (void)snprintf(
                probe, sizeof probe, ".autoglacier-%d-%u", (int)gettid(), n->probes++); /* fits */
        int fd = open(n->m->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
        atomic_store(&n->asked, false);
        if (fd >= 0)
                (void)fstatat(fd, probe, &st, AT_SYMLINK_NOFOLLOW); /* that it comes here counts */
        if (!atomic_load(&n->asked))
                base_closep(&fd);
        return fd;
}

/* Windows hear that a name is gone only from somebody who removes it: see root.c. */
static void remove_gone(int own, const struct inode_name *v, size_t count)
{
        for (size_t i = 0; i < MIN(count, MAX_GONE); i++)
                (void)unlinkat(own, v[i].name, 0); /* only for open windows */
}

static void make_appeared(struct notifier *n, int own, const char *name)
{
        _cleanup_free_ char *path = io_join("archives", name);
        if (!path)
                return;
        atomic_store(&n->making, name);
        /* Only for open windows. Somebody who looks at the folder meanwhile brings back the mode
         * that others see: it is refused then, and tried again. */
        for (int tries = 0; mkdirat(own, path, 0555) < 0 && errno == EACCES && tries < 50; tries++)
                (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        atomic_store(&n->making, NULL);
}

bool notifier_makes(struct notifier *n, fuse_req_t req, const char *name)
{
        const char *making = notifier_asks(n, req) ? atomic_load(&n->making) : NULL;
        return making && (!name || streq(making, name));
}

bool notifier_asks(struct notifier *n, fuse_req_t req)
{
        if (fuse_req_ctx(req)->pid != atomic_load(&n->toucher_id))
                return false;
        atomic_store(&n->asked, true);
        return true;
}

/* This thread waits for its own process. If that is killed meanwhile, the kernel ends the wait when
 * the last descriptor of /dev/fuse is closed, and a thread that waits closes nothing: so it must
 * not hold one. With a table of its own it holds none at all. */
static void let_go_of_descriptors(void)
{
        if (unshare(CLONE_FILES) == 0)
                (void)close_range(3, ~0u, 0); /* if it cannot, it holds them until the end */
}

static void *toucher(void *arg)
{
        struct notifier *n = arg;
        let_go_of_descriptors();
        atomic_store(&n->toucher_id, gettid());
        pthread_mutex_lock(&n->lock);
        while (!n->stop) {
                char *path = next(&n->touch), *name = next(&n->appeared);
                struct inode_name *gone = n->gone;
                size_t count = n->n_gone;
                n->gone = NULL;
                n->n_gone = 0;
                if (!path && !name && !gone) {
                        pthread_cond_wait(&n->wake, &n->lock);
                        continue;
                }
                pthread_mutex_unlock(&n->lock);
                _cleanup_close_ int own = open_own(n);
                if (own >= 0)
                        remove_gone(own, gone, count);
                free_names(gone, count);
                if (own >= 0 && name)
                        make_appeared(n, own, name);
                free(name);
                if (own >= 0 && path) /* only for open windows */
                        (void)utimensat(own, path, NULL, AT_SYMLINK_NOFOLLOW);
                free(path);
                pthread_mutex_lock(&n->lock);
        }
        pthread_mutex_unlock(&n->lock);
        return NULL;
}

int notifier_start(struct notifier *n, struct err *e)
{
        int q = thread_start(&n->forgetter, forgetter, n);
        if (q == 0 && (q = thread_start(&n->toucher, toucher, n)) < 0) {
                pthread_mutex_lock(&n->lock);
                n->stop = true;
                pthread_cond_broadcast(&n->wake);
                pthread_mutex_unlock(&n->lock);
                pthread_join(n->forgetter, NULL);
        }
        n->started = q == 0;
        return q < 0 ? err_errno(e, q, "cannot start a thread") : 0;
}

void notifier_free(struct notifier *n)
{
        if (!n)
                return;
        pthread_mutex_lock(&n->lock);
        n->stop = true;
        pthread_cond_broadcast(&n->wake);
        pthread_mutex_unlock(&n->lock);
        if (n->started) {
                pthread_join(n->forgetter, NULL);
                pthread_join(n->toucher, NULL);
        }
        for (char *s; (s = next(&n->forget)) || (s = next(&n->touch)) || (s = next(&n->appeared));)
                free(s);
        free_names(n->gone, n->n_gone);
        pthread_cond_destroy(&n->wake);
        pthread_mutex_destroy(&n->lock);
        free(n);
}
