#include "catalog_helpers.h"
#include "tree.h"

#include "bytes.h"
#include "catalog_restore.h"
#include "clock.h"
#include "config.h"
#include "keys.h"
#include "report_internal.h"

#include <jansson.h>
#include <sys/sysmacros.h>

#define A    "20261122T212703Z-00000001"
#define B    "20261122T212703Z-00000002"
#define C_ID "20261122T212703Z-00000003"

/* A set-up whose store is on another disk than its data, if there is one here: /dev/shm. */
struct setup {
        struct scratch *s;
        struct config config;
        char vault[128], key[128], private_key[128];
        char *keys[2], *private_keys[2];
};

static void setup_of(struct setup *u, struct scratch *s)
{
        *u = (struct setup){.s = s};
        (void)snprintf(u->vault, sizeof u->vault, "dir:%s/store/not/made/yet", s->dir);
        (void)snprintf(u->key, sizeof u->key, "%s/public.pem", s->dir);
        (void)snprintf(u->private_key, sizeof u->private_key, "%s/private.pem", s->dir);
        u->keys[0] = u->key;
        u->private_keys[0] = u->private_key;
        u->config = (struct config){.file = (char *)"/home/u/CONFIG.json",
                .data = s->dir,
                .vault = u->vault,
                .public_keys = u->keys,
                .private_keys = u->private_keys};
}

static bool have_another_disk(struct setup *u)
{
        struct stat a, b;
        (void)snprintf(u->vault, sizeof u->vault, "dir:/dev/shm/ag-not-there/store");
        if (stat("/dev/shm", &a) < 0 || stat(u->s->dir, &b) < 0 || a.st_dev == b.st_dev)
                return false;
        return !getenv("HOME") || (stat(getenv("HOME"), &b) == 0 && a.st_dev != b.st_dev);
}

static void prove(struct setup *u)
{
        struct keys_public *k;
        OK(keys_generate(2048, u->private_key, u->key, NULL, E));
        OK(keys_public_load(u->key, &k, E));
        OK(catalog_set(u->s->c, "key_proven", keys_public_fingerprint(k), E));
        keys_public_free(k);
}

static void has(const struct buf *b, const char *text)
{
        if (!strstr(buf_str(b), text))
                fail_msg("no \"%s\" in:\n%s", text, buf_str(b));
}

static void has_not(const struct buf *b, const char *text)
{
        if (strstr(buf_str(b), text))
                fail_msg("\"%s\" in:\n%s", text, buf_str(b));
}

/* ---- not yet a backup ---- */

static void store_on_the_same_disk_is_no_backup(void **state)
{
        struct setup u;
        setup_of(&u, *state);
        prove(&u);
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(report_not_yet(u.s->c, &u.config, &b, E));
        assert_ptr_equal(strstr(buf_str(&b), "NOT YET A BACKUP:"), b.data);
        has(&b, "store/not/made/yet lies on the same disk");
        has(&b, "\"VAULT\"");
        has_not(&b, "private key");
        assert_null(strchr(buf_str(&b), '\n'));
}

static void key_that_nobody_has_shown_is_no_backup(void **state)
{
        struct setup u;
        setup_of(&u, *state);
        if (!have_another_disk(&u))
                skip();
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(report_not_yet(u.s->c, &u.config, &b, E));
        has(&b, "NOT YET A BACKUP: No copy of the private key");
        has(&b, "autoglacier verify --key");
        has_not(&b, "same disk");
        buf_reset(&b);
        prove(&u);
        OK(report_not_yet(u.s->c, &u.config, &b, E));
        assert_string_equal(buf_str(&b), "");
        char *fingerprint;
        OK(catalog_get(u.s->c, "key_proven", &fingerprint, E));
        fingerprint[63] = fingerprint[63] == '0' ? '1' : '0'; /* another key */
        OK(catalog_set(u.s->c, "key_proven", fingerprint, E));
        free(fingerprint);
        OK(report_not_yet(u.s->c, &u.config, &b, E));
        has(&b, "No copy of the private key");
}

/* What /sys looks like: sda with two partitions, of which the second is encrypted (dm-0); sdb; and
 * an array md0 of sda1 and sdb1. A btrfs with the device 0:50 of its own lies on sda2. */
