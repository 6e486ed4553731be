#include "reach.h"

#include "bytes.h"
#include "clock.h"
#include "store.h"
#include "store_glacier.h"
#include "store_s3.h"
#include "tree_hash.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#define PROBE "autoglacier-probe"

struct probe {
        struct store *s;
        reach_fn tell;
        void *ctx;
        uint8_t content[32];
        char name[64]; /* of the object in the storage class, which is never finished */
        bool sums;     /* the service tells checksums of what it has */
};

static void say(const struct probe *p, enum reach_result r, const char *fmt, ...) _printf_(3, 4);

static void say(const struct probe *p, enum reach_result r, const char *fmt, ...)
{
        char text[ERR_TEXT_MAX];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(text, sizeof text, fmt, ap); /* cut where too long */
        va_end(ap);
        p->tell(p->ctx, r, text);
}

/* ---- steps ---- */

static int nothing(void *ctx _unused_, const char *name _unused_,
        const struct store_state *st _unused_, struct err *e _unused_)
{
        return 0;
}

static int can_list(struct probe *p, struct err *e)
{
        int q = store_list(p->s, PROBE, nothing, NULL, e);
        if (q == 0)
                say(p, REACH_OK, "%s is there, and the keys are good", p->s->url);
        return q;
}

static int send(struct probe *p, struct store_upload *u, uint8_t tree[32], struct err *e)
{
        uint8_t sha256[32];
        struct tree_hash *t = tree_hash_new();
        bool ok = t && tree_hash_update(t, p->content, sizeof p->content) == 0 &&
                  tree_hash_final(t, tree) == 0 &&
                  EVP_Digest(p->content, sizeof p->content, sha256, NULL, EVP_sha256(), NULL);
        tree_hash_free(t);
        if (!ok)
                return err_set(e, -EIO, "SHA-256 failed");
        const struct store_part part = {.number = 1,
                .data = p->content,
                .len = sizeof p->content,
                .tree_hash = tree,
                .sha256 = sha256};
        return store_put_part(u, &part, e);
}

static int look_at_part(void *ctx, const struct store_had *h, struct err *e _unused_)
{
        ((struct probe *)ctx)->sums = h->hashed != STORE_HASH_NONE;
        return 0;
}

static bool none_wanted(void *ctx _unused_, const char *name _unused_, const char *token _unused_)
{
        return false;
}

static void say_uploads(const struct probe *p, bool tells, bool lists)
{
        if (tells)
                say(p, REACH_OK,
                        "volumes can be sent in their storage class, and an upload be resumed");
        else
                say(p, REACH_WARNING,
                        "volumes can be sent in their storage class, but the service does not tell "
                        "what it has of an upload: one that is cut off is sent again from its "
                        "beginning, so a smaller VOLUME_SIZE costs less");
        if (tells && !p->sums)
                say(p, REACH_WARNING,
                        "it keeps no checksums: each part is sent with its hash, but what became "
                        "of it is known by its size, until verify --data reads everything");
        if (!lists)
                say(p, REACH_WARNING,
                        "the service does not list unfinished uploads: let a rule of the bucket "
                        "remove old ones");
}

/* 1: the service tells what it has of an upload; 0: it does not. */
static int resumes(struct probe *p, const struct store_new *n, const char *token, struct err *e)
{
        struct store_upload *u;
        int q = store_resume(p->s, n, token, look_at_part, p, &u, e);
        if (q == -ENOENT) /* it was there a moment ago */
                return 0;
        if (q < 0)
                return q;
        store_leave(u);
        return 1;
}

static int begin_and_send(
        struct probe *p, const struct store_new *n, char *token, size_t size, struct err *e)
{
        struct store_upload *u;
        uint8_t tree[32];
        int q = store_begin(p->s, n, &u, e);
        if (q == -EINVAL)
                err_hint(e, "does the service have the STORAGE_CLASS of the configuration?");
        if (q < 0)
                return q;
        (void)snprintf(token, size, "%s", store_token(u)); /* shorter than that */
        q = send(p, u, tree, e);
        store_leave(u);
        return q;
}

/* As a volume goes: begun in its storage class, a part sent, the parts asked for. Then given up, so
 * that nothing is stored where the least one pays for is half a year. */
static int can_upload(struct probe *p, struct err *e)
{
        const struct store_new n = {.name = p->name,
                .max_size = MiB,
                .part_size = p->s->traits.part_size,
                .replace = true};
        char token[700] = "";
        int q = begin_and_send(p, &n, token, sizeof token, e);
        if (q < 0 && !*token)
                return q;
        if (q == 0)
                q = resumes(p, &n, token, e);
        int r = store_sweep(p->s, p->name, none_wanted, NULL, q < 0 ? NULL : e);
        if (q < 0 || (r < 0 && r != -EOPNOTSUPP))
                return q < 0 ? q : r;
        say_uploads(p, q == 1, r == 0);
        return 0;
}

