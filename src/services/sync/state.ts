import { type MatrixEvent, splitStateKey, type StateKey, stateKeyOf, type StateMap } from "../../protocol/event/event.ts";
import { currentStateDeltas, type StateDelta } from "../../storage/sync/timelines.ts";
import type { Context } from "../context.ts";
import type { LazyMembers } from "./lazy-members.ts";
import { key } from "./timeline.ts";
import type { RoomEntry, SyncRequest, TimelineBatch } from "./types.ts";

type Needs = Pick<Context, "read" | "state" | "events" | "changes">;

/** (type, state key) to event id: what the client must lay over its state before it reads the timeline (or after it, MSC4222). */
export type RoomState = ReadonlyMap<StateKey, string>;

/**
 * The state to send for each entry. Joined rooms are answered from the current state and the changes since (one query for all rooms),
 * rooms that the user left and now sees whole from the state groups at their leave.
 */
export async function loadStates(
  ctx: Needs,
  request: SyncRequest,
  entries: readonly RoomEntry[],
  batches: ReadonlyMap<string, TimelineBatch>,
  lazy: LazyMembers,
): Promise<Map<string, RoomState>> {
  const wanted = entries.filter((entry) => !entry.outOfBand);
  const joined = wanted.filter((entry) => entry.kind === "joined");
  const [deltas, current, atLeave] = await Promise.all([
    loadDeltas(
      ctx,
      wanted.filter((entry) => entry.kind === "joined" || !entry.fullState),
      batches,
    ),
    currentStates(ctx, request, joined, batches),
    statesAtLeave(
      ctx,
      wanted.filter((entry) => entry.kind === "archived" && entry.fullState),
      batches,
    ),
  ]);
  const states = new Map<string, RoomState>();
  for (const entry of wanted) {
    const batch = batches.get(key(entry))!;
    const members = request.filter.lazyLoadMembers ? membersNeeded(request, batch) : undefined;
    const timeline = timelineState(batch);
    const view =
      entry.kind === "archived" && entry.fullState
        ? viewByGroups(entry, batch, atLeave)
        : viewByDeltas(entry, batch, entry.kind === "joined" ? current.get(entry.roomId) : undefined, deltas.get(entry.roomId) ?? []);
    const state = select(request, entry, batch, view, members, timeline);
    states.set(key(entry), members === undefined ? state : lazy.deduplicate(request, entry, state, timeline));
  }
  return states;
}

/** The state around a timeline. */
interface StateView {
  /** Keys whose value may differ from what the client has: all of them for a full state. */
  readonly keys: Iterable<StateKey>;
  /** Value after the first event of the timeline, where clients take it up (as Synapse does). */
  atStart(key: StateKey): string | undefined;
  /** Value after the last event. */
  atEnd(key: StateKey): string | undefined;
  /** Value that the client has from the sync before; undefined where it starts anew. */
  before(key: StateKey): string | undefined;
}

/**
 * State read backwards from `base` (the present) through the changes of the stream: the value at a position is what the first
 * change after it replaced.
 */
function viewByDeltas(entry: RoomEntry, batch: TimelineBatch, base: StateMap | undefined, deltas: readonly StateDelta[]): StateView {
  const changes = new Map<StateKey, StateDelta[]>();
  const changed = new Set<StateKey>();
  for (const delta of deltas) {
    const at = stateKeyOf(delta.type, delta.state_key);
    const list = changes.get(at);
    if (list === undefined) changes.set(at, [delta]);
    else list.push(delta);
    if (delta.stream_id <= entry.upTo && (entry.since === undefined || delta.stream_id > entry.since)) changed.add(at);
  }
  const valueAt = (at: StateKey, position: number): string | undefined => {
    const list = changes.get(at);
    const later = list?.find((delta) => delta.stream_id > position);
    if (later !== undefined) return later.prev_event_id ?? undefined;
    return base === undefined ? (list?.at(-1)?.event_id ?? undefined) : base.get(at);
  };
  const begin = batch.events[0]?.event.streamOrdering ?? entry.upTo;
  const keys = entry.fullState && base !== undefined ? new Set([...base.keys(), ...changed]) : changed;
  const { since } = entry;
  const before = entry.fullState || since === undefined ? () => undefined : (at: StateKey) => valueAt(at, since);
  return { keys, atStart: (at) => valueAt(at, begin), atEnd: (at) => valueAt(at, entry.upTo), before };
}

/** State by state groups: of the leave, and of the first event shown. */
function viewByGroups(entry: RoomEntry, batch: TimelineBatch, states: ReadonlyMap<string, StateMap>): StateView {
  const end = states.get(entry.leaveEventId!);
  const first = batch.events[0]?.event;
  const start = first === undefined ? end : (states.get(first.eventId) ?? end);
  return { keys: end?.keys() ?? [], atStart: (at) => start?.get(at), atEnd: (at) => end?.get(at), before: () => undefined };
}