static void make_sys(void)
{
        tree_sh("cd \"$T\" && mkdir -p sys/dev/block sys/devices/block/sda/sda1 "
                "sys/devices/block/sda/sda2 "
                "sys/devices/block/sdb/sdb1 sys/devices/dm-0/slaves sys/devices/md0/slaves "
                "sys/devices/sdc proc/self && "
                "touch sys/devices/block/sda/sda1/partition sys/devices/block/sda/sda2/partition "
                "sys/devices/block/sdb/sdb1/partition && cd sys/dev/block && "
                "ln -s ../../devices/block/sda/sda1 8:1 && ln -s ../../devices/block/sda/sda2 8:2 "
                "&& "
                "ln -s ../../devices/block/sda 8:0 && ln -s ../../devices/block/sdb/sdb1 8:17 && "
                "ln -s ../../devices/dm-0 254:0 && ln -s ../../devices/md0 9:0 && ln -s "
                "../../devices/sdc 8:32 && "
                "ln -s ../../block/sda/sda2 ../../devices/dm-0/slaves/sda2 && "
                "ln -s ../../block/sda/sda1 ../../devices/md0/slaves/sda1 && "
                "ln -s ../../block/sdb/sdb1 ../../devices/md0/slaves/sdb1");
}

static void partitions_of_one_disk_are_one_disk(void **state)
{
        struct scratch *s = *state;
        static const struct {
                unsigned a[2], b[2];
                bool same;
        } cases[] = {
                {{8, 1}, {8, 1}, true},
                {{8, 1}, {8, 2}, true},
                {{8, 0}, {8, 2}, true},
                {{8, 1}, {8, 17}, false},
                {{8, 1}, {254, 0}, true},
                {{8, 17}, {254, 0}, false},
                {{9, 0}, {8, 2}, true},
                {{9, 0}, {8, 17}, true},
                {{9, 0}, {8, 32}, false},
                {{0, 50}, {0, 51}, false},
                {{0, 50}, {8, 1}, false},
        };
        assert_int_equal(setenv("T", s->dir, 1), 0);
        make_sys();
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                dev_t a = makedev(cases[i].a[0], cases[i].a[1]),
                      b = makedev(cases[i].b[0], cases[i].b[1]);
                assert_int_equal(report_same_disk(s->dir, a, b), cases[i].same);
                assert_int_equal(report_same_disk(s->dir, b, a), cases[i].same);
        }
}

/* The source of a mount must be a block device; a node of one needs no disk behind it. */
static void subvolume_lies_on_the_disk_of_its_mount(void **state)
{
        struct scratch *s = *state;
        char node[128], line[300], path[128];
        assert_int_equal(setenv("T", s->dir, 1), 0);
        (void)snprintf(node, sizeof node, "%s/sda2", s->dir);
        if (mknod(node, S_IFBLK | 0600, makedev(8, 2)) < 0)
                skip();
        make_sys();
        int n = snprintf(line, sizeof line,
                "30 25 0:50 /home /home rw,relatime shared:1 - btrfs %s rw\n", node);
        (void)snprintf(path, sizeof path, "%s/proc/self/mountinfo", s->dir);
        OK(io_write_file(AT_FDCWD, path, 0600, line, (size_t)n, E));
        assert_true(report_same_disk(s->dir, makedev(0, 50), makedev(8, 1)));
        assert_false(report_same_disk(s->dir, makedev(0, 51), makedev(8, 1)));
        assert_false(report_same_disk(s->dir, makedev(0, 50), makedev(8, 17)));
}

/* ---- status ---- */

static void put_busy(struct catalog *c)
{
        struct catalog_archive a;
        put_archive(c, A, "photos \x1b[31mred\nand more");
        OK(catalog_archive_get(c, A, &a, E));
        free(a.devices);
        a.devices = strdup("[{\"name\":\"Documents\",\"target\":\"/home/u/"
                           "Documents\",\"dev\":1,\"fs\":\"ext4\"}]");
        a.todo_bytes = 4000000000;
        a.read_bytes = 1000000000;
        a.rate = 100000000;
        a.stored_bytes = 250000000;
        OK(catalog_archive_update(c, &a, E));
        catalog_archive_done(&a);
        OK(catalog_archive_set_runner(c, A, getpid(), E));
        OK(catalog_archive_set_state(c, A, ARCHIVE_GATHERING, "", 0, E));
}

