import { isJsonObject, type JsonObject, toNumber } from "../../../lib/json.ts";
import { DestinationDenied, DestinationUnavailable, isUnknownEndpoint, RemoteError } from "../../../outbound/federation/client.ts";
import { MatrixError } from "../../../protocol/errors.ts";
import { getDomain, isRoomId, isServerName } from "../../../protocol/ids.ts";
import type { AliasTarget } from "../../../storage/rooms/aliases.ts";
import type { Context } from "../../context.ts";
import type { RemoteHierarchy, RemotePublicRooms } from "../../rooms/remote-rooms.ts";
import { relayed } from "../remote-error.ts";

type Needs = Pick<Context, "config" | "federationClient" | "log">;

const FEDERATION = "/_matrix/federation";
const ALIAS_BYTES = 256 * 1024;
const ROOM_LIST_BYTES = 8 * 1024 * 1024;
const HIERARCHY_BYTES = 8 * 1024 * 1024;
const MOST_SERVERS_OF_ALIAS = 500;

/** Where an alias of another server points; undefined when that server does not know it. @throws MatrixError 502 when it does not answer */
export async function remoteAlias(ctx: Needs, alias: string): Promise<AliasTarget | undefined> {
  let answer: JsonObject;
  try {
    answer = await ctx.federationClient.requestObject({
      method: "GET",
      destination: getDomain(alias),
      path: `${FEDERATION}/v1/query/directory`,
      query: { room_alias: alias },
      maxBytes: ALIAS_BYTES,
    });
  } catch (error) {
    if (error instanceof RemoteError) {
      if (error.status === 404) return undefined;
      throw error.status >= 500 ? new MatrixError(502, "M_UNKNOWN", "Failed to fetch alias") : relayed(error);
    }
    if (error instanceof DestinationUnavailable || error instanceof DestinationDenied) throw new MatrixError(502, "M_UNKNOWN", "Failed to fetch alias");
    throw error;
  }
  if (!isRoomId(answer.room_id)) return undefined;
  const servers = Array.isArray(answer.servers) ? answer.servers.filter((server): server is string => isServerName(server)) : [];
  return { roomId: answer.room_id, servers: servers.slice(0, MOST_SERVERS_OF_ALIAS) };
}

/** A page of another server's room directory, as it came. @throws MatrixError 502, or its refusal */
export async function remoteRoomList(ctx: Needs, server: string, request: RemotePublicRooms): Promise<JsonObject> {
  const path = `${FEDERATION}/v1/publicRooms`;
  const { limit, since, filter, allNetworks, thirdPartyInstanceId } = request;
  try {
    if (filter !== undefined) {
      const content: JsonObject = {
        ...(limit === undefined ? {} : { limit }),
        ...(since === undefined ? {} : { since }),
        filter,
        ...(allNetworks
          ? { include_all_networks: true }
          : thirdPartyInstanceId === undefined
            ? {}
            : { include_all_networks: false, third_party_instance_id: thirdPartyInstanceId }),
      };
      return await ctx.federationClient.requestObject({ method: "POST", destination: server, path, content, maxBytes: ROOM_LIST_BYTES });
    }
    const query = {
      include_all_networks: allNetworks ? "true" : "false",
      third_party_instance_id: allNetworks ? undefined : thirdPartyInstanceId,
      limit: limit === undefined ? undefined : String(limit),
      since,
    };
    return await ctx.federationClient.requestObject({ method: "GET", destination: server, path, query, maxBytes: ROOM_LIST_BYTES });
  } catch (error) {
    if (error instanceof RemoteError && error.status < 500) throw relayed(error);
    if (error instanceof RemoteError || error instanceof DestinationUnavailable || error instanceof DestinationDenied)
      throw new MatrixError(502, "M_UNKNOWN", "Failed to fetch room list");
    throw error;
  }
}

/** A room and its children as one of the servers describes them; undefined when none of them answers. */
export async function remoteHierarchy(
  ctx: Needs,
  request: { roomId: string; servers: readonly string[]; suggestedOnly: boolean },
): Promise<RemoteHierarchy | undefined> {
  const query = { suggested_only: request.suggestedOnly ? "true" : "false" };
  const room = encodeURIComponent(request.roomId);
  for (const destination of request.servers) {
    try {
      const get = (path: string): Promise<JsonObject> =>
        ctx.federationClient.requestObject({ method: "GET", destination, path, query, maxBytes: HIERARCHY_BYTES });
      let answer: JsonObject;
      try {
        answer = await get(`${FEDERATION}/v1/hierarchy/${room}`);
      } catch (error) {
        if (!isUnknownEndpoint(error)) throw error;
        answer = await get(`${FEDERATION}/unstable/org.matrix.msc2946/hierarchy/${room}`);
      }
      const parsed = hierarchy(answer, request.roomId);
      if (parsed !== undefined) return parsed;
    } catch (error) {
      ctx.log.named("synapse.federation.federation_client").info(`Failed to get the hierarchy of ${request.roomId} from ${destination}`, { error });
    }
  }
  return undefined;
}

function hierarchy(answer: JsonObject, roomId: string): RemoteHierarchy | undefined {
  const { room, children, inaccessible_children: inaccessible } = answer;
  if (!isJsonObject(room) || room.room_id !== roomId) return undefined;
  const childrenState = Array.isArray(room.children_state) ? room.children_state.filter(isJsonObject) : [];
  const byId = new Map<string, JsonObject>();
  for (const child of Array.isArray(children) ? children : []) if (isJsonObject(child) && typeof child.room_id === "string") byId.set(child.room_id, child);
  const hidden = Array.isArray(inaccessible) ? inaccessible.filter((id): id is string => typeof id === "string") : [];
  return { room: { ...room, children_state: childrenState }, children: byId, inaccessibleChildren: new Set(hidden) };
}

/** How complex a room is by the word of one of the servers; undefined when none tells. */
export async function remoteComplexity(ctx: Needs, roomId: string, servers: readonly string[]): Promise<number | undefined> {
  for (const destination of servers) {
    try {
      const answer = await ctx.federationClient.requestObject({
        method: "GET",
        destination,
        path: `${FEDERATION}/unstable/rooms/${encodeURIComponent(roomId)}/complexity`,
        maxBytes: ALIAS_BYTES,
      });
      const complexity = toNumber(answer.v1);
      if (complexity !== undefined) return complexity;
    } catch (error) {
      ctx.log.named("synapse.federation.federation_client").debug(`Failed to fetch room complexity via ${destination}`, { error });
    }
  }
  return undefined;
}
