import type { Json } from "../../lib/json.ts";
import type { MatrixEvent, StateKey } from "../../protocol/event/event.ts";
import { isEventId } from "../../protocol/ids.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import { readEventFlags } from "../../storage/events/rows.ts";
import { stateEventFacts } from "../../storage/federation/history.ts";
import type { Context } from "../context.ts";
import { checkPdus, type PduCheckContext } from "./pdu-checks.ts";
import { type OutlierContext, storeOutliers } from "./store-outliers.ts";

/** Asking another server for events that this one lacks. What comes back is checked and stored; nothing is believed. */
export type FetchContext = OutlierContext & PduCheckContext & Pick<Context, "federationClient">;

/** What is asked of whom. */
export interface EventSource {
  readonly server: string;
  readonly roomId: string;
  readonly version: RoomVersion;
}

const PATH = "/_matrix/federation/v1";
const MISSING_EVENTS = 10;
/** Events fetched one by one at the same time. */
const AT_ONCE = 10;
/** More events than this are not fetched one by one. */
const MOST_SINGLE = 500;
/** Bytes of an answer with one event. */
const EVENT_ANSWER_BYTES = 512 * 1024;
const FEW_EVENTS_BYTES = 8 * 1024 * 1024;
const MISSING_EVENTS_TIMEOUT_MS = 60_000;

/** The events between those that we have and `latest`, which has previous events that we lack. Throws where the server cannot be asked. */
export async function fetchMissingEvents(
  ctx: FetchContext,
  source: EventSource,
  earliest: readonly string[],
  latest: readonly string[],
  minDepth: number | bigint,
): Promise<MatrixEvent[]> {
  const answer = await ctx.federationClient.requestObject({
    method: "POST",
    destination: source.server,
    path: `${PATH}/get_missing_events/${encodeURIComponent(source.roomId)}`,
    content: {
      limit: MISSING_EVENTS,
      min_depth: typeof minDepth === "bigint" ? 0 : minDepth,
      earliest_events: [...earliest].slice(0, 200),
      latest_events: [...latest],
    },
    timeoutMs: MISSING_EVENTS_TIMEOUT_MS,
    maxBytes: FEW_EVENTS_BYTES,
  });
  // Servers give what they have; more than asked for is no harm as long as it is not very much more.
  return (await checkPdus(ctx, source.version, source.roomId, list(answer.events).slice(0, 5 * MISSING_EVENTS))).events;
}

/** Fetches the auth chain of an event and stores it. */
export async function fetchAuthChain(ctx: FetchContext, source: EventSource, eventId: string): Promise<void> {
  const answer = await ctx.federationClient.requestObject({
    method: "GET",
    destination: source.server,
    path: `${PATH}/event_auth/${encodeURIComponent(source.roomId)}/${encodeURIComponent(eventId)}`,
  });
  await storeOutliers(ctx, source.roomId, (await checkPdus(ctx, source.version, source.roomId, list(answer.auth_chain))).events);
}

/** One event as the server has it, checked; undefined when it does not give it. It is not stored. */
export async function fetchEvent(ctx: FetchContext, source: EventSource, eventId: string): Promise<MatrixEvent | undefined> {
  const answer = await ctx.federationClient.requestObject({
    method: "GET",
    destination: source.server,
    path: `${PATH}/event/${encodeURIComponent(eventId)}`,
    maxBytes: EVENT_ANSWER_BYTES,
  });
  const { events } = await checkPdus(ctx, source.version, source.roomId, list(answer.pdus).slice(0, 1));
  return events[0]?.eventId === eventId ? events[0] : undefined;
}

/**
 * The state after an event that we lack, as the server says: whatever of it we lack is fetched and stored, and only accepted events of the
 * room count. Undefined when the event itself cannot be had.
 * @throws errors of the client
 */
