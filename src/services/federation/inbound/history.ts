import { type Json, type JsonObject, toNumber } from "../../../lib/json.ts";
import { invalidParam, MatrixError, notFound } from "../../../protocol/errors.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { MAX_DEPTH } from "../../../protocol/event/format.ts";
import { federationPdu } from "../../../protocol/event/serialise.ts";
import { isEventId } from "../../../protocol/ids.ts";
import { authChainByCover } from "../../../storage/events/auth-chains.ts";
import { countStateEvents, eventsBehind, eventsBetween, forwardExtremities, type GraphEvent } from "../../../storage/federation/history.ts";
import { eventNearTime } from "../../../storage/rooms/pagination.ts";
import type { Context } from "../../context.ts";
import { type AccessContext, requireServerInRoom } from "./access.ts";
import { filterForServer } from "./visible-events.ts";

/** What other servers may ask about the history of rooms that they are in (server-server API, "Retrieving events", "Backfilling"). */
export type HistoryContext = AccessContext & Pick<Context, "authGraph" | "modules" | "clock" | "config" | "erasedUsers" | "read">;

const MOST_BACKFILLED = 100;
const MOST_MISSING = 20;
/** Events that a walk visits for each event that it may return. */
const VISITS = 5;

/** @throws MatrixError 404 unknown; 403 where the server is not in the room */
export async function eventForServer(ctx: HistoryContext, origin: string, eventId: string): Promise<JsonObject> {
  const event = isEventId(eventId) ? await ctx.events.one(eventId, { rejected: true }) : undefined;
  if (event === undefined) throw notFound("Event not found.");
  await requireServerInRoom(ctx, origin, event.roomId);
  const visible = await filterForServer(ctx, origin, [event]);
  await ctx.modules.federation.delivered(origin, visible, "/event");
  return transactionOf(ctx, visible);
}

/** The state before an event, by ids. @throws MatrixError 403, 404 */
export async function stateIdsForServer(ctx: HistoryContext, origin: string, roomId: string, eventId: string): Promise<JsonObject> {
  await requireServerInRoom(ctx, origin, roomId);
  const ids = await stateIdsBefore(ctx, roomId, eventId);
  return { pdu_ids: ids, auth_chain_ids: [...(await authChainOf(ctx, ids))] };
}

/** The state before an event, whole. @throws MatrixError 403, 404 */
export async function stateForServer(ctx: HistoryContext, origin: string, roomId: string, eventId: string): Promise<JsonObject> {
  await requireServerInRoom(ctx, origin, roomId);
  const ids = await stateIdsBefore(ctx, roomId, eventId);
  const events = await ctx.events.get([...ids, ...(await authChainOf(ctx, ids))]);
  const state = ids.flatMap((id) => events.get(id) ?? []);
  await ctx.modules.federation.delivered(origin, events.values(), "/state");
  for (const id of ids) events.delete(id);
  return { pdus: pdusOf(ctx, state), auth_chain: pdusOf(ctx, events.values()) };
}

/** The auth chain of an event of that room. @throws MatrixError 403, 404 */
export async function authChainForServer(ctx: HistoryContext, origin: string, roomId: string, eventId: string): Promise<JsonObject> {
  await requireServerInRoom(ctx, origin, roomId);
  const event = await eventOfRoom(ctx, roomId, eventId, true);
  const ids = await authChainOf(ctx, event.authEventIds);
  for (const id of event.authEventIds) ids.add(id);
  const chain = await ctx.events.get(ids);
  await ctx.modules.federation.delivered(origin, chain.values(), "/event_auth");
  return { auth_chain: pdusOf(ctx, chain.values()) };
}

/** Events at and before the given ones, newest first. @throws MatrixError 403 */
export async function backfillForServer(ctx: HistoryContext, origin: string, roomId: string, from: readonly string[], limit: number): Promise<JsonObject> {
  await requireServerInRoom(ctx, origin, roomId);
  const most = Math.min(limit, MOST_BACKFILLED);
  const found = await eventsBehind(ctx.read, roomId, from.filter(isEventId).slice(0, MOST_BACKFILLED), most * VISITS);
  const visible = await filterForServer(ctx, origin, await load(ctx, found.slice(0, most)));
  await ctx.modules.federation.delivered(origin, visible, "/backfill");
  return transactionOf(ctx, visible);
}

