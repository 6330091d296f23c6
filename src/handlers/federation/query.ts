import { isJsonObject, toNumber } from "../../lib/json.ts";
import { VERSION } from "../../lib/version.ts";
import { badJson, invalidParam, missingParam, MatrixError } from "../../protocol/errors.ts";
import { accountStatuses } from "../../services/accounts/status.ts";
import type { Context } from "../../services/context.ts";
import { parseNetwork, publicRooms, type PublicRoomsRequest } from "../../services/directory/public-rooms.ts";
import {
  aliasForServer,
  claimForServer,
  devicesForServer,
  keysForServer,
  openIdUser,
  profileForServer,
  unknownQuery,
} from "../../services/federation/inbound/queries.ts";
import { hierarchyForServer } from "../../services/rooms/hierarchy.ts";
import { parseFilter } from "../client/room/public-rooms.ts";
import { endpoint } from "../http/endpoint.ts";
import { federationEndpoint } from "./endpoint.ts";

const V1 = "/_matrix/federation/v1";

export const getQuery = federationEndpoint({
  servlet: "FederationQueryServlet",
  method: "GET",
  path: `${V1}/query/:queryType`,
  handle(ctx, { params, query }) {
    switch (params.queryType) {
      case "profile":
        ctx.metrics.queryReceived("profile");
        return profileForServer(ctx, query.string("user_id"), query.string("field"));
      case "directory":
        ctx.metrics.queryReceived("directory");
        return aliasForServer(ctx, query.string("room_alias"));
      default:
        return unknownQuery(params.queryType);
    }
  },
});

export const queryKeys = federationEndpoint({
  servlet: "FederationClientKeysQueryServlet",
  method: "POST",
  path: `${V1}/user/keys/query`,
  handle: (ctx, { body }) => keysForServer(ctx, body),
});

export const getUserDevices = federationEndpoint({
  servlet: "FederationUserDevicesQueryServlet",
  method: "GET",
  path: `${V1}/user/devices/:userId`,
  handle: (ctx, { params }) => devicesForServer(ctx, params.userId),
});

export const claimKeys = federationEndpoint({
  servlet: "FederationClientKeysClaimServlet",
  method: "POST",
  path: `${V1}/user/keys/claim`,
  handle: (ctx, { body }) => claimForServer(ctx, body, false),
});

export const claimKeysUnstable = federationEndpoint({
  servlet: "FederationUnstableClientKeysClaimServlet",
  method: "POST",
  path: "/_matrix/federation/unstable/user/keys/claim",
  when: (config) => config.experimental.msc3983AppserviceOtkClaims,
  handle: (ctx, { body }) => claimForServer(ctx, body, true),
});

/** A page of the directory, without rooms that are closed to the asking server. */
async function directoryPage(ctx: Context, origin: string, request: Omit<PublicRoomsRequest, "fromServer" | "allowedFor">): Promise<unknown> {
  if (!ctx.config.server.allowPublicRoomsOverFederation) throw new MatrixError(403, "M_FORBIDDEN", `Federation denied with ${origin}.`);
  const allowedFor = async (roomIds: readonly string[]): Promise<ReadonlySet<string>> => {
    await ctx.state.currentIdsOf(roomIds);
    const allowed = await Promise.all(roomIds.map((roomId) => ctx.inbound.acls.allows(ctx, roomId, origin)));
    return new Set(roomIds.filter((_, index) => allowed[index]));
  };
  return await publicRooms(ctx, { ...request, fromServer: origin, allowedFor });
}

export const getPublicRooms = federationEndpoint({
  servlet: "PublicRoomList",
  method: "GET",
  path: `${V1}/publicRooms`,
  handle(ctx, { origin, query }) {
    const limit = query.natural("limit", 0);
    const network = parseNetwork(query.boolean("include_all_networks", false), query.string("third_party_instance_id"));
    return directoryPage(ctx, origin, { limit: limit === 0 ? undefined : limit, since: query.string("since"), network });
  },
});

export const searchPublicRooms = federationEndpoint({
  servlet: "PublicRoomList",
  method: "POST",
  path: `${V1}/publicRooms`,
  handle(ctx, { origin, body }) {
    const limit = body.limit === undefined ? 100 : toNumber(body.limit);
    if (limit === undefined || !Number.isSafeInteger(limit) || limit < 0) throw badJson("limit must be an integer");
    const { since = null, third_party_instance_id: instanceId = null } = body;
    if ((since !== null && typeof since !== "string") || (instanceId !== null && typeof instanceId !== "string"))
      throw badJson("since and third_party_instance_id must be strings");
    const network = parseNetwork(Boolean(body.include_all_networks), instanceId ?? undefined);
    const filter = parseFilter(isJsonObject(body.filter) ? body.filter : undefined);
    return directoryPage(ctx, origin, { limit: limit === 0 ? undefined : limit, since: since ?? undefined, network, ...filter });
  },
});

export const getHierarchy = federationEndpoint({
  servlet: "FederationRoomHierarchyServlet",
  method: "GET",
  path: `${V1}/hierarchy/:roomId`,
  handle: (ctx, { origin, params, query }) => hierarchyForServer(ctx, origin, params.roomId, query.boolean("suggested_only", false)),
});

export const getOpenIdUser = endpoint({
  servlet: "OpenIdUserInfo",
  method: "GET",
  path: `${V1}/openid/userinfo`,
  auth: "none",
  handle: (ctx, { query }) => openIdUser(ctx, query.string("access_token")),
});

export const getVersion = endpoint({
  servlet: "FederationVersionServlet",
  method: "GET",
  path: `${V1}/version`,
  auth: "none",
  handle: () => ({ server: { name: "Myelin", version: VERSION } }),
});

export const queryAccountStatus = federationEndpoint({
  servlet: "FederationAccountStatusServlet",
  method: "POST",
  path: "/_matrix/federation/unstable/org.matrix.msc3720/query/account_status",
  when: (config) => config.experimental.msc3720Enabled,
  async handle(ctx, { body }) {
    const { user_ids: userIds } = body;
    if (userIds === undefined) throw missingParam("Required parameter 'user_ids' is missing");
    if (!Array.isArray(userIds) || !userIds.every((id) => typeof id === "string")) throw invalidParam("'user_ids' must be a list of strings");
    const { statuses, failures } = await accountStatuses(ctx, userIds, { allowRemote: false });
    return { account_statuses: statuses, failures };
  },
});

export const queryRoutes = [
  getQuery,
  queryKeys,
  getUserDevices,
  claimKeys,
  claimKeysUnstable,
  getPublicRooms,
  searchPublicRooms,
  getHierarchy,
  getOpenIdUser,
  getVersion,
  queryAccountStatus,
];
