import { createHash } from "node:crypto";
import type { Config } from "../../../config/config.ts";
import type { JsonObject } from "../../../lib/json.ts";
import { HttpError, HttpUnavailable } from "../../../outbound/http-client.ts";
import type { Context } from "../../context.ts";
import { type BrowserRedirect, providerUnavailable, SsoError } from "../answers.ts";
import type { IdentityProvider, Purpose } from "../provider.ts";
import { ClientSecret } from "./client-secret.ts";
import { type Claims, OidcMapping } from "./mapping.ts";
import { discoveryUrl, providerMetadata, type ProviderMetadata, readJwks, usesUserinfo } from "./metadata.ts";
import { BadToken, type SetOfKeys, UnknownKey, verifyIdToken, verifyLogoutToken, verifyUserinfo } from "./verify-token.ts";

/**
 * The cookies of a login under way, with their attributes. Two: browsers send the one with SameSite=None when the provider answers by a
 * form, and old Safaris, which read None as Strict, the other.
 */
export const SESSION_COOKIES = [
  ["oidc_session", "HttpOnly; Secure; SameSite=None"],
  ["oidc_session_no_samesite", "HttpOnly; Secure"],
] as const;

const COOKIE_LIFETIME_S = 3600;
/** So often keys are fetched anew because of a token that none of them signed. */
const MIN_RELOAD_MS = 10_000;

/** Who came back from the provider. */
export interface Identity {
  readonly claims: Claims;
  /** The login's session there. */
  readonly sid: string | undefined;
}

type NeedsNet = Pick<Context, "clock" | "http" | "log">;

/** An OpenID Connect provider of the configuration; GitHub and its like, which speak OAuth 2.0 alone, too. */
export class OidcProvider implements IdentityProvider {
  readonly id: string;
  readonly name: string;
  readonly icon: string | undefined;
  readonly brand: string | undefined;
  readonly mapping: OidcMapping;
  /** Where the provider sends browsers back to. */
  private readonly callbackUrl: string;
  /** Of the cookies: our callback, as browsers see it. */
  private readonly cookiePath: string;
  private readonly secret: ClientSecret;
  private metadata: Promise<ProviderMetadata> | undefined;
  private jwks: Promise<SetOfKeys> | undefined;
  private reloadedAt = -Infinity;

  /** @throws ConfigError */
  constructor(
    readonly config: Config["oidc"]["providers"][number],
    callbackUrl: string,
    publicBaseurl: string,
  ) {
    this.id = config.idpId;
    this.name = config.idpName;
    this.icon = config.idpIcon;
    this.brand = config.idpBrand;
    this.callbackUrl = config.redirectUri ?? callbackUrl;
    this.cookiePath = `${new URL(publicBaseurl).pathname}_synapse/client/oidc`;
    this.mapping = new OidcMapping(config, publicBaseurl);
    this.secret = new ClientSecret(config);
  }

  /** The provider's description; asked for once, and again after a failure. @throws HttpError, HttpUnavailable, BadMetadata */
  async load(ctx: NeedsNet): Promise<ProviderMetadata> {
    const loading = (this.metadata ??= this.discover(ctx));
    try {
      return await loading;
    } catch (error) {
      if (this.metadata === loading) this.metadata = undefined;
      throw error;
    }
  }

  /** Asks for what logins will need, so that trouble is in the log before somebody logs in. */
  async preload(ctx: NeedsNet): Promise<void> {
    const log = ctx.log.named("synapse.handlers.oidc");
    try {
      await this.load(ctx);
      if (!usesUserinfo(this.config)) await this.keys(ctx);
      const { backchannelLogoutEnabled, backchannelLogoutIgnoreSub } = this.config;
      if (backchannelLogoutEnabled && !backchannelLogoutIgnoreSub && !this.mapping.usesSubject())
        log.warn(
          `${this.id}: back-channel logout finds users by sub, but they are mapped by another claim. Set backchannel_logout_ignore_sub if that is right`,
        );
    } catch (error) {
      log.error(`The login provider ${this.id} cannot be used at present`, { error });
    }
  }

