import type { Json, JsonObject } from "../../lib/json.ts";
import { type MatrixEvent, splitStateKey, type StateKey, stateKeyOf } from "../../protocol/event/event.ts";
import { parseStrippedState } from "../../protocol/event/serialise.ts";
import { getDomain } from "../../protocol/ids.ts";
import { readLastPositionOfTypes } from "../../storage/events/graph.ts";
import type { MembershipSnapshot, RoomPlan, SlidingSyncState, StateChange } from "../../storage/events/persist/batch.ts";
import { BUMP_TYPES } from "../../storage/events/persist/state-tables.ts";
import type { State } from "../../storage/state/snapshot.ts";
import type { EventToPersist } from "./event-to-persist.ts";
import { eventsOf, type PlanContext, type RoomWork } from "./plan-context.ts";

const CREATE = stateKeyOf("m.room.create", "");
const ENCRYPTION = stateKeyOf("m.room.encryption", "");
const NAME = stateKeyOf("m.room.name", "");
const TOMBSTONE = stateKeyOf("m.room.tombstone", "");
/** State that the sliding sync tables have columns for. */
const RELEVANT: readonly StateKey[] = [CREATE, ENCRYPTION, NAME, TOMBSTONE];

/**
 * What happens to the sliding sync tables, which follow each event (risks 81, 82): the room's row when relevant state changes or the
 * row is to be made, and a snapshot of the room for each local user whose membership changes.
 */
export async function planSlidingSync(
  ctx: PlanContext,
  work: RoomWork,
  items: readonly EventToPersist[],
  newItems: readonly EventToPersist[],
  change: StateChange | undefined,
): Promise<RoomPlan["slidingSync"]> {
  const snapshots = outOfBandSnapshots(ctx, work, newItems);
  if (change === undefined) return { joinedRoom: undefined, bumpStamp: undefined, snapshots, removed: [] };
  const isLocal = (key: StateKey): boolean => key.startsWith("m.room.member\u0000") && getDomain(splitStateKey(key)[1]) === ctx.serverName;
  const members = [...change.set].filter(([key]) => isLocal(key));
  if (members.length > 0) {
    const memberEvents = await eventsOf(
      ctx,
      members.map(([, id]) => id),
      items,
    );
    const shared = await sharedState(ctx, work, items, change);
    for (const [key, id] of members) {
      const event = memberEvents.get(id);
      if (event !== undefined)
        snapshots.push({ userId: splitStateKey(key)[1], sender: event.sender, eventId: id, membership: event.membership ?? "", state: shared });
    }
  }
  return { ...(await joinedRoom(ctx, work, items, change)), snapshots, removed: change.removed.filter(isLocal).map((key) => splitStateKey(key)[1]) };
}

/** The state columns of the snapshots; empty (leave as they are) when the server has left and knows no state any more. */
async function sharedState(ctx: PlanContext, work: RoomWork, items: readonly EventToPersist[], change: StateChange): Promise<SlidingSyncState> {
  const current = await ctx.state.currentIds(work.roomId);
  const ids = new Map<StateKey, string>();
  for (const key of RELEVANT) {
    const id = change.set.get(key) ?? (change.removed.includes(key) ? undefined : current.get(key));
    if (id !== undefined) ids.set(key, id);
  }
  if (ids.size === 0) return {};
  const found = await stateColumns(ctx, ids, items);
  return { ...found, hasKnownState: true };
}

