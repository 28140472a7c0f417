import { chmodSync, renameSync, rmSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { BridgeError } from "../domain/errors.ts";

/**
 * Migrations in order; `user_version` counts those applied. A migration is never edited once released: add another.
 * Before you do, keep what a bridge of the present schema leaves: `node test/fixtures/upgrade/make.ts <its number>`.
 *
 * `entries_open` makes a lane's head an index look-up (3–7 µs with 100,000 rows behind a blocked lane; a claim query
 * that searches for earlier entries of the lane was tried and took 95 ms).
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE entries (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    queue        TEXT NOT NULL CHECK (queue IN ('inbox', 'outbox')),
    id           TEXT NOT NULL,
    key          TEXT NOT NULL,
    account      TEXT NOT NULL,
    lane         TEXT NOT NULL,
    kind         TEXT NOT NULL,
    body         TEXT NOT NULL,
    digest       TEXT,
    created_at   INTEGER NOT NULL,
    state        TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'delivered', 'cancelled', 'dead')),
    begun        INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    crashes      INTEGER NOT NULL DEFAULT 0,
    due_at       INTEGER NOT NULL DEFAULT 0,
    uncertain    INTEGER NOT NULL DEFAULT 0,
    settled_at   INTEGER,
    receipt      TEXT,
    error_code   TEXT,
    error_detail TEXT
  ) STRICT;
  CREATE UNIQUE INDEX entries_key ON entries (queue, key);
  CREATE UNIQUE INDEX entries_id ON entries (queue, id);
  CREATE INDEX entries_open ON entries (queue, lane, seq) WHERE state = 'open';
  CREATE INDEX entries_open_age ON entries (queue, created_at) WHERE state = 'open';
  CREATE INDEX entries_begun ON entries (seq) WHERE begun = 1;
  CREATE INDEX entries_dead ON entries (seq) WHERE state = 'dead';
  CREATE INDEX entries_settled ON entries (settled_at) WHERE state <> 'open';

  CREATE TABLE parts (
    entry   INTEGER NOT NULL REFERENCES entries (seq) ON DELETE CASCADE,
    n       INTEGER NOT NULL,
    body    TEXT NOT NULL,
    receipt TEXT,
    PRIMARY KEY (entry, n)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE conversations (
    account            TEXT NOT NULL,
    id                 TEXT NOT NULL,
    kind               TEXT NOT NULL CHECK (kind IN ('direct', 'group')),
    title              TEXT,
    staff_id           TEXT,
    webhook            TEXT,
    webhook_expires_at INTEGER,
    last_seen          INTEGER NOT NULL,
    PRIMARY KEY (account, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX conversations_staff ON conversations (account, staff_id, last_seen) WHERE kind = 'direct';
  CREATE INDEX conversations_webhook ON conversations (webhook_expires_at) WHERE webhook IS NOT NULL;
  `,
  // Who wrote a message, for stop words and limits per person; and that its sender asked to stop while it was under way.
  `
  ALTER TABLE entries ADD COLUMN sender TEXT;
  ALTER TABLE entries ADD COLUMN stop_asked INTEGER NOT NULL DEFAULT 0;
  `,
  // Open entries per queue, kept by the database itself, so that a bound costs no count and no write path can forget it.
  `
  CREATE TABLE open_counts (queue TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO open_counts VALUES
    ('inbox', (SELECT count(*) FROM entries WHERE queue = 'inbox' AND state = 'open')),
    ('outbox', (SELECT count(*) FROM entries WHERE queue = 'outbox' AND state = 'open'));
  CREATE TRIGGER entries_count_insert AFTER INSERT ON entries WHEN NEW.state = 'open' BEGIN
    UPDATE open_counts SET n = n + 1 WHERE queue = NEW.queue;
  END;
  CREATE TRIGGER entries_count_update AFTER UPDATE OF state ON entries
  WHEN (OLD.state = 'open') <> (NEW.state = 'open') BEGIN
    UPDATE open_counts SET n = n + iif(NEW.state = 'open', 1, -1) WHERE queue = NEW.queue;
  END;
  CREATE TRIGGER entries_count_delete AFTER DELETE ON entries WHEN OLD.state = 'open' BEGIN
    UPDATE open_counts SET n = n - 1 WHERE queue = OLD.queue;
  END;
  `,
  // What DingTalk's monthly budgets were spent on (queue/quota-store.ts).
  `
  CREATE TABLE quota_usage (
    robot    TEXT NOT NULL,
    month    TEXT NOT NULL,
    class    TEXT NOT NULL,
    n        INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    PRIMARY KEY (robot, month, class)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE quota_robots (robot TEXT PRIMARY KEY, organisation TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE quota_closed (
    robot      TEXT NOT NULL,
    budget     TEXT NOT NULL CHECK (budget IN ('calls', 'units')),
    since      INTEGER NOT NULL,
    refused_at INTEGER NOT NULL,
    detail     TEXT NOT NULL,
    PRIMARY KEY (robot, budget)
  ) STRICT, WITHOUT ROWID;
  `,
  // `limits.perPersonPerDay` counts a person's messages: without it the count took 13 % of the processor under load.
  "CREATE INDEX entries_sender ON entries (account, sender, created_at) WHERE queue = 'inbox' AND sender IS NOT NULL",
  // Files, what they are fetched for and used by, and what DingTalk has of them already (queue/media-store.ts). A fetch names its file
  // without a foreign key: that the file was there must be known after it has expired.
  // `parts_sent` is the journal of what was sent: DingTalk names a message by `processQueryKey` when somebody quotes it.
  `
  CREATE TABLE media (
    id          TEXT PRIMARY KEY,
    account     TEXT NOT NULL,
    origin      TEXT NOT NULL CHECK (origin IN ('inbound', 'upload', 'url')),
    mime_type   TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    file_name   TEXT,
    duration_ms INTEGER,
    width       INTEGER,
    height      INTEGER,
    created_at  INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX media_age ON media (created_at, id, bytes);

  CREATE TABLE media_fetches (
    entry        INTEGER NOT NULL REFERENCES entries (seq) ON DELETE CASCADE,
    n            INTEGER NOT NULL,
    fetch        TEXT NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    media        TEXT,
    error_code   TEXT,
    error_detail TEXT,
    PRIMARY KEY (entry, n)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX media_fetches_unfinished ON media_fetches (entry, n) WHERE media IS NULL AND error_code IS NULL;
  CREATE INDEX media_fetches_media ON media_fetches (media) WHERE media IS NOT NULL;

  CREATE TABLE media_uses (
    entry INTEGER NOT NULL REFERENCES entries (seq) ON DELETE CASCADE,
    media TEXT NOT NULL,
    PRIMARY KEY (entry, media)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX media_uses_media ON media_uses (media);

  CREATE TABLE media_uploads (
    account  TEXT NOT NULL,
    sha256   TEXT NOT NULL,
    type     TEXT NOT NULL,
    media_id TEXT NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (account, sha256, type)
  ) STRICT, WITHOUT ROWID;

  CREATE INDEX parts_sent ON parts (json_extract(receipt, '$.processQueryKey'))
  WHERE json_extract(receipt, '$.processQueryKey') IS NOT NULL;
  `,
  // Replies that grow and the cards that show them (queue/stream-store.ts); reactions to be taken back (queue/indicator-store.ts).
  `
  CREATE TABLE streams (
    rowid        INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    account      TEXT NOT NULL,
    lane         TEXT NOT NULL,
    target       TEXT NOT NULL,
    in_reply_to  TEXT,
    idle_ms      INTEGER NOT NULL,
    mode         TEXT NOT NULL CHECK (mode IN ('card', 'buffered')),
    format       TEXT NOT NULL CHECK (format IN ('markdown', 'text')),
    out_track_id TEXT NOT NULL UNIQUE,
    template_id  TEXT NOT NULL,
    template_key TEXT NOT NULL,
    card         TEXT NOT NULL CHECK (card IN ('none', 'creating', 'shown', 'finished', 'failed')),
    text         TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('open', 'closed')),
    shown_text   TEXT NOT NULL,
    digest       TEXT,
    finished_by  TEXT CHECK (finished_by IN ('gateway', 'idle', 'restart')),
    message_id   TEXT,
    created_at   INTEGER NOT NULL,
    closed_at    INTEGER,
    CHECK ((state = 'closed') = (closed_at IS NOT NULL))
  ) STRICT;
  CREATE INDEX streams_open ON streams (created_at) WHERE state = 'open';
  CREATE INDEX streams_lane ON streams (lane) WHERE state = 'open';
  CREATE INDEX streams_closed ON streams (closed_at) WHERE state = 'closed';

  CREATE TABLE indicators (
    account         TEXT NOT NULL,
    msg_id          TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    name            TEXT NOT NULL,
    at              INTEGER NOT NULL,
    PRIMARY KEY (account, msg_id)
  ) STRICT, WITHOUT ROWID;
  `,
  // How the caller asked a reply to be shown, which goes before the account's settings after a restart, too.
  "ALTER TABLE streams ADD COLUMN asked TEXT CHECK (asked IN ('auto', 'card', 'markdown', 'text'))",
  // The life of a message (queue/life.ts): when it was committed and acknowledged, its attempts, and what an outbox message answers, which
  // must be known when its body is gone: `wiped` (queue/wipe.ts).
  `
  ALTER TABLE entries ADD COLUMN stored_at INTEGER;
  ALTER TABLE entries ADD COLUMN acked_at INTEGER;
  ALTER TABLE entries ADD COLUMN begun_at INTEGER;
  ALTER TABLE entries ADD COLUMN history TEXT;
  ALTER TABLE entries ADD COLUMN in_reply_to TEXT;
  ALTER TABLE entries ADD COLUMN wiped INTEGER NOT NULL DEFAULT 0;
  UPDATE entries SET in_reply_to = json_extract(body, '$.inReplyTo') WHERE queue = 'outbox';
  CREATE INDEX entries_reply ON entries (in_reply_to) WHERE in_reply_to IS NOT NULL;
  `,
];

export const SCHEMA_VERSION = MIGRATIONS.length;
/** What to do with a data directory of a newer release. */
export const BACK =
  "install the newer release again, use another BRIDGE_DATA_DIR, or go back to the copy that the upgrade made there (bridge.schema-N.backup.db): docs/operations.md, Upgrade";

/**
 * Brings the database to the last of `migrations`, each in a transaction of its own. `backup` is called before anything is changed in a database that holds data.
 * Throws BridgeError `schema_newer` for a database of a later release.
 */
export function migrate(
  db: DatabaseSync,
  backup: (fromVersion: number) => void,
  migrations: readonly string[] = MIGRATIONS,
): void {
  const version = Number(db.prepare("PRAGMA user_version").get()?.["user_version"] ?? 0);
  if (version > migrations.length) {
    throw new BridgeError(
      "schema_newer",
      `the data directory was written by a newer release (schema ${version}, this release knows ${migrations.length})`,
      { mend: BACK },
    );
  }
  if (version === migrations.length) return;
  if (version > 0) backup(version);
  for (const [index, sql] of migrations.entries()) {
    if (index < version) continue;
    try {
      db.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${index + 1}; COMMIT`);
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK");
      throw error;
    }
  }
}

/** Copies the database to `file`, which has that name only when it is whole; one left by a start that failed afterwards is replaced. */
export function backUp(db: DatabaseSync, file: string): void {
  const partial = `${file}.partial`;
  rmSync(partial, { force: true });
  db.prepare("VACUUM INTO ?").run(partial);
  chmodSync(partial, 0o600);
  renameSync(partial, file);
}
