import type { DatabaseSync, SQLOutputValue } from "node:sqlite";

/** Of the entries of a card's lane (`cardLane` in store.ts). */
const IS_CARD = "substr(lane, length(account) + 1, 6) = char(10) || 'card:'";

/** Epoch milliseconds of the commit. */
const NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/**
 * The attempt that ends now, added to those before: what it came to, and why. Long histories lose their middle: the first ten and the
 * last ten attempts are kept.
 */
const ATTEMPTED = `
  json_insert(iif(json_array_length(history) >= 20, json_remove(history, '$[10]'), ifnull(history, '[]')), '$[#]',
    json_object('at', begun_at, 'ms', ${NOW} - begun_at, 'outcome', :outcome, 'code', :code, 'detail', substr(:detail, 1, 160)))`;

/** Every statement of the store, prepared once. */
export function prepareStatements(db: DatabaseSync) {
  const p = (sql: string) => db.prepare(sql);
  // Rows as arrays, because a start with 100,000 lanes takes half the time and memory that way.
  const heads = p(`
    SELECT lane, seq, due_at, crashes FROM entries
    WHERE seq IN (SELECT min(seq) FROM entries WHERE queue = ? AND state = 'open' GROUP BY lane) ORDER BY seq`);
  heads.setReturnArrays(true);
  return {
    insert: p(`
      INSERT INTO entries (queue, id, key, account, lane, kind, body, digest, created_at, due_at,
                           state, settled_at, error_code, error_detail, sender, in_reply_to, stored_at)
      VALUES (:queue, :id, :key, :account, :lane, :kind, :body, :digest, :at, 0,
              :state, :settledAt, :errorCode, :errorDetail, :sender, :inReplyTo, ${NOW})
      ON CONFLICT DO NOTHING RETURNING seq`),
    // A row when the lane has more open entries than the offset: an index walk of at most so many steps.
    laneHas: p("SELECT 1 FROM entries WHERE queue = ? AND lane = ? AND state = 'open' LIMIT 1 OFFSET ?"),
    // Every lane begins with its account and a line break: the index alone tells.
    openOf: p(`
      SELECT count(*) AS n FROM entries
      WHERE queue = :queue AND state = 'open' AND lane > :account || char(10) AND lane < :account || char(11)`),
    openCount: p("SELECT n FROM open_counts WHERE queue = ?"),
    byKey: p("SELECT seq, id, digest, lane FROM entries WHERE queue = ? AND key = ?"),
    byId: p("SELECT * FROM entries WHERE queue = ? AND id = ?"),
    insertPart: p("INSERT INTO parts (entry, n, body) VALUES (?, ?, ?)"),
    parts: p("SELECT * FROM parts WHERE entry = ? ORDER BY n"),
    deliverPart: p("UPDATE parts SET receipt = ? WHERE entry = ? AND n = ?"),
    // The expression is that of the index parts_sent, to the letter.
    sentMessage: p(`
      SELECT parts.body, json_extract(parts.receipt, '$.at') AS at, entries.id FROM parts JOIN entries ON seq = entry
      WHERE json_extract(parts.receipt, '$.processQueryKey') = ? AND account = ? AND queue = 'outbox'
      ORDER BY entry DESC, n DESC LIMIT 1`),
    recalled: p(`
      UPDATE entries SET state = 'cancelled', settled_at = :at, error_code = 'recalled', error_detail = 'taken back after it was sent'
      WHERE queue = :queue AND id = :id AND state = 'delivered'`),

    heads: (queue: string) => heads.all(queue) as unknown as SQLOutputValue[][],
    head: p(`
      SELECT lane, seq, due_at, crashes FROM entries
      WHERE queue = ? AND lane = ? AND state = 'open' ORDER BY seq LIMIT 1`),
    front: p(`
      SELECT lane, seq, due_at, crashes FROM entries
      WHERE queue = ? AND lane = ? AND state = 'open' ORDER BY seq LIMIT ?`),
    waitingSince: p(`
      SELECT * FROM entries
      WHERE seq IN (SELECT min(seq) FROM entries WHERE queue = :queue AND state = 'open' GROUP BY lane)
        AND created_at < :before AND seq > :after
      ORDER BY seq LIMIT :limit`),
    countOfSender: p(`
      SELECT count(*) AS n FROM entries
      WHERE queue = 'inbox' AND account = ? AND sender = ? AND created_at >= ?
        AND ifnull(error_code, '') NOT IN ('person_limit', 'quota_exhausted')`),
    // Settled lately, or first of its lane: nothing else can have been sent in part or without an answer. What is done to a card is
    // no message to its conversation: `recentSends` leaves out the lanes of `cardLane`. `+` keeps the planner from going through all
    // of the outbox instead of what was settled lately.
    recentSends: p(`
      WITH sent AS (
        SELECT seq, lane, 0 AS uncertain, ${IS_CARD} AS card
        FROM entries WHERE +queue = 'outbox' AND state <> 'open' AND settled_at >= :from
        UNION ALL
        SELECT seq, lane, uncertain AND crashes, ${IS_CARD} FROM entries
        WHERE seq IN (SELECT min(seq) FROM entries WHERE queue = 'outbox' AND state = 'open' GROUP BY lane)
      )
      SELECT lane, json_extract(receipt, '$.at') AS at FROM sent JOIN parts ON entry = seq
      WHERE receipt IS NOT NULL AND json_extract(receipt, '$.at') >= :from AND NOT card
      UNION ALL SELECT lane, :now FROM sent WHERE uncertain AND NOT card
      ORDER BY at`),
    // What nobody has taken yet ends at once; what is under way ends if it is not taken now.
    cancelOf: p(`
      UPDATE entries SET state = 'cancelled', settled_at = :at, error_code = 'stopped', error_detail = 'its sender asked to stop'
      WHERE queue = 'inbox' AND lane = :lane AND sender = :sender AND state = 'open' AND begun = 0`),
    stopOf: p(`
      UPDATE entries SET stop_asked = 1
      WHERE queue = 'inbox' AND lane = :lane AND sender = :sender AND state = 'open' AND begun = 1`),
    acked: p("UPDATE entries SET acked_at = ? WHERE seq = ? AND acked_at IS NULL"),
    begin: p(`UPDATE entries SET begun = 1, begun_at = ${NOW} WHERE seq = ? AND state = 'open' RETURNING *`),
    later: p(`
      UPDATE entries SET begun = 0, due_at = :dueAt, attempts = attempts + :counted,
             uncertain = max(uncertain, :uncertain), error_code = iif(stop_asked, 'stopped', :code), error_detail = :detail,
             state = iif(stop_asked, 'cancelled', 'open'), settled_at = iif(stop_asked, :dueAt, NULL),
             history = iif(:outcome IS NULL, history, ${ATTEMPTED})
      WHERE seq = :seq AND state = 'open'`),
    dueBy: p("UPDATE entries SET due_at = :latest WHERE queue = :queue AND state = 'open' AND due_at > :latest"),
    done: p(`
      UPDATE entries SET begun = 0, state = :state, settled_at = :at, receipt = :receipt,
             uncertain = max(uncertain, :uncertain), error_code = :code, error_detail = :detail,
             history = iif(:outcome IS NULL, history, ${ATTEMPTED})
      WHERE seq = :seq AND state = 'open'`),
    cancel: p(`
      UPDATE entries SET state = 'cancelled', settled_at = :at
      WHERE queue = :queue AND id = :id AND state = 'open' AND begun = 0
        AND NOT EXISTS (SELECT 1 FROM parts WHERE entry = seq AND receipt IS NOT NULL)`),
    // Its sender asked to stop while it was under way: it is not given again.
    crashed: p(`
      UPDATE entries SET begun = 0, crashes = crashes + 1, uncertain = 1,
             state = iif(stop_asked, 'cancelled', 'open'), error_code = iif(stop_asked, 'stopped', error_code),
             settled_at = iif(stop_asked, ${NOW}, NULL),
             history = json_insert(ifnull(history, '[]'), '$[#]', json_object('at', begun_at, 'outcome', 'interrupted'))
      WHERE begun = 1`),

    dead: p(`
      SELECT * FROM entries WHERE state = 'dead' AND seq < :before
        AND (:accounts IS NULL OR account IN (SELECT value FROM json_each(:accounts)))
      ORDER BY seq DESC LIMIT :limit`),
    // Both conditions on `state`: as for `purgeSettled`.
    deadSince: p(`
      SELECT * FROM entries WHERE state <> 'open' AND state = 'dead' AND settled_at > ?
      ORDER BY settled_at DESC LIMIT 1000`),
    replay: p(`
      UPDATE entries SET state = 'open', due_at = :at, attempts = 0, crashes = 0, stop_asked = 0, created_at = :at,
             settled_at = NULL
      WHERE queue = :queue AND id = :id AND state = 'dead' RETURNING *`),
    discard: p("DELETE FROM entries WHERE queue = ? AND id = ? AND state = 'dead'"),
    countOpen: p(`
      SELECT (SELECT n FROM open_counts WHERE queue = :queue) AS n,
             (SELECT min(created_at) FROM entries WHERE queue = :queue AND state = 'open') AS oldest`),
    countDead: p("SELECT count(*) AS n FROM entries WHERE queue = ? AND state = 'dead'"),

    seen: p(`
      INSERT INTO conversations (account, id, kind, title, staff_id, webhook, webhook_expires_at, last_seen)
      VALUES (:account, :id, :kind, :title, :staffId, :webhook, :webhookExpiresAt, :lastSeen)
      ON CONFLICT (account, id) DO UPDATE SET
        kind = excluded.kind,
        title = coalesce(excluded.title, title),
        staff_id = coalesce(excluded.staff_id, staff_id),
        webhook = iif(excluded.webhook_expires_at >= ifnull(webhook_expires_at, 0), excluded.webhook, webhook),
        webhook_expires_at = max(ifnull(excluded.webhook_expires_at, webhook_expires_at),
                                 ifnull(webhook_expires_at, excluded.webhook_expires_at)),
        last_seen = max(last_seen, excluded.last_seen)`),
    conversation: p("SELECT * FROM conversations WHERE account = ? AND id = ?"),
    anyConversation: p("SELECT 1 FROM conversations WHERE account = ? LIMIT 1"),
    direct: p(`
      SELECT * FROM conversations WHERE account = ? AND staff_id = ? AND kind = 'direct'
      ORDER BY last_seen DESC LIMIT 1`),
    mergeLane: p("UPDATE entries SET lane = :to WHERE queue = 'outbox' AND lane = :from AND state = 'open'"),
    mergeStreams: p("UPDATE streams SET lane = :to WHERE lane = :from AND state = 'open'"),

    // Both conditions on `state`: the planner needs the first to use the partial index entries_settled.
    purgeSettled: p(`
      DELETE FROM entries WHERE seq IN (
        SELECT seq FROM entries
        WHERE state <> 'open' AND state IN ('delivered', 'cancelled') AND settled_at < ? LIMIT ?)`),
    purgeDead: p(
      "DELETE FROM entries WHERE seq IN (SELECT seq FROM entries WHERE state = 'dead' AND settled_at < ? LIMIT ?)",
    ),
    purgeConversations: p("DELETE FROM conversations WHERE last_seen < ?"),
    wipeWebhooks: p("UPDATE conversations SET webhook = NULL, webhook_expires_at = NULL WHERE webhook_expires_at < ?"),
  };
}

export type Statements = ReturnType<typeof prepareStatements>;
