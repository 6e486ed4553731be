/* fuzz_manifest.c - the reader of manifests against anything.
 *
 * What comes from a store may be anybody's. A text that is refused must leave the catalogue empty;
 * one that is accepted must be readable in all the ways a catalogue is read. */
#include "base.h"
#include "catalog.h"
#include "io.h"
#include "manifest.h"

#include <fcntl.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct input {
        const uint8_t *p;
        size_t left;
};

static ssize_t pull(void *ctx, void *data, size_t len, struct err *e _unused_)
{
        struct input *in = ctx;
        size_t n = MIN(MIN(in->left, len), (size_t)1000);
        memcpy(data, in->p, n);
        in->p += n;
        in->left -= n;
        return (ssize_t)n;
}

static int check_member(void *ctx, const struct catalog_member *m)
{
        (void)ctx;
        bool inside = m->path[0] != 0 && m->path[0] != '/' && !startswith(m->path, "../") &&
                      !strstr(m->path, "/../") && !endswith(m->path, "/..") &&
                      !streq(m->path, "..");
        if (!inside)
                abort();
        return 0;
}

static void look_at(struct catalog *c, const char *id)
{
        uint64_t size;
        struct catalog_archive a;
        _cleanup_close_ int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (catalog_archive_get(c, id, &a, NULL) < 0 ||
                catalog_members_each(c, id, CATALOG_AS_TREE, check_member, NULL, NULL) < 0 ||
                manifest_write(c, id, 1, fd, &size, NULL) < 0 || size % MANIFEST_RECORD != 0 ||
                strchr(a.name, '/') || catalog_archive_remove(c, id, NULL) < 0)
                abort();
        catalog_archive_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static struct catalog *c; /* made once: opening costs more than reading */
        static char dir[] = "/tmp/ag-fuzz-XXXXXX";
        if (!c) {
                _cleanup_free_ char *path = mkdtemp(dir) ? io_join(dir, "catalog.db") : NULL;
                if (!path || catalog_open(path, &c, NULL) < 0)
                        abort();
                (void)io_remove_tree(AT_FDCWD, dir, NULL); /* it lives on while it is open */
        }
        struct input in = {.p = data, .left = len};
        struct err e = {0};
        bool empty = false;
        char *id = NULL;
        int q = manifest_read(pull, &in, c, &id, &e);
        if (q == 0)
                look_at(c, id);
        else if (e.code != q || !e.text[0])
                abort();
        free(id);
        if (catalog_is_empty(c, &empty, NULL) < 0 || !empty)
                abort();
        return 0;
}
