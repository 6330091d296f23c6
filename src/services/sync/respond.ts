import type { JsonText } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import type { Context, UnreadCounts } from "../context.ts";
import { presentEvents } from "../present.ts";
import type { Bundles } from "../relations/bundle.ts";
import { formatStreamToken, type StreamToken } from "../streams/token.ts";
import type { VisibleEvent } from "../visibility.ts";
import type { ProfileUpdates } from "./profile-updates.ts";
import type { RoomSummary } from "./summary.ts";
import type { RoomEntry, SyncRequest, TimelineBatch } from "./types.ts";

/** One room of the answer before it is written. */
export interface RoomAnswer {
  readonly entry: RoomEntry;
  readonly batch: TimelineBatch;
  readonly state: readonly MatrixEvent[];
  readonly ephemeral: readonly unknown[];
  readonly accountData: readonly unknown[];
  /** Events that are sticky (MSC4354) and not part of the timeline. */
  readonly sticky: readonly VisibleEvent[];
  readonly summary: RoomSummary | undefined;
  readonly counts: UnreadCounts | undefined;
}

/** Everything that a `/sync` answer consists of. */
export interface SyncAnswer {
  readonly nextBatch: StreamToken;
  readonly joined: readonly RoomAnswer[];
  readonly archived: readonly RoomAnswer[];
  readonly invited: readonly MatrixEvent[];
  readonly knocked: readonly MatrixEvent[];
  /** Aggregations of the events of limited timelines. */
  readonly bundles: Bundles;
  readonly accountData: readonly unknown[];
  readonly presence: readonly unknown[];
  readonly profiles: ProfileUpdates;
  readonly toDevice: readonly unknown[];
  readonly deviceLists: { readonly changed: readonly string[]; readonly left: readonly string[] };
  readonly oneTimeKeyCounts: Readonly<Record<string, number>>;
  readonly unusedFallbackKeyTypes: readonly string[];
}

/** True when the client need not be woken: nothing but key counts and the token would be sent. */
export function isEmpty(answer: SyncAnswer): boolean {
  const { changed, left } = answer.deviceLists;
  const lists = [answer.joined, answer.archived, answer.invited, answer.knocked, answer.accountData, answer.presence, answer.toDevice, changed, left];
  return lists.every((list) => list.length === 0) && Object.keys(answer.profiles).length === 0;
}

/** The JSON of a `/sync` answer (client-server API, "Syncing"). Empty parts are left out, as Synapse does. */
export async function syncResponse(
  ctx: Pick<Context, "clock" | "config" | "events" | "isServerAdmin" | "modules">,
  request: SyncRequest,
  answer: SyncAnswer,
): Promise<Record<string, unknown>> {
  const texts = new Texts();
  for (const room of [...answer.joined, ...answer.archived]) texts.want([...room.batch.events, ...room.sticky], room.state);
  await texts.write(ctx, request, answer.bundles, [...answer.invited, ...answer.knocked]);

  const rooms: Record<string, unknown> = {};
  if (answer.joined.length > 0) rooms.join = Object.fromEntries(answer.joined.map((room) => [room.entry.roomId, roomJson(request, answer, room, texts)]));
  if (answer.invited.length > 0)
    rooms.invite = Object.fromEntries(
      answer.invited.map((event) => [event.roomId, { invite_state: { events: strippedState(event, "invite_room_state", texts) } }]),
    );
  if (answer.knocked.length > 0)
    rooms.knock = Object.fromEntries(
      answer.knocked.map((event) => [event.roomId, { knock_state: { events: strippedState(event, "knock_room_state", texts) } }]),
    );
  if (answer.archived.length > 0) rooms.leave = Object.fromEntries(answer.archived.map((room) => [room.entry.roomId, roomJson(request, answer, room, texts)]));

  const response: Record<string, unknown> = { next_batch: formatStreamToken(answer.nextBatch) };
  if (answer.accountData.length > 0) response.account_data = { events: answer.accountData };
  if (answer.presence.length > 0) response.presence = { events: answer.presence };
  const profiles = Object.entries(answer.profiles).map(([userId, fields]) => [userId, { profile_updates: fields }] as const);
  if (profiles.length > 0) response["org.matrix.msc4429.users"] = Object.fromEntries(profiles);
  if (answer.toDevice.length > 0) response.to_device = { events: answer.toDevice };
  const { changed, left } = answer.deviceLists;
  if (changed.length > 0 || left.length > 0) response.device_lists = { ...(changed.length > 0 ? { changed } : {}), ...(left.length > 0 ? { left } : {}) };
  response.device_one_time_keys_count = answer.oneTimeKeyCounts;
  response.device_unused_fallback_key_types = answer.unusedFallbackKeyTypes;
  if (Object.keys(rooms).length > 0) response.rooms = rooms;
  return response;
}

