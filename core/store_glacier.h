/* store_glacier.h - a store in a vault of Amazon Glacier.
 *
 * Floor 4. Vaults have no names and tell what they hold only by an inventory that is about a day
 * old and takes hours to fetch: names are kept in a book beside the catalogue (glacier_book.h) and
 * in the descriptions of the archives (glacier_text.h). store_list() tells what the book knows.
 * store_thaw("") asks for the inventory, store_state("") tells how far that is and takes it into
 * the book; its `modified` is the inventory's date. Every other thaw is a retrieval job, whose
 * output is there for a day whatever days were asked for. Not here: waiting and trying again. */
#pragma once

#include "store.h"

struct config;

/* `url` is "glacier://VAULT". `config`, which must outlive it, says region, endpoint, keys, and the
 * data folder where the book is. Sends nothing. */
int store_glacier_new(
        const struct config *config, const char *url, struct store **ret, struct err *e);

/* Asks for an archive that cannot be there, which starts nothing and costs nothing. 0: it was
 * looked for, so retrievals may be asked for. -EACCES with the right that is missing. */
int store_glacier_may_retrieve(struct store *s, struct err *e);

/* How far the service's clock is before ours, ns, after something was asked. `s` is a vault, or a
 * store around one. */
int64_t store_glacier_skew(struct store *s);
