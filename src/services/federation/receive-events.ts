import { type MatrixEvent } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import { cachedDevices } from "../../storage/devices/lists-remote.ts";
import { failedPulls, recordFailedPulls } from "../../storage/federation/pull-attempts.ts";
import { DatabaseUnavailable } from "../../storage/database.ts";
import type { Context } from "../context.ts";
import { distrustDevices, type RemoteDeviceContext } from "../devices/lists-remote.ts";
import { isRetryable } from "../events/persister.ts";
import { type EventSource, fetchMissingEvents } from "./fetch-events.ts";
import { EventRefused, type IntakeContext, RoomIntake } from "./room-intake.ts";

/**
 * The way of events from other servers into their rooms. All of it works on events that `checkPdus` let through, and must run within
 * `ctx.inbound.rooms.exclusively(roomId, ...)`.
 */
export type ReceiveContext = IntakeContext & RemoteDeviceContext & Pick<Context, "members" | "policyServers" | "transaction">;

/** An event with the server that sent it. */
export interface ReceivedEvent {
  readonly event: MatrixEvent;
  readonly origin: string;
}

const ATTEMPTS = 5;
/** For so long a server may have us ask in vain for what lies before its events of one batch. */
const VAIN_MS = 120_000;
const HOUR_MS = 3_600_000;
const MOST_DOUBLINGS = 8;

const log = (ctx: Pick<Context, "log">): Context["log"] => ctx.log.named("synapse.handlers.federation_event");

/**
 * New events of a room, in the order of their arrival: those that follow each other are stored together; gaps before them are filled from
 * their senders. Events that cannot be taken are dropped.
 * @throws DatabaseUnavailable when nothing is known about their fate: try again later
 */
export async function receiveNewEvents(ctx: ReceiveContext, roomId: string, received: readonly ReceivedEvent[]): Promise<void> {
  const version = received[0]?.event.roomVersion;
  if (version === undefined) return;
  if ((await ctx.members.joinedLocal(roomId)).size === 0) {
    for (const { event } of received) await takeRescission(ctx, event);
    return;
  }
  const judged = await ctx.policyServers.judge(
    roomId,
    received.map(({ event }) => event),
  );
  const ordered = inOrder(received.map(({ origin }, index) => ({ event: judged[index]!, origin })));
  const vain: VainQuestions = new Map();
  try {
    await receiveTogether(ctx, roomId, ordered, vain);
  } catch (error) {
    if (error instanceof DatabaseUnavailable) throw error;
    // One of them cannot be stored: each by itself, so that it harms no other.
    for (const one of ordered) {
      try {
        await receiveTogether(ctx, roomId, [one], vain);
      } catch (singleError) {
        if (singleError instanceof DatabaseUnavailable) throw singleError;
        log(ctx).error(`Failed to handle PDU ${one.event.eventId}`, { error: singleError });
      }
    }
  }
}

/** Milliseconds by server that questions took whose answers filled no gap. */
type VainQuestions = Map<string, number>;

