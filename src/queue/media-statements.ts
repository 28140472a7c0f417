import type { DatabaseSync } from "node:sqlite";

/** Rows that are looked at before the event loop gets its turn. */
const PAGE = 1_000;

const IN_USE = `(
  EXISTS (SELECT 1 FROM media_fetches f JOIN entries ON seq = f.entry WHERE f.media = media.id AND state = 'open')
  OR EXISTS (SELECT 1 FROM media_uses u JOIN entries ON seq = u.entry WHERE u.media = media.id AND state = 'open'))`;

const FETCH = "SELECT entry, n, fetch, f.attempts, media, f.error_code, f.error_detail, account, lane, created_at";

/** Every statement about files, prepared once. */
export function prepareMediaStatements(db: DatabaseSync) {
  const p = (sql: string) => db.prepare(sql);
  return {
    insert: p(`
      INSERT INTO media (id, account, origin, mime_type, bytes, sha256, file_name, duration_ms, width, height, created_at)
      VALUES (:id, :account, :origin, :mimeType, :bytes, :sha256, :fileName, :durationMs, :width, :height, :createdAt)
      ON CONFLICT DO NOTHING`),
    find: p("SELECT * FROM media WHERE id = ?"),
    ids: p("SELECT id FROM media"),
    totals: p("SELECT count(*) AS files, ifnull(sum(bytes), 0) AS bytes FROM media"),
    oldest: p(`
      SELECT id, bytes, created_at, ${IN_USE} AS used FROM media
      WHERE (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ${PAGE}`),
    remove: p(`DELETE FROM media WHERE id = ? AND NOT ${IN_USE}`),
    insertUse: p(`
      INSERT INTO media_uses (entry, media) SELECT seq, :media FROM entries WHERE seq = :seq
      ON CONFLICT DO NOTHING`),

    insertFetch: p("INSERT INTO media_fetches (entry, n, fetch) VALUES (?, ?, ?)"),
    fetchesOf: p(`${FETCH} FROM media_fetches f JOIN entries ON seq = entry WHERE entry = ? ORDER BY n`),
    unfinished: p(`
      ${FETCH} FROM media_fetches f JOIN entries ON seq = entry
      WHERE media IS NULL AND f.error_code IS NULL AND state = 'open' ORDER BY entry, n`),
    begun: p("UPDATE media_fetches SET attempts = attempts + 1 WHERE entry = ? AND n = ?"),
    settled: p(`
      UPDATE media_fetches SET media = :media, error_code = :code, error_detail = :detail
      WHERE entry = :seq AND n = :n AND media IS NULL AND error_code IS NULL`),

    uploaded: p("SELECT media_id FROM media_uploads WHERE account = ? AND sha256 = ? AND type = ? AND at >= ?"),
    remember: p(`
      INSERT INTO media_uploads (account, sha256, type, media_id, at) VALUES (:account, :sha256, :type, :mediaId, :at)
      ON CONFLICT DO UPDATE SET media_id = excluded.media_id, at = excluded.at`),
    forget: p("DELETE FROM media_uploads WHERE account = ? AND media_id = ?"),
    purgeUploads: p("DELETE FROM media_uploads WHERE at < ?"),
  };
}
