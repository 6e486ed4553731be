#include "seal.h"

#include "buf.h"
#include "bytes.h"
#include "keys.h"
#include "seal_internal.h"
#include "secret.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

struct seal_writer {
        EVP_CIPHER_CTX *gcm;
        seal_sink_fn sink;
        void *ctx;
        uint8_t message_id[SEAL_MESSAGE_ID];
        uint64_t wire;
        uint32_t next;    /* number of the next frame, from 1 */
        size_t n_pending; /* bytes in `pending` */
        int failed;       /* what ended the writer */
        uint8_t *pending; /* SEAL_FRAME_PLAIN: a frame not known to be final or not */
        uint8_t *out;     /* SEAL_FRAME_MAX: the frame on its way to the sink */
};

/* ---- header ---- */

static void add_u16(struct buf *b, size_t v)
{
        uint8_t p[2];
        (void)bytes_put_u16(p, (uint16_t)v);
        buf_add(b, p, sizeof p);
}

/* The callers have checked that `len` fits into 16 bits. */
static void add_field(struct buf *b, const void *data, size_t len)
{
        add_u16(b, len);
        buf_add(b, data, len);
}

static int by_key(const void *a, const void *b)
{
        return strcmp(((const struct seal_pair *)a)->key, ((const struct seal_pair *)b)->key);
}

static int check_pair(const struct seal_pair *p, const char *last, struct err *e)
{
        if (!*p->key || !bytes_is_utf8(p->key, strlen(p->key)) ||
                !bytes_is_utf8(p->value, strlen(p->value)))
                return err_set(e, -EINVAL, "the encryption context must be UTF-8 with named pairs");
        if (startswith(p->key, "aws-crypto-"))
                return err_set(e, -EINVAL,
                        "encryption context \"%s\": names that begin with \"aws-crypto-\" are "
                        "reserved by the format",
                        p->key);
        if (last && streq(last, p->key))
                return err_set(e, -EINVAL, "encryption context \"%s\" is given twice", p->key);
        if (strlen(p->key) > UINT16_MAX || strlen(p->value) > UINT16_MAX)
                return err_set(e, -EINVAL, "the encryption context is larger than 65,535 bytes");
        return 0;
}

/* The context as the format wants it: sorted by key, length before all of it, 0 when empty. */
static int add_context(struct buf *b, const struct seal_pair *context, size_t n, struct err *e)
{
        if (n == 0) {
                add_u16(b, 0);
                return 0;
        }
        if (n > UINT16_MAX / 4)
                return err_set(e, -EINVAL, "the encryption context has too many pairs");
        _cleanup_free_ struct seal_pair *sorted = malloc(n * sizeof *sorted);
        if (!sorted)
                return err_oom(e);
        memcpy(sorted, context, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, by_key);

        _cleanup_buf_ struct buf aad = BUF_INIT;
        add_u16(&aad, n);
        for (size_t i = 0; i < n; i++) {
                int r = check_pair(&sorted[i], i > 0 ? sorted[i - 1].key : NULL, e);
                if (r < 0)
                        return r;
                add_field(&aad, sorted[i].key, strlen(sorted[i].key));
                add_field(&aad, sorted[i].value, strlen(sorted[i].value));
        }
        if (buf_oom(&aad))
                return err_oom(e);
        if (aad.len > UINT16_MAX)
                return err_set(e, -EINVAL, "the encryption context is larger than 65,535 bytes");
        add_field(b, aad.data, aad.len);
        return 0;
}

static bool seen_before(const struct keys_public *const *recipients, size_t i)
{
        for (size_t j = 0; j < i; j++)
                if (streq(keys_public_fingerprint(recipients[j]),
                            keys_public_fingerprint(recipients[i])))
                        return true;
        return false;
}

