#include "untar_internal.h"

#include "buf.h"
#include "io.h"
#include "tree.h"

#include <openssl/sha.h>
#include <sys/resource.h>
#include <sys/syscall.h>

struct world {
        char dir[64];
        struct buf to;
        enum untar_clash clash;
        bool named; /* as on a filesystem whose files cannot do without a name */
        struct err e;
        unsigned warnings, checked;
        const char *only;    /* the path that want() takes; NULL: all */
        const char *refused; /* the path that check() refuses */
        uint8_t sum[64];     /* of the last file */
        int source_fails;    /* with this code, at the end of what is there */
        struct buf tar;      /* of crafted ones */
        size_t at;
};

static int setup(void **state)
{
        struct world *t = calloc(1, sizeof *t);
        assert_non_null(t);
        tree_setup(t->dir);
        tree_sh("mkdir $T/src $T/to && touch -d @1 $T/src $T/to");
        buf_addf(&t->to, "%s/to", t->dir);
        *state = t;
        return 0;
}

static int setup_named(void **state)
{
        int r = setup(state);
        ((struct world *)*state)->named = true;
        return r;
}

static int teardown(void **state)
{
        struct world *t = *state;
        buf_done(&t->to);
        buf_done(&t->tar);
        tree_remove(t->dir);
        free(t);
        return 0;
}

static ssize_t from_buf(void *ctx, void *data, size_t len, struct err *e)
{
        struct world *t = ctx;
        size_t n = MIN(len, MIN(t->tar.len - t->at, (size_t)1000));
        if (n == 0 && t->source_fails)
                return err_set(e, t->source_fails, "the source says no");
        if (n > 0)
                memcpy(data, t->tar.data + t->at, n);
        t->at += n;
        return (ssize_t)n;
}

static int want(void *ctx, const char *path, _unused_ struct err *e)
{
        const struct world *t = ctx;
        return !t->only || streq(path, t->only);
}

static int check(void *ctx, const struct untar_result *r, struct err *e)
{
        struct world *t = ctx;
        t->checked++;
        assert_true((r->type == 'f') == (r->sha512 != NULL));
        if (r->sha512)
                memcpy(t->sum, r->sha512, sizeof t->sum);
        if (t->refused && streq(r->path, t->refused))
                return err_set(e, -EBADMSG, "%s is not what it was", r->path);
        return 0;
}

static void warn(void *ctx, const char *path, const char *why)
{
        struct world *t = ctx;
        t->warnings++;
        print_message("%s: %s\n", path, why);
}

static int extract_to(struct world *t, const char *to)
{
        const struct untar_params p = {
                .to = to, .clash = t->clash, .want = want, .check = check, .warn = warn, .ctx = t};
        _cleanup_(untar_freep) struct untar *u = NULL;
        t->at = 0;
        t->e = (struct err){0};
        int r = untar_new(&p, &u, &t->e);
        if (r == 0 && t->named)
                u->unnamed = false;
        if (r == 0)
                r = untar_run(u, from_buf, t, &t->e);
        if (r == 0)
                r = untar_finish(u, &t->e);
        if (r < 0) {
                assert_int_equal(t->e.code, r);
                assert_true(*t->e.text);
        }
        return r;
}

static int extract(struct world *t)
{
        return extract_to(t, buf_str(&t->to));
}

static void load(struct world *t, const char *name)
{
        _cleanup_free_ char *file = io_join(t->dir, name);
        buf_reset(&t->tar);
        assert_int_equal(io_read_file(AT_FDCWD, file, 256 * MiB, &t->tar, &t->e), 0);
}

/* GNU tar packs $T/src as a user would. */
static void pack(struct world *t)
{
        tree_sh("cd $T/src && ls -A >$T/names && touch -d @1 . && tar --format=pax --sparse "
                "--xattrs "
                "--xattrs-include='*' --acls -cf $T/a.tar -- *");
        load(t, "a.tar");
}

#define SAME                                                                                       \
        "touch -d @1 $T/src $T/to && chmod 755 $T/src $T/to && "                                   \
        "out=$(rsync -aHAXSnc --itemize-changes --delete $T/src/ $T/to/) && "                      \
        "test -z \"$out\" || { echo \"$out\"; false; }"

static void comes_out_the_same(struct world *t)
{
        pack(t);
        int r = extract(t);
        if (r < 0)
                print_error("%s\n", t->e.text);
        assert_int_equal(r, 0);
        assert_int_equal(t->warnings, 0);
        tree_sh(SAME);
}

