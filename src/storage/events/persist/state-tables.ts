import { type StateKey, splitStateKey } from "../../../protocol/event/event.ts";
import { getDomain } from "../../../protocol/ids.ts";
import type { StateSnapshot } from "../../state/snapshot.ts";
import type { Batch, RoomPlan, SlidingSyncState } from "./batch.ts";
import { bulk, insertAll, type Value, write, type Writer } from "./bulk.ts";
import { accepted, isAccepted } from "./event-tables.ts";

/** A room, or a state group that events refer to, was removed while they were on their way: they must be built anew. */
export class GoneWhilePersisting extends Error {
  override name = "GoneWhilePersisting";
}

/**
 * Holds on to what the batch builds upon: rooms (a purge waits, or has happened) and stored state groups, which are taken off the
 * list of those to be deleted. Fails when one of them is no longer there, by a division by zero: COMMIT is on its way already.
 */
export async function guard(txn: Writer, batch: Batch): Promise<void> {
  const rooms = [...new Set(batch.rooms.map((room) => room.roomId))].sort();
  const groups = [...storedGroups(batch)].sort((a, b) => a - b);
  await write(
    txn,
    `WITH held_rooms AS (SELECT r.room_id FROM rooms AS r WHERE r.room_id = ANY($1::text[]) FOR KEY SHARE),
          held_groups AS (SELECT g.id FROM state_groups AS g WHERE g.id = ANY($2::bigint[]) FOR KEY SHARE),
          wanted AS (DELETE FROM state_groups_pending_deletion AS p WHERE p.state_group = ANY($2::bigint[]))
     SELECT 1 / ((SELECT count(*) FROM held_rooms) = $3::bigint AND (SELECT count(*) FROM held_groups) = $4::bigint)::integer AS all_there`,
    [rooms, groups, rooms.length, groups.length],
  );
}

export const isGuardFailure = (error: unknown): boolean => (error as { code?: unknown } | null)?.code === "22012";

function storedGroups(batch: Batch): Set<number> {
  const fresh = new Set<StateSnapshot>(batch.rooms.flatMap((room) => room.snapshots.map(({ snapshot }) => snapshot)));
  const groups = new Set<number>();
  const add = (snapshot: StateSnapshot | undefined): void => {
    if (snapshot?.id !== undefined && !fresh.has(snapshot)) groups.add(snapshot.id);
  };
  for (const room of batch.rooms) {
    for (const { before, after } of [...room.events, ...room.deoutliered]) {
      add(before);
      add(after);
    }
    for (const { snapshot } of room.snapshots) add(snapshot.rows().base);
  }
  return groups;
}

export async function insertStateGroups(txn: Writer, batch: Batch): Promise<unknown> {
  const groups: Value[][] = [];
  const edges: Value[][] = [];
  const states: Value[][] = [];
  for (const room of batch.rooms) {
    for (const { snapshot, eventId } of room.snapshots) {
      const { base, entries } = snapshot.rows();
      groups.push([snapshot.id, room.roomId, eventId]);
      if (base !== undefined) edges.push([snapshot.id, base.id]);
      for (const [key, id] of entries) states.push([snapshot.id, room.roomId, ...splitStateKey(key), id]);
    }
  }
  return await Promise.all([
    insertAll(txn, "state_groups", { id: "bigint", room_id: "text", event_id: "text" }, groups),
    insertAll(txn, "state_group_edges", { state_group: "bigint", prev_state_group: "bigint" }, edges),
    insertAll(txn, "state_groups_state", { state_group: "bigint", room_id: "text", type: "text", state_key: "text", event_id: "text" }, states),
  ]);
}

