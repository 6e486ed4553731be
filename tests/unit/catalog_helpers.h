/* catalog_helpers.h - for tests that need a catalogue: a scratch one, an archive, members. */
#pragma once

#include "base.h"
#include "buf.h"
#include "catalog.h"
#include "io.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define OK(call)                                                                                   \
        do {                                                                                       \
                struct err *e_ = &scratch_err;                                                     \
                *e_ = (struct err){0};                                                             \
                if ((call) != 0)                                                                   \
                        fail_msg("%s: %s", #call, scratch_err.text);                               \
        } while (0)
#define FAILS(call, want)                                                                          \
        do {                                                                                       \
                scratch_err = (struct err){0};                                                     \
                assert_int_equal((call), (want));                                                  \
                assert_int_equal(scratch_err.code, (want));                                        \
                assert_true(strlen(scratch_err.text) > 10);                                        \
        } while (0)
#define E (&scratch_err)
static struct err scratch_err;

struct scratch {
        char dir[64], db[96];
        struct catalog *c;
};

_unused_ static int scratch_setup(void **state)
{
        static struct scratch s;
        (void)strcpy(s.dir, "/tmp/ag-catalog-XXXXXX");
        assert_non_null(mkdtemp(s.dir));
        (void)snprintf(s.db, sizeof s.db, "%s/catalog.db", s.dir);
        OK(catalog_open(s.db, &s.c, E));
        *state = &s;
        return 0;
}

_unused_ static int scratch_teardown(void **state)
{
        struct scratch *s = *state;
        catalog_close(s->c);
        return io_remove_tree(AT_FDCWD, s->dir, NULL);
}

/* An archive with this id; its name goes to ret_name if that is given (the caller frees it). */
_unused_ static void put_archive(struct catalog *c, const char *id, const char *description)
{
        struct catalog_archive a = {
                .id = strdup(id),
                .description = strdup(description),
                .created = 1795382823123456789,
                .state = ARCHIVE_QUEUED,
                .origin = strdup("0a1b2c3d"),
                .compression = strdup("lzma"),
                .level = -1,
        };
        OK(catalog_archive_add(c, &a, E));
        catalog_archive_done(&a);
}

/* A SHA-512 of no content in particular. */
_unused_ static const uint8_t *sum_of(unsigned seed, uint8_t out[64])
{
        for (unsigned i = 0; i < 64; i++)
                out[i] = (uint8_t)(seed * 167 + i * 31 + (seed >> 8) * (i + 1));
        return out;
}

struct put {
        const char *path, *link;
        char type;
        uint64_t at, size;
        unsigned sum; /* 0: none */
};

_unused_ static void add_one(struct catalog_adder *a, const struct put *p)
{
        uint8_t sum[64];
        struct catalog_member m = {
                .path = p->path,
                .type = p->type,
                .mode = 0644,
                .uid = 1000,
                .gid = 100,
                .mtime = -1500000000,
                .size = p->size,
                .tar_offset = p->at,
                .tar_len = 512 + (p->size + 511) / 512 * 512,
                .link = p->link,
                .sha512 = p->sum ? sum_of(p->sum, sum) : NULL,
        };
        OK(catalog_adder_add(a, &m, E));
}

_unused_ static void put_members(struct catalog *c, const char *id, const struct put *p, size_t n)
{
        struct catalog_adder *a;
        OK(catalog_adder_new(c, id, &a, E));
        for (size_t i = 0; i < n; i++)
                add_one(a, &p[i]);
        OK(catalog_adder_flush(a, E));
        catalog_adder_free(a);
}

/* "path|" of each member, for comparing orders; the whole path where there is one. */
_unused_ static int join_paths(void *ctx, const struct catalog_member *m)
{
        buf_addf(ctx, "%s|", m->path ? m->path : m->name);
        return 0;
}

_unused_ static int take_member(void *ctx, const struct catalog_member *m)
{
        struct catalog_member *ret = ctx;
        *ret = *m;
        ret->path = ret->name = ret->link = NULL;
        ret->sha512 = NULL;
        return 0;
}
