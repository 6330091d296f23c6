import { query, queryOne, type ReadHandle } from "../database.ts";

/** True when any event relates to this one. */
export async function isRelationTarget(read: ReadHandle, eventId: string): Promise<boolean> {
  return (await queryOne(read, `SELECT 1 AS found FROM event_relations AS r WHERE r.relates_to_id = $1 LIMIT 1`, [eventId])) !== undefined;
}

/** True when this event relates to another. */
export async function hasRelation(read: ReadHandle, eventId: string): Promise<boolean> {
  return (await queryOne(read, `SELECT 1 AS found FROM event_relations AS r WHERE r.event_id = $1`, [eventId])) !== undefined;
}

/** True when the user has annotated the event with this key already, by an event of this type. */
export async function hasAnnotated(read: ReadHandle, eventId: string, type: string, key: string, sender: string): Promise<boolean> {
  const row = await queryOne(
    read,
    `SELECT 1 AS found FROM event_relations AS r JOIN events AS e ON e.event_id = r.event_id
     WHERE r.relates_to_id = $1 AND r.relation_type = 'm.annotation' AND e.type = $2 AND e.sender = $4 AND r.aggregation_key = $3 LIMIT 1`,
    [eventId, type, key, sender],
  );
  return row !== undefined;
}

/** Ids of the events of the room that relate to an event, in one of those ways, or in any. */
export async function relatedEventIds(h: ReadHandle, roomId: string, eventId: string, types: readonly string[] | undefined): Promise<string[]> {
  const rows = await query<{ id: string }>(
    h,
    `SELECT event_relations.event_id AS id FROM event_relations JOIN events ON events.event_id = event_relations.event_id AND events.room_id = $1
      WHERE event_relations.relates_to_id = $2 AND ($3::text[] IS NULL OR event_relations.relation_type = ANY($3))`,
    [roomId, eventId, types ?? null],
  );
  return rows.map(({ id }) => id);
}