#define NOTHING_LEFT "test -z \"$(find $T/to -name '.autoglacier-*')\""

/* ---- crafted members ---- */

static void octal(char *field, size_t len, uint64_t v)
{
        for (size_t i = len - 1; i-- > 0; v /= 8)
                field[i] = (char)('0' + v % 8);
}

static void raw_header(
        struct world *t, const char *name, char type, const char *link, uint64_t size)
{
        char h[512] = "";
        assert_true(strlen(name) <= 100 && strlen(link) <= 100);
        memcpy(h, name, strlen(name));
        octal(h + 100, 8, type == '5' ? 0755 : 0644);
        octal(h + 108, 8, geteuid());
        octal(h + 116, 8, getegid());
        octal(h + 124, 12, size);
        octal(h + 136, 12, 1000000000);
        h[156] = type;
        memcpy(h + 157, link, strlen(link));
        memcpy(h + 257, "ustar", 6);
        memcpy(h + 263, "00", 2);
        memset(h + 148, ' ', 8);
        unsigned sum = 0;
        for (size_t i = 0; i < sizeof h; i++)
                sum += (unsigned char)h[i];
        octal(h + 148, 7, sum);
        buf_add(&t->tar, h, sizeof h);
}

static void add_bytes(struct world *t, const void *data, size_t len)
{
        static const char zeros[512];
        buf_add(&t->tar, data, len);
        buf_add(&t->tar, zeros, (512 - len % 512) % 512);
}

static void add_file(struct world *t, const char *name, const char *content)
{
        raw_header(t, name, '0', "", strlen(content));
        add_bytes(t, content, strlen(content));
}

static void add_pax(struct world *t, const char *key, const char *value, size_t len)
{
        size_t digits = 1, total;
        do {
                total = digits + 1 + strlen(key) + 1 + len + 1;
                char text[24];
                if ((size_t)snprintf(text, sizeof text, "%zu", total) == digits)
                        break;
                digits++;
        } while (true);
        _cleanup_buf_ struct buf line = BUF_INIT;
        buf_addf(&line, "%zu %s=", total, key);
        buf_add(&line, value, len);
        buf_addc(&line, '\n');
        raw_header(t, "pax", 'x', "", line.len);
        add_bytes(t, line.data, line.len);
}

/* ---- what is restored ---- */

static void files_folders_links_modes_and_times_come_back(void **state)
{
        struct world *t = *state;
        if (!tree_has("rsync"))
                skip();
        tree_sh("cd $T/src && mkdir -p d/e && printf hello >d/f && : >empty && ln -s d/f rel && "
                "ln -s /nowhere abs && ln -s ../.. up && head -c 300000 /dev/urandom >big && "
                "chmod 0640 big && chmod 04755 d/f && ln d/f d/e/same && ln rel linked && "
                "touch -d '2001-02-03 04:05:06.123456789' d/f && "
                "touch -h -d '1999-01-01 00:00:00.000000001' rel && chmod 01777 d/e && "
                "touch -d '1972-01-01 00:00:00.5' empty && mkdir shut && : >shut/x && "
                "chmod $(($(id -u) ? 400 : 0)) empty && chmod 0555 shut && "
                "touch -d '2010-10-10 10:10:10.101010101' d d/e shut");
        comes_out_the_same(t);
        tree_sh("chmod 755 $T/src/shut $T/to/shut");
}

static void odd_names_come_back_byte_for_byte(void **state)
{
        struct world *t = *state;
        if (!tree_has("rsync"))
                skip();
        char long_name[256];
        memset(long_name, 'n', 255);
        long_name[255] = 0;
        const char *const names[] = {"\n", "\xff\xfe", "a\nb", "back\\slash", "e\xcc\x81",
                "gr\xc3\xbc\xc3\x9f", long_name, " ", "-rf", "*", "=", "\x01\x7f"};
        _cleanup_free_ char *src = io_join(t->dir, "src");
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_free_ char *path = io_join(src, names[i]);
                _cleanup_close_ int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
                assert_true(fd >= 0);
                assert_int_equal(io_write_full(fd, names[i], strlen(names[i])), 0);
        }
        tree_sh("cd $T/src && ln -s $(printf 'to\\377') l");
        comes_out_the_same(t);
}

static void names_that_no_disk_takes_are_refused(void **state)
{
        struct world *t = *state;
        char name[257];
        memset(name, 'n', 256);
        name[256] = 0;
        add_pax(t, "path", name, 256);
        add_file(t, "plain", "x");
        assert_int_equal(extract(t), -EPROTO);
        tree_sh("test -z \"$(ls -A $T/to)\"");
}

