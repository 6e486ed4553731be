-- schema.sql - the catalogue, version 1. Paths, names and link texts are BLOBs: any bytes.
-- Times are nanoseconds since 1970 UTC. Changes go into new migrations in catalog.c, never here.

CREATE TABLE setting (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
) WITHOUT ROWID;

-- One row: counts every change of an archive row, so that others can poll cheaply.
CREATE TABLE change (n INTEGER NOT NULL);
INSERT INTO change VALUES (1);

CREATE TABLE archive (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL UNIQUE,
        description TEXT NOT NULL,
        state INTEGER NOT NULL,
        created INTEGER NOT NULL,
        stored INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        origin TEXT NOT NULL,
        config_file TEXT NOT NULL,
        store_url TEXT NOT NULL,
        store_id TEXT NOT NULL,
        storage_class TEXT NOT NULL,
        compression TEXT NOT NULL,
        level INTEGER NOT NULL,
        volume_size INTEGER NOT NULL,
        recipients TEXT NOT NULL,
        keys_pem TEXT NOT NULL,
        mountpoint TEXT NOT NULL,
        spec TEXT NOT NULL,
        devices TEXT NOT NULL,
        boot_id TEXT NOT NULL,
        has_tree INTEGER NOT NULL,
        synced INTEGER NOT NULL,
        keep_tree INTEGER NOT NULL,
        packed INTEGER NOT NULL,
        released INTEGER NOT NULL,
        n_files INTEGER NOT NULL,
        n_dirs INTEGER NOT NULL,
        n_links INTEGER NOT NULL,
        n_hardlinks INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        tar_bytes INTEGER NOT NULL,
        stored_bytes INTEGER NOT NULL,
        sums_bytes INTEGER NOT NULL,
        n_warnings INTEGER NOT NULL,
        n_returned INTEGER NOT NULL,
        todo_bytes INTEGER NOT NULL,
        read_bytes INTEGER NOT NULL,
        rate INTEGER NOT NULL,
        runner INTEGER NOT NULL,
        abort_wanted INTEGER NOT NULL,
        error TEXT NOT NULL,
        retry_at INTEGER NOT NULL,
        summed INTEGER NOT NULL DEFAULT 0       -- 1: its members are in `sum`
);
CREATE TRIGGER archive_added AFTER INSERT ON archive BEGIN UPDATE change SET n = n + 1; END;
CREATE TRIGGER archive_changed AFTER UPDATE ON archive BEGIN UPDATE change SET n = n + 1; END;
CREATE TRIGGER archive_removed AFTER DELETE ON archive BEGIN UPDATE change SET n = n + 1; END;

-- A tree: `parent` is the row of the folder, 0 at the top. kind: f d l h i (catalog.h).
-- tar_offset is NULL for implied folders, which are not in the tar stream.
CREATE TABLE member (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        archive INTEGER NOT NULL REFERENCES archive (row),
        parent INTEGER NOT NULL,
        name BLOB NOT NULL,
        kind TEXT NOT NULL,
        mode INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        gid INTEGER NOT NULL,
        mtime INTEGER NOT NULL,
        size INTEGER NOT NULL,
        tar_offset INTEGER,
        tar_len INTEGER NOT NULL,
        sha512 BLOB,
        link BLOB
);
CREATE UNIQUE INDEX member_name ON member (archive, parent, name);
CREATE INDEX member_tar ON member (archive, tar_offset) WHERE tar_offset IS NOT NULL;
CREATE INDEX member_implied ON member (archive) WHERE kind = 'i';

-- Members of stored archives by the first four bytes of their SHA-512: enough to find, cheap to keep.
-- Filled in sorted slices after an archive is stored; a key that is random costs too much before.
CREATE TABLE sum (
        prefix BLOB NOT NULL,
        member INTEGER NOT NULL,
        PRIMARY KEY (prefix, member)
) WITHOUT ROWID;

CREATE TABLE volume (
        archive INTEGER NOT NULL REFERENCES archive (row),
        number INTEGER NOT NULL,
        object TEXT NOT NULL,
        done INTEGER NOT NULL,
        tar_start INTEGER NOT NULL,
        tar_end INTEGER NOT NULL,
        plain_size INTEGER NOT NULL,
        size INTEGER NOT NULL,
        tree_hash BLOB NOT NULL,
        message_id BLOB NOT NULL,
        PRIMARY KEY (archive, number)
) WITHOUT ROWID;

CREATE TABLE block (
        archive INTEGER NOT NULL REFERENCES archive (row),
        tar_offset INTEGER NOT NULL,
        tar_len INTEGER NOT NULL,
        volume INTEGER NOT NULL,
        number INTEGER NOT NULL,
        plain_offset INTEGER NOT NULL,
        plain_len INTEGER NOT NULL,
        PRIMARY KEY (archive, tar_offset)
) WITHOUT ROWID;

CREATE TABLE part (
        archive INTEGER NOT NULL REFERENCES archive (row),
        volume INTEGER NOT NULL,
        number INTEGER NOT NULL,
        start INTEGER NOT NULL,
        size INTEGER NOT NULL,
        tree_hash BLOB NOT NULL,
        PRIMARY KEY (archive, volume, number)
) WITHOUT ROWID;

CREATE TABLE event (
        row INTEGER PRIMARY KEY,
        archive INTEGER NOT NULL REFERENCES archive (row),
        time INTEGER NOT NULL,
        level TEXT NOT NULL,
        text TEXT NOT NULL
);
CREATE INDEX event_archive ON event (archive);

-- Scratch of a commit, dropped when it is stored.
CREATE TABLE list (
        row INTEGER PRIMARY KEY,
        archive INTEGER NOT NULL REFERENCES archive (row),
        kind TEXT NOT NULL,
        path BLOB NOT NULL,
        why TEXT NOT NULL,
        UNIQUE (archive, kind, path)
);
CREATE TABLE hardlink (
        archive INTEGER NOT NULL REFERENCES archive (row),
        dev INTEGER NOT NULL,
        ino INTEGER NOT NULL,
        path BLOB NOT NULL,
        tar_offset INTEGER NOT NULL,
        PRIMARY KEY (archive, dev, ino)
) WITHOUT ROWID;
