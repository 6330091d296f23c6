import { memberKey } from "../../protocol/power-levels.ts";
import type { Context } from "../context.ts";
import type { StoredEvents } from "../events/publish.ts";
import { requesterFor } from "../requester.ts";
import { updateMembership } from "./membership.ts";

/** When a room closes itself to guests, those of this server leave it (client-server API, "Guest access"). Called after each commit. */
export function kickGuestsWhenClosed(ctx: Context, { roomId, backfilled, events }: StoredEvents): void {
  const closes = events.some(
    (event) => event.type === "m.room.guest_access" && event.stateKey === "" && !event.outlier && event.content.guest_access !== "can_join",
  );
  if (backfilled || !closes) return;
  kickGuests(ctx, roomId).catch((error: unknown) => ctx.log.named("synapse.handlers.room_member").warn("Error kicking guest user", { error }));
}

async function kickGuests(ctx: Context, roomId: string): Promise<void> {
  const local = await ctx.members.joinedLocal(roomId);
  const members = await ctx.state.current(roomId, [...local].map(memberKey));
  for (const event of members.values()) {
    if (event.membership !== "join" || event.content.kind !== "guest") continue;
    const userId = event.stateKey!;
    const requester = requesterFor(userId, { isGuest: true, authenticatedEntity: ctx.config.server.serverName });
    await updateMembership(ctx, requester, { roomId, target: userId, action: "leave" }, { rateLimit: false, requireConsent: false });
  }
}