export async function updateForwardExtremities(txn: Writer, batch: Batch): Promise<unknown> {
  const changed = batch.rooms.filter((room) => room.extremities !== undefined);
  const removed = changed.flatMap((room) => room.extremities!.removed.map((id) => [room.roomId, id]));
  const added = changed.flatMap((room) => room.extremities!.added.map((id) => [id, room.roomId]));
  const at = changed.flatMap((room) => room.extremities!.all.map((id) => [room.roomId, id, lastOrdering(room)]));
  const columns = { room_id: "text", event_id: "text" } as const;
  return await Promise.all([
    bulk(txn, columns, `DELETE FROM event_forward_extremities AS x USING ROWS WHERE x.event_id = row.event_id AND x.room_id = row.room_id`, removed),
    insertAll(txn, "event_forward_extremities", { event_id: "text", room_id: "text" }, added, "ON CONFLICT DO NOTHING"),
    insertAll(txn, "stream_ordering_to_exterm", { room_id: "text", event_id: "text", stream_ordering: "bigint" }, at),
  ]);
}

export async function updateBackwardExtremities(txn: Writer, batch: Batch): Promise<unknown> {
  const missing = batch.rooms.flatMap((room) => room.backward.missing.map((id) => [room.roomId, id]));
  const gaps = batch.rooms.flatMap((room) => room.backward.gaps.map(({ streamOrdering }) => [room.roomId, batch.instance, streamOrdering]));
  const found = batch.rooms.flatMap((room) => room.backward.found.map((id) => [room.roomId, id]));
  const columns = { room_id: "text", event_id: "text" } as const;
  return await Promise.all([
    insertAll(txn, "event_backward_extremities", columns, missing, "ON CONFLICT DO NOTHING"),
    insertAll(txn, "timeline_gaps", { room_id: "text", instance_name: "text", stream_ordering: "bigint" }, gaps),
    bulk(txn, columns, `DELETE FROM event_backward_extremities AS x USING ROWS WHERE x.event_id = row.event_id AND x.room_id = row.room_id`, found),
    bulk(txn, columns, `DELETE FROM event_failed_pull_attempts AS f USING ROWS WHERE f.event_id = row.event_id AND f.room_id = row.room_id`, found),
  ]);
}

export async function updateRoomDepth(txn: Writer, batch: Batch): Promise<unknown> {
  const rows = batch.rooms.flatMap((room) => (room.minDepth === undefined ? [] : [[room.roomId, room.minDepth]]));
  return await insertAll(
    txn,
    "room_depth",
    { room_id: "text", min_depth: "bigint" },
    rows,
    "ON CONFLICT (room_id) DO UPDATE SET min_depth = EXCLUDED.min_depth WHERE room_depth.min_depth IS NULL OR room_depth.min_depth > EXCLUDED.min_depth",
  );
}

/** Outliers that got their state: no longer outliers, and told so to other processes. */
export async function updateOutliers(txn: Writer, batch: Batch): Promise<unknown> {
  const events = batch.rooms.flatMap((room) => room.deoutliered);
  return await Promise.all([
    bulk(
      txn,
      { event_id: "text" },
      `UPDATE events AS e SET outlier = FALSE FROM ROWS WHERE e.event_id = row.event_id`,
      events.map(({ event }) => [event.eventId]),
    ),
    insertAll(
      txn,
      "ex_outlier_stream",
      { event_stream_ordering: "bigint", event_id: "text", state_group: "bigint", instance_name: "text" },
      events.map(({ event, after, streamOrdering }) => [streamOrdering, event.eventId, after!.id, batch.instance]),
    ),
  ]);
}

