/* The catalogue comes back from the store and the key: the same in all that people see. */
#include "recover.h"

#include "clock.h"
#include "home.h"
#include "manifest.h"
#include "manifest_put.h"
#include "report.h"
#include "restore.h"
#include "verify.h"

struct seen {
        struct recover_counts counts;
        struct buf told; /* one line an archive that is not simply found or known */
        unsigned stop_after;
        atomic_bool stop;
};

static int setup_with(void **state, const char *config)
{
        struct home *h = home_new(config);
        h->more = calloc(1, sizeof(struct seen));
        assert_non_null(h->more);
        *state = h;
        return 0;
}

static int setup(void **state)
{
        return setup_with(state, "{}");
}

static int setup_gzip(void **state)
{
        return setup_with(state, "{\"COMPRESSION\": \"gzip\"}");
}

static int setup_bzip2(void **state)
{
        return setup_with(state, "{\"COMPRESSION\": \"bzip2\"}");
}

static int setup_zstd(void **state)
{
        return setup_with(state, "{\"COMPRESSION\": \"zstd\"}");
}

static int setup_none(void **state)
{
        return setup_with(state, "{\"COMPRESSION\": \"none\"}");
}

static int setup_volumes(void **state)
{
        return setup_with(state, "{\"COMPRESSION\": \"zstd\", \"VOLUME_SIZE\": \"64MiB\"}");
}

static int teardown(void **state)
{
        struct home *h = *state;
        struct seen *s = h->more;
        buf_done(&s->told);
        free(s);
        home_free(h);
        return 0;
}

/* The machine is new: keys and store are there, the catalogue is not. */
static void forget(struct home *h)
{
        catalog_close(h->catalog);
        engine_close(h->engine);
        h->catalog = NULL;
        h->engine = NULL;
        tree_sh("rm $T/data/catalog.db*");
        home_must(h, engine_open(h->config, ENGINE_MOUNT, "/mnt/none", &h->engine, &h->e));
        home_must(h, engine_catalog(h->engine, &h->catalog, &h->e));
}

/* ---- what people see ---- */

static int dump_member(void *ctx, const struct catalog_member *m)
{
        struct buf *b = ctx;
        buf_addf(b, "%c %o %u %u %lld %llu %llu %llu %s %s ", m->type, m->mode, m->uid, m->gid,
                (long long)m->mtime, (unsigned long long)m->size, (unsigned long long)m->tar_offset,
                (unsigned long long)m->tar_len, m->path, m->link ? m->link : "-");
        for (int i = 0; m->sha512 && i < 64; i++)
                buf_addf(b, "%02x", m->sha512[i]);
        buf_addc(b, '\n');
        return 0;
}

struct dump {
        struct home *h;
        struct buf *out;
        const char *info; /* of each line of info.json: not those that begin with one of these */
};

static void add_info(struct dump *d, const char *text)
{
        for (const char *p = text; *p;) {
                size_t n = strcspn(p, "\n") + 1;
                bool times = startswith(p, "  \"stored\"") || startswith(p, "  \"changed\"");
                if (!d->info || !times)
                        buf_add(d->out, p, n);
                p += n;
        }
}

static int dump_event(void *ctx, int64_t time, char level, const char *text)
{
        buf_addf(ctx, "%lld %c %s\n", (long long)time, level, text);
        return 0;
}

static int dump_archive(void *ctx, const struct catalog_archive *a)
{
        struct dump *d = ctx;
        _cleanup_buf_ struct buf info = BUF_INIT;
        _cleanup_buf_ struct buf sums = BUF_INIT;
        uint64_t size = 0;
        home_must(d->h, report_info(d->h->catalog, a, &info, &d->h->e));
        add_info(d, buf_str(&info));
        _cleanup_free_ char *path = io_join(d->h->path, "sums");
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        home_must(d->h, report_sums(d->h->catalog, a->id, fd, &size, &d->h->e));
        assert_int_equal(size, a->sums_bytes);
        home_must(d->h, io_read_file(AT_FDCWD, path, MiB, &sums, &d->h->e));
        buf_add(d->out, sums.data, sums.len);
        if (!d->info)
                home_must(d->h, catalog_events(d->h->catalog, a->id, dump_event, d->out, &d->h->e));
        return catalog_members_each(
                d->h->catalog, a->id, CATALOG_AS_TREE, dump_member, d->out, &d->h->e);
}