static void pax_names_in_utf8_are_not_converted(void **state)
{
        struct world *t = *state;
        static const char name[] = "e\xcc\x81-gr\xc3\xbc\xc3\x9f";
        add_pax(t, "path", name, sizeof name - 1);
        add_file(t, "plain", "x");
        assert_int_equal(extract(t), 0);
        assert_int_equal(setenv("NAME", name, 1), 0);
        tree_sh("test \"$(ls $T/to)\" = \"$NAME\"");
}

static void xattrs_acls_and_capabilities_come_back(void **state)
{
        struct world *t = *state;
        if (!tree_is_root() || !tree_has("rsync") || !tree_has("setfattr") || !tree_has("setfacl"))
                skip();
        tree_sh("cd $T/src && mkdir d && : >f && : >plain && setfattr -n user.b -v 0x00ff0a66 f && "
                "setfattr -n user.empty f && setfattr -n trusted.t -v x f && chown 7:8 f && "
                "setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 f "
                "&& setfattr -n user.dir -v y d && setfacl -m u:1:rw,g:2:r,m::rw,g::- f && "
                "setfacl -m d:u:1:rwx,u:70000:x d && : >d/inherits && chmod 0400 plain && "
                "setfattr -n user.p -v 1 plain && touch -d @1 d f plain");
        comes_out_the_same(t);
        tree_sh("test $(getfattr -n security.capability $T/to/f | wc -l) = 3");
}

static void a_default_acl_of_the_target_does_not_get_onto_files(void **state)
{
        struct world *t = *state;
        if (!tree_has("setfacl"))
                skip();
        tree_sh("setfacl -m d:u:1:rwx $T/to");
        raw_header(t, "d", '5', "", 0);
        add_file(t, "d/f", "x");
        assert_int_equal(extract(t), 0);
        tree_sh("test $(getfacl -c $T/to/d $T/to/d/f | grep -c user:) = 2 && "
                "test $(stat -c %a%a $T/to/d/f | tail -1) = 644644");
}

static void holes_come_back_as_holes_and_count_in_the_sum(void **state)
{
        struct world *t = *state;
        if (!tree_has("rsync"))
                skip();
        tree_sh("cd $T/src && truncate -s 20M hole && truncate -s 30M mid && printf x | dd of=mid "
                "bs=1 seek=15000000 conv=notrunc status=none && printf y >tail && "
                "truncate -s 10M tail");
        comes_out_the_same(t);
        tree_sh("test $(du -k $T/to | cut -f 1) -lt 200");
        tree_sh("test -f $T/to/tail && rm $T/src/hole $T/src/mid");
        uint8_t sum[64];
        _cleanup_buf_ struct buf tail = BUF_INIT;
        _cleanup_free_ char *path = io_join(t->dir, "src/tail");
        assert_int_equal(io_read_file(AT_FDCWD, path, 20 * MiB, &tail, NULL), 0);
        SHA512((const uint8_t *)tail.data, tail.len, sum);
        assert_memory_equal(sum, t->sum, 64);
}

static void paths_longer_than_path_max_come_back(void **state)
{
        struct world *t = *state;
        if (!tree_has("rsync"))
                skip();
        struct rlimit old, few = {40, 40};
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
        few.rlim_max = old.rlim_max;
        few.rlim_cur = 160; /* the folders do not all stay open */
        tree_sh("cd $T/src && n=$(printf %0200d 7) && for i in $(seq 300); do mkdir $n && cd -P $n "
                "|| exit 1; done && printf deep >f && ln f g");
        pack(t);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        int r = extract(t);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(r, 0);
        tree_sh("cd $T/to && n=$(printf %0200d 7) && for i in $(seq 300); do cd -P $n || exit 1; "
                "done && test \"$(cat f)\" = deep && test $(stat -c %h f) = 2");
}

static void the_later_of_two_members_counts(void **state)
{
        struct world *t = *state;
        raw_header(t, "d", '5', "", 0);
        add_file(t, "d/f", "old");
        add_file(t, "g", "x");
        add_file(t, "d/f", "new");
        assert_int_equal(extract(t), 0);
        tree_sh("test $(cat $T/to/d/f) = new && test $(stat -c %Y $T/to/d) = 1000000000 && "
                "test $(stat -c %a $T/to/d) = 755");
        tree_sh(NOTHING_LEFT);
}

