import { toNumber } from "../../../lib/json.ts";
import { DatabaseUnavailable } from "../../../storage/database.ts";
import { isEventId } from "../../../protocol/ids.ts";
import { serversBySeniority } from "../../../storage/federation/backfill-points.ts";
import { readEventFlags } from "../../../storage/events/rows.ts";
import { fetchEvent } from "../fetch-events.ts";
import { receivePulledEvents } from "../receive-events.ts";
import type { BackfillContext } from "./backfill.ts";

const MOST_SERVERS = 5;
const TIMEOUT_MS = 10_000;
const ANSWER_BYTES = 64 * 1024;

/**
 * The event that other servers in the room have closest to a time (MSC3030); it is fetched and stored before the answer. undefined when
 * nobody knows one. Must not run twice at a time for a room.
 */
export async function remoteEventNearTime(
  ctx: BackfillContext,
  request: { roomId: string; timestamp: number; backwards: boolean },
): Promise<{ eventId: string; originServerTs: number } | undefined> {
  const { roomId } = request;
  const version = await ctx.roomVersions.get(roomId);
  if (version === undefined || (await ctx.members.joinedLocal(roomId)).size === 0) return undefined;
  for (const server of await serversBySeniority(ctx.read, roomId, MOST_SERVERS + 1)) {
    if (server === ctx.config.server.serverName) continue;
    const source = { server, roomId, version };
    try {
      const answer = await ctx.federationClient.requestObject({
        method: "GET",
        destination: server,
        path: `/_matrix/federation/v1/timestamp_to_event/${encodeURIComponent(roomId)}`,
        query: { ts: String(request.timestamp), dir: request.backwards ? "b" : "f" },
        timeoutMs: TIMEOUT_MS,
        maxBytes: ANSWER_BYTES,
      });
      const eventId = answer.event_id;
      if (!isEventId(eventId) || toNumber(answer.origin_server_ts) === undefined) continue;
      const flags = (await readEventFlags(ctx.read, [eventId])).get(eventId);
      if (flags === undefined || flags.outlier) {
        const event = await fetchEvent(ctx, source, eventId);
        if (event !== undefined) await ctx.inbound.rooms.exclusively(roomId, () => receivePulledEvents(ctx, source, [event], true));
      }
      // By our own copy: what the server said may be anything.
      const stored = await ctx.events.one(eventId);
      if (stored !== undefined && stored.roomId === roomId && !stored.outlier) return { eventId, originServerTs: stored.originServerTs };
    } catch (error) {
      if (error instanceof DatabaseUnavailable) throw error;
      ctx.log.named("synapse.federation.federation_client").info(`Failed to ask ${server} for the event nearest to a time`, { error });
    }
  }
  return undefined;
}
