/* send_file URL FILE NAME [THREADS]: sends a file to a store in parts, as the sender does, and
 * nothing else: to compare the way to a bucket with other programs that copy the same file.
 * Endpoint, region and keys come from the AWS_* variables. */
#include "base.h"
#include "err.h"
#include "io.h"
#include "store.h"
#include "stores.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sys/stat.h>

struct sending {
        struct store_upload *u;
        int fd;
        uint64_t size;
        atomic_uint next;
        atomic_int failed;
        pthread_mutex_t lock;
        struct err e;
};

static int send_part(struct sending *s, unsigned i, uint8_t *buffer, struct err *e)
{
        const uint8_t tree[32] = {0}; /* buckets do not look at it */
        uint8_t sha256[32];
        struct store_part p = {.number = i + 1,
                .offset = (uint64_t)i * s->u->part_size,
                .data = buffer,
                .tree_hash = tree,
                .sha256 = sha256};
        p.len = (size_t)MIN((uint64_t)s->u->part_size, s->size - p.offset);
        ssize_t n = io_pread_full(s->fd, buffer, p.len, p.offset);
        if (n < 0 || (size_t)n != p.len ||
                !EVP_Digest(p.data, p.len, sha256, NULL, EVP_sha256(), NULL))
                return err_set(e, -EIO, "cannot read part %u", p.number);
        return store_put_part(s->u, &p, e);
}

static void *send_parts(void *arg)
{
        struct sending *s = arg;
        struct err e = {0};
        _cleanup_free_ uint8_t *buffer = malloc(s->u->part_size);
        int q = buffer ? 0 : err_oom(&e);
        while (q == 0 && !atomic_load(&s->failed)) {
                unsigned i = atomic_fetch_add(&s->next, 1);
                if ((uint64_t)i * s->u->part_size >= s->size)
                        return NULL;
                q = send_part(s, i, buffer, &e);
        }
        if (q < 0 && atomic_exchange(&s->failed, q) == 0) {
                pthread_mutex_lock(&s->lock);
                s->e = e;
                pthread_mutex_unlock(&s->lock);
        }
        return NULL;
}

static int send_all(struct sending *s, unsigned threads, struct err *e)
{
        pthread_t t[64];
        unsigned n = 0;
        while (n < MIN(threads, 64u) && pthread_create(&t[n], NULL, send_parts, s) == 0)
                n++;
        for (unsigned i = 0; i < n; i++)
                (void)pthread_join(t[i], NULL); /* a thread of ours, joined once */
        *e = s->e;
        return n == 0 ? err_set(e, -EAGAIN, "no threads") : atomic_load(&s->failed);
}

static int run(char **argv, unsigned threads, struct err *e)
{
        _cleanup_close_ int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_errno(e, -errno, "%s", argv[2]);
        _cleanup_(store_closep) struct store *store = NULL;
        struct sending s = {.fd = fd, .size = (uint64_t)st.st_size};
        pthread_mutex_init(&s.lock, NULL);
        const struct store_new n = {.name = argv[3], .max_size = s.size, .replace = true};
        int q = stores_open(NULL, argv[1], "STANDARD", &store, e);
        if (q == 0)
                q = store_begin(store, &n, &s.u, e);
        if (q == 0 && (q = send_all(&s, threads, e)) == 0)
                q = store_finish(&s.u, s.size, (const uint8_t[32]){0}, e);
        store_abort(s.u);
        pthread_mutex_destroy(&s.lock);
        return q;
}

int main(int argc, char **argv)
{
        struct err e = {0};
        if (argc < 4) {
                (void)fprintf(stderr, "usage: send_file URL FILE NAME [THREADS]\n");
                return 2;
        }
        if (run(argv, argc > 4 ? (unsigned)atoi(argv[4]) : 4, &e) == 0)
                return 0;
        (void)fprintf(stderr, "send_file: %s\n", e.text);
        return 1;
}