async function joinedRoom(
  ctx: PlanContext,
  work: RoomWork,
  items: readonly EventToPersist[],
  change: StateChange,
): Promise<{ joinedRoom: SlidingSyncState | undefined; bumpStamp: number | undefined }> {
  if (change.serverLeft) return { joinedRoom: undefined, bumpStamp: undefined };
  const ids = new Map<StateKey, string>();
  let bumpStamp: number | undefined;
  if (!work.head.hasJoinedRow) {
    const current: State = await ctx.state.currentIds(work.roomId);
    for (const key of RELEVANT) if (current.has(key)) ids.set(key, current.get(key)!);
    const last = work.head.storedTips.size === 0 ? undefined : await readLastPositionOfTypes(ctx.read, work.roomId, [...BUMP_TYPES]);
    // A room that was just joined may know its last message from before the join only: such positions cannot be compared.
    if (last !== undefined && last > 0) bumpStamp = last;
  }
  for (const key of RELEVANT) if (change.set.has(key)) ids.set(key, change.set.get(key)!);
  const columns: SlidingSyncState = {
    ...(await stateColumns(ctx, ids, items)),
    ...(change.removed.includes(CREATE) && { roomType: null }),
    ...(change.removed.includes(ENCRYPTION) && { isEncrypted: false }),
    ...(change.removed.includes(NAME) && { roomName: null }),
  };
  return Object.keys(columns).length === 0 ? { joinedRoom: undefined, bumpStamp: undefined } : { joinedRoom: columns, bumpStamp };
}

async function stateColumns(ctx: PlanContext, ids: ReadonlyMap<StateKey, string>, items: readonly EventToPersist[]): Promise<SlidingSyncState> {
  const events = await eventsOf(ctx, ids.values(), items);
  const content = (key: StateKey): JsonObject | undefined => {
    const id = ids.get(key);
    return id === undefined ? undefined : events.get(id)?.content;
  };
  return columnsOf(content(CREATE), content(ENCRYPTION), content(NAME), content(TOMBSTONE));
}

/** The columns that these state events set; `undefined`: no such event. */
export function columnsOf(
  create: JsonObject | undefined,
  encryption: JsonObject | undefined,
  name: JsonObject | undefined,
  tombstone: JsonObject | undefined,
): SlidingSyncState {
  return {
    ...(create !== undefined && set("roomType", create.type)),
    ...(encryption !== undefined && { isEncrypted: encryption.algorithm !== undefined && encryption.algorithm !== null }),
    ...(name !== undefined && set("roomName", name.name)),
    ...(tombstone !== undefined && set("successor", tombstone.replacement_room)),
  };
}

/** A text column by a value that others chose: no string, or one that Postgres cannot hold, leaves the column alone. */
function set<K extends string>(column: K, value: Json | undefined): { [P in K]?: string | null } {
  if (value === undefined || value === null) return { [column]: null } as { [P in K]?: string | null };
  return typeof value === "string" && !value.includes("\u0000") ? ({ [column]: value } as { [P in K]?: string | null }) : {};
}

/** Invites and knocks of rooms that the server is not in: what is known of the room comes with them. Their end keeps it. */
function outOfBandSnapshots(ctx: PlanContext, work: RoomWork, items: readonly EventToPersist[]): MembershipSnapshot[] {
  if (work.backfilled) return [];
  return items.flatMap(({ event }) => {
    const { stateKey, membership } = event;
    if (!event.outlier || event.internal.out_of_band_membership !== true || event.rejectedReason !== undefined) return [];
    if (stateKey === undefined || membership === undefined || getDomain(stateKey) !== ctx.serverName) return [];
    return [{ userId: stateKey, sender: event.sender, eventId: event.eventId, membership, state: strippedColumns(event) }];
  });
}

/** What an invite or knock says of its room. */
export function strippedColumns(event: MatrixEvent): SlidingSyncState {
  if (event.membership !== "invite" && event.membership !== "knock") return {};
  const listed = event.unsigned[event.membership === "invite" ? "invite_room_state" : "knock_room_state"];
  const stripped = new Map<StateKey, JsonObject>();
  for (const entry of Array.isArray(listed) ? listed : []) {
    const state = parseStrippedState(entry);
    if (state !== undefined) stripped.set(stateKeyOf(state.type, state.stateKey), state.content);
  }
  const create = stripped.get(CREATE);
  if (create === undefined) return { hasKnownState: false, roomType: null, roomName: null, isEncrypted: false };
  // Whoever sends stripped state sends all of it: what is not there is not in the room.
  const empty: JsonObject = {};
  return { ...columnsOf(create, stripped.get(ENCRYPTION) ?? empty, stripped.get(NAME) ?? empty, stripped.get(TOMBSTONE) ?? empty), hasKnownState: true };
}
