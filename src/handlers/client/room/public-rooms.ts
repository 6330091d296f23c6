import { isJsonObject, type JsonObject, toNumber } from "../../../lib/json.ts";
import { badJson, invalidParam, missingToken } from "../../../protocol/errors.ts";
import { isServerName } from "../../../protocol/ids.ts";
import { parseNetwork, publicRooms } from "../../../services/directory/public-rooms.ts";
import { remotePublicRooms } from "../../../services/directory/remote-public-rooms.ts";
import { endpoint } from "../../http/endpoint.ts";

const PATH = "/_matrix/client/(api/v1|r0|v3|unstable)/publicRooms";

export const getPublicRooms = endpoint({
  servlet: "PublicRoomListRestServlet",
  method: "GET",
  path: PATH,
  auth: "optional",
  async handle(ctx, { requester, query }) {
    const server = query.string("server");
    if (requester === undefined && (!ctx.config.server.allowPublicRoomsWithoutAuth || (server !== undefined && server !== ""))) {
      throw missingToken();
    }
    const limit = query.natural("limit", 0);
    const request = { limit: limit === 0 ? undefined : limit, since: query.string("since") };
    const remote = remoteServer(ctx.config.server.serverName, server);
    if (remote !== undefined)
      return await remotePublicRooms(ctx, remote, { ...request, filter: undefined, allNetworks: false, thirdPartyInstanceId: undefined });
    return await publicRooms(ctx, { ...request, network: "own" });
  },
});

export const searchPublicRooms = endpoint({
  servlet: "PublicRoomListRestServlet",
  method: "POST",
  path: PATH,
  auth: "guest",
  async handle(ctx, { query, body }) {
    const limit = body.limit === undefined ? 100 : Number(toNumber(body.limit) ?? body.limit);
    if (!Number.isSafeInteger(limit) || limit < 0) throw badJson("limit must be an integer");
    if (body.since !== undefined && body.since !== null && typeof body.since !== "string") throw badJson("since must be a string");
    const instanceId = body.third_party_instance_id ?? undefined;
    if (instanceId !== undefined && typeof instanceId !== "string") throw badJson("third_party_instance_id must be a string");
    const filter = isJsonObject(body.filter) ? body.filter : undefined;
    const allNetworks = Boolean(body.include_all_networks);
    const request = { limit: limit === 0 ? undefined : limit, since: body.since ?? undefined };
    const network = parseNetwork(allNetworks, instanceId);
    const remote = remoteServer(ctx.config.server.serverName, query.string("server"));
    if (remote !== undefined) return await remotePublicRooms(ctx, remote, { ...request, filter, allNetworks, thirdPartyInstanceId: instanceId });
    return await publicRooms(ctx, { ...request, network, ...parseFilter(filter) });
  },
});

/** The server to ask; undefined when it is this one. @throws MatrixError 400 */
function remoteServer(own: string, server: string | undefined): string | undefined {
  if (server === undefined || server === "" || server === own) return undefined;
  if (!isServerName(server)) throw invalidParam(`Invalid server name: ${server}`);
  return server;
}

/** `filter` of a search in the directory. @throws MatrixError 400 */
export function parseFilter(filter: JsonObject | undefined): { searchTerm: string | undefined; roomTypes: (string | null)[] | undefined } {
  const term = filter?.generic_search_term ?? undefined;
  if (term !== undefined && typeof term !== "string") throw badJson("generic_search_term must be a string");
  const types = filter?.room_types ?? undefined;
  if (types !== undefined && !(Array.isArray(types) && types.every((type) => type === null || typeof type === "string")))
    throw badJson("room_types must be a list of strings and null");
  return { searchTerm: term?.replaceAll("\0", ""), roomTypes: types as (string | null)[] | undefined };
}

export const publicRoomRoutes = [getPublicRooms, searchPublicRooms];
