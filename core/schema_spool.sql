-- Version 2: what is sealed and waits in the spool, and what the store has confirmed of it.

-- packed: all of it is in the spool. upload: what the store knows the unfinished upload by.
ALTER TABLE volume ADD COLUMN packed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE volume ADD COLUMN upload TEXT NOT NULL DEFAULT '';

-- sha256: of parts that go through the spool. sent: the store has confirmed it.
ALTER TABLE part ADD COLUMN sha256 BLOB;
ALTER TABLE part ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;

-- Of all volumes together; 0 until everything is packed.
ALTER TABLE archive ADD COLUMN sealed_bytes INTEGER NOT NULL DEFAULT 0;

-- Stores where an upload of ours may be left that no row wants any more: to be looked at again.
CREATE TABLE litter (
        store_url TEXT NOT NULL,
        store_id TEXT NOT NULL,
        object TEXT NOT NULL,           -- to be removed; '': only uploads
        PRIMARY KEY (store_url, store_id, object)
) WITHOUT ROWID;
