import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { type HttpClient, HttpError, HttpUnavailable } from "./http-client.ts";

/** What the service says about an access token (RFC 7662, with what MAS adds to it). */
export interface Introspection {
  readonly active: boolean;
  readonly scope: ReadonlySet<string>;
  /** The localpart. */
  readonly username: string | undefined;
  /** Set for sessions of old clients, whose scope names no device. */
  readonly deviceId: string | undefined;
  /** Seconds; undefined: until further notice. */
  readonly expiresIn: number | undefined;
}

export interface MasOptions {
  /** Base URL with a trailing slash. */
  readonly endpoint: string;
  readonly secret: string;
}

/** Requests to the Matrix Authentication Service. All functions @throws HttpError, HttpUnavailable. */
export class MasClient {
  /** @param direct asks about tokens; @param proxied asks for the metadata, through the forward proxy where there is one, as Synapse does */
  constructor(
    private readonly options: MasOptions,
    private readonly direct: HttpClient,
    private readonly proxied: HttpClient,
  ) {}

  /** Whom an access token belongs to and what it permits. `told` hears the status (or `ERR`) of each request. */
  async introspect(token: string, told: (code: string) => void): Promise<Introspection> {
    let answer: JsonObject;
    try {
      answer = await this.direct.object({
        method: "POST",
        url: `${this.options.endpoint}oauth2/introspect`,
        form: { token, token_type_hint: "access_token" },
        headers: {
          accept: "application/json",
          authorization: `Bearer ${this.options.secret}`,
          // Sessions of old clients are told with their device.
          "x-mas-supports-device-id": "1",
        },
      });
    } catch (error) {
      told(error instanceof HttpError ? String(error.status) : "ERR");
      throw error;
    }
    told("200");
    return readIntrospection(answer);
  }

  /** The OpenID discovery document: `issuer` and `account_management_uri` are strings in it. */
  async metadata(): Promise<JsonObject & { issuer: string; account_management_uri: string }> {
    const document = await this.proxied.object({ method: "GET", url: `${this.options.endpoint}.well-known/openid-configuration` });
    const { issuer, account_management_uri: account } = document;
    if (typeof issuer !== "string" || typeof account !== "string") throw new HttpUnavailable("its metadata has no issuer or no account_management_uri");
    return { ...document, issuer, account_management_uri: account };
  }
}

function readIntrospection(answer: JsonObject): Introspection {
  if (!isJsonObject(answer) || typeof answer.active !== "boolean") throw new HttpUnavailable("it does not say whether the token is active");
  const text = (name: string): string | undefined => {
    const value = answer[name] ?? undefined;
    if (value !== undefined && typeof value !== "string") throw new HttpUnavailable(`'${name}' is no string`);
    return value;
  };
  text("sub");
  const expiresIn = answer.expires_in ?? undefined;
  if (expiresIn !== undefined && !Number.isSafeInteger(expiresIn)) throw new HttpUnavailable("'expires_in' is no integer");
  return {
    active: answer.active,
    scope: new Set((text("scope") ?? "").split(" ").filter((part) => part !== "")),
    username: text("username"),
    deviceId: text("device_id"),
    expiresIn: expiresIn as number | undefined,
  };
}
