import { signals } from "../../lib/signals.ts";
import { type MatrixEvent, splitStateKey, type StateKey, stateKeyOf } from "../../protocol/event/event.ts";
import { storedEventJson, storedInternalMetadata } from "../../protocol/event/serialise.ts";
import { getDomain } from "../../protocol/ids.ts";
import { CREATE_KEY, POWER_LEVELS_KEY, PowerLevels } from "../../protocol/power-levels.ts";
import { readPrevsBehindRejected, readPrevsOfStored, readRelationsOf } from "../../storage/events/graph.ts";
import type { PlannedEvent, ProfileMove, RoomPlan, StateChange } from "../../storage/events/persist/batch.ts";
import { storedRelation } from "../../storage/events/persist/event-tables.ts";
import { type EventFlags, readEventFlags } from "../../storage/events/rows.ts";
import type { State, StateSnapshot } from "../../storage/state/snapshot.ts";
import type { EventToPersist } from "./event-to-persist.ts";
import { eventsOf, type PlanContext, type RoomWork } from "./plan-context.ts";
import { prunedTips } from "./prune-extremities.ts";
import type { Tip } from "./room-head.ts";
import { planSlidingSync } from "./sliding-sync-plan.ts";

/** A plan with what the caches become when it is carried out. */
export interface PlannedRoom {
  readonly plan: RoomPlan;
  readonly work: RoomWork;
  /** The forward extremities afterwards. */
  readonly tips: ReadonlyMap<string, Tip>;
  /** Positions of events that were stored before already. */
  readonly known: ReadonlyMap<string, EventFlags>;
}

/**
 * Works out what storing these events does to their room. Reads only what the caches lack: for events that this server has just
 * made, as a rule, nothing. Nobody else may store events of the room between this and the transaction.
 */
export async function planRoom(ctx: PlanContext, work: RoomWork): Promise<PlannedRoom> {
  const items = withoutDuplicates(work.items);
  const unsure = items.filter((item) => item.builtOn === undefined).map(({ event }) => event.eventId);
  const known = await readEventFlags(ctx.read, unsure);
  const fresh = unsure.length === 0 && !work.refresh;

  const isPartial = (await ctx.isPartial?.(work.roomId)) ?? false;
  const newItems = items.filter(({ event }) => !known.has(event.eventId));
  const events = newItems.map((item) => planned(item, isPartial));
  const deoutliered = items
    .filter(({ event }) => known.get(event.eventId)?.outlier === true && !event.outlier && event.rejectedReason === undefined)
    .map((item) => planned(item, isPartial));
  const tips = work.backfilled ? work.head.storedTips : await newTips(ctx, work, items, fresh);
  const resolved = work.backfilled ? undefined : await stateOfTips(ctx, work, items, tips, work.refresh);
  const finalTips = resolved?.tips ?? tips;
  const state = resolved?.next === undefined ? undefined : await stateChange(ctx, work.roomId, resolved.next, items);

  const [backward, chains, slidingSync, redactedRelations] = await Promise.all([
    fresh ? NO_GAPS : backwardExtremities(ctx, events, deoutliered),
    ctx.chains.plan(
      work.roomId,
      newItems.map(({ event }) => event),
      fresh,
    ),
    planSlidingSync(ctx, work, items, newItems, state),
    relationsOfRedacted(ctx, newItems),
  ]);
  const plan: RoomPlan = {
    roomId: work.roomId,
    backfilled: work.backfilled,
    position: 0,
    events,
    deoutliered,
    snapshots: snapshotsToStore([...events, ...deoutliered]),
    extremities: extremityChange(work.head.storedTips, finalTips),
    state,
    backward,
    minDepth: minDepth(work, items),
    chains,
    slidingSync,
    redactedRelations,
    participants: participants(ctx, work, newItems),
    profileMoves: ctx.profileUpdates ? await profileMoves(ctx, work.roomId, slidingSync) : [],
    banRedactions: ctx.banRedactions ? await banRedactions(ctx, newItems) : [],
  };
  return { plan, work, tips: finalTips, known };
}