  async begin(ctx: Context, purpose: Purpose, parameter: (name: string) => string | undefined): Promise<BrowserRedirect> {
    let metadata: ProviderMetadata;
    try {
      metadata = await this.load(ctx);
    } catch (error) {
      throw providerUnavailable(error);
    }
    const token = (bytes: number): string => ctx.random.bytes(bytes).toString("base64url");
    const [state, nonce, codeVerifier] = [token(32), token(32), metadata.pkce ? token(48) : ""];
    const { additionalAuthorizationParameters, clientId, passthroughAuthorizationParameters, scopes } = this.config;
    const passed = passthroughAuthorizationParameters.flatMap((name) => {
      const value = parameter(name);
      return value ? [[name, value] as const] : [];
    });
    const url = new URL(metadata.authorizationEndpoint);
    const extra: Record<string, string> = {
      ...additionalAuthorizationParameters,
      ...(metadata.pkce ? { code_challenge_method: "S256", code_challenge: createHash("sha256").update(codeVerifier).digest("base64url") } : {}),
      ...Object.fromEntries(passed),
    };
    // What this server says counts, whatever a request or an option says.
    const own = { response_type: "code", client_id: clientId, redirect_uri: this.callbackUrl, scope: scopes.join(" "), state, nonce };
    for (const [name, value] of Object.entries({ ...extra, ...own })) url.searchParams.set(name, value);
    const cookie = ctx.macaroons.oidcSessionToken(state, {
      idpId: this.id,
      nonce,
      clientRedirectUrl: "clientRedirectUrl" in purpose ? purpose.clientRedirectUrl : "",
      uiAuthSessionId: "uiAuthSessionId" in purpose ? purpose.uiAuthSessionId : "",
      codeVerifier,
    });
    const cookies = SESSION_COOKIES.map(([name, attributes]) => `${name}=${cookie}; Max-Age=${COOKIE_LIFETIME_S}; Path=${this.cookiePath}; ${attributes}`);
    return { location: url.toString(), cookies };
  }

  /** Set-Cookie values that end a login under way. */
  endCookies(): string[] {
    return SESSION_COOKIES.map(([name, attributes]) => `${name}=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=${this.cookiePath}; ${attributes}`);
  }

  /** Exchanges the code that a browser brought for what the provider says of the user. @throws SsoError */
  async identify(ctx: NeedsNet, code: string, session: { readonly nonce: string; readonly codeVerifier: string }): Promise<Identity> {
    const token = await this.exchange(ctx, code, session.codeVerifier);
    const { id_token: idToken, access_token: accessToken } = token;
    const readsUserinfo = usesUserinfo(this.config);
    let claims: JsonObject | undefined;
    // An ID token is checked even where the claims come from elsewhere.
    if (idToken !== undefined && idToken !== null) {
      try {
        if (typeof idToken !== "string") throw new BadToken("it is no text");
        const expected = { nonce: session.nonce, accessToken: readsUserinfo && typeof accessToken === "string" ? accessToken : undefined };
        claims = await this.withKeys(ctx, async (keys, metadata) => verifyIdToken(idToken, keys, this.verification(ctx, metadata), expected));
      } catch (error) {
        throw new SsoError("invalid_token", describe(error), 400, error);
      }
    }
    const sid = typeof claims?.["sid"] === "string" && !claims["sid"].includes("\0") ? claims["sid"] : undefined;
    if (!readsUserinfo) {
      if (claims === undefined) throw new SsoError("invalid_token", "Missing id_token in token response");
      return { claims, sid };
    }
    try {
      const userinfo = await this.userinfo(ctx, accessToken);
      // The access token may be somebody else's (OpenID Connect Core 1.0, section 5.3.2).
      if (claims !== undefined && userinfo["sub"] !== undefined && userinfo["sub"] !== claims["sub"]) throw new BadToken("the answer is about somebody else");
      return { claims: userinfo, sid };
    } catch (error) {
      throw new SsoError("fetch_error", describe(error), 400, error);
    }
  }

  /** Who is logged out by a logout token. @throws BadToken, HttpError, HttpUnavailable, BadMetadata */
  async loggedOut(ctx: NeedsNet, logoutToken: string): Promise<{ sid: string; sub: string | undefined }> {
    return await this.withKeys(ctx, async (keys, metadata) => verifyLogoutToken(logoutToken, keys, this.verification(ctx, metadata)));
  }

  private verification(ctx: Pick<NeedsNet, "clock">, { algorithms, issuer }: ProviderMetadata): Parameters<typeof verifyLogoutToken>[2] {
    return { issuer, algorithms, clientId: this.config.clientId, now: ctx.clock.now() };
  }

