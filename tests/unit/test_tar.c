#include "tar.h"

#include "buf.h"
#include "io.h"
#include "tree.h"

struct world {
        char dir[64];
        struct buf out;
        int fail_after; /* bytes; -1: never */
        struct tar_writer *w;
};

static int to_buf(void *ctx, const void *data, size_t len, struct err *e)
{
        struct world *t = ctx;
        if (t->fail_after >= 0 && t->out.len + len > (size_t)t->fail_after)
                return err_set(e, -ENOSPC, "the spool is full");
        buf_add(&t->out, data, len);
        return 0;
}

static int setup(void **state)
{
        struct world *t = calloc(1, sizeof *t);
        assert_non_null(t);
        tree_setup(t->dir);
        t->fail_after = -1;
        assert_int_equal(tar_writer_new(to_buf, t, &t->w, NULL), 0);
        tree_sh("mkdir $T/src $T/gnu $T/bsd");
        *state = t;
        return 0;
}

static int teardown(void **state)
{
        struct world *t = *state;
        tar_writer_free(t->w);
        buf_done(&t->out);
        tree_remove(t->dir);
        free(t);
        return 0;
}

/* A hole, as a careful caller gives it. */
static void put_zeros(struct tar_writer *w, uint64_t len)
{
        static const uint8_t zeros[65536];
        for (size_t n; len > 0; len -= n) {
                n = (size_t)MIN(len, (uint64_t)sizeof zeros);
                assert_int_equal(tar_data(w, zeros, n, NULL), 0);
        }
}

