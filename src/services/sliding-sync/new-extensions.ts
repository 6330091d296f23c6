import { invalidParam } from "../../protocol/errors.ts";
import { type StickyEvent, stickyEventsInRooms } from "../../storage/sync/sticky-events.ts";
import type { Context } from "../context.ts";
import { presentEvents } from "../present.ts";
import { threadSubscriptionChanges } from "../push/thread-subscriptions.ts";
import type { Requester } from "../requester.ts";
import type { StreamToken } from "../streams/token.ts";
import { filterForUser } from "../visibility.ts";
import type { InterestedRooms } from "./room-list.ts";
import type { RoomResult } from "./rooms.ts";

/** Extensions behind flags: threads that the user subscribed to (MSC4308), and sticky events (MSC4354). */
type Needs = Parameters<typeof presentEvents>[0] & Parameters<typeof filterForUser>[0] & Pick<Context, "changes">;

const MAX_STICKY_EVENTS = 100;

/** Changes since the last answer, the newest ones; `prev_batch` leads to older ones. Undefined where there are none. */
export async function threadSubscriptionsExtension(
  ctx: Pick<Context, "read" | "changes" | "config">,
  userId: string,
  since: StreamToken | undefined,
  now: StreamToken,
  limit: number,
): Promise<{ json: unknown; news: boolean } | undefined> {
  if (!ctx.config.experimental.msc4306Enabled || limit <= 0) return undefined;
  const { subscribed, unsubscribed, moreUpTo } = await threadSubscriptionChanges(
    ctx,
    userId,
    since?.threadSubscriptions ?? 0,
    now.threadSubscriptions,
    Math.min(limit, MAX_SUBSCRIPTIONS),
  );
  const json = {
    ...(Object.keys(subscribed).length > 0 ? { subscribed } : {}),
    ...(Object.keys(unsubscribed).length > 0 ? { unsubscribed } : {}),
    ...(moreUpTo === undefined ? {} : { prev_batch: `ts${moreUpTo}` }),
  };
  return Object.keys(json).length === 0 ? undefined : { json, news: true };
}

const MAX_SUBSCRIPTIONS = 512;

/**
 * Sticky events of the rooms of interest from `since` on, an own position; who is in a room sees them whatever its history visibility says. What
 * stands in the timelines of the same answer is left out.
 * @throws MatrixError 400 for a `since` that is none
 */
export async function stickyEventsExtension(
  ctx: Needs,
  requester: Requester,
  answer: { readonly interested: InterestedRooms; readonly results: readonly RoomResult[]; readonly now: StreamToken },
  options: { readonly limit: number; readonly since?: string | null | undefined },
): Promise<{ json: unknown; news: boolean } | undefined> {
  if (!ctx.config.experimental.msc4354Enabled) return undefined;
  const since = options.since === undefined || options.since === null ? 0 : positionOf(options.since);
  const upTo = answer.now.stickyEvents;
  const { joined: known, all: inLists, relevant } = answer.interested;
  const all = inLists();
  const roomIds = [...known].filter((roomId) => all.has(roomId) || relevant.has(roomId));
  const range = { since, upTo, now: ctx.clock.now() };
  const limit = Math.min(options.limit, MAX_STICKY_EVENTS);
  const found: StickyEvent[] = since >= upTo || roomIds.length === 0 ? [] : await stickyEventsInRooms(ctx.read, roomIds, range, limit);
  const shown = new Set(answer.results.flatMap((result) => (result.timeline ?? []).map((item) => item.event.eventId)));
  const ids = found.map(({ eventId }) => eventId);
  const visible = await filterForUser(ctx, requester.userId, [...(await ctx.events.get(ids)).values()], { always: new Set(ids) });
  const fresh = visible.filter(({ event }) => !shown.has(event.eventId));
  const texts = await presentEvents(ctx, requester, fresh, { format: "client-without-room" });
  const rooms: Record<string, { events: unknown[] }> = {};
  for (const { event } of visible) rooms[event.roomId] ??= { events: [] };
  fresh.forEach(({ event }, index) => rooms[event.roomId]!.events.push(texts[index]));
  return { json: { rooms, next_batch: `sticky_${found.at(-1)?.streamId ?? upTo}` }, news: visible.length > 0 };
}

function positionOf(text: string): number {
  const digits = /^sticky_(\d{1,15})$/.exec(text)?.[1];
  if (digits === undefined) throw invalidParam("Invalid sticky events token");
  return Number(digits);
}
