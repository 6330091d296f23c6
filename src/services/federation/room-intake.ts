import { signals } from "../../lib/signals.ts";
import { type MatrixEvent, type StateKey, type StateMap, stateKeyOf } from "../../protocol/event/event.ts";
import { CREATE_KEY, POWER_LEVELS_KEY, PowerLevels } from "../../protocol/power-levels.ts";
import { type EventFlags, readEventFlags } from "../../storage/events/rows.ts";
import { emptyState, stateFrom, StateSnapshot } from "../../storage/state/snapshot.ts";
import type { Context } from "../context.ts";
import type { EventToPersist } from "../events/event-to-persist.ts";
import { evaluatePush, type PushContext } from "../events/push-actions.ts";
import { resolveState } from "../events/resolve-state.ts";
import type { RoomHead, Tip } from "../events/room-head.ts";
import { type EventSource, fetchLackingAuthEvents, type FetchContext, fetchStateAfter } from "./fetch-events.ts";
import { authIdsIn, EventPool, judgeByAuthEvents, judgeByState } from "./judge-event.ts";

export type IntakeContext = FetchContext & PushContext & Pick<Context, "authGraph" | "persister" | "roomVersions" | "state">;

/** The event cannot be taken; `message` says why. */
export class EventRefused extends Error {
  override name = "EventRefused";
}

/** How an event comes into its room. */
export interface IntakeOptions {
  /** History: it notifies nobody, and changes nothing about the present. */
  readonly backfilled?: boolean;
}

/**
 * Takes events of one room that have their previous events, one upon the other, and stores them together: what a batch needs of the
 * database is read for all of its events at once, states between them are held in memory. Only one intake of a room may be at work at
 * any time (`InboundRooms.exclusively`).
 */
export class RoomIntake {
  private readonly pool: EventPool;
  /** The state after each event that may be followed. */
  private readonly states = new Map<string, StateSnapshot>();
  private readonly items: EventToPersist[] = [];
  /** The newest events of the room, as they will be when what was taken is stored. */
  private tips: Map<string, Tip>;
  private flags = new Map<string, EventFlags>();

  private constructor(
    private readonly ctx: IntakeContext,
    readonly roomId: string,
    private readonly head: RoomHead,
    private readonly options: IntakeOptions,
  ) {
    this.pool = new EventPool(ctx);
    this.tips = new Map(head.storedTips);
  }

  static async open(ctx: IntakeContext, roomId: string, options: IntakeOptions = {}): Promise<RoomIntake> {
    return new RoomIntake(ctx, roomId, await ctx.persister.head(roomId), options);
  }

  get taken(): readonly MatrixEvent[] {
    return this.items.map(({ event }) => event);
  }

  get latestIds(): string[] {
    return [...this.tips.keys()];
  }

  get minDepth(): number | bigint | undefined {
    return this.head.minDepth;
  }

  /** Reads what these events refer to, all at once. */
  async prepare(events: readonly MatrixEvent[]): Promise<void> {
    const ids = new Set<string>();
    for (const event of events) for (const id of [event.eventId, ...event.prevEventIds, ...event.authEventIds]) if (!this.flags.has(id)) ids.add(id);
    for (const [id, flags] of await readEventFlags(this.ctx.read, [...ids])) this.flags.set(id, flags);
    await Promise.all([this.loadStates(events.flatMap((event) => event.prevEventIds)), this.pool.load(events.flatMap((event) => event.authEventIds))]);
  }

  /** The event is in the room's timeline already, or was taken. */
  has(eventId: string): boolean {
    if (this.pool.atHand.has(eventId)) return true;
    const flags = this.flags.get(eventId);
    return flags !== undefined && !flags.outlier;
  }

  /** Previous events that are not in the timeline of this room. */
  missingPrevs(event: MatrixEvent): string[] {
    return [...new Set(event.prevEventIds)].filter((id) => !this.states.has(id));
  }

