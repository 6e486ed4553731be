#include "cache.h"

#include "bytes.h"
#include "clock.h"
#include "io.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define NAME_LEN  (2 * CACHE_KEY_LEN)
#define READ_STEP (256u * KiB)
/* When room must be made, a little more than needed is, so that the folder is not read each time.
 */
#define SPARE(limit) ((limit) / 16)

DEFINE_CLEANUP(EVP_MD_CTX_free, EVP_MD_CTX *)

struct cache {
        char *dir;
        int fd;
        uint64_t limit;
        pthread_mutex_t lock; /* bytes */
        uint64_t bytes;       /* at least what this program knows of */
};

static void name_of(const uint8_t *key, char out[NAME_LEN + 1])
{
        bytes_hex(key, CACHE_KEY_LEN, out);
}

/* ---- what is there ---- */

struct kept {
        char name[NAME_LEN + 1];
        uint64_t size;
        struct timespec used;
};

struct listing {
        struct kept *v;
        size_t n, cap;
        uint64_t bytes;
};

static int list_one(struct cache *k, const char *name, struct listing *l)
{
        struct stat st;
        if (strlen(name) != NAME_LEN || fstatat(k->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                !S_ISREG(st.st_mode))
                return 0;
        if (l->n == l->cap) {
                size_t cap = MAX((size_t)256, l->cap * 2);
                struct kept *v = reallocarray(l->v, cap, sizeof *v);
                if (!v)
                        return -ENOMEM;
                l->v = v;
                l->cap = cap;
        }
        struct kept *e = &l->v[l->n++];
        memcpy(e->name, name, NAME_LEN + 1);
        e->size = (uint64_t)st.st_blocks * 512;
        e->used = st.st_mtim;
        l->bytes += e->size;
        return 0;
}

static int list_all(struct cache *k, struct listing *l)
{
        int fd = openat(k->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        if (!d) {
                int q = -errno;
                base_closep(&fd);
                return q;
        }
        int q = 0;
        struct dirent *de;
        while (q == 0 && (de = readdir(d)) != NULL)
                q = list_one(k, de->d_name, l);
        (void)closedir(d); /* only read */
        return q;
}

static int by_use(const void *a, const void *b)
{
        const struct kept *x = a, *y = b;
        if (x->used.tv_sec != y->used.tv_sec)
                return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
        return x->used.tv_nsec < y->used.tv_nsec ? -1 : x->used.tv_nsec > y->used.tv_nsec;
}

/* ---- removing ---- */

/* Whoever reads a file holds a shared lock on it. True if it went. */
static bool evict(struct cache *k, const char *name)
{
        _cleanup_close_ int fd = openat(k->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(k->fd, name, 0) == 0;
}

static int make_room(struct cache *k, uint64_t size)
{
        uint64_t want = MIN(size, k->limit);
        pthread_mutex_lock(&k->lock);
        bool fits = k->bytes <= k->limit && want <= k->limit - k->bytes;
        pthread_mutex_unlock(&k->lock);
        if (fits)
                return 0;
        struct listing l = {0};
        int q = list_all(k, &l);
        uint64_t least = k->limit - want; /* what may stay */
        least -= MIN(least, SPARE(k->limit));
        if (l.n > 0)
                qsort(l.v, l.n, sizeof *l.v, by_use);
        bool full = q == 0 && l.bytes + want > k->limit;
        for (size_t i = 0; full && i < l.n && l.bytes > least; i++)
                if (evict(k, l.v[i].name))
                        l.bytes -= MIN(l.bytes, l.v[i].size);
        pthread_mutex_lock(&k->lock);
        k->bytes = l.bytes;
        pthread_mutex_unlock(&k->lock);
        free(l.v);
        return q;
}

void cache_drop(struct cache *k, const uint8_t key[CACHE_KEY_LEN])
{
        char name[NAME_LEN + 1];
        name_of(key, name);
        (void)evict(k, name); /* one that is open goes when its turn comes */
}

uint64_t cache_bytes(struct cache *k)
{
        struct listing l = {0};
        (void)list_all(k, &l); /* what could be counted */
        pthread_mutex_lock(&k->lock);
        k->bytes = l.bytes;
        pthread_mutex_unlock(&k->lock);
        free(l.v);
        return l.bytes;
}

/* ---- giving out ---- */

/* Put in, or checked again, since the machine started: a touch comes after either and sets ctime.
 */
static bool of_this_run(const struct stat *st)
{
        struct timespec up;
        if (clock_gettime(CLOCK_BOOTTIME, &up) < 0)
                return false;
        int64_t boot = clock_now() - clock_of(up.tv_sec, up.tv_nsec);
        return clock_of(st->st_ctim.tv_sec, st->st_ctim.tv_nsec) > boot;
}

static bool is_whole(int fd, const uint8_t *key)
{
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *sha = EVP_MD_CTX_new();
        _cleanup_free_ char *chunk = malloc(READ_STEP);
        uint8_t sum[CACHE_KEY_LEN];
        if (!sha || !chunk || !EVP_DigestInit_ex(sha, EVP_sha512(), NULL))
                return false;
        for (uint64_t at = 0;;) {
                ssize_t n = io_pread_full(fd, chunk, READ_STEP, at);
                if (n < 0 || !EVP_DigestUpdate(sha, chunk, (size_t)n))
                        return false;
                if (n == 0)
                        break;
                at += (uint64_t)n;
        }
        return EVP_DigestFinal_ex(sha, sum, NULL) && memcmp(sum, key, sizeof sum) == 0;
}

static int open_locked(struct cache *k, const char *name, struct stat *st, int *ret_fd)
{
        _cleanup_close_ int fd = openat(k->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        while (flock(fd, LOCK_SH) < 0)
                if (errno != EINTR)
                        return -errno;
        if (fstat(fd, st) < 0)
                return -errno;
        if (st->st_nlink == 0) /* evicted between open and lock */
                return -ENOENT;
        *ret_fd = steal_fd(&fd);
        return 0;
}

int cache_get(struct cache *k, const uint8_t key[CACHE_KEY_LEN], int *ret_fd, struct err *e)
{
        char name[NAME_LEN + 1];
        struct stat st;
        _cleanup_close_ int fd = -EBADF;
        name_of(key, name);
        int q = open_locked(k, name, &st, &fd);
        if (q < 0)
                return q == -ENOENT ? q : err_errno(e, q, "cannot open %s/%s", k->dir, name);
        if (!of_this_run(&st) && !is_whole(fd, key)) {
                (void)unlinkat(k->fd, name, 0); /* if it stays, it is found out again */
                return -ENOENT;
        }
        (void)futimens(fd, NULL); /* only the order of eviction suffers */
        *ret_fd = steal_fd(&fd);
        return 0;
}

/* ---- putting in ---- */

int cache_begin(struct cache *k, uint64_t size, int *ret_fd, struct err *e)
{
        int q = make_room(k, size);
        if (q < 0)
                return err_errno(e, q, "cannot make room in %s", k->dir);
        if (io_free_bytes(k->fd) < size)
                return err_set(e, -ENOSPC,
                        "there is no room for %llu bytes on the disk of %s; make room there",
                        (unsigned long long)size, k->dir);
        int fd = openat(k->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_errno(e, -errno, "cannot make a file in %s", k->dir);
        *ret_fd = fd;
        return 0;
}

static int name_it(struct cache *k, int fd, const char *name)
{
        char self[64];
        (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd); /* fits */
        if (linkat(AT_FDCWD, self, k->fd, name, AT_SYMLINK_FOLLOW) == 0)
                return 0;
        return errno == EEXIST ? 0 : -errno; /* another program had the same content */
}

int cache_put(
        struct cache *k, const uint8_t key[CACHE_KEY_LEN], int *fd, int *ret_fd, struct err *e)
{
        _cleanup_close_ int mine = steal_fd(fd);
        char name[NAME_LEN + 1];
        struct stat st;
        name_of(key, name);
        int q = name_it(k, mine, name);
        if (q == 0)
                q = open_locked(k, name, &st, ret_fd);
        if (q < 0)
                return err_errno(e, q, "cannot keep a file in %s", k->dir);
        pthread_mutex_lock(&k->lock);
        k->bytes += (uint64_t)st.st_blocks * 512;
        pthread_mutex_unlock(&k->lock);
        return 0;
}

/* ---- opening ---- */

int cache_open(const char *dir, uint64_t limit, struct cache **ret, struct err *e)
{
        int q = io_mkdir_p(dir, 0700, e);
        if (q < 0)
                return q;
        _cleanup_(cache_closep) struct cache *k = calloc(1, sizeof *k);
        if (!k)
                return err_oom(e);
        k->fd = -EBADF;
        k->limit = limit;
        pthread_mutex_init(&k->lock, NULL);
        if (!(k->dir = strdup(dir)))
                return err_oom(e);
        k->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (k->fd < 0)
                return err_errno(e, -errno, "cannot open %s", dir);
        (void)cache_bytes(k); /* for the first question of room */
        *ret = steal(k);
        return 0;
}

void cache_close(struct cache *k)
{
        if (!k)
                return;
        base_closep(&k->fd);
        pthread_mutex_destroy(&k->lock);
        free(k->dir);
        free(k);
}

uint64_t cache_limit(const struct cache *k)
{
        return k->limit;
}
