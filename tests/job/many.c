/* many.c - several threads archive at once through libautoglacier: many THREADS TIMES AT FILE...
 * All begin at AT, seconds since 1970. */
#include <autoglacier.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static char **files;
static int times;
static time_t at;

static void *work(void *failed)
{
        const struct timespec begin = {.tv_sec = at};
        (void)clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &begin, NULL);
        for (int i = 0; i < times; i++) {
                struct agl_error error;
                int q = agl_auto_glacier((const char *const *)files, NULL, "one of many", &error);
                if (q != 0) {
                        fprintf(stderr, "%d: %s\n", q, error.text);
                        *(int *)failed = 1;
                }
        }
        return NULL;
}

int main(int argc, char **argv)
{
        enum { MOST = 40 };
        pthread_t threads[MOST];
        int failed[MOST] = {0}, bad = 0;
        if (argc < 5)
                return 2;
        int n = atoi(argv[1]);
        times = atoi(argv[2]);
        at = atoll(argv[3]);
        files = argv + 4;
        for (int i = 0; i < n && i < MOST; i++)
                if (pthread_create(&threads[i], NULL, work, &failed[i]) != 0)
                        return 1;
        for (int i = 0; i < n && i < MOST; i++) {
                pthread_join(threads[i], NULL);
                bad |= failed[i];
        }
        return bad;
}
