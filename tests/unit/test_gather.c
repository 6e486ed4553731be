#include "gather.h"

#include "buf.h"
#include "io.h"
#include "staging.h"
#include "tree.h"

#include <grp.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ID     "20260101T000000Z-00000000"
#define NOBODY 65534

/* The tree is $T/data/staging/ID, sources are in $S, another folder. */
struct world {
        char dir[64], sources[64];
        struct staging *staging;
        struct buf seen;  /* a line for each call of the visitor */
        struct buf paths; /* the paths of the entries, each with its zero byte */
        unsigned entries;
        unsigned stop_after; /* entries; 0: never */
        struct gather_params params;
        struct err err;
};

static int setup(void **state)
{
        struct world *t = calloc(1, sizeof *t);
        assert_non_null(t);
        tree_setup(t->sources);
        assert_int_equal(setenv("S", t->sources, 1), 0);
        tree_setup(t->dir);
        _cleanup_free_ char *path = io_join(t->dir, "data/staging");
        assert_int_equal(staging_open(path, &t->staging, NULL), 0);
        tree_sh("mkdir $T/data/staging/" ID " $T/mnt && chmod 755 $T/data $T/data/staging");
        assert_int_equal(setenv("G", "data/staging/" ID, 1), 0);
        t->params.staging = t->staging;
        t->params.id = ID;
        *state = t;
        return 0;
}

static int teardown(void **state)
{
        struct world *t = *state;
        staging_close(t->staging);
        tree_remove(t->dir);
        tree_remove(t->sources);
        buf_done(&t->seen);
        buf_done(&t->paths);
        free(t);
        return 0;
}

/* ---- a visitor that writes down what it sees ---- */

static int entry(void *ctx, const struct gather_entry *g, _unused_ struct err *e)
{
        struct world *t = ctx;
        char type = S_ISDIR(g->st.st_mode) ? 'd' : S_ISLNK(g->st.st_mode) ? 'l' : 'f';
        buf_addf(&t->seen, "%c %s", type, g->path);
        if (g->link)
                buf_addf(&t->seen, " -> %s%s", g->link, g->leads_outside ? " (outside)" : "");
        if (g->source)
                buf_adds(&t->seen, " (linked)");
        buf_addc(&t->seen, '\n');
        buf_add(&t->paths, g->path, strlen(g->path) + 1);
        assert_int_equal(g->staged, g->source == NULL);
        assert_int_equal(type == 'l', g->fd < 0);
        struct stat st;
        if (g->fd >= 0) {
                assert_int_equal(fstat(g->fd, &st), 0);
                assert_int_equal(st.st_ino, g->st.st_ino);
                char byte;
                if (type == 'f')
                        assert_int_equal(read(g->fd, &byte, 1), g->st.st_size > 0);
        }
        if (g->source && type != 'd' && strlen(g->source) < 4000) {
                assert_int_equal(lstat(g->source, &st), 0);
                assert_int_equal(st.st_ino, g->st.st_ino);
        }
        return ++t->entries == t->stop_after ? -ECANCELED : 0;
}

static int problem(void *ctx, enum gather_problem what, const char *path, const char *staged_path,
        const char *why, _unused_ struct err *e)
{
        static const char *const names[] = {
                "unreadable", "special", "excluded", "litter", "avoided"};
        struct world *t = ctx;
        assert_true(strlen(why) > 5);
        buf_addf(&t->seen, "%s %s", names[what], path);
        if (staged_path)
                buf_addf(&t->seen, " back %s", staged_path);
        buf_addc(&t->seen, '\n');
        return 0;
}

static int walk(struct world *t)
{
        buf_reset(&t->seen);
        buf_reset(&t->paths);
        t->entries = 0;
        const struct gather_visitor v = {.entry = entry, .problem = problem, .ctx = t};
        return gather_walk(&t->params, &v, &t->err);
}

static void sees(struct world *t, const char *want)
{
        int r = walk(t);
        if (r < 0)
                print_error("%s\n", t->err.text);
        assert_int_equal(r, 0);
        assert_string_equal(buf_str(&t->seen), want);
}

