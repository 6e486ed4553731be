#include "seal.h"

#include "buf.h"
#include "keys.h"
#include "seal_internal.h"
#include "secret.h"

#include <openssl/evp.h>

#define RUN_FRAMES 16u

struct seal_reader {
        struct seal_source source;
        struct seal_header header;
        EVP_CIPHER_CTX *gcm;
        uint32_t n_full;    /* frames before the final one */
        uint32_t final_len; /* plaintext bytes in the final one */
        uint8_t *run;       /* frames side by side as on the wire, decrypted in place */
        size_t run_cap;
        uint32_t run_first; /* index (from 0) of the first frame in `run` */
        uint32_t run_count; /* frames in `run` that are authenticated */
};

/* ---- opening ---- */

/* How many frames there are follows from the size alone: the final one has 40 bytes and its load
 * more than the whole frames before it. */
static int measure(struct seal_reader *r, struct err *e)
{
        const uint64_t least = SEAL_FINAL_HEAD + SEAL_TAG;
        uint64_t body = r->source.size - r->header.len;
        if (body < least)
                return err_set(e, -EPROTO, "the archive file is cut off behind its header");
        uint64_t full = (body - least) / SEAL_FRAME_WIRE;
        uint64_t rest = (body - least) % SEAL_FRAME_WIRE;
        if (rest > SEAL_FRAME_PLAIN || full >= SEAL_FINAL_MARK - 1)
                return err_set(e, -EPROTO,
                        "the archive file has an impossible length: something was cut off or "
                        "added");
        r->n_full = (uint32_t)full;
        r->final_len = (uint32_t)rest;
        return 0;
}

/* `why`: what the holder of the keys said, that they are locked for example. */
static int no_key(const struct seal_header *h, const char *why, struct err *e)
{
        _cleanup_buf_ struct buf names = BUF_INIT;
        for (size_t i = 0; i < h->n_edks; i++)
                buf_addf(&names, "%s%s", i > 0 ? ", " : "", h->edks[i].fingerprint);
        if (h->n_edks == 0)
                return err_set(e, -ENOKEY, "sealed for keys of another program only");
        return err_set(e, -ENOKEY, "%s; it needs the private key with fingerprint %s",
                *why ? why : "sealed for other keys", buf_str(&names));
}

/* The data key from the first of the wrapped ones that gives it. One that is ours but broken does
 * not hide another that is ours and whole. */
static int find_data_key(const struct seal_header *h, seal_unwrap_fn unwrap, void *ctx,
        uint8_t data_key[SEAL_KEY], struct err *e)
{
        struct err last = {0};
        int result = -ENOKEY;
        for (size_t i = 0; i < h->n_edks; i++) {
                const struct seal_edk *k = &h->edks[i];
                struct err why = {0};
                int r = unwrap(ctx, k->fingerprint, k->wrapped, k->len, data_key, &why);
                if (r == 0)
                        return 0;
                if (r == -ENOKEY && (result != -ENOKEY || *last.text))
                        continue;
                result = r;
                last = why;
                if (r != -ENOKEY && r != -EBADMSG)
                        break;
        }
        return result == -ENOKEY ? no_key(h, last.text, e) : err_set(e, result, "%s", last.text);
}

/* The commitment first: it proves that no other data key opens this message. */
static int open_header(struct seal_reader *r, const uint8_t *data_key, struct err *e)
{
        uint8_t key[SEAL_KEY], commit[SEAL_COMMIT];
        int result = seal_derive(data_key, r->header.message_id, key, commit);
        if (result == 0 && !secret_equal(commit, r->header.commit, SEAL_COMMIT))
                result = -EBADMSG;
        r->gcm = result == 0 ? seal_cipher_new(key, false) : NULL;
        secret_wipe(key, sizeof key);
        if (result == -EBADMSG)
                return err_set(e, result,
                        "the header's key commitment is wrong: it was altered or damaged");
        if (!r->gcm)
                return err_oom(e);
        return seal_header_check(r->gcm, &r->header, e);
}

int seal_reader_new(const struct seal_source *source, seal_unwrap_fn unwrap, void *ctx,
        struct seal_reader **ret, struct err *e)
{
        _cleanup_(seal_reader_freep) struct seal_reader *r = calloc(1, sizeof *r);
        if (!r)
                return err_oom(e);
        r->source = *source;
        int result = seal_header_read(source, &r->header, e);
        if (result < 0)
                return result;
        uint8_t data_key[SEAL_KEY] = {0};
        result = find_data_key(&r->header, unwrap, ctx, data_key, e);
        if (result == 0)
                result = open_header(r, data_key, e);
        secret_wipe(data_key, sizeof data_key);
        if (result == 0)
                result = measure(r, e);
        if (result < 0)
                return result;
        *ret = steal(r);
        return 0;
}