/* The data key, wrapped once for each recipient; a key that is listed twice counts once. */
static int add_recipients(struct buf *b, const struct keys_public *const *recipients, size_t n,
        const uint8_t *data_key, struct err *e)
{
        size_t distinct = 0;
        for (size_t i = 0; i < n; i++)
                distinct += !seen_before(recipients, i);
        if (distinct == 0 || distinct > SEAL_RECIPIENTS)
                return err_set(e, -EINVAL,
                        "an archive is sealed for 1 to %u public keys, not for %zu",
                        SEAL_RECIPIENTS, distinct);
        add_u16(b, distinct);
        for (size_t i = 0; i < n; i++) {
                if (seen_before(recipients, i))
                        continue;
                uint8_t wrapped[KEYS_WRAPPED_MAX];
                size_t len;
                int r = keys_wrap(recipients[i], data_key, wrapped, &len, e);
                if (r < 0)
                        return r;
                add_field(b, SEAL_PROVIDER, strlen(SEAL_PROVIDER));
                add_field(b, keys_public_fingerprint(recipients[i]), SEAL_FINGERPRINT);
                add_field(b, wrapped, len);
        }
        return 0;
}

static void add_start(struct buf *b, const uint8_t *message_id)
{
        uint8_t start[3] = {SEAL_VERSION, SEAL_SUITE >> 8, SEAL_SUITE & 0xff};
        buf_add(b, start, sizeof start);
        buf_add(b, message_id, SEAL_MESSAGE_ID);
}

static void add_end(struct buf *b, const uint8_t *commit)
{
        uint8_t end[5] = {SEAL_FRAMED};
        (void)bytes_put_u32(end + 1, SEAL_FRAME_PLAIN);
        buf_add(b, end, sizeof end);
        buf_add(b, commit, SEAL_COMMIT);
}

/* Key, commitment and cipher of a new message; the data key goes to the caller, who wipes it. */
static int make_keys(struct seal_writer *w, uint8_t data_key[SEAL_KEY], uint8_t commit[SEAL_COMMIT],
        struct err *e)
{
        if (RAND_priv_bytes(data_key, SEAL_KEY) != 1 ||
                RAND_bytes(w->message_id, SEAL_MESSAGE_ID) != 1)
                return err_set(e, -EIO, "the system gives no random bytes");
        uint8_t key[SEAL_KEY];
        int r = seal_derive(data_key, w->message_id, key, commit);
        w->gcm = r == 0 ? seal_cipher_new(key, true) : NULL;
        secret_wipe(key, sizeof key);
        return w->gcm ? 0 : err_oom(e);
}

struct header_params {
        const struct keys_public *const *recipients;
        size_t n_recipients;
        const struct seal_pair *context;
        size_t n_context;
};

static int make_header(
        struct seal_writer *w, const struct header_params *p, struct buf *b, struct err *e)
{
        uint8_t data_key[SEAL_KEY], commit[SEAL_COMMIT], tag[SEAL_TAG];
        int r = make_keys(w, data_key, commit, e);
        if (r == 0) {
                add_start(b, w->message_id);
                r = add_context(b, p->context, p->n_context, e);
        }
        if (r == 0)
                r = add_recipients(b, p->recipients, p->n_recipients, data_key, e);
        secret_wipe(data_key, sizeof data_key);
        if (r < 0)
                return r;
        add_end(b, commit);
        if (buf_oom(b))
                return err_oom(e);
        if (b->len + SEAL_TAG > SEAL_HEADER_MAX)
                return err_set(e, -EINVAL,
                        "the archive's header would be larger than 128 KiB: too many recipients");
        if (seal_header_sign(w->gcm, b->data, b->len, tag) < 0)
                return err_set(e, -EIO, "cannot authenticate the archive's header");
        buf_add(b, tag, sizeof tag);
        return buf_oom(b) ? err_oom(e) : 0;
}

/* ---- frames ---- */

static int give(struct seal_writer *w, const void *data, size_t len, struct err *e)
{
        int r = w->sink(w->ctx, data, len, e);
        if (r == 0)
                w->wire += len;
        else
                w->failed = r;
        return r;
}

