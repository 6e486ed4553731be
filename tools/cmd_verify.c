#include "commands.h"

#include "buf.h"
#include "catalog.h"
#include "clock.h"
#include "config.h"
#include "import.h"
#include "keyring.h"
#include "manifest_put.h"
#include "member.h"
#include "progress.h"
#include "prove_key.h"
#include "store.h"
#include "verify.h"
#include "words.h"

#include <inttypes.h>

static const struct cli_option options[] = {
        {"data", 0, NULL, "read everything: tags, tar, and the SHA-512 of every file", false},
        {"repair", 0, NULL, "write manifests again that are missing, or with --data damaged",
                false},
        {"json", 0, NULL, "each archive as a JSON object; see autoglacier-json(5)", false},
        {"key", 'k', "KEY", "prove that this copy of the private key opens the archives", false},
        {0},
};

/* ---- archives ---- */

struct check {
        struct cli *cli;
        struct keyring *keyring; /* NULL: without reading */
        struct progress progress;
        unsigned n, damaged, failed;
        bool json;
        unsigned told; /* damages of the archive that is being checked */
        bool repaired; /* its manifest was written again */
        int64_t seen;  /* the oldest word of the store that was gone by, ns; 0: all is from now */
        bool listed;   /* an inventory said so */
        bool sized;    /* the store keeps no checksums */
};

static void seen(void *ctx, int64_t when, bool listed)
{
        struct check *k = ctx;
        if (k->seen == 0 || when < k->seen) {
                k->seen = when;
                k->listed = listed;
        }
}

static void sized(void *ctx)
{
        ((struct check *)ctx)->sized = true;
}

static int ask_inventory(struct store *s, struct err *e)
{
        return store_thaw(s, "", &(struct store_thaw){.tier = "standard", .days = 1}, e);
}

/* A vault's list is as old as its inventory: takes a newer one in that has come, and asks for one
 * where that would tell more. */
static int refresh(struct check *k, struct store *s, const struct catalog_archive *a, struct err *e)
{
        const int64_t day = 24 * 3600 * CLOCK_NSEC;
        struct store_state st;
        if (!s->traits.inventory)
                return 0;
        int q = store_state(s, "", &st, e);
        if (q < 0 || st.access == STORE_THAWING || st.modified > clock_now() - 2 * day ||
                a->stored > clock_now() - 2 * day)
                return q;
        q = ask_inventory(s, e);
        if (q == 0)
                cli_say(k->cli,
                        "asked for a newer inventory of %s; it comes in some hours, and a verify "
                        "after that goes by it",
                        s->url);
        return q;
}

static void say_seen(const struct check *k, const char *name)
{
        char date[CLOCK_TEXT_MAX];
        clock_iso(k->seen, date);
        (void)printf(k->listed ? "%s: the store has what was stored, by its inventory of %s\n"
                               : "%s: the store confirmed what was stored on %s; no inventory "
                                 "since then has been fetched\n",
                name, date);
}

/* ---- for scripts: damage is printed as it is found, however much there is ---- */

static void json_text(struct buf *b, const char *key, const char *s)
{
        if (s)
                member_json_bytes(b, key, s);
        else
                buf_addf(b, ", \"%s\": null", key);
}

static void json_print(const struct buf *b)
{
        (void)fwrite(buf_str(b), 1, b->len, stdout); /* cli_flush() tells errors */
}

static void json_begin(const struct catalog_archive *a)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        buf_addf(&b, "{\"archive\": \"%s\"", a->id);
        member_json_bytes(&b, "name", a->name);
        buf_adds(&b, ", \"damage\": [");
        json_print(&b);
}

static void json_damage(const struct check *k, const struct verify_damage *d)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        buf_addf(&b, "%s{\"offset\": %" PRIu64, k->told > 1 ? ", " : "", d->offset);
        json_text(&b, "object", d->object);
        json_text(&b, "path", d->path);
        json_text(&b, "why", d->why);
        buf_adds(&b, "}");
        json_print(&b);
}

