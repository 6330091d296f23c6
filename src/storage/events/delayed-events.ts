import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** A row of `delayed_events` (MSC4140). */
export interface DelayedEvent {
  readonly delay_id: string;
  /** The owner, a user of this server. */
  readonly user_localpart: string;
  readonly device_id: string | null;
  /** Milliseconds. */
  readonly delay: number;
  /** When it is sent, ms. */
  readonly send_ts: number;
  readonly room_id: string;
  readonly event_type: string;
  readonly state_key: string | null;
  /** What appservices say. */
  readonly origin_server_ts: number | null;
  /** JSON text. */
  readonly content: string;
  readonly sticky_duration_ms: number | null;
}

const COLUMNS = "delay_id, user_localpart, device_id, delay, send_ts, room_id, event_type, state_key, origin_server_ts, content, sticky_duration_ms";

/**
 * When the next one of the owner's events goes that makes room for another one; undefined when there is room. With more events than
 * `limit` (it was lowered) several have to go.
 */
export async function delayedEventRoomAt(txn: Txn, userLocalpart: string, limit: number): Promise<number | undefined> {
  const row = await queryOne<{ send_ts: number }>(
    txn,
    `SELECT send_ts FROM delayed_events WHERE user_localpart = $1 ORDER BY send_ts
     OFFSET (SELECT greatest(count(*) - $2, 0) FROM delayed_events WHERE user_localpart = $1)
     LIMIT CASE WHEN (SELECT count(*) FROM delayed_events WHERE user_localpart = $1) >= $2 THEN 1 ELSE 0 END`,
    [userLocalpart, limit],
  );
  return row?.send_ts;
}

export async function insertDelayedEvent(txn: Txn, event: DelayedEvent): Promise<void> {
  await execute(txn, `INSERT INTO delayed_events (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, [
    event.delay_id,
    event.user_localpart,
    event.device_id,
    event.delay,
    event.send_ts,
    event.room_id,
    event.event_type,
    event.state_key,
    event.origin_server_ts,
    event.content,
    event.sticky_duration_ms,
  ]);
}

/** What waits of a user, the next one first. */
export function delayedEventsOf(read: ReadHandle, userLocalpart: string): Promise<DelayedEvent[]> {
  return query<DelayedEvent>(read, `SELECT ${COLUMNS} FROM delayed_events WHERE user_localpart = $1 AND NOT is_processed ORDER BY send_ts`, [userLocalpart]);
}

/** True while there are any, those that are being sent among them. */
export async function anyDelayedEvents(read: ReadHandle): Promise<boolean> {
  return (await queryOne(read, `SELECT 1 AS found FROM delayed_events LIMIT 1`, [])) !== undefined;
}

/** When the next one is to be sent, ms. */
export async function nextDelayedSend(read: ReadHandle): Promise<number | undefined> {
  const row = await queryOne<{ next: number | null }>(read, `SELECT min(send_ts) AS next FROM delayed_events WHERE NOT is_processed`, []);
  return row?.next ?? undefined;
}

/** Takes what is due, to be sent by the caller, in its order. */
export function takeDueEvents(txn: Txn, now: number): Promise<DelayedEvent[]> {
  return query<DelayedEvent>(
    txn,
    `WITH due AS (UPDATE delayed_events SET is_processed = true WHERE send_ts <= $1 AND NOT is_processed RETURNING *)
     SELECT ${COLUMNS} FROM due ORDER BY send_ts`,
    [now],
  );
}

/** Takes one to be sent before its time; undefined when it is not there or taken already. */
export function takeDelayedEvent(txn: Txn, delayId: string): Promise<DelayedEvent | undefined> {
  return queryOne<DelayedEvent>(txn, `UPDATE delayed_events SET is_processed = true WHERE delay_id = $1 AND NOT is_processed RETURNING ${COLUMNS}`, [delayId]);
}

/** How many of the last events of a room are searched for what was sent before a crash. */
const SEARCHED = 1_000;

/** What was taken before the server stopped and is not in its room: it is still to be sent. What is in its room is deleted. */
export async function takenEvents(txn: Txn, serverName: string): Promise<DelayedEvent[]> {
  await execute(
    txn,
    `DELETE FROM delayed_events AS d WHERE d.is_processed AND EXISTS (
       SELECT 1 FROM (
         SELECT e.event_id, e.sender, e.type FROM events AS e WHERE e.room_id = d.room_id ORDER BY e.stream_ordering DESC LIMIT ${SEARCHED}
       ) AS sent JOIN event_json AS j ON j.event_id = sent.event_id
       WHERE sent.sender = '@' || d.user_localpart || ':' || $1 AND sent.type = d.event_type
         AND j.internal_metadata::jsonb ->> 'delay_id' = d.delay_id)`,
    [serverName],
  );
  return await query<DelayedEvent>(txn, `SELECT ${COLUMNS} FROM delayed_events WHERE is_processed ORDER BY send_ts`, []);
}

/** Lets the time of an event run anew. False when it is not there or being sent. */
export async function restartDelayedEvent(txn: Txn, delayId: string, now: number): Promise<boolean> {
  return (await execute(txn, `UPDATE delayed_events SET send_ts = $2::bigint + delay WHERE delay_id = $1 AND NOT is_processed`, [delayId, now])) > 0;
}

/** False when it is not there or being sent. */
export async function cancelDelayedEvent(txn: Txn, delayId: string): Promise<boolean> {
  return (await execute(txn, `DELETE FROM delayed_events WHERE delay_id = $1 AND NOT is_processed`, [delayId])) > 0;
}

/** Deletes events that were sent, or can never be. */
export async function deleteSentEvent(txn: Txn, delayId: string): Promise<void> {
  await execute(txn, `DELETE FROM delayed_events WHERE delay_id = $1 AND is_processed`, [delayId]);
}

/** Cancels the state events that wait for state which others than their owners changed, between two positions of the events stream. */
export async function cancelOvertakenStateEvents(txn: Txn, serverName: string, after: number, upTo: number): Promise<number> {
  return await execute(
    txn,
    `DELETE FROM delayed_events AS d
     USING current_state_delta_stream AS delta JOIN events AS e ON e.event_id = delta.event_id
     WHERE delta.stream_id > $2 AND delta.stream_id <= $3
       AND d.room_id = delta.room_id AND d.event_type = delta.type AND d.state_key = delta.state_key
       AND NOT d.is_processed AND e.sender <> '@' || d.user_localpart || ':' || $1`,
    [serverName, after, upTo],
  );
}

/** Up to where state was looked at. */
export async function delayedEventsPosition(read: ReadHandle): Promise<number> {
  return (await queryOne<{ stream_id: number }>(read, `SELECT stream_id FROM delayed_events_stream_pos`, []))?.stream_id ?? 0;
}

export async function saveDelayedEventsPosition(txn: Txn, position: number): Promise<void> {
  await execute(txn, `UPDATE delayed_events_stream_pos SET stream_id = $1`, [position]);
}

/** While nothing waits, the position stands still: it is brought up before something does. */
export async function skipDelayedEventsPosition(txn: Txn, position: number): Promise<void> {
  await execute(txn, `UPDATE delayed_events_stream_pos SET stream_id = $1 WHERE NOT EXISTS (SELECT 1 FROM delayed_events)`, [position]);
}
