#include "pages.h"

#include <sys/mman.h>

#define LARGE (2u * MiB)

static size_t whole(size_t size)
{
        return (size + LARGE - 1) / LARGE * LARGE;
}

/* The kernel aligns to small pages: more is asked for, and what is too much given back. */
void *pages_new(size_t size)
{
        if (size > SIZE_MAX - 2 * LARGE)
                return NULL;
        size_t len = whole(size);
        char *p =
                mmap(NULL, len + LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
                return NULL;
        size_t before = (LARGE - (uintptr_t)p % LARGE) % LARGE;
        if (before > 0)
                (void)munmap(p, before); /* at worst it stays mapped and untouched */
        (void)munmap(p + before + len, LARGE - before);
        (void)madvise(p + before, len, MADV_HUGEPAGE); /* a wish */
        return p + before;
}

void pages_free(void *p, size_t size)
{
        if (p)
                (void)munmap(p, whole(size)); /* it is ours, as pages_new() made it */
}