export async function updateCurrentState(txn: Writer, batch: Batch): Promise<unknown> {
  const left = batch.rooms.filter((room) => room.state?.serverLeft === true);
  const changed = batch.rooms.filter((room) => room.state !== undefined && !room.state.serverLeft);
  const deltas: Value[][] = [];
  const removed: Value[][] = [];
  const set: Value[][] = [];
  for (const room of changed) {
    const state = room.state!;
    const at = firstOrdering(room);
    for (const key of state.removed) {
      const [type, stateKey] = splitStateKey(key);
      deltas.push([at, room.roomId, type, stateKey, null, state.previous.get(key), batch.instance]);
      removed.push([room.roomId, type, stateKey]);
    }
    for (const [key, id] of state.set) {
      const [type, stateKey] = splitStateKey(key);
      deltas.push([at, room.roomId, type, stateKey, id, state.previous.get(key), batch.instance]);
      set.push([room.roomId, type, stateKey, id]);
    }
  }
  const key = { room_id: "text", type: "text", state_key: "text" } as const;
  return await Promise.all([
    leaveRooms(txn, left, batch.instance),
    insertAll(
      txn,
      "current_state_delta_stream",
      { stream_id: "bigint", room_id: "text", type: "text", state_key: "text", event_id: "text", prev_event_id: "text", instance_name: "text" },
      deltas,
    ),
    bulk(
      txn,
      key,
      `DELETE FROM current_state_events AS c USING ROWS WHERE c.room_id = row.room_id AND c.type = row.type AND c.state_key = row.state_key`,
      removed,
    ),
    bulk(
      txn,
      { ...key, event_id: "text" },
      `INSERT INTO current_state_events (room_id, type, state_key, event_id, membership, event_stream_ordering)
       SELECT row.room_id, row.type, row.state_key, row.event_id,
         (SELECT m.membership FROM room_memberships AS m WHERE m.event_id = row.event_id),
         (SELECT e.stream_ordering FROM events AS e WHERE e.event_id = row.event_id)
       FROM ROWS
       ON CONFLICT (room_id, type, state_key) DO UPDATE
       SET event_id = EXCLUDED.event_id, membership = EXCLUDED.membership, event_stream_ordering = EXCLUDED.event_stream_ordering`,
      set,
    ),
  ]);
}

/** Rooms without a local member have no current state; the deltas say that all of it went. */
async function leaveRooms(txn: Writer, rooms: readonly RoomPlan[], instance: string): Promise<unknown> {
  if (rooms.length === 0) return;
  const ids = rooms.map((room) => room.roomId);
  return await Promise.all([
    bulk(
      txn,
      { room_id: "text", stream_id: "bigint" },
      `INSERT INTO current_state_delta_stream (stream_id, instance_name, room_id, type, state_key, event_id, prev_event_id)
       SELECT row.stream_id, $3, c.room_id, c.type, c.state_key, NULL, c.event_id
       FROM ROWS JOIN current_state_events AS c ON c.room_id = row.room_id`,
      rooms.map((room) => [room.roomId, firstOrdering(room)]),
      [instance],
    ),
    write(txn, `DELETE FROM current_state_events AS c WHERE c.room_id = ANY($1)`, [ids]),
    write(txn, `DELETE FROM sliding_sync_joined_rooms AS s WHERE s.room_id = ANY($1)`, [ids]),
  ]);
}

