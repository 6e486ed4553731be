#include "tree_range.h"

#include <assert.h>

#define SPARE_LEAST 4u /* MiB that may always be added */
#define SPARE_PART  8u /* and this part of what is wanted */

/* In leaves of 1 MiB; the last one of an object may be short. */
struct span {
        uint64_t a, b;
};

static uint64_t leaves_of(uint64_t bytes)
{
        return bytes / MiB + (bytes % MiB > 0);
}

static struct span widened(const struct span *s, uint64_t unit, uint64_t leaves)
{
        uint64_t b = (s->b + unit - 1) / unit * unit;
        return (struct span){.a = s->a / unit * unit, .b = MIN(b, leaves)};
}

/* Where the largest node ends that begins at `a` and ends by `b`; the last ones of an object are
 * cut short. */
static uint64_t node_at(uint64_t a, uint64_t b, uint64_t leaves)
{
        uint64_t n = 1;
        while (a % (2 * n) == 0 && (a + 2 * n <= b || b == leaves) && n < b - a)
                n *= 2;
        return MIN(a + n, b);
}

static size_t count_nodes(const struct span *s, uint64_t leaves)
{
        size_t n = 0;
        for (uint64_t a = s->a; a < s->b; a = node_at(a, s->b, leaves))
                n++;
        return n;
}

/* The fewest pieces that the spare allows; of these the least that is added. */
static struct span widen(const struct span *s, uint64_t leaves)
{
        uint64_t spare = MAX((uint64_t)SPARE_LEAST, (s->b - s->a) / SPARE_PART);
        struct span best = *s;
        size_t least = count_nodes(s, leaves);
        for (uint64_t unit = 2; unit / 2 < leaves; unit *= 2) {
                struct span w = widened(s, unit, leaves);
                size_t n = count_nodes(&w, leaves);
                if (n < least && (s->a - w.a) + (w.b - s->b) <= spare) {
                        best = w;
                        least = n;
                }
        }
        return best;
}

bool tree_range_is_node(const struct tree_range *r, uint64_t size)
{
        struct span s = {r->start / MiB, leaves_of(r->end)};
        bool aligned = r->start % MiB == 0 && (r->end % MiB == 0 || r->end == size);
        return aligned && r->start < r->end && r->end <= size &&
               node_at(s.a, s.b, leaves_of(size)) == s.b;
}

size_t tree_range_cover(
        uint64_t start, uint64_t end, uint64_t size, struct tree_range ret[TREE_RANGE_MAX])
{
        uint64_t leaves = leaves_of(size);
        const struct span wanted = {start / MiB, leaves_of(end)};
        struct span s = widen(&wanted, leaves);
        size_t n = 0;
        while (s.a < s.b) {
                uint64_t to = node_at(s.a, s.b, leaves);
                assert(n < TREE_RANGE_MAX); /* proven for every size by its test */
                ret[n++] = (struct tree_range){s.a * MiB, MIN(to * MiB, size)};
                s.a = to;
        }
        return n;
}
