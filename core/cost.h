/* cost.h - what storing and getting back costs, by a dated table of list prices.
 *
 * Floor 3. The table is prices.json, built in; a file of that name beside CONFIG.json replaces it.
 * Figures that nobody has checked against the source are marked in the table, and every sum made
 * with one is `unverified`. Prices are list prices of one region, in USD, without taxes, free
 * allowances used up first-come; what is asked here is an estimate and never a bill. A GB is 10^9
 * bytes here, which estimates a little high where the service counts 2^30. Not here: what is
 * fetched, and whether it may cost that much. Immutable; may be shared by threads. */
#pragma once

#include "base.h"
#include "err.h"

struct buf;
struct cost_prices;

struct cost_sum {
        double usd;
        bool unverified;
};

/* `config_file`: path of CONFIG.json, there or not, or NULL: only what is built in. -EINVAL a table
 * that is not right, with file and key. */
int cost_load(const char *config_file, struct cost_prices **ret, struct err *e);
/* The same from text, for tests; `name` stands for the file. */
int cost_parse(
        const char *text, size_t len, const char *name, struct cost_prices **ret, struct err *e);
void cost_free(struct cost_prices *p);
DEFINE_CLEANUP(cost_free, struct cost_prices *)
/* "2026-01-01", and where the figures are from. */
const char *cost_date(const struct cost_prices *p);
const char *cost_source(const struct cost_prices *p);

/* The price class of what lies in the store `url` under `storage_class`: "DEEP_ARCHIVE", "VAULT",
 * …; NULL for a store that costs nothing (a folder). Borrowed from the arguments or constant. */
const char *cost_class(const char *url, const char *storage_class);
/* Whether the table knows the class. */
bool cost_knows(const struct cost_prices *p, const char *cls);

/* A month of `objects` objects of `bytes` bytes in all, with what the class adds to each. -ENOENT
 * an unknown class, here and below. */
int cost_storage(const struct cost_prices *p, const char *cls, uint64_t objects, uint64_t bytes,
        struct cost_sum *ret);
/* Sending `requests` requests (parts, and one or two for each object). */
int cost_upload(
        const struct cost_prices *p, const char *cls, uint64_t requests, struct cost_sum *ret);
/* Removing it `age_ns` after it was stored: the rest of the class's minimum time. */
int cost_early(const struct cost_prices *p, const char *cls, uint64_t objects, uint64_t bytes,
        int64_t age_ns, struct cost_sum *ret);

struct cost_retrieval {
        uint64_t objects; /* to be thawed */
        uint64_t thawed;  /* bytes that the store makes readable: it charges for these, unless it
                             takes no time; then for what is fetched */
        uint64_t fetched; /* bytes that leave the store */
};
struct cost_offer {
        struct cost_sum sum;
        int64_t soonest, latest; /* ns until it can be read */
        bool time_unverified;
};
/* Retrieval, requests and egress (as if the month's free gigabytes were used up). -EOPNOTSUPP the
 * class has no such tier. */
int cost_retrieve(const struct cost_prices *p, const char *cls, const char *tier,
        const struct cost_retrieval *what, struct cost_offer *ret);
/* The tiers, cheapest first; NULL at the end. */
const char *cost_tier(size_t k);

/* "0.02 USD", "12.50 USD", "under 0.01 USD", "nothing", with " (unverified)" where it is. */
void cost_words(struct buf *b, const struct cost_sum *sum);
/* The same with "about " before an amount that can be told. */
void cost_about(struct buf *b, const struct cost_sum *sum);
/* "at once", "3 h to 5 h", with " (unverified)" where it is. */
void cost_time_words(struct buf *b, const struct cost_offer *o);
