import type { JsonText } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { roomsWithNewEvents } from "../../storage/sliding-sync/rooms.ts";
import type { Context } from "../context.ts";
import { presentEvents } from "../present.ts";
import { bundleAggregations, noBundles } from "../relations/bundle.ts";
import type { Requester } from "../requester.ts";
import { currentToken, formatRoomPosition, formatStreamToken, parseStreamToken, type StreamToken } from "../streams/token.ts";
import { ConnectionChanges, type ConnectionState } from "./connection.ts";
import { loadExtensions } from "./extensions.ts";
import type { SlidingSyncBody } from "./request.ts";
import { type InterestedRooms, interestedRooms } from "./room-list.ts";
import { loadRooms, type RoomResult } from "./rooms.ts";

export type SlidingSyncContext = Pick<
  Context,
  | "accounts"
  | "changes"
  | "clock"
  | "config"
  | "deviceInboxes"
  | "erasedUsers"
  | "events"
  | "modules"
  | "ignoredUsers"
  | "isServerAdmin"
  | "keyCounts"
  | "members"
  | "notifier"
  | "pushRules"
  | "read"
  | "slidingConnections"
  | "slidingRoomLists"
  | "state"
  | "streams"
  | "transaction"
  | "typing"
>;

/** `pos`: the connection's position and a sync token. */
export interface SlidingPosition {
  readonly connection: number;
  readonly token: StreamToken;
}

/** @throws MatrixError 400 M_UNKNOWN_POS */
export function parsePosition(text: string): SlidingPosition {
  const match = /^(\d{1,16})\/(.+)$/.exec(text);
  if (match === null) throw new MatrixError(400, "M_UNKNOWN_POS", "Invalid stream token");
  return { connection: Number(match[1]), token: parseStreamToken(match[2]!) };
}

export interface SlidingSyncRequest {
  readonly requester: Requester;
  readonly position: SlidingPosition | undefined;
  readonly body: SlidingSyncBody;
  readonly timeoutMs: number;
}

/**
 * Answers a simplified sliding sync request (MSC4186): at once when there is something new, else as soon as something happens, at the latest
 * after the timeout.
 */
export async function slidingSync(ctx: SlidingSyncContext, request: SlidingSyncRequest, signal: AbortSignal): Promise<Record<string, unknown>> {
  const { requester, position, body } = request;
  const key = { userId: requester.userId, effectiveDeviceId: effectiveDevice(requester), connId: body.conn_id ?? "" };
  const listener = ctx.notifier.listen(requester.userId);
  try {
    const before = await ctx.slidingConnections.load(key, position?.connection);
    const deadline = ctx.clock.now() + request.timeoutMs;
    for (;;) {
      const now = currentToken(ctx.streams, ctx.typing.serial);
      const answer = await build(ctx, request, before, now);
      const left = deadline - ctx.clock.now();
      if (answer.hasNews || position === undefined || left <= 0 || signal.aborted) {
        const connection = await ctx.slidingConnections.record(key, position?.connection, before, answer.changes);
        return { pos: `${connection}/${formatStreamToken(now)}`, ...answer.json };
      }
      await listener.wait(left, signal);
    }
  } finally {
    listener.close();
  }
}

/** Connections belong to devices; sessions without one have their access token in its place. */
function effectiveDevice(requester: Requester): string {
  if (requester.deviceId !== undefined) return requester.deviceId;
  return requester.accessTokenId === undefined ? "guest" : String(requester.accessTokenId);
}

interface Answer {
  readonly json: Record<string, unknown>;
  readonly changes: ConnectionChanges;
  readonly hasNews: boolean;
}

async function build(ctx: SlidingSyncContext, request: SlidingSyncRequest, before: ConnectionState, now: StreamToken): Promise<Answer> {
  const { requester, position, body } = request;
  const { userId, deviceId } = requester;
  const since = position?.token;
  const changes = new ConnectionChanges();
  const interested = await interestedRooms(ctx, ctx.slidingRoomLists, userId, body, since?.room.stream, now.room.stream);
  const results = await loadRooms(ctx, userId, interested, before, changes, since?.room.stream, now.room.stream);
  if (since !== undefined) await recordUnsentRooms(ctx, interested, before, changes, since);
  const extensions = await loadExtensions(ctx, { requester, userId, deviceId, body, interested, results, since, now, before, changes });
  const json: Record<string, unknown> = {};
  if (interested.lists.size > 0) json.lists = Object.fromEntries(interested.lists);
  json.rooms = await roomsJson(ctx, requester, results, now);
  json.extensions = extensions.json;
  return { json, changes, hasNews: results.length > 0 || extensions.hasNews };
}