static int put_frame(struct seal_writer *w, const void *plain, size_t n, bool final, struct err *e)
{
        /* FFFFFFFF as a number would look like the mark of the final frame */
        if (w->next == SEAL_FINAL_MARK)
                return w->failed = err_set(e, -EFBIG, "an archive file ends at 4 PiB");
        size_t len;
        int r = seal_frame_write(w->gcm, w->message_id, w->next, final, plain, n, w->out, &len);
        if (r < 0)
                return w->failed = err_set(e, r, "cannot encrypt frame %u", w->next);
        w->next++;
        return give(w, w->out, len, e);
}

static int dead(const struct seal_writer *w, struct err *e)
{
        return err_set(e, w->failed, "the archive file has already ended");
}

int seal_write(struct seal_writer *w, const void *data, size_t len, struct err *e)
{
        if (w->failed)
                return dead(w, e);
        const uint8_t *p = data;
        while (len > 0) {
                size_t n;
                int r = 0;
                if (w->n_pending == SEAL_FRAME_PLAIN) { /* more follows: it was not the final one */
                        r = put_frame(w, w->pending, SEAL_FRAME_PLAIN, false, e);
                        w->n_pending = 0;
                        n = 0;
                } else if (w->n_pending == 0 && len > SEAL_FRAME_PLAIN) {
                        n = SEAL_FRAME_PLAIN;
                        r = put_frame(w, p, n, false, e);
                } else {
                        n = MIN(len, SEAL_FRAME_PLAIN - w->n_pending);
                        memcpy(w->pending + w->n_pending, p, n);
                        w->n_pending += n;
                }
                if (r < 0)
                        return r;
                p += n;
                len -= n;
        }
        return 0;
}

int seal_finish(struct seal_writer *w, struct err *e)
{
        if (w->failed)
                return dead(w, e);
        int r = put_frame(w, w->pending, w->n_pending, true, e);
        if (r == 0)
                w->failed = -EINVAL;
        return r;
}

/* ---- life ---- */

void seal_writer_free(struct seal_writer *w)
{
        if (!w)
                return;
        EVP_CIPHER_CTX_free(w->gcm); /* wipes the key */
        free(w->pending);
        free(w->out);
        free(w);
}

int seal_writer_new(const struct keys_public *const *recipients, size_t n_recipients,
        const struct seal_pair *context, size_t n_context, seal_sink_fn sink, void *ctx,
        struct seal_writer **ret, struct err *e)
{
        _cleanup_(seal_writer_freep) struct seal_writer *w = calloc(1, sizeof *w);
        if (!w)
                return err_oom(e);
        *w = (struct seal_writer){.sink = sink, .ctx = ctx, .next = 1};
        w->pending = malloc(SEAL_FRAME_PLAIN);
        w->out = malloc(SEAL_FRAME_MAX);
        if (!w->pending || !w->out)
                return err_oom(e);
        const struct header_params params = {recipients, n_recipients, context, n_context};
        _cleanup_buf_ struct buf header = BUF_INIT;
        int r = make_header(w, &params, &header, e);
        if (r == 0)
                r = give(w, header.data, header.len, e);
        if (r < 0)
                return r;
        *ret = steal(w);
        return 0;
}

const uint8_t *seal_writer_message_id(const struct seal_writer *w)
{
        return w->message_id;
}

uint64_t seal_writer_wire(const struct seal_writer *w)
{
        return w->wire;
}

uint64_t seal_wire_size(uint64_t header, uint64_t plain)
{
        uint64_t full = plain > 0 ? (plain - 1) / SEAL_FRAME_PLAIN : 0;
        uint64_t rest = plain - full * SEAL_FRAME_PLAIN;
        return header + full * SEAL_FRAME_WIRE + SEAL_FINAL_HEAD + rest + SEAL_TAG;
}