  /**
   * Judges an event and takes it: accepted, soft-failed or rejected, it will be stored. Previous events that are missing are made up
   * for by what `source` says of the state there.
   * @throws EventRefused when its auth events or the state before it cannot be had
   */
  async take(event: MatrixEvent, source: EventSource): Promise<void> {
    if (!isTakenForSpam(event)) delete event.internal.soft_failed;
    await this.completeAuthEvents(event, source);
    const missing = this.missingPrevs(event);
    const before = await this.stateBefore(event, missing, source);
    const rejection = await this.reject(event, before);
    event.rejectedReason = rejection;
    if (rejection === undefined && !this.options.backfilled) await this.softFail(event, before, missing.length > 0);
    const key = event.stateKey === undefined ? undefined : stateKeyOf(event.type, event.stateKey);
    const after = rejection !== undefined || key === undefined ? before : before.after(key, event.eventId);
    const push = this.options.backfilled ? [] : await this.notifies(event, before);
    this.items.push({ event, before, after, push });
    this.pool.add(event);
    this.states.set(event.eventId, after);
    if (rejection !== undefined || event.internal.soft_failed === true || this.options.backfilled) return;
    for (const id of event.prevEventIds) this.tips.delete(id);
    this.tips.set(event.eventId, { eventId: event.eventId, depth: event.depth, state: after });
  }

  /** The state before an event that was taken, for those who answer with it. */
  stateBeforeTaken(eventId: string): StateSnapshot | undefined {
    return this.items.find(({ event }) => event.eventId === eventId)?.before;
  }

  /** Takes the last event back. */
  dropLast(): void {
    const item = this.items.pop();
    if (item !== undefined) this.states.delete(item.event.eventId);
  }

  /** Stores what was taken. */
  async store(): Promise<void> {
    if (this.items.length > 0) await this.ctx.persister.persist(this.items.splice(0), { backfilled: this.options.backfilled ?? false });
  }

  private async loadStates(eventIds: readonly string[]): Promise<void> {
    const wanted = [...new Set(eventIds)].filter((id) => {
      const flags = this.flags.get(id);
      return flags !== undefined && !flags.outlier && flags.roomId === this.roomId && !this.states.has(id);
    });
    if (wanted.length === 0) return;
    const groups = await this.ctx.state.groupsOfEvents(wanted);
    const snapshots = await this.ctx.state.snapshotsOf(groups.values());
    for (const [id, group] of groups) {
      const snapshot = snapshots.get(group);
      if (snapshot !== undefined) this.states.set(id, snapshot);
    }
  }

  private async completeAuthEvents(event: MatrixEvent, source: EventSource): Promise<void> {
    await this.pool.load(event.authEventIds);
    if (event.authEventIds.every((id) => this.pool.get(id) !== undefined)) return;
    await fetchLackingAuthEvents(this.ctx, source, [event]);
    await this.pool.load(event.authEventIds);
    const missing = event.authEventIds.find((id) => this.pool.get(id) === undefined);
    if (missing !== undefined) throw new EventRefused(`Auth event ${missing} could not be found`);
  }

  private async stateBefore(event: MatrixEvent, missing: readonly string[], source: EventSource): Promise<StateSnapshot> {
    const states = [...new Set(event.prevEventIds.flatMap((id) => this.states.get(id) ?? []))];
    const fetched: StateSnapshot[] = [];
    for (const id of missing) {
      const state = await this.fetchState(event, id, source);
      fetched.push(StateSnapshot.full(this.roomId, stateFrom(state)));
    }
    const all = [...states, ...fetched];
    if (all.length === 0) return StateSnapshot.full(this.roomId, emptyState);
    if (all.length === 1) return all[0]!;
    if (fetched.length === 0) return await this.head.resolved(all, () => resolveState(this.ctx, this.roomId, all, this.pool.atHand));
    const map = await resolveState(this.ctx, this.roomId, all, this.pool.atHand);
    return nearest(all, map);
  }

  private async fetchState(event: MatrixEvent, missing: string, source: EventSource): Promise<ReadonlyMap<StateKey, string>> {
    try {
      const state = await fetchStateAfter(this.ctx, source, missing);
      if (state !== undefined) return state;
    } catch (error) {
      this.ctx.log
        .named("synapse.handlers.federation_event")
        .info(`Error attempting to get the state at ${missing} for ${event.eventId} from ${source.server}`, { error });
    }
    throw new EventRefused("We can't get valid state history.");
  }

