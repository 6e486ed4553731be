#include "secret.h"

#include <openssl/crypto.h>
#include <sys/mman.h>
#include <sys/prctl.h>

static size_t mapped(size_t len)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        return (len + 1 + page - 1) / page * page;
}

int secret_new(size_t len, struct secret **ret)
{
        if (len == 0 || len > 64 * KiB)
                return -EINVAL;
        struct secret *s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        void *p =
                mmap(NULL, mapped(len), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) {
                free(s);
                return -ENOMEM;
        }
        (void)mlock(p, mapped(len)); /* a low RLIMIT_MEMLOCK must not stop a restore */
        (void)madvise(p, mapped(len), MADV_DONTDUMP);
        *s = (struct secret){.data = p, .len = len};
        *ret = s;
        return 0;
}

int secret_copy(const void *data, size_t len, struct secret **ret)
{
        int r = secret_new(len, ret);
        if (r == 0)
                memcpy((*ret)->data, data, len);
        return r;
}

void secret_free(struct secret *s)
{
        if (!s)
                return;
        OPENSSL_cleanse(s->data, s->len);
        (void)munmap(s->data, mapped(s->len)); /* cannot fail on a whole mapping of ours */
        free(s);
}

void secret_wipe(void *data, size_t len)
{
        OPENSSL_cleanse(data, len);
}

bool secret_equal(const void *a, const void *b, size_t len)
{
        return CRYPTO_memcmp(a, b, len) == 0;
}

void secret_no_core(void)
{
#ifndef __SANITIZE_ADDRESS__
        (void)prctl(PR_SET_DUMPABLE, 0); /* cannot fail with this argument */
#endif
}
