/* damage.h - every way in which a volume can be altered, for tests that must refuse them all.
 *
 * For a set-up (home.h) whose last archive has one volume of nine full frames and some, compression
 * none: damage_begin(), then damage_do() and damage_undo() for each. */
#pragma once

#include "home.h"

/* $V is the volume; frames of 1 MiB begin at $H. Each is undone before the next. */
static const struct {
        const char *what, *command;
} damages[] = {
        {"first byte", "flip 0"},
        {"message id", "flip 10"},
        {"context", "flip 60"},
        {"provider", "flip 117"},
        {"recipient", "digit 160"},
        {"wrapped key", "flip 400"},
        {"commitment", "flip $((H - 40))"},
        {"header tag", "flip $((H - 1))"},
        {"frame number", "flip $((H + 3))"},
        {"frame iv", "flip $((H + 15))"},
        {"first content", "flip $((H + 16))"},
        {"middle", "flip $((H + 5000000))"},
        {"frame tag", "flip $((H + M - 1))"},
        {"final mark", "flip $((H + 9 * M))"},
        {"final length", "flip $((H + 9 * M + 23))"},
        {"swapped frames", "put 2 3; put 3 2"},
        {"repeated frame", "put 2 3"},
        {"dropped frame", "{ head -c $((H + 3 * M)) $V; tail -c +$((H + 4 * M + 1)) $V; } >$T/v; "
                          "cat $T/v >$V"},
        {"truncated at a frame", "truncate -s $((H + 5 * M)) $V"},
        {"truncated in a frame", "truncate -s -100000 $V"},
        {"truncated to its header", "truncate -s $H $V"},
        {"emptied", "truncate -s 0 $V"},
        {"extended", "printf x >>$V"},
        {"extended by a frame", "tail -c $M $T/good >>$V"},
        {"gone", "rm $V"},
};

#define DAMAGE_SHELL                                                                               \
        "V=$(cat $T/name); M=1048576; "                                                            \
        "B=$(( $(stat -c %s $T/good) - 9500000 )); H=$(cat $T/header); "                           \
        "flip() { printf \"\\\\$(printf %03o $(( $(od -An -tu1 -j $1 -N 1 $V) ^ 64 )))\" | "       \
        "dd of=$V bs=1 seek=$1 conv=notrunc status=none; }; "                                      \
        "digit() { c=e; test $(od -An -c -j $1 -N 1 $V) != e || c=d; "                             \
        "printf $c | dd of=$V bs=1 seek=$1 conv=notrunc status=none; }; "                          \
        "put() { dd if=$T/good bs=1M count=1 iflag=skip_bytes,fullblock skip=$((H + ($2 - 1) * "   \
        "M)) status=none | dd of=$V bs=1M oflag=seek_bytes seek=$((H + ($1 - 1) * M)) "            \
        "conv=notrunc status=none; }; set -e; "

_unused_ static void damage_header_size(struct home *h)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n = 0;
        home_must(h, catalog_volumes(h->catalog, h->a.id, &v, &n, &h->e));
        assert_int_equal(n, 1);
        uint64_t rest = v[0].size - v[0].plain_size;
        uint64_t frames = (v[0].plain_size + SEAL_FRAME_PLAIN - 1) / SEAL_FRAME_PLAIN;
        _cleanup_buf_ struct buf text = BUF_INIT;
        buf_addf(&text, "%llu", (unsigned long long)(rest - (frames - 1) * 32 - 40));
        _cleanup_free_ char *path = io_join(h->path, "header");
        home_must(h, io_write_file(AT_FDCWD, path, 0600, text.data, text.len, &h->e));
}

_unused_ static void damage_begin(struct home *h)
{
        home_archive(h, "for i in 1 2 3 4 5 6 7 8 9; do head -c 1048000 /dev/urandom >$i; done; "
                        "cp -a . $T/copy; mkdir e; : >e/empty; cp -a e $T/copy");
        tree_sh("cp $T/data/store/archives/*/*-0001.tar.esdk $T/good && "
                "echo $T/data/store/archives/*/*-0001.tar.esdk >$T/name");
        damage_header_size(h);
}

_unused_ static void damage_do(size_t i)
{
        _cleanup_buf_ struct buf command = BUF_INIT;
        buf_adds(&command, DAMAGE_SHELL "chmod u+w $V; ");
        buf_adds(&command, damages[i].command);
        tree_sh(buf_str(&command));
}

_unused_ static void damage_undo(void)
{
        tree_sh("cp $T/good $(cat $T/name)");
}

/* What was brought back to $T/back is whole, and without litter. */
_unused_ static void damage_left_no_wrong_file(void)
{
        tree_sh("mkdir -p $T/back && test -z \"$(find $T/back -name '.autoglacier-*')\" && "
                "cd $T/back && for f in *; do test ! -f $f || cmp $f $T/copy/$f || exit 1; done; "
                "rm -rf $T/back");
}