/* `exact`: the log and the times of storing too, which the copy in an archive cannot know. */
static char *dump(struct home *h, bool exact)
{
        struct buf b = BUF_INIT;
        struct dump d = {.h = h, .out = &b, .info = exact ? NULL : "times"};
        if (exact)
                home_must(h, report_list(h->catalog, true, &b, &h->e));
        home_must(h, report_list(h->catalog, false, &b, &h->e));
        home_must(h, catalog_archive_each(h->catalog, dump_archive, &d, &h->e));
        return buf_steal(&b);
}

/* ---- recovering ---- */

static void told(void *ctx, const struct recover_archive *r)
{
        struct seen *s = ctx;
        if (r->result != RECOVER_FOUND && r->result != RECOVER_KNOWN)
                buf_addf(&s->told, "%d %s %s: %s\n", r->result, r->id, r->name ? r->name : "-",
                        r->why);
        else
                assert_non_null(r->name);
        if (s->stop_after > 0 && --s->stop_after == 0)
                atomic_store(&s->stop, true);
}

static int recover_with(struct home *h,
        int (*unwrap)(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
                uint8_t ret_data_key[32], struct err *e),
        void *ctx)
{
        struct seen *s = h->more;
        const struct recover_params p = {.data = h->config->data,
                .unwrap = unwrap,
                .unwrap_ctx = ctx,
                .told = told,
                .ctx = s,
                .stop = &s->stop};
        buf_reset(&s->told);
        h->e = (struct err){0};
        int q = recover_run(h->catalog, h->store, &p, &s->counts, &h->e);
        print_message("%d %s; known %u found %u mended %u foreign %u damaged %u busy %u\n%s", q,
                h->e.text, s->counts.known, s->counts.found, s->counts.mended, s->counts.foreign,
                s->counts.damaged, s->counts.busy, buf_str(&s->told));
        return q;
}

static struct recover_counts recover(struct home *h)
{
        const struct seen *s = h->more;
        home_must(h, recover_with(h, seal_unwrap_with_key, h->key));
        return s->counts;
}

#define TREE                                                                                       \
        "mkdir -p d/e; echo one >d/f; ln d/f d/e/h; ln -s f d/l; : >empty; "                       \
        "printf x >\"$(printf 'bad\\377\\nname')\"; chmod 4751 empty; touch -d @-5.5 d/f; "

static void make_archives(struct home *h, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                _cleanup_buf_ struct buf make = BUF_INIT;
                buf_addf(&make, TREE "echo %u >n; mkfifo d/pipe%u", i, i);
                home_archive(h, buf_str(&make));
                tree_sh("rm -rf $T/data/staging/current/*"); /* the pipe came back */
        }
}

static void all_that_people_see_is_the_same(void **state)
{
        struct home *h = *state;
        make_archives(h, 2);
        _cleanup_free_ char *before = dump(h, true);
        forget(h);
        assert_int_equal(recover(h).found, 2);
        _cleanup_free_ char *after = dump(h, true);
        assert_string_equal(before, after);
        assert_non_null(strstr(after, "incomplete"));
        assert_int_equal(recover(h).known, 2);
        _cleanup_free_ char *again = dump(h, true);
        assert_string_equal(before, again);
}

static void a_recovered_archive_restores_and_verifies(void **state)
{
        struct home *h = *state;
        home_archive(h, TREE "cp -a . $T/copy");
        forget(h);
        assert_int_equal(recover(h).found, 1);
        catalog_archive_done(&h->a);
        h->a = (struct catalog_archive){0};
        home_must(h, catalog_archive_resolve(h->catalog, "latest", &h->a, &h->e));
        _cleanup_free_ char *to = io_join(h->path, "back");
        const struct restore_params p = {
                .to = to, .unwrap = seal_unwrap_with_key, .unwrap_ctx = h->key};
        home_must(h, restore_run(h->catalog, h->store, &h->a, &p, NULL, &h->e));
        tree_sh("diff -r --no-dereference $T/copy $T/back");
        const struct verify_params v = {.unwrap = seal_unwrap_with_key, .unwrap_ctx = h->key};
        home_must(h, verify_data(h->catalog, h->store, &h->a, &v, &h->e));
        tree_sh("V=$(echo $T/data/store/archives/*/*.esdk); chmod u+w $V; "
                "printf 'spoiled by a test' | dd of=$V bs=1 seek=900 conv=notrunc status=none");
}