static void status(struct setup *u, bool json, struct buf *b, bool *failed)
{
        OK(report_status(u->s->c, &u->config, json, b, failed, E));
}

static void status_of_nothing_says_so(void **state)
{
        struct setup u;
        bool failed = true;
        setup_of(&u, *state);
        _cleanup_buf_ struct buf b = BUF_INIT;
        status(&u, false, &b, &failed);
        assert_false(failed);
        assert_ptr_equal(strstr(buf_str(&b), "NOT YET A BACKUP:"), b.data);
        has(&b, "\n\nNothing is being archived.\n");
}

static void status_tells_progress_and_what_must_stay(void **state)
{
        struct setup u;
        setup_of(&u, *state);
        put_busy(u.s->c);
        _cleanup_buf_ struct buf b = BUF_INIT;
        status(&u, false, &b, NULL);
        has(&b, "2026-11-22T21-27-03Z_photos-31mred-and-more\n");
        has(&b, "    description  photos ?[31mred …\n");
        has(&b, "    state        gathering: ");
        has(&b, "    read         1.0 GB of 4.0 GB (25 %), 100 MB/s, 30 s left\n");
        has(&b, "    stored       250 MB so far\n");
        has(&b, "    keep         /home/u/Documents\n");
        has(&b, "must stay in place");
        has_not(&b, "\x1b");
        has_not(&b, "no program");
}

static void status_tells_when_no_program_works(void **state)
{
        struct setup u;
        setup_of(&u, *state);
        put_busy(u.s->c);
        OK(catalog_archive_set_runner(u.s->c, A, 0, E));
        _cleanup_buf_ struct buf b = BUF_INIT;
        status(&u, false, &b, NULL);
        has(&b, "no program is working on it");
        has_not(&b, " left\n");
}

static void status_tells_what_waits_and_what_failed(void **state)
{
        struct setup u;
        bool failed = false;
        setup_of(&u, *state);
        put_busy(u.s->c);
        OK(catalog_archive_set_state(u.s->c, A, ARCHIVE_WAITING, "the disk at /mnt is not there",
                clock_now() + 119 * CLOCK_NSEC, E));
        put_archive(u.s->c, B, "broken");
        OK(catalog_archive_set_state(u.s->c, B, ARCHIVE_FAILED, "the key is none", 0, E));
        OK(catalog_event(u.s->c, B, 'w', "odd", E));
        put_archive(u.s->c, "prepared", "hidden");
        OK(catalog_archive_set_state(u.s->c, "prepared", ARCHIVE_PREPARED, "", 0, E));
        _cleanup_buf_ struct buf b = BUF_INIT;
        status(&u, false, &b, &failed);
        assert_true(failed);
        has(&b, "    waits for    the disk at /mnt is not there\n");
        has(&b, "    next try     in 1 min ");
        has(&b, "    last error   the key is none\n");
        has(&b, "autoglacier retry 2026-11-22T21-27-03Z_broken");
        has(&b, "    warnings     1 warning, in archives/2026-11-22T21-27-03Z_broken/log\n");
        has_not(&b, "hidden");
}

static void put_stored(struct catalog *c)
{
        static const struct put members[] = {
                {.path = "a", .type = 'f', .at = 0, .size = 1234567, .sum = 1},
                {.path = "b", .type = 'f', .at = 2000000, .size = 10, .sum = 2},
        };
        struct catalog_archive a;
        struct catalog_totals t;
        put_archive(c, C_ID, "kept");
        put_members(c, C_ID, members, ARRAY_SIZE(members));
        OK(catalog_member_totals(c, C_ID, &t, E));
        OK(catalog_archive_get(c, C_ID, &a, E));
        a.n_files = 12345;
        a.bytes = t.bytes;
        a.stored_bytes = 1048576;
        OK(catalog_archive_update(c, &a, E));
        catalog_archive_done(&a);
        struct catalog_volume v = {
                .number = 1, .object = "archives/o/C-0001", .tar_end = 10, .size = 1048576};
        OK(catalog_volume_done(c, C_ID, &v, E));
        OK(catalog_archive_set_state(c, C_ID, ARCHIVE_STORED, "", 0, E));
}