/** The texts of all events of an answer, written in one go so that what they refer to is loaded by one read. */
class Texts {
  private readonly timeline: VisibleEvent[] = [];
  private readonly state: MatrixEvent[] = [];
  private readonly texts = new Map<VisibleEvent | MatrixEvent, JsonText>();

  want(timeline: readonly VisibleEvent[], state: readonly MatrixEvent[]): void {
    this.timeline.push(...timeline);
    this.state.push(...state);
  }

  /** `memberships` are invites and knocks: shown whole, whatever fields the filter asks for. */
  async write(
    ctx: Pick<Context, "clock" | "config" | "events" | "isServerAdmin" | "modules">,
    request: SyncRequest,
    bundles: Bundles,
    memberships: readonly MatrixEvent[],
  ): Promise<void> {
    const { filter, requester } = request;
    const format = filter.eventFormat === "federation" ? "federation" : "client-without-room";
    const options = { format, bundles, ...(filter.eventFields === undefined ? {} : { fields: filter.eventFields }) } as const;
    // What a state event replaced is said in timelines, not in the state around them.
    const [timelineTexts, stateTexts, membershipTexts] = await Promise.all([
      presentEvents(ctx, requester, this.timeline, { ...options, previous: true }),
      presentEvents(ctx, requester, this.state, options),
      presentEvents(ctx, requester, memberships, { format }),
    ]);
    this.timeline.forEach((item, index) => this.texts.set(item, timelineTexts[index]!));
    this.state.forEach((item, index) => this.texts.set(item, stateTexts[index]!));
    memberships.forEach((item, index) => this.texts.set(item, membershipTexts[index]!));
  }

  of(item: VisibleEvent | MatrixEvent): JsonText {
    return this.texts.get(item)!;
  }
}

function roomJson(request: SyncRequest, answer: SyncAnswer, room: RoomAnswer, texts: Texts): Record<string, unknown> {
  const { batch } = room;
  const json: Record<string, unknown> = {
    timeline: {
      events: batch.events.map((item) => texts.of(item)),
      prev_batch: formatStreamToken({ ...answer.nextBatch, room: { stream: batch.prevBatch } }),
      limited: batch.limited,
    },
    [request.stateAfter ?? "state"]: { events: room.state.map((event) => texts.of(event)) },
    account_data: { events: room.accountData },
  };
  if (room.entry.kind === "archived") return json;
  json.ephemeral = { events: room.ephemeral };
  json.unread_notifications = notificationCounts(request, room.counts);
  if (room.sticky.length > 0) json.msc4354_sticky = { events: room.sticky.map((item) => texts.of(item)) };
  const threads = request.filter.unreadThreadNotifications ? threadCounts(room.counts) : undefined;
  if (threads !== undefined) json.unread_thread_notifications = threads;
  json.summary = room.summary ?? {};
  return json;
}

function notificationCounts(request: SyncRequest, counts: UnreadCounts | undefined): { notification_count: number; highlight_count: number } {
  let notifications = counts?.main.notifications ?? 0;
  let highlights = counts?.main.highlights ?? 0;
  if (!request.filter.unreadThreadNotifications) {
    for (const thread of counts?.threads.values() ?? []) {
      notifications += thread.notifications;
      highlights += thread.highlights;
    }
  }
  return { notification_count: notifications, highlight_count: highlights };
}

function threadCounts(counts: UnreadCounts | undefined): Record<string, unknown> | undefined {
  if (counts === undefined || counts.threads.size === 0) return undefined;
  const json: Record<string, unknown> = {};
  for (const [threadId, thread] of counts.threads) json[threadId] = { notification_count: thread.notifications, highlight_count: thread.highlights };
  return json;
}

/** The stripped state that came with an invite or knock, and the event itself. */
function strippedState(event: MatrixEvent, field: "invite_room_state" | "knock_room_state", texts: Texts): unknown[] {
  const stripped = event.unsigned[field];
  return [...(Array.isArray(stripped) ? stripped : []), texts.of(event)];
}
