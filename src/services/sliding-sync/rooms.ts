import { isJsonObject } from "../../lib/json.ts";
import { type MatrixEvent, splitStateKey, type StateKey, stateKeyOf, type StateMap } from "../../protocol/event/event.ts";
import type { ListRoom } from "../../storage/sliding-sync/rooms.ts";
import type { State } from "../../storage/state/snapshot.ts";
import {
  currentStateDeltas,
  type HeroRow,
  heroCandidates,
  latestByDepth,
  latestByStream,
  type StateDelta,
  type Stretch,
  type TimelineRow,
} from "../../storage/sync/timelines.ts";
import type { Context } from "../context.ts";
import { parseRoomPosition, type RoomPosition } from "../streams/token.ts";
import { pickHeroes } from "../sync/summary.ts";
import { filterForUser, type VisibleEvent } from "../visibility.ts";
import type { ConnectionChanges, ConnectionState } from "./connection.ts";
import { added, isLazy, type RequiredState, type RoomConfig, union, wants } from "./room-config.ts";
import type { InterestedRooms } from "./room-list.ts";

type Needs = Pick<Context, "accounts" | "changes" | "clock" | "config" | "erasedUsers" | "events" | "ignoredUsers" | "read" | "state">;

/** Keys of state that are kept in a stored configuration though the client no longer asks for them, so that asking again costs nothing. */
const MAX_KEPT_KEYS = 100;

/** A room of the answer before it is written. */
export interface RoomResult {
  readonly roomId: string;
  readonly room: ListRoom;
  readonly initial: boolean;
  readonly expandedTimeline: boolean;
  readonly name: string | undefined;
  readonly avatar: string | undefined;
  readonly heroes: readonly MatrixEvent[];
  readonly joinedCount: number | undefined;
  readonly invitedCount: number | undefined;
  readonly requiredState: readonly MatrixEvent[];
  readonly timeline: readonly VisibleEvent[] | undefined;
  readonly limited: boolean | undefined;
  readonly prevBatch: RoomPosition | undefined;
  readonly numLive: number | undefined;
  readonly bumpStamp: number | undefined;
  readonly strippedState: readonly unknown[];
  readonly isDirect: boolean;
}

/** How a room is to be sent. */
interface Plan {
  readonly roomId: string;
  readonly room: ListRoom;
  readonly config: RoomConfig;
  readonly previous: RoomConfig | undefined;
  /** Position that the client has the room to; undefined: send it as new. */
  readonly from: number | undefined;
  /** The client asks for more timeline than before: send it anew, whatever it has. */
  readonly expandTimeline: boolean;
}

const hidden = (room: ListRoom): boolean => room.membership === "invite" || room.membership === "knock";
const gone = (room: ListRoom): boolean => room.membership === "leave" || room.membership === "ban";

/**
 * The rooms to send: those in a window or subscribed to that the client does not have, or in which something happened. A fixed number of
 * statements, however many rooms.
 */
