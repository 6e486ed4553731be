#include "compress.h"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

/* ---- one block ---- */

static int decode_xz(const uint8_t *in, size_t len, void *out, size_t plain)
{
        lzma_filter filters[LZMA_FILTERS_MAX + 1];
        lzma_block b = {.version = 1, .check = LZMA_CHECK_CRC32, .filters = filters};
        if (len == 0 || in[0] == 0)
                return -EPROTO;
        b.header_size = lzma_block_header_size_decode(in[0]);
        if (b.header_size > len || lzma_block_header_decode(&b, NULL, in) != LZMA_OK)
                return -EPROTO;
        size_t in_pos = b.header_size, out_pos = 0;
        lzma_ret q = lzma_block_buffer_decode(&b, NULL, in, &in_pos, len, out, &out_pos, plain);
        lzma_filters_free(filters, NULL);
        if (q == LZMA_MEM_ERROR)
                return -ENOMEM;
        return q == LZMA_OK && in_pos == len && out_pos == plain ? 0 : -EPROTO;
}

static int decode_gzip(const void *in, size_t len, void *out, size_t plain)
{
        z_stream z = {.next_in = (Bytef *)in,
                .avail_in = (uInt)len,
                .next_out = out,
                .avail_out = (uInt)plain};
        if (inflateInit2(&z, 15 + 16) != Z_OK)
                return -ENOMEM;
        int q = inflate(&z, Z_FINISH);
        bool good = q == Z_STREAM_END && z.avail_in == 0 && z.avail_out == 0;
        inflateEnd(&z);
        return good ? 0 : -EPROTO;
}

static int decode_bzip2(const void *in, size_t len, void *out, size_t plain)
{
        bz_stream b = {.next_in = (char *)in,
                .avail_in = (unsigned)len,
                .next_out = out,
                .avail_out = (unsigned)plain};
        if (BZ2_bzDecompressInit(&b, 0, 0) != BZ_OK)
                return -ENOMEM;
        int q = BZ2_bzDecompress(&b);
        bool good = q == BZ_STREAM_END && b.avail_in == 0 && b.avail_out == 0;
        BZ2_bzDecompressEnd(&b);
        return good ? 0 : -EPROTO;
}

static int decode_zstd(const void *in, size_t len, void *out, size_t plain)
{
        size_t n = ZSTD_decompress(out, plain, in, len);
        return !ZSTD_isError(n) && n == plain ? 0 : -EPROTO;
}

static int decode_none(const void *in, size_t len, void *out, size_t plain)
{
        if (len != plain)
                return -EPROTO;
        memcpy(out, in, len);
        return 0;
}

int compress_decode(enum compress_kind kind, const void *in, size_t len, void *out,
        size_t plain_len, struct err *e)
{
        int q = kind == COMPRESS_LZMA    ? decode_xz(in, len, out, plain_len)
                : kind == COMPRESS_GZIP  ? decode_gzip(in, len, out, plain_len)
                : kind == COMPRESS_BZIP2 ? decode_bzip2(in, len, out, plain_len)
                : kind == COMPRESS_ZSTD  ? decode_zstd(in, len, out, plain_len)
                                         : decode_none(in, len, out, plain_len);
        if (q == -ENOMEM)
                return err_oom(e);
        return q < 0 ? err_set(e, q, "a %s block is broken", compress_name(kind)) : 0;
}