/** Rooms that the client had and that are in no window now: what happens in them is sent when they come back. */
async function recordUnsentRooms(
  ctx: SlidingSyncContext,
  interested: InterestedRooms,
  before: ConnectionState,
  changes: ConnectionChanges,
  since: StreamToken,
): Promise<void> {
  const away = [...before.sent.rooms].filter(([roomId, sent]) => sent.status === "live" && !interested.relevant.has(roomId)).map(([roomId]) => roomId);
  if (away.length === 0) return;
  const touched = ctx.changes.events.changed(since.room.stream, Number.MAX_SAFE_INTEGER);
  const candidates = touched === undefined ? away : away.filter((roomId) => touched.has(roomId));
  if (candidates.length === 0) return;
  changes.recordUnsent("rooms", before, await roomsWithNewEvents(ctx.read, candidates, since.room.stream), formatRoomPosition(since.room));
}

async function roomsJson(ctx: SlidingSyncContext, requester: Requester, results: readonly RoomResult[], now: StreamToken): Promise<Record<string, unknown>> {
  const limited = results.filter((result) => result.limited).flatMap((result) => (result.timeline ?? []).map((item) => item.event));
  const bundles = limited.length === 0 ? noBundles : await bundleAggregations(ctx, requester.userId, limited);
  const timeline = results.flatMap((result) => result.timeline ?? []);
  const state = results.flatMap((result) => result.requiredState);
  // State that stands in the timeline too says in both places what it replaced.
  const shown = new Set(timeline.map((item) => item.event.eventId));
  const [timelineTexts, plainTexts, shownTexts] = await Promise.all([
    presentEvents(ctx, requester, timeline, { format: "client-without-room", bundles, previous: true }),
    presentEvents(ctx, requester, state, { format: "client-without-room" }),
    presentEvents(
      ctx,
      requester,
      state.filter((event) => shown.has(event.eventId)),
      { format: "client-without-room", previous: true },
    ),
  ]);
  let next = 0;
  const stateTexts = state.map((event, index) => (shown.has(event.eventId) ? shownTexts[next++]! : plainTexts[index]!));
  const textOf = new Map<object, JsonText>();
  timeline.forEach((item, index) => textOf.set(item, timelineTexts[index]!));
  state.forEach((item, index) => textOf.set(item, stateTexts[index]!));
  const json: Record<string, unknown> = {};
  for (const result of results) {
    const room: Record<string, unknown> = { notification_count: 0, highlight_count: 0 };
    if (result.bumpStamp !== undefined) room.bump_stamp = result.bumpStamp;
    if (result.joinedCount !== undefined) room.joined_count = result.joinedCount;
    if (result.invitedCount !== undefined) room.invited_count = result.invitedCount;
    if (result.name) room.name = result.name;
    if (result.avatar) room.avatar = result.avatar;
    if (result.heroes.length > 0) room.heroes = result.heroes.map((event) => hero(event.stateKey!, event.content));
    if (result.initial) room.initial = true;
    if (result.expandedTimeline) room.unstable_expanded_timeline = true;
    if (result.requiredState.length > 0) room.required_state = result.requiredState.map((event) => textOf.get(event)!);
    if (result.timeline !== undefined && result.timeline.length > 0) room.timeline = result.timeline.map((item) => textOf.get(item)!);
    if (result.limited !== undefined) room.limited = result.limited;
    if (result.prevBatch !== undefined) room.prev_batch = formatStreamToken({ ...now, room: result.prevBatch });
    if (result.numLive !== undefined) room.num_live = result.numLive;
    if (result.isDirect) room.is_dm = true;
    if (result.strippedState.length > 0) room.invite_state = result.strippedState;
    json[result.roomId] = room;
  }
  return json;
}

function hero(userId: string, content: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { displayname, avatar_url } = content;
  return { user_id: userId, ...(typeof displayname === "string" ? { displayname } : {}), ...(typeof avatar_url === "string" ? { avatar_url } : {}) };
}
