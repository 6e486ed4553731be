/* words.h - numbers as people read them: counts with their noun in the right number.
 *
 * Floor 1. Sizes and times are in clock.h. Any thread. */
#pragma once

#include "base.h"

#define WORDS_MAX 96
/* "1 file", "1,234 files": `many` NULL stands for `one` with an s. Returns `out`, so that it can
 * stand among the arguments of a printf, with WORDS(...) also without a buffer of its own. */
const char *words_count(uint64_t n, const char *one, const char *many, char out[WORDS_MAX]);
/* The same in a buffer that lives as long as the block around it. */
#define WORDS(n, one, many) words_count((n), (one), (many), (char[WORDS_MAX]){0})