static void a_folder_that_was_closed_takes_a_late_member(void **state)
{
        struct world *t = *state;
        tree_sh("mkdir $T/src/d && echo 1 >$T/src/d/a && chmod 0555 $T/src/d && "
                "touch -d @5 $T/src/d && cd $T/src && tar -cf $T/a.tar d && "
                "chmod 755 d && echo 2 >d/b && tar -rf $T/a.tar d/b");
        load(t, "a.tar");
        assert_int_equal(extract(t), 0);
        tree_sh("test $(cat $T/to/d/b) = 2 && test $(stat -c %a-%Y $T/to/d) = 555-5 && "
                "chmod 755 $T/to/d");
}

static void what_is_there_is_left_alone_unless_asked(void **state)
{
        struct world *t = *state;
        tree_sh("mkdir $T/to/d && echo mine >$T/to/d/f && sleep 0.05");
        raw_header(t, "d", '5', "", 0);
        add_file(t, "d/f", "theirs");
        assert_int_equal(extract(t), -EEXIST);
        tree_sh("test $(cat $T/to/d/f) = mine");
        t->clash = UNTAR_OVERWRITE;
        assert_int_equal(extract(t), 0);
        tree_sh("test $(cat $T/to/d/f) = theirs");
        tree_sh(NOTHING_LEFT);
}

static void overwriting_breaks_hard_links_and_links_instead_of_writing_through(void **state)
{
        struct world *t = *state;
        tree_sh("echo outside >$T/out && ln $T/out $T/to/hard && ln -s ../out $T/to/soft && "
                "sleep 0.05");
        t->clash = UNTAR_OVERWRITE;
        add_file(t, "hard", "new");
        add_file(t, "soft", "new");
        raw_header(t, "again", '1', "hard", 0);
        raw_header(t, "again", '1', "hard", 0);
        assert_int_equal(extract(t), 0);
        tree_sh("test $(cat $T/out) = outside && test $(cat $T/to/hard $T/to/soft) = newnew && "
                "test $(stat -c %h $T/to/again) = 2");
        tree_sh(NOTHING_LEFT);
}

static void only_what_is_wanted_is_written(void **state)
{
        struct world *t = *state;
        add_file(t, "a", "1");
        add_file(t, "d/b", "2");
        add_file(t, ".autoglacier/manifest.jsonl", "3");
        t->only = "d/b";
        assert_int_equal(extract(t), 0);
        tree_sh("test \"$(cd $T/to && find . | sort | tr '\\n' ' ')\" = '. ./d ./d/b '");
        t->only = NULL;
        t->clash = UNTAR_OVERWRITE;
        assert_int_equal(extract(t), 0);
        tree_sh("test \"$(ls -A $T/to | tr '\\n' ' ')\" = 'a d '");
}

static void a_folder_without_a_member_is_closed_to_others(void **state)
{
        struct world *t = *state;
        add_file(t, "d/b", "2");
        assert_int_equal(extract(t), 0);
        tree_sh("test $(stat -c %a $T/to/d) = 700");
}

/* ---- what is refused ---- */

static void a_refused_sum_leaves_no_file(void **state)
{
        struct world *t = *state;
        add_file(t, "a", "1");
        add_file(t, "b", "2");
        t->refused = "b";
        assert_int_equal(extract(t), -EBADMSG);
        tree_sh("test \"$(ls -A $T/to)\" = a");
}

static void a_cut_stream_leaves_no_half_file(void **state)
{
        struct world *t = *state;
        add_file(t, "a", "1");
        raw_header(t, "b", '0', "", 100000);
        add_bytes(t, "x", 1);
        assert_int_equal(extract(t), -EPROTO);
        tree_sh("test \"$(ls -A $T/to)\" = a");
        t->clash = UNTAR_OVERWRITE;
        t->source_fails = -EBADMSG;
        assert_int_equal(extract(t), -EBADMSG);
        assert_string_equal(t->e.text, "the source says no");
        tree_sh("test \"$(ls -A $T/to)\" = a");
}

static void names_that_leave_the_folder_are_refused(void **state)
{
        struct world *t = *state;
        const char *const names[] = {"../x", "a/../../x", "/../x", "a/..", "..", "./../x"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                buf_reset(&t->tar);
                add_file(t, names[i], "evil");
                assert_int_equal(extract(t), -EPROTO);
                buf_reset(&t->tar);
                raw_header(t, "link", '1', names[i], 0);
                assert_int_equal(extract(t), -EPROTO);
        }
        tree_sh("test ! -e $T/x && test -z \"$(ls -A $T/to)\"");
}