  /** Checks 4 and 5: by the auth events, and where the state before differs, by that. */
  private async reject(event: MatrixEvent, before: StateSnapshot): Promise<string | undefined> {
    const judgement = judgeByAuthEvents(event, this.pool);
    if (judgement !== undefined) {
      this.ctx.log
        .named("synapse.handlers.federation_event")
        .warn(`While checking auth of ${event.eventId} against auth_events: ${judgement.refusal?.reason ?? judgement.rejection}`);
      return judgement.rejection;
    }
    const ids = authIdsIn(event, before.map);
    if (sameIds(ids, event.authEventIds)) return undefined;
    await this.pool.load(ids);
    const refusal = judgeByState(event, before.map, this.pool);
    if (refusal === undefined) return undefined;
    this.ctx.log
      .named("synapse.handlers.federation_event")
      .warn(`While checking auth of ${event.eventId} against room state before the event: ${refusal.reason}`);
    return "auth_error";
  }

  /** Check 6: an event that the room's present state would not allow is kept, but nobody is shown it and nothing is built on it. */
  private async softFail(event: MatrixEvent, before: StateSnapshot, hasGap: boolean): Promise<void> {
    if (isTakenForSpam(event)) return;
    if (!hasGap && sameIds(event.prevEventIds, [...this.tips.keys()])) return;
    const states = [...new Set([...this.tips.values()].map((tip) => tip.state))];
    if (hasGap && !states.includes(before)) states.push(before);
    if (states.length === 0 || (states.length === 1 && states[0] === before)) return;
    const current: StateMap =
      states.length === 1
        ? states[0]!.map
        : hasGap
          ? await resolveState(this.ctx, this.roomId, states, this.pool.atHand)
          : (await this.head.resolved(states, () => resolveState(this.ctx, this.roomId, states, this.pool.atHand))).map;
    await this.pool.load(authIdsIn(event, current));
    const refusal = judgeByState(event, current, this.pool);
    if (refusal === undefined) return;
    this.ctx.log.named("synapse.handlers.federation_event").warn(`Soft-failing ${event.eventId} because ${refusal.reason}`);
    event.internal.soft_failed = true;
    signals.softFailed.emit();
  }

  private async notifies(event: MatrixEvent, before: StateSnapshot): Promise<EventToPersist["push"]> {
    const { minDepth } = this.head;
    if (event.rejectedReason !== undefined || event.internal.soft_failed === true || (minDepth !== undefined && event.depth < minDepth)) return [];
    const ids = [CREATE_KEY, POWER_LEVELS_KEY].flatMap((key) => before.map.get(key) ?? []);
    await this.pool.load(ids);
    const levels = new PowerLevels(this.stateEvent(before.map, CREATE_KEY), this.stateEvent(before.map, POWER_LEVELS_KEY));
    return await evaluatePush(this.ctx, { event, before: before.map, levels, atHand: (id) => this.pool.atHand.get(id) });
  }

  private stateEvent(state: StateMap, key: StateKey): MatrixEvent | undefined {
    const id = state.get(key);
    return id === undefined ? undefined : this.pool.get(id);
  }
}

/** By modules or the room's policy server: that is not for the rules to take back. */
const isTakenForSpam = ({ internal }: MatrixEvent): boolean => internal.spam_checker_spammy === true || internal.policy_server_spammy === true;

/** A state as a delta on that of the given ones that differs least. */
function nearest(states: readonly StateSnapshot[], map: StateSnapshot["map"]): StateSnapshot {
  return states
    .map((state) => ({ state, changes: map.changedKeys(state.map).length }))
    .sort((a, b) => a.changes - b.changes)[0]!
    .state.become(map);
}

function sameIds(some: readonly string[], others: readonly string[]): boolean {
  const left = new Set(some);
  const right = new Set(others);
  return left.size === right.size && [...left].every((id) => right.has(id));
}
