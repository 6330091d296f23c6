import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { canonicalJson } from "../../protocol/canonical-json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { verifyText } from "../../protocol/event/sign.ts";
import { isServerName } from "../../protocol/ids.ts";
import type { Context, FederationRequest } from "../context.ts";

/** An X-Matrix header, read. */
export interface Authorization {
  readonly origin: string;
  readonly keyId: string;
  readonly signature: string;
  readonly destination: string | undefined;
}

const unauthorized = (message: string): MatrixError => new MatrixError(401, "M_UNAUTHORIZED", message);

/**
 * The server that signed a request (server-server API, "Request Authentication"). A request from a server that was left in peace shows that it
 * is up again.
 * @throws MatrixError 401 M_UNAUTHORIZED; 403 M_FORBIDDEN for servers that the configuration shuts out; what reading the body throws
 */
export async function authenticateServer(ctx: Pick<Context, "backoff" | "clock" | "config" | "keyRing">, request: FederationRequest): Promise<string> {
  if (request.authorization === undefined) throw unauthorized("Missing Authorization headers");
  const authorization = parseAuthorization(request.authorization);
  if (authorization === undefined) throw new MatrixError(400, "M_UNAUTHORIZED", "Malformed Authorization header");
  const { origin, keyId, signature, destination } = authorization;
  const own = ctx.config.server.serverName;
  if (destination !== undefined && destination !== own) throw unauthorized("Destination mismatch in auth header");
  const whitelist = ctx.config.federation.domainWhitelist;
  if (whitelist !== undefined && !whitelist.includes(origin)) throw new MatrixError(403, "M_FORBIDDEN", `Federation denied with ${origin}.`);
  const key = await ctx.keyRing.key(origin, keyId, ctx.clock.now());
  if (key === undefined) throw unauthorized(`Failed to find any key to satisfy: ${origin} ${keyId}`);
  const content = await request.content?.();
  const signed: JsonObject = { method: request.method, uri: request.uri, destination: own, origin };
  if (isJsonObject(content)) signed.content = content;
  let text: string;
  try {
    text = canonicalJson(signed as Json);
  } catch {
    throw unauthorized("The content of the request has no canonical form");
  }
  if (!verifyText(text, signature, key)) throw unauthorized(`Invalid signature for server ${origin} with key ${keyId}`);
  ctx.backoff.sawAlive(origin);
  return origin;
}

/** Parameters are separated by commas, values quoted or bare, names in any case; undefined when one is missing. */
export function parseAuthorization(header: string): Authorization | undefined {
  const match = /^X-Matrix\s+(.*)$/is.exec(header);
  if (match === null || header.length > 4096) return undefined;
  const parameters = new Map<string, string>();
  for (const [, name, quoted, bare] of match[1]!.matchAll(/\s*([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))\s*(?:,|$)/g)) {
    parameters.set(name!.toLowerCase(), quoted === undefined ? (bare ?? "") : quoted.replace(/\\(.)/g, "$1"));
  }
  const origin = parameters.get("origin");
  const keyId = parameters.get("key");
  const signature = parameters.get("sig");
  if (origin === undefined || !isServerName(origin) || !keyId?.startsWith("ed25519:") || signature === undefined) return undefined;
  return { origin, keyId, signature, destination: parameters.get("destination") };
}