/** `local_current_membership`: of local users whose membership in the current state changed, and of out-of-band memberships. */
export async function updateLocalMemberships(txn: Writer, batch: Batch): Promise<unknown> {
  const removed: Value[][] = [];
  const set = new Map<string, Value[]>();
  for (const room of batch.rooms) {
    const isLocalMember = (key: StateKey): string | undefined => {
      const [type, userId] = splitStateKey(key);
      return type === "m.room.member" && getDomain(userId) === batch.serverName ? userId : undefined;
    };
    for (const key of room.state?.removed ?? []) {
      const userId = isLocalMember(key);
      if (userId !== undefined) removed.push([room.roomId, userId]);
    }
    for (const { event } of room.events.filter(isAccepted)) {
      if (isOutOfBand(room, event.outlier, event.internal.out_of_band_membership) && getDomain(event.stateKey ?? "") === batch.serverName) {
        set.set(`${room.roomId} ${event.stateKey}`, [room.roomId, event.stateKey, event.eventId]);
      }
    }
    for (const [key, id] of room.state?.set ?? []) {
      const userId = isLocalMember(key);
      if (userId !== undefined) set.set(`${room.roomId} ${userId}`, [room.roomId, userId, id]);
    }
  }
  const key = { room_id: "text", user_id: "text" } as const;
  return await Promise.all([
    bulk(txn, key, `DELETE FROM local_current_membership AS l USING ROWS WHERE l.room_id = row.room_id AND l.user_id = row.user_id`, removed),
    bulk(
      txn,
      { ...key, event_id: "text" },
      `INSERT INTO local_current_membership (room_id, user_id, event_id, membership, event_stream_ordering)
       SELECT row.room_id, row.user_id, row.event_id, m.membership, m.event_stream_ordering
       FROM ROWS JOIN room_memberships AS m ON m.event_id = row.event_id
       ON CONFLICT (user_id, room_id) DO UPDATE
       SET event_id = EXCLUDED.event_id, membership = EXCLUDED.membership, event_stream_ordering = EXCLUDED.event_stream_ordering`,
      [...set.values()],
    ),
  ]);
}

/** Invites and knocks in rooms that the server is not in, and the end of them. */
export const isOutOfBand = (room: RoomPlan, outlier: boolean, flag: boolean | undefined): boolean => !room.backfilled && outlier && flag === true;

const STATE_COLUMNS = {
  room_type: "text",
  room_name: "text",
  is_encrypted: "boolean",
  tombstone_successor_room_id: "text",
  sets_type: "boolean",
  sets_name: "boolean",
  sets_encrypted: "boolean",
  sets_successor: "boolean",
} as const;

function stateColumns(state: SlidingSyncState): Value[] {
  return [
    state.roomType,
    state.roomName,
    state.isEncrypted,
    state.successor,
    state.roomType !== undefined,
    state.roomName !== undefined,
    state.isEncrypted !== undefined,
    state.successor !== undefined,
  ];
}

/** Columns that the row does not set keep what the old row has. */
const MERGED_STATE = `CASE WHEN row.sets_type THEN row.room_type ELSE old.room_type END,
         CASE WHEN row.sets_name THEN row.room_name ELSE old.room_name END,
         CASE WHEN row.sets_encrypted THEN row.is_encrypted ELSE COALESCE(old.is_encrypted, FALSE) END,
         CASE WHEN row.sets_successor THEN row.tombstone_successor_room_id ELSE old.tombstone_successor_room_id END`;