export async function loadRooms(
  ctx: Needs,
  userId: string,
  interested: InterestedRooms,
  before: ConnectionState,
  changes: ConnectionChanges,
  since: number | undefined,
  now: number,
): Promise<RoomResult[]> {
  const plans = planRooms(ctx, interested, before, since, now);
  if (plans.length === 0) return [];
  const timelines = await loadTimelines(ctx, userId, plans, since, now);
  const deltas = await loadDeltas(ctx, plans, now);
  const states = await loadStates(ctx, plans, deltas);
  const facts = await loadFacts(ctx, userId, plans, deltas, states);
  const wanted = plans.map((plan) => ({
    plan,
    ...chooseState(userId, plan, timelines.get(plan.roomId), states.all.get(plan.roomId), deltas.get(plan.roomId) ?? [], before, changes),
  }));
  const meta = plans.flatMap((plan) => metaIds(plan, states.all.get(plan.roomId), facts.heroes.get(plan.roomId)));
  const memberships = plans.filter(({ room }) => hidden(room)).map(({ room }) => room.membership_event_id);
  const events = await ctx.events.get([...wanted.flatMap(({ ids }) => ids), ...meta, ...memberships]);

  const results: RoomResult[] = [];
  for (const { plan, ids, stored } of wanted) {
    const { roomId, room, from, previous, config } = plan;
    const timeline = timelines.get(roomId);
    if (stored !== undefined || previous === undefined || previous.timelineLimit < config.timelineLimit) {
      changes.configs.set(roomId, { timelineLimit: config.timelineLimit, requiredState: stored ?? previous?.requiredState ?? config.requiredState });
    }
    const state = states.all.get(roomId);
    const changedTypes = new Set((deltas.get(roomId) ?? []).map((delta) => delta.type));
    const initial = from === undefined;
    const name = text(events.get(state?.get(stateKeyOf("m.room.name", "")) ?? ""), "name");
    const named = name !== undefined && name !== "";
    const membershipChanged = changedTypes.has("m.room.member") || interested.newlyLeft.has(roomId);
    const counts = facts.counts.get(roomId);
    const showCounts = (initial || membershipChanged) && room.membership === "join";
    const result: RoomResult = {
      roomId,
      room,
      initial,
      expandedTimeline: plan.expandTimeline,
      name: hidden(room) ? (room.room_name ?? undefined) : initial || changedTypes.has("m.room.name") ? name : undefined,
      avatar: initial || changedTypes.has("m.room.avatar") ? text(events.get(state?.get(stateKeyOf("m.room.avatar", "")) ?? ""), "url") : undefined,
      heroes:
        !named && (initial || membershipChanged)
          ? (facts.heroes.get(roomId) ?? []).map((hero) => events.get(hero.event_id)).filter((event) => event !== undefined)
          : [],
      joinedCount: showCounts ? (counts?.joined ?? 0) : undefined,
      invitedCount: showCounts ? (counts?.invited ?? 0) : undefined,
      requiredState: ids.map((id) => events.get(id)).filter((event) => event !== undefined),
      timeline: timeline?.events,
      limited: timeline?.limited,
      prevBatch: timeline?.prevBatch,
      numLive: timeline === undefined ? undefined : timeline.events.filter(({ event }) => since !== undefined && (event.streamOrdering ?? 0) > since).length,
      bumpStamp: bumpStamp(room, initial || timeline?.limited !== false),
      strippedState: hidden(room) ? strippedState(events.get(room.membership_event_id)) : [],
      isDirect: interested.directRooms.has(roomId),
    };
    if (initial || hasNews(result) || changedTypes.size > 0) results.push(result);
  }
  changes.recordSent(
    "rooms",
    before,
    plans.map((plan) => plan.roomId),
  );
  return results;
}

function hasNews(result: RoomResult): boolean {
  return result.requiredState.length > 0 || (result.timeline?.length ?? 0) > 0 || result.strippedState.length > 0 || result.expandedTimeline;
}

function planRooms(ctx: Needs, interested: InterestedRooms, before: ConnectionState, since: number | undefined, now: number): Plan[] {
  const touched = since === undefined ? undefined : ctx.changes.events.changed(since, now);
  const plans: Plan[] = [];
  for (const [roomId, config] of interested.relevant) {
    const room = interested.rooms.get(roomId);
    if (room === undefined) continue;
    const sent = before.sent.rooms.get(roomId);
    const previous = before.configs.get(roomId);
    const fresh = sent === undefined || sent.status === "never" || since === undefined || interested.newlyJoined.has(roomId);
    const from = fresh ? undefined : sent.status === "live" ? since : parseRoomPosition(sent.lastToken ?? "s0").stream;
    const grown = previous !== undefined && previous.timelineLimit < config.timelineLimit;
    const moreState = previous !== undefined && added(previous.requiredState, config.requiredState).size > 0;
    const somethingNew = room.last_ordering > (from ?? -1) || room.membership_ordering > (from ?? -1) || touched === undefined || touched.has(roomId);
    if (from !== undefined && sent?.status === "live" && !somethingNew && !grown && !moreState && previous !== undefined) continue;
    plans.push({ roomId, room, config, previous, from, expandTimeline: from !== undefined && grown });
  }
  return plans;
}