static int take_stored(void *ctx, const struct catalog_archive *a)
{
        *(int64_t *)ctx = a->stored;
        return 0;
}

static int64_t when_stored(struct home *h)
{
        int64_t when = 0;
        home_must(h, catalog_archive_each(h->catalog, take_stored, &when, &h->e));
        return when;
}

static void without_manifests_it_was_stored_when_its_last_object_was(void **state)
{
        struct home *h = *state;
        char later[32];
        int64_t when = clock_now() / CLOCK_NSEC + 10000; /* after it was made, which counts too */
        (void)snprintf(later, sizeof later, "%lld", (long long)when);
        assert_int_equal(setenv("WHEN", later, 1), 0);
        make_archives(h, 1);
        forget(h);
        tree_sh("cd $T/data/store && chmod u+w manifests/*/* && truncate -s 900 manifests/*/* && "
                "touch -d @$WHEN archives/*/* && touch -d @$((WHEN + 7)) manifests/*/*");
        assert_int_equal(recover(h).mended, 1); /* damaged, it still has its time */
        assert_int_equal(when_stored(h), (when + 7) * CLOCK_NSEC);
        forget(h);
        tree_sh("rm -r $T/data/store/manifests");
        assert_int_equal(recover(h).mended, 1);
        assert_int_equal(when_stored(h), when * CLOCK_NSEC);
}

static void a_lost_or_damaged_manifest_is_written_again(void **state)
{
        struct home *h = *state;
        make_archives(h, 1);
        _cleanup_free_ char *before = dump(h, true);
        static const char *const harm[] = {
                "rm $T/data/store/manifests/*/*",
                "F=$(echo $T/data/store/manifests/*/*); chmod u+w $F; truncate -s 900 $F",
        };
        static const int seen[] = {-ENOENT, -EPROTO};
        for (size_t i = 0; i < ARRAY_SIZE(harm); i++) {
                tree_sh(harm[i]);
                assert_int_equal(
                        verify_manifest(h->store, &h->a, seal_unwrap_with_key, h->key, &h->e),
                        seen[i]);
                home_must(h, manifest_put_again(h->config, h->catalog, h->store, &h->a, &h->e));
                home_must(h, verify_manifest(h->store, &h->a, seal_unwrap_with_key, h->key, &h->e));
                forget(h);
                assert_int_equal(recover(h).found, 1);
                _cleanup_free_ char *after = dump(h, true);
                assert_string_equal(before, after);
        }
}

static void without_manifests_the_archives_own_ends_tell(void **state)
{
        struct home *h = *state;
        make_archives(h, 1);
        _cleanup_free_ char *before = dump(h, false);
        forget(h);
        tree_sh("rm -r $T/data/store/manifests");
        assert_int_equal(recover(h).mended, 1);
        _cleanup_free_ char *after = dump(h, false);
        assert_string_equal(before, after);
        assert_int_equal(recover(h).known, 1);
}

static void without_manifests_several_volumes_come_back(void **state)
{
        struct home *h = *state;
        home_archive(h, "head -c 150000000 /dev/urandom >big; " TREE);
        _cleanup_free_ char *before = dump(h, false);
        forget(h);
        tree_sh("test $(ls $T/data/store/archives/*/*.esdk | wc -l) = 3 && "
                "rm -r $T/data/store/manifests");
        assert_int_equal(recover(h).mended, 1);
        _cleanup_free_ char *after = dump(h, false);
        assert_string_equal(before, after);
}

