import type { Clock } from "../../lib/clock.ts";
import { mintMacaroon, parseMacaroon, verifyMacaroon, type Macaroon } from "../../lib/macaroon.ts";
import type { Random } from "../../lib/random.ts";

/** What is kept in the cookie of an OpenID Connect login in progress. */
export interface OidcSession {
  readonly idpId: string;
  readonly nonce: string;
  readonly clientRedirectUrl: string;
  readonly uiAuthSessionId: string;
  readonly codeVerifier: string;
}

const SYMBOLS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,;:^&*-_+=#~@";

/** Signs and verifies Synapse's macaroons: guests' access tokens, unsubscribe links, cookies of OIDC logins. */
export class Macaroons {
  /** @param key `macaroon_secret_key`, or what stands in for it */
  constructor(
    private readonly key: Uint8Array,
    private readonly serverName: string,
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  guestToken(userId: string): string {
    let nonce = "";
    while (nonce.length < 16) nonce += SYMBOLS[this.random.below(SYMBOLS.length)]!;
    return this.mint("access", [`user_id = ${userId}`, `nonce = ${nonce}`, "guest = true"]);
  }

  /** The guest whose token this is; undefined when it is not a guest's token of ours. */
  guestOf(token: string): string | undefined {
    const macaroon = parseMacaroon(token);
    if (macaroon === undefined || !macaroon.caveats.includes("guest = true")) return undefined;
    const holds = (caveat: string): boolean =>
      caveat === "guest = true" || caveat.startsWith("user_id = ") || caveat.startsWith("nonce = ") || this.notYet(caveat);
    return this.verify(macaroon, "access", holds) ? valueOf(macaroon, "user_id") : undefined;
  }

  deletePusherToken(userId: string, appId: string, pushkey: string): string {
    return this.mint("delete_pusher", [`user_id = ${userId}`, `app_id = ${appId}`, `pushkey = ${pushkey}`]);
  }

  /** The user of an unsubscribe link for this pusher; undefined when the token is not for it. */
  pusherOwnerOf(token: string, appId: string, pushkey: string): string | undefined {
    const macaroon = parseMacaroon(token);
    const holds = (caveat: string): boolean => caveat === `app_id = ${appId}` || caveat === `pushkey = ${pushkey}` || caveat.startsWith("user_id = ");
    return macaroon !== undefined && this.verify(macaroon, "delete_pusher", holds) ? valueOf(macaroon, "user_id") : undefined;
  }

  oidcSessionToken(state: string, session: OidcSession, lifetimeMs = 3_600_000): string {
    return this.mint("session", [
      `state = ${state}`,
      `idp_id = ${session.idpId}`,
      `nonce = ${session.nonce}`,
      `client_redirect_url = ${session.clientRedirectUrl}`,
      `ui_auth_session_id = ${session.uiAuthSessionId}`,
      `code_verifier = ${session.codeVerifier}`,
      `time < ${this.clock.now() + lifetimeMs}`,
    ]);
  }

  /** The login that a cookie belongs to; undefined when it is not ours, for another `state`, or too old. */
  oidcSessionOf(token: string, state: string): OidcSession | undefined {
    const macaroon = parseMacaroon(token);
    const prefixes = ["nonce = ", "idp_id = ", "client_redirect_url = ", "ui_auth_session_id = ", "code_verifier = "];
    const holds = (caveat: string): boolean => caveat === `state = ${state}` || prefixes.some((prefix) => caveat.startsWith(prefix)) || this.notYet(caveat);
    if (macaroon === undefined || !macaroon.caveats.includes(`state = ${state}`) || !this.verify(macaroon, "session", holds)) return undefined;
    const [idpId, nonce, clientRedirectUrl, uiAuthSessionId, codeVerifier] = [
      "idp_id",
      "nonce",
      "client_redirect_url",
      "ui_auth_session_id",
      "code_verifier",
    ].map((key) => valueOf(macaroon, key));
    if (idpId === undefined || nonce === undefined || clientRedirectUrl === undefined || uiAuthSessionId === undefined || codeVerifier === undefined)
      return undefined;
    return { idpId, nonce, clientRedirectUrl, uiAuthSessionId, codeVerifier };
  }

  private mint(type: string, caveats: readonly string[]): string {
    return mintMacaroon(this.key, this.serverName, "key", ["gen = 1", `type = ${type}`, ...caveats]);
  }

  private verify(macaroon: Macaroon, type: string, holds: (caveat: string) => boolean): boolean {
    if (!macaroon.caveats.includes(`type = ${type}`)) return false;
    return verifyMacaroon(macaroon, this.key, (caveat) => caveat === "gen = 1" || caveat === `type = ${type}` || holds(caveat));
  }

  private notYet(caveat: string): boolean {
    const match = /^time < (\d+)$/.exec(caveat);
    return match !== null && this.clock.now() < Number(match[1]);
  }
}

/** The value of a caveat `key = value`; undefined when there is none, or when two disagree. */
function valueOf(macaroon: Macaroon, key: string): string | undefined {
  const values = new Set(macaroon.caveats.filter((caveat) => caveat.startsWith(`${key} = `)).map((caveat) => caveat.slice(key.length + 3)));
  return values.size === 1 ? [...values][0] : undefined;
}
