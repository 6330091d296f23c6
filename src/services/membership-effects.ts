import { getDomain } from "../protocol/ids.ts";
import { unsubscribeFromStrangers } from "../storage/devices/lists-remote.ts";
import type { Context } from "./context.ts";
import type { StoredEvents } from "./events/publish.ts";

/**
 * What follows for per-user data when memberships change: who left types no more, and the device lists of remote users with whom we share
 * no room are not kept up to date by their servers any more.
 */
export function followMemberships(ctx: Pick<Context, "config" | "typing" | "transaction" | "log">, { roomId, backfilled, memberships }: StoredEvents): void {
  if (backfilled || memberships.length === 0) return;
  const ownName = ctx.config.server.serverName;
  const gone: string[] = [];
  for (const { userId, membership } of memberships) {
    if (membership === "join") continue;
    if (getDomain(userId) === ownName) {
      ctx.typing.stopped(roomId, userId);
    } else {
      ctx.typing.receivedRemote(roomId, userId, false);
      gone.push(userId);
    }
  }
  if (gone.length === 0) return;
  ctx
    .transaction("mark_remote_user_device_list_as_unsubscribed", (txn) => unsubscribeFromStrangers(txn, gone))
    .catch((error: unknown) => {
      ctx.log.named("synapse.handlers.device").warn("Device lists of users who left could not be unsubscribed from", { error });
    });
}