/* Packs one entry of $T/src as a careful caller does: holes are not read. */
static void pack_as(struct world *t, const char *path, const char *hardlink)
{
        _cleanup_free_ char *src = io_join(t->dir, "src");
        _cleanup_close_ int dir = open(src, O_RDONLY | O_DIRECTORY);
        struct stat st;
        assert_int_equal(fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
        char link[4096] = "";
        _cleanup_close_ int fd = -EBADF;
        if (S_ISLNK(st.st_mode))
                assert_true(readlinkat(dir, path, link, sizeof link - 1) > 0);
        else
                assert_true((fd = openat(dir, path, O_RDONLY)) >= 0);
        struct tar_member m = {.path = path,
                .st = &st,
                .fd = fd,
                .link = *link ? link : NULL,
                .hardlink = hardlink};
        unsigned lost = 99;
        struct err e = {0};
        assert_int_equal(tar_begin(t->w, &m, &lost, &e), 0);
        assert_int_equal(lost, 0);
        uint64_t left = S_ISREG(st.st_mode) && !hardlink ? (uint64_t)st.st_size : 0;
        while (left > 0) {
                char data[65536];
                bool hole;
                uint64_t alike = tar_next(t->w, &hole);
                ssize_t n = (ssize_t)alike;
                assert_true(alike > 0 && alike <= left);
                if (hole) {
                        put_zeros(t->w, alike);
                        assert_true(lseek(fd, n, SEEK_CUR) >= 0);
                } else {
                        n = read(fd, data, MIN(sizeof data, alike));
                        assert_true(n > 0);
                        assert_int_equal(tar_data(t->w, data, (size_t)n, &e), 0);
                }
                left -= (uint64_t)n;
        }
        assert_int_equal(tar_end(t->w, &e), 0);
        assert_int_equal(tar_offset(t->w), t->out.len);
        assert_int_equal(t->out.len % 512, 0);
}

static void pack(struct world *t, const char *path)
{
        pack_as(t, path, NULL);
}

static void save(struct world *t)
{
        assert_int_equal(tar_finish(t->w, NULL), 0);
        assert_false(buf_oom(&t->out));
        _cleanup_free_ char *file = io_join(t->dir, "a.tar");
        assert_int_equal(io_write_file(AT_FDCWD, file, 0600, t->out.data, t->out.len, NULL), 0);
}

#define SAME(where)                                                                                \
        tree_sh("out=$(rsync -aHAXSnc --itemize-changes --delete $T/src/ $T/" where                \
                "/) && test -z \"$out\" || { echo \"$out\"; false; }")

static void both_extract_the_same(struct world *t)
{
        save(t);
        tree_sh("tar -C $T/gnu -xpf $T/a.tar && bsdtar -C $T/bsd -xpf $T/a.tar && "
                "touch -d @1 $T/src $T/gnu $T/bsd");
        SAME("gnu");
        SAME("bsd");
}

static bool tools(void)
{
        return tree_has("bsdtar") && tree_has("rsync") && tree_has("setfattr") &&
               tree_has("setfacl");
}

static void files_folders_and_links_come_out_of_both_tars(void **state)
{
        struct world *t = *state;
        if (!tools())
                skip();
        tree_sh("cd $T/src && mkdir d && printf hello >d/f && : >empty && ln -s d/f rel && ln -s "
                "/nowhere "
                "abs && head -c 1000000 /dev/urandom >big && chmod 0640 big && chmod 04755 d/f && "
                "touch -d "
                "'2001-02-03 04:05:06.123456789' d/f && touch -h -d '1999-01-01 "
                "00:00:00.000000001' rel && "
                "chmod 01777 d && touch -d '1972-01-01 00:00:00.5' empty && "
                "touch -d '2020-02-02 02:02:02' d $T/gnu $T/bsd .");
        const char *const paths[] = {"abs", "big", "d", "d/f", "empty", "rel"};
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
                pack(t, paths[i]);
        save(t);
        tree_sh("tar -C $T/gnu -xpf $T/a.tar 2>$T/said && test ! -s $T/said");
        tree_sh("bsdtar -C $T/bsd -xpf $T/a.tar && touch -d '2020-02-02 02:02:02' $T/gnu $T/bsd");
        SAME("gnu");
        SAME("bsd");
}

static void odd_names_come_out_byte_for_byte(void **state)
{
        struct world *t = *state;
        if (!tools())
                skip();
        char long_name[256];
        memset(long_name, 'n', 255);
        long_name[255] = 0;
        /* e with a combining accent: libarchive would normalize it, were it not marked as binary */
        const char *const names[] = {"\n", "\xff\xfe", "a\nb", "back\\slash", "e\xcc\x81",
                "gr\xc3\xbc\xc3\x9f", long_name, " ", "-rf", "*", "=", "\x01\x7f"};
        _cleanup_free_ char *src = io_join(t->dir, "src");
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_free_ char *path = io_join(src, names[i]);
                _cleanup_close_ int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
                assert_true(fd >= 0);
                assert_int_equal(io_write_full(fd, names[i], strlen(names[i])), 0);
                pack(t, names[i]);
        }
        tree_sh("cd $T/src && ln -s $(printf 'to\\377') l && ln l h && touch -d @1 . $T/gnu "
                "$T/bsd");
        pack(t, "l");
        pack_as(t, "h", "l");
        save(t);
        tree_sh("tar -C $T/gnu -xpf $T/a.tar 2>/dev/null && bsdtar -C $T/bsd -xpf $T/a.tar && "
                "touch -d @1 $T/gnu $T/bsd");
        SAME("gnu");
        SAME("bsd");
}

static void xattrs_acls_and_capabilities_come_out_of_both_tars(void **state)
{
        struct world *t = *state;
        if (!tree_is_root() || !tools())
                skip();
        tree_sh("cd $T/src && mkdir d && : >f && : >plain && setfattr -n user.b -v 0x00ff0a66 f && "
                "setfattr -n user.empty f && setfattr -n trusted.t -v x f && "
                "setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 f "
                "&& "
                "setfattr -n user.dir -v y d && setfacl -m u:1:rw,g:2:r,m::rw,g::- f && "
                "setfacl -m d:u:1:rwx,u:70000:x d && touch -d @1 d . $T/gnu $T/bsd");
        pack(t, "d");
        pack(t, "f");
        pack(t, "plain");
        save(t);
        tree_sh("tar -C $T/gnu -xpf $T/a.tar --xattrs --xattrs-include='*' --acls && "
                "bsdtar -C $T/bsd -xpf $T/a.tar && touch -d @1 $T/gnu $T/bsd");
        SAME("gnu");
        SAME("bsd");
        tree_sh("cd $T/gnu && test $(getfattr -n security.capability f | wc -l) = 3");
}

