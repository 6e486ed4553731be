#include "tar_internal.h"

/* Takes holes that are shorter than min_gap for data. */
static void coarsen(struct tar_map *m)
{
        size_t n = 0;
        for (size_t i = 1; i < m->n; i++) {
                if (m->extents[i].start - m->extents[n].end < m->min_gap)
                        m->extents[n].end = m->extents[i].end;
                else
                        m->extents[++n] = m->extents[i];
        }
        m->n = n + 1;
}

static void add(struct tar_map *m, uint64_t start, uint64_t end)
{
        if (m->n > 0 && start - m->extents[m->n - 1].end < m->min_gap) {
                m->extents[m->n - 1].end = end;
                return;
        }
        while (m->n == TAR_EXTENTS_MAX) {
                m->min_gap *= 2;
                coarsen(m);
        }
        m->extents[m->n++] = (struct tar_extent){start, end};
}

static bool scan(struct tar_map *m, int fd)
{
        for (uint64_t at = 0; at < m->size;) {
                off_t data = lseek(fd, (off_t)at, SEEK_DATA);
                if (data < 0)
                        return errno == ENXIO; /* nothing but hole up to the end */
                if ((uint64_t)data >= m->size)
                        return true;
                off_t hole = lseek(fd, data, SEEK_HOLE);
                if (hole <= data)
                        return false;
                at = MIN((uint64_t)hole, m->size);
                add(m, (uint64_t)data, at);
        }
        return true;
}

void tar_map_scan(struct tar_map *m, int fd, const struct stat *st)
{
        *m = (struct tar_map){.size = (uint64_t)st->st_size, .min_gap = 1};
        if (fd < 0 || st->st_size <= 0 || (uint64_t)st->st_blocks * 512 >= m->size)
                return;
        off_t before = lseek(fd, 0, SEEK_CUR);
        if (before < 0)
                return;
        bool known = scan(m, fd);
        if (lseek(fd, before, SEEK_SET) < 0)
                known = false;
        bool whole = m->n == 1 && m->extents[0].start == 0 && m->extents[0].end == m->size;
        m->sparse = known && !whole;
}

uint64_t tar_map_next(const struct tar_map *m, uint64_t at, bool *ret_hole)
{
        *ret_hole = false;
        if (!m->sparse)
                return m->size;
        size_t lo = 0, hi = m->n; /* the first extent that ends after `at` */
        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                if (m->extents[mid].end <= at)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        if (lo < m->n && m->extents[lo].start <= at)
                return m->extents[lo].end;
        *ret_hole = true;
        return lo < m->n ? m->extents[lo].start : m->size;
}
