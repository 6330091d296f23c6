import type { Context } from "../context.ts";
import { accountDataOfNewRooms, accountDataSince, roomAccountDataSince, tagEvent, tagsSince } from "../account-data/streams.ts";
import { deviceListChanges } from "../devices/lists.ts";
import { acknowledgeToDevice, toDeviceSince } from "../devices/to-device.ts";
import { pushRulesSince } from "../push/streams.ts";
import { receiptsOfTimelines, receiptsSince } from "../receipts/streams.ts";
import type { Requester } from "../requester.ts";
import { parseWriterPosition, type StreamToken } from "../streams/token.ts";
import type { ConnectionChanges, ConnectionState } from "./connection.ts";
import { stickyEventsExtension, threadSubscriptionsExtension } from "./new-extensions.ts";
import { profilesExtension } from "./profiles-extension.ts";
import type { PerRoomExtension, SlidingSyncBody } from "./request.ts";
import type { InterestedRooms } from "./room-list.ts";
import type { RoomResult } from "./rooms.ts";

type Needs = Parameters<typeof stickyEventsExtension>[0] &
  Pick<Context, "deviceInboxes" | "ignoredUsers" | "keyCounts" | "members" | "pushRules" | "read" | "streams" | "transaction" | "typing">;

export interface ExtensionInput {
  readonly requester: Requester;
  readonly userId: string;
  readonly deviceId: string | undefined;
  readonly body: SlidingSyncBody;
  readonly interested: InterestedRooms;
  readonly results: readonly RoomResult[];
  readonly since: StreamToken | undefined;
  readonly now: StreamToken;
  readonly before: ConnectionState;
  readonly changes: ConnectionChanges;
}

/** The `extensions` of an answer, and whether any holds something that a client must be woken for. */
export interface Extensions {
  readonly json: Record<string, unknown>;
  readonly hasNews: boolean;
}

/** What the extensions that the request turned on have to say. */
export async function loadExtensions(ctx: Needs, input: ExtensionInput): Promise<Extensions> {
  const wanted = input.body.extensions ?? {};
  const json: Record<string, unknown> = {};
  let hasNews = false;
  const add = (name: string, part: { json: unknown; news: boolean } | undefined): void => {
    if (part === undefined) return;
    json[name] = part.json;
    hasNews ||= part.news;
  };
  const [toDevice, e2ee, accountData, receipts] = await Promise.all([
    wanted.to_device?.enabled ? toDeviceExtension(ctx, input, wanted.to_device) : undefined,
    wanted.e2ee?.enabled ? e2eeExtension(ctx, input) : undefined,
    wanted.account_data?.enabled ? accountDataExtension(ctx, input, wanted.account_data) : undefined,
    wanted.receipts?.enabled ? receiptsExtension(ctx, input, wanted.receipts) : undefined,
  ]);
  add("to_device", toDevice);
  add("e2ee", e2ee);
  add("account_data", accountData);
  add("receipts", receipts);
  const threads = wanted["io.element.msc4308.thread_subscriptions"];
  if (threads?.enabled)
    add("io.element.msc4308.thread_subscriptions", await threadSubscriptionsExtension(ctx, input.userId, input.since, input.now, threads.limit));
  const sticky = wanted["org.matrix.msc4354.sticky_events"];
  if (sticky?.enabled) add("org.matrix.msc4354.sticky_events", await stickyEventsExtension(ctx, input.requester, input, sticky));
  const profiles = wanted["org.matrix.msc4262.profiles"];
  if (profiles?.enabled) add("org.matrix.msc4262.profiles", await profilesExtension(ctx, input, profiles.fields ?? undefined));
  if (wanted.typing?.enabled) add("typing", await typingExtension(ctx, input, wanted.typing));
  return { json, hasNews };
}

type Part = { json: unknown; news: boolean };

