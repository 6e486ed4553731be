/* staging_internal.h - shared by the staging_*.c files and nobody else. */
#pragma once

#include "staging.h"

#include <pthread.h>

struct staging {
        char *path;
        int fd;   /* O_PATH */
        int sync; /* O_RDONLY, for fsync */
        pthread_rwlock_t freeze;
        atomic_uint_least64_t changes;
};