interface Timeline {
  readonly events: readonly VisibleEvent[];
  readonly limited: boolean;
  readonly prevBatch: RoomPosition;
}

async function loadTimelines(ctx: Needs, userId: string, plans: readonly Plan[], since: number | undefined, now: number): Promise<Map<string, Timeline>> {
  const shown = plans.filter(({ room, config }) => !hidden(room) && config.timelineLimit > 0);
  const timelines = new Map<string, Timeline>();
  if (shown.length === 0) return timelines;
  const upTo = (room: ListRoom): number => (gone(room) ? room.membership_ordering : now);
  const whole = shown.filter((plan) => plan.from === undefined || plan.expandTimeline);
  const live = shown.filter((plan) => plan.from !== undefined && !plan.expandTimeline);
  const largest = (list: readonly Plan[]): number => Math.max(...list.map((plan) => plan.config.timelineLimit)) + 1;
  const stretch = (plan: Plan, after: number | undefined): Stretch => ({ roomId: plan.roomId, after, upTo: upTo(plan.room) });
  const [old, recent] = await Promise.all([
    whole.length === 0
      ? []
      : latestByDepth(
          ctx.read,
          whole.map((plan) => stretch(plan, undefined)),
          largest(whole),
        ),
    live.length === 0
      ? []
      : latestByStream(
          ctx.read,
          live.map((plan) => stretch(plan, plan.from)),
          largest(live),
        ),
  ]);
  const rows = new Map<string, TimelineRow[]>();
  for (const row of [...old, ...recent]) {
    const list = rows.get(row.room_id);
    if (list === undefined) rows.set(row.room_id, [row]);
    else list.push(row);
  }
  const loaded = await ctx.events.get([...rows.values()].flat().map((row) => row.event_id));
  const joined: MatrixEvent[] = [];
  const others: MatrixEvent[] = [];
  for (const plan of shown) {
    for (const row of (rows.get(plan.roomId) ?? []).slice(0, plan.config.timelineLimit)) {
      const event = loaded.get(row.event_id);
      if (event !== undefined) (plan.room.membership === "join" ? joined : others).push(event);
    }
  }
  const [seenJoined, seenOthers] = await Promise.all([filterForUser(ctx, userId, joined), filterForUser(ctx, userId, others, { peeking: true })]);
  const seen = new Map([...seenJoined, ...seenOthers].map((item) => [item.event.eventId, item]));
  for (const plan of shown) {
    const own = rows.get(plan.roomId) ?? [];
    const page = own.slice(0, plan.config.timelineLimit).reverse();
    const first = page[0];
    timelines.set(plan.roomId, {
      events: page.map((row) => seen.get(row.event_id)).filter((item) => item !== undefined),
      limited: own.length > plan.config.timelineLimit,
      prevBatch: prevBatch(first, plan.from === undefined || plan.expandTimeline, upTo(plan.room)),
    });
  }
  return timelines;
}

/** Where history goes on before the first event: by depth where the timeline was read by depth. */
function prevBatch(first: TimelineRow | undefined, byDepth: boolean, upTo: number): RoomPosition {
  if (first === undefined) return { stream: upTo };
  return byDepth ? { stream: first.stream_ordering - 1, topological: first.topological_ordering } : { stream: first.stream_ordering - 1 };
}

/** Changes of the current state since the client had the room, up to its last moment there. */
async function loadDeltas(ctx: Needs, plans: readonly Plan[], now: number): Promise<Map<string, StateDelta[]>> {
  const rooms = plans
    .filter((plan) => plan.from !== undefined && !hidden(plan.room) && ctx.changes.currentState.hasChanged(plan.roomId, plan.from))
    .map((plan) => ({ roomId: plan.roomId, after: plan.from! }));
  const byRoom = new Map<string, StateDelta[]>();
  if (rooms.length === 0) return byRoom;
  const ends = new Map(plans.map((plan) => [plan.roomId, gone(plan.room) ? plan.room.membership_ordering : now]));
  for (const delta of await currentStateDeltas(ctx.read, rooms)) {
    if (delta.stream_id > ends.get(delta.room_id)!) continue;
    const list = byRoom.get(delta.room_id);
    if (list === undefined) byRoom.set(delta.room_id, [delta]);
    else list.push(delta);
  }
  return byRoom;
}

