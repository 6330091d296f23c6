import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/**
 * Myelin's own index of messages in scripts without spaces, in a schema of its own that Synapse never looks at. It follows the events: what
 * Synapse stored in the meantime, and what was there before, is added later. The schema must never be named like a database user: by
 * Postgres' usual search path it would stand before Synapse's tables.
 */
const TABLES = `
  CREATE SCHEMA IF NOT EXISTS myelin_search;
  CREATE TABLE IF NOT EXISTS myelin_search.message_search (
    event_id text PRIMARY KEY,
    room_id text NOT NULL,
    key text NOT NULL,
    text text NOT NULL,
    grams text[] NOT NULL,
    stream_ordering bigint NOT NULL,
    origin_server_ts bigint NOT NULL
  );
  CREATE INDEX IF NOT EXISTS message_search_grams ON myelin_search.message_search USING gin (grams);
  CREATE TABLE IF NOT EXISTS myelin_search.message_search_position (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    newest bigint NOT NULL,
    oldest bigint NOT NULL
  );`;

export async function createMessageSearch(txn: Txn): Promise<void> {
  await execute(txn, TABLES);
}

/** Events at positions above `oldest` (exclusive) and up to `newest` were looked at. */
export interface IndexedRange {
  readonly newest: number;
  readonly oldest: number;
}

/** What is indexed; at first nothing, around `start`. */
export async function indexedRange(txn: Txn, start: number): Promise<IndexedRange> {
  await execute(txn, "INSERT INTO myelin_search.message_search_position (newest, oldest) VALUES ($1, $1::bigint + 1) ON CONFLICT DO NOTHING", [start]);
  return (await queryOne<IndexedRange>(txn, "SELECT newest, oldest FROM myelin_search.message_search_position"))!;
}

export async function setIndexedRange(txn: Txn, range: IndexedRange): Promise<void> {
  await execute(txn, "UPDATE myelin_search.message_search_position SET newest = $1, oldest = $2", [range.newest, range.oldest]);
}

export interface PositionedEvent {
  readonly id: string;
  readonly position: number;
}

const LOOKED_AT = "e.type IN ('m.room.message', 'm.room.name', 'm.room.topic', 'm.room.redaction') AND NOT e.outlier";

/** Events that may have to do with the index, after one position up to another, in their order. */
export async function eventsToIndexAfter(h: ReadHandle, after: number, upTo: number, limit: number): Promise<PositionedEvent[]> {
  return await query(
    h,
    `SELECT e.event_id AS id, e.stream_ordering AS position FROM events AS e
      WHERE e.stream_ordering > $1 AND e.stream_ordering <= $2 AND ${LOOKED_AT} ORDER BY e.stream_ordering LIMIT $3`,
    [after, upTo, limit],
  );
}

/** The same backwards, down to a position. */
export async function eventsToIndexBefore(h: ReadHandle, before: number, downTo: number, limit: number): Promise<PositionedEvent[]> {
  return await query(
    h,
    `SELECT e.event_id AS id, e.stream_ordering AS position FROM events AS e
      WHERE e.stream_ordering < $1 AND e.stream_ordering >= $2 AND ${LOOKED_AT} ORDER BY e.stream_ordering DESC LIMIT $3`,
    [before, downTo, limit],
  );
}

export interface IndexedMessage {
  readonly eventId: string;
  readonly roomId: string;
  readonly key: string;
  /** Normalised. */
  readonly text: string;
  readonly grams: readonly string[];
  readonly streamOrdering: number;
  readonly originServerTs: number;
}

export async function indexMessages(txn: Txn, messages: readonly IndexedMessage[]): Promise<void> {
  if (messages.length === 0) return;
  await execute(
    txn,
    `INSERT INTO myelin_search.message_search (event_id, room_id, key, text, grams, stream_ordering, origin_server_ts)
     SELECT m.event_id, m.room_id, m.key, m.text, ARRAY(SELECT jsonb_array_elements_text(m.grams)), m.stream_ordering, m.origin_server_ts
       FROM jsonb_to_recordset($1::jsonb) AS m (event_id text, room_id text, key text, text text, grams jsonb, stream_ordering bigint, origin_server_ts bigint)
     ON CONFLICT (event_id) DO NOTHING`,
    [
      JSON.stringify(
        messages.map((message) => ({
          event_id: message.eventId,
          room_id: message.roomId,
          key: message.key,
          text: message.text,
          grams: message.grams,
          stream_ordering: message.streamOrdering,
          origin_server_ts: message.originServerTs,
        })),
      ),
    ],
  );
}

/** Takes out what these events redact. */
export async function unindexRedacted(txn: Txn, redactionIds: readonly string[]): Promise<void> {
  await execute(txn, "DELETE FROM myelin_search.message_search AS m USING redactions AS r WHERE r.redacts = m.event_id AND r.event_id = ANY($1::text[])", [
    redactionIds,
  ]);
}

/** Takes out events that are gone (purged rooms and history) or redacted; returns how many. */
export async function unindexGone(txn: Txn): Promise<number> {
  return await execute(
    txn,
    `DELETE FROM myelin_search.message_search AS m
      WHERE NOT EXISTS (SELECT FROM events AS e WHERE e.event_id = m.event_id)
         OR EXISTS (SELECT FROM redactions AS r WHERE r.redacts = m.event_id AND r.have_censored)`,
  );
}
