#include "keys.h"

#include "io.h"
#include "secret.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/stat.h>

/* RFC 7914. 16 MiB and about half a second a guess: as much as OpenSSL opens again by default,
 * which is what other programs that read this key use. */
#define SCRYPT_N 16384
#define SCRYPT_R 8
#define SCRYPT_P 8
#define SALT_LEN 16

/* ---- the two texts ---- */

static EVP_PKEY *make_key(unsigned bits)
{
        EVP_PKEY *key = NULL;
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
        if (ctx && EVP_PKEY_keygen_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits) == 1)
                (void)EVP_PKEY_generate(ctx, &key); /* key stays NULL when it fails */
        EVP_PKEY_CTX_free(ctx);
        return key;
}

/* PKCS#8, encrypted: PBES2 with scrypt and AES-256-CBC. */
static X509_SIG *encrypt_pkcs8(PKCS8_PRIV_KEY_INFO *plain, const struct secret *passphrase)
{
        X509_ALGOR *how = PKCS5_pbe2_set_scrypt(
                EVP_aes_256_cbc(), NULL, SALT_LEN, NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
        if (!how)
                return NULL;
        X509_SIG *sealed =
                PKCS8_set0_pbe((const char *)passphrase->data, (int)passphrase->len, plain, how);
        if (!sealed)
                X509_ALGOR_free(how); /* otherwise it belongs to `sealed` */
        return sealed;
}

static bool print_private(BIO *out, EVP_PKEY *key, const struct secret *passphrase)
{
        PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
        X509_SIG *sealed = plain && passphrase ? encrypt_pkcs8(plain, passphrase) : NULL;
        bool ok = plain && (passphrase ? sealed && PEM_write_bio_PKCS8(out, sealed) == 1
                                       : PEM_write_bio_PKCS8_PRIV_KEY_INFO(out, plain) == 1);
        X509_SIG_free(sealed);
        PKCS8_PRIV_KEY_INFO_free(plain); /* wipes itself */
        return ok;
}

/* The PEM of the private half in memory that wipes itself, of the public half in `pub`. */
static int make_texts(unsigned bits, const struct secret *passphrase, struct secret **ret_private,
        BIO *pub, struct err *e)
{
        BIO *priv = BIO_new(BIO_s_secmem()); /* cleared when freed */
        EVP_PKEY *key = make_key(bits);
        char *text = NULL;
        bool ok = priv && key && print_private(priv, key, passphrase) &&
                  PEM_write_bio_PUBKEY(pub, key) == 1;
        long len = ok ? BIO_get_mem_data(priv, &text) : 0;
        int r = ok ? secret_copy(text, (size_t)len, ret_private) : 0;
        EVP_PKEY_free(key);
        BIO_free(priv);
        ERR_clear_error();
        if (!ok)
                return err_set(e, -EIO, "cannot make an RSA key of %u bits", bits);
        return r < 0 ? err_oom(e) : 0;
}

/* ---- files that are new ---- */

struct fresh {
        const char *path;
        int fd;
        bool named; /* it stands under its name already, and goes if the pair does not come about */
};

static int refuse_existing(const char *path, struct err *e)
{
        int r = err_set(e, -EEXIST, "%s exists already; keys are never overwritten", path);
        err_hint(e, "choose another name, or move the old key to a safe place");
        return r;
}

static int parent_of(const char *path, char **ret)
{
        const char *slash = strrchr(path, '/');
        if (!slash)
                *ret = strdup(".");
        else
                *ret = strndup(path, slash == path ? 1 : (size_t)(slash - path));
        return *ret ? 0 : -ENOMEM;
}

/* Without a name until it is whole, where the filesystem can do that. */
static int fresh_open(struct fresh *f, mode_t mode, struct err *e)
{
        struct stat st;
        if (lstat(f->path, &st) == 0)
                return refuse_existing(f->path, e);
        _cleanup_free_ char *folder = NULL;
        if (parent_of(f->path, &folder) < 0)
                return err_oom(e);
        f->fd = open(folder, O_WRONLY | O_TMPFILE | O_CLOEXEC, mode);
        if (f->fd < 0) {
                f->fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
                f->named = f->fd >= 0;
        }
        if (f->fd < 0 && errno == EEXIST)
                return refuse_existing(f->path, e);
        if (f->fd < 0)
                return err_errno(e, -errno, "cannot create %s", f->path);
        if (fchmod(f->fd, mode) < 0) /* whatever the umask */
                return err_errno(e, -errno, "cannot set the permissions of %s", f->path);
        return 0;
}

static int fresh_write(struct fresh *f, const void *data, size_t len, struct err *e)
{
        int r = io_write_full(f->fd, data, len);
        if (r == 0 && fsync(f->fd) < 0)
                r = -errno;
        return r < 0 ? err_errno(e, r, "cannot write %s", f->path) : 0;
}

/* linkat() never replaces a file. */
static int fresh_name(struct fresh *f, struct err *e)
{
        if (!f->named) {
                char self[64];
                (void)snprintf(self, sizeof self, "/proc/self/fd/%d", f->fd); /* always fits */
                if (linkat(AT_FDCWD, self, AT_FDCWD, f->path, AT_SYMLINK_FOLLOW) < 0)
                        return errno == EEXIST ? refuse_existing(f->path, e)
                                               : err_errno(e, -errno, "cannot create %s", f->path);
                f->named = true;
        }
        int r = io_sync_parent(AT_FDCWD, f->path);
        return r < 0 ? err_errno(e, r, "cannot sync the folder of %s", f->path) : 0;
}

static void fresh_done(struct fresh *f, bool keep)
{
        if (f->named && !keep)
                (void)unlink(f->path); /* ours, made a moment ago; the first error is what counts */
        base_closep(&f->fd);
}

/* ---- all of it ---- */

static int write_pair(struct fresh *priv, struct fresh *pub, const struct secret *priv_text,
        BIO *pub_text, struct err *e)
{
        char *text = NULL;
        long len = BIO_get_mem_data(pub_text, &text);
        int r = fresh_write(priv, priv_text->data, priv_text->len, e);
        if (r == 0)
                r = fresh_write(pub, text, (size_t)len, e);
        /* A public key without its private one would seal archives for nobody: it comes last. */
        if (r == 0)
                r = fresh_name(priv, e);
        if (r == 0)
                r = fresh_name(pub, e);
        return r;
}

int keys_generate(unsigned bits, const char *private_path, const char *public_path,
        const struct secret *passphrase, struct err *e)
{
        if (bits < 2048 || bits > 8192)
                return err_set(e, -EINVAL, "an RSA key has 2,048 to 8,192 bits here, not %u", bits);
        struct fresh priv = {.path = private_path, .fd = -1};
        struct fresh pub = {.path = public_path, .fd = -1};
        BIO *pub_text = BIO_new(BIO_s_mem());
        _cleanup_secret_ struct secret *priv_text = NULL;

        /* open both before the slow part: what cannot be written is found out at once */
        int r = pub_text ? fresh_open(&priv, 0600, e) : err_oom(e);
        if (r == 0)
                r = fresh_open(&pub, 0644, e);
        if (r == 0)
                r = make_texts(bits, passphrase, &priv_text, pub_text, e);
        if (r == 0)
                r = write_pair(&priv, &pub, priv_text, pub_text, e);
        fresh_done(&pub, r == 0);
        fresh_done(&priv, r == 0);
        BIO_free(pub_text);
        return r;
}
