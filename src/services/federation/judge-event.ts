import { checkAuthEvents } from "../../protocol/event-auth/auth-events.ts";
import { authTypesForEvent } from "../../protocol/event-auth/auth-types.ts";
import { checkStateDependentAuth } from "../../protocol/event-auth/check.ts";
import type { AuthRefusal } from "../../protocol/event-auth/result.ts";
import { type MatrixEvent, type StateKey, type StateMap, stateKeyOf } from "../../protocol/event/event.ts";
import { byteLimitProblem } from "../../protocol/event/format.ts";
import type { Context } from "../context.ts";

/** Why an event is rejected, as Synapse writes it into `rejections.reason`. */
export type Rejection = "auth_error" | "oversized_event";

/** Events by id: those at hand first, else the store. */
export class EventPool {
  private readonly events = new Map<string, MatrixEvent>();
  private readonly loaded = new Map<string, MatrixEvent | undefined>();

  constructor(private readonly ctx: Pick<Context, "events">) {}

  /** Events that are not stored yet, rejected ones among them. */
  get atHand(): ReadonlyMap<string, MatrixEvent> {
    return this.events;
  }

  add(event: MatrixEvent): void {
    this.events.set(event.eventId, event);
  }

  /** Loads what is not at hand, in one read. */
  async load(eventIds: Iterable<string>): Promise<void> {
    const missing = [...new Set(eventIds)].filter((id) => !this.events.has(id) && this.loaded.get(id) === undefined);
    if (missing.length === 0) return;
    const found = await this.ctx.events.get(missing, { rejected: true, raw: true });
    for (const id of missing) this.loaded.set(id, found.get(id));
  }

  /** The event if it is at hand or was loaded, rejected or not. */
  get(eventId: string): MatrixEvent | undefined {
    return this.events.get(eventId) ?? this.loaded.get(eventId);
  }
}

/**
 * What the event and the auth events that it names say about it ("Checks performed on receipt of a PDU", 4). All of them must be in
 * `pool`.
 */
export function judgeByAuthEvents(event: MatrixEvent, pool: Pick<EventPool, "get">): { rejection: Rejection; refusal: AuthRefusal | undefined } | undefined {
  if (byteLimitProblem(event.json) !== undefined) return { rejection: "oversized_event", refusal: undefined };
  const independent = checkAuthEvents(event, pool);
  if (!independent.allowed) return { rejection: "auth_error", refusal: independent };
  const state = new Map<StateKey, MatrixEvent>();
  for (const id of event.authEventIds) {
    const authEvent = pool.get(id)!;
    state.set(stateKeyOf(authEvent.type, authEvent.stateKey ?? ""), authEvent);
  }
  const dependent = checkStateDependentAuth(event, state);
  return dependent.allowed ? undefined : { rejection: "auth_error", refusal: dependent };
}

/** Ids of the state that authorises an event, out of a whole state. */
export function authIdsIn(event: MatrixEvent, state: StateMap): string[] {
  return authTypesForEvent(event.roomVersion, event).flatMap((key) => state.get(key) ?? []);
}

/** What a state says about an event (checks 5 and 6). The events of `authIdsIn` must be in `pool`. */
export function judgeByState(event: MatrixEvent, state: StateMap, pool: Pick<EventPool, "get">): AuthRefusal | undefined {
  const events = new Map<StateKey, MatrixEvent>();
  for (const key of authTypesForEvent(event.roomVersion, event)) {
    const id = state.get(key);
    const found = id === undefined ? undefined : pool.get(id);
    if (found !== undefined && found.rejectedReason === undefined) events.set(key, found);
  }
  const result = checkStateDependentAuth(event, events);
  return result.allowed ? undefined : result;
}
