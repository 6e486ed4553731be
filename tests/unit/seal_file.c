/* seal_file - seals standard input for the public keys given: seal_file PUBLIC.pem… <IN >OUT
 *
 * For the tests that let other programs read what we write. */
#include "base.h"
#include "io.h"
#include "keys.h"
#include "seal.h"

static int to_stdout(_unused_ void *ctx, const void *data, size_t len, struct err *e)
{
        int r = io_write_full(STDOUT_FILENO, data, len);
        return r < 0 ? err_errno(e, r, "cannot write") : 0;
}

static int copy(struct seal_writer *w, struct err *e)
{
        static uint8_t data[3 * MiB + 1]; /* no multiple of a frame */
        for (;;) {
                ssize_t n = io_read_full(STDIN_FILENO, data, sizeof data);
                if (n < 0)
                        return err_errno(e, (int)n, "cannot read");
                int r = seal_write(w, data, (size_t)n, e);
                if (r < 0)
                        return r;
                if ((size_t)n < sizeof data)
                        return seal_finish(w, e);
        }
}

static int seal(struct keys_public **keys, size_t n, struct err *e)
{
        const struct seal_pair context[] = {{"format", "1"}, {"archive", "test of ä € 漢"}};
        _cleanup_(seal_writer_freep) struct seal_writer *w = NULL;
        int r = seal_writer_new((const struct keys_public *const *)keys, n, context,
                ARRAY_SIZE(context), to_stdout, NULL, &w, e);
        return r < 0 ? r : copy(w, e);
}

int main(int argc, char **argv)
{
        struct keys_public *keys[SEAL_RECIPIENTS] = {0};
        struct err e = {0};
        int r = 0, n = argc - 1;
        if (n < 1 || n > (int)SEAL_RECIPIENTS) {
                (void)fprintf(stderr, "usage: seal_file PUBLIC.pem... <IN >OUT\n");
                return 2;
        }
        for (int i = 0; i < n && r == 0; i++)
                r = keys_public_load(argv[i + 1], &keys[i], &e);
        if (r == 0)
                r = seal(keys, (size_t)n, &e);
        for (int i = 0; i < n; i++)
                keys_public_free(keys[i]);
        if (r < 0)
                (void)fprintf(stderr, "seal_file: %s\n", e.text);
        return r < 0 ? 1 : 0;
}
