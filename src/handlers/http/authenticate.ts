import type { IncomingHttpHeaders } from "node:http";
import { forbidden, MatrixError, missingToken } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import type { Requester } from "../../services/requester.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Query } from "./query.ts";
import type { RequestRecord } from "./request-log.ts";

/** The requester of a request by its access token, as the endpoint's `auth` demands it; undefined where no token is needed. */
export async function authenticateRequest(
  ctx: Context,
  endpoint: Endpoint,
  headers: IncomingHttpHeaders,
  query: Query,
  record: RequestRecord,
): Promise<Requester | undefined> {
  if (endpoint.auth === "none") return undefined;
  const token = accessToken(headers, query);
  if (token === undefined) {
    if (endpoint.auth === "optional") return undefined;
    throw missingToken();
  }
  if (endpoint.auth === "mas") {
    if (ctx.delegatedAuth?.isSharedSecret(token) !== true) throw new MatrixError(403, "M_UNKNOWN", "This endpoint must only be called by MAS");
    return undefined;
  }
  const requester = await ctx.authenticate({
    token,
    asUser: query.string("user_id"),
    asDevice: query.string("device_id") ?? query.string("org.matrix.msc3202.device_id"),
    ip: record.ip,
    userAgent: record.userAgent ?? "",
    allowGuest: endpoint.auth === "guest" || endpoint.auth === "optional",
    allowLocked: endpoint.allowLocked,
    allowExpired: endpoint.allowExpired,
  });
  record.requester = requester.userId;
  if (requester.authenticatedEntity !== requester.userId) record.authenticatedEntity = requester.authenticatedEntity;
  if (endpoint.auth === "admin" && !(await ctx.isServerAdmin(requester))) throw forbidden("You are not a server admin");
  return requester;
}

interface CallerFacts {
  readonly headers: IncomingHttpHeaders;
  readonly query: Query;
  readonly ip: string;
  readonly userAgent: string;
}

/**
 * The requester of a request to an endpoint of `auth: "none"` that wants one after all; undefined without an access token.
 * @throws MatrixError 401, 403 as for `auth: "user"`, or `"guest"` where guests are let in
 */
export async function authenticateIfAsked(
  ctx: Context,
  { headers, query, ip, userAgent }: CallerFacts,
  { allowGuest = false } = {},
): Promise<Requester | undefined> {
  const token = accessToken(headers, query);
  if (token === undefined) return undefined;
  const [asUser, asDevice] = [query.string("user_id"), query.string("device_id")];
  return await ctx.authenticate({ token, asUser, asDevice, ip, userAgent, allowGuest, allowLocked: false, allowExpired: false });
}

/** The access token that a request carries, in its header or its query. @throws MatrixError 401 for a malformed header */
export function accessToken(headers: IncomingHttpHeaders, query: Query): string | undefined {
  const header = headers.authorization;
  if (header !== undefined) {
    const [scheme, value, more] = header.split(" ");
    if (scheme === "Bearer" && value !== undefined && value !== "" && more === undefined) return value;
    throw new MatrixError(401, "M_MISSING_TOKEN", "Invalid Authorization header.");
  }
  return query.string("access_token");
}
