import type { DatabaseSync } from "node:sqlite";

/** Every statement about streams, prepared once. */
export function prepareStreamStatements(db: DatabaseSync) {
  const p = (sql: string) => db.prepare(sql);
  return {
    insert: p(`
      INSERT INTO streams (id, account, lane, target, in_reply_to, idle_ms, mode, format, out_track_id, template_id, template_key,
                           card, text, seq, state, shown_text, digest, finished_by, message_id, created_at, closed_at, asked)
      VALUES (:id, :account, :lane, :to, :inReplyTo, :idleMs, :mode, :format, :outTrackId, :templateId, :templateKey,
              :card, :text, :seq, :state, :shownText, :digest, :finishedBy, :messageId, :createdAt, :closedAt, :asked)
      ON CONFLICT DO NOTHING`),
    find: p("SELECT * FROM streams WHERE id = ?"),
    open: p("SELECT * FROM streams WHERE state = 'open' ORDER BY created_at, rowid"),
    note: p(`
      UPDATE streams SET card = ifnull(:card, card), text = ifnull(:text, text), seq = ifnull(:seq, seq),
             shown_text = ifnull(:shownText, shown_text)
      WHERE id = :id AND state = 'open'`),
    close: p(`
      UPDATE streams SET state = 'closed', text = :text, digest = :digest, finished_by = :finishedBy, closed_at = :at,
             card = ifnull(:card, card), message_id = ifnull(:messageId, message_id)
      WHERE id = :id AND state = 'open'`),
    fill: p(`
      UPDATE streams SET shown_text = :shownText, text = :text
      WHERE id = :id AND state = 'open' AND shown_text = ''`),
    purge: p(`
      DELETE FROM streams WHERE rowid IN (SELECT rowid FROM streams WHERE state = 'closed' AND closed_at < ? LIMIT ?)`),
  };
}
