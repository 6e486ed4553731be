/* fuzz_log.c - the reader of JSON as a stream against anything, with jansson beside it.
 *
 * What jansson takes, it takes; a value comes out as it went in, byte for byte; and a log that it
 * has refused is left as it was. */
#include "base.h"
#include "buf.h"
#include "io.h"
#include "json_log.h"
#include "json_scan.h"

#include <fcntl.h>
#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int copy(void *ctx, const char *data, size_t len, struct err *e _unused_)
{
        buf_add(ctx, data, len);
        return 0;
}

/* The value in the file, copied. */
static int scan(const char *path, struct buf *ret)
{
        _cleanup_(json_scan_freep) struct json_scan *s = NULL;
        struct err e = {0};
        if (json_scan_open(path, &s, &e) < 0)
                abort();
        int q = json_scan_value(s, copy, ret, &e);
        if (q == 0)
                q = json_scan_end(s, &e);
        if (q < 0 && (q != -EPROTO || e.code != q || !e.text[0]))
                abort();
        return q;
}

static bool is_space(uint8_t c)
{
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int write_entry(void *ctx _unused_, FILE *f, struct err *e _unused_)
{
        return fputs("{}", f) < 0 ? -EIO : 0;
}

/* An entry more: then it is JSON still; or a refusal, and it is what it was. */
static void add_entry(const char *path, const uint8_t *data, size_t len)
{
        struct json_log log = {.path = path};
        _cleanup_buf_ struct buf after = BUF_INIT;
        if (json_log_put(&log, "1.5", write_entry, NULL, NULL) == 0) {
                _cleanup_free_ char *key = NULL;
                if (json_log_begin(&log, 1500000000, &key, NULL) < 0 || !startswith(key, "1.5") ||
                        scan(path, &after) < 0)
                        abort();
                return;
        }
        if (io_read_file(AT_FDCWD, path, 1 << 20, &after, NULL) < 0 || after.len != len ||
                (len > 0 && memcmp(after.data, data, len) != 0))
                abort();
}

static char dir[] = "/tmp/ag-fuzz-XXXXXX";

static void remove_dir(void)
{
        (void)io_remove_tree(AT_FDCWD, dir, NULL); /* at the end of all */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static char path[64];
        if (!*path) {
                if (!mkdtemp(dir) || atexit(remove_dir) != 0)
                        abort();
                (void)snprintf(path, sizeof path, "%s/log.json", dir);
        }
        if (len > 1 << 16)
                return 0;
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || io_write_full(fd, data, len) < 0 || close(fd) < 0)
                abort();
        _cleanup_buf_ struct buf out = BUF_INIT;
        int q = scan(path, &out);
        json_auto_t *theirs = json_loadb((const char *)data, len, JSON_DECODE_ANY, NULL);
        /* longer ones may hold longer numbers than we take; jansson ends at a zero byte */
        if (theirs && q < 0 && len < 64 && !memchr(data, 0, len))
                abort();
        add_entry(path, data, len);
        if (q == 0) {
                while (len > 0 && is_space(data[len - 1]))
                        len--;
                while (len > 0 && is_space(*data)) {
                        data++;
                        len--;
                }
                if (out.len != len || memcmp(out.data, data, len) != 0)
                        abort();
        }
        return 0;
}
