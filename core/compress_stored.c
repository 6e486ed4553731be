#include "compress.h"

#include <lzma.h>

/* An xz Block that lzma_block_uncomp_encode() made (.xz File Format, section 3; LZMA2):
 *
 * - the Block Header: 8 bytes and more, a multiple of 4;
 * - chunks: 01 (the first) or 02, the length less 1 (2 bytes, big-endian), and at most 64 KiB
 *   of the content as it is;
 * - 00, and zeros up to a multiple of 4;
 * - a CRC32.
 */
#define CHUNK      (64u * KiB)
#define CHUNK_HEAD 3u
#define CHUNK_WIRE (CHUNK_HEAD + CHUNK)

/* The header's length if the Block has the length of one that is stored; else 0. */
static size_t xz_header(size_t len, size_t plain)
{
        size_t data = plain + (plain + CHUNK - 1) / CHUNK * CHUNK_HEAD + 1;
        size_t rest = (data + 3) / 4 * 4 + 4;
        size_t header = len > rest ? len - rest : 0;
        bool possible = header >= LZMA_BLOCK_HEADER_SIZE_MIN &&
                        header <= LZMA_BLOCK_HEADER_SIZE_MAX && header % 4 == 0;
        return possible ? header : 0;
}

bool compress_stored(enum compress_kind kind, size_t len, size_t plain_len,
        const struct compress_part *wanted, struct compress_part *ret)
{
        if (kind == COMPRESS_NONE && len == plain_len) {
                *ret = *wanted;
                return true;
        }
        size_t header = kind == COMPRESS_LZMA ? xz_header(len, plain_len) : 0;
        if (header == 0 || wanted->len == 0)
                return false;
        size_t last = wanted->at + wanted->len - 1;
        ret->at = header + wanted->at / CHUNK * CHUNK_WIRE;
        ret->len = header + last / CHUNK * CHUNK_WIRE + CHUNK_HEAD + last % CHUNK + 1 - ret->at;
        return true;
}

/* From the beginning of the chunk that holds the first byte on. */
static int take_chunks(const struct compress_part *wanted, const uint8_t *p, uint8_t *out)
{
        size_t skip = wanted->at % CHUNK, left = wanted->len;
        bool first = wanted->at < CHUNK;
        while (left > 0) {
                size_t n = MIN(left, CHUNK - skip), holds = ((size_t)p[1] << 8 | p[2]) + 1;
                bool last = n == left;
                if (p[0] != (first ? 1 : 2) || holds < skip + n || (!last && holds != CHUNK))
                        return -EPROTO;
                memcpy(out, p + CHUNK_HEAD + skip, n);
                p += CHUNK_WIRE;
                out += n;
                left -= n;
                skip = 0;
                first = false;
        }
        return 0;
}

int compress_stored_take(
        enum compress_kind kind, const struct compress_part *wanted, const void *part, void *out)
{
        if (kind == COMPRESS_LZMA)
                return take_chunks(wanted, part, out);
        memcpy(out, part, wanted->len);
        return 0;
}