const NO_GAPS: RoomPlan["backward"] = { missing: [], gaps: [], found: [] };

function planned(item: EventToPersist, isPartial: boolean): PlannedEvent {
  const { event, before, after } = item;
  return {
    event,
    json: item.json ?? storedEventJson(event),
    metadata: storedInternalMetadata(event),
    before: event.outlier ? undefined : before,
    after: event.outlier ? undefined : after,
    partialState: !event.outlier && (item.partialState ?? isPartial),
    push: item.push ?? [],
    mayBeRedacted: item.builtOn === undefined,
    streamOrdering: 0,
    stickyId: 0,
  };
}

/** Of the same event twice the first that is no outlier, else the first. */
function withoutDuplicates(items: readonly EventToPersist[]): readonly EventToPersist[] {
  const byId = new Map<string, EventToPersist>();
  for (const item of items) {
    const before = byId.get(item.event.eventId);
    if (before !== undefined && (item.event.outlier || !before.event.outlier)) continue;
    byId.delete(item.event.eventId);
    byId.set(item.event.eventId, item);
  }
  return byId.size === items.length ? items : [...byId.values()];
}

const countsInGraph = ({ event }: EventToPersist): boolean => !event.outlier && event.rejectedReason === undefined && event.internal.soft_failed !== true;

/** The forward extremities when these events are there (risk 53). */
async function newTips(ctx: PlanContext, work: RoomWork, items: readonly EventToPersist[], fresh: boolean): Promise<ReadonlyMap<string, Tip>> {
  const added = items.filter(countsInGraph);
  if (added.length === 0) return work.head.storedTips;
  const tips = new Map(work.head.storedTips);
  for (const { event, after } of added) {
    if (after === undefined) throw new Error(`Event ${event.eventId} has no state`);
    tips.set(event.eventId, { eventId: event.eventId, depth: event.depth, state: after });
  }
  const prevs = new Set(added.flatMap(({ event }) => event.prevEventIds));
  for (const id of prevs) tips.delete(id);
  if (!fresh) {
    // Events that others refer to already, and extremities that only refused events stand before, are none.
    const ids = new Set(added.map(({ event }) => event.eventId));
    const [followed, behind] = await Promise.all([
      readPrevsOfStored(ctx.read, [...tips.keys()]),
      readPrevsBehindRejected(
        ctx.read,
        [...prevs].filter((id) => !ids.has(id) && !work.head.storedTips.has(id)),
      ),
    ]);
    for (const id of followed) tips.delete(id);
    for (const id of behind) tips.delete(id);
  }
  if (tips.size === 0) throw new Error(`No forward extremities left in ${work.roomId}`);
  return sameKeys(tips, work.head.storedTips) ? work.head.storedTips : tips;
}

