import { stringifyAscii } from "../../lib/json.ts";
import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/**
 * `receipts_linearized` (the newest receipt of each user, type and thread, in stream order) and `receipts_graph` (the same by event ids).
 * `thread_id` NULL: an unthreaded receipt, unique by its own partial index.
 */
export interface NewReceipt {
  readonly roomId: string;
  /** `m.read`, `m.read.private`; other servers may send others. */
  readonly receiptType: string;
  readonly userId: string;
  /** The event read up to: of several the newest, see `newestEvent`. */
  readonly eventId: string;
  readonly eventIds: readonly string[];
  readonly threadId: string | null;
  /** JSON text: `{"ts": ...}` */
  readonly data: string;
}

export interface StoredReceipt {
  readonly roomId: string;
  readonly receiptType: string;
  readonly userId: string;
  readonly eventId: string;
  readonly threadId: string | null;
  /** JSON text. */
  readonly data: string;
}

/**
 * Writes receipts, each at its own stream position; returns those that were new. One that lies at or before the event of the stored
 * receipt of the same user, type and thread changes nothing. Events that the server does not have count as new, as in Synapse.
 * To run under READ COMMITTED. `receipts` holds no two of the same room, type, user and thread.
 */
export async function putReceipts(txn: Txn, receipts: readonly NewReceipt[], streamIds: readonly number[], instanceName: string): Promise<NewReceipt[]> {
  const stored = new Set<string>();
  const key = (r: { roomId: string; receiptType: string; userId: string; threadId: string | null }): string =>
    JSON.stringify([r.roomId, r.receiptType, r.userId, r.threadId]);
  for (const threaded of [false, true]) {
    const batch = receipts
      .map((receipt, index) => ({ receipt, streamId: streamIds[index]! }))
      .filter(({ receipt }) => (receipt.threadId !== null) === threaded);
    if (batch.length === 0) continue;
    const rows = await query<{ roomId: string; receiptType: string; userId: string; threadId: string | null }>(
      txn,
      `INSERT INTO receipts_linearized AS stored
         (stream_id, instance_name, room_id, receipt_type, user_id, thread_id, event_id, data, event_stream_ordering)
       SELECT new.stream_id, $8, new.room_id, new.receipt_type, new.user_id, new.thread_id, new.event_id, new.data, events.stream_ordering
       FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
         AS new (stream_id, room_id, receipt_type, user_id, thread_id, event_id, data)
       LEFT JOIN events ON events.event_id = new.event_id AND events.room_id = new.room_id
       ON CONFLICT ${threaded ? "(room_id, receipt_type, user_id, thread_id)" : "(room_id, receipt_type, user_id) WHERE thread_id IS NULL"}
       DO UPDATE SET stream_id = EXCLUDED.stream_id, instance_name = EXCLUDED.instance_name, event_id = EXCLUDED.event_id,
         data = EXCLUDED.data, event_stream_ordering = EXCLUDED.event_stream_ordering
       WHERE stored.event_stream_ordering IS NULL OR EXCLUDED.event_stream_ordering IS NULL
         OR stored.event_stream_ordering < EXCLUDED.event_stream_ordering
       RETURNING stored.room_id AS "roomId", stored.receipt_type AS "receiptType", stored.user_id AS "userId", stored.thread_id AS "threadId"`,
      [
        batch.map(({ streamId }) => streamId),
        ...(["roomId", "receiptType", "userId", "threadId", "eventId", "data"] as const).map((field) => batch.map(({ receipt }) => receipt[field])),
        instanceName,
      ],
    );
    for (const row of rows) stored.add(key(row));
    await putGraph(
      txn,
      batch.map(({ receipt }) => receipt).filter((receipt) => stored.has(key(receipt))),
      threaded,
    );
  }
  return receipts.filter((receipt) => stored.has(key(receipt)));
}

