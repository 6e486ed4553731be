#include "keyring_internal.h"

#include "io.h"
#include "secret.h"

#include <fcntl.h>
#include <sys/stat.h>

#define PASSPHRASE_MAX (4u * KiB)

static int give(void *ctx, const char *path _unused_, unsigned attempt _unused_,
        struct secret **ret, struct err *e)
{
        const struct secret *s = ctx;
        return secret_copy(s->data, s->len, ret) < 0 ? err_oom(e) : 0;
}

int keyring_load_with(const struct entry *n, const struct secret *passphrase,
        struct keys_private **ret, struct err *e)
{
        return keys_private_load(n->path, passphrase ? give : NULL, (void *)passphrase, ret, e);
}

/* ---- a passphrase from a file ---- */

static int check_file_mode(const char *path, struct err *e)
{
        struct stat st;
        if (stat(path, &st) < 0)
                return err_errno(e, -errno, "cannot look at the passphrase file %s", path);
        if (S_ISREG(st.st_mode) && st.st_mode & 077)
                return err_set(e, -EACCES,
                        "%s holds a passphrase, but others can read it; make it yours alone with: "
                        "chmod 600 %s",
                        path, path);
        return 0;
}

/* The first line of the file. */
static int read_passphrase(const char *path, struct secret **ret, struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        int q = check_file_mode(path, e);
        if (q == 0)
                q = io_read_file(AT_FDCWD, path, PASSPHRASE_MAX, &b, e);
        if (q < 0)
                return err_prefix(e, q, "PRIV_RSA_KEY_PASSPHRASE_FILE");
        size_t n = strcspn(buf_str(&b), "\r\n");
        q = n > 0 ? secret_copy(buf_str(&b), n, ret)
                  : err_set(e, -EINVAL, "the passphrase file %s is empty", path);
        secret_wipe(b.data, b.len);
        return q == -ENOMEM ? err_oom(e) : q;
}

/* ---- opening a key ---- */

int keyring_load_quietly(
        struct keyring *k, struct entry *n, struct keys_private **ret, struct err *e)
{
        int q = keyring_load_with(n, n->passphrase, ret, e);
        if (q != -ENOKEY || n->passphrase || access(n->path, F_OK) < 0)
                return q;
        if (k->passphrase) {
                struct err why = {0};
                int again = keyring_load_with(n, k->passphrase, ret, &why);
                if (again != -EACCES)
                        return again < 0 ? err_set(e, again, "%s", why.text) : 0;
        }
        if (!k->passphrase_file)
                return q;
        _cleanup_secret_ struct secret *s = NULL;
        if ((q = read_passphrase(k->passphrase_file, &s, e)) < 0)
                return q;
        q = keyring_load_with(n, s, ret, e);
        return q == -EACCES ? err_set(e, q, "the passphrase in %s does not open the private key %s",
                                      k->passphrase_file, n->path)
                            : q;
}

/* Passes the question on and remembers the last answer, for the next data key. */
struct question {
        struct keyring *k;
        struct secret *last;
};

static int ask_once(
        void *ctx, const char *path, unsigned attempt, struct secret **ret, struct err *e)
{
        struct question *a = ctx;
        int q = a->k->ask(a->k->ask_ctx, path, attempt, ret, e);
        secret_free(a->last);
        a->last = NULL;
        if (q == 0 && secret_copy((*ret)->data, (*ret)->len, &a->last) < 0) {
                secret_free(*ret);
                *ret = NULL;
                return err_oom(e);
        }
        return q;
}

int keyring_load_asking(
        struct keyring *k, struct entry *n, struct keys_private **ret, struct err *e)
{
        struct question a = {.k = k};
        int q = keys_private_load(n->path, ask_once, &a, ret, e);
        if (q == 0 && a.last)
                q = keyring_keep(n, a.last, 0) < 0 ? err_oom(e) : 0;
        secret_free(a.last);
        return q;
}
