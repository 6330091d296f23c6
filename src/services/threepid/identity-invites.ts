import { HttpError } from "../../outbound/http-client.ts";
import { isIdentityServer } from "../../outbound/identity-server.ts";
import type { JsonObject } from "../../lib/json.ts";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { isUserId } from "../../protocol/ids.ts";
import type { Context } from "../context.ts";
import type { IdentityInvites } from "../rooms/threepid-invites.ts";
import { canonicalEmail } from "../accounts/identifiers.ts";

type InviteContext = Pick<Context, "config" | "identityServers" | "log">;

/** Invites by address, through the identity server that the inviting client names. */
export function identityInvites(ctx: InviteContext): IdentityInvites {
  const log = ctx.log.named("synapse.handlers.identity");
  return {
    async lookup({ medium, address, idServer, idAccessToken }) {
      requireIdentityServer(idServer);
      try {
        const userId = await ctx.identityServers.lookup(idServer, idAccessToken, medium, canonical(medium, address));
        return userId !== undefined && isUserId(userId) ? userId : undefined;
      } catch (error) {
        log.warn("Error when looking up a 3PID", { error });
        return undefined; // as for an address that nobody owns: the identity server is asked again, to keep the invite
      }
    },
    async store({ medium, address, idServer, idAccessToken }, invite) {
      requireIdentityServer(idServer);
      const location = ctx.config.email.inviteClientLocation;
      const content: JsonObject = { ...invite, medium, address, ...(location === undefined ? {} : { "org.matrix.web_client_location": location }) };
      try {
        return await ctx.identityServers.storeInvite(idServer, idAccessToken, content);
      } catch (error) {
        if (error instanceof HttpError && error.status >= 400 && error.status < 500 && error.errcode !== "M_UNKNOWN")
          throw new MatrixError(error.status, error.errcode, error.remoteMessage);
        log.warn("An identity server did not take an invite", { error });
        throw new MatrixError(502, "M_UNKNOWN", "Failed to contact identity server");
      }
    },
  };
}

/** Hashes are made of the canonical form. */
function canonical(medium: string, address: string): string {
  if (medium !== "email") return address;
  try {
    return canonicalEmail(address);
  } catch {
    return address;
  }
}

function requireIdentityServer(idServer: string): void {
  if (!isIdentityServer(idServer)) throw invalidParam("id_server must be a valid hostname with optional port and path components");
}
