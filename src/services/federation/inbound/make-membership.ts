import type { JsonObject } from "../../../lib/json.ts";
import { forbidden, MatrixError, notFound } from "../../../protocol/errors.ts";
import { templatePdu } from "../../../protocol/event/serialise.ts";
import { getDomain, isUserId } from "../../../protocol/ids.ts";
import type { RoomVersion } from "../../../protocol/room-versions.ts";
import { isPartialStateRoom } from "../../../storage/rooms/rooms.ts";
import type { Context } from "../../context.ts";
import { createEvent, type CreateContext } from "../../events/create.ts";
import { RoomHead } from "../../events/room-head.ts";
import { authorisedBy } from "../../rooms/member-content.ts";
import { authoriserForRemote } from "../../rooms/restricted-join.ts";
import { type AccessContext, requireAllowedByAcl, requireRoomVersion } from "./access.ts";

export type MakeMembershipContext = CreateContext & AccessContext & Pick<Context, "limits" | "members">;

export interface MembershipRequest {
  readonly origin: string;
  readonly roomId: string;
  readonly userId: string;
}

/** A join for the other server to complete (`/make_join`). @throws MatrixError 400 M_INCOMPATIBLE_ROOM_VERSION, 403, 404, 429 */
export async function makeJoin(ctx: MakeMembershipContext, request: MembershipRequest, supportedVersions: readonly string[]): Promise<JsonObject> {
  const version = await allowed(ctx, request, supportedVersions);
  await ctx.limits.check("joinsPerRoom", request.roomId, { count: false });
  await requireHere(ctx, request, "make_join");
  const by = await authoriserForRemote(ctx, request.roomId, version, request.userId);
  const content: JsonObject = { membership: "join" };
  return await template(ctx, request, version, by === undefined ? content : authorisedBy(content, by));
}

/** A leave (`/make_leave`). @throws MatrixError 403, 404 */
export async function makeLeave(ctx: MakeMembershipContext, request: MembershipRequest): Promise<JsonObject> {
  const version = await allowed(ctx, request, undefined);
  if ((await ctx.members.joinedLocal(request.roomId)).size === 0) throw notFound("Not an active room on this server");
  return await template(ctx, request, version, { membership: "leave" });
}

/** A knock (`/make_knock`). @throws MatrixError 400 M_INCOMPATIBLE_ROOM_VERSION, 403, 404 */
export async function makeKnock(ctx: MakeMembershipContext, request: MembershipRequest, supportedVersions: readonly string[]): Promise<JsonObject> {
  const version = await allowed(ctx, request, supportedVersions);
  if (!version.knocking) throw forbidden("This room version does not support knocking");
  await requireHere(ctx, request, "make_knock");
  return await template(ctx, request, version, { membership: "knock" });
}

async function allowed(
  ctx: MakeMembershipContext,
  { origin, roomId, userId }: MembershipRequest,
  supportedVersions: readonly string[] | undefined,
): Promise<RoomVersion> {
  await requireAllowedByAcl(ctx, origin, roomId);
  const version = await requireRoomVersion(ctx, roomId);
  if (supportedVersions !== undefined && !supportedVersions.includes(version.id)) {
    throw new MatrixError(400, "M_INCOMPATIBLE_ROOM_VERSION", "Your homeserver does not support the features required to interact with this room", {
      room_version: version.id,
    });
  }
  if (!isUserId(userId) || getDomain(userId) !== origin) throw forbidden("User not from origin");
  return version;
}

async function requireHere(ctx: MakeMembershipContext, { roomId }: MembershipRequest, request: string): Promise<void> {
  if (await isPartialStateRoom(ctx.read, roomId)) throw notFound(`Unable to handle /${request} right now; this server is not fully joined.`);
  if ((await ctx.members.joinedLocal(roomId)).size === 0) throw notFound("Not an active room on this server");
}

async function template(ctx: MakeMembershipContext, { roomId, userId }: MembershipRequest, version: RoomVersion, content: JsonObject): Promise<JsonObject> {
  // On what is stored: an event that is still on its way might be refused, and the join would hang in the air.
  const { storedTips, minDepth, hasJoinedRow } = await ctx.persister.head(roomId);
  const { event } = await createEvent(ctx, new RoomHead(storedTips, minDepth, hasJoinedRow), roomId, version, {
    type: "m.room.member",
    stateKey: userId,
    sender: userId,
    content,
  });
  const { event_id: _eventId, ...json } = templatePdu(event.json);
  return { event: json, room_version: version.id };
}
