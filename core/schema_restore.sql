-- Version 3: restores, which outlive the program, and what a store has been asked to thaw.

-- paths: each ended by a zero byte, sorted; empty: everything. target: a folder, or '' for the cache.
CREATE TABLE restore (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        archive INTEGER NOT NULL REFERENCES archive (row),
        state INTEGER NOT NULL,
        created INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        tier TEXT NOT NULL,
        days INTEGER NOT NULL,
        paths BLOB NOT NULL,
        target TEXT NOT NULL,
        overwrite INTEGER NOT NULL,
        price REAL NOT NULL,                    -- USD; below 0: not known
        deadline INTEGER NOT NULL,              -- by when the tier promises it; 0: at once
        ready_until INTEGER NOT NULL,
        retry_at INTEGER NOT NULL,
        tries INTEGER NOT NULL,
        begun INTEGER NOT NULL,                 -- files may have been written
        todo_files INTEGER NOT NULL,
        todo_bytes INTEGER NOT NULL,
        done_files INTEGER NOT NULL,
        done_bytes INTEGER NOT NULL,
        fetched INTEGER NOT NULL,
        cancel_wanted INTEGER NOT NULL,
        error TEXT NOT NULL
);
CREATE INDEX restore_archive ON restore (archive);

-- One row a range of an object that was asked for (the whole, where stores thaw whole objects): the intention is durable before the store is asked.
CREATE TABLE thaw (
        store TEXT NOT NULL,
        object TEXT NOT NULL,
        start INTEGER NOT NULL,
        len INTEGER NOT NULL,
        asked INTEGER NOT NULL,
        accepted INTEGER NOT NULL,              -- 0: not known to have arrived
        cold_seen INTEGER NOT NULL,             -- how often in a row the store knew nothing of it
        PRIMARY KEY (store, object, start, len)
) WITHOUT ROWID;

ALTER TABLE archive ADD COLUMN restoring INTEGER NOT NULL DEFAULT 0;
