/* only.c - in every program of cmocka tests: with ONLY=pattern in the environment only the tests
 * whose names match are run ("*" and "?" stand for what they always do). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

__attribute__((constructor)) static void choose(void)
{
        const char *pattern = getenv("ONLY");
        if (pattern && *pattern)
                cmocka_set_test_filter(pattern);
}