static void absolute_names_stay_inside(void **state)
{
        struct world *t = *state;
        add_file(t, "//a/./b", "1");
        raw_header(t, "c", '1', "/a/b", 0);
        assert_int_equal(extract(t), 0);
        tree_sh("test $(cat $T/to/a/b $T/to/c) = 11");
}

static void a_link_in_the_tar_is_not_followed(void **state)
{
        struct world *t = *state;
        tree_sh("mkdir $T/out");
        const char *const targets[] = {"../out", "/tmp", "."};
        for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
                tree_sh("rm -rf $T/to");
                buf_reset(&t->tar);
                raw_header(t, "l", '2', targets[i], 0);
                add_file(t, "l/x", "evil");
                assert_int_equal(extract(t), -EPROTO);
                tree_sh("rm -rf $T/to");
                buf_reset(&t->tar);
                raw_header(t, "l", '2', targets[i], 0);
                raw_header(t, "h", '1', "l/x", 0);
                assert_int_equal(extract(t), -ENOTDIR);
        }
        tree_sh("test -z \"$(ls $T/out)\"");
}

static void a_link_that_was_there_is_not_followed(void **state)
{
        struct world *t = *state;
        tree_sh("mkdir $T/out && ln -s ../out $T/to/l && sleep 0.05");
        add_file(t, "l/x", "1");
        assert_int_equal(extract(t), -EEXIST);
        t->clash = UNTAR_OVERWRITE;
        assert_int_equal(extract(t), -EEXIST);
        tree_sh("test -z \"$(ls $T/out)\" && test -L $T/to/l");
}

static void a_file_does_not_replace_a_folder(void **state)
{
        struct world *t = *state;
        add_file(t, "d/x", "1");
        add_file(t, "d", "2");
        t->clash = UNTAR_OVERWRITE;
        assert_int_equal(extract(t), -EEXIST);
        tree_sh("test $(cat $T/to/d/x) = 1");
}

static void devices_and_pipes_are_left_out(void **state)
{
        struct world *t = *state;
        raw_header(t, "null", '3', "", 0);
        raw_header(t, "disk", '4', "", 0);
        raw_header(t, "pipe", '6', "", 0);
        add_file(t, "a", "1");
        assert_int_equal(extract(t), 0);
        assert_int_equal(t->warnings, 3);
        tree_sh("test \"$(ls -A $T/to)\" = a");
}

static void an_ordinary_user_makes_no_program_of_somebody_else(void **state)
{
        struct world *t = *state;
        if (!tree_is_root())
                skip();
        tree_sh("echo x >$T/src/s && chown 7:8 $T/src/s && chmod 6755 $T/src/s && chown 1:1 $T/to");
        pack(t);
        assert_int_equal(setegid(1), 0);
        assert_int_equal(seteuid(1), 0);
        int r = extract(t);
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(setegid(0), 0);
        assert_int_equal(r, 0);
        tree_sh("test $(stat -c %u-%a $T/to/s) = 1-755");
}

static void a_full_disk_is_told_and_leaves_no_half_file(void **state)
{
        struct world *t = *state;
        if (!tree_is_root() ||
                tree_status("mount -t tmpfs -o size=256k none $T/to 2>/dev/null") != 0)
                skip();
        static char big[1000001];
        memset(big, 'x', sizeof big - 1);
        add_file(t, "a", "1");
        add_file(t, "big", big);
        int r = extract(t);
        int listed = tree_status("test \"$(ls -A $T/to)\" = a");
        tree_sh("umount $T/to");
        assert_int_equal(r, -ENOSPC);
        assert_non_null(strstr(t->e.text, "big"));
        assert_int_equal(listed, 0);
}

/* As on a stick's filesystem, while this is set. The program's own come before libc's. */
static bool no_links;

int symlinkat(const char *target, int dir, const char *name)
{
        errno = EPERM;
        return no_links ? -1 : (int)syscall(SYS_symlinkat, target, dir, name);
}

int linkat(int from_dir, const char *from, int dir, const char *name, int flags)
{
        errno = EPERM; /* giving a name to a file that has none is another matter */
        return no_links && !flags ? -1 : (int)syscall(SYS_linkat, from_dir, from, dir, name, flags);
}