static void an_xattr_name_with_an_equals_sign_survives_gnu_tar(void **state)
{
        struct world *t = *state;
        if (!tools())
                skip();
        tree_sh("cd $T/src && : >f && setfattr -n user.a=b%3D -v v f && touch -d @1 . $T/gnu");
        pack(t, "f");
        save(t);
        tree_sh("tar -C $T/gnu -xpf $T/a.tar --xattrs && touch -d @1 $T/gnu");
        SAME("gnu");
}

static void hard_links_come_out_as_links(void **state)
{
        struct world *t = *state;
        if (!tools())
                skip();
        tree_sh("cd $T/src && mkdir d && printf x >a && ln a d/b && ln a c && touch -d @1 d . "
                "$T/gnu $T/bsd");
        pack(t, "a");
        pack_as(t, "c", "a");
        pack(t, "d");
        pack_as(t, "d/b", "a");
        save(t);
        tree_sh("tar -C $T/gnu -xpf $T/a.tar && bsdtar -C $T/bsd -xpf $T/a.tar && touch -d @1 "
                "$T/gnu $T/bsd");
        SAME("gnu");
        SAME("bsd");
        tree_sh("test $(stat -c %h $T/gnu/c $T/bsd/d/b | tr -d '\\n') = 33");
}

static void holes_take_no_room_in_the_stream_and_come_out_as_holes(void **state)
{
        struct world *t = *state;
        if (!tools())
                skip();
        tree_sh("cd $T/src && truncate -s 100M hole && truncate -s 64M mid && printf x | dd of=mid "
                "bs=1 "
                "seek=30000000 conv=notrunc status=none && printf y >tail && truncate -s 50M tail "
                "&& truncate "
                "-s 20M end && printf z >>end && truncate -s 4097 small");
        const char *const paths[] = {"end", "hole", "mid", "small", "tail"};
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
                pack(t, paths[i]);
        assert_true(t->out.len < 100000);
        both_extract_the_same(t);
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                assert_int_equal(setenv("F", paths[i], 1), 0);
                tree_sh("test $(stat -c %b $T/gnu/$F) -le 64 && test $(stat -c %b $T/bsd/$F) -le "
                        "64");
        }
}

static void a_file_in_very_many_pieces_is_stored_in_bounded_memory(void **state)
{
        struct world *t = *state;
        if (!tools())
                skip();
        /* 10,000 pieces of 4 KiB, 4 KiB apart, then two far away: small holes become zeros */
        _cleanup_free_ char *path = io_join(t->dir, "src/f");
        {
                _cleanup_close_ int fd = open(path, O_CREAT | O_WRONLY, 0644);
                char page[4096];
                memset(page, 'p', sizeof page);
                for (uint64_t i = 0; i < 10000; i++)
                        assert_int_equal(io_pwrite_full(fd, page, sizeof page, i * 8192), 0);
                assert_int_equal(io_pwrite_full(fd, page, sizeof page, 200u << 20), 0);
                assert_int_equal(io_pwrite_full(fd, page, sizeof page, 300u << 20), 0);
        }
        pack(t, "f");
        assert_true(t->out.len < 90u * MiB);
        both_extract_the_same(t);
        tree_sh("test $(stat -c %b $T/gnu/f) -le 180000");
}

static void content_that_appears_in_a_hole_is_refused(void **state)
{
        struct world *t = *state;
        tree_sh("truncate -s 1M $T/src/f");
        _cleanup_free_ char *path = io_join(t->dir, "src/f");
        _cleanup_close_ int fd = open(path, O_RDONLY);
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        struct tar_member m = {.path = "f", .st = &st, .fd = fd};
        assert_int_equal(tar_begin(t->w, &m, NULL, NULL), 0);
        bool hole = false;
        assert_int_equal(tar_next(t->w, &hole), MiB);
        assert_true(hole);
        struct err e = {0};
        put_zeros(t->w, 5000);
        assert_int_equal(tar_next(t->w, &hole), MiB - 5000);
        assert_int_equal(tar_data(t->w, "x", 1, &e), -ERESTART);
        assert_non_null(strstr(e.text, "f got content"));
        put_zeros(t->w, MiB - 5000);
        assert_int_equal(tar_end(t->w, &e), 0);
}

