import path from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { dataLoss, messageOf, unavailable } from '../base/errors.ts';

/**
 * The metadata database: what exists is what has a row here. Content is made durable before the
 * transaction that names it, so a row never points at nothing.
 *
 * One writer (the daemon). WAL with `synchronous=FULL`: a committed transaction survives a power
 * cut. `wal_autocheckpoint` is small, so that the WAL stays in a few flash blocks.
 */
export type Database = {
  /** A prepared statement, cached by its text. */
  readonly sql: (text: string) => StatementSync;
  /** Runs `body` in one transaction: all of it or nothing. Does not nest. */
  readonly transaction: <T>(body: () => T) => T;
  readonly close: () => void;
};

/** 2: contents that layers share lie in buckets (`layers/object-place.ts`). No release wrote 1. */
const SCHEMA_VERSION = 2;

const SCHEMA = `
CREATE TABLE layers (
  diff_id     TEXT PRIMARY KEY,
  dir         TEXT NOT NULL UNIQUE,      -- folder below layers/
  tar_bytes   INTEGER NOT NULL,          -- uncompressed tar
  disk_bytes  INTEGER NOT NULL,          -- sum of the sizes of its regular files
  created_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE damaged_layers (            -- found damaged by a verification, not repaired yet
  diff_id     TEXT PRIMARY KEY REFERENCES layers(diff_id) ON DELETE CASCADE,
  why         TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE layer_leases (              -- kept for the next attempt of a pull, though nothing names it
  diff_id     TEXT PRIMARY KEY REFERENCES layers(diff_id) ON DELETE CASCADE,
  until_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE layer_blobs (               -- compressed forms of a layer, and where a registry has them
  diff_id     TEXT NOT NULL REFERENCES layers(diff_id) ON DELETE CASCADE,
  digest      TEXT NOT NULL,
  repository  TEXT NOT NULL,             -- docker.io/library/debian; '' when it came from an archive
  media_type  TEXT NOT NULL,
  size_bytes  INTEGER NOT NULL,
  PRIMARY KEY (diff_id, digest, repository)
) STRICT, WITHOUT ROWID;
CREATE INDEX layer_blobs_digest ON layer_blobs(digest);

CREATE TABLE images (
  id             TEXT PRIMARY KEY,       -- sha256 of config
  config         BLOB NOT NULL,          -- exact bytes
  size_bytes     INTEGER NOT NULL,       -- sum of its layers' disk_bytes
  created_ms     INTEGER NOT NULL,       -- when it came here
  last_tagged_ms INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE image_layers (
  image_id   TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
  position   INTEGER NOT NULL,           -- 0 is the bottom
  diff_id    TEXT NOT NULL REFERENCES layers(diff_id),
  PRIMARY KEY (image_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_layers_diff ON image_layers(diff_id);

CREATE TABLE tags (
  repository TEXT NOT NULL,              -- docker.io/library/debian
  tag        TEXT NOT NULL,
  image_id   TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
  PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_image ON tags(image_id);

CREATE TABLE repo_digests (
  repository TEXT NOT NULL,
  digest     TEXT NOT NULL,              -- of the manifest or index that was pulled or pushed
  image_id   TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
  PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX repo_digests_image ON repo_digests(image_id);

CREATE TABLE manifests (                 -- exact bytes of pulled manifests, by digest
  digest     TEXT PRIMARY KEY,
  image_id   TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
  media_type TEXT NOT NULL,
  content    BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX manifests_image ON manifests(image_id);

CREATE TABLE containers (
  id       TEXT PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,         -- without the leading slash
  image_id TEXT NOT NULL,
  document TEXT NOT NULL,                -- what it was made from, JSON
  state    TEXT NOT NULL                 -- what survives a reboot, JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE rootfs_layers (             -- what a container's writable layer lies on: they stay
  container_id TEXT NOT NULL,            -- while it exists, also when its image is gone
  position     INTEGER NOT NULL,         -- 0 is the bottom
  diff_id      TEXT NOT NULL REFERENCES layers(diff_id),
  PRIMARY KEY (container_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX rootfs_layers_diff ON rootfs_layers(diff_id);

CREATE TABLE networks (
  id       TEXT PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,
  document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE volumes (
  name     TEXT PRIMARY KEY,
  document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE wear (                      -- bytes written to the data root, by cause
  cause TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;

/** Tables that came later. An older version that is put back does not miss them, nor look at them. */
const ADDED = `
CREATE TABLE IF NOT EXISTS blob_heads (       -- sums of the beginnings of those in layer_blobs
  diff_id TEXT NOT NULL REFERENCES layers(diff_id) ON DELETE CASCADE,
  digest  TEXT NOT NULL,
  sum     INTEGER NOT NULL,
  PRIMARY KEY (diff_id, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS made_manifests (   -- of those in manifests, what a push here has made
  digest TEXT PRIMARY KEY REFERENCES manifests(digest) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS image_parents (    -- the image that a build's step began with
  image_id  TEXT PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE,
  parent_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS image_parents_parent ON image_parents(parent_id);
`;

/**
 * Opens (and at first makes) the database. All of it is checked: it is small, and what a bad card has
 * made of it must not come out in the middle of an operation.
 * @param onNew called in the transaction that makes its tables: what it enters is there from the
 * first moment on, or the next start begins anew; may refuse by an error
 * @throws dataLoss when the file is damaged; unavailable when another version wrote it that
 * this one cannot read, or it cannot be opened
 */
export function openDatabase(
  file: string,
  onNew: (database: Database) => void = () => undefined,
): Database {
  const db = openFile(file);
  const database = databaseOn(db);
  try {
    db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;');
    db.exec('PRAGMA wal_autocheckpoint=64; PRAGMA cache_size=-512; PRAGMA busy_timeout=5000;');
    if (checkVersion(db, file) === SCHEMA_VERSION) db.exec(ADDED);
    else {
      database.transaction(() => {
        db.exec(`${SCHEMA} ${ADDED} PRAGMA user_version=${SCHEMA_VERSION};`);
        onNew(database);
      });
    }
    const problem = db.prepare('PRAGMA quick_check(1)').get()?.['quick_check'];
    if (problem !== 'ok') throw damaged(file, String(problem));
  } catch (error) {
    db.close();
    throw openingError(file, error);
  }
  return database;
}

/**
 * Opens a copy of a database of `file` to look something up. It is not changed to the schema of
 * today: what an older version did not have reads as undefined.
 * @throws dataLoss when it is damaged; unavailable when another version wrote it that this one
 * cannot read
 */
export function openDatabaseCopy(copy: string, file: string): Database {
  const db = openFile(copy);
  try {
    checkVersion(db, file);
  } catch (error) {
    db.close();
    throw openingError(file, error);
  }
  return databaseOn(db);
}

function openFile(file: string): DatabaseSync {
  try {
    return new DatabaseSync(file);
  } catch (cause) {
    throw unavailable(`cannot open the database ${file}: ${messageOf(cause)}`, { cause });
  }
}

/** SQLITE_CORRUPT and SQLITE_NOTADB; others are the disk's affair: full, read-only, failing. */
const DAMAGE: ReadonlySet<number> = new Set([11, 26]);

function openingError(file: string, error: unknown): unknown {
  if (!(error instanceof Error && 'errcode' in error)) return error;
  if (DAMAGE.has(Number(error.errcode) & 0xff)) return damaged(file, error.message, error);
  return unavailable(`cannot open the database ${file}: ${error.message}`, { cause: error });
}

function damaged(file: string, why: string, cause?: unknown): Error {
  const containers = path.join(path.dirname(file), 'containers');
  return dataLoss(
    `the database ${file} is damaged (${why}): put a copy of it back, or move it and ${containers} aside to start anew with the layers and volumes that are here`,
    { cause },
  );
}

function databaseOn(db: DatabaseSync): Database {
  const statements = new Map<string, StatementSync>();
  return {
    sql: (text) => {
      let statement = statements.get(text);
      if (statement === undefined) {
        statement = db.prepare(text);
        statements.set(text, statement);
      }
      return statement;
    },
    transaction: (body) => {
      db.exec('BEGIN IMMEDIATE');
      try {
        const result = body();
        db.exec('COMMIT');
        return result;
      } catch (error) {
        if (db.isTransaction) db.exec('ROLLBACK');
        throw error;
      }
    },
    close: () => db.close(),
  };
}

/** The version of a database's schema, 0 for a new one. @throws unavailable when it is not ours */
function checkVersion(db: DatabaseSync, file: string): number {
  const row = db.prepare('PRAGMA user_version').get() as { user_version: number };
  if (row.user_version > SCHEMA_VERSION) {
    throw unavailable(
      `cannot open the database ${file}: a newer version of Coracle wrote it. Install that version or later`,
    );
  }
  if (row.user_version > 0 && row.user_version < SCHEMA_VERSION) {
    throw unavailable(
      `cannot open the database ${file}: a Coracle from before its first release wrote it, and kept layers in another way. Move ${path.dirname(file)} aside to start anew`,
    );
  }
  return row.user_version;
}
