#include "inode.h"

#include "clock.h"
#include "exclude.h"
#include "notifier.h"

#include <fcntl.h>
#include <time.h>

#define BUCKETS 16384u

struct inode_table {
        pthread_mutex_t lock;
        struct inode *buckets[BUCKETS];
        struct inode *oldest, *newest;
        atomic_size_t n;
        size_t crowded_at;
};

struct inode_table *inode_table_new(size_t max_fds)
{
        struct inode_table *t = calloc(1, sizeof *t);
        if (t) {
                pthread_mutex_init(&t->lock, NULL);
                t->crowded_at = max_fds / 2;
        }
        return t;
}

static void inode_free(struct inode *i)
{
        if (i->fd >= 0)
                (void)close(i->fd); /* O_PATH */
        free(i->name);
        free(i);
}

void inode_table_free(struct inode_table *t)
{
        if (!t)
                return;
        while (t->oldest) {
                struct inode *i = t->oldest;
                t->oldest = i->newer;
                inode_free(i);
        }
        pthread_mutex_destroy(&t->lock);
        free(t);
}

/* Odd numbers without a pattern (2^64 divided by the golden ratio; a prime of xxHash64): the upper
 * half of the products is spread well. */
static struct inode **bucket(struct inode_table *t, dev_t dev, ino_t ino)
{
        uint64_t h = (uint64_t)ino * 0x9e3779b97f4a7c15ull ^ (uint64_t)dev * 0xc2b2ae3d27d4eb4full;
        return &t->buckets[(h >> 32) % BUCKETS];
}

static struct inode *find(struct inode_table *t, dev_t dev, ino_t ino, bool view)
{
        struct inode *i = *bucket(t, dev, ino);
        while (i && !(i->ino == ino && i->dev == dev && i->view == view))
                i = i->next_hash;
        return i;
}

static void unchain(struct inode_table *t, struct inode *i)
{
        if (i->older)
                i->older->newer = i->newer;
        else
                t->oldest = i->newer;
        if (i->newer)
                i->newer->older = i->older;
        else
                t->newest = i->older;
        i->older = i->newer = NULL;
}

static void chain_newest(struct inode_table *t, struct inode *i)
{
        i->older = t->newest;
        i->newer = NULL;
        if (t->newest)
                t->newest->newer = i;
        else
                t->oldest = i;
        t->newest = i;
}

static void set_name(struct inode *i, fuse_ino_t parent, const char *name)
{
        i->parent = parent;
        if (i->name && name && streq(i->name, name))
                return;
        free(i->name);
        i->name = name ? strdup(name) : NULL; /* without one it is only not forgotten early */
}

static struct inode *add(struct mount *m, const struct inode_found *f)
{
        struct inode_table *t = m->inodes;
        struct inode *i = calloc(1, sizeof *i);
        if (!i)
                return NULL;
        i->node.ops = f->ops;
        i->fd = f->fd;
        i->dev = f->st->st_dev;
        i->ino = f->st->st_ino;
        i->type = f->st->st_mode & S_IFMT;
        i->view = f->view;
        atomic_init(&i->generation, f->generation);
        struct inode **b = bucket(t, i->dev, i->ino);
        i->next_hash = *b;
        *b = i;
        chain_newest(t, i);
        atomic_fetch_add(&t->n, 1);
        return i;
}

/* ---- descriptors ----
 *
 * Each entry that the kernel knows takes one, so where they are short it is told to forget entries,
 * by a thread that may be behind. It forgets nothing of a folder in which it waits for us: so waits
 * are short. */

static void wait_for_room(long ns)
{
        (void)nanosleep(&(struct timespec){.tv_nsec = ns}, NULL); /* woken early: as good */
}

int inode_open(struct mount *m, int dirfd, const char *name, int flags, mode_t mode)
{
        int fd = openat(dirfd, name, flags | O_CLOEXEC, mode);
        for (int tries = 0; fd < 0 && errno == EMFILE && tries < 250; tries++) {
                notifier_relieve(m->notifier);
                wait_for_room(CLOCK_NSEC / 500);
                fd = openat(dirfd, name, flags | O_CLOEXEC, mode);
        }
        return fd;
}

/* On a loaded machine lookups can be faster than the kernel is in forgetting. */
static void make_room(struct mount *m)
{
        const struct inode_table *t = m->inodes;
        if (!inode_table_crowded(t))
                return;
        notifier_relieve(m->notifier);
        if (atomic_load(&t->n) > t->crowded_at + t->crowded_at / 2)
                wait_for_room(CLOCK_NSEC / 200);
}

/* ---- what lookups find ---- */

/* Found in the live tree: what came back from a frozen one lives again. Found through a handle of a
 * frozen folder, or before it came back: it stays what it is. */
static void set_generation(struct inode *i, unsigned generation)
{
        if ((int)(generation - atomic_load(&i->generation)) > 0)
                atomic_store(&i->generation, generation);
}