static void a_restore_that_failed_is_a_failure_until_it_is_cancelled(void **state)
{
        struct setup u;
        bool failed = true, old;
        setup_of(&u, *state);
        put_archive(u.s->c, A, "kept");
        OK(catalog_archive_set_state(u.s->c, A, ARCHIVE_STORED, "", 0, E));
        struct catalog_restore r = {.archive = strdup(A), .tier = strdup("bulk")};
        OK(catalog_restore_add(u.s->c, &r, &old, E));
        _cleanup_buf_ struct buf b = BUF_INIT;
        status(&u, false, &b, &failed);
        assert_false(failed);
        r.state = RESTORE_FETCHING;
        r.rate = 2000000;
        r.seconds_left = 90;
        OK(catalog_restore_update(u.s->c, &r, E));
        OK(catalog_restore_progress(u.s->c, &r, E));
        status(&u, false, &b, &failed);
        assert_non_null(strstr(buf_str(&b), ", 2.0 MB/s, "));
        status(&u, true, &b, &failed);
        assert_non_null(strstr(buf_str(&b), "\"rate\": 2000000, \"seconds_left\": 90"));
        r.state = RESTORE_FAILED;
        OK(catalog_restore_update(u.s->c, &r, E));
        buf_reset(&b);
        status(&u, false, &b, &failed);
        assert_null(strstr(buf_str(&b), "MB/s"));
        status(&u, false, &b, &failed);
        assert_true(failed);
        r.state = RESTORE_CANCELLED;
        OK(catalog_restore_update(u.s->c, &r, E));
        status(&u, false, &b, &failed);
        assert_false(failed);
        catalog_restore_done(&r);
}

static void status_ends_with_what_was_stored_last(void **state)
{
        struct setup u;
        setup_of(&u, *state);
        put_stored(u.s->c);
        _cleanup_buf_ struct buf b = BUF_INIT;
        status(&u, false, &b, NULL);
        has(&b, "Nothing is being archived.\n\nLast stored: 2026-11-22T21-27-03Z_kept\n");
        has(&b, "    holds        12,345 files, 1.2 MB, stored as 1.0 MB\n");
        has(&b, " ago\n");
}

static json_t *parse(const struct buf *b)
{
        json_error_t why;
        json_t *o = json_loads(buf_str(b), JSON_REJECT_DUPLICATES, &why);
        if (!o)
                fail_msg("%s at %d in:\n%s", why.text, why.position, buf_str(b));
        return o;
}

static const char *text_of(const json_t *o, const char *key)
{
        return json_string_value(json_object_get(o, key));
}

static void status_as_json_can_be_parsed(void **state)
{
        struct setup u;
        setup_of(&u, *state);
        _cleanup_buf_ struct buf b = BUF_INIT;
        status(&u, true, &b, NULL);
        json_t *o = parse(&b);
        assert_true(json_is_null(json_object_get(o, "last_stored")));
        assert_int_equal(json_array_size(json_object_get(o, "jobs")), 0);
        json_decref(o);
        put_busy(u.s->c);
        put_archive(u.s->c, B, "broken \xc3\xa9 \"quoted\"");
        OK(catalog_archive_set_state(u.s->c, B, ARCHIVE_FAILED, "no", 0, E));
        put_stored(u.s->c);
        buf_reset(&b);
        status(&u, true, &b, NULL);
        o = parse(&b);
        assert_int_equal(json_integer_value(json_object_get(o, "version")), 1);
        assert_true(json_is_true(json_object_get(o, "failed")));
        assert_true(json_is_false(json_object_get(o, "backup")));
        assert_non_null(strstr(text_of(o, "not_yet"), "NOT YET A BACKUP"));
        const json_t *jobs = json_object_get(o, "jobs");
        assert_int_equal(json_array_size(jobs), 2);
        const json_t *busy = json_array_get(jobs, 0);
        assert_string_equal(text_of(busy, "id"), A);
        assert_string_equal(text_of(busy, "state"), "gathering");
        assert_true(json_is_true(json_object_get(busy, "running")));
        assert_int_equal(json_integer_value(json_object_get(busy, "seconds_left")), 30);
        assert_string_equal(json_string_value(json_array_get(json_object_get(busy, "keep"), 0)),
                "/home/u/Documents");
        assert_string_equal(
                text_of(json_array_get(jobs, 1), "description"), "broken \xc3\xa9 \"quoted\"");
        assert_string_equal(text_of(json_object_get(o, "last_stored"), "id"), C_ID);
        json_decref(o);
}

