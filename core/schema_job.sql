-- Version 4: which version of a file is in which archive, and what an archive left where it is.

-- The inode of what was archived, where it may be compared with what is there later; else NULL.
ALTER TABLE member ADD COLUMN ino INTEGER;

-- The newest stored version of each path, for one store and one set of recipients. Made when it is first
-- asked for, and from then on as archives are stored. key: the path with zero bytes for '/', so that
-- it sorts as a walk goes.
CREATE TABLE scope (
        row INTEGER PRIMARY KEY,
        store_url TEXT NOT NULL,
        store_id TEXT NOT NULL,
        recipients TEXT NOT NULL,               -- sorted
        UNIQUE (store_url, store_id, recipients)
);
CREATE TABLE version (
        scope INTEGER NOT NULL,
        key BLOB NOT NULL,
        member INTEGER NOT NULL,
        PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE TABLE version_source (
        scope INTEGER NOT NULL,
        archive INTEGER NOT NULL,               -- its members are in `version`
        PRIMARY KEY (scope, archive)
) WITHOUT ROWID;

-- What an archive of only what changed found unchanged: members of archive `base` (an id, which need not
-- be known yet) with tar offsets from first to last. at: where its own tar stream stood then.
CREATE TABLE unchanged (
        row INTEGER PRIMARY KEY,
        archive INTEGER NOT NULL REFERENCES archive (row) ON DELETE CASCADE,
        at INTEGER NOT NULL,
        base TEXT NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL
);
CREATE INDEX unchanged_archive ON unchanged (archive, base, first);
CREATE INDEX unchanged_base ON unchanged (base, first);

-- What an archive of a list was made from. chain: archives of one job, or of one list of files, are
-- states of the same thing. roots: what was named, each ended by a zero byte; empty where there are too many.
CREATE TABLE run (
        archive INTEGER PRIMARY KEY REFERENCES archive (row) ON DELETE CASCADE,
        chain TEXT NOT NULL,
        job TEXT NOT NULL,
        changed_only INTEGER NOT NULL,
        roots BLOB NOT NULL,
        n_unchanged INTEGER NOT NULL DEFAULT 0, -- files
        unchanged_bytes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX run_chain ON run (chain);
CREATE INDEX run_job ON run (job) WHERE job != '';

-- What could not be read: it is not gone, only missing here.
CREATE TABLE missed (
        archive INTEGER NOT NULL REFERENCES archive (row) ON DELETE CASCADE,
        path BLOB NOT NULL,
        PRIMARY KEY (archive, path)
) WITHOUT ROWID;
