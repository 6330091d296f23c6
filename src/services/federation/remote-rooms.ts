import { KeyedMutex } from "../../lib/keyed-mutex.ts";
import type { Context } from "../context.ts";
import type { RemoteRooms } from "../rooms/remote-rooms.ts";
import { backfillRoom } from "./history/backfill.ts";
import { remoteEventNearTime } from "./history/event-near-time.ts";
import { exchangeInvite } from "./inbound/third-party-invites.ts";
import { joinOneAtATime } from "./joining/join-room.ts";
import { knockOnRoom, rejectInviteAt, sendInviteTo } from "./joining/outside-memberships.ts";
import { remoteAlias, remoteComplexity, remoteHierarchy, remoteRoomList } from "./queries/room-queries.ts";

/** What rooms need of other servers, from those servers. */
export function remoteRooms(context: () => Context): RemoteRooms {
  const joins = new KeyedMutex();
  const history = new KeyedMutex();
  return {
    resolveAlias: (alias) => remoteAlias(context(), alias),
    publicRooms: (server, request) => remoteRoomList(context(), server, request),
    join: (request) => joinOneAtATime(context(), request, joins),
    knock: (request) => knockOnRoom(context(), request),
    sendInvite: (invite) => sendInviteTo(context(), invite),
    rejectInvite: (request) => rejectInviteAt(context(), request),
    async backfill(roomId, depth, limit) {
      const ctx = context();
      try {
        return await history.exclusively(roomId, () => backfillRoom(ctx, roomId, depth, limit));
      } catch (error) {
        ctx.log.named("synapse.handlers.federation").warn(`History of ${roomId} could not be fetched`, { error });
        return false;
      }
    },
    eventNearTime: (request) => history.exclusively(request.roomId, () => remoteEventNearTime(context(), request)),
    hierarchy: (request) => remoteHierarchy(context(), request),
    complexity: (roomId, servers) => remoteComplexity(context(), roomId, servers),
    exchangeThirdPartyInvite: (request) => exchangeInvite(context(), request),
  };
}
