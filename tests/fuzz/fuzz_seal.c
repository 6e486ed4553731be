/* fuzz_seal.c - the strict reader of sealed messages against anything.
 *
 * The data key is known here, whatever a header says. An input is tried as it is, and once more
 * with commitment and header tag made right, so that what lies behind the header is reached too. */
#include "base.h"
#include "seal_internal.h"

#include <openssl/evp.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct input {
        const uint8_t *data;
        size_t len;
};

static int input_pread(void *ctx, void *data, size_t len, uint64_t offset, struct err *e)
{
        const struct input *in = ctx;
        if (offset > in->len || len > in->len - offset)
                return err_set(e, -EPROTO, "too short");
        memcpy(data, in->data + offset, len);
        return 0;
}

static int give_key(_unused_ void *ctx, _unused_ const char *fingerprint, const uint8_t *wrapped,
        size_t len, uint8_t ret_data_key[32], struct err *e)
{
        if (len == 0 || wrapped[0] == 'n')
                return err_set(e, -ENOKEY, "not for us");
        memset(ret_data_key, 'k', 32);
        return 0;
}

static int count(void *ctx, const char *fingerprint)
{
        if (strlen(fingerprint) != SEAL_FINGERPRINT)
                abort();
        return ++*(unsigned *)ctx > SEAL_RECIPIENTS ? abort(), 0 : 0;
}

static size_t header_size(const struct seal_source *source)
{
        struct seal_header h = {0};
        if (seal_header_read(source, &h, NULL) < 0)
                abort();
        size_t len = h.len;
        seal_header_done(&h);
        return len;
}

/* What must hold for every message that opens. */
static void read_all(struct seal_reader *r, size_t header, size_t wire)
{
        uint64_t size = seal_reader_size(r);
        if (seal_wire_size(header, size) < wire - 8 || size > wire)
                abort(); /* 8: a final frame may be empty behind a full one */
        uint8_t out[4096];
        bool whole = true;
        for (uint64_t at = 0; at < size; at += sizeof out)
                if (seal_pread(r, out, (size_t)MIN(sizeof out, size - at), at, NULL) < 0)
                        whole = false;
        if (seal_pread(r, out, 1, size, NULL) != -EINVAL)
                abort();
        int end = seal_check_end(r, NULL);
        if (whole && size > 0 && size % SEAL_FRAME_PLAIN != 0 && end < 0)
                abort(); /* its last byte was released, so the final frame is good */
        (void)seal_reader_context(r, "autoglacier-archive");
}

static void try_message(const uint8_t *data, size_t len)
{
        struct input in = {data, len};
        const struct seal_source source = {input_pread, &in, len};
        struct err e = {0};
        unsigned n = 0;
        (void)seal_recipients(&source, count, &n, &e);
        struct seal_reader *r = NULL;
        if (seal_reader_new(&source, give_key, NULL, &r, &e) == 0)
                read_all(r, header_size(&source), len);
        else if (!*e.text || e.code >= 0)
                abort(); /* an error has a code and words */
        seal_reader_free(r);
}

/* Makes commitment and tag of the header right. */
static void repair(uint8_t *data, const struct seal_header *h)
{
        uint8_t data_key[SEAL_KEY], key[SEAL_KEY];
        size_t body = h->len - SEAL_TAG;
        memset(data_key, 'k', sizeof data_key);
        if (seal_derive(data_key, h->message_id, key, data + body - SEAL_COMMIT) < 0)
                abort();
        EVP_CIPHER_CTX *gcm = seal_cipher_new(key, true);
        if (!gcm || seal_header_sign(gcm, data, body, data + body) < 0)
                abort();
        EVP_CIPHER_CTX_free(gcm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        try_message(data, len);
        struct seal_header h;
        if (seal_header_parse(data, len, &h, NULL) < 0)
                return 0;
        uint8_t *copy = malloc(len);
        if (copy) {
                memcpy(copy, data, len);
                repair(copy, &h);
                try_message(copy, len);
        }
        free(copy);
        seal_header_done(&h);
        return 0;
}