static int write_index(struct probe *p, struct err *e)
{
        const struct store_new n = {
                .name = PROBE, .max_size = sizeof p->content, .index = true, .replace = true};
        struct store_upload *u;
        uint8_t tree[32];
        int q = store_begin(p->s, &n, &u, e);
        if (q < 0)
                return q;
        q = send(p, u, tree, e);
        if (q == 0)
                q = store_finish(&u, sizeof p->content, tree, e);
        store_leave(u);
        return q;
}

static int found(void *ctx, const char *name, const struct store_state *st, struct err *e _unused_)
{
        if (streq(name, PROBE) && st->size == sizeof((struct probe *)0)->content)
                *(bool *)ctx = true;
        return 0;
}

static int can_write_and_read(struct probe *p, struct err *e)
{
        uint8_t back[sizeof p->content];
        bool listed = false;
        int q = write_index(p, e);
        if (q == 0)
                q = store_list(p->s, PROBE, found, &listed, e);
        if (q == 0 && !listed)
                q = err_set(e, -EIO, "%s: a small object was written, but is not in the list",
                        p->s->url);
        if (q == 0)
                q = store_get(p->s, PROBE, back, sizeof back, 0, e);
        if (q == 0 && memcmp(back, p->content, sizeof back) != 0)
                q = err_set(e, -EIO, "%s: a small object came back as something else", p->s->url);
        if (q == 0)
                say(p, REACH_OK, "a small object can be written, listed and read");
        return q;
}

static void try_remove(struct probe *p)
{
        struct err why = {0};
        if (store_remove(p->s, PROBE, &why) == 0)
                say(p, REACH_OK,
                        "it can be removed; without that right backups work, too, and "
                        "only autoglacier delete does not");
        else if (why.code == -EACCES)
                say(p, REACH_OK, "it cannot be removed: backups work, autoglacier delete does not");
        else
                say(p, REACH_WARNING, "the small object %s stays behind: %s", PROBE, why.text);
}

/* What is not there is asked for: nothing is started, nothing paid. Where it may not be, backups
 * work all the same, and some mean it so. Services that know no thawing answer anything. */
static void try_retrieve(struct probe *p)
{
        struct err why = {0};
        int q = p->s->traits.inventory ? store_glacier_may_retrieve(p->s, &why)
                                       : store_s3_may_thaw(p->s, p->name, &why);
        if (q == 0)
                say(p, REACH_OK, "what is cold can be asked for");
        else if (q == -EACCES)
                say(p, REACH_WARNING, "backups work, getting them back does not: %s", why.text);
}

static void look_at_clock(struct probe *p, int64_t skew)
{
        char words[CLOCK_TEXT_MAX];
        clock_words(skew < 0 ? -skew : skew, words);
        if (skew == 0)
                say(p, REACH_OK, "the clock agrees with the service's");
        else
                say(p, REACH_WARNING,
                        "this machine's clock is %s %s the service's; requests are dated by the "
                        "service's, but set it right (timedatectl set-ntp true)",
                        words, skew > 0 ? "behind" : "before");
}

/* A vault: nothing can be written for trial. */
static int check_vault(struct probe *p, struct err *e)
{
        struct store_state st;
        char date[CLOCK_TEXT_MAX];
        int q = store_check(p->s, NULL, NULL, e);
        if (q < 0)
                return q;
        say(p, REACH_OK, "%s is there, and the keys are good", p->s->url);
        if ((q = can_upload(p, e)) < 0 || (q = store_state(p->s, "", &st, e)) < 0)
                return q;
        clock_iso(st.modified, date);
        if (st.modified)
                say(p, REACH_OK, "what it holds is known from its inventory of %s", date);
        try_retrieve(p);
        look_at_clock(p, store_glacier_skew(p->s));
        return 0;
}

int reach_check(struct store *s, reach_fn tell, void *ctx, struct err *e)
{
        if (s->traits.direct)
                return 0;
        struct probe p = {.s = s, .tell = tell, .ctx = ctx};
        uint8_t random[8];
        char hex[17];
        if (RAND_bytes(p.content, sizeof p.content) != 1 || RAND_bytes(random, sizeof random) != 1)
                return err_set(e, -EIO, "no random numbers");
        bytes_hex(random, sizeof random, hex);
        (void)snprintf(p.name, sizeof p.name, PROBE "-%s", hex); /* fits */
        if (s->traits.inventory)
                return check_vault(&p, e);
        int q = can_list(&p, e);
        if (q == 0)
                q = can_upload(&p, e);
        if (q == 0)
                q = can_write_and_read(&p, e);
        if (q < 0)
                return q;
        try_remove(&p);
        try_retrieve(&p);
        look_at_clock(&p, store_s3_skew(p.s));
        return 0;
}
