import type { Config } from "../../../config/config.ts";
import { ConfigError } from "../../../config/errors.ts";
import { findUsersIgnoringCase } from "../../../storage/accounts/users.ts";
import type { Context } from "../../context.ts";
import { type BrowserAnswer, type BrowserRedirect, checkUiAuthCookie, providerUnavailable, uiAuthCookie } from "../answers.ts";
import { completeLogin } from "../complete-login.ts";
import { localpartFrom } from "../localpart.ts";
import type { IdentityProvider, Purpose } from "../provider.ts";
import { checkClientRedirect } from "../redirect-url.ts";
import { checkRequirements } from "../requirements.ts";
import { completeUiAuth } from "../ui-auth.ts";
import { readIdpMetadata, type SamlIdp } from "./idp-metadata.ts";
import { remoteUserIdOf, type SamlAttributes, userAttributesOf } from "./mapping.ts";
import { serviceProviderMetadata, type SamlServiceProvider } from "./metadata.ts";
import { SamlRequests } from "./requests.ts";
import { decryptionKeys, invalidResponse, readEnvelope, samlFor, unsolicitedResponse, verifyResponse } from "./response.ts";

/** What an identity provider posts through the browser. */
export interface SamlReturn {
  /** base64 */
  readonly response: string;
  readonly relayState: string;
  readonly cookies: string | undefined;
  readonly userAgent: string;
  readonly ip: string;
}

/** SAML2 identity providers of the configuration (`saml2_config`): one, or those of a federation's metadata. */
export class SamlProvider implements IdentityProvider {
  readonly id = "saml";
  readonly name: string;
  readonly icon: string | undefined;
  readonly brand: string | undefined;
  private readonly sp: SamlServiceProvider;
  private readonly requests: SamlRequests;
  private readonly local: readonly SamlIdp[];
  private remote: Promise<readonly SamlIdp[]> | undefined;

  /** @throws ConfigError for metadata without an identity provider */
  constructor(private readonly config: Config["saml2"]) {
    this.name = config.idpName;
    this.icon = config.idpIcon;
    this.brand = config.idpBrand;
    this.sp = config.serviceProvider!;
    this.requests = new SamlRequests(config.sessionLifetimeMs);
    this.local = this.sp.metadata.documents.flatMap(readIdpMetadata);
    if (this.local.length === 0 && this.sp.metadata.urls.length === 0)
      throw new ConfigError("describes no identity provider with a certificate and a login address of the redirect binding", "saml2_config.sp_config.metadata");
    if (this.sp.authnRequestsSigned && this.sp.key === undefined)
      throw new ConfigError("is missing; authn_requests_signed needs it", "saml2_config.sp_config.key_file");
  }

  /** Fetches metadata, so that trouble is in the log before somebody logs in. */
  async preload(ctx: Pick<Context, "http" | "log">): Promise<void> {
    try {
      await this.idps(ctx);
    } catch (error) {
      ctx.log.named("synapse.handlers.saml").error("The metadata of the SAML2 identity provider cannot be fetched", { error });
    }
  }

  /** What identity providers need to know of us, as XML. */
  metadata(): string {
    const { mxidSourceAttribute } = this.config.userMappingProvider;
    const required = [...new Set(this.sp.requiredAttributes ?? ["uid", mxidSourceAttribute])];
    const optional = this.sp.optionalAttributes ?? ["displayName", "email", this.config.grandfatheredMxidSourceAttribute];
    return serviceProviderMetadata(this.sp, { required, optional: [...new Set(optional)].filter((name) => name !== "" && !required.includes(name)) });
  }

  async begin(ctx: Context, purpose: Purpose): Promise<BrowserRedirect> {
    try {
      const idps = await this.idps(ctx);
      const wanted = this.config.idpEntityid;
      const idp = wanted === undefined ? (idps.size === 1 ? [...idps.values()][0] : undefined) : idps.get(wanted);
      if (idp === undefined) throw new Error(wanted === undefined ? "several identity providers, and no idp_entityid" : `no metadata of ${wanted}`);
      const id = `id-${ctx.random.bytes(20).toString("hex")}`;
      const saml = samlFor(idp, this.sp, { knows: () => false, newId: () => id }, undefined);
      // Some identity providers want a relay state, whatever it is.
      const relayState = "clientRedirectUrl" in purpose ? purpose.clientRedirectUrl : "unused";
      const location = await saml.getAuthorizeUrlAsync(relayState, undefined, {});
      this.requests.add(id, { purpose, idp: idp.entityId }, ctx.clock);
      return { location, cookies: "uiAuthSessionId" in purpose ? [uiAuthCookie(ctx, purpose.uiAuthSessionId)] : [] };
    } catch (error) {
      throw providerUnavailable(error);
    }
  }

