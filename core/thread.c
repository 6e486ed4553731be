#include "thread.h"

#include <signal.h>

int thread_start(pthread_t *ret, void *(*fn)(void *), void *arg)
{
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int q = pthread_create(ret, NULL, fn, arg);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -q;
}