export async function fetchStateAfter(ctx: FetchContext, source: EventSource, eventId: string): Promise<Map<StateKey, string> | undefined> {
  const answer = await ctx.federationClient.requestObject({
    method: "GET",
    destination: source.server,
    path: `${PATH}/state_ids/${encodeURIComponent(source.roomId)}`,
    query: { event_id: eventId },
  });
  const stateIds = idList(answer.pdu_ids);
  const authIds = idList(answer.auth_chain_ids);
  const have = await readEventFlags(ctx.read, [...new Set([...stateIds, ...authIds, eventId])]);
  const missing = [...new Set([...stateIds, ...authIds])].filter((id) => !have.has(id));
  const tooMany = missing.length > MOST_SINGLE || missing.length * 10 >= stateIds.length + authIds.length;
  if (missing.length > 0 && tooMany) await fetchWholeState(ctx, source, eventId);
  else await fetchSingly(ctx, source, missing);
  if (!have.has(eventId)) await fetchSingly(ctx, source, [eventId]);

  const state = new Map<StateKey, string>();
  let self: StateKey | "message" | "rejected" | undefined;
  for (const facts of await stateEventFacts(ctx.read, [...new Set([...stateIds, eventId])])) {
    if (facts.roomId !== source.roomId) continue;
    if (facts.eventId === eventId) self = facts.rejected ? "rejected" : (facts.key ?? "message");
    else if (facts.key !== undefined && !facts.rejected) state.set(facts.key, facts.eventId);
  }
  if (self === undefined) return undefined;
  if (self !== "message" && self !== "rejected") state.set(self, eventId);
  return state;
}

/** Fetches the whole state before an event, with the auth chains, and stores it. */
async function fetchWholeState(ctx: FetchContext, source: EventSource, eventId: string): Promise<void> {
  const answer = await ctx.federationClient.requestObject({
    method: "GET",
    destination: source.server,
    path: `${PATH}/state/${encodeURIComponent(source.roomId)}`,
    query: { event_id: eventId },
  });
  const { events } = await checkPdus(ctx, source.version, source.roomId, [...list(answer.auth_chain), ...list(answer.pdus)]);
  await storeOutliers(ctx, source.roomId, events);
}

/** Fetches events one by one, and stores those that come, with the auth chains that they lack. */
async function fetchSingly(ctx: FetchContext, source: EventSource, eventIds: readonly string[]): Promise<void> {
  const events: MatrixEvent[] = [];
  for (let at = 0; at < eventIds.length; at += AT_ONCE) {
    const found = await Promise.all(
      eventIds.slice(at, at + AT_ONCE).map((id) =>
        fetchEvent(ctx, source, id).catch((error: unknown) => {
          ctx.log.named("synapse.handlers.federation_event").info(`Could not fetch event ${id} from ${source.server}`, { error });
          return undefined;
        }),
      ),
    );
    for (const event of found) if (event !== undefined) events.push(event);
  }
  await fetchLackingAuthEvents(ctx, source, events);
  await storeOutliers(ctx, source.roomId, events);
}

/** Sees to it that the auth events of these events are stored or among them, as far as the server has them. */
export async function fetchLackingAuthEvents(ctx: FetchContext, source: EventSource, events: readonly MatrixEvent[]): Promise<void> {
  const atHand = new Set(events.map((event) => event.eventId));
  const authIds = new Set(events.flatMap((event) => event.authEventIds.filter((id) => !atHand.has(id))));
  const have = await readEventFlags(ctx.read, [...authIds]);
  const lacking = events.filter((event) => event.authEventIds.some((id) => !atHand.has(id) && !have.has(id)));
  for (const event of lacking.slice(0, AT_ONCE)) {
    const still = await readEventFlags(ctx.read, event.authEventIds);
    if (event.authEventIds.every((id) => still.has(id) || atHand.has(id))) continue;
    try {
      await fetchAuthChain(ctx, source, event.eventId);
    } catch (error) {
      ctx.log.named("synapse.handlers.federation_event").info(`Failed to get auth chain for ${event.eventId} from ${source.server}`, { error });
    }
  }
}

const list = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : []);
const idList = (value: Json | undefined): string[] => list(value).filter((id): id is string => isEventId(id));