static void json_end(const struct check *k, const char *result, const char *error)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        char at[CLOCK_TEXT_MAX] = "";
        if (k->seen)
                clock_iso_ns(k->seen, at);
        buf_addf(&b, "], \"result\": \"%s\", \"repaired\": %s, \"inventory\": %s", result,
                k->repaired ? "true" : "false", k->seen && k->listed ? "true" : "false");
        json_text(&b, "seen", k->seen ? at : NULL);
        json_text(&b, "error", error);
        buf_adds(&b, "}\n");
        json_print(&b);
}

static void damage(void *ctx, const struct verify_damage *d)
{
        struct check *k = ctx;
        progress_clear(&k->progress);
        k->told++;
        if (k->json)
                json_damage(k, d);
        else
                (void)printf("%s, at byte %" PRIu64 ": %s\n",
                        d->path     ? d->path
                        : d->object ? d->object
                                    : "?",
                        d->offset, d->why);
}

static void show(void *ctx, uint64_t done, uint64_t todo)
{
        struct check *k = ctx;
        progress_show(&k->progress, done, todo);
}

/* What the catalogue knows is what the manifest said. */
static int write_again(
        struct check *k, struct store *s, const struct catalog_archive *a, struct err *e)
{
        int q = store_check(s, *a->store_id ? a->store_id : NULL, NULL, e);
        if (q == 0)
                q = manifest_put_again(k->cli->config, k->cli->catalog, s, a, e);
        if (q < 0)
                return err_prefix(e, q, "cannot write the manifest of %s again", a->name);
        (void)catalog_event(k->cli->catalog, a->id, 'i',
                "its manifest was written into the store again", NULL); /* printed, too */
        k->repaired = true;
        if (!k->json)
                (void)printf("%s: its manifest was written into the store again\n", a->name);
        return 0;
}

static int repair(struct check *k, struct store *s, const struct catalog_archive *a, struct err *e)
{
        struct err why = {0};
        int q = verify_manifest(s, a, k->keyring ? keyring_unwrap : NULL, k->keyring, &why);
        if (q != -ENOENT && q != -EBADMSG && q != -EPROTO)
                return 0; /* whole, or what follows says what is wrong */
        return write_again(k, s, a, e);
}

static int check_one(struct check *k, const struct catalog_archive *a, struct err *e)
{
        _cleanup_(store_closep) struct store *s = NULL;
        int q = cli_store(k->cli, a, &s, e);
        if (q < 0)
                return q;
        const struct verify_params p = {.unwrap = keyring_unwrap,
                .unwrap_ctx = k->keyring,
                .damage = damage,
                .progress = show,
                .seen = seen,
                .sized = sized,
                .ctx = k,
                .stop = &cli_stop};
        if ((q = refresh(k, s, a, e)) < 0)
                return q;
        if (cli_flag(k->cli, "repair") && (q = repair(k, s, a, e)) < 0)
                return q;
        progress_begin(&k->progress, "verifying");
        q = (k->keyring ? verify_data : verify_objects)(k->cli->catalog, s, a, &p, e);
        progress_clear(&k->progress);
        if (q == -EREMOTE && s->traits.inventory && ask_inventory(s, NULL) == 0)
                err_hint(e, "it was asked for now: verify again in some hours");
        return q;
}

static void tell_good(const struct check *k, const struct catalog_archive *a)
{
        if (!k->keyring && k->seen)
                say_seen(k, a->name);
        else
                (void)printf("%s: %s\n", a->name,
                        k->keyring ? "every file is as it was archived"
                        : k->sized ? "the store has what was stored, by its sizes: it keeps no "
                                     "checksums; verify --data reads everything"
                                   : "the store has what was stored");
}

static void tell(struct check *k, const struct catalog_archive *a, int q, const struct err *e)
{
        bool bad = q == -EBADMSG || q == -EPROTO;
        if (k->json)
                json_end(k, bad ? "damaged" : q < 0 ? "unknown" : "good", q < 0 ? e->text : NULL);
        if (q < 0)
                (void)cli_fail(k->cli, e); /* the status comes of what was counted */
        else if (!k->json)
                tell_good(k, a);
        k->n++;
        k->damaged += bad;
        k->failed += q < 0 && !bad;
}

