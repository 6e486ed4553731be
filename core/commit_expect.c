#include "commit_internal.h"

#include "gather.h"
#include "staging.h"
#include "thread.h"

#define ENTRIES_MAX 4000000u

struct expect {
        pthread_t thread;
        atomic_bool halt;
        atomic_uint_fast64_t bytes, tar;
        const struct staging *staging;
        struct staging_measure what;
};

static void *count(void *arg)
{
        struct expect *x = arg;
        struct staging_size size = staging_measure(x->staging, &x->what);
        atomic_store(&x->bytes, size.bytes);
        atomic_store(&x->tar, size.tar);
        return NULL;
}

/* It is for the eye and for equal shares: without memory or a thread there is no time left to be
 * shown. Of what changed only, nobody knows how much it is. */
void expect_begin(struct run *r, const struct gather_params *walk)
{
        struct expect *x = r->changed ? NULL : calloc(1, sizeof *x);
        if (!x)
                return;
        x->staging = r->env->staging;
        x->what = (struct staging_measure){
                .id = walk->staging ? walk->id : NULL,
                .files = walk->files,
                .mountpoint = walk->mountpoint,
                .exclude = walk->exclude,
                .avoid = walk->avoid,
                .max_entries = ENTRIES_MAX,
                .stop = &x->halt,
        };
        if (thread_start(&x->thread, count, x) == 0)
                r->expect = x;
        else
                free(x);
}

uint64_t expect_bytes(const struct run *r)
{
        return r->expect ? atomic_load(&r->expect->bytes) : 0;
}

uint64_t expect_tar(const struct run *r)
{
        return r->expect ? atomic_load(&r->expect->tar) : 0;
}

void expect_end(struct run *r)
{
        if (!r->expect)
                return;
        atomic_store(&r->expect->halt, true);
        pthread_join(r->expect->thread, NULL);
        free(r->expect);
        r->expect = NULL;
}