static void the_file_offset_is_left_alone(void **state)
{
        struct world *t = *state;
        tree_sh("truncate -s 1M $T/src/f");
        _cleanup_free_ char *path = io_join(t->dir, "src/f");
        _cleanup_close_ int fd = open(path, O_RDONLY);
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(lseek(fd, 17, SEEK_SET), 17);
        struct tar_member m = {.path = "f", .st = &st, .fd = fd};
        assert_int_equal(tar_begin(t->w, &m, NULL, NULL), 0);
        assert_int_equal(lseek(fd, 0, SEEK_CUR), 17);
}

static const struct stat file5 = {.st_mode = S_IFREG | 0644, .st_size = 5, .st_mtim = {1, 0}};

static void wrong_amounts_of_content_are_refused(void **state)
{
        struct world *t = *state;
        struct tar_member m = {.path = "f", .st = &file5, .fd = -EBADF};
        struct err e = {0};
        assert_int_equal(tar_end(t->w, &e), -EINVAL);
        assert_int_equal(tar_data(t->w, "x", 1, &e), -EINVAL);
        assert_int_equal(tar_begin(t->w, &m, NULL, &e), 0);
        assert_int_equal(tar_begin(t->w, &m, NULL, &e), -EINVAL);
        assert_int_equal(tar_finish(t->w, &e), -EINVAL);
        assert_int_equal(tar_data(t->w, "abc", 3, &e), 0);
        assert_int_equal(tar_end(t->w, &e), -EINVAL);
        assert_int_equal(tar_data(t->w, "def", 3, &e), -EINVAL);
        assert_int_equal(tar_data(t->w, "de", 2, &e), 0);
        assert_int_equal(tar_end(t->w, &e), 0);
}

static void what_is_not_a_file_folder_or_link_is_refused(void **state)
{
        struct world *t = *state;
        const mode_t modes[] = {S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, 0};
        for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
                struct stat st = {.st_mode = modes[i] | 0644};
                struct tar_member m = {.path = "f", .st = &st, .fd = -EBADF};
                assert_int_equal(tar_begin(t->w, &m, NULL, NULL), -EINVAL);
        }
        struct stat link = {.st_mode = S_IFLNK | 0777};
        struct tar_member m = {.path = "l", .st = &link, .fd = -EBADF};
        assert_int_equal(tar_begin(t->w, &m, NULL, NULL), -EINVAL);
        assert_int_equal(t->out.len, 0);
}

static void an_error_of_the_sink_comes_out_with_its_words(void **state)
{
        struct world *t = *state;
        struct tar_member m = {.path = "f", .st = &file5, .fd = -EBADF};
        struct err e = {0};
        t->fail_after = 512;
        assert_int_equal(tar_begin(t->w, &m, NULL, &e), 0);
        assert_int_equal(tar_data(t->w, "hello", 5, &e), -ENOSPC);
        assert_string_equal(e.text, "the spool is full");
        t->fail_after = -1;
        assert_int_equal(tar_data(t->w, "hello", 5, &e), -ENOSPC);
        assert_int_equal(t->out.len, 512);
}

static void a_writer_that_is_dropped_writes_no_end(void **state)
{
        struct world *t = *state;
        struct tar_member m = {.path = "f", .st = &file5, .fd = -EBADF};
        assert_int_equal(tar_begin(t->w, &m, NULL, NULL), 0);
        assert_int_equal(tar_data(t->w, "hello", 5, NULL), 0);
        assert_int_equal(tar_end(t->w, NULL), 0);
        assert_int_equal(t->out.len, 1024);
        tar_writer_free(steal(t->w));
        assert_int_equal(t->out.len, 1024);
}

