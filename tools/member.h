/* member.h - members of archives as lines, and as words. */
#pragma once

#include "base.h"

struct buf;
struct catalog_member;

/* A path as people give it, as members are named: "/home/a" is home/a, "./a" is a, "." and "/" are
 * everything, "". Borrowed. */
const char *member_name(const char *word);
/* One JSON object and a newline: the keys of autoglacier-json(5). `id`, `name`: the archive that
 * holds it; a NULL name is left out. */
void member_json(const char *id, const char *name, const struct catalog_member *m);
/* Adds `, "KEY": "TEXT"`; bytes that are not UTF-8 are exact in a second key, KEY_base64. */
void member_json_bytes(struct buf *b, const char *key, const char *s);
/* The path, ended by `end`; on a terminal without control characters. */
void member_path(const char *path, char end);
/* "-rw-r--r--  1000 1000      12345 2026-11-22T21:27:03Z path -> target", without the newline. */
void member_long(const struct catalog_member *m);
