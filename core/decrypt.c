#include "decrypt.h"

#include "decrypt_internal.h"
#include "io.h"
#include "seal.h"

#include <fcntl.h>
#include <sys/stat.h>

#define STEP (8u * SEAL_FRAME_PLAIN)

static int copy(struct plain *p, int out, struct err *e)
{
        _cleanup_free_ uint8_t *buf = malloc(STEP);
        if (!buf)
                return err_oom(e);
        ssize_t n;
        while ((n = plain_read(p, buf, STEP, e)) > 0) {
                int q = io_write_full(out, buf, (size_t)n);
                if (q < 0)
                        return err_errno(e, q, "cannot write the decrypted file");
        }
        if (n < 0)
                return (int)n;
        return fsync(out) < 0 ? err_errno(e, -errno, "cannot write the decrypted file") : 0;
}

static int publish(const char *partial, const char *out, struct err *e)
{
        if (renameat2(AT_FDCWD, partial, AT_FDCWD, out, RENAME_NOREPLACE) < 0)
                return err_errno(e, -errno, "cannot name the finished file %s", out);
        int q = io_sync_parent(AT_FDCWD, out);
        return q < 0 ? err_errno(e, q, "cannot write the folder of %s", out) : 0;
}

static int write_out(struct plain *p, const char *out, struct err *e)
{
        _cleanup_free_ char *partial = NULL;
        if (asprintf(&partial, "%s.partial", out) < 0) {
                partial = NULL;
                return err_oom(e);
        }
        _cleanup_close_ int fd =
                open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_errno(e, -errno, "cannot make %s", partial);
        int q = copy(p, fd, e);
        if (q == 0)
                q = publish(partial, out, e);
        if (q < 0)
                (void)unlink(partial); /* half a file helps nobody; the first error is the one to
                                          report */
        return q;
}

int decrypt_run(const struct keys_private *key, const char *const *files, const char *out,
        void (*progress)(void *ctx, uint64_t done, uint64_t todo), void *ctx,
        const atomic_bool *stop, struct err *e)
{
        struct stat st;
        if (lstat(out, &st) == 0)
                return err_set(e, -EEXIST, "%s is there already; name another file with -o", out);
        const struct plain_params params = {
                .key = key, .files = files, .progress = progress, .ctx = ctx, .stop = stop};
        _cleanup_(plain_freep) struct plain *p = NULL;
        int q = plain_new(&params, &p, e);
        return q < 0 ? q : write_out(p, out, e);
}