/* ---- info.json, list, log ---- */

static void info_tells_all_of_an_archive(void **state)
{
        struct scratch *s = *state;
        struct catalog_archive a;
        put_stored(s->c);
        OK(catalog_event(s->c, C_ID, 'w', "changed while \"reading\" \xff", E));
        OK(catalog_event(s->c, C_ID, 'i', "no warning", E));
        OK(catalog_archive_get(s->c, C_ID, &a, E));
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(report_info(s->c, &a, &b, E));
        catalog_archive_done(&a);
        json_t *o = parse(&b);
        assert_string_equal(text_of(o, "id"), C_ID);
        assert_string_equal(text_of(o, "state"), "stored");
        assert_string_equal(text_of(o, "created"), "2026-11-22T21:27:03.123456789Z");
        assert_int_equal(json_integer_value(json_object_get(o, "files")), 12345);
        assert_int_equal(json_integer_value(json_object_get(o, "warnings")), 1);
        assert_int_equal(json_array_size(json_object_get(o, "warning_texts")), 1);
        const json_t *v = json_array_get(json_object_get(o, "volumes"), 0);
        assert_string_equal(text_of(v, "object"), "archives/o/C-0001");
        assert_int_equal(strlen(text_of(v, "tree_hash")), 64);
        json_decref(o);
}

static void list_has_a_line_for_each_archive(void **state)
{
        struct setup u;
        setup_of(&u, *state);
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(report_list(u.s->c, false, &b, E));
        assert_string_equal(buf_str(&b), "");
        put_stored(u.s->c);
        put_archive(u.s->c, A, "a longer description");
        put_archive(u.s->c, B, "deleted");
        OK(catalog_archive_set_state(u.s->c, B, ARCHIVE_DELETED, "", 0, E));
        OK(report_list(u.s->c, false, &b, E));
        assert_string_equal(buf_str(&b), "2026-11-22T21-27-03Z_kept                  stored        "
                                         " 12,345 files     1.2 MB\n"
                                         "2026-11-22T21-27-03Z_a-longer-description  queued        "
                                         "      0 files        0 B\n");
        buf_reset(&b);
        OK(report_list(u.s->c, true, &b, E));
        json_t *o = parse(&b);
        assert_int_equal(json_array_size(json_object_get(o, "archives")), 2);
        json_decref(o);
}

static void log_has_a_line_for_each_event(void **state)
{
        struct scratch *s = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;
        put_archive(s->c, A, "x");
        OK(catalog_event_at(s->c, A, 1795382823999999999, 'i', "begun", E));
        OK(catalog_event_at(s->c, A, 1795382824000000000, 'w', "two\nlines", E));
        OK(catalog_event_at(s->c, A, 1795382825000000000, 'e', "bad", E));
        OK(report_log(s->c, A, &b, E));
        assert_string_equal(buf_str(&b), "2026-11-22T21:27:03Z begun\n"
                                         "2026-11-22T21:27:04Z warning: two?lines\n"
                                         "2026-11-22T21:27:05Z error: bad\n");
}

/* ---- SHA512SUMS ---- */

/* SHA-512 of "one\n", "two\n" and of nothing, as sha512sum prints them. */
static const uint8_t *sha_of_file(const char *name, uint8_t out[64])
{
        char command[256], hex[129] = "";
        (void)snprintf(command, sizeof command, "sha512sum < \"$T/%s\"", name);
        FILE *p = popen(command, "r");
        assert_non_null(p);
        assert_int_equal(fread(hex, 1, 128, p), 128);
        (void)pclose(p);

        assert_int_equal(bytes_unhex(hex, out, 64), 0);
        return out;
}

