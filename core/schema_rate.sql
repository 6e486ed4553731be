-- Version 5: how fast a restore is fetched.

ALTER TABLE restore ADD COLUMN rate INTEGER NOT NULL DEFAULT 0;          -- bytes a second, lately
ALTER TABLE restore ADD COLUMN seconds_left INTEGER NOT NULL DEFAULT -1; -- below 0: not known
ALTER TABLE restore ADD COLUMN rate_at INTEGER NOT NULL DEFAULT 0;       -- when these two were true
