/* open_file - opens a sealed file with a private key: open_file PRIVATE.pem FILE [PASSPHRASE] >OUT
 *
 * For the tests that let us read what other programs write. */
#include "base.h"
#include "io.h"
#include "keys.h"
#include "seal.h"
#include "secret.h"

#include <fcntl.h>
#include <sys/stat.h>

static int from_file(void *ctx, void *data, size_t len, uint64_t offset, struct err *e)
{
        ssize_t n = io_pread_full(*(int *)ctx, data, len, offset);
        if (n < 0)
                return err_errno(e, (int)n, "cannot read");
        return (size_t)n == len ? 0 : err_set(e, -EPROTO, "the file became shorter");
}

static int copy(struct seal_reader *r, struct err *e)
{
        static uint8_t data[5 * MiB + 3];
        uint64_t size = seal_reader_size(r);
        for (uint64_t at = 0; at < size;) {
                size_t n = (size_t)MIN(size - at, (uint64_t)sizeof data);
                int result = seal_pread(r, data, n, at, e);
                if (result == 0)
                        result = io_write_full(STDOUT_FILENO, data, n);
                if (result < 0)
                        return result;
                at += n;
        }
        return seal_check_end(r, e);
}

static int answer(void *ctx, _unused_ const char *path, _unused_ unsigned attempt,
        struct secret **ret, _unused_ struct err *e)
{
        return secret_copy(ctx, strlen(ctx), ret);
}

static int open_it(const char *key_path, const char *path, char *passphrase, struct err *e)
{
        _cleanup_(keys_private_freep) struct keys_private *key = NULL;
        _cleanup_(seal_reader_freep) struct seal_reader *reader = NULL;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_errno(e, -errno, "cannot open %s", path);
        int r = keys_private_load(key_path, passphrase ? answer : NULL, passphrase, &key, e);
        if (r < 0)
                return r;
        const struct seal_source source = {from_file, &fd, (uint64_t)st.st_size};
        r = seal_reader_new(&source, seal_unwrap_with_key, key, &reader, e);
        return r < 0 ? r : copy(reader, e);
}

int main(int argc, char **argv)
{
        struct err e = {0};
        if (argc != 3 && argc != 4) {
                (void)fprintf(stderr, "usage: open_file PRIVATE.pem FILE [PASSPHRASE] >OUT\n");
                return 2;
        }
        if (open_it(argv[1], argv[2], argv[3], &e) == 0)
                return 0;
        (void)fprintf(stderr, "open_file: %s: %s\n", argv[2], e.text);
        return 1;
}
