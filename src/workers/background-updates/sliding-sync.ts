import type { JsonObject } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { roomVersion } from "../../protocol/room-versions.ts";
import { columnsOf, strippedColumns } from "../../services/events/sliding-sync-plan.ts";
import type { Txn } from "../../storage/database.ts";
import type { SlidingSyncState } from "../../storage/events/persist/batch.ts";
import type { Batch } from "../../storage/jobs/background-updates-batches.ts";
import {
  forgetRoomsToRecalculate,
  insertJoinedRooms,
  insertMissingRooms,
  insertSnapshots,
  type MembershipToSnapshot,
  membershipsToSnapshot,
  previousInvites,
  queueJoinedRooms,
  roomsToRecalculate,
  type StateColumns,
} from "../../storage/jobs/background-updates-sliding-sync.ts";
import { readCurrentStateOfTypes } from "../../storage/state/current.ts";
import type { UpdateContext } from "./update.ts";

/** The first filling of the sliding sync tables, for rooms and memberships from before they were kept. */
const TYPES = ["m.room.create", "m.room.encryption", "m.room.name", "m.room.tombstone"] as const;
const UNKNOWN: StateColumns & { hasKnownState: boolean } = { roomType: null, roomName: null, isEncrypted: false, successor: null, hasKnownState: false };

export async function queueRooms(_ctx: UpdateContext, txn: Txn): Promise<Batch> {
  await queueJoinedRooms(txn);
  return { items: 1, progress: undefined };
}

export async function fillJoinedRooms(ctx: UpdateContext, txn: Txn, progress: JsonObject, size: number): Promise<Batch> {
  const rooms = await roomsToRecalculate(txn, size);
  if (rooms.length === 0) return { items: 0, progress: undefined };
  // The state is read by this transaction: a change that is stored meanwhile makes it fail and begin again.
  await insertJoinedRooms(txn, await currentColumns(ctx, txn, rooms));
  await forgetRoomsToRecalculate(txn, rooms);
  return { items: rooms.length, progress };
}

export async function fillSnapshots(ctx: UpdateContext, txn: Txn, progress: JsonObject, size: number): Promise<Batch> {
  // First all memberships by room and user; then those newer than the beginning of that, should another server have written meanwhile.
  const initial = progress.initial_phase !== false;
  const ordering = typeof progress.last_event_stream_ordering === "number" ? progress.last_event_stream_ordering : ctx.streams.events.currentToken();
  const last = (key: string): string => (typeof progress[key] === "string" ? progress[key] : "");
  const rows = await membershipsToSnapshot(txn, initial ? { roomId: last("last_room_id"), userId: last("last_user_id") } : { ordering }, size);
  const end = rows.at(-1);
  if (end === undefined) return { items: 0, progress: initial ? { initial_phase: false, last_event_stream_ordering: ordering } : undefined };

  // Rooms of versions that nobody knows any more are shown to nobody.
  const known = rows.filter((row) => row.room_version === null || roomVersion(row.room_version) !== undefined);
  const states = await statesOf(ctx, txn, known);
  await insertMissingRooms(
    txn,
    known.filter((row) => !row.room_exists).map((row) => row.room_id),
  );
  await insertSnapshots(
    txn,
    known.flatMap((of) => {
      const state = states.get(of);
      return state === undefined ? [] : [{ of, state }];
    }),
  );
  return {
    items: rows.length,
    progress: {
      initial_phase: initial,
      last_room_id: end.room_id,
      last_user_id: end.user_id,
      last_event_stream_ordering: initial ? ordering : end.stream_ordering,
    },
  };
}

type KnownColumns = StateColumns & { hasKnownState: boolean };

/** What is known of the room by each membership: its current state, the state at the end, or what came with the invite. */
async function statesOf(ctx: UpdateContext, txn: Txn, rows: readonly MembershipToSnapshot[]): Promise<Map<MembershipToSnapshot, KnownColumns>> {
  const joined = rows.filter((row) => row.membership === "join");
  const ended = rows.filter((row) => row.membership === "leave" || row.membership === "ban");
  const [current, after, invites] = await Promise.all([
    currentColumns(ctx, txn, [...new Set(joined.map((row) => row.room_id))]),
    ctx.state.afterEvents(
      ended.filter((row) => !row.outlier).map((row) => row.event_id),
      TYPES.map((type) => [type, ""] as const),
    ),
    previousInvites(
      txn,
      ended.filter((row) => row.outlier),
    ),
  ]);
  const inviteOf = (row: MembershipToSnapshot): string | undefined =>
    row.membership === "invite" || row.membership === "knock" ? row.event_id : invites.get(row.event_id);
  const stateIds = [...after.values()].flatMap((state) => [...state.values()]);
  const events = await ctx.events.get([...stateIds, ...rows.map(inviteOf).filter((id) => id !== undefined)]);

  const states = new Map<MembershipToSnapshot, KnownColumns>();
  for (const row of rows) {
    if (row.membership === "join") {
      const columns = current.get(row.room_id);
      states.set(row, columns === undefined ? UNKNOWN : { ...columns, hasKnownState: true });
    } else if ((row.membership === "leave" || row.membership === "ban") && !row.outlier) {
      const ids = after.get(row.event_id);
      const found = ids === undefined ? [] : [...ids.values()].flatMap((id) => events.get(id) ?? []);
      // Without any state event the room cannot be read: nothing is noted, as for unknown versions.
      if (found.length > 0) states.set(row, { ...columns(found), hasKnownState: true });
    } else {
      const invite = events.get(inviteOf(row) ?? "");
      states.set(row, invite === undefined ? UNKNOWN : complete(strippedColumns(invite)));
    }
  }
  return states;
}

/** The columns of these rooms' current states; rooms without any are absent. */
async function currentColumns(ctx: UpdateContext, txn: Txn, roomIds: readonly string[]): Promise<Map<string, StateColumns>> {
  const ids = (await readCurrentStateOfTypes(txn, roomIds, TYPES)).filter(({ stateKey }) => stateKey === "");
  const events = await ctx.events.get(ids.map(({ eventId }) => eventId));
  const states = new Map<string, MatrixEvent[]>();
  for (const { roomId, eventId } of ids) {
    const event = events.get(eventId);
    if (event !== undefined) states.set(roomId, [...(states.get(roomId) ?? []), event]);
  }
  return new Map([...states].map(([roomId, state]) => [roomId, columns(state)]));
}

function columns(state: readonly MatrixEvent[]): StateColumns {
  const [create, encryption, name, tombstone] = TYPES.map((type) => state.find((event) => event.type === type)?.content);
  return complete(columnsOf(create, encryption, name, tombstone));
}

const complete = (state: SlidingSyncState): KnownColumns => ({
  roomType: state.roomType ?? null,
  roomName: state.roomName ?? null,
  isEncrypted: state.isEncrypted ?? false,
  successor: state.successor ?? null,
  hasKnownState: state.hasKnownState ?? false,
});