static void damaged_archives_are_named_and_the_others_come_back(void **state)
{
        struct home *h = *state;
        const struct seen *s = h->more;
        make_archives(h, 4);
        tree_sh("cd $T/data/store && chmod -R u+w . && set -- manifests/*/* && "
                /* the manifest is damaged: the archive's end tells */
                "printf 'spoiled by a test' | dd of=$1 bs=1 seek=800 conv=notrunc status=none && "
                /* both are gone, or damaged */
                "rm $2 && V=$(echo archives/*/$(basename $2 .jsonl.xz.esdk)*) && "
                "truncate -s -1 $V && "
                /* a volume is missing */
                "rm archives/*/$(basename $3 .jsonl.xz.esdk)*");
        _cleanup_free_ char *before = dump(h, false);
        forget(h);
        struct recover_counts n = recover(h);
        assert_int_equal(n.found, 1);
        assert_int_equal(n.mended, 1);
        assert_int_equal(n.damaged, 2);
        assert_non_null(strstr(buf_str(&s->told), "was read from the archive's own end"));
        assert_non_null(strstr(buf_str(&s->told), "manifest is missing"));
        assert_non_null(strstr(buf_str(&s->told), "-0001.tar.xz.esdk is missing"));
}

static void archives_for_other_keys_are_not_ours(void **state)
{
        struct home *h = *state;
        make_archives(h, 2);
        forget(h);
        _cleanup_free_ char *a = io_join(h->path, "other.pem");
        _cleanup_free_ char *b = io_join(h->path, "other.pub");
        struct keys_private *other = NULL;
        home_must(h, keys_generate(2048, a, b, NULL, &h->e));
        home_must(h, keys_private_load(a, NULL, NULL, &other, &h->e));
        const struct seen *s = h->more;
        home_must(h, recover_with(h, seal_unwrap_with_key, other));
        assert_int_equal(s->counts.foreign, 2);
        keys_private_free(other);
        assert_int_equal(recover(h).found, 2);
}

/* What the header of a manifest says of its recipients cannot be authenticated without a key. */
static void a_manifest_that_lost_its_recipients_is_not_taken_for_another_key(void **state)
{
        struct home *h = *state;
        const struct seen *s = h->more;
        make_archives(h, 2);
        forget(h);
        tree_sh("cd $T/data/store/manifests/*; set -- *; "
                "c=e; test $(od -An -c -j 135 -N 1 $1) != e || c=d; "
                "printf $c | dd of=$1 bs=1 seek=135 conv=notrunc status=none; "
                "printf X | dd of=$2 bs=1 seek=117 conv=notrunc status=none");
        struct recover_counts n = recover(h);
        assert_int_equal(n.mended, 2);
        assert_int_equal(n.foreign, 0);
        assert_non_null(strstr(buf_str(&s->told), "was read from the archive's own end"));
}

static int wrong_passphrase(_unused_ void *ctx, _unused_ const char *fingerprint,
        _unused_ const uint8_t *wrapped, _unused_ size_t len, _unused_ uint8_t ret[32],
        struct err *e)
{
        return err_set(e, -EACCES, "the passphrase is wrong");
}

static void a_wrong_passphrase_ends_it_at_once(void **state)
{
        struct home *h = *state;
        const struct seen *s = h->more;
        make_archives(h, 2);
        forget(h);
        assert_int_equal(recover_with(h, wrong_passphrase, NULL), -EACCES);
        assert_int_equal(s->counts.found + s->counts.damaged, 0);
        assert_int_equal(recover(h).found, 2);
}

static void it_goes_on_where_it_was_cut_off(void **state)
{
        struct home *h = *state;
        struct seen *s = h->more;
        make_archives(h, 3);
        _cleanup_free_ char *before = dump(h, true);
        forget(h);
        s->stop_after = 1;
        assert_int_equal(recover_with(h, seal_unwrap_with_key, h->key), -ECANCELED);
        assert_int_equal(s->counts.found, 1);
        /* and one that was half read when it was killed */
        struct catalog_archive half = {.state = ARCHIVE_PREPARED, .released = true};
        _cleanup_buf_ struct buf id = BUF_INIT;
        FILE *f =
                popen("ls $T/data/store/manifests/* | tail -1 | cut -d . -f 1 | tr -d '\\n'", "r");
        assert_non_null(f);
        char line[64] = "";
        assert_non_null(fgets(line, sizeof line, f));
        assert_int_equal(pclose(f), 0);
        half.id = strdup(line);
        home_must(h, catalog_archive_add(h->catalog, &half, &h->e));
        catalog_archive_done(&half);
        atomic_store(&s->stop, false);
        struct recover_counts n = recover(h);
        assert_int_equal(n.known, 1);
        assert_int_equal(n.found, 2);
        _cleanup_free_ char *after = dump(h, true);
        assert_string_equal(before, after);
}