static void a_stick_that_holds_no_links_gets_the_files(void **state)
{
        struct world *t = *state;
        add_file(t, "d/a", "1");
        raw_header(t, "d/soft", '2', "a", 0);
        raw_header(t, "d/hard", '1', "d/a", 0);
        add_file(t, "z", "2");
        no_links = true;
        int r = extract(t);
        no_links = false;
        assert_int_equal(r, 0);
        assert_int_equal(t->warnings, 2);
        tree_sh("test $(cat $T/to/d/a $T/to/z) = 12 && test $(ls $T/to/d) = a");
        tree_sh(NOTHING_LEFT);
}

static void a_header_without_end_takes_no_memory(void **state)
{
        struct world *t = *state;
        _cleanup_free_ char *huge = calloc(1, 900000);
        assert_non_null(huge);
        memset(huge, 'v', 900000);
        for (int i = 0; i < 25; i++)
                add_pax(t, "SCHILY.xattr.user.x", huge, 900000);
        add_file(t, "a", "1");
        assert_int_equal(extract(t), -EPROTO);
        tree_sh("test -z \"$(ls -A $T/to)\"");
}

static void a_stream_may_be_empty_or_end_without_its_end_blocks(void **state)
{
        struct world *t = *state;
        assert_int_equal(extract(t), 0);
        char zeros[1024] = "";
        buf_add(&t->tar, zeros, sizeof zeros);
        assert_int_equal(extract(t), 0);
        buf_reset(&t->tar);
        add_file(t, "a", "1");
        assert_int_equal(extract(t), 0);
        buf_reset(&t->tar);
        buf_adds(&t->tar, "this is no tar at all");
        assert_int_equal(extract(t), -EPROTO);
}

static void a_missing_target_is_made_and_closed_to_others(void **state)
{
        struct world *t = *state;
        add_file(t, "a", "1");
        _cleanup_free_ char *to = io_join(t->dir, "new/er");
        assert_int_equal(extract_to(t, to), 0);
        tree_sh("test $(cat $T/new/er/a) = 1 && test $(stat -c %a $T/new/er) = 700");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_NAMED(f)                                                                              \
        {                                                                                          \
#f "_where_files_need_names", f, setup_named, teardown, NULL                       \
        }
        const struct CMUnitTest tests[] = {
                TEST(files_folders_links_modes_and_times_come_back),
                TEST_NAMED(files_folders_links_modes_and_times_come_back),
                TEST(odd_names_come_back_byte_for_byte),
                TEST(names_that_no_disk_takes_are_refused),
                TEST(pax_names_in_utf8_are_not_converted),
                TEST(xattrs_acls_and_capabilities_come_back),
                TEST(a_default_acl_of_the_target_does_not_get_onto_files),
                TEST(holes_come_back_as_holes_and_count_in_the_sum),
                TEST(paths_longer_than_path_max_come_back),
                TEST(the_later_of_two_members_counts),
                TEST_NAMED(the_later_of_two_members_counts),
                TEST(a_folder_that_was_closed_takes_a_late_member),
                TEST(what_is_there_is_left_alone_unless_asked),
                TEST_NAMED(what_is_there_is_left_alone_unless_asked),
                TEST(overwriting_breaks_hard_links_and_links_instead_of_writing_through),
                TEST_NAMED(overwriting_breaks_hard_links_and_links_instead_of_writing_through),
                TEST(only_what_is_wanted_is_written),
                TEST(a_folder_without_a_member_is_closed_to_others),
                TEST(a_refused_sum_leaves_no_file),
                TEST_NAMED(a_refused_sum_leaves_no_file),
                TEST(a_cut_stream_leaves_no_half_file),
                TEST_NAMED(a_cut_stream_leaves_no_half_file),
                TEST(names_that_leave_the_folder_are_refused),
                TEST(absolute_names_stay_inside),
                TEST(a_link_in_the_tar_is_not_followed),
                TEST(a_link_that_was_there_is_not_followed),
                TEST(a_file_does_not_replace_a_folder),
                TEST(devices_and_pipes_are_left_out),
                TEST(an_ordinary_user_makes_no_program_of_somebody_else),
                TEST(a_full_disk_is_told_and_leaves_no_half_file),
                TEST(a_stick_that_holds_no_links_gets_the_files),
                TEST(a_header_without_end_takes_no_memory),
                TEST(a_stream_may_be_empty_or_end_without_its_end_blocks),
                TEST(a_missing_target_is_made_and_closed_to_others),
        };
        return cmocka_run_group_tests_name("untar", tests, NULL, NULL);
}