static void sha512sum_accepts_the_sums_of_a_restored_tree(void **state)
{
        static const char *const names[] = {"plain", "dir/with space", "back\\slash", "new\nline",
                "re\rturn", "\xff\xfe", "-dash", "*star", " leading", "tri\\\\ple\n\n"};
        struct scratch *s = *state;
        assert_int_equal(setenv("T", s->dir, 1), 0);
        tree_sh("mkdir -p \"$T/files/dir\" && echo one > \"$T/one\"");
        uint8_t sum[64];
        (void)sha_of_file("one", sum);
        put_archive(s->c, A, "x");
        struct catalog_adder *add;
        OK(catalog_adder_new(s->c, A, &add, E));
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                char path[300];
                struct catalog_member m = {
                        .path = names[i], .type = 'f', .sha512 = sum, .tar_offset = 512 * i};
                OK(catalog_adder_add(add, &m, E));
                (void)snprintf(path, sizeof path, "%s/files/%s", s->dir, names[i]);
                int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                assert_int_equal(write(fd, "one\n", 4), 4);
                (void)close(fd);
        }
        const struct put more[] = {
                {.path = "hard", .type = 'h', .at = 9000, .link = "back\\slash"},
                {.path = "soft", .type = 'l', .at = 9500, .link = "plain"},
                {.path = "dangling", .type = 'h', .at = 9600, .link = "not there"},
                {.path = "cut", .type = 'f', .at = 9700},
        };
        for (size_t i = 0; i < ARRAY_SIZE(more); i++)
                add_one(add, &more[i]);
        OK(catalog_adder_flush(add, E));
        catalog_adder_free(add);
        tree_sh("cd \"$T/files\" && ln 'back\\slash' hard && ln -s plain soft");
        char path[128];
        (void)snprintf(path, sizeof path, "%s/SHA512SUMS", s->dir);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        uint64_t size;
        OK(report_sums(s->c, A, fd, &size, E));
        tree_sh("cd \"$T/files\" && sha512sum --strict --quiet -c ../SHA512SUMS");
        tree_sh("test $(wc -l < \"$T/SHA512SUMS\") = 11");
        /* and the very bytes that sha512sum writes, but for the order */
        tree_sh("cd \"$T/files\" && find . -type f -printf '%P\\0' | xargs -0 sha512sum -- | "
                "LC_ALL=C sort > ../want && "
                "LC_ALL=C sort ../SHA512SUMS | cmp - ../want");
        struct catalog_totals t;
        OK(catalog_member_totals(s->c, A, &t, E));
        assert_int_equal(t.sums_bytes, size);
        assert_int_equal(lseek(fd, 0, SEEK_END), size);
}

static void size_of_a_line_of_sums_is_known_before(void **state _unused_)
{
        assert_int_equal(catalog_sums_line_size("a"), 128 + 2 + 1 + 1);
        assert_int_equal(catalog_sums_line_size("a\\b"), 1 + 128 + 2 + 4 + 1);
        assert_int_equal(catalog_sums_line_size("\n\r"), 1 + 128 + 2 + 4 + 1);
}

static void sums_on_a_full_disk_are_an_error(void **state)
{
        struct scratch *s = *state;
        uint64_t size;
        put_stored(s->c);
        _cleanup_close_ int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
        FAILS(report_sums(s->c, C_ID, fd, &size, E), -ENOSPC);
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(store_on_the_same_disk_is_no_backup),
                T(key_that_nobody_has_shown_is_no_backup),
                T(partitions_of_one_disk_are_one_disk),
                T(subvolume_lies_on_the_disk_of_its_mount),
                T(status_of_nothing_says_so),
                T(status_tells_progress_and_what_must_stay),
                T(status_tells_when_no_program_works),
                T(status_tells_what_waits_and_what_failed),
                T(a_restore_that_failed_is_a_failure_until_it_is_cancelled),
                T(status_ends_with_what_was_stored_last),
                T(status_as_json_can_be_parsed),
                T(info_tells_all_of_an_archive),
                T(list_has_a_line_for_each_archive),
                T(log_has_a_line_for_each_event),
                T(sha512sum_accepts_the_sums_of_a_restored_tree),
                cmocka_unit_test(size_of_a_line_of_sums_is_known_before),
                T(sums_on_a_full_disk_are_an_error),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