/** Events between those that the server has and those that it got, oldest first. @throws MatrixError 403 */
export async function missingEventsForServer(ctx: HistoryContext, origin: string, roomId: string, request: JsonObject): Promise<JsonObject> {
  await requireServerInRoom(ctx, origin, roomId);
  const limit = Math.min(Math.max(toNumber(request.limit) ?? 10, 0), MOST_MISSING);
  const found = await eventsBetween(ctx.read, roomId, ids(request.earliest_events), ids(request.latest_events), Math.floor(limit));
  const visible = await filterForServer(ctx, origin, await load(ctx, found));
  await ctx.modules.federation.delivered(origin, visible, "/get_missing_events");
  return { events: pdusOf(ctx, visible) };
}

/** The event closest to a time (MSC3030). @throws MatrixError 403, 404 */
export async function eventNearTimeForServer(ctx: HistoryContext, origin: string, roomId: string, timestamp: number, backwards: boolean): Promise<JsonObject> {
  await requireServerInRoom(ctx, origin, roomId);
  const found = await eventNearTime(ctx.read, roomId, timestamp, backwards);
  if (found === undefined) throw notFound(`Unable to find event from ${timestamp} in direction ${backwards ? "Direction.BACKWARDS" : "Direction.FORWARDS"}`);
  return { event_id: found.event_id, origin_server_ts: found.origin_server_ts };
}

/** The newest events of a room (MSC4370). @throws MatrixError 403 */
export async function extremitiesForServer(ctx: HistoryContext, origin: string, roomId: string): Promise<JsonObject> {
  await requireServerInRoom(ctx, origin, roomId);
  const found = await forwardExtremities(ctx.read, roomId);
  if (found.length === 0) throw new MatrixError(500, "M_UNKNOWN", "Room has no forward extremities");
  return { prev_events: found };
}

/** How complex a room is that anybody may look into or join. @throws MatrixError 404 */
export async function complexityForServer(ctx: HistoryContext, roomId: string): Promise<JsonObject> {
  const state = await ctx.state.current(roomId, ["m.room.join_rules\u0000", "m.room.history_visibility\u0000"]);
  const isPublic = state.get("m.room.join_rules\u0000")?.content.join_rule === "public";
  const isReadable = state.get("m.room.history_visibility\u0000")?.content.history_visibility === "world_readable";
  if (!isPublic && !isReadable) throw new MatrixError(404, "M_INVALID_PARAM", "Room not found");
  return { v1: Math.round(((await countStateEvents(ctx.read, roomId)) / 500) * 100) / 100 };
}

/** Ids of the auth chains of these events: without them, where none of them authorised another. */
export async function authChainOf(ctx: Pick<Context, "authGraph" | "read">, eventIds: Iterable<string>): Promise<Set<string>> {
  const all = [...new Set(eventIds)];
  return (await authChainByCover(ctx.read, all)) ?? (await ctx.authGraph.chain(all));
}

/** PDUs for another server; what has no depth that it could read stays here (GHSA-v56r-hwv5-mxg6). */
export function pdusOf(ctx: Pick<Context, "clock">, events: Iterable<MatrixEvent>): JsonObject[] {
  const now = ctx.clock.now();
  const out: JsonObject[] = [];
  for (const event of events) if (hasValidDepth(event.json.depth)) out.push(federationPdu(event, now));
  return out;
}

const hasValidDepth = (depth: Json | undefined): boolean =>
  (typeof depth === "number" && Number.isInteger(depth) && depth >= 0) || (typeof depth === "bigint" && depth >= 0n && depth <= MAX_DEPTH);

function transactionOf(ctx: HistoryContext, events: readonly MatrixEvent[]): JsonObject {
  return { origin: ctx.config.server.serverName, origin_server_ts: ctx.clock.now(), pdus: pdusOf(ctx, events) };
}

async function stateIdsBefore(ctx: HistoryContext, roomId: string, eventId: string): Promise<string[]> {
  const event = await eventOfRoom(ctx, roomId, eventId, true);
  const state = event.outlier ? undefined : await ctx.state.beforeEvent(event);
  if (state === undefined) throw notFound(`State not known at event ${eventId}`);
  return [...state.values()];
}

/** @throws MatrixError 404 for an event that is unknown, or of another room */
async function eventOfRoom(ctx: HistoryContext, roomId: string, eventId: string, rejected: boolean): Promise<MatrixEvent> {
  const event = isEventId(eventId) ? await ctx.events.one(eventId, { rejected }) : undefined;
  if (event === undefined || event.roomId !== roomId) throw notFound(`Could not find event ${eventId}`);
  return event;
}

async function load(ctx: HistoryContext, found: readonly GraphEvent[]): Promise<MatrixEvent[]> {
  const events = await ctx.events.get(found.map((event) => event.eventId));
  return found.flatMap(({ eventId }) => events.get(eventId) ?? []);
}

function ids(value: Json | undefined): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw invalidParam("Event IDs must be a list");
  return value.filter((id): id is string => isEventId(id)).slice(0, 500);
}