static void the_end_is_two_blocks_of_zeros(void **state)
{
        struct world *t = *state;
        assert_int_equal(tar_finish(t->w, NULL), 0);
        assert_int_equal(t->out.len, 1024);
        for (size_t i = 0; i < 1024; i++)
                assert_int_equal(t->out.data[i], 0);
}

static void the_same_input_gives_the_same_bytes(void **state)
{
        struct world *t = *state;
        struct stat st = file5;
        st.st_mtim.tv_nsec = 7;
        struct tar_member m = {.path = "gr\xc3\xbc", .st = &st, .fd = -EBADF};
        size_t len[3] = {0};
        for (size_t i = 1; i < 3; i++) {
                assert_int_equal(tar_begin(t->w, &m, NULL, NULL), 0);
                assert_int_equal(tar_data(t->w, "hello", 5, NULL), 0);
                assert_int_equal(tar_end(t->w, NULL), 0);
                len[i] = t->out.len;
        }
        assert_int_equal(len[2], 2 * len[1]);
        assert_memory_equal(t->out.data, t->out.data + len[1], len[1]);
}

static void paths_longer_than_the_system_takes_are_written(void **state)
{
        struct world *t = *state;
        struct buf path = BUF_INIT;
        for (unsigned i = 0; i < 3000; i++)
                buf_addf(&path, "d%u/", i);
        buf_addc(&path, 'f');
        struct tar_member m = {.path = buf_str(&path), .st = &file5, .fd = -EBADF};
        assert_int_equal(tar_begin(t->w, &m, NULL, NULL), 0);
        assert_int_equal(tar_data(t->w, "hello", 5, NULL), 0);
        assert_int_equal(tar_end(t->w, NULL), 0);
        save(t);
        _cleanup_free_ char *want = io_join(t->dir, "want");
        buf_addc(&path, '\n');
        assert_int_equal(io_write_file(AT_FDCWD, want, 0600, path.data, path.len, NULL), 0);
        buf_done(&path);
        tree_sh("tar -tf $T/a.tar | cmp - $T/want");
        if (tree_has("bsdtar"))
                tree_sh("bsdtar -tf $T/a.tar | cmp - $T/want");
}

static void sizes_and_ids_beyond_the_old_header_are_kept(void **state)
{
        struct world *t = *state;
        struct stat st = {.st_mode = S_IFREG | 0644,
                .st_size = 9ll << 30,
                .st_uid = 4000000000u,
                .st_gid = 3999999999u,
                .st_mtim = {1ll << 34, 999999999}};
        struct tar_member m = {.path = "huge", .st = &st, .fd = -EBADF};
        assert_int_equal(tar_begin(t->w, &m, NULL, NULL), 0);
        _cleanup_free_ char *file = io_join(t->dir, "a.tar");
        assert_int_equal(io_write_file(AT_FDCWD, file, 0600, t->out.data, t->out.len, NULL), 0);
        tree_sh("TZ=UTC tar --numeric-owner --full-time -tvf $T/a.tar 2>/dev/null | grep -q "
                "'4000000000/3999999999 9663676416 2514-05-30 01:53:04'");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(files_folders_and_links_come_out_of_both_tars),
                TEST(odd_names_come_out_byte_for_byte),
                TEST(xattrs_acls_and_capabilities_come_out_of_both_tars),
                TEST(an_xattr_name_with_an_equals_sign_survives_gnu_tar),
                TEST(hard_links_come_out_as_links),
                TEST(holes_take_no_room_in_the_stream_and_come_out_as_holes),
                TEST(a_file_in_very_many_pieces_is_stored_in_bounded_memory),
                TEST(content_that_appears_in_a_hole_is_refused),
                TEST(the_file_offset_is_left_alone),
                TEST(wrong_amounts_of_content_are_refused),
                TEST(what_is_not_a_file_folder_or_link_is_refused),
                TEST(an_error_of_the_sink_comes_out_with_its_words),
                TEST(a_writer_that_is_dropped_writes_no_end),
                TEST(the_end_is_two_blocks_of_zeros),
                TEST(the_same_input_gives_the_same_bytes),
                TEST(paths_longer_than_the_system_takes_are_written),
                TEST(sizes_and_ids_beyond_the_old_header_are_kept),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
