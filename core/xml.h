/* xml.h - reads the small documents that services answer with.
 *
 * Floor 1. expat. Names without their namespace prefix. A document type is refused: no entities of
 * somebody's own making. Not here: writing; attributes. Any thread. */
#pragma once

#include "base.h"
#include "buf.h"
#include "err.h"

/* At the end of every element: its path from the root ("ListBucketResult/Contents/Key") and its
 * text, "" for one that holds only others. Non-zero ends the reading and is returned. */
typedef int (*xml_fn)(void *ctx, const char *path, const char *text);

/* -EPROTO with words when it is not well-formed, deeper than 32, or a text is longer than 64 KiB.
 */
int xml_each(const void *data, size_t len, xml_fn each, void *ctx, struct err *e);

/* The text of the first element of that path into `out` of `size` bytes, cut where too long. False
 * if it is not there, or the document is broken before it. */
bool xml_text(const void *data, size_t len, const char *path, char *out, size_t size);

/* Appends text with the characters that XML wants escaped. */
void xml_add(struct buf *out, const char *text);