async function putGraph(txn: Txn, receipts: readonly NewReceipt[], threaded: boolean): Promise<void> {
  if (receipts.length === 0) return;
  await execute(
    txn,
    `INSERT INTO receipts_graph (room_id, receipt_type, user_id, thread_id, event_ids, data)
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
     ON CONFLICT ${threaded ? "(room_id, receipt_type, user_id, thread_id)" : "(room_id, receipt_type, user_id) WHERE thread_id IS NULL"}
     DO UPDATE SET event_ids = EXCLUDED.event_ids, data = EXCLUDED.data`,
    [
      receipts.map((receipt) => receipt.roomId),
      receipts.map((receipt) => receipt.receiptType),
      receipts.map((receipt) => receipt.userId),
      receipts.map((receipt) => receipt.threadId),
      receipts.map((receipt) => stringifyAscii(receipt.eventIds)),
      receipts.map((receipt) => receipt.data),
    ],
  );
}

const COLUMNS = `room_id AS "roomId", receipt_type AS "receiptType", user_id AS "userId", event_id AS "eventId", thread_id AS "threadId", data`;

/** All receipts of rooms at positions in (`after`, `upTo`]. */
export async function receiptsOfRooms(read: ReadHandle, roomIds: readonly string[], after: number, upTo: number): Promise<StoredReceipt[]> {
  return await query(read, `SELECT ${COLUMNS} FROM receipts_linearized WHERE room_id = ANY($1::text[]) AND stream_id > $2 AND stream_id <= $3`, [
    roomIds,
    after,
    upTo,
  ]);
}

/**
 * Receipts that point at these events, whenever sent (sliding sync: initial rooms show receipts of their timeline only), and a user's own ones in
 * the rooms at positions up to `upTo`.
 */
export async function receiptsOfEventsAndUser(
  read: ReadHandle,
  roomIds: readonly string[],
  eventIds: readonly string[],
  userId: string,
  upTo: number,
): Promise<StoredReceipt[]> {
  return await query(
    read,
    `SELECT ${COLUMNS} FROM receipts_linearized
     WHERE room_id = ANY($1::text[]) AND (event_id = ANY($2::text[]) OR (user_id = $3 AND stream_id <= $4))`,
    [roomIds, eventIds, userId, upTo],
  );
}

/** A user's own receipts in rooms at positions up to `upTo`. */
export async function receiptsOfUser(read: ReadHandle, userId: string, roomIds: readonly string[], upTo: number): Promise<StoredReceipt[]> {
  return await query(read, `SELECT ${COLUMNS} FROM receipts_linearized WHERE user_id = $1 AND room_id = ANY($2::text[]) AND stream_id <= $3`, [
    userId,
    roomIds,
    upTo,
  ]);
}

/** All receipts at positions in (`after`, `upTo`], oldest first, at most `limit` (appservices, federation). */
export async function receiptsBetween(read: ReadHandle, after: number, upTo: number, limit: number): Promise<(StoredReceipt & { streamId: number })[]> {
  return await query(
    read,
    `SELECT ${COLUMNS}, stream_id AS "streamId" FROM receipts_linearized WHERE stream_id > $1 AND stream_id <= $2 ORDER BY stream_id LIMIT $3`,
    [after, upTo, limit],
  );
}

/** The newest read position of a user in each room by any of the receipt types: event id and stream ordering of the event. */
export async function readPositionsOfUser(
  read: ReadHandle,
  userId: string,
  receiptTypes: readonly string[],
): Promise<Map<string, { eventId: string; streamOrdering: number }>> {
  const rows = await query<{ roomId: string; eventId: string; streamOrdering: number }>(
    read,
    `SELECT DISTINCT ON (receipts_linearized.room_id) receipts_linearized.room_id AS "roomId", receipts_linearized.event_id AS "eventId",
       events.stream_ordering AS "streamOrdering"
     FROM receipts_linearized JOIN events ON events.event_id = receipts_linearized.event_id AND events.room_id = receipts_linearized.room_id
     WHERE receipts_linearized.user_id = $1 AND receipts_linearized.receipt_type = ANY($2::text[])
     ORDER BY receipts_linearized.room_id, events.stream_ordering DESC`,
    [userId, receiptTypes],
  );
  return new Map(rows.map(({ roomId, ...position }) => [roomId, position]));
}