static void check_and_tell(struct check *k, const struct catalog_archive *a)
{
        struct err e = {0};
        k->seen = 0;
        k->sized = false;
        k->told = 0;
        k->repaired = false;
        if (k->json)
                json_begin(a);
        if (!import_is_imported(a))
                tell(k, a, check_one(k, a, &e), &e);
        else if (k->json)
                json_end(k, "unknown", "imported from a log: only restoring it can tell");
        else
                (void)printf("%s: imported from a log: only restoring it can tell\n", a->name);
}

/* Rows are copied first: checking takes long, and other programs write in between. */
struct all {
        char **ids;
        size_t n;
};

static int collect(void *ctx, const struct catalog_archive *a)
{
        struct all *l = ctx;
        if (!archive_is_stored(a->state))
                return 0;
        char **v = reallocarray(l->ids, l->n + 1, sizeof *v);
        if (!v)
                return -ENOMEM;
        l->ids = v;
        return (v[l->n] = strdup(a->id)) ? (l->n++, 0) : -ENOMEM;
}

static void all_done(struct all *l)
{
        for (size_t i = 0; i < l->n; i++)
                free(l->ids[i]);
        free(l->ids);
}

static int chosen(struct cli *cli, struct all *l, struct err *e)
{
        struct catalog_archive a = {0};
        if (cli->n_words == 0)
                return catalog_archive_each(cli->catalog, collect, l, e);
        int q = cli_archive(cli, cli->words[0], &a, e);
        if (q == 0)
                q = collect(l, &a) < 0 ? err_oom(e) : 0;
        if (q == 0 && l->n == 0)
                q = err_set(e, -EINVAL, "archive %s is not stored: it is %s", a.name,
                        archive_state_name(a.state));
        catalog_archive_done(&a);
        return q;
}

static int check_all(struct check *k, const struct all *l)
{
        for (size_t i = 0; i < l->n && !atomic_load(&cli_stop); i++) {
                struct catalog_archive a = {0};
                struct err e = {0};
                if (catalog_archive_get(k->cli->catalog, l->ids[i], &a, &e) < 0)
                        return cli_fail(k->cli, &e);
                check_and_tell(k, &a);
                catalog_archive_done(&a);
        }
        if (atomic_load(&cli_stop))
                return CLI_FAILED;
        if (l->n == 0)
                cli_say(k->cli, "no archive is stored yet");
        if (k->n > 1)
                cli_say(k->cli, "%s, %u damaged, %u could not be checked",
                        WORDS(k->n, "archive", NULL), k->damaged, k->failed);
        return k->damaged + k->failed > 0 ? CLI_FAILED : CLI_DONE;
}

static int run(struct cli *cli)
{
        const char *key = cli_value(cli, "key");
        struct check k = {.cli = cli, .json = cli_flag(cli, "json")};
        _cleanup_(all_done) struct all l = {0};
        struct err e = {0};
        if (key && !cli_flag(cli, "data") && cli_flag(cli, "repair"))
                return cli_misuse(cli, "--repair goes by a key only with --data");
        if (key && !cli_flag(cli, "data") && k.json)
                return cli_misuse(cli, "the proof of a key has no --json: its exit status tells");
        if (key && !cli_flag(cli, "data"))
                return prove_key(cli, key);
        int q = cli_catalog(cli, cli_flag(cli, "repair") ? CLI_WORK : CLI_LOOK, &e);
        if (q == 0 && cli_flag(cli, "data"))
                q = cli_keyring(cli, key, &k.keyring, &e);
        if (q == 0)
                q = chosen(cli, &l, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        cli_catch_signals();
        return check_all(&k, &l);
}

const struct cli_command cmd_verify = {
        .name = "verify",
        .words = "[ARCHIVE]",
        .summary = "is what the store holds what was stored, and does the key open it?",
        .about = "Compares one archive, or all, with the store: every object is there, and\n"
                 "where reading costs nothing, every part has its hash. With --data everything\n"
                 "is read and decrypted. With --key a copy of the private key is shown to open\n"
                 "the archives; until one has been, there is NOT YET A BACKUP. With both,\n"
                 "--data reads with that key. --repair writes an archive's manifest into the\n"
                 "store again, by the catalogue, where it is missing, or --data finds it damaged.",
        .options = options,
        .max_words = 1,
        .run = run,
};
