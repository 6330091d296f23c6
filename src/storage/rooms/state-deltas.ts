import { query, queryOne, type ReadHandle } from "../database.ts";

/** One change of a room's current state (`current_state_delta_stream`). */
export interface StateDelta {
  readonly streamId: number;
  readonly roomId: string;
  readonly type: string;
  readonly stateKey: string;
  /** null: the entry was removed. */
  readonly eventId: string | null;
  /** null: there was no entry before. */
  readonly prevEventId: string | null;
}

/**
 * The changes after `after` up to and including `upTo`, in stream order: about `limit` rows, never a part of the rows of one stream id.
 * `position` is how far the answer reaches: the next call goes on from there.
 */
export async function stateDeltas(h: ReadHandle, after: number, upTo: number, limit: number): Promise<{ deltas: StateDelta[]; position: number }> {
  if (after >= upTo) return { deltas: [], position: upTo };
  const end = await queryOne<{ stream_id: number }>(
    h,
    `SELECT current_state_delta_stream.stream_id FROM current_state_delta_stream
      WHERE current_state_delta_stream.stream_id > $1 AND current_state_delta_stream.stream_id <= $2
      ORDER BY current_state_delta_stream.stream_id ASC OFFSET $3 LIMIT 1`,
    [after, upTo, limit],
  );
  const position = end?.stream_id ?? upTo;
  const rows = await query<{ stream_id: number; room_id: string; type: string; state_key: string; event_id: string | null; prev_event_id: string | null }>(
    h,
    `SELECT stream_id, room_id, type, state_key, event_id, prev_event_id FROM current_state_delta_stream
      WHERE stream_id > $1 AND stream_id <= $2 ORDER BY stream_id ASC`,
    [after, position],
  );
  return {
    position,
    deltas: rows.map((row) => ({
      streamId: row.stream_id,
      roomId: row.room_id,
      type: row.type,
      stateKey: row.state_key,
      eventId: row.event_id,
      prevEventId: row.prev_event_id,
    })),
  };
}