function select(
  request: SyncRequest,
  entry: RoomEntry,
  batch: TimelineBatch,
  view: StateView,
  members: ReadonlySet<string> | undefined,
  timeline: ReadonlyMap<StateKey, string>,
): Map<StateKey, string> {
  // A timeline without a gap shows all changes by itself; of a limited one clients take up the last of each key.
  const shown = new Set(batch.limited ? timeline.values() : batch.events.map(({ event }) => event.eventId));
  const lazily = (at: StateKey): boolean => {
    const [type, stateKey] = splitStateKey(at);
    return type === "m.room.member" && members?.has(stateKey) === true;
  };
  const state = new Map<StateKey, string>();
  const add = (at: StateKey): void => {
    if (request.stateAfter !== undefined) {
      const id = view.atEnd(at);
      if (id !== undefined) state.set(at, id);
      return;
    }
    // At the start of the timeline, and what the timeline does not say although it holds at its end; but for what the client has.
    const first = view.atStart(at);
    const last = view.atEnd(at);
    const known = lazily(at) ? undefined : view.before(at);
    if (last !== undefined && last !== known && !shown.has(last)) state.set(at, last);
    else if (first !== undefined && first !== known && !shown.has(first)) state.set(at, first);
  };
  for (const at of view.keys) {
    const [type, stateKey] = splitStateKey(at);
    // Members are loaded lazily in a full state only: clients rely on all changes of members between syncs.
    if (members !== undefined && entry.fullState && type === "m.room.member" && !members.has(stateKey) && stateKey !== request.userId) continue;
    add(at);
  }
  for (const userId of members ?? []) {
    const at = stateKeyOf("m.room.member", userId);
    const first = view.atStart(at);
    // As Synapse: the sender's membership stands beside a timeline without a gap even where that begins with it.
    if (!entry.fullState && request.stateAfter === undefined && !batch.limited && first !== undefined) state.set(at, first);
    else add(at);
  }
  return state;
}

/** Lazily loaded members: the senders whose membership the timeline does not show before their first event. */
function membersNeeded(request: SyncRequest, batch: TimelineBatch): Set<string> {
  const needed = new Set<string>();
  const shown = new Set<string>();
  for (const { event } of batch.events) {
    if (request.stateAfter !== undefined || !shown.has(event.sender)) needed.add(event.sender);
    if (event.type === "m.room.member" && event.stateKey !== undefined) shown.add(event.stateKey);
  }
  return needed;
}

/** The timeline's state events, the last for each key. */
function timelineState(batch: TimelineBatch): Map<StateKey, string> {
  const last = new Map<StateKey, string>();
  for (const { event } of batch.events) if (event.isState()) last.set(stateKeyOf(event.type, event.stateKey), event.eventId);
  return last;
}

async function loadDeltas(ctx: Needs, entries: readonly RoomEntry[], batches: ReadonlyMap<string, TimelineBatch>): Promise<Map<string, StateDelta[]>> {
  const rooms: { roomId: string; after: number }[] = [];
  for (const entry of entries) {
    const begin = batches.get(key(entry))!.events[0]?.event.streamOrdering;
    // Full states need what changed since the timeline began, others all since the last sync; rooms without a change need nothing.
    const after = entry.fullState ? Math.min(begin === undefined ? entry.upTo : begin - 1, entry.upTo) : entry.since!;
    if (ctx.changes.currentState.hasChanged(entry.roomId, after)) rooms.push({ roomId: entry.roomId, after });
  }
  const byRoom = new Map<string, StateDelta[]>();
  if (rooms.length === 0) return byRoom;
  for (const delta of await currentStateDeltas(ctx.read, rooms)) {
    const list = byRoom.get(delta.room_id);
    if (list === undefined) byRoom.set(delta.room_id, [delta]);
    else list.push(delta);
  }
  return byRoom;
}

/** Current states of the rooms that need them: full ones, and those whose lazily loaded members are looked up. */
async function currentStates(
  ctx: Needs,
  request: SyncRequest,
  joined: readonly RoomEntry[],
  batches: ReadonlyMap<string, TimelineBatch>,
): Promise<ReadonlyMap<string, StateMap>> {
  const roomIds = joined
    .filter(
      (entry) =>
        entry.fullState ||
        (request.filter.lazyLoadMembers && batches.get(key(entry))!.events.length > 0) ||
        ctx.changes.currentState.hasChanged(entry.roomId, entry.since ?? 0),
    )
    .map((entry) => entry.roomId);
  return roomIds.length === 0 ? new Map() : await ctx.state.currentIdsOf(roomIds);
}

/** State after the leave and after the first event shown. */
async function statesAtLeave(ctx: Needs, left: readonly RoomEntry[], batches: ReadonlyMap<string, TimelineBatch>): Promise<Map<string, StateMap>> {
  const ids = left.flatMap((entry) => [entry.leaveEventId, batches.get(key(entry))!.events[0]?.event.eventId]).filter((id) => id !== undefined);
  if (ids.length === 0) return new Map();
  return new Map(await ctx.state.afterEvents([...new Set(ids)]));
}

/** Loads the events of all states at once. */
export async function stateEvents(ctx: Pick<Context, "events">, states: ReadonlyMap<string, RoomState>): Promise<Map<string, MatrixEvent>> {
  const ids = new Set<string>();
  for (const state of states.values()) for (const id of state.values()) ids.add(id);
  return ids.size === 0 ? new Map() : new Map(await ctx.events.get([...ids]));
}
