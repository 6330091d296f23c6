import { type MatrixEvent, stateKeyOf } from "../../protocol/event/event.ts";
import type { Context } from "../context.ts";
import { inviteRuleOf } from "../account-data/invite-rules.ts";
import { accountDataSince, roomAccountDataSince, tagEvent, tagsSince } from "../account-data/streams.ts";
import { deviceListChanges } from "../devices/lists.ts";
import { acknowledgeToDevice, toDeviceSince } from "../devices/to-device.ts";
import { presenceEvent, presenceSince } from "../presence/streams.ts";
import { pushRulesSince } from "../push/streams.ts";
import { receiptsSince } from "../receipts/streams.ts";
import { bundleAggregations, noBundles } from "../relations/bundle.ts";
import { currentToken, type StreamToken } from "../streams/token.ts";
import { filterForUser } from "../visibility.ts";
import { profileUpdates } from "./profile-updates.ts";
import { isEmpty, type RoomAnswer, type SyncAnswer, syncResponse } from "./respond.ts";
import { syncSkeleton } from "./skeleton.ts";
import { loadStates, stateEvents } from "./state.ts";
import { stickyEventsSince } from "./sticky-events.ts";
import { loadSummaries } from "./summary.ts";
import { key, loadTimelines } from "./timeline.ts";
import type { Skeleton, SyncRequest } from "./types.ts";
import { userChanges } from "./user-changes.ts";

export type SyncContext = Pick<
  Context,
  | "accounts"
  | "changes"
  | "clock"
  | "config"
  | "modules"
  | "deviceInboxes"
  | "erasedUsers"
  | "events"
  | "ignoredUsers"
  | "isServerAdmin"
  | "keyCounts"
  | "lazyMembers"
  | "members"
  | "notifier"
  | "presence"
  | "profileFieldsSent"
  | "pushRules"
  | "read"
  | "state"
  | "streams"
  | "transaction"
  | "typing"
  | "unreadCounts"
>;

/**
 * Answers `/sync` (client-server API, "Syncing"): at once when there is something new or when it is a first or a full sync; else as
 * soon as something happens that concerns the user, at the latest after `timeoutMs`.
 */
export async function sync(ctx: SyncContext, request: SyncRequest, timeoutMs: number, signal: AbortSignal): Promise<Record<string, unknown>> {
  const listener = ctx.notifier.listen(request.userId);
  try {
    const deadline = ctx.clock.now() + timeoutMs;
    // The client has what the last answer held: its to-device messages may go.
    if (request.since !== undefined && request.deviceId !== undefined) await acknowledgeToDevice(ctx, request.userId, request.deviceId, request.since.toDevice);
    for (;;) {
      const answer = await buildAnswer(ctx, request, currentToken(ctx.streams, ctx.typing.serial));
      const left = deadline - ctx.clock.now();
      if (request.since === undefined || request.fullState || left <= 0 || signal.aborted || !isEmpty(answer)) return await syncResponse(ctx, request, answer);
      await listener.wait(left, signal);
    }
  } finally {
    listener.close();
  }
}

async function buildAnswer(ctx: SyncContext, request: SyncRequest, now: StreamToken): Promise<SyncAnswer> {
  const { filter, since, userId, deviceId } = request;
  const excluded = new Set(ctx.config.server.excludeRoomsFromSync);
  const skeleton = await withoutUnwantedInvites(ctx, userId, await syncSkeleton(ctx, request, now.room.stream, excluded));
  const [rooms, global, toDevice, keys] = await Promise.all([
    loadRooms(ctx, request, now, skeleton),
    filter.accountData.blocksAll ? [] : globalAccountData(ctx, request, now),
    deviceId === undefined ? { messages: [], position: now.toDevice } : toDeviceSince(ctx, userId, deviceId, since?.toDevice ?? 0, now.toDevice),
    deviceId === undefined ? undefined : ctx.keyCounts.of(userId, deviceId),
  ]);
  const { joined } = rooms;
  const users = since === undefined ? undefined : userChanges(joined);
  const [presence, profiles, deviceLists] = await Promise.all([
    presenceFor(ctx, request, now, skeleton, users?.arrived ?? new Set()),
    profileUpdates(ctx, request, now, rooms),
    since === undefined
      ? { changed: new Set<string>(), left: new Set<string>() }
      : deviceListChanges(ctx, userId, since.deviceLists.stream, now.deviceLists.stream, {
          joinedRoomIds: skeleton.joinedRoomIds,
          newlyJoinedRooms: skeleton.newlyJoined,
          newlyLeftRooms: skeleton.newlyLeft,
          newlyJoinedUsers: users!.arrived,
          newlyLeftUsers: users!.departed,
        }),
  ]);
  return {
    ...rooms,
    nextBatch: { ...now, toDevice: toDevice.position, stickyEvents: rooms.stickyPosition },
    accountData: global,
    presence,
    profiles,
    toDevice: toDevice.messages,
    deviceLists: { changed: [...deviceLists.changed], left: [...deviceLists.left] },
    oneTimeKeyCounts: keys?.oneTimeKeys ?? {},
    unusedFallbackKeyTypes: keys?.unusedFallbackTypes ?? [],
  };
}

