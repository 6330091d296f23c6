import { isValidLocalpart, MAX_ID_BYTES } from "../../protocol/ids.ts";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import { findUsersIgnoringCase } from "../../storage/accounts/users.ts";
import type { Context } from "../context.ts";
import type { AppserviceIdentity } from "./hooks.ts";

type NameContext = Pick<Context, "accounts" | "appservices" | "config" | "macaroons" | "read">;

export interface UsernameOptions {
  /** Token of the guest account that becomes a full one. */
  readonly guestToken?: string | undefined;
  /** The user that this session has registered already. */
  readonly assignedUserId?: string | undefined;
  /** Say nothing about names that are taken. */
  readonly inhibitInUse?: boolean;
}

/**
 * Whether somebody may register under this localpart.
 * @throws MatrixError 400 M_INVALID_USERNAME, M_EXCLUSIVE, M_USER_IN_USE; 403 M_FORBIDDEN
 */
export async function checkUsername(ctx: NameContext, localpart: string, options: UsernameOptions = {}): Promise<void> {
  const { server, registration } = ctx.config;
  if (localpart === "") throw invalidName("User ID cannot be empty");
  if (!isValidLocalpart(localpart)) throw invalidName("User ID can only contain characters a-z, 0-9, or '=_-./+'");
  if (localpart.startsWith("_") && !registration.allowUnderscorePrefixedLocalpart) throw invalidName("User ID may not begin with _");
  const userId = `@${localpart}:${server.serverName}`;
  if (options.assignedUserId !== undefined) {
    if (userId === options.assignedUserId) return;
    throw new MatrixError(400, "M_UNKNOWN", "A different user ID has already been registered for this session");
  }
  checkNotReserved(ctx, userId);
  if (userId.length > MAX_ID_BYTES) throw invalidName(`User ID may not be longer than ${MAX_ID_BYTES} characters`);
  const { guestToken } = options;
  if ((await findUsersIgnoringCase(ctx.read, userId)).length > 0) {
    if (guestToken !== undefined) await checkGuestToken(ctx, guestToken, userId);
    else if (options.inhibitInUse !== true) throw userInUse();
  }
  if (guestToken === undefined && /^\d+$/.test(localpart)) throw invalidName("Numeric user IDs are reserved for guest users.");
}

/** @throws MatrixError 400 M_EXCLUSIVE when the id belongs to the server or to an appservice other than `except` */
export function checkNotReserved(ctx: Pick<Context, "appservices" | "config">, userId: string, except?: AppserviceIdentity): void {
  if (userId === ctx.config.serverNotices.userId) throw new MatrixError(400, "M_EXCLUSIVE", "This user ID is reserved.");
  for (const appservice of ctx.appservices.all()) {
    if (appservice.id !== except?.id && appservice.ownsUser(userId))
      throw new MatrixError(400, "M_EXCLUSIVE", "This user ID is reserved by an application service.");
  }
}

export const userInUse = (): MatrixError => new MatrixError(400, "M_USER_IN_USE", "User ID already taken.");

async function checkGuestToken(ctx: NameContext, token: string, userId: string): Promise<void> {
  const guest = ctx.macaroons.guestOf(token);
  if (guest !== userId || (await ctx.accounts.user(guest))?.isGuest !== true) {
    throw forbidden("Cannot register taken user ID without valid guest credentials for that user.");
  }
}

const invalidName = (message: string): MatrixError => new MatrixError(400, "M_INVALID_USERNAME", message);
