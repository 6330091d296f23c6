import type { Context } from "../context.ts";
import type { RemoteRooms } from "../rooms/remote-rooms.ts";
import { backfillRoom } from "./history/backfill.ts";
import { remoteEventNearTime } from "./history/event-near-time.ts";
import { exchangeInvite } from "./inbound/third-party-invites.ts";
import { joinOneAtATime } from "./joining/join-room.ts";
import { knockOnRoom, rejectInviteAt, sendInviteTo } from "./joining/outside-memberships.ts";
import { remoteAlias, remoteComplexity, remoteHierarchy, remoteRoomList } from "./queries/room-queries.ts";

/** Runs things one after another that have the same key. */
class Locks {
  private readonly last = new Map<string, Promise<void>>();

  async exclusively<T>(key: string, fn: () => Promise<T>): Promise<T> {
    const before = this.last.get(key);
    let release!: () => void;
    const mine = new Promise<void>((resolve) => (release = resolve));
    this.last.set(key, mine);
    try {
      await before;
      return await fn();
    } finally {
      if (this.last.get(key) === mine) this.last.delete(key);
      release();
    }
  }
}

/** What rooms need of other servers, from those servers. */
export function remoteRooms(context: () => Context): RemoteRooms {
  const joins = new Locks();
  const history = new Locks();
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