  private async discover(ctx: NeedsNet): Promise<ProviderMetadata> {
    const found = this.config.discover ? await ctx.http.trusted.object({ method: "GET", url: discoveryUrl(this.config.issuer) }) : {};
    return providerMetadata(this.config, found);
  }

  private async keys(ctx: NeedsNet): Promise<SetOfKeys> {
    const loading = (this.jwks ??= this.fetchKeys(ctx));
    try {
      return await loading;
    } catch (error) {
      if (this.jwks === loading) this.jwks = undefined;
      throw error;
    }
  }

  private async fetchKeys(ctx: NeedsNet): Promise<SetOfKeys> {
    const { jwksUri } = await this.load(ctx);
    if (jwksUri === undefined) throw new BadToken("the provider publishes no keys");
    return readJwks(await ctx.http.trusted.object({ method: "GET", url: jwksUri }));
  }

  /** Does a check with the keys at hand, and once more with fresh ones when none of them fits. */
  private async withKeys<T>(ctx: NeedsNet, check: (keys: SetOfKeys, metadata: ProviderMetadata) => Promise<T>): Promise<T> {
    const metadata = await this.load(ctx);
    try {
      return await check(await this.keys(ctx), metadata);
    } catch (error) {
      const now = ctx.clock.now();
      if (!(error instanceof UnknownKey) || now - this.reloadedAt < MIN_RELOAD_MS) throw error;
      this.reloadedAt = now;
      this.jwks = undefined;
      return await check(await this.keys(ctx), metadata);
    }
  }

  /** The token endpoint's answer to a code (RFC 6749, section 4.1.3). @throws SsoError */
  private async exchange(ctx: NeedsNet, code: string, codeVerifier: string): Promise<JsonObject> {
    const { clientAuthMethod, clientId } = this.config;
    const form: Record<string, string> = { grant_type: "authorization_code", code, redirect_uri: this.callbackUrl };
    if (codeVerifier !== "") form["code_verifier"] = codeVerifier;
    const headers: Record<string, string> = { accept: "application/json" };
    const secret = (await this.secret.current(ctx.clock)) ?? "";
    if (clientAuthMethod === "client_secret_basic") {
      headers["authorization"] = `Basic ${Buffer.from(`${clientId}:${secret}`).toString("base64")}`;
    } else {
      form["client_id"] = clientId;
      if (clientAuthMethod === "client_secret_post") form["client_secret"] = secret;
    }
    let answer: JsonObject;
    try {
      const { tokenEndpoint } = await this.load(ctx);
      answer = await ctx.http.trusted.object({ method: "POST", url: tokenEndpoint, form, headers });
    } catch (error) {
      if (error instanceof HttpError) {
        if (typeof error.body["error"] === "string") answer = error.body;
        else
          throw new SsoError(
            "server_error",
            `Authorization server responded with a "${error.status}" error while exchanging the authorization code.`,
            400,
            error,
          );
      } else if (error instanceof HttpUnavailable) {
        throw new SsoError("server_error", "The authorization server cannot be asked for the token.", 400, error);
      } else {
        throw providerUnavailable(error);
      }
    }
    const { error, error_description: description } = answer;
    if (typeof error === "string") throw new SsoError(error, typeof description === "string" ? description : error);
    return answer;
  }

  private async userinfo(ctx: NeedsNet, accessToken: unknown): Promise<JsonObject> {
    if (typeof accessToken !== "string") throw new BadToken("the token response has no access_token");
    const { userinfoEndpoint, algorithms } = await this.load(ctx);
    if (userinfoEndpoint === undefined) throw new BadToken("there is no userinfo_endpoint");
    const text = await ctx.http.trusted.text({ method: "GET", url: userinfoEndpoint, headers: { authorization: `Bearer ${accessToken}` } });
    // application/jwt: a signed answer; JSON begins otherwise.
    if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text.trim()))
      return await this.withKeys(ctx, (keys) => verifyUserinfo(text.trim(), keys, { algorithms, now: ctx.clock.now() }));
    const claims: unknown = JSON.parse(text);
    if (typeof claims !== "object" || claims === null || Array.isArray(claims)) throw new BadToken("the answer is no object");
    return claims as JsonObject;
  }
}

/** For the person who logs in: nothing of what the provider sent. */
function describe(error: unknown): string {
  if (error instanceof BadToken) return error.message;
  if (error instanceof HttpError || error instanceof HttpUnavailable) return error.message;
  return "The provider's answer cannot be read";
}