static void a_half_read_archive_is_no_job_for_a_mount(void **state)
{
        struct home *h = *state;
        make_archives(h, 1);
        struct catalog_archive half = {.state = ARCHIVE_PREPARED, .released = true};
        half.id = strdup("20200101T000000Z-00000000");
        home_must(h, catalog_archive_add(h->catalog, &half, &h->e));
        catalog_close(h->catalog);
        engine_close(h->engine);
        home_must(h, engine_open(h->config, ENGINE_MOUNT, "/mnt/none", &h->engine, &h->e));
        home_must(h, engine_catalog(h->engine, &h->catalog, &h->e));
        struct catalog_archive none = {0};
        assert_int_equal(catalog_archive_get(h->catalog, half.id, &none, &h->e), -ENOENT);
        catalog_archive_done(&half);
}

static int to_file(void *ctx, const void *data, size_t len, struct err *e)
{
        return fwrite(data, 1, len, ctx) == len ? 0 : err_set(e, -EIO, "cannot write");
}

/* Anybody who has the public key and may write to the store can plant a manifest of his own. */
static void plant_manifest(struct home *h, const char *id)
{
        _cleanup_free_ char *text = io_join(h->path, "planted");
        _cleanup_free_ char *packed = io_join(h->path, "planted.xz");
        _cleanup_free_ char *sealed = io_join(h->path, "planted.esdk");
        _cleanup_buf_ struct buf data = BUF_INIT;
        _cleanup_(seal_writer_freep) struct seal_writer *w = NULL;
        uint64_t size = 0;
        _cleanup_close_ int fd = open(text, O_RDWR | O_CREAT | O_TRUNC, 0600);
        home_must(h, manifest_write(h->catalog, id, 1, fd, &size, &h->e));
        tree_sh("xz --check=crc32 -kf $T/planted");
        home_must(h, io_read_file(AT_FDCWD, packed, MiB, &data, &h->e));
        struct keys_public *key = NULL;
        home_must(h, keys_public_load(h->config->public_keys[0], &key, &h->e));
        const struct keys_public *const keys[] = {key};
        const struct seal_pair pairs[] = {{SEAL_CONTEXT_ARCHIVE, id}, {SEAL_CONTEXT_VOLUME, "1"}};
        FILE *f = fopen(sealed, "w");
        assert_non_null(f);
        home_must(h, seal_writer_new(keys, 1, pairs, 2, to_file, f, &w, &h->e));
        home_must(h, seal_write(w, data.data, data.len, &h->e));
        home_must(h, seal_finish(w, &h->e));
        assert_int_equal(fclose(f), 0);
        keys_public_free(key);
        assert_int_equal(setenv("ID", id, 1), 0);
        tree_sh("cat $T/planted.esdk >$(echo $T/data/store/manifests/*/$ID.*)");
}

static void a_manifest_that_names_volumes_of_another_archive_is_refused(void **state)
{
        struct home *h = *state;
        const struct seen *s = h->more;
        _cleanup_free_ struct catalog_volume *v = NULL;
        size_t n = 0;
        make_archives(h, 1);
        home_must(h, catalog_volumes(h->catalog, h->a.id, &v, &n, &h->e));
        make_archives(h, 1);
        _cleanup_free_ char *before = dump(h, false);
        home_must(h, catalog_volume_done(h->catalog, h->a.id, &v[0], &h->e));
        plant_manifest(h, h->a.id);
        forget(h);
        struct recover_counts c = recover(h);
        assert_int_equal(c.found, 1);
        assert_int_equal(c.mended, 1); /* its own end tells the truth */
        assert_non_null(strstr(buf_str(&s->told), "names an object of another archive"));
        _cleanup_free_ char *after = dump(h, false);
        assert_string_equal(before, after);
}

