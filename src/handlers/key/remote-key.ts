import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { badJson, invalidParam, missingParam } from "../../protocol/errors.ts";
import { isServerName } from "../../protocol/ids.ts";
import { notarise, type NotaryQuery } from "../../services/federation/notary.ts";
import { endpoint } from "../http/endpoint.ts";

/** Keys that one request may ask for. */
const MAX_KEYS = 1_000;

export const getRemoteKey = endpoint({
  servlet: "RemoteKey",
  method: "GET",
  path: ["/_matrix/key/v2/query/:serverName", "/_matrix/key/v2/query/:serverName/:keyId"],
  auth: "none",
  async handle(ctx, { params, query }) {
    if (!isServerName(params.serverName)) throw invalidParam("Not a valid server name");
    const keyId = (params as { keyId?: string }).keyId;
    return { server_keys: await notarise(ctx, [{ serverName: params.serverName, keyId, validAt: query.integer("minimum_valid_until_ts") }]) };
  },
});

export const postRemoteKey = endpoint({
  servlet: "RemoteKey",
  method: "POST",
  path: "/_matrix/key/v2/query",
  auth: "none",
  emptyBody: false,
  async handle(ctx, { body }) {
    return { server_keys: await notarise(ctx, readQueries(body)) };
  },
});

function readQueries(body: JsonObject): NotaryQuery[] {
  if (body.server_keys === undefined) throw missingParam("Missing 'server_keys'");
  if (!isJsonObject(body.server_keys)) throw badJson("Expected 'server_keys' to be an object");
  const queries: NotaryQuery[] = [];
  for (const [serverName, keys] of Object.entries(body.server_keys)) {
    if (!isServerName(serverName)) continue;
    if (!isJsonObject(keys)) throw badJson("Expected an object of key ids");
    if (Object.keys(keys).length === 0) queries.push({ serverName, keyId: undefined, validAt: undefined });
    for (const [keyId, criteria] of Object.entries(keys)) {
      const validAt = isJsonObject(criteria) ? (criteria.minimum_valid_until_ts ?? undefined) : undefined;
      if (validAt !== undefined && typeof validAt !== "number") throw badJson("minimum_valid_until_ts must be a number");
      queries.push({ serverName, keyId, validAt });
    }
  }
  if (queries.length > MAX_KEYS) throw badJson(`At most ${MAX_KEYS} keys can be asked for in one request`);
  return queries;
}

export const remoteKeyRoutes = [getRemoteKey, postRemoteKey];