async function toDeviceExtension(
  ctx: Needs,
  { userId, deviceId, now }: ExtensionInput,
  options: { limit: number; since?: string | null | undefined },
): Promise<Part | undefined> {
  if (deviceId === undefined) return undefined;
  const since = Math.max(0, Number(options.since ?? 0));
  if (since > 0) await acknowledgeToDevice(ctx, userId, deviceId, since);
  const { messages, position } = await toDeviceSince(
    ctx,
    userId,
    deviceId,
    Math.min(since, now.toDevice),
    now.toDevice,
    Math.min(Math.max(options.limit, 0), 100),
  );
  return { json: { next_batch: String(position), events: messages }, news: messages.length > 0 };
}

async function e2eeExtension(ctx: Needs, { userId, deviceId, since, now, interested, results }: ExtensionInput): Promise<Part | undefined> {
  if (deviceId === undefined) return undefined;
  const counts = await ctx.keyCounts.of(userId, deviceId);
  const json: Record<string, unknown> = { device_one_time_keys_count: counts.oneTimeKeys, device_unused_fallback_key_types: counts.unusedFallbackTypes };
  if (since === undefined) return { json, news: false };
  const newlyJoinedUsers = new Set<string>();
  const newlyLeftUsers = new Set<string>();
  for (const result of results) {
    if (result.room.membership !== "join") continue;
    for (const event of [...result.requiredState, ...(result.timeline ?? []).map((item) => item.event)]) {
      if (event.type !== "m.room.member" || event.stateKey === undefined || (event.streamOrdering ?? 0) <= since.room.stream) continue;
      if (event.membership === "join" || event.membership === "invite" || event.membership === "knock") newlyJoinedUsers.add(event.stateKey);
      else newlyLeftUsers.add(event.stateKey);
    }
  }
  const lists = await deviceListChanges(ctx, userId, since.deviceLists.stream, now.deviceLists.stream, {
    joinedRoomIds: interested.joined,
    newlyJoinedRooms: interested.newlyJoined,
    newlyLeftRooms: interested.newlyLeft,
    newlyJoinedUsers,
    newlyLeftUsers,
  });
  json.device_lists = { changed: [...lists.changed], left: [...lists.left] };
  return { json, news: lists.changed.size > 0 || lists.left.size > 0 };
}

async function accountDataExtension(ctx: Needs, input: ExtensionInput, options: PerRoomExtension): Promise<Part> {
  const { userId, since, now, before, changes } = input;
  const withoutDeleted = ctx.config.experimental.msc3391Enabled;
  const rooms = relevantRooms(input, options);
  const fresh = new Set(rooms.filter((roomId) => before.sent.account_data.get(roomId) === undefined));
  const known = rooms.filter((roomId) => !fresh.has(roomId));
  const behind = known.filter((roomId) => before.sent.account_data.get(roomId)?.status === "previously");
  const from = Math.min(since?.accountData ?? 0, ...behind.map((roomId) => Number(before.sent.account_data.get(roomId)?.lastToken ?? 0)));
  const byRoom = new Map<string, { type: string; content: unknown }[]>();
  const [added, changed, rules, data, tags] = await Promise.all([
    accountDataOfNewRooms(ctx, userId, [...fresh], since === undefined, withoutDeleted),
    since === undefined ? [] : accountDataSince(ctx, userId, since.accountData, now.accountData, withoutDeleted),
    pushRulesSince(ctx, userId, since?.pushRules, now.pushRules),
    known.length === 0 ? new Map() : roomAccountDataSince(ctx, userId, from, now.accountData, known, withoutDeleted),
    known.length === 0 ? new Map() : tagsSince(ctx, userId, from, now.accountData, known),
  ]);
  const global: readonly { type: string; content: unknown }[] = since === undefined ? added.global : changed;
  const all = rules === undefined ? global : [...global, { type: "m.push_rules", content: rules }];
  let hasData = all.length > 0;
  for (const roomId of rooms) {
    const ownTags = added.tags.get(roomId) ?? tags.get(roomId);
    const own = [...(added.rooms.get(roomId) ?? data.get(roomId) ?? []), ...(ownTags === undefined ? [] : [tagEvent(ownTags)])];
    // Rooms that are new to the client are named even without data.
    if (own.length > 0 || fresh.has(roomId)) byRoom.set(roomId, own);
    hasData ||= own.length > 0;
  }
  // Rooms outside the window whose data changed are caught up when they come back.
  if (since !== undefined && ctx.changes.accountData.hasChanged(userId, since.accountData)) {
    const here = new Set(rooms);
    const others = [...before.sent.account_data].filter(([roomId, sent]) => sent.status === "live" && !here.has(roomId)).map(([roomId]) => roomId);
    changes.recordUnsent("account_data", before, others, String(since.accountData));
  }
  changes.recordSent("account_data", before, rooms);
  return { json: { global: all, rooms: Object.fromEntries(byRoom) }, news: hasData };
}