type RoomParts = Pick<SyncAnswer, "joined" | "archived" | "invited" | "knocked" | "bundles"> & { readonly stickyPosition: number };

async function loadRooms(ctx: SyncContext, request: SyncRequest, now: StreamToken, skeleton: Skeleton): Promise<RoomParts> {
  const { filter, userId } = request;
  if (filter.blocksAllRooms) return { joined: [], archived: [], invited: [], knocked: [], bundles: noBundles, stickyPosition: now.stickyEvents };
  const entries = skeleton.entries.filter((entry) => filter.acceptsRoom(entry.roomId));
  const joinedIds = entries.filter((entry) => entry.kind === "joined").map((entry) => entry.roomId);
  const sinceOf = <T>(pick: (token: StreamToken) => T): T | undefined => (request.since === undefined || request.fullState ? undefined : pick(request.since));
  const accountSince = sinceOf((token) => token.accountData);
  const withoutDeleted = ctx.config.experimental.msc3391Enabled;
  const newRooms = [...skeleton.newlyJoined];
  const [batches, ephemeral, accountData, tags, newTags, newAccountData, sticky] = await Promise.all([
    loadTimelines(ctx, request, entries, async (events) => filterForUser(ctx, userId, events, { always: await inCurrentState(ctx, events) })),
    filter.ephemeral.blocksAll ? new Map<string, unknown[]>() : ephemeralEvents(ctx, request, now, joinedIds),
    filter.roomAccountData.blocksAll
      ? new Map<string, { type: string; content: unknown }[]>()
      : roomAccountDataSince(ctx, userId, accountSince, now.accountData, undefined, withoutDeleted),
    tagsSince(ctx, userId, accountSince, now.accountData, undefined),
    newRooms.length === 0 ? new Map() : tagsSince(ctx, userId, undefined, now.accountData, newRooms),
    newRooms.length === 0 || filter.roomAccountData.blocksAll
      ? new Map()
      : roomAccountDataSince(ctx, userId, undefined, now.accountData, newRooms, withoutDeleted),
    stickyEventsSince(ctx, userId, request.since, now, joinedIds),
  ]);

  const active = entries.filter((entry) => {
    const batch = batches.get(key(entry))!;
    return (
      entry.fullState ||
      batch.events.length > 0 ||
      batch.limited ||
      ephemeral.has(entry.roomId) ||
      accountData.has(entry.roomId) ||
      tags.has(entry.roomId) ||
      sticky.byRoom.has(entry.roomId) ||
      ctx.changes.currentState.hasChanged(entry.roomId, entry.since ?? 0)
    );
  });
  const states = await loadStates(ctx, request, active, batches, ctx.lazyMembers);
  const summaries = await loadSummaries(ctx, request, active, batches, states, ctx.lazyMembers);
  const limited = active.filter((entry) => batches.get(key(entry))!.limited).flatMap((entry) => batches.get(key(entry))!.events.map(({ event }) => event));
  const [byId, bundles, shown] = await Promise.all([
    stateEvents(ctx, states),
    limited.length === 0 ? noBundles : bundleAggregations(ctx, userId, limited),
    ctx.events.get([...[...skeleton.invited.values()].map((invite) => invite.eventId), ...skeleton.knocked.values()]),
  ]);

  const answers: Omit<RoomAnswer, "counts">[] = [];
  for (const entry of active) {
    const batch = batches.get(key(entry))!;
    const state = [...(states.get(key(entry))?.values() ?? [])]
      .map((id) => byId.get(id))
      .filter((event) => event !== undefined && event.type !== "m.room.aliases")
      .filter((event) => filter.state.accepts(event!)) as RoomAnswer["state"][number][];
    const ownTags = tags.get(entry.roomId) ?? newTags.get(entry.roomId);
    const own = [...(ownTags === undefined ? [] : [tagEvent(ownTags)]), ...(accountData.get(entry.roomId) ?? newAccountData.get(entry.roomId) ?? [])].filter(
      (item: { type: string }) => filter.roomAccountData.accepts({ type: item.type, roomId: entry.roomId }),
    );
    const events = entry.kind === "joined" ? (ephemeral.get(entry.roomId) ?? []) : [];
    const inTimeline = new Set(batch.events.map(({ event }) => event.eventId));
    const stillSticky = entry.kind === "joined" ? (sticky.byRoom.get(entry.roomId) ?? []).filter(({ event }) => !inTimeline.has(event.eventId)) : [];
    const something = entry.fullState || request.fullState || batch.limited || [batch.events, state, events, own, stillSticky].some((part) => part.length > 0);
    if (something) answers.push({ entry, batch, state, ephemeral: events, accountData: own, sticky: stillSticky, summary: summaries.get(entry.roomId) });
  }
  const shownRooms = answers.filter((room) => room.entry.kind === "joined").map((room) => room.entry.roomId);
  const counts = shownRooms.length === 0 ? undefined : await ctx.unreadCounts(userId, shownRooms);
  const finished = answers.map((room) => ({ ...room, counts: counts?.get(room.entry.roomId) }));
  const present = (ids: Iterable<readonly [roomId: string, eventId: string]>): RoomParts["invited"] =>
    [...ids].filter(([roomId]) => filter.acceptsRoom(roomId)).flatMap(([, id]) => shown.get(id) ?? []);
  return {
    joined: finished.filter((room) => room.entry.kind === "joined"),
    archived: finished.filter((room) => room.entry.kind === "archived"),
    invited: present([...skeleton.invited].map(([roomId, invite]) => [roomId, invite.eventId] as const)),
    knocked: present(skeleton.knocked),
    bundles,
    stickyPosition: sticky.position,
  };
}

