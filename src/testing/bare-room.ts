import type { Context } from "../services/context.ts";
import { execute, type Txn } from "../storage/database.ts";

/**
 * A room that exists only as far as its memberships do: rows in `rooms`, `current_state_events`, `room_memberships`,
 * `local_current_membership`, `current_state_delta_stream` and `events`, without the events' JSON. For tests of what depends on who shares a room with whom.
 */
export async function bareRoom(ctx: Context, roomId: string, joined: readonly string[]): Promise<void> {
  await ctx.transaction("bare_room", (txn) =>
    execute(txn, `INSERT INTO rooms (room_id, is_public, creator, room_version) VALUES ($1, false, $2, '11')`, [roomId, joined[0] ?? "@nobody:test"]),
  );
  for (const userId of joined) await bareMembership(ctx, roomId, userId, "join");
}

let count = 0;

/** A row in `events`, at a new position of the events stream; returns its id. */
export async function bareEvent(ctx: Context, roomId: string, sender: string, type = "m.room.message"): Promise<string> {
  const eventId = `$bare${++count}`;
  await ctx.transaction("bare_event", async (txn) => {
    const [position] = await ctx.streams.events.next(txn);
    await insertEvent(txn, { eventId, roomId, sender, type, stateKey: null, position: position! });
  });
  return eventId;
}

interface BareEvent {
  eventId: string;
  roomId: string;
  sender: string;
  type: string;
  stateKey: string | null;
  position: number;
}

async function insertEvent(txn: Txn, { eventId, roomId, sender, type, stateKey, position }: BareEvent): Promise<void> {
  await execute(
    txn,
    `INSERT INTO events (stream_ordering, topological_ordering, depth, event_id, type, room_id, sender, state_key, processed, outlier, origin_server_ts, received_ts, contains_url, instance_name)
     VALUES ($1, $1, $1, $2, $3, $4, $5, $6, true, false, 0, 0, false, 'master')`,
    [position, eventId, type, roomId, sender, stateKey],
  );
}

/** Gives a user a membership in a bare room, at a new position of the events stream. */
export async function bareMembership(ctx: Context, roomId: string, userId: string, membership: string): Promise<void> {
  const eventId = `$bare${++count}`;
  await ctx.transaction("bare_membership", async (txn) => {
    const [position] = await ctx.streams.events.next(txn);
    await insertEvent(txn, { eventId, roomId, sender: userId, type: "m.room.member", stateKey: userId, position: position! });
    await execute(
      txn,
      `INSERT INTO current_state_delta_stream (stream_id, room_id, type, state_key, event_id, prev_event_id, instance_name)
       VALUES ($1, $2, 'm.room.member', $3, $4, (SELECT event_id FROM current_state_events WHERE room_id = $2 AND type = 'm.room.member' AND state_key = $3), 'master')`,
      [position, roomId, userId, eventId],
    );
    await execute(txn, `DELETE FROM current_state_events WHERE room_id = $1 AND type = 'm.room.member' AND state_key = $2`, [roomId, userId]);
    await execute(txn, `INSERT INTO current_state_events (event_id, room_id, type, state_key, membership) VALUES ($1, $2, 'm.room.member', $3, $4)`, [
      eventId,
      roomId,
      userId,
      membership,
    ]);
    await execute(txn, `INSERT INTO room_memberships (event_id, user_id, sender, room_id, membership) VALUES ($1, $2, $2, $3, $4)`, [
      eventId,
      userId,
      roomId,
      membership,
    ]);
    if (userId.endsWith(`:${ctx.config.server.serverName}`)) {
      await execute(txn, `DELETE FROM local_current_membership WHERE room_id = $1 AND user_id = $2`, [roomId, userId]);
      await execute(txn, `INSERT INTO local_current_membership (room_id, user_id, event_id, membership) VALUES ($1, $2, $3, $4)`, [
        roomId,
        userId,
        eventId,
        membership,
      ]);
    }
  });
  ctx.members.clear();
}