interface States {
  /** Of the rooms that the user is in: the state of now. */
  readonly current: ReadonlyMap<string, State>;
  readonly all: ReadonlyMap<string, StateMap>;
}

/** The state that the user may know: the current one where joined, the one at the leave else. Only of rooms where it is looked at. */
async function loadStates(ctx: Needs, plans: readonly Plan[], deltas: ReadonlyMap<string, readonly StateDelta[]>): Promise<States> {
  const needed = plans.filter(
    (plan) =>
      !hidden(plan.room) &&
      (plan.from === undefined ||
        plan.expandTimeline ||
        deltas.has(plan.roomId) ||
        isLazy(plan.config.requiredState) ||
        plan.previous === undefined ||
        added(plan.previous.requiredState, plan.config.requiredState).size > 0),
  );
  const here = needed.filter((plan) => !gone(plan.room)).map((plan) => plan.roomId);
  const away = needed.filter((plan) => gone(plan.room));
  const [current, left] = await Promise.all([
    here.length === 0 ? new Map<string, State>() : ctx.state.currentIdsOf(here),
    away.length === 0 ? new Map<string, StateMap>() : ctx.state.afterEvents(away.map((plan) => plan.room.membership_event_id)),
  ]);
  const states = new Map<string, StateMap>(current);
  for (const plan of away) {
    const state = left.get(plan.room.membership_event_id);
    if (state !== undefined) states.set(plan.roomId, state);
  }
  return { current, all: states };
}

interface Facts {
  readonly counts: ReadonlyMap<string, { joined: number; invited: number }>;
  readonly heroes: ReadonlyMap<string, HeroRow[]>;
}

/** Member counts and heroes of rooms that are new to the client or whose members changed; the states of all of these are at hand. */
async function loadFacts(
  ctx: Needs,
  userId: string,
  plans: readonly Plan[],
  deltas: ReadonlyMap<string, readonly StateDelta[]>,
  { current }: States,
): Promise<Facts> {
  const rooms = plans.filter(
    (plan) => plan.room.membership === "join" && (plan.from === undefined || (deltas.get(plan.roomId) ?? []).some((delta) => delta.type === "m.room.member")),
  );
  const heroes = new Map<string, HeroRow[]>();
  if (rooms.length === 0) return { counts: new Map(), heroes };
  const nameless = rooms.filter((plan) => plan.room.room_name === null).map((plan) => plan.roomId);
  const [counts, heroRows] = await Promise.all([
    ctx.state.memberCounts(new Map(rooms.map(({ roomId }) => [roomId, current.get(roomId)!]))),
    nameless.length === 0 ? [] : heroCandidates(ctx.read, nameless),
  ]);
  const candidates = new Map<string, HeroRow[]>();
  for (const row of heroRows) {
    const list = candidates.get(row.room_id);
    if (list === undefined) candidates.set(row.room_id, [row]);
    else list.push(row);
  }
  for (const [roomId, rows] of candidates) heroes.set(roomId, pickHeroes(rows, userId));
  return { counts, heroes };
}

function metaIds(plan: Plan, state: StateMap | undefined, heroes: readonly HeroRow[] | undefined): string[] {
  const ids = [state?.get(stateKeyOf("m.room.name", "")), state?.get(stateKeyOf("m.room.avatar", "")), ...(heroes ?? []).map((hero) => hero.event_id)];
  return ids.filter((id) => id !== undefined);
}

/**
 * Which state events to send, and the required state to store when it is not what is stored: what was asked for before and has not changed
 * since stays, so that asking for it again sends nothing twice.
 */