void seal_reader_free(struct seal_reader *r)
{
        if (!r)
                return;
        EVP_CIPHER_CTX_free(r->gcm); /* wipes the key */
        seal_header_done(&r->header);
        free(r->run);
        free(r);
}

int seal_unwrap_with_key(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[32], struct err *e)
{
        const struct keys_private *k = ctx;
        if (!streq(keys_private_fingerprint(k), fingerprint))
                return err_set(e, -ENOKEY, "sealed for other keys");
        return keys_unwrap(k, wrapped, len, ret_data_key, e);
}

/* ---- frames ---- */

static size_t wire_len(const struct seal_reader *r, uint32_t index)
{
        return index < r->n_full ? SEAL_FRAME_WIRE : SEAL_FINAL_HEAD + r->final_len + SEAL_TAG;
}

static int reserve(struct seal_reader *r, size_t len, struct err *e)
{
        if (len <= r->run_cap)
                return 0;
        free(r->run);
        r->run_cap = 0;
        r->run = malloc(len);
        if (!r->run)
                return err_oom(e);
        r->run_cap = len;
        return 0;
}

/* Fetches and authenticates `count` frames from `first` on. All of them or none. */
static int fetch(struct seal_reader *r, uint32_t first, uint32_t count, struct err *e)
{
        r->run_count = 0;
        size_t len = (size_t)(count - 1) * SEAL_FRAME_WIRE + wire_len(r, first + count - 1);
        int result = reserve(r, len, e);
        if (result < 0)
                return result;
        uint64_t offset = r->header.len + (uint64_t)first * SEAL_FRAME_WIRE;
        result = r->source.pread(r->source.ctx, r->run, len, offset, e);
        for (uint32_t i = 0; i < count && result == 0; i++) {
                uint32_t index = first + i;
                result =
                        seal_frame_read(r->gcm, r->header.message_id, index + 1, index == r->n_full,
                                r->run + (size_t)i * SEAL_FRAME_WIRE, wire_len(r, index), e);
        }
        if (result < 0)
                return result;
        r->run_first = first;
        r->run_count = count;
        return 0;
}

static bool in_run(const struct seal_reader *r, uint32_t index)
{
        return index >= r->run_first && index - r->run_first < r->run_count;
}

/* The plaintext of a frame that is in the run. */
static const uint8_t *plain_of(const struct seal_reader *r, uint32_t index)
{
        size_t head = index < r->n_full ? SEAL_FRAME_HEAD : SEAL_FINAL_HEAD;
        return r->run + (size_t)(index - r->run_first) * SEAL_FRAME_WIRE + head;
}

int seal_pread(struct seal_reader *r, void *data, size_t len, uint64_t offset, struct err *e)
{
        uint64_t size = seal_reader_size(r);
        if (offset > size || len > size - offset)
                return err_set(e, -EINVAL, "there is nothing behind byte %llu of this archive file",
                        (unsigned long long)size);
        uint8_t *out = data;
        while (len > 0) {
                uint32_t index = (uint32_t)(offset / SEAL_FRAME_PLAIN);
                size_t skip = (size_t)(offset % SEAL_FRAME_PLAIN);
                if (!in_run(r, index)) {
                        size_t want = (skip + len - 1) / SEAL_FRAME_PLAIN + 1;
                        int result = fetch(r, index, (uint32_t)MIN(want, RUN_FRAMES), e);
                        if (result < 0)
                                return result;
                }
                size_t n = MIN(len, SEAL_FRAME_PLAIN - skip);
                memcpy(out, plain_of(r, index) + skip, n);
                out += n;
                offset += n;
                len -= n;
        }
        return 0;
}

int seal_check_end(struct seal_reader *r, struct err *e)
{
        return in_run(r, r->n_full) ? 0 : fetch(r, r->n_full, 1, e);
}

/* ---- looking ---- */

uint64_t seal_reader_size(const struct seal_reader *r)
{
        return (uint64_t)r->n_full * SEAL_FRAME_PLAIN + r->final_len;
}

const uint8_t *seal_reader_message_id(const struct seal_reader *r)
{
        return r->header.message_id;
}

const char *seal_reader_context(const struct seal_reader *r, const char *key)
{
        const char *p = r->header.context, *end = p ? p + r->header.context_len : p;
        while (p < end) {
                const char *value = p + strlen(p) + 1;
                if (streq(p, key))
                        return value;
                p = value + strlen(value) + 1;
        }
        return NULL;
}

int seal_recipients(const struct seal_source *source,
        int (*each)(void *ctx, const char *fingerprint), void *ctx, struct err *e)
{
        struct seal_header h = {0};
        int r = seal_header_read(source, &h, e);
        for (size_t i = 0; r == 0 && i < h.n_edks; i++)
                r = each(ctx, h.edks[i].fingerprint);
        seal_header_done(&h);
        return r;
}
