import { decodeJwt } from "jose";
import { MatrixError } from "../../../protocol/errors.ts";
import { getUserByExternalId } from "../../../storage/accounts/external-ids.ts";
import type { Context } from "../../context.ts";
import { revokeProviderSession } from "../revoke.ts";
import { BadToken } from "./verify-token.ts";

/**
 * A provider says that a session there has ended (OpenID Connect Back-Channel Logout 1.0): logs out what came from it.
 * @throws MatrixError 400 for a token that is missing, not from a provider of ours, or not to be believed
 */
export async function backchannelLogout(ctx: Context, logoutToken: string | undefined): Promise<void> {
  if (logoutToken === undefined) throw bad("Missing logout_token in request");
  const { issuer, audience } = issuerOf(logoutToken);
  const provider = [...ctx.sso.oidc.values()].find(({ config }) => config.issuer === issuer && audience.includes(config.clientId));
  if (provider === undefined) throw bad("Could not find the OP that issued this event");
  if (!provider.config.backchannelLogoutEnabled) throw bad("OpenID Connect Back-Channel Logout is disabled for this provider");
  let session: { sid: string; sub: string | undefined };
  try {
    session = await provider.loggedOut(ctx, logoutToken);
  } catch (error) {
    ctx.log.named("synapse.handlers.oidc").warn(`A logout token for ${provider.id} was refused`, { error });
    if (error instanceof BadToken) throw bad("Invalid logout_token");
    throw new MatrixError(503, "M_UNKNOWN", "The provider's keys cannot be fetched");
  }
  const { sid, sub } = session;
  if (sid.includes("\0") || sub?.includes("\0") === true) throw bad("Invalid logout_token");
  const bySubject = sub !== undefined && !provider.config.backchannelLogoutIgnoreSub;
  const expected = bySubject ? await getUserByExternalId(ctx.read, provider.id, sub) : undefined;
  await revokeProviderSession(ctx, provider.id, sid, expected);
}

/** Says who claims to have made the token, and for whom: nothing of it is believed yet. */
function issuerOf(token: string): { issuer: string; audience: readonly string[] } {
  let claims: Record<string, unknown>;
  if (token.split(".").length !== 3) throw bad("Invalid logout_token in request");
  try {
    claims = decodeJwt(token);
  } catch {
    throw bad("Invalid logout_token payload in request");
  }
  const { iss, aud } = claims;
  const audience: unknown = typeof aud === "string" ? [aud] : aud;
  if (typeof iss !== "string" || !Array.isArray(audience) || !audience.every((one) => typeof one === "string"))
    throw bad("Invalid issuer/audience in logout_token");
  return { issuer: iss, audience };
}

const bad = (message: string): MatrixError => new MatrixError(400, "M_UNKNOWN", message);