export async function updateSlidingSync(txn: Writer, batch: Batch): Promise<unknown> {
  const joined = batch.rooms.flatMap((room) => {
    const state = room.slidingSync.joinedRoom;
    return state === undefined ? [] : [[room.roomId, lastBump(room) ?? room.slidingSync.bumpStamp, ...stateColumns(state)]];
  });
  const removed = batch.rooms.flatMap((room) => room.slidingSync.removed.map((userId) => [room.roomId, userId]));
  const snapshots = batch.rooms.flatMap((room) =>
    room.slidingSync.snapshots.map(({ userId, sender, eventId, membership, state }) => [
      room.roomId,
      userId,
      sender,
      eventId,
      membership,
      state.hasKnownState,
      ...stateColumns(state),
    ]),
  );
  return await Promise.all([
    bulk(
      txn,
      { room_id: "text", bump_stamp: "bigint", ...STATE_COLUMNS },
      `INSERT INTO sliding_sync_joined_rooms (room_id, event_stream_ordering, bump_stamp, room_type, room_name, is_encrypted, tombstone_successor_room_id)
       SELECT row.room_id,
         COALESCE(old.event_stream_ordering, (SELECT e.stream_ordering FROM events AS e WHERE e.room_id = row.room_id ORDER BY e.stream_ordering DESC LIMIT 1)),
         CASE WHEN old.room_id IS NULL THEN row.bump_stamp ELSE old.bump_stamp END,
         ${MERGED_STATE}
       FROM ROWS LEFT JOIN sliding_sync_joined_rooms AS old ON old.room_id = row.room_id
       ON CONFLICT (room_id) DO UPDATE
       SET room_type = EXCLUDED.room_type, room_name = EXCLUDED.room_name, is_encrypted = EXCLUDED.is_encrypted,
           tombstone_successor_room_id = EXCLUDED.tombstone_successor_room_id`,
      joined,
    ),
    bulk(
      txn,
      { room_id: "text", user_id: "text" },
      `DELETE FROM sliding_sync_membership_snapshots AS s USING ROWS WHERE s.room_id = row.room_id AND s.user_id = row.user_id`,
      removed,
    ),
    bulk(
      txn,
      { room_id: "text", user_id: "text", sender: "text", event_id: "text", membership: "text", has_known_state: "boolean", ...STATE_COLUMNS },
      `INSERT INTO sliding_sync_membership_snapshots
         (room_id, user_id, sender, membership_event_id, membership, forgotten, event_stream_ordering, event_instance_name,
          has_known_state, room_type, room_name, is_encrypted, tombstone_successor_room_id)
       SELECT row.room_id, row.user_id, row.sender, row.event_id, row.membership, 0, e.stream_ordering, COALESCE(e.instance_name, 'master'),
         COALESCE(row.has_known_state, old.has_known_state, FALSE),
         ${MERGED_STATE}
       FROM ROWS
       JOIN events AS e ON e.event_id = row.event_id
       LEFT JOIN sliding_sync_membership_snapshots AS old ON old.room_id = row.room_id AND old.user_id = row.user_id
       ON CONFLICT (room_id, user_id) DO UPDATE
       SET sender = EXCLUDED.sender, membership_event_id = EXCLUDED.membership_event_id, membership = EXCLUDED.membership, forgotten = EXCLUDED.forgotten,
           event_stream_ordering = EXCLUDED.event_stream_ordering, event_instance_name = EXCLUDED.event_instance_name,
           has_known_state = EXCLUDED.has_known_state, room_type = EXCLUDED.room_type, room_name = EXCLUDED.room_name,
           is_encrypted = EXCLUDED.is_encrypted, tombstone_successor_room_id = EXCLUDED.tombstone_successor_room_id`,
      snapshots,
    ),
  ]);
}

/** The newest event of rooms that have a row already. Rows that are made in this batch have theirs from `updateSlidingSync`. */
export async function touchJoinedRooms(txn: Writer, batch: Batch): Promise<unknown> {
  const live = batch.rooms.flatMap((room) => {
    const events = room.backfilled ? [] : room.events.filter(isAccepted);
    const last = events.at(-1)?.streamOrdering;
    return last === undefined ? [] : [[room.roomId, last, lastBump(room)]];
  });
  return await bulk(
    txn,
    { room_id: "text", last: "bigint", bump: "bigint" },
    `UPDATE sliding_sync_joined_rooms AS s
     SET event_stream_ordering = GREATEST(s.event_stream_ordering, row.last), bump_stamp = GREATEST(s.bump_stamp, row.bump)
     FROM ROWS WHERE s.room_id = row.room_id`,
    live,
  );
}

/** Position of the last of the room's new events that bumps it. */
const lastBump = (room: RoomPlan): number | undefined =>
  room.backfilled ? undefined : room.events.findLast((planned) => isAccepted(planned) && BUMP_TYPES.has(planned.event.type))?.streamOrdering;

/** Events of these types move a room up in sliding sync's order. */
export const BUMP_TYPES: ReadonlySet<string> = new Set([
  "m.room.create",
  "m.room.message",
  "m.room.encrypted",
  "m.sticker",
  "m.call.invite",
  "m.poll.start",
  "m.beacon_info",
]);