/** The newest of some events of a room, undefined when the server has none of them. */
export async function newestEvent(read: ReadHandle, roomId: string, eventIds: readonly string[]): Promise<string | undefined> {
  const row = await queryOne<{ event_id: string }>(
    read,
    `SELECT event_id FROM events WHERE room_id = $1 AND event_id = ANY($2::text[]) ORDER BY stream_ordering DESC LIMIT 1`,
    [roomId, eventIds],
  );
  return row?.event_id;
}

export interface EventPosition {
  readonly depth: number | bigint;
  readonly streamOrdering: number;
}

/** Where events of a room stand; those that the server does not have are left out. */
export async function eventPositions(read: ReadHandle, roomId: string, eventIds: readonly string[]): Promise<Map<string, EventPosition>> {
  const rows = await query<{ event_id: string; topological_ordering: number | bigint; stream_ordering: number }>(
    read,
    `SELECT event_id, topological_ordering, stream_ordering FROM events WHERE room_id = $1 AND event_id = ANY($2::text[])`,
    [roomId, eventIds],
  );
  return new Map(rows.map((row) => [row.event_id, { depth: row.topological_ordering, streamOrdering: row.stream_ordering }]));
}

/** Where events of any rooms stand; those that the server does not have are left out. */
export async function eventPositionsAnywhere(read: ReadHandle, eventIds: readonly string[]): Promise<Map<string, EventPosition>> {
  const rows = await query<{ event_id: string; topological_ordering: number | bigint; stream_ordering: number }>(
    read,
    `SELECT event_id, topological_ordering, stream_ordering FROM events WHERE event_id = ANY($1::text[])`,
    [eventIds],
  );
  return new Map(rows.map((row) => [row.event_id, { depth: row.topological_ordering, streamOrdering: row.stream_ordering }]));
}

/** Relations followed up from an event, at most this many steps, as Synapse. */
const MAX_STEPS = 3;

const RELATED_EVENTS = `WITH RECURSIVE related AS (
  SELECT event_id, relates_to_id, relation_type, 0 AS depth FROM event_relations WHERE event_id = $1
  UNION
  SELECT parent.event_id, parent.relates_to_id, parent.relation_type, related.depth + 1
  FROM event_relations AS parent JOIN related ON related.relates_to_id = parent.event_id
  WHERE related.depth <= ${MAX_STEPS}
)`;

/** The root of the thread that an event is in, "main" outside of threads. */
export async function threadOfEvent(read: ReadHandle, eventId: string): Promise<string> {
  const row = await queryOne<{ relates_to_id: string }>(
    read,
    `${RELATED_EVENTS} SELECT relates_to_id FROM related WHERE relation_type = 'm.thread' ORDER BY depth DESC LIMIT 1`,
    [eventId],
  );
  return row?.relates_to_id ?? "main";
}

/** As `threadOfEvent`, but a thread's root itself (and what relates to it) counts as in the thread: where receipts may be put. */
export async function threadForReceipt(read: ReadHandle, eventId: string): Promise<string> {
  const row = await queryOne<{ relates_to_id: string }>(
    read,
    `${RELATED_EVENTS}, root AS (SELECT coalesce((SELECT relates_to_id FROM related ORDER BY depth DESC LIMIT 1), $1) AS event_id)
     SELECT event_relations.relates_to_id FROM event_relations JOIN root ON event_relations.relates_to_id = root.event_id
     WHERE event_relations.relation_type = 'm.thread' LIMIT 1`,
    [eventId],
  );
  return row?.relates_to_id ?? "main";
}