const sameKeys = (a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean => a.size === b.size && [...a.keys()].every((key) => b.has(key));

/** The room's state at the new extremities; `next` is undefined when it is what it was. */
async function stateOfTips(
  ctx: PlanContext,
  work: RoomWork,
  items: readonly EventToPersist[],
  tips: ReadonlyMap<string, Tip>,
  refresh: boolean,
): Promise<{ tips: ReadonlyMap<string, Tip>; next: State | undefined }> {
  if (tips === work.head.storedTips && !refresh) return { tips, next: undefined };
  const before = new Set([...work.head.storedTips.values()].map((tip) => tip.state));
  const after = new Set([...tips.values()].map((tip) => tip.state));
  if (!refresh && before.size === after.size && [...before].every((state) => after.has(state))) return { tips, next: undefined };
  const states = [...after];
  if (states.length === 0) return { tips, next: undefined };
  if (states.length === 1) return { tips, next: states[0]!.map };
  const known = new Map(items.map(({ event }) => [event.eventId, event]));
  const next = await ctx.resolve(work.roomId, states, known);
  const won = states.find((state) => state.map.size === next.size && state.map.changedKeys(next).length === 0);
  const kept = won === undefined ? tips : await prunedTips(ctx, work.roomId, items, tips, won);
  signals.currentStateResolved.emit({ won: won !== undefined, pruned: kept !== tips });
  return { tips: kept, next: won?.map ?? next };
}

async function stateChange(ctx: PlanContext, roomId: string, next: State, items: readonly EventToPersist[]): Promise<StateChange | undefined> {
  const current = await ctx.state.currentIds(roomId);
  const set = new Map<StateKey, string>();
  const previous = new Map<StateKey, string>();
  const removed: StateKey[] = [];
  for (const key of next.changedKeys(current)) {
    const id = next.get(key);
    const old = current.get(key);
    if (old !== undefined) previous.set(key, old);
    if (id === undefined) removed.push(key);
    else set.set(key, id);
  }
  if (set.size === 0 && removed.length === 0) return undefined;
  return { next, set, previous, removed, serverLeft: !(await isStillJoined(ctx, roomId, set, removed, items)) };
}

/** Whether a local user is joined after the change. Where no local membership changes, nothing changed about that. */
async function isStillJoined(
  ctx: PlanContext,
  roomId: string,
  set: ReadonlyMap<StateKey, string>,
  removed: readonly StateKey[],
  items: readonly EventToPersist[],
): Promise<boolean> {
  const changed = new Map<string, string | undefined>();
  for (const key of [...removed, ...set.keys()]) {
    const [type, userId] = splitStateKey(key);
    if (type === "m.room.member" && getDomain(userId) === ctx.serverName) changed.set(userId, set.get(key));
  }
  if (changed.size === 0) return true;
  const events = await eventsOf(
    ctx,
    [...changed.values()].filter((id) => id !== undefined),
    items,
  );
  for (const event of events.values()) if (event.membership === "join") return true;
  for (const userId of await ctx.members.joinedLocal(roomId)) if (!changed.has(userId)) return true;
  return false;
}

/** Groups that are not stored yet, each after the one it is a delta on. */
function snapshotsToStore(events: readonly PlannedEvent[]): { snapshot: StateSnapshot; eventId: string }[] {
  const out = new Map<StateSnapshot, string>();
  for (const { event, before, after } of events) {
    const chain: StateSnapshot[] = [];
    for (const start of event.rejectedReason === undefined ? [before, after] : [before]) {
      for (let at = start; at !== undefined && at.id === undefined && !out.has(at); at = at.rows().base) chain.unshift(at);
      for (const snapshot of chain) out.set(snapshot, event.eventId);
      chain.length = 0;
    }
  }
  return [...out].map(([snapshot, eventId]) => ({ snapshot, eventId }));
}

function extremityChange(before: ReadonlyMap<string, Tip>, after: ReadonlyMap<string, Tip>): RoomPlan["extremities"] {
  if (before === after) return undefined;
  const all = [...after.keys()];
  return { all, added: all.filter((id) => !before.has(id)), removed: [...before.keys()].filter((id) => !after.has(id)) };
}

async function backwardExtremities(ctx: PlanContext, events: readonly PlannedEvent[], deoutliered: readonly PlannedEvent[]): Promise<RoomPlan["backward"]> {
  const inLine = [...events.filter(({ event }) => event.rejectedReason === undefined), ...deoutliered].filter(({ event }) => !event.outlier);
  const prevs = new Set(inLine.flatMap(({ event }) => event.prevEventIds));
  if (prevs.size === 0) return NO_GAPS;
  const stored = await readEventFlags(ctx.read, [...prevs]);
  for (const [id, flags] of stored) if (!flags.outlier) prevs.delete(id);
  for (const { event } of [...events, ...deoutliered]) if (!event.outlier) prevs.delete(event.eventId);
  return {
    missing: [...prevs],
    gaps: inLine.filter(({ event }) => event.prevEventIds.some((id) => prevs.has(id))),
    found: inLine.map(({ event }) => event.eventId),
  };
}

function minDepth(work: RoomWork, items: readonly EventToPersist[]): number | bigint | undefined {
  let depth: number | bigint | undefined;
  for (const { event } of items) if (!event.outlier && event.rejectedReason === undefined && (depth === undefined || event.depth < depth)) depth = event.depth;
  depth ??= 0; // outliers alone: as Synapse
  return work.head.minDepth === undefined || depth < work.head.minDepth ? depth : undefined;
}

async function relationsOfRedacted(ctx: PlanContext, items: readonly EventToPersist[]): Promise<RoomPlan["redactedRelations"]> {
  const redacted = items.flatMap(({ event }) => (event.redacts === undefined || event.rejectedReason !== undefined ? [] : [event.redacts]));
  if (redacted.length === 0) return [];
  const atHand = items.flatMap(({ event }) => {
    const relation = redacted.includes(event.eventId) ? storedRelation(event) : undefined;
    return relation === undefined ? [] : [{ eventId: event.eventId, relatesTo: relation.relatesTo, type: relation.type }];
  });
  return [...atHand, ...(await readRelationsOf(ctx.read, redacted))];
}

/** Local users become participants of a room with their first message. */
function participants(ctx: PlanContext, work: RoomWork, items: readonly EventToPersist[]): string[] {
  const ids = new Set<string>();
  for (const { event, before, builtOn } of items) {
    if (builtOn === undefined || before === undefined || (event.type !== "m.room.message" && event.type !== "m.room.encrypted") || event.stateKey !== undefined)
      continue;
    const id = before.map.get(stateKeyOf("m.room.member", event.sender));
    if (id !== undefined && !work.head.participants.has(id) && getDomain(event.sender) === ctx.serverName) ids.add(id);
  }
  return [...ids];
}

/** Local users who are joined to the room now and were not before, or the other way round. */
async function profileMoves(ctx: PlanContext, roomId: string, { snapshots, removed }: RoomPlan["slidingSync"]): Promise<ProfileMove[]> {
  const joinedNow = new Map([
    ...removed.map((userId) => [userId, false] as const),
    ...snapshots.map((own) => [own.userId, own.membership === "join"] as const),
  ]);
  if (joinedNow.size === 0) return [];
  const joinedBefore = await ctx.members.joinedLocal(roomId);
  return [...joinedNow]
    .filter(([userId, joined]) => joined !== joinedBefore.has(userId))
    .map(([userId, joined]) => ({ userId, action: joined ? "joined_room" : "left_room", streamId: 0 }));
}

/** MSC4293: a kick or ban by somebody who may redact hides all that the user sent; joining again or being unbanned ends that. */
async function banRedactions(ctx: PlanContext, items: readonly EventToPersist[]): Promise<RoomPlan["banRedactions"]> {
  const out: { userId: string; eventId: string; begins: boolean }[] = [];
  for (const { event, before } of items) {
    const membership = event.membership;
    if (event.stateKey === undefined || event.rejectedReason !== undefined || (membership !== "leave" && membership !== "join" && membership !== "ban"))
      continue;
    const own = event.sender === event.stateKey;
    if (membership === "join" || (membership === "leave" && !own)) out.push({ userId: event.stateKey, eventId: event.eventId, begins: false });
    if (membership === "join" || own || event.content["org.matrix.msc4293.redact_events"] !== true || before === undefined) continue;
    if (await mayRedact(ctx, event, before.map)) out.push({ userId: event.stateKey, eventId: event.eventId, begins: true });
  }
  return out;
}

async function mayRedact(ctx: PlanContext, event: MatrixEvent, state: State): Promise<boolean> {
  const ids = [CREATE_KEY, POWER_LEVELS_KEY].flatMap((key) => state.get(key) ?? []);
  const found = [...(await ctx.events.get(ids)).values()];
  const levels = PowerLevels.of(new Map(found.map((one) => [stateKeyOf(one.type, one.stateKey ?? ""), one])));
  const own = levels.user(event.sender);
  return own >= levels.level("redact") && own >= levels.toSend("m.room.redaction", false);
}