export async function updateChainCover(txn: Writer, batch: Batch): Promise<unknown> {
  const plans = batch.rooms.flatMap((room) => (room.chains === undefined ? [] : [{ roomId: room.roomId, chains: room.chains }]));
  if (plans.length === 0) return;
  const positions = plans.flatMap(({ chains }) => chains.positions.map(({ eventId, chain, sequence }) => [eventId, chain, sequence]));
  return await Promise.all([
    insertAll(txn, "event_auth_chains", { event_id: "text", chain_id: "bigint", sequence_number: "bigint" }, positions),
    bulk(
      txn,
      { event_id: "text" },
      `DELETE FROM event_auth_chain_to_calculate AS c USING ROWS WHERE c.event_id = row.event_id`,
      positions.map(([eventId]) => [eventId]),
    ),
    insertAll(
      txn,
      "event_auth_chain_links",
      { origin_chain_id: "bigint", origin_sequence_number: "bigint", target_chain_id: "bigint", target_sequence_number: "bigint" },
      plans.flatMap(({ chains }) => chains.links.map((link) => [link.originChain, link.originSequence, link.targetChain, link.targetSequence])),
    ),
    insertAll(
      txn,
      "event_auth_chain_to_calculate",
      { event_id: "text", room_id: "text", type: "text", state_key: "text" },
      plans.flatMap(({ roomId, chains }) => chains.waiting.map(({ eventId, type, stateKey }) => [eventId, roomId, type, stateKey])),
      "ON CONFLICT (event_id) DO UPDATE SET room_id = EXCLUDED.room_id, type = EXCLUDED.type, state_key = EXCLUDED.state_key",
    ),
  ]);
}

export async function markParticipants(txn: Writer, batch: Batch): Promise<unknown> {
  const rows = batch.rooms.flatMap((room) => room.participants.map((id) => [id]));
  return await bulk(
    txn,
    { event_id: "text" },
    `UPDATE room_memberships AS m SET participant = TRUE FROM ROWS WHERE m.event_id = row.event_id AND NOT m.participant`,
    rows,
  );
}

/** Bans and kicks that redact all that a user sent (MSC4293), and what ends them. */
export async function updateBanRedactions(txn: Writer, batch: Batch): Promise<unknown> {
  const begun: Value[][] = [];
  const ended: Value[][] = [];
  for (const room of batch.rooms) {
    for (const { userId, eventId, begins } of room.banRedactions) {
      const at = accepted(batch).find(({ event }) => event.eventId === eventId)?.streamOrdering;
      if (begins) begun.push([room.roomId, userId, eventId]);
      else ended.push([room.roomId, userId, at]);
    }
  }
  const key = { room_id: "text", user_id: "text" } as const;
  return await Promise.all([
    bulk(
      txn,
      { ...key, at: "bigint" },
      `UPDATE room_ban_redactions AS b SET redact_end_ordering = row.at FROM ROWS WHERE b.room_id = row.room_id AND b.user_id = row.user_id`,
      ended,
    ),
    insertAll(
      txn,
      "room_ban_redactions",
      { ...key, redacting_event_id: "text" },
      begun,
      "ON CONFLICT (room_id, user_id) DO UPDATE SET redacting_event_id = EXCLUDED.redacting_event_id, redact_end_ordering = NULL",
    ),
  ]);
}

/** `current_state_delta_stream.stream_id`: the smallest id that the batch has in the room (risk 57). */
export function firstOrdering(room: RoomPlan): number {
  if (hasNoEvents(room)) return room.position;
  return Math.min(...[...room.events, ...room.deoutliered].map(({ streamOrdering }) => streamOrdering));
}

function lastOrdering(room: RoomPlan): number {
  return Math.max(...[...room.events, ...room.deoutliered].map(({ streamOrdering }) => streamOrdering));
}

/** The room's current state is brought in step; no event is added. */
export const hasNoEvents = (room: RoomPlan): boolean => room.events.length === 0 && room.deoutliered.length === 0;
