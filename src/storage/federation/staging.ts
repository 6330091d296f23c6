import { execute, query, type ReadHandle, type Txn } from "../database.ts";

/** An event that was received and checked, and waits for its turn in its room (`federation_inbound_events_staging`). */
export interface StagedEvent {
  /** The server that sent it, which need not be the sender's. */
  readonly origin: string;
  readonly roomId: string;
  readonly eventId: string;
  /** Milliseconds since the epoch; also the order within the room. */
  readonly receivedTs: number;
  /** JSON text of the PDU and of what is known of it beside. */
  readonly json: string;
  readonly metadata: string;
}

/** Events that a server sent before and that wait still are left as they are. */
export async function stageEvents(txn: Txn, events: readonly StagedEvent[]): Promise<void> {
  await execute(
    txn,
    `INSERT INTO federation_inbound_events_staging (origin, room_id, event_id, received_ts, event_json, internal_metadata)
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[])
     ON CONFLICT (origin, event_id) DO NOTHING`,
    [
      events.map((e) => e.origin),
      events.map((e) => e.roomId),
      events.map((e) => e.eventId),
      events.map((e) => e.receivedTs),
      events.map((e) => e.json),
      events.map((e) => e.metadata),
    ],
  );
}

/** The room's events that have waited longest, oldest first. */
export async function stagedEvents(read: ReadHandle, roomId: string, limit: number): Promise<StagedEvent[]> {
  const rows = await query<{ origin: string; event_id: string; received_ts: number; event_json: string; internal_metadata: string }>(
    read,
    `SELECT s.origin, s.event_id, s.received_ts, s.event_json, s.internal_metadata
     FROM federation_inbound_events_staging AS s WHERE s.room_id = $1 ORDER BY s.received_ts LIMIT $2`,
    [roomId, limit],
  );
  return rows.map((row) => ({
    origin: row.origin,
    roomId,
    eventId: row.event_id,
    receivedTs: row.received_ts,
    json: row.event_json,
    metadata: row.internal_metadata,
  }));
}

/** A page of all that waits in a room, oldest first, after a place in that order. */
export async function stagedPage(
  read: ReadHandle,
  roomId: string,
  after: { readonly receivedTs: number; readonly eventId: string },
  limit: number,
): Promise<Pick<StagedEvent, "origin" | "eventId" | "receivedTs" | "json">[]> {
  const rows = await query<{ origin: string; event_id: string; received_ts: number; event_json: string }>(
    read,
    `SELECT s.origin, s.event_id, s.received_ts, s.event_json FROM federation_inbound_events_staging AS s
     WHERE s.room_id = $1 AND (s.received_ts, s.event_id) > ($2, $3) ORDER BY s.received_ts, s.event_id LIMIT $4`,
    [roomId, after.receivedTs, after.eventId, limit],
  );
  return rows.map((row) => ({ origin: row.origin, eventId: row.event_id, receivedTs: row.received_ts, json: row.event_json }));
}

/** How many events wait, and since when the first (milliseconds since the epoch). */
export async function stagingBacklog(read: ReadHandle): Promise<{ readonly events: number; readonly oldestTs: number | undefined }> {
  const rows = await query<{ events: number; oldest: number | null }>(
    read,
    "SELECT count(*) AS events, min(s.received_ts) AS oldest FROM federation_inbound_events_staging AS s",
  );
  return { events: rows[0]!.events, oldestTs: rows[0]!.oldest ?? undefined };
}

/** Rooms with events that wait. */
export async function roomsWithStagedEvents(read: ReadHandle): Promise<string[]> {
  const rows = await query<{ room_id: string }>(read, `SELECT DISTINCT s.room_id FROM federation_inbound_events_staging AS s`);
  return rows.map((row) => row.room_id);
}

export async function removeStagedEvents(txn: Txn, events: readonly Pick<StagedEvent, "origin" | "eventId">[]): Promise<void> {
  await execute(
    txn,
    `DELETE FROM federation_inbound_events_staging AS s
     USING unnest($1::text[], $2::text[]) AS done (origin, event_id)
     WHERE s.origin = done.origin AND s.event_id = done.event_id`,
    [events.map((event) => event.origin), events.map((event) => event.eventId)],
  );
}
