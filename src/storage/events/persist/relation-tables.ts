import type { Batch } from "./batch.ts";
import { bulk, type Value, write, type Writer } from "./bulk.ts";
import { accepted, storedRelation } from "./event-tables.ts";

/** The latest event of each thread that the batch adds to: the one later in the room's order, as far as this server knows. */
export async function updateThreads(txn: Writer, batch: Batch): Promise<unknown> {
  const latest = new Map<string, Value[]>();
  for (const { event, streamOrdering } of accepted(batch)) {
    const relation = storedRelation(event);
    if (relation?.type !== "m.thread") continue;
    const key = `${event.roomId} ${relation.relatesTo}`;
    const before = latest.get(key);
    // The same rule as the statement's: later in depth or equal, and later in the stream.
    if (before === undefined || (BigInt(before[3] as number) <= BigInt(event.depth) && (before[4] as number) < streamOrdering)) {
      latest.set(key, [event.roomId, relation.relatesTo, event.eventId, event.depth, streamOrdering]);
    }
  }
  return await bulk(
    txn,
    { room_id: "text", thread_id: "text", latest_event_id: "text", topological_ordering: "bigint", stream_ordering: "bigint" },
    `INSERT INTO threads AS t (room_id, thread_id, latest_event_id, topological_ordering, stream_ordering)
     SELECT row.room_id, row.thread_id, row.latest_event_id, row.topological_ordering, row.stream_ordering FROM ROWS
     ON CONFLICT (room_id, thread_id) DO UPDATE
     SET latest_event_id = EXCLUDED.latest_event_id, topological_ordering = EXCLUDED.topological_ordering, stream_ordering = EXCLUDED.stream_ordering
     WHERE t.topological_ordering <= EXCLUDED.topological_ordering AND t.stream_ordering < EXCLUDED.stream_ordering`,
    [...latest.values()],
  );
}

/** What a redaction takes away at once: the relation of the event, its place as a thread's latest, and what it notified of. */
export async function applyRedactions(txn: Writer, batch: Batch): Promise<unknown> {
  const redacted = accepted(batch).flatMap(({ event }) =>
    event.redacts === undefined || event.redacts.includes("\u0000") ? [] : [[event.roomId, event.redacts]],
  );
  if (redacted.length === 0) return;
  const relations = batch.rooms.flatMap((room) => room.redactedRelations.map((relation) => ({ ...relation, roomId: room.roomId })));
  const threads = new Map(relations.filter(({ type }) => type === "m.thread").map(({ roomId, relatesTo }) => [`${roomId} ${relatesTo}`, [roomId, relatesTo]]));
  return await Promise.all([
    bulk(
      txn,
      { room_id: "text", event_id: "text" },
      // What the summaries count already is counted no more, where it was not read before. Of what is older than a day the actions are gone, and
      // with them the knowledge for whom it counts: as in Synapse, it goes on counting until it is read.
      `WITH gone AS (
         DELETE FROM event_push_actions AS p USING ROWS WHERE p.room_id = row.room_id AND p.event_id = row.event_id
         RETURNING p.user_id, p.room_id, p.thread_id, p.stream_ordering, p.notif, p.unread
       ), counted AS (
         SELECT g.user_id, g.room_id, g.thread_id, count(*) FILTER (WHERE g.notif = 1) AS notifs, count(*) FILTER (WHERE g.unread = 1) AS unreads
         FROM gone AS g
         JOIN event_push_summary AS old ON old.user_id = g.user_id AND old.room_id = g.room_id AND old.thread_id = g.thread_id
         WHERE g.stream_ordering <= (SELECT p.stream_ordering FROM event_push_summary_stream_ordering AS p)
           AND (old.last_receipt_stream_ordering IS NULL OR old.last_receipt_stream_ordering < g.stream_ordering)
         GROUP BY g.user_id, g.room_id, g.thread_id
       )
       UPDATE event_push_summary AS s
       SET notif_count = GREATEST(s.notif_count - counted.notifs, 0), unread_count = GREATEST(COALESCE(s.unread_count, 0) - counted.unreads, 0)
       FROM counted WHERE s.user_id = counted.user_id AND s.room_id = counted.room_id AND s.thread_id = counted.thread_id`,
      redacted,
    ),
    relations.length > 0 && write(txn, `DELETE FROM event_relations AS r WHERE r.event_id = ANY($1)`, [relations.map(({ eventId }) => eventId)]),
    recomputeThreads(txn, [...threads.values()]),
  ]);
}

/** The threads' latest events anew from their relations; threads without any are gone. */
async function recomputeThreads(txn: Writer, threads: readonly (readonly Value[])[]): Promise<unknown> {
  const columns = { room_id: "text", thread_id: "text" } as const;
  return await Promise.all([
    bulk(
      txn,
      columns,
      `INSERT INTO threads (room_id, thread_id, latest_event_id, topological_ordering, stream_ordering)
       SELECT row.room_id, row.thread_id, latest.event_id, latest.topological_ordering, latest.stream_ordering
       FROM ROWS CROSS JOIN LATERAL (
         SELECT e.event_id, e.topological_ordering, e.stream_ordering
         FROM event_relations AS r JOIN events AS e ON e.event_id = r.event_id
         WHERE r.relates_to_id = row.thread_id AND r.relation_type = 'm.thread'
         ORDER BY e.topological_ordering DESC, e.stream_ordering DESC LIMIT 1
       ) AS latest
       ON CONFLICT (room_id, thread_id) DO UPDATE
       SET latest_event_id = EXCLUDED.latest_event_id, topological_ordering = EXCLUDED.topological_ordering, stream_ordering = EXCLUDED.stream_ordering`,
      threads,
    ),
    bulk(
      txn,
      columns,
      `DELETE FROM threads AS t USING ROWS
       WHERE t.room_id = row.room_id AND t.thread_id = row.thread_id
         AND NOT EXISTS (SELECT FROM event_relations AS r WHERE r.relates_to_id = t.thread_id AND r.relation_type = 'm.thread')`,
      threads,
    ),
  ]);
}
