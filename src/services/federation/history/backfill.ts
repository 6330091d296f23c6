import { DestinationDenied, DestinationUnavailable, RemoteError } from "../../../outbound/federation/client.ts";
import { type MatrixEvent, stateKeyOf } from "../../../protocol/event/event.ts";
import { MAX_DEPTH } from "../../../protocol/event/format.ts";
import { getDomain } from "../../../protocol/ids.ts";
import { historyVisibility } from "../../../protocol/visibility.ts";
import { DatabaseUnavailable } from "../../../storage/database.ts";
import { type BackfillPoint, backfillPoints, serversBySeniority } from "../../../storage/federation/backfill-points.ts";
import { eventsFollowing } from "../../../storage/federation/following.ts";
import type { Context } from "../../context.ts";
import { checkPdus } from "../pdu-checks.ts";
import { type ReceiveContext, receivePulledEvents } from "../receive-events.ts";

export type BackfillContext = ReceiveContext & Pick<Context, "inbound" | "members" | "state">;

/** Events asked for at once. */
const EVENTS = 100;
/** Missing events named in one request: the URI must not become too long. */
const MOST_POINTS = 5;
const CANDIDATES = 50;
/** Servers asked, and refusals after which asking makes no sense. */
const MOST_SERVERS = 20;
const MOST_REFUSALS = 5;
const ANSWER_BYTES = 16 * 1024 * 1024;
const VISIBILITY_KEY = stateKeyOf("m.room.history_visibility", "");

/**
 * Fetches history that is missing near a depth, or about to be reached from there (`limit` events a page), from servers in the room; true
 * when something may have been stored. Never fails. Must not run twice at a time for a room.
 */
export async function backfillRoom(ctx: BackfillContext, roomId: string, depth: number | bigint, limit: number): Promise<boolean> {
  const version = await ctx.roomVersions.get(roomId);
  if (version === undefined || (await ctx.members.joinedLocal(roomId)).size === 0) return false;
  const padded = BigInt(depth) + BigInt(EVENTS) > MAX_DEPTH ? MAX_DEPTH : BigInt(depth) + BigInt(EVENTS);
  const found = await backfillPoints(ctx.read, roomId, padded, ctx.clock.now(), CANDIDATES);
  const points = byNearness(found, depth);
  const nearest = points[0];
  // Twice a page, so that history is there before it is asked for.
  if (nearest === undefined || BigInt(depth) - 2n * BigInt(limit) > BigInt(nearest.depth)) return false;
  const wanted = await worthAsking(ctx, roomId, points);
  if (wanted.length === 0) return false;

  let refusals = 0;
  const log = ctx.log.named("synapse.handlers.federation");
  for (const server of await serversBySeniority(ctx.read, roomId, MOST_SERVERS)) {
    if (server === ctx.config.server.serverName) continue;
    try {
      await backfillFrom(ctx, { server, roomId, version }, wanted);
      return true;
    } catch (error) {
      if (error instanceof DatabaseUnavailable) return false;
      if (!(error instanceof RemoteError || error instanceof DestinationUnavailable || error instanceof DestinationDenied))
        log.error(`Failed to backfill from ${server}`, { error });
      else log.info(`Failed to backfill from ${server}: ${error.message}`);
      if (error instanceof RemoteError && error.status < 500 && ++refusals >= MOST_REFUSALS) return false;
    }
  }
  return false;
}

async function backfillFrom(
  ctx: BackfillContext,
  source: { server: string; roomId: string; version: MatrixEvent["roomVersion"] },
  eventIds: readonly string[],
): Promise<void> {
  const answer = await ctx.federationClient.requestObject({
    method: "GET",
    destination: source.server,
    path: `/_matrix/federation/v1/backfill/${encodeURIComponent(source.roomId)}`,
    query: { v: eventIds, limit: String(EVENTS) },
    maxBytes: ANSWER_BYTES,
  });
  const pdus = Array.isArray(answer.pdus) ? answer.pdus.slice(0, 2 * EVENTS) : [];
  const { events } = await checkPdus(ctx, source.version, source.roomId, pdus, ctx.clock.now());
  await ctx.inbound.rooms.exclusively(source.roomId, () => receivePulledEvents(ctx, source, events, true));
}

/** Nearest to the depth first; of two as near, the one that lies below. */
function byNearness(points: readonly BackfillPoint[], depth: number | bigint): BackfillPoint[] {
  const at = BigInt(depth);
  const distance = ({ depth: other }: BackfillPoint): bigint => (at > BigInt(other) ? at - BigInt(other) : BigInt(other) - at);
  return [...points].sort((a, b) => {
    const [left, right] = [distance(a), distance(b)];
    if (left !== right) return left < right ? -1 : 1;
    return Number(BigInt(a.depth) > at) - Number(BigInt(b.depth) > at);
  });
}

/** Those of the missing events behind which there is something that a local user may see. */
async function worthAsking(ctx: BackfillContext, roomId: string, points: readonly BackfillPoint[]): Promise<string[]> {
  const following = await eventsFollowing(
    ctx.read,
    points.map((point) => point.eventId),
  );
  const events = await ctx.events.get([...following.values()].flat());
  const states = await ctx.state.afterEvents(events.keys());
  const visibilities = await ctx.events.get([...states.values()].flatMap((state) => state.get(VISIBILITY_KEY) ?? []));
  const members = new Map<string, boolean>();
  const visible = async (eventId: string): Promise<boolean> => {
    const state = states.get(eventId);
    if (state === undefined) return false;
    const id = state.get(VISIBILITY_KEY);
    const visibility = historyVisibility(id === undefined ? undefined : visibilities.get(id)?.content.history_visibility);
    if (visibility === "world_readable" || visibility === "shared") return true;
    const wanted = visibility === "invited" ? ["join", "invite"] : ["join"];
    const ids = [...state].flatMap(([key, memberId]) =>
      key.startsWith("m.room.member\u0000") && getDomain(key) === ctx.config.server.serverName ? [memberId] : [],
    );
    const key = ids.join(" ");
    let isIn = members.get(key);
    if (isIn === undefined) {
      isIn = [...(await ctx.events.get(ids)).values()].some((event) => wanted.includes(event.membership ?? ""));
      members.set(key, isIn);
    }
    return isIn;
  };
  const wanted: string[] = [];
  for (const { eventId } of points) {
    if (wanted.length >= MOST_POINTS) break;
    for (const id of following.get(eventId) ?? []) {
      if (!(await visible(id))) continue;
      wanted.push(eventId);
      break;
    }
  }
  return wanted;
}