async function receiveTogether(ctx: ReceiveContext, roomId: string, received: readonly ReceivedEvent[], vain: VainQuestions): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await receiveOnce(ctx, roomId, received, vain);
      return;
    } catch (error) {
      if (!isRetryable(error) || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Nobody's events wait for those before which something is missing: these come last, and only so many questions about them are asked. */
async function receiveOnce(ctx: ReceiveContext, roomId: string, received: readonly ReceivedEvent[], vain: VainQuestions): Promise<void> {
  let intake = await RoomIntake.open(ctx, roomId);
  await intake.prepare(received.map(({ event }) => event));
  const sourceOf = ({ event, origin }: ReceivedEvent): EventSource => ({ server: origin, roomId, version: event.roomVersion });
  const afterGaps: ReceivedEvent[] = [];
  for (const item of received) {
    if (intake.has(item.event.eventId)) continue;
    if (intake.missingPrevs(item.event).length > 0) afterGaps.push(item);
    else await takeOrDrop(ctx, intake, item.event, sourceOf(item));
  }
  for (const [index, item] of afterGaps.entries()) {
    const { event, origin } = item;
    if (intake.has(event.eventId)) continue;
    if (intake.missingPrevs(event).length > 0) {
      const wasted = vain.get(origin) ?? 0;
      if (wasted >= VAIN_MS) {
        log(ctx).warn(`Rejecting ${event.eventId}: ${origin} was asked in vain for long enough`);
        continue;
      }
      await storeAndFollow(ctx, intake);
      const begun = ctx.clock.monotonic();
      await fillGap(ctx, sourceOf(item), event, intake);
      intake = await RoomIntake.open(ctx, roomId);
      await intake.prepare(afterGaps.slice(index).map((each) => each.event));
      const missing = intake.missingPrevs(event);
      if (missing.length > 0 || intake.has(event.eventId)) {
        if (missing.length > 0) log(ctx).warn(`Rejecting ${event.eventId}: failed to fetch ${missing.length} prev events`);
        if (missing.length > 0) vain.set(origin, wasted + ctx.clock.monotonic() - begun);
        continue;
      }
    }
    await takeOrDrop(ctx, intake, event, sourceOf(item));
  }
  await storeAndFollow(ctx, intake);
}

async function takeOrDrop(ctx: ReceiveContext, intake: RoomIntake, event: MatrixEvent, source: EventSource): Promise<void> {
  try {
    await intake.take(event, source);
  } catch (error) {
    if (!(error instanceof EventRefused)) throw error;
    log(ctx).warn(`Dropping event ${event.eventId} from ${source.server}: ${error.message}`);
  }
}

/** Asks the sender for what lies between the newest events that we have and this one. Events from before our time in the room are not looked for. */
async function fillGap(ctx: ReceiveContext, source: EventSource, event: MatrixEvent, intake: RoomIntake): Promise<void> {
  const { minDepth } = intake;
  if (minDepth === undefined || event.depth <= minDepth) return;
  const seen = event.prevEventIds.filter((id) => intake.has(id));
  try {
    const missing = await fetchMissingEvents(ctx, source, [...new Set([...intake.latestIds, ...seen])], [event.eventId], minDepth);
    await receivePulledEvents(
      ctx,
      source,
      missing.filter((one) => one.eventId !== event.eventId),
      false,
    );
  } catch (error) {
    if (error instanceof DatabaseUnavailable) throw error;
    log(ctx).warn(`Failed to get prev_events of ${event.eventId} from ${source.server}`, { error });
  }
}

/**
 * Events that this server asked for: those between it and a new event, or (`backfilled`) older history. Where even their previous events
 * are missing, the state there is fetched from the source. Events that failed before are left alone for a while.
 */
export async function receivePulledEvents(ctx: ReceiveContext, source: EventSource, events: readonly MatrixEvent[], backfilled: boolean): Promise<void> {
  const { roomId } = source;
  const ofRoom = events.filter((event) => event.roomId === roomId).sort((a, b) => (a.depth < b.depth ? -1 : a.depth > b.depth ? 1 : 0));
  if (ofRoom.length === 0) return;
  const sorted = await ctx.policyServers.judge(roomId, ofRoom);
  const intake = await RoomIntake.open(ctx, roomId, { backfilled });
  await intake.prepare(sorted);
  const lacking = [...new Set(sorted.flatMap((event) => intake.missingPrevs(event)))];
  const failures = await failedPulls(ctx.read, roomId, lacking);
  const now = ctx.clock.now();
  const resting = new Set(
    [...failures].filter(([, { attempts, lastTs }]) => now < lastTs + 2 ** Math.min(attempts, MOST_DOUBLINGS) * HOUR_MS).map(([id]) => id),
  );
  const failed: { eventId: string; cause: string }[] = [];
  for (const event of sorted) {
    if (intake.has(event.eventId)) continue;
    const missing = intake.missingPrevs(event);
    if (missing.some((id) => resting.has(id))) {
      log(ctx).warn(`Not attempting to pull the missing previous events of ${event.eventId}: tried lately`);
      continue;
    }
    try {
      await intake.take(event, source);
    } catch (error) {
      if (!(error instanceof EventRefused)) throw error;
      log(ctx).warn(`Pulled event ${event.eventId} failed history check: ${error.message}`);
      failed.push({ eventId: event.eventId, cause: error.message });
      for (const id of missing) {
        resting.add(id);
        failed.push({ eventId: id, cause: error.message });
      }
    }
  }
  if (failed.length > 0) {
    const byId = new Map(failed.map((failure) => [failure.eventId, failure]));
    await ctx.transaction("record_event_failed_pull_attempt", (txn) => recordFailedPulls(txn, roomId, [...byId.values()], now), {
      isolation: "read committed",
    });
  }
  await storeAndFollow(ctx, intake);
}

/** Stores what was taken; a message from a device that we do not know shows that our list of its owner's devices is out of date. */
async function storeAndFollow(ctx: ReceiveContext, intake: RoomIntake): Promise<void> {
  const events = intake.taken;
  await intake.store();
  const own = ctx.config.server.serverName;
  const encrypted = events.filter(
    (event) => event.type === "m.room.encrypted" && event.stateKey === undefined && event.rejectedReason === undefined && getDomain(event.sender) !== own,
  );
  if (encrypted.length === 0) return;
  const known = await cachedDevices(ctx.read, [...new Set(encrypted.map((event) => event.sender))]);
  const stale = new Set<string>();
  for (const { sender, content } of encrypted) {
    const deviceId = content.device_id;
    if (typeof deviceId === "string" && !known.get(sender)?.some((device) => device.deviceId === deviceId)) stale.add(sender);
  }
  for (const sender of stale) await distrustDevices(ctx, sender);
}

/** This server is not in the room: all that concerns it is that the invite of one of its users is taken back. */
async function takeRescission(ctx: ReceiveContext, event: MatrixEvent): Promise<void> {
  const target = event.stateKey;
  if (event.membership !== "leave" || target === undefined || target === event.sender || getDomain(target) !== ctx.config.server.serverName) return;
  const own = (await ctx.members.roomsOf(target)).get(event.roomId);
  if (own?.membership !== "invite" || own.sender !== event.sender || !event.authEventIds.includes(own.eventId)) return;
  event.outlier = true;
  event.internal.out_of_band_membership = true;
  await ctx.persister.persist([{ event }]);
}

/** Each event after those of the others that it follows; else in the order of arrival. */
function inOrder(received: readonly ReceivedEvent[]): ReceivedEvent[] {
  const byId = new Map<string, ReceivedEvent>();
  for (const item of received) if (!byId.has(item.event.eventId)) byId.set(item.event.eventId, item);
  const order: ReceivedEvent[] = [];
  const done = new Set<string>();
  for (const start of byId.keys()) {
    const stack = [{ id: start, expanded: false }];
    while (stack.length > 0) {
      const { id, expanded } = stack.pop()!;
      const item = byId.get(id);
      if (item === undefined || (done.has(id) && !expanded)) continue;
      if (expanded) {
        order.push(item);
        continue;
      }
      done.add(id);
      stack.push({ id, expanded: true });
      for (const prev of item.event.prevEventIds) if (!done.has(prev)) stack.push({ id: prev, expanded: false });
    }
  }
  return order;
}
