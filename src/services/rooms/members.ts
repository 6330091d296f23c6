import { forbidden, MatrixError, notFound } from "../../protocol/errors.ts";
import { type MatrixEvent, stateKeyOf } from "../../protocol/event/event.ts";
import { lastEventBefore } from "../../storage/rooms/pagination.ts";
import { memberProfiles } from "../../storage/rooms/member-profiles.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import type { StreamToken } from "../streams/token.ts";
import { isJoined, requireReadAccess } from "../room-access/access.ts";

type Needs = Pick<Context, "read" | "events" | "state" | "members" | "appservices">;

/**
 * State events of a room as the user may see them: now, at the time of leaving for those who left, or at a position of the stream.
 * `types`: only these entries (state key undefined: all of the type).
 * @throws MatrixError 403, 404
 */
export async function stateFor(
  ctx: Needs,
  requester: Requester,
  roomId: string,
  types: readonly (readonly [string, string | undefined])[] | undefined,
  at: StreamToken | undefined,
): Promise<MatrixEvent[]> {
  const filter = types?.map(([type, stateKey]): [string, string | undefined] => [type, stateKey]);
  let ids: Iterable<string>;
  if (at !== undefined) {
    const last = await lastEventBefore(ctx.read, roomId, at.room);
    if (last === undefined) throw notFound(`Can't find event for token ${at.room.stream}`);
    // CVE-2021-39164: a token is no right to look.
    if (!(await maySeeStateAt(ctx, requester.userId, roomId, last)))
      throw forbidden(`User ${requester.userId} not allowed to view events in room ${roomId} at token ${at.room.stream}`);
    ids = (await ctx.state.afterEvents([last], filter)).get(last)?.values() ?? [];
  } else {
    const access = await requireReadAccess(ctx, requester, roomId, { departed: true });
    if (access.membership === "join") {
      const current = await ctx.state.currentIds(roomId);
      ids =
        filter === undefined
          ? current.values()
          : [...current]
              .filter(([key]) => filter.some(([type, stateKey]) => (stateKey === undefined ? key.startsWith(`${type}\0`) : key === stateKeyOf(type, stateKey))))
              .map(([, id]) => id);
    } else ids = (await ctx.state.afterEvents([access.eventId!], filter)).get(access.eventId!)?.values() ?? [];
  }
  return [...(await ctx.events.get(ids)).values()];
}

async function maySeeStateAt(ctx: Needs, userId: string, roomId: string, eventId: string): Promise<boolean> {
  const filter: [string, string][] = [
    ["m.room.member", userId],
    ["m.room.history_visibility", ""],
  ];
  const state = (await ctx.state.afterEvents([eventId], filter)).get(eventId);
  if (state === undefined) return false;
  const events = await ctx.state.hydrate(state);
  const membership = events.get(stateKeyOf("m.room.member", userId))?.membership;
  if (membership === "join") return true;
  const visibility = events.get(stateKeyOf("m.room.history_visibility", ""))?.content.history_visibility;
  if (visibility === "joined") return false;
  if (membership === "invite") return true;
  if (visibility === "invited") return false;
  if (visibility === "world_readable") return true;
  return await isJoined(ctx, userId, roomId);
}

/** Joined members with their names and pictures; for members, and for appservices with a user in the room. @throws MatrixError 403 */
export async function joinedMembers(
  ctx: Needs,
  requester: Requester,
  roomId: string,
): Promise<Record<string, { avatar_url: string | null; display_name: string | null }>> {
  const service = requester.appserviceId === undefined ? undefined : ctx.appservices.byId(requester.appserviceId);
  if (service === undefined) {
    const access = await requireReadAccess(ctx, requester, roomId, { departed: true });
    if (access.membership !== "join") {
      throw forbidden("Getting joined members while not being a current member of the room is forbidden.");
    }
  } else {
    const joined = await ctx.members.joined(roomId);
    if (!joined.has(requester.userId) && ![...joined].some((userId) => service.interestedInUser(userId)))
      throw new MatrixError(403, "M_FORBIDDEN", "Appservice not in room");
  }
  const members: Record<string, { avatar_url: string | null; display_name: string | null }> = Object.create(null) as never;
  for (const row of await memberProfiles(ctx.read, roomId)) members[row.user_id] = { avatar_url: row.avatar_url, display_name: row.display_name };
  return members;
}
