import { invalidParam, MatrixError, notFound } from "../../protocol/errors.ts";
import type { User } from "../../storage/accounts/users.ts";
import type { Context } from "../context.ts";
import { type Requester, requesterFor } from "../requester.ts";

/** Whom and what an admin names in a request. Errors that have no code of their own are M_UNKNOWN, as in Synapse. */
export const badRequest = (message: string): MatrixError => new MatrixError(400, "M_UNKNOWN", message);

/** @throws MatrixError 400 M_INVALID_PARAM for what is no user id */
export function checkUserId(userId: string): void {
  if (!userId.startsWith("@")) throw invalidParam("Expected UserID string to start with '@'");
  if (!userId.includes(":")) throw invalidParam("Expected UserID of the form '@localname:domain'");
}

/** True for users of this server. */
export function isLocal(ctx: Pick<Context, "config">, userId: string): boolean {
  const colon = userId.indexOf(":");
  return colon >= 0 && userId.slice(colon + 1) === ctx.config.server.serverName;
}

/** @throws MatrixError 400 for what is no user id, or, with that message, a user of another server */
export function checkLocalUser(ctx: Pick<Context, "config">, userId: string, message: string): void {
  checkUserId(userId);
  if (!isLocal(ctx, userId)) throw badRequest(message);
}

/** The account of a local user. @throws MatrixError 400, 404 M_NOT_FOUND */
export async function localAccount(ctx: Pick<Context, "accounts" | "config">, userId: string, message: string, missing = "User not found"): Promise<User> {
  checkLocalUser(ctx, userId, message);
  const user = await ctx.accounts.user(userId);
  if (user === undefined) throw notFound(missing);
  return user;
}

/** Somebody in whose name an admin acts: the admin answers for it. */
export function inTheNameOf(requester: Pick<Requester, "authenticatedEntity">, userId: string): Requester {
  return requesterFor(userId, { authenticatedEntity: requester.authenticatedEntity });
}
