import type { JsonText } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { relationsOf, threadsOfRoom, threadsParticipated } from "../../storage/rooms/relations.ts";
import type { Context } from "../context.ts";
import { presentEvent, presentEvents } from "../present.ts";
import type { Requester } from "../requester.ts";
import { requireReadAccess, visibilityFor } from "../room-access/access.ts";
import type { Pagination } from "../rooms/messages.ts";
import { visibleEvent } from "../room-access/single-event.ts";
import { formatStreamToken, START_TOKEN } from "../streams/token.ts";
import { filterForUser } from "../visibility.ts";
import { bundleAggregations } from "./bundle.ts";

type Needs = Pick<
  Context,
  "config" | "read" | "clock" | "events" | "state" | "members" | "ignoredUsers" | "erasedUsers" | "accounts" | "isServerAdmin" | "modules"
>;

/** How far `recurse` follows relations of relations at least; what clients are told (MSC3981). */
const RECURSION_DEPTH = 3;

export interface RelationsRequest {
  readonly roomId: string;
  readonly parentId: string;
  readonly relationType: string | undefined;
  readonly eventType: string | undefined;
  readonly recurse: boolean;
  /** The unstable route repeats the parent. */
  readonly withOriginal: boolean;
}

/** Events that relate to one event (client-server API, "Relationships API"). @throws MatrixError 403, 404 */
export async function relatedEvents(ctx: Needs, requester: Requester, request: RelationsRequest, pagination: Pagination): Promise<Record<string, unknown>> {
  const access = await requireReadAccess(ctx, requester, request.roomId, { departed: true });
  const parent = await visibleEvent(ctx, requester.userId, request.roomId, request.parentId);
  if (parent === undefined) throw new MatrixError(404, "M_UNKNOWN", "Unknown parent event.");
  const rows = await relationsOf(ctx.read, {
    roomId: request.roomId,
    parentId: request.parentId,
    relationType: request.relationType,
    eventType: request.eventType,
    backwards: pagination.backwards,
    from: pagination.from?.room,
    to: pagination.to?.room,
    recurse: request.recurse,
    limit: pagination.limit + 1,
  });
  // The edits of a redacted event are gone with it.
  const redacted = parent.event.redactedBecause !== undefined;
  const kept = rows.filter((row) => !redacted || row.relation_type !== "m.replace");
  const page = kept.slice(0, pagination.limit);
  const last = kept.length > pagination.limit ? page.at(-1) : undefined;
  const loaded = await ctx.events.get(page.map((row) => row.event_id));
  const visible = await filterForUser(ctx, requester.userId, [...loaded.values()], visibilityFor(access));
  const bundles = await bundleAggregations(
    ctx,
    requester.userId,
    visible.map((item) => item.event),
  );
  return {
    chunk: await presentEvents(ctx, requester, visible, { bundles, previous: true }),
    ...(request.recurse ? { recursion_depth: RECURSION_DEPTH } : {}),
    ...(request.withOriginal ? { original_event: await presentEvent(ctx, requester, parent, { previous: true }) } : {}),
    ...(last === undefined
      ? {}
      : {
          next_batch: formatStreamToken({
            ...(pagination.from ?? START_TOKEN),
            room: { topological: last.topological_ordering, stream: pagination.backwards ? last.stream_ordering - 1 : last.stream_ordering },
          }),
        }),
    ...(pagination.from === undefined ? {} : { prev_batch: formatStreamToken(pagination.from) }),
  };
}

/** Threads of a room, the one with the newest reply first (client-server API, "Querying threads in a room"). @throws MatrixError 400, 403 */
export async function roomThreads(
  ctx: Needs,
  requester: Requester,
  roomId: string,
  request: { participatedOnly: boolean; limit: number; from: string | undefined },
): Promise<{ chunk: JsonText[]; next_batch?: string }> {
  const access = await requireReadAccess(ctx, requester, roomId, { departed: true });
  const rows = await threadsOfRoom(ctx.read, roomId, request.from === undefined ? undefined : parseThreadsToken(request.from), request.limit + 1);
  const page = rows.slice(0, request.limit);
  const last = rows.length > request.limit ? page.at(-1) : undefined;
  const loaded = await ctx.events.get(page.map((row) => row.thread_id));
  let roots: readonly MatrixEvent[] = [...loaded.values()];
  if (request.participatedOnly) {
    const others = roots.filter((root) => root.sender !== requester.userId).map((root) => root.eventId);
    const participated = await threadsParticipated(ctx.read, others, requester.userId);
    roots = roots.filter((root) => root.sender === requester.userId || participated.has(root.eventId));
  }
  const visible = await filterForUser(ctx, requester.userId, roots, visibilityFor(access));
  const bundles = await bundleAggregations(
    ctx,
    requester.userId,
    visible.map((item) => item.event),
  );
  return {
    chunk: await presentEvents(ctx, requester, visible, { bundles, previous: true, impersonal: true }),
    ...(last === undefined ? {} : { next_batch: `${last.topological_ordering}_${last.stream_ordering}` }),
  };
}

function parseThreadsToken(text: string): { topological: bigint; stream: number } {
  const match = /^(-?\d{1,19})_(-?\d{1,15})$/.exec(text);
  if (match === null) throw new MatrixError(400, "M_UNKNOWN", "Invalid threads token");
  return { topological: BigInt(match[1]!), stream: Number(match[2]) };
}
