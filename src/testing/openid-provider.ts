import { generateKeyPairSync, type KeyObject } from "node:crypto";
import http from "node:http";
import type { AddressInfo } from "node:net";
import Provider, { type Configuration, type JWKS } from "oidc-provider";

/** Somebody who has an account at the provider: claims by name, `sub` among them. */
export type Person = Readonly<Record<string, unknown>> & { readonly sub: string };

export const CLIENT_ID = "homeserver";
export const CLIENT_SECRET = "the secret of the homeserver, as long as it takes";

export interface OpenIdProviderOptions {
  /** Where the homeserver takes answers. */
  readonly redirectUri: string;
  /** Where it takes logout tokens; undefined: nowhere. */
  readonly backchannelLogoutUri?: string;
  /** Changes to the client. */
  readonly client?: Readonly<Record<string, unknown>>;
}

/** Made once a process: it takes a while. */
let key: KeyObject | undefined;

/** A real OpenID provider on the loopback address, at which people log in by a form, or at once as `person`. */
export class OpenIdProvider {
  /** Who logs in, without being asked; undefined: a form asks. */
  person: Person | undefined;
  /** Accounts by user name, for the form. */
  readonly people = new Map<string, Person>();
  /** The query of each authorization request. */
  readonly requests: URLSearchParams[] = [];
  /** With which ID tokens and logout tokens are signed. */
  signingKey = (key ??= generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey);
  private keyId = "first";
  private options: OpenIdProviderOptions | undefined;
  private provider: Provider | undefined;

  private constructor(
    private readonly server: http.Server,
    readonly issuer: string,
  ) {}

  /** Takes a port; `serve` makes a provider of it once the homeserver's addresses are known. */
  static async open(): Promise<OpenIdProvider> {
    let opened: OpenIdProvider | undefined;
    const server = http.createServer((req, res) => opened?.handle(req, res));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (opened = new OpenIdProvider(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`));
  }

  serve(options: OpenIdProviderOptions): void {
    this.options = options;
    const { redirectUri, backchannelLogoutUri, client } = options;
    const configuration: Configuration = {
      clients: [
        {
          client_id: CLIENT_ID,
          client_secret: CLIENT_SECRET,
          redirect_uris: [redirectUri],
          ...(backchannelLogoutUri === undefined ? {} : { backchannel_logout_uri: backchannelLogoutUri, backchannel_logout_session_required: true }),
          ...client,
        },
      ],
      // The homeserver has a loopback address here, which a provider would not talk to.
      fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined } as RequestInit),
      jwks: { keys: [{ ...this.signingKey.export({ format: "jwk" }), alg: "RS256", use: "sig", kid: this.keyId }] } as JWKS,
      ttl: { AccessToken: 3600, AuthorizationCode: 60, Grant: 3600, IdToken: 3600, Interaction: 3600, Session: 3600 },
      cookies: { keys: ["cookie key of the test"] },
      claims: { openid: ["sub"], profile: ["name", "preferred_username", "picture"], email: ["email", "email_verified"], groups: ["groups"] },
      scopes: ["openid", "profile", "email", "groups"],
      conformIdTokenClaims: false,
      pkce: { required: () => false },
      features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
      interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
      findAccount: (_ctx, id) => {
        const person = [...this.people.values()].find(({ sub }) => sub === id);
        return person === undefined ? undefined : { accountId: id, claims: () => ({ ...person }) };
      },
      loadExistingGrant: async (ctx) => {
        const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client!.clientId, accountId: ctx.oidc.session!.accountId! });
        grant.addOIDCScope("openid profile email groups");
        await grant.save();
        return grant;
      },
    };
    this.provider = new Provider(this.issuer, configuration);
  }

  /** From now on it signs with another key. */
  rotate(): void {
    this.signingKey = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    this.keyId = "second";
    this.serve(this.options!);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private handle(req: http.IncomingMessage, res: http.ServerResponse): void {
    const url = new URL(req.url!, this.issuer);
    if (url.pathname === "/auth" && url.searchParams.has("client_id")) this.requests.push(url.searchParams);
    const done = (work: Promise<void>): void => void work.catch((error: unknown) => res.writeHead(500).end(String(error)));
    if (url.pathname.startsWith("/interaction/")) done(this.interact(req, res));
    else void this.provider!.callback()(req, res);
  }

  private async interact(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    let person = this.person;
    if (req.method === "POST") {
      const chunks: Buffer[] = [];
      for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk);
      person = this.people.get(new URLSearchParams(Buffer.concat(chunks).toString("utf8")).get("login") ?? "");
    }
    if (person === undefined) {
      res.writeHead(200, { "content-type": "text/html" });
      res.end('<!DOCTYPE html><title>Provider</title><h1>The provider</h1><form method="post"><input name="login" autofocus><button>Log in</button></form>');
      return;
    }
    const known = person;
    if (![...this.people.values()].includes(known)) this.people.set(known.sub, known);
    await this.provider!.interactionFinished(req, res, { login: { accountId: known.sub } }, { mergeWithLastSubmission: false });
  }
}
