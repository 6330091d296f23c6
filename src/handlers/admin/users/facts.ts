import type { JsonObject } from "../../../lib/json.ts";
import { forbidden, missingParam, notFound } from "../../../protocol/errors.ts";
import { badRequest, checkLocalUser, isLocal, localAccount } from "../../../services/admin/targets.ts";
import { globalAccountData, roomAccountData } from "../../../storage/accounts/account-data.ts";
import { countJoinedRoomsSince, countSentInvites, currentMemberships } from "../../../storage/admin/users.ts";
import { pushersOfUser } from "../../../storage/push/pushers.ts";
import { endpoint } from "../../http/endpoint.ts";
import type { Query } from "../../http/query.ts";

const USERS = "/_synapse/admin/v1/users/:userId";

/** Where a user's tokens were used; users may ask about themselves. */
export const whois = endpoint({
  servlet: "WhoisRestServlet",
  method: "GET",
  path: ["/_synapse/admin/v1/whois/:userId", "/_matrix/client/(api/v1|r0|v3|unstable)/admin/whois/:userId"],
  auth: "user",
  async handle(ctx, { params, requester }) {
    if (params.userId !== requester.userId && !(await ctx.isServerAdmin(requester))) throw forbidden("You are not a server admin");
    checkLocalUser(ctx, params.userId, "Can only whois a local user");
    const sightings = await ctx.clientIps.ofUser(params.userId);
    const connections = sightings.map(({ ip, lastSeen, userAgent }) => ({ ip, last_seen: lastSeen, user_agent: userAgent }));
    return { user_id: params.userId, devices: { "": { sessions: [{ connections }] } } };
  },
});

export const joinedRooms = endpoint({
  servlet: "UserJoinedRoomsRestServlet",
  method: "GET",
  path: `${USERS}/joined_rooms`,
  auth: "admin",
  async handle(ctx, { params }) {
    const rooms = (await currentMemberships(ctx.read, params.userId)).filter((row) => row.membership === "join").map((row) => row.room_id);
    return { joined_rooms: rooms, total: rooms.length };
  },
});

export const memberships = endpoint({
  servlet: "UserMembershipsRestServlet",
  method: "GET",
  path: `${USERS}/memberships`,
  auth: "admin",
  async handle(ctx, { params }) {
    const rows = await currentMemberships(ctx.read, params.userId);
    return { memberships: Object.fromEntries(rows.map((row) => [row.room_id, row.membership])) };
  },
});

export const pushers = endpoint({
  servlet: "PushersRestServlet",
  method: "GET",
  path: `${USERS}/pushers`,
  auth: "admin",
  async handle(ctx, { params }) {
    const { name } = await localAccount(ctx, params.userId, "Can only look up local users");
    const shown = (await pushersOfUser(ctx.read, name)).map((pusher) => ({
      app_display_name: pusher.appDisplayName,
      app_id: pusher.appId,
      data: pusher.data === null ? null : (JSON.parse(pusher.data) as JsonObject),
      device_display_name: pusher.deviceDisplayName,
      kind: pusher.kind,
      lang: pusher.lang,
      profile_tag: pusher.profileTag,
      pushkey: pusher.pushkey,
      enabled: pusher.enabled,
      device_id: pusher.deviceId,
    }));
    return { pushers: shown, total: shown.length };
  },
});

export const accountData = endpoint({
  servlet: "AccountDataRestServlet",
  method: "GET",
  path: `${USERS}/accountdata`,
  auth: "admin",
  async handle(ctx, { params }) {
    if (!isLocal(ctx, params.userId)) throw badRequest("Can only look up local users");
    if ((await ctx.accounts.user(params.userId)) === undefined) throw notFound("User not found");
    const withoutDeleted = ctx.config.experimental.msc3391Enabled;
    const [global, inRooms] = await Promise.all([
      globalAccountData(ctx.read, params.userId, withoutDeleted),
      roomAccountData(ctx.read, params.userId, undefined, withoutDeleted),
    ]);
    const rooms: Record<string, Record<string, unknown>> = {};
    for (const { roomId, type, content } of inRooms) (rooms[roomId] ??= {})[type] = content;
    return { account_data: { global: Object.fromEntries(global.map(({ type, content }) => [type, content])), rooms } };
  },
});

function since(query: Query): number {
  const from = query.natural("from_ts");
  if (from === undefined) throw missingParam("Missing required integer query parameter from_ts");
  return from;
}

export const sentInviteCount = endpoint({
  servlet: "UserInvitesCount",
  method: "GET",
  path: `${USERS}/sent_invite_count`,
  auth: "admin",
  handle: async (ctx, { params, query }) => ({ invite_count: await countSentInvites(ctx.read, params.userId, since(query)) }),
});

export const joinedRoomCount = endpoint({
  servlet: "UserJoinedRoomCount",
  method: "GET",
  path: `${USERS}/cumulative_joined_room_count`,
  auth: "admin",
  handle: async (ctx, { params, query }) => ({ cumulative_joined_room_count: await countJoinedRoomsSince(ctx.read, params.userId, since(query)) }),
});

export const factRoutes = [whois, joinedRooms, memberships, pushers, accountData, sentInviteCount, joinedRoomCount];
