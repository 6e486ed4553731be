#include "backoff.h"

#include "clock.h"

#include <time.h>

#define CEILING   (20 * CLOCK_NSEC)
#define ASKED_MAX (300 * CLOCK_NSEC)
#define SLICE     (50 * 1000000ll)

int64_t backoff_delay(unsigned tries, bool throttled, int64_t asked, uint64_t random)
{
        int64_t most = throttled ? CLOCK_NSEC : CLOCK_NSEC / 20;
        for (unsigned i = 1; i < tries && most < CEILING; i++)
                most *= 2;
        most = MIN(most, CEILING);
        int64_t wait = (int64_t)(random % (uint64_t)(most + 1));
        return MAX(wait, MIN(asked, ASKED_MAX));
}

int backoff_wait(int64_t ns, const atomic_bool *stop)
{
        int64_t end = clock_monotonic() + ns;
        for (;;) {
                if (stop && atomic_load(stop))
                        return -ECANCELED;
                int64_t left = end - clock_monotonic();
                if (left <= 0)
                        return 0;
                left = MIN(left, SLICE);
                const struct timespec t = clock_timespec(left);
                (void)nanosleep(&t, NULL); /* the clock says when it is over */
        }
}
