#include "store_s3_internal.h"

#include "bytes.h"

#include <openssl/evp.h>

static int put(struct s3_store *s, const struct s3_put *p, bool condition, struct err *e)
{
        char checksum[BYTES_BASE64_LEN(32)];
        uint8_t hash[32];
        if (!p->sha256 && !EVP_Digest(p->data, p->len, hash, NULL, EVP_sha256(), NULL))
                return err_set(e, -EIO, "SHA-256 failed");
        const uint8_t *sha256 = p->sha256 ? p->sha256 : hash;
        bytes_base64(sha256, 32, checksum);
        const struct sigv4_pair headers[] = {
                {"content-type", "application/octet-stream"},
                {"x-amz-checksum-sha256", checksum},
                {"x-amz-storage-class", p->storage_class},
                {"if-none-match", "*"},
        };
        char what[300];
        (void)snprintf(what, sizeof what, "write %s", p->name); /* may be cut */
        const struct s3_request r = {
                .name = p->name,
                .call = {.what = what,
                        .right = "s3:PutObject",
                        .method = "PUT",
                        .headers = headers,
                        .n_headers = ARRAY_SIZE(headers) - !condition,
                        .body = p->data,
                        .body_len = p->len,
                        .sha256 = sha256,
                        .counts = true},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        return s3_do(s, &r, &a, e);
}

int s3_put(struct s3_store *s, const struct s3_put *p, struct err *e)
{
        bool condition = p->only_new && atomic_load(&s->conditions) != S3_NO;
        int q = put(s, p, condition, e);
        if (q == -EOPNOTSUPP && condition) { /* a service without conditional writes */
                atomic_store(&s->conditions, S3_NO);
                q = put(s, p, false, e);
        }
        return q;
}