async function receiptsExtension(ctx: Needs, input: ExtensionInput, options: PerRoomExtension): Promise<Part> {
  const { userId, since, now, before, changes, results } = input;
  const rooms = relevantRooms(input, options);
  const status = (roomId: string): string | undefined => before.sent.receipts.get(roomId)?.status;
  const fresh = new Set(rooms.filter((roomId) => status(roomId) === undefined || since === undefined));
  const live = rooms.filter((roomId) => since !== undefined && status(roomId) === "live");
  const behind = rooms.filter((roomId) => since !== undefined && status(roomId) === "previously");
  const timelineIds = results.filter((result) => fresh.has(result.roomId)).flatMap((result) => (result.timeline ?? []).map((item) => item.event.eventId));
  const oldest = Math.min(...behind.map((roomId) => parseWriterPosition(before.sent.receipts.get(roomId)?.lastToken ?? "0").stream));
  const parts = await Promise.all([
    receiptsOfTimelines(ctx, userId, [...fresh], timelineIds, now.receipt.stream),
    since === undefined ? new Map() : receiptsSince(ctx, userId, live, since.receipt.stream, now.receipt.stream),
    behind.length === 0 ? new Map() : receiptsSince(ctx, userId, behind, oldest, now.receipt.stream),
  ]);
  const json: Record<string, unknown> = {};
  for (const part of parts) for (const [roomId, content] of part) json[roomId] = { type: "m.receipt", content };
  if (since !== undefined) {
    const here = new Set(rooms);
    const others = [...before.sent.receipts]
      .filter(([roomId, sent]) => sent.status === "live" && !here.has(roomId) && ctx.changes.receipts.hasChanged(roomId, since.receipt.stream))
      .map(([roomId]) => roomId);
    changes.recordUnsent("receipts", before, others, String(since.receipt.stream));
  }
  changes.recordSent("receipts", before, rooms);
  return { json: { rooms: json }, news: Object.keys(json).length > 0 };
}

async function typingExtension(ctx: Needs, input: ExtensionInput, options: PerRoomExtension): Promise<Part> {
  const rooms = relevantRooms(input, options).filter((roomId) => input.interested.rooms.get(roomId)?.membership === "join");
  const ignored = await ctx.ignoredUsers.ignoredBy(input.userId);
  const json: Record<string, unknown> = {};
  for (const [roomId, users] of ctx.typing.changedRooms(rooms, input.since?.typing ?? 0, input.now.typing)) {
    const shown = users.filter((userId) => !ignored.has(userId));
    if (input.since === undefined && shown.length === 0) continue;
    json[roomId] = { type: "m.typing", content: { user_ids: shown } };
  }
  return { json: { rooms: json }, news: Object.keys(json).length > 0 };
}

/** Rooms that an extension covers: those in the windows of the named lists, and the named subscriptions; `*` stands for all. */
function relevantRooms({ body, interested }: ExtensionInput, options: PerRoomExtension): string[] {
  const rooms = new Set<string>();
  const lists = options.lists ?? ["*"];
  for (const [name, list] of interested.lists) {
    if (!lists.includes("*") && !lists.includes(name)) continue;
    for (const op of list.ops) for (const roomId of op.room_ids) rooms.add(roomId);
    if (list.ops.length === 0) for (const roomId of interested.relevant.keys()) rooms.add(roomId);
  }
  const subscribed = options.rooms ?? ["*"];
  for (const roomId of Object.keys(body.room_subscriptions ?? {})) if (subscribed.includes("*") || subscribed.includes(roomId)) rooms.add(roomId);
  return [...rooms].filter((roomId) => interested.relevant.has(roomId));
}