function chooseState(
  userId: string,
  plan: Plan,
  timeline: Timeline | undefined,
  state: StateMap | undefined,
  deltas: readonly StateDelta[],
  before: ConnectionState,
  changes: ConnectionChanges,
): { ids: string[]; stored: RequiredState | undefined } {
  const { config, previous, from, roomId } = plan;
  const chosen = new Map<StateKey, string>();
  const required = config.requiredState;
  const lazy = isLazy(required);
  const people = new Set<string>();
  if (lazy) {
    for (const { event } of timeline?.events ?? []) {
      people.add(event.sender);
      if (event.type === "m.room.member" && event.stateKey !== undefined) people.add(event.stateKey);
    }
  }
  if (hidden(plan.room)) return { ids: [], stored: previous === undefined ? required : undefined };

  if (from === undefined || previous === undefined) {
    for (const [key, id] of state ?? []) {
      const [type, stateKey] = splitStateKey(key);
      if (wants(required, type, stateKey, userId) || (lazy && type === "m.room.member" && people.has(stateKey))) chosen.set(key, id);
    }
    if (lazy) changes.lazyMembers(roomId, people, []);
    return { ids: [...chosen.values()], stored: required };
  }

  const known = before.lazyMembers.get(roomId) ?? new Set<string>();
  const stale = new Set<string>();
  const changedKeys = new Set<StateKey>();
  const live = timeline?.limited === false;
  for (const delta of deltas) {
    const key = stateKeyOf(delta.type, delta.state_key);
    changedKeys.add(key);
    if (delta.event_id === null) continue;
    const isMember = delta.type === "m.room.member";
    const sendMember = lazy && isMember && (live || people.has(delta.state_key));
    if (wants(required, delta.type, delta.state_key, userId) || sendMember) {
      chosen.set(key, delta.event_id);
      if (sendMember) people.add(delta.state_key);
    } else if (isMember && known.has(delta.state_key)) {
      stale.add(delta.state_key);
    }
  }
  for (const [key, id] of addedState(userId, added(previous.requiredState, required), state)) chosen.set(key, id);
  if (lazy) {
    for (const person of people) {
      const key = stateKeyOf("m.room.member", person);
      const id = state?.get(key);
      if (id !== undefined && !known.has(person)) chosen.set(key, id);
    }
    changes.lazyMembers(
      roomId,
      [...people].filter((person) => !known.has(person)),
      stale,
    );
  } else if (stale.size > 0) {
    changes.lazyMembers(roomId, [], stale);
  }
  return { ids: [...new Set(chosen.values())], stored: nextRequiredState(previous.requiredState, required, changedKeys) };
}

function* addedState(userId: string, fresh: RequiredState, state: StateMap | undefined): Generator<[StateKey, string]> {
  if (fresh.size === 0 || state === undefined) return;
  for (const [key, id] of state) {
    const [type, stateKey] = splitStateKey(key);
    if (wants(fresh, type, stateKey, userId)) yield [key, id];
  }
}

function nextRequiredState(stored: RequiredState, required: RequiredState, changed: ReadonlySet<StateKey>): RequiredState | undefined {
  const dropped = added(required, stored);
  const lost = [...dropped].some(([type, keys]) => [...keys].some((key) => changed.has(stateKeyOf(type, key)) || key === "*" || type === "*"));
  if (added(stored, required).size === 0 && !lost) return undefined;
  const kept = new Map(
    [...dropped].map(([type, keys]) => [
      type,
      new Set([...keys].filter((key) => key !== "*" && type !== "*" && !changed.has(stateKeyOf(type, key))).slice(0, MAX_KEPT_KEYS)),
    ]),
  );
  return union(required, new Map([...kept].filter(([, keys]) => keys.size > 0)));
}

function bumpStamp(room: ListRoom, always: boolean): number | undefined {
  if (room.membership === "join" && room.bump_stamp !== null) return Math.max(0, room.bump_stamp);
  return always ? Math.max(0, room.membership_ordering) : undefined;
}

function strippedState(event: MatrixEvent | undefined): unknown[] {
  if (event === undefined) return [];
  const field = event.unsigned[event.membership === "invite" ? "invite_room_state" : "knock_room_state"];
  const { type, stateKey, sender, content } = event;
  return [...(Array.isArray(field) ? field.filter(isJsonObject) : []), { type, state_key: stateKey, content, sender }];
}

function text(event: MatrixEvent | undefined, field: string): string | undefined {
  const value = event?.content[field];
  return typeof value === "string" ? value : undefined;
}
