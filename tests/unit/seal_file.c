/* seal_file - seals standard input for the public keys given:
 *
 *     seal_file [-c KEY=VALUE]… PUBLIC.pem… <IN >OUT
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

struct job {
        struct seal_pair context[16];
        size_t n_context;
        struct keys_public *keys[SEAL_RECIPIENTS];
        size_t n_keys;
};

static int seal(const struct job *j, struct err *e)
{
        _cleanup_(seal_writer_freep) struct seal_writer *w = NULL;
        int r = seal_writer_new((const struct keys_public *const *)j->keys, j->n_keys, j->context,
                j->n_context, to_stdout, NULL, &w, e);
        return r < 0 ? r : copy(w, e);
}

static int add_context(struct job *j, char *pair, struct err *e)
{
        char *value = strchr(pair, '=');
        if (!value || j->n_context == ARRAY_SIZE(j->context))
                return err_set(e, -EINVAL, "-c wants KEY=VALUE, and that not too often");
        *value = '\0';
        j->context[j->n_context++] = (struct seal_pair){pair, value + 1};
        return 0;
}

static int parse(int argc, char **argv, struct job *j, struct err *e)
{
        int option, r = 0;
        while (r == 0 && (option = getopt(argc, argv, "c:")) != -1)
                r = option == 'c' ? add_context(j, optarg, e) : -EINVAL;
        for (; r == 0 && optind < argc; optind++) {
                if (j->n_keys == SEAL_RECIPIENTS)
                        return err_set(e, -EINVAL, "too many keys");
                r = keys_public_load(argv[optind], &j->keys[j->n_keys], e);
                j->n_keys += r == 0;
        }
        return r;
}

int main(int argc, char **argv)
{
        struct job j = {0};
        struct err e = {0};
        int r = parse(argc, argv, &j, &e);
        if (r == 0)
                r = seal(&j, &e);
        for (size_t i = 0; i < j.n_keys; i++)
                keys_public_free(j.keys[i]);
        if (r < 0)
                (void)fprintf(stderr, "seal_file: %s\n", e.text);
        return r < 0 ? 1 : 0;
}