static void objects_that_only_have_the_id_of_an_archive_are_named(void **state)
{
        struct home *h = *state;
        const struct seen *s = h->more;
        make_archives(h, 1);
        _cleanup_free_ char *before = dump(h, true);
        tree_sh("cd $T/data/store; for i in archives manifests; do cp -r $i/* $i/copied; done");
        forget(h);
        for (int again = 0; again < 2; again++) {
                struct recover_counts c = recover(h);
                assert_int_equal(again ? c.known : c.found, 1);
                assert_int_equal(c.damaged, 1);
        }
        assert_non_null(strstr(buf_str(&s->told), "its objects lie below archives/copied"));
        _cleanup_free_ char *after = dump(h, true);
        assert_string_equal(before, after);
}

static void what_is_being_deleted_does_not_come_back(void **state)
{
        struct home *h = *state;
        const struct seen *s = h->more;
        make_archives(h, 1);
        home_must(h, catalog_archive_set_state(h->catalog, h->a.id, ARCHIVE_DELETED, "", 0, &h->e));
        tree_sh("rm $T/data/store/archives/*/*");
        assert_int_equal(recover(h).known, 1);
        struct catalog_archive a = {0};
        home_must(h, catalog_archive_get(h->catalog, h->a.id, &a, &h->e));
        assert_int_equal(a.state, ARCHIVE_DELETED);
        catalog_archive_done(&a);
        home_must(h, catalog_archive_set_state(h->catalog, h->a.id, ARCHIVE_FAILED, "", 0, &h->e));
        assert_int_equal(recover(h).busy, 1);
        assert_int_equal(s->counts.damaged, 0);
}

static void what_is_not_ours_in_the_store_is_passed_over(void **state)
{
        struct home *h = *state;
        make_archives(h, 1);
        forget(h);
        tree_sh("cd $T/data/store && mkdir -p archives/x && : >archives/x/readme && "
                ": >archives/x/-0001.tar.esdk && : >'archives/x/a b-0001.tar.esdk' && "
                ": >archives/x/a-0000.tar.esdk && : >archives/x/a-1.tar.esdk && "
                ": >archives/x/a-0001.zip.esdk && : >archives/x/a-0123456789.tar.esdk && "
                "mkdir archives/x/y manifests/y manifests/y/z && : >archives/x/y/a-0001.tar.esdk "
                "&& "
                ": >manifests/y/.jsonl && : >manifests/y/z/a.jsonl.xz.esdk");
        struct recover_counts n = recover(h);
        assert_int_equal(n.found, 1);
        assert_int_equal(n.damaged + n.foreign + n.busy, 0);
}

int main(void)
{
#define TEST(f)       cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_AS(f, s) cmocka_unit_test_setup_teardown(f, s, teardown)
        const struct CMUnitTest tests[] = {
                TEST(all_that_people_see_is_the_same),
                TEST(a_recovered_archive_restores_and_verifies),
                TEST(without_manifests_the_archives_own_ends_tell),
                TEST_AS(without_manifests_the_archives_own_ends_tell, setup_gzip),
                TEST_AS(without_manifests_the_archives_own_ends_tell, setup_bzip2),
                TEST_AS(without_manifests_the_archives_own_ends_tell, setup_zstd),
                TEST_AS(without_manifests_the_archives_own_ends_tell, setup_none),
                TEST(without_manifests_it_was_stored_when_its_last_object_was),
                TEST(a_lost_or_damaged_manifest_is_written_again),
                TEST_AS(without_manifests_several_volumes_come_back, setup_volumes),
                TEST(damaged_archives_are_named_and_the_others_come_back),
                TEST(archives_for_other_keys_are_not_ours),
                TEST(a_manifest_that_lost_its_recipients_is_not_taken_for_another_key),
                TEST(a_wrong_passphrase_ends_it_at_once),
                TEST(it_goes_on_where_it_was_cut_off),
                TEST(a_half_read_archive_is_no_job_for_a_mount),
                TEST(a_manifest_that_names_volumes_of_another_archive_is_refused),
                TEST(objects_that_only_have_the_id_of_an_archive_are_named),
                TEST(what_is_being_deleted_does_not_come_back),
                TEST(what_is_not_ours_in_the_store_is_passed_over),
        };
        return cmocka_run_group_tests_name("recover", tests, NULL, NULL);
}