/** Those of the events that are part of their room's current state: members may see them, whenever they were sent. */
async function inCurrentState(ctx: Pick<Context, "state">, events: readonly MatrixEvent[]): Promise<Set<string>> {
  const stateEvents = events.filter((event) => event.isState() && !event.outlier);
  const current = await ctx.state.currentIdsOf(stateEvents.map((event) => event.roomId));
  return new Set(
    stateEvents.filter((event) => current.get(event.roomId)?.get(stateKeyOf(event.type, event.stateKey!)) === event.eventId).map((event) => event.eventId),
  );
}

/** `m.typing` and `m.receipt` events by room. */
async function ephemeralEvents(ctx: SyncContext, request: SyncRequest, now: StreamToken, roomIds: readonly string[]): Promise<Map<string, unknown[]>> {
  const { filter, userId, since } = request;
  const byRoom = new Map<string, unknown[]>();
  const add = (roomId: string, type: string, content: unknown): void => {
    if (!filter.ephemeral.accepts({ type, roomId })) return;
    const list = byRoom.get(roomId);
    if (list === undefined) byRoom.set(roomId, [{ type, content }]);
    else list.push({ type, content });
  };
  const ignored = await ctx.ignoredUsers.ignoredBy(userId);
  for (const [roomId, users] of ctx.typing.changedRooms(roomIds, since?.typing ?? 0, now.typing)) {
    add(roomId, "m.typing", { user_ids: users.filter((user) => !ignored.has(user)) });
  }
  for (const [roomId, content] of await receiptsSince(ctx, userId, roomIds, since?.receipt.stream, now.receipt.stream)) add(roomId, "m.receipt", content);
  return byRoom;
}

async function globalAccountData(ctx: SyncContext, request: SyncRequest, now: StreamToken): Promise<unknown[]> {
  const since = request.fullState ? undefined : request.since;
  const [entries, rules] = await Promise.all([
    accountDataSince(ctx, request.userId, since?.accountData, now.accountData, ctx.config.experimental.msc3391Enabled),
    pushRulesSince(ctx, request.userId, since?.pushRules, now.pushRules),
  ]);
  const events = [...entries, ...(rules === undefined ? [] : [{ type: "m.push_rules", content: rules }])];
  return events.filter((event) => request.filter.accountData.accepts({ type: event.type }));
}

async function presenceFor(ctx: SyncContext, request: SyncRequest, now: StreamToken, skeleton: Skeleton, arrived: ReadonlySet<string>): Promise<unknown[]> {
  if (request.filter.presence.blocksAll || !ctx.presence.enabled) return [];
  const hidden = ctx.config.server.presence.excludedRooms;
  const rooms = [...skeleton.joinedRoomIds].filter((roomId) => !hidden.has(roomId));
  const since = request.fullState ? undefined : request.since?.presence;
  const states = await presenceSince(ctx, request.userId, rooms, since, now.presence, ctx.config.server.presence.includeOfflineUsersOnSync);
  const byUser = new Map(states.map((state) => [state.userId, state]));
  const met = new Set(arrived);
  for (const roomId of skeleton.newlyJoined) for (const member of await ctx.members.joined(roomId)) met.add(member);
  met.delete(request.userId);
  const unknown = [...met].filter((userId) => !byUser.has(userId));
  if (unknown.length > 0) for (const [userId, state] of await ctx.presence.get(unknown)) byUser.set(userId, state);
  const at = ctx.clock.now();
  return [...byUser.values()]
    .filter((state) => request.filter.presence.accepts({ type: "m.presence", sender: state.userId }))
    .map((state) => presenceEvent(state, at));
}

/** Invites of ignored users, and those that the user's invite rules swallow, are not shown. */
async function withoutUnwantedInvites(ctx: SyncContext, userId: string, skeleton: Skeleton): Promise<Skeleton> {
  if (skeleton.invited.size === 0) return skeleton;
  const [ignored, rule] = await Promise.all([ctx.ignoredUsers.ignoredBy(userId), inviteRuleOf(ctx, userId, ctx.config.experimental.msc4155Enabled)]);
  const invited = new Map([...skeleton.invited].filter(([, { sender }]) => !ignored.has(sender) && rule(sender) !== "ignore"));
  return { ...skeleton, invited };
}
