#include "crash.h"

#ifdef CRASH_POINTS

#include <signal.h>
#include <stdatomic.h>

/* The only mutable global of core, and only in test builds: how often the wanted point was passed.
 */
static atomic_uint passed;

void crash_point(const char *name)
{
        const char *at = getenv("AUTOGLACIER_CRASH_AT");
        const char *rest = at ? startswith(at, name) : NULL;
        if (!rest || (*rest != 0 && *rest != ':'))
                return;
        unsigned n = *rest == ':' ? (unsigned)strtoul(rest + 1, NULL, 10) : 1;
        if (atomic_fetch_add(&passed, 1) + 1 != n)
                return;
        (void)kill(
                getpid(), getenv("AUTOGLACIER_CRASH_STOP") ? SIGSTOP : SIGKILL); /* cannot fail */
}

unsigned crash_patience(const char *name, unsigned seconds)
{
        const char *wanted = getenv(name);
        unsigned n = wanted ? (unsigned)strtoul(wanted, NULL, 10) : 0;
        return n > 0 ? MIN(n, seconds) : seconds;
}

#endif