struct inode *inode_get(struct mount *m, const struct inode_found *f)
{
        struct inode_table *t = m->inodes;
        pthread_mutex_lock(&t->lock);
        struct inode *i = find(t, f->st->st_dev, f->st->st_ino, f->view);
        bool known = i != NULL;
        if (known) {
                unchain(t, i);
                chain_newest(t, i);
        } else {
                i = add(m, f);
        }
        if (i) {
                i->node.lookups++;
                set_generation(i, f->generation);
                set_name(i, f->parent, f->name);
        }
        pthread_mutex_unlock(&t->lock);
        if (known || !i)
                (void)close(f->fd); /* O_PATH */
        if (!known)
                make_room(m);
        return i;
}

void inode_forget(struct mount *m, struct inode *i, uint64_t n)
{
        struct inode_table *t = m->inodes;
        if (i->special)
                return;
        pthread_mutex_lock(&t->lock);
        i->node.lookups -= MIN(n, i->node.lookups);
        bool gone = i->node.lookups == 0;
        if (gone) {
                struct inode **p = bucket(t, i->dev, i->ino);
                while (*p != i)
                        p = &(*p)->next_hash;
                *p = i->next_hash;
                unchain(t, i);
                atomic_fetch_sub(&t->n, 1);
        }
        pthread_mutex_unlock(&t->lock);
        if (gone)
                inode_free(i);
}

void inode_renamed(struct mount *m, dev_t dev, ino_t ino, fuse_ino_t parent, const char *name)
{
        struct inode_table *t = m->inodes;
        pthread_mutex_lock(&t->lock);
        struct inode *i = find(t, dev, ino, false);
        if (i)
                set_name(i, parent, name);
        pthread_mutex_unlock(&t->lock);
}

void inode_revive(struct mount *m, dev_t dev, ino_t ino)
{
        struct inode_table *t = m->inodes;
        pthread_mutex_lock(&t->lock);
        struct inode *i = find(t, dev, ino, false);
        if (i)
                atomic_store(&i->generation, atomic_load(&m->generation));
        pthread_mutex_unlock(&t->lock);
}

size_t inode_table_known(const struct inode_table *t)
{
        return atomic_load(&t->n);
}

bool inode_table_crowded(const struct inode_table *t)
{
        return atomic_load(&t->n) > t->crowded_at;
}

size_t inode_oldest(struct inode_table *t, struct inode_name *out, size_t max)
{
        size_t n = 0;
        pthread_mutex_lock(&t->lock);
        for (struct inode *i = t->oldest; i && n < max; i = i->newer) {
                if (!i->name || atomic_load(&i->writers) > 0)
                        continue;
                out[n].parent = i->parent;
                if ((out[n].name = strdup(i->name)) != NULL)
                        n++;
        }
        /* What is in use comes back with its next lookup; the others must not be picked for ever.
         */
        for (size_t k = 0; k < n && t->oldest != t->newest; k++) {
                struct inode *i = t->oldest;
                unchain(t, i);
                chain_newest(t, i);
        }
        pthread_mutex_unlock(&t->lock);
        return n;
}

size_t inode_below(struct inode_table *t, fuse_ino_t parent, struct inode_name **ret)
{
        size_t n = 0;
        pthread_mutex_lock(&t->lock);
        struct inode_name *v = calloc(atomic_load(&t->n) + 1, sizeof *v);
        for (struct inode *i = t->oldest; v && i; i = i->newer) {
                if (i->parent != parent || !i->name)
                        continue;
                v[n].parent = parent;
                if ((v[n].name = strdup(i->name)) != NULL)
                        n++;
        }
        pthread_mutex_unlock(&t->lock);
        *ret = v;
        return n;
}

static bool counts_as_busy(const struct inode *i, unsigned generation, const struct stat *except)
{
        if (i->view || atomic_load(&i->writers) == 0 || atomic_load(&i->generation) != generation)
                return false;
        if (except && i->ino == except->st_ino && i->dev == except->st_dev)
                return false;
        struct stat st;
        return !(i->name && exclude_is_litter(i->name)) && fstat(i->fd, &st) == 0 &&
               st.st_nlink > 0;
}

bool inode_busy(struct mount *m, const struct stat *except, char *buf, size_t len)
{
        struct inode_table *t = m->inodes;
        if (atomic_load(&m->writers) == 0)
                return false;
        unsigned now = atomic_load(&m->generation);
        bool busy = false;
        pthread_mutex_lock(&t->lock);
        for (struct inode *i = t->newest; i && !busy; i = i->older) {
                busy = counts_as_busy(i, now, except);
                if (busy) /* a name that is too long is cut */
                        (void)snprintf(buf, len, "%s", i->name ? i->name : "a file");
        }
        pthread_mutex_unlock(&t->lock);
        return busy;
}
