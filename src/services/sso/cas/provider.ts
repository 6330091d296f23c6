import type { Config } from "../../../config/config.ts";
import { HttpError } from "../../../outbound/http-client.ts";
import { findUsersIgnoringCase } from "../../../storage/accounts/users.ts";
import type { Context } from "../../context.ts";
import { type BrowserAnswer, type BrowserRedirect, checkUiAuthCookie, mappingError, SsoError, uiAuthCookie } from "../answers.ts";
import { completeLogin } from "../complete-login.ts";
import { localpartFrom } from "../localpart.ts";
import type { IdentityProvider, Purpose } from "../provider.ts";
import { checkClientRedirect } from "../redirect-url.ts";
import { checkRequirements } from "../requirements.ts";
import { completeUiAuth } from "../ui-auth.ts";
import { type CasIdentity, readCasResponse } from "./response.ts";

/** What a browser brings back from the CAS server. */
export interface CasReturn {
  readonly ticket: string;
  readonly purpose: Purpose;
  readonly cookies: string | undefined;
  readonly userAgent: string;
  readonly ip: string;
}

/** The CAS server of the configuration (`cas_config`). */
export class CasProvider implements IdentityProvider {
  readonly id = "cas";
  readonly name: string;
  readonly icon: string | undefined;
  readonly brand: string | undefined;
  private readonly serverUrl: string;

  constructor(private readonly config: Config["cas"]) {
    this.name = config.idpName;
    this.icon = config.idpIcon;
    this.brand = config.idpBrand;
    this.serverUrl = config.serverUrl!.replace(/\/+$/, "");
  }

  begin(ctx: Context, purpose: Purpose): Promise<BrowserRedirect> {
    const query = new URLSearchParams({ service: this.service(purpose) }).toString();
    const cookies = "uiAuthSessionId" in purpose ? [uiAuthCookie(ctx, purpose.uiAuthSessionId)] : [];
    return Promise.resolve({ location: `${this.serverUrl}/login?${query}`, cookies });
  }

  /** Asks the server about the ticket, and completes the login or the authentication. @throws SsoError; MatrixErrors of registration */
  async handleTicket(ctx: Context, request: CasReturn): Promise<BrowserAnswer> {
    const { purpose } = request;
    if ("uiAuthSessionId" in purpose) checkUiAuthCookie(request.cookies, purpose.uiAuthSessionId);
    else checkClientRedirect(purpose.clientRedirectUrl);
    const identity = await this.validate(ctx, request.ticket, purpose);
    if ("uiAuthSessionId" in purpose)
      return await completeUiAuth(ctx, { providerId: this.id, remoteUserId: identity.username, uiAuthSessionId: purpose.uiAuthSessionId });
    checkRequirements(identity.attributes, this.config.requiredAttributes);
    const localpart = localpartFrom(identity.username);
    const { displaynameAttribute, enableRegistration } = this.config;
    const displayName = displaynameAttribute === undefined ? undefined : identity.attributes.get(displaynameAttribute)?.[0];
    return await completeLogin(ctx, {
      providerId: this.id,
      remoteUserId: identity.username,
      providerSessionId: undefined,
      clientRedirectUrl: purpose.clientRedirectUrl,
      registrationEnabled: enableRegistration,
      attributes(failures) {
        // Whoever has the name is the user: it is never taken.
        if (failures > 0) throw mappingError("Unable to generate a Matrix ID from the SSO response");
        return { localpart, displayName: displayName || undefined, emails: [] };
      },
      // Logins from before there were links to providers.
      existingUser: async () => {
        const userId = `@${localpart}:${ctx.config.server.serverName}`;
        const users = (await findUsersIgnoringCase(ctx.read, userId)).map(({ name }) => name);
        return users.includes(userId) ? userId : users[0];
      },
      userAgent: request.userAgent,
      ip: request.ip,
    });
  }

  private async validate(ctx: Pick<Context, "http">, ticket: string, purpose: Purpose): Promise<CasIdentity> {
    const path = this.config.protocolVersion === 3 ? "/p3/proxyValidate" : "/proxyValidate";
    let xml: string;
    try {
      xml = await ctx.http.trusted.text({ method: "GET", url: `${this.serverUrl}${path}`, query: { ticket, service: this.service(purpose) } });
    } catch (error) {
      const description =
        error instanceof HttpError
          ? `Authorization server responded with a "${error.status}" error while exchanging the authorization code.`
          : "The authorization server cannot be asked about the ticket.";
      throw new SsoError("server_error", description, 401, error);
    }
    const identity = readCasResponse(xml);
    const { allowNumericIds, numericIdsPrefix } = this.config;
    return allowNumericIds && /^\d+$/.test(identity.username) ? { ...identity, username: `${numericIdsPrefix}${identity.username}` } : identity;
  }

  /** Our address for this purpose: the server gives a ticket for it and for no other. */
  private service(purpose: Purpose): string {
    const query: Record<string, string> = "uiAuthSessionId" in purpose ? { session: purpose.uiAuthSessionId } : { redirectUrl: purpose.clientRedirectUrl };
    return `${this.config.serviceUrl}?${new URLSearchParams(query).toString()}`;
  }
}