  /** Completes what began at `begin`. @throws SsoError; MatrixErrors of registration */
  async handleResponse(ctx: Context, request: SamlReturn): Promise<BrowserAnswer> {
    const { inResponseTo, issuer, successful } = readEnvelope(request.response);
    const waiting = inResponseTo === undefined ? undefined : this.requests.get(inResponseTo, ctx.clock);
    if (waiting === undefined && (inResponseTo !== undefined || !this.sp.allowUnsolicited)) throw unsolicitedResponse();
    if (waiting !== undefined && "uiAuthSessionId" in waiting.purpose) checkUiAuthCookie(request.cookies, waiting.purpose.uiAuthSessionId);
    if (!successful) throw invalidResponse("the identity provider did not let the user in");
    const idps = await this.idps(ctx).catch((error: unknown) => Promise.reject(providerUnavailable(error)));
    const idp = idps.get(waiting?.idp ?? issuer ?? "");
    if (idp === undefined) throw invalidResponse("it is from an unknown provider");
    const knows = (id: string): boolean => id === inResponseTo;
    const samls = decryptionKeys(this.sp).map((key) => samlFor(idp, this.sp, { knows, newId: () => "" }, key));
    const attributes = await verifyResponse(samls, request.response, idp, this.sp, inResponseTo);
    // From here on the response is spent; another one that came meanwhile was the first.
    if (inResponseTo !== undefined && !this.requests.delete(inResponseTo)) throw unsolicitedResponse();
    const purpose = waiting?.purpose ?? unsolicitedPurpose(request.relayState);
    const remoteUserId = remoteUserIdOf(attributes);
    if ("uiAuthSessionId" in purpose) return await completeUiAuth(ctx, { providerId: this.id, remoteUserId, uiAuthSessionId: purpose.uiAuthSessionId });
    checkRequirements(attributes, this.config.attributeRequirements);
    return await completeLogin(ctx, {
      providerId: this.id,
      remoteUserId,
      providerSessionId: undefined,
      clientRedirectUrl: purpose.clientRedirectUrl,
      registrationEnabled: true,
      attributes: (failures) => userAttributesOf(attributes, this.config.userMappingProvider, failures),
      existingUser: () => this.existingUser(ctx, attributes),
      userAgent: request.userAgent,
      ip: request.ip,
    });
  }

  /** Users of the days before there were links to providers, by `grandfathered_mxid_source_attribute`. */
  private async existingUser(ctx: Pick<Context, "config" | "read">, attributes: SamlAttributes): Promise<string | undefined> {
    const name = this.config.grandfatheredMxidSourceAttribute;
    const source = name === "" ? undefined : attributes.get(name)?.[0];
    if (source === undefined) return undefined;
    const userId = `@${localpartFrom(source)}:${ctx.config.server.serverName}`;
    const users = (await findUsersIgnoringCase(ctx.read, userId)).map((user) => user.name);
    return users.includes(userId) ? userId : users[0];
  }

  private async idps(ctx: Pick<Context, "http">): Promise<ReadonlyMap<string, SamlIdp>> {
    const loading = (this.remote ??= this.fetchMetadata(ctx));
    try {
      return new Map([...this.local, ...(await loading)].map((idp) => [idp.entityId, idp]));
    } catch (error) {
      if (this.remote === loading) this.remote = undefined;
      throw error;
    }
  }

  private async fetchMetadata(ctx: Pick<Context, "http">): Promise<readonly SamlIdp[]> {
    const documents = await Promise.all(this.sp.metadata.urls.map((url) => ctx.http.trusted.text({ method: "GET", url, maxBytes: 64 * 1024 * 1024 })));
    return documents.flatMap(readIdpMetadata);
  }
}

/** A login that the provider began: the relay state says for which client. */
function unsolicitedPurpose(relayState: string): Purpose {
  checkClientRedirect(relayState);
  return { clientRedirectUrl: relayState };
}