/* Runs the walk in a child that is an ordinary user; true if it saw `want`. */
static bool nobody_sees(struct world *t, const char *want)
{
        if (geteuid() == 0)
                tree_sh("chown -hR 65534:65534 $T");
        t->err = (struct err){0};
        (void)fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
                if (geteuid() == 0 &&
                        (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
                                setresuid(NOBODY, NOBODY, NOBODY) < 0))
                        _exit(2);
                int r = walk(t);
                bool same = r == 0 && streq(buf_str(&t->seen), want);
                if (!same && r != -ECANCELED)
                        (void)fprintf(stderr, "%d %s\n%s", r, t->err.text, buf_str(&t->seen));
                _exit(same ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        return status == 0;
}

/* ---- order ---- */

static void a_folder_comes_before_what_it_holds_and_that_before_its_next_sibling(void **state)
{
        (void)state;
        static const char *const in_order[] = {"", "!", "a", "a/a", "a/b", "a/b/\x01", "a/\xff",
                "a\x01", "a!", "a!/x", "a0", "aa", "b", "\xff"};
        for (size_t i = 0; i < ARRAY_SIZE(in_order); i++)
                for (size_t k = 0; k < ARRAY_SIZE(in_order); k++) {
                        int c = gather_order(in_order[i], in_order[k]);
                        assert_int_equal(c < 0, i < k);
                        assert_int_equal(c == 0, i == k);
                }
}

static void names_are_visited_in_the_order_of_their_bytes(void **state)
{
        struct world *t = *state;
        tree_sh("cd $T/$G && mkdir a a! 'a b' && touch a/z a!/y 'a b/x' B b \"$(printf '\\377')\" "
                ".h && "
                "ln -s gone c");
        sees(t, "f .h\nf B\nd a\nf a/z\nd a b\nf a b/x\nd a!\nf a!/y\nf b\nl c -> gone\nf \xff\n");
}

static void a_folder_of_many_entries_is_walked_in_order(void **state)
{
        struct world *t = *state;
        tree_sh("mkdir $T/$G/d && cd $T/$G/d && seq 20000 | xargs touch");
        assert_int_equal(walk(t), 0);
        assert_int_equal(t->entries, 20001);
        const char *p = t->paths.data;
        for (unsigned i = 1; i < t->entries; i++) {
                const char *next = p + strlen(p) + 1;
                assert_true(gather_order(p, next) < 0);
                p = next;
        }
}

static void an_empty_tree_has_no_entries(void **state)
{
        sees(*state, "");
}

/* ---- links at the top ---- */

static void a_link_at_the_top_stands_for_its_target(void **state)
{
        tree_sh("cd $S && mkdir -p dir/sub && echo x >file && echo y >dir/sub/f && ln -s sub "
                "dir/in && "
                "ln -s ../file dir/out && ln -s /etc dir/abs && ln -s file chain && "
                "cd $T/$G && ln -s $S/file a && ln -s $S/dir b && ln -s $S/chain c");
        sees(*state, "f a (linked)\nd b (linked)\nl b/abs -> /etc (outside) (linked)\nl b/in -> "
                     "sub (linked)\n"
                     "l b/out -> ../file (outside) (linked)\nd b/sub (linked)\nf b/sub/f (linked)\n"
                     "f c (linked)\n");
}

static void links_deeper_down_stay_links(void **state)
{
        tree_sh("cd $T/$G && mkdir d && ln -s $S d/abs && ln -s ../x d/in && ln -s ../../x d/out "
                "&& touch x");
        char want[256];
        (void)snprintf(want, sizeof want,
                "d d\nl d/abs -> %s (outside)\nl d/in -> ../x\nl d/out -> ../../x (outside)\nf x\n",
                getenv("S"));
        sees(*state, want);
}

static void a_link_to_something_that_is_staged_too_stays_a_link(void **state)
{
        struct world *t = *state;
        _cleanup_free_ char *mnt = io_join(t->dir, "mnt");
        t->params.mountpoint = mnt;
        tree_sh("cd $T/$G && touch x && ln -s x rel && ln -s ./a/../x dots && ln -s $T/mnt/x abs "
                "&& "
                "ln -s ../mnt/x around");
        char want[256];
        (void)snprintf(want, sizeof want,
                "l abs -> %s/x (outside)\nl around -> ../mnt/x (outside)\nl dots -> ./a/../x\n"
                "l rel -> x\nf x\n",
                mnt);
        sees(t, want);
}

static void relative_texts_are_resolved_against_the_mountpoint(void **state)
{
        struct world *t = *state;
        _cleanup_free_ char *mnt = io_join(t->dir, "mnt");
        t->params.mountpoint = mnt;
        tree_sh("echo beside >$T/beside && ln -s ../beside $T/$G/l && ln -s x/../../beside "
                "$T/$G/m");
        sees(t, "f l (linked)\nf m (linked)\n");
}

static void a_link_to_what_is_neither_file_nor_folder_goes_back(void **state)
{
        tree_sh("ln -s /dev/zero $T/$G/zero && mkfifo $S/fifo && ln -s $S/fifo $T/$G/fifo");
        sees(*state, "special fifo back fifo\nspecial zero back zero\n");
}

static void a_link_whose_target_was_deleted_goes_back(void **state)
{
        struct world *t = *state;
        tree_sh("touch $S/f $S/g && ln -s $S/f $T/$G/f && ln -s $S/g $T/$G/g");
        _cleanup_close_ int fd = -EBADF;
        assert_int_equal(staging_open_frozen(t->staging, ID, &fd, NULL), 0);
        _cleanup_free_ char *devices = NULL;
        assert_int_equal(gather_devices(fd, NULL, &devices, NULL), 0);
        t->params.devices = devices;
        tree_sh("rm $S/f");
        sees(t, "unreadable f back f\nf g (linked)\n");
}

static void a_link_whose_device_is_another_now_makes_the_archive_wait(void **state)
{
        struct world *t = *state;
        tree_sh("touch $S/f && ln -s $S/f $T/$G/f");
        t->params.devices =
                "[{\"name\":\"f\",\"target\":\"x\",\"dev\":\"8:1\",\"fs\":\"ext4 uuid=other\"}]";
        assert_int_equal(walk(t), -ENODEV);
        assert_non_null(strstr(t->err.text, "the disk that holds it is not there"));
        assert_string_equal(buf_str(&t->seen), "");
        tree_sh("rm $S/f");
        assert_int_equal(walk(t), -ENODEV);
}

static void links_that_are_not_in_the_table_are_not_checked(void **state)
{
        struct world *t = *state;
        tree_sh("touch $S/f && ln -s $S/f $T/$G/f");
        t->params.devices = "[]";
        sees(t, "f f (linked)\n");
        t->params.devices = "{}";
        assert_int_equal(walk(t), -EPROTO);
        t->params.devices = "[";
        assert_int_equal(walk(t), -EPROTO);
}

static void a_disk_that_was_unplugged_is_waited_for_and_found_again(void **state)
{
        struct world *t = *state;
        if (!tree_is_root() ||
                tree_status("mkdir $S/disk && mount -t tmpfs ag-disk $S/disk") != 0) {
                print_message("skipped: cannot mount\n");
                skip();
        }
        tree_sh("echo x >$S/disk/f && ln -s $S/disk $T/$G/\"$(printf 'd\\377')\" && ln -s "
                "$S/disk/f $T/$G/f");
        _cleanup_close_ int fd = -EBADF;
        assert_int_equal(staging_open_frozen(t->staging, ID, &fd, NULL), 0);
        _cleanup_free_ char *devices = NULL;
        assert_int_equal(gather_devices(fd, NULL, &devices, NULL), 0);
        t->params.devices = devices;
        assert_non_null(strstr(devices, "name_base64"));
        sees(t, "d d\xff (linked)\nf d\xff/f (linked)\nf f (linked)\n");
        tree_sh("umount $S/disk");
        assert_int_equal(walk(t), -ENODEV); /* the empty folder below is not the disk */
        tree_sh("mount -t tmpfs ag-disk $S/disk && echo y >$S/disk/f");
        sees(t, "d d\xff (linked)\nf d\xff/f (linked)\nf f (linked)\n");
        tree_sh("umount $S/disk");
}

/* ---- what is left out ---- */

static void specials_and_litter_and_exclusions_are_told(void **state)
{
        struct world *t = *state;
        const char *const exclude[] = {"*.o", "d/skip", NULL};
        t->params.exclude = exclude;
        tree_sh("cd $T/$G && mkdir -p d/skip/below .Trash-1000/files d/keep/skip && mkfifo d/pipe "
                "&& touch a.o "
                "d/b.o d/.DS_Store d/f && mkdir $S/d && touch $S/d/x.o $S/d/Thumbs.db && mkfifo "
                "$S/d/p && "
                "ln -s $S/d linked && ln -s $S/d l.o");
        sees(t, "litter .Trash-1000 back .Trash-1000\nexcluded a.o back a.o\nd d\n"
                "litter d/.DS_Store back d/.DS_Store\nexcluded d/b.o back d/b.o\nf d/f\nd d/keep\n"
                "d d/keep/skip\nspecial d/pipe back d/pipe\nexcluded d/skip back d/skip\n"
                "excluded l.o back l.o\nd linked (linked)\nlitter linked/Thumbs.db\nspecial "
                "linked/p\n"
                "excluded linked/x.o\n");
}

static void a_socket_is_special(void **state)
{
        struct world *t = *state;
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        assert_true(snprintf(a.sun_path, sizeof a.sun_path, "%s/data/staging/%s/s", t->dir, ID) <
                    (int)sizeof a.sun_path);
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
        sees(t, "special s back s\n");
}

static void folders_in_which_we_work_are_not_entered(void **state)
{
        struct world *t = *state;
        tree_sh("mkdir -p $S/d/work/x $S/d/ok && touch $S/d/work/x/f && ln -s $S/d $T/$G/a && "
                "ln -s $S/d/work $T/$G/b && ln -s $S/d/work/x $T/$G/c");
        _cleanup_free_ char *work = io_join(t->sources, "d/work");
        const char *const avoid[] = {"/nonexistent", work, NULL};
        t->params.avoid = avoid;
        sees(t, "d a (linked)\nd a/ok (linked)\navoided a/work\navoided b back b\nd c (linked)\n"
                "f c/f (linked)\n");
        t->params.closed = avoid;
        sees(t, "d a (linked)\nd a/ok (linked)\navoided a/work\navoided b back b\navoided c back "
                "c\n");
}

static void links_into_the_data_folder_go_back(void **state)
{
        tree_sh("mkdir $T/data/keys && touch $T/data/keys/k && ln -s $T/data/keys/k $T/$G/k && "
                "ln -s $T/data/keys $T/$G/keys && ln -s $T/data $T/$G/data");
        sees(*state, "avoided data back data\navoided k back k\navoided keys back keys\n");
}

static void another_filesystem_below_a_linked_folder_is_not_entered(void **state)
{
        struct world *t = *state;
        if (!tree_is_root() ||
                tree_status("mkdir -p $S/d/mnt/x $S/d/z && mount -t tmpfs ag-x $S/d/mnt") != 0) {
                print_message("skipped: cannot mount\n");
                skip();
        }
        tree_sh("touch $S/d/mnt/f && ln -s $S/d $T/$G/d && ln -s $S/d/mnt $T/$G/m");
        int r = walk(t);
        _cleanup_free_ char *listed = io_join(t->sources, "d/mnt");
        _cleanup_free_ char *folder = io_join(t->sources, "d");
        const char *const files[] = {listed, folder, NULL};
        struct world list = {.params = {.files = files}};
        int q = walk(&list);
        tree_sh("umount $S/d/mnt");
        assert_int_equal(r, 0);
        assert_string_equal(buf_str(&t->seen),
                "d d (linked)\navoided d/mnt\nd d/z (linked)\nd m (linked)\nf m/f (linked)\n");
        assert_int_equal(q, 0); /* naming it is stronger */
        assert_non_null(strstr(buf_str(&list.seen), "/d/mnt/f (linked)\n"));
        assert_int_equal(list.entries, 4);
        buf_done(&list.seen);
        buf_done(&list.paths);
}

/* ---- rights ---- */

static void staged_entries_without_owner_permission_are_read_and_get_their_mode_back(void **state)
{
        struct world *t = *state;
        tree_sh("cd $T/$G && mkdir -p a/b c && echo x >a/b/f && echo y >a/g && echo z >c/h && "
                "chmod 000 a/b/f a/b a && chmod 0240 c/h && chmod 0611 c");
        tree_sh("cd $T/$G && stat -c '%a %n' a c >$T/before");
        assert_true(nobody_sees(t, "d a\nd a/b\nf a/b/f\nf a/g\nd c\nf c/h\n"));
        tree_sh("cd $T/$G && stat -c '%a %n' a c >$T/after && cmp $T/before $T/after");
        tree_sh("cd $T/$G && chmod 700 a c && stat -c %a a/b c/h | tr '\\n' ' ' | grep -qx '0 240 "
                "'");
        tree_sh("cd $T/$G && chmod 700 a/b && test $(stat -c %a a/b/f) = 0");
        tree_sh("test -s $T/data/staging/" ID ".modes");
}

static void modes_are_put_back_when_the_visitor_ends_the_walk(void **state)
{
        struct world *t = *state;
        tree_sh("cd $T/$G && mkdir -p a/b && touch a/b/f && chmod 000 a/b a");
        t->stop_after = 3;
        assert_false(nobody_sees(t, ""));
        tree_sh("cd $T/$G && test $(stat -c %a a) = 0 && chmod 700 a && test $(stat -c %a a/b) = "
                "0");
}

static void what_cannot_be_read_behind_a_link_is_told(void **state)
{
        tree_sh("cd $S && mkdir -p d/closed && touch d/closed/f d/secret d/z top && chmod 000 "
                "d/closed d/secret "
                "top && ln -s $S/d $T/$G/d && ln -s $S/top $T/$G/top && ln -s $S/d/closed/f "
                "$T/$G/x");
        assert_true(nobody_sees(*state,
                "d d (linked)\nunreadable d/closed\nunreadable d/secret\n"
                "f d/z (linked)\nunreadable top back top\nunreadable x back x\n"));
        tree_sh("test $(stat -c %a $S/d/secret) = 0");
}

static void a_link_is_followed_with_the_rights_of_its_owner(void **state)
{
        struct world *t = *state;
        if (!tree_is_root())
                skip();
        tree_sh("cd $S && mkdir d && echo x >root && echo x >own && echo x >d/root && echo x "
                ">d/own && "
                "chmod 600 root own d/root d/own && chown 65534 own d/own && echo g >group && "
                "chmod 640 group && "
                "chgrp 4 group && mkdir -m 700 priv && touch priv/f && cd $T/$G && ln -s $S/root a "
                "&& ln -s "
                "$S/own b && ln -s $S/d d && ln -s $S/priv/f p && ln -s $S/group g && "
                "chown -h 65534:65534 a b d g p && ln -s $S/root r");
        t->params.follow_as_owner = true;
        const gid_t groups[] = {4, 0};
        assert_int_equal(setgroups(2, groups), 0);
        sees(t, "unreadable a back a\nf b (linked)\nd d (linked)\nf d/own (linked)\nunreadable "
                "d/root\n"
                "unreadable g back g\nunreadable p back p\nf r (linked)\n");
        gid_t now[8];
        assert_int_equal(getgroups(8, now), 2);
        assert_int_equal(setgroups(0, NULL), 0);
        tree_sh("cat $S/own >/dev/null"); /* and this process is root again */
        _cleanup_free_ char *path = io_join(t->sources, "own");
        _cleanup_close_ int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
}

static void reading_leaves_no_access_time(void **state)
{
        tree_sh("mkdir $T/$G/d && echo x >$T/$G/d/f && touch -a -d @1 $T/$G/d/f $T/$G/d");
        sees(*state, "d d\nf d/f\n");
        tree_sh("test $(stat -c %X $T/$G/d/f) = 1 && test $(stat -c %X $T/$G/d) = 1");
}

/* ---- going on ---- */

static void a_walk_goes_on_after_every_entry(void **state)
{
        struct world *t = *state;
        tree_sh("cd $S && mkdir -p l/a/b l/c && touch l/a/b/f l/c/g l/z && cd $T/$G && mkdir -p "
                "a/b/c a! e && "
                "touch a/b/c/f a/b/g a!/h && ln -s $S/l link && ln -s gone x");
        assert_int_equal(walk(t), 0);
        struct buf all = t->paths;
        t->paths = (struct buf)BUF_INIT;
        unsigned n = t->entries;
        assert_true(n > 15);
        const char *p = all.data;
        for (unsigned i = 0; i < n; i++, p += strlen(p) + 1) {
                for (unsigned at = 0; at < 2; at++) {
                        const char *rest = at ? p : p + strlen(p) + 1;
                        t->params.resume_after = p;
                        t->params.resume_at = at;
                        assert_int_equal(walk(t), 0);
                        assert_int_equal(t->entries, n - i - 1 + at);
                        assert_int_equal(t->paths.len, all.len - (size_t)(rest - all.data));
                        if (t->entries > 0)
                                assert_memory_equal(t->paths.data, rest, t->paths.len);
                }
        }
        buf_done(&all);
}

static void a_walk_goes_on_where_the_entry_is_gone_by_now(void **state)
{
        struct world *t = *state;
        tree_sh("cd $T/$G && mkdir -p a c && touch a/x c/y");
        t->params.resume_after = "b/gone";
        sees(t, "d c\nf c/y\n");
        t->params.resume_after = "a/gone";
        sees(t, "f a/x\nd c\nf c/y\n");
}

static void what_lies_before_is_not_opened_again(void **state)
{
        struct world *t = *state;
        tree_sh("ln -s $S/gone $T/$G/a && touch $T/$G/b $T/$G/c");
        t->params.resume_after = "b";
        sees(t, "f c\n");
}

/* ---- explicit files ---- */

static void explicit_files_are_named_by_their_absolute_paths_and_each_appears_once(void **state)
{
        struct world *t = *state;
        tree_sh("cd $S && mkdir -p d/e x && touch d/e/f d/g d/g.o x/one x/two && ln -s e d/l && ln "
                "-s ../x/one "
                "d/m && ln -s ../x/three d/n");
        const char *const below[] = {
                "x/one", "d/", "d/e/f", "d/../d/e", "missing", "d/missing", "x//./one", "d/g.o"};
        const char *files[ARRAY_SIZE(below) + 1] = {0};
        for (size_t i = 0; i < ARRAY_SIZE(below); i++)
                files[i] = io_join(t->sources, below[i]);
        const char *const exclude[] = {"*.o", NULL};
        t->params = (struct gather_params){.files = files, .exclude = exclude};
        assert_int_equal(walk(t), 0);
        struct buf want = BUF_INIT;
        const char *s = t->sources + 1;
        buf_addf(&want,
                "d %s/d (linked)\nd %s/d/e (linked)\nf %s/d/e/f (linked)\nf %s/d/g (linked)\n", s,
                s, s, s);
        buf_addf(&want,
                "f %s/d/g.o (linked)\nl %s/d/l -> e (linked)\nl %s/d/m -> ../x/one (linked)\n", s,
                s, s);
        buf_addf(&want, "unreadable %s/d/missing\nl %s/d/n -> ../x/three (outside) (linked)\n", s,
                s);
        buf_addf(&want, "unreadable %s/missing\nf %s/x/one (linked)\n", s, s);
        assert_string_equal(buf_str(&t->seen), buf_str(&want));
        buf_done(&want);
        for (size_t i = 0; i < ARRAY_SIZE(below); i++)
                free((char *)files[i]);
}

static void an_explicit_link_stays_a_link(void **state)
{
        struct world *t = *state;
        tree_sh("touch $S/f && ln -s f $S/l");
        _cleanup_free_ char *l = io_join(t->sources, "l");
        const char *const files[] = {l, NULL};
        t->params = (struct gather_params){.files = files};
        assert_int_equal(walk(t), 0);
        assert_non_null(strstr(buf_str(&t->seen), "/l -> f (outside)"));
}

static void a_walk_of_explicit_files_goes_on(void **state)
{
        struct world *t = *state;
        tree_sh("cd $S && mkdir -p a b/c && touch a/1 a/2 b/c/3 d");
        const char *const names[] = {"a", "a/2", "b/c", "d"};
        const char *files[ARRAY_SIZE(names) + 1] = {0};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                files[i] = io_join(t->sources, names[i]);
        t->params = (struct gather_params){.files = files};
        assert_int_equal(walk(t), 0);
        struct buf all = t->paths;
        t->paths = (struct buf)BUF_INIT;
        unsigned n = t->entries;
        assert_int_equal(n, 6);
        const char *p = all.data;
        for (unsigned i = 0; i < n; i++, p += strlen(p) + 1) {
                t->params.resume_after = p;
                assert_int_equal(walk(t), 0);
                assert_int_equal(t->entries, n - i - 1);
        }
        buf_done(&all);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                free((char *)files[i]);
}

static void relative_explicit_paths_are_refused(void **state)
{
        struct world *t = *state;
        const char *const files[] = {"a", NULL};
        t->params = (struct gather_params){.files = files};
        assert_int_equal(walk(t), -EINVAL);
        t->params = (struct gather_params){0};
        assert_int_equal(walk(t), -EINVAL);
}

/* ---- size ---- */

static void a_tree_deeper_than_paths_and_descriptors_go_is_walked(void **state)
{
        struct world *t = *state;
        const char *name = "0123456789";
        int fd = -EBADF;
        assert_int_equal(staging_open_frozen(t->staging, ID, &fd, NULL), 0);
        for (unsigned i = 0; i < 2000; i++) {
                assert_int_equal(mkdirat(fd, name, 0700), 0);
                int below = openat(fd, name, O_RDONLY | O_DIRECTORY);
                assert_true(below >= 0);
                (void)close(openat(fd, "z", O_CREAT | O_WRONLY, 0600));
                (void)close(fd);
                fd = below;
        }
        (void)close(fd);
        struct rlimit old;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
        struct rlimit few = {.rlim_cur = 256, .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        int r = walk(t);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(r, 0);
        assert_int_equal(t->entries, 4000);
        assert_null(strstr(buf_str(&t->seen), "unreadable"));
}

static void the_error_of_the_visitor_comes_out(void **state)
{
        struct world *t = *state;
        tree_sh("touch $T/$G/a $T/$G/b $T/$G/c");
        t->stop_after = 2;
        assert_int_equal(walk(t), -ECANCELED);
        assert_int_equal(t->entries, 2);
}

static void the_table_of_devices_holds_what_links_lead_to(void **state)
{
        struct world *t = *state;
        tree_sh("cd $T/$G && touch $S/f && ln -s $S/f f && ln -s f inside && ln -s $S/gone gone && "
                "touch plain");
        _cleanup_close_ int fd = -EBADF;
        assert_int_equal(staging_open_frozen(t->staging, ID, &fd, NULL), 0);
        _cleanup_free_ char *json = NULL;
        assert_int_equal(gather_devices(fd, t->dir, &json, NULL), 0);
        assert_non_null(strstr(json, "[{\"name\":\"f\",\"target\":\"/"));
        assert_null(strstr(json, "inside"));
        assert_null(strstr(json, "gone"));
        assert_null(strstr(json, "plain"));
        t->params.devices = json;
        assert_int_equal(walk(t), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        (void)umask(022);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(
                        a_folder_comes_before_what_it_holds_and_that_before_its_next_sibling),
                TEST(names_are_visited_in_the_order_of_their_bytes),
                TEST(a_folder_of_many_entries_is_walked_in_order),
                TEST(an_empty_tree_has_no_entries),
                TEST(a_link_at_the_top_stands_for_its_target),
                TEST(links_deeper_down_stay_links),
                TEST(a_link_to_something_that_is_staged_too_stays_a_link),
                TEST(relative_texts_are_resolved_against_the_mountpoint),
                TEST(a_link_to_what_is_neither_file_nor_folder_goes_back),
                TEST(a_link_whose_target_was_deleted_goes_back),
                TEST(a_link_whose_device_is_another_now_makes_the_archive_wait),
                TEST(links_that_are_not_in_the_table_are_not_checked),
                TEST(a_disk_that_was_unplugged_is_waited_for_and_found_again),
                TEST(specials_and_litter_and_exclusions_are_told),
                TEST(a_socket_is_special),
                TEST(folders_in_which_we_work_are_not_entered),
                TEST(links_into_the_data_folder_go_back),
                TEST(another_filesystem_below_a_linked_folder_is_not_entered),
                TEST(staged_entries_without_owner_permission_are_read_and_get_their_mode_back),
                TEST(modes_are_put_back_when_the_visitor_ends_the_walk),
                TEST(what_cannot_be_read_behind_a_link_is_told),
                TEST(a_link_is_followed_with_the_rights_of_its_owner),
                TEST(reading_leaves_no_access_time),
                TEST(a_walk_goes_on_after_every_entry),
                TEST(a_walk_goes_on_where_the_entry_is_gone_by_now),
                TEST(what_lies_before_is_not_opened_again),
                TEST(explicit_files_are_named_by_their_absolute_paths_and_each_appears_once),
                TEST(an_explicit_link_stays_a_link),
                TEST(a_walk_of_explicit_files_goes_on),
                TEST(relative_explicit_paths_are_refused),
                TEST(a_tree_deeper_than_paths_and_descriptors_go_is_walked),
                TEST(the_error_of_the_visitor_comes_out),
                TEST(the_table_of_devices_holds_what_links_lead_to),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
