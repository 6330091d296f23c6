import { createHash } from "node:crypto";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { canonicalJson } from "../protocol/canonical-json.ts";
import { type SigningKey, signText } from "../protocol/event/sign.ts";
import { isServerName } from "../protocol/ids.ts";
import { type HttpClient, HttpUnavailable } from "./http-client.ts";

/** What an identity server says of an invite that it keeps. */
export interface StoredInvite {
  readonly token: string;
  readonly publicKeys: readonly JsonObject[];
  readonly displayName: string;
}

const MAX_LOCATION = 255;

/** Whether a text can be an identity server as clients name it: a host, perhaps with port and path. */
export function isIdentityServer(location: string): boolean {
  if (location.length > MAX_LOCATION) return false;
  const slash = location.indexOf("/");
  const host = slash < 0 ? location : location.slice(0, slash);
  const path = slash < 0 ? "" : location.slice(slash);
  return isServerName(host) && /^[\w\-.~!$&'()*+,;=:@%/]*$/.test(path) && !path.split("/").some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment));
}

/**
 * Identity servers (identity service API, v2; `id_server` is a host with or without a path, reached by https), and the one to which the
 * admin leaves phone numbers (`account_threepid_delegates.msisdn`, a base URL). All functions @throws HttpError, HttpUnavailable.
 */
export class IdentityServers {
  constructor(
    /** For servers that clients name. */
    private readonly guarded: HttpClient,
    /** For the one that the admin named. */
    private readonly trusted: HttpClient,
    private readonly own: { readonly serverName: string; readonly signingKey: SigningKey },
  ) {}

  /** The user who has bound the address; undefined when nobody has. Sends a hash of it where the server can work with that. */
  async lookup(idServer: string, accessToken: string, medium: string, address: string): Promise<string | undefined> {
    const headers = bearer(accessToken);
    const { algorithms, lookup_pepper: pepper } = await this.guarded.object({ method: "GET", url: v2(idServer, "/hash_details"), headers });
    if (!Array.isArray(algorithms) || typeof pepper !== "string" || pepper === "") throw new HttpUnavailable("its hash details are malformed");
    const algorithm = ["sha256", "none"].find((name) => algorithms.includes(name));
    if (algorithm === undefined) throw new HttpUnavailable("it knows no lookup algorithm that this server knows");
    const value = algorithm === "sha256" ? createHash("sha256").update(`${address} ${medium} ${pepper}`).digest("base64url") : `${address} ${medium}`;
    const { mappings } = await this.guarded.object({ method: "POST", url: v2(idServer, "/lookup"), headers, json: { addresses: [value], algorithm, pepper } });
    const userId = isJsonObject(mappings) && Object.hasOwn(mappings, value) ? mappings[value] : undefined;
    return typeof userId === "string" ? userId : undefined;
  }

  /** Binds the address of one of the identity server's validation sessions to a user; returns what it says, with `medium` and `address`. */
  async bind(idServer: string, accessToken: string, session: { sid: string; clientSecret: string; userId: string }): Promise<JsonObject> {
    const json = { sid: session.sid, client_secret: session.clientSecret, mxid: session.userId };
    return await this.guarded.object({ method: "POST", url: v2(idServer, "/3pid/bind"), headers: bearer(accessToken), json });
  }

  /** Takes a binding away; signed by this server, in whose word the identity server trusts for its users. */
  async unbind(idServer: string, userId: string, medium: string, address: string): Promise<void> {
    const json = { mxid: userId, threepid: { medium, address } };
    const { serverName, signingKey } = this.own;
    const signed = canonicalJson({ method: "POST", uri: "/_matrix/identity/v2/3pid/unbind", origin: serverName, destination_is: idServer, content: json });
    const authorization = `X-Matrix origin="${serverName}",key="${signingKey.keyId}",sig="${signText(signed, signingKey)}"`;
    await this.guarded.object({ method: "POST", url: v2(idServer, "/3pid/unbind"), headers: { authorization }, json });
  }

  /** Has the server write to an address and keep the invite until somebody owns it. */
  async storeInvite(idServer: string, accessToken: string, invite: JsonObject): Promise<StoredInvite> {
    const answer = await this.guarded.object({ method: "POST", url: v2(idServer, "/store-invite"), headers: bearer(accessToken), json: invite });
    const { token, display_name: displayName, public_key: publicKey } = answer;
    if (typeof token !== "string" || token === "" || typeof displayName !== "string") throw new HttpUnavailable("its answer to an invite is malformed");
    const publicKeys = (Array.isArray(answer.public_keys) ? answer.public_keys : []).filter(isJsonObject);
    if (publicKeys.length === 0 && typeof publicKey === "string") publicKeys.push({ public_key: publicKey, key_validity_url: v2(idServer, "/pubkey/isvalid") });
    if (publicKeys.length === 0) throw new HttpUnavailable("its answer to an invite has no keys");
    return { token, publicKeys, displayName };
  }

  /** Whether the server at `url` (of a third-party invite, and so of anybody's choice) still stands by a key. */
  async isKeyValid(url: string, publicKey: string): Promise<boolean> {
    return (await this.guarded.object({ method: "GET", url, query: { public_key: publicKey } })).valid === true;
  }

  /** Has the delegate send a code to a phone; returns its answer. */
  async requestMsisdnToken(
    delegate: string,
    request: { country: string; phoneNumber: string; clientSecret: string; sendAttempt: number; nextLink: string | undefined },
  ): Promise<JsonObject> {
    const json = {
      country: request.country,
      phone_number: request.phoneNumber,
      client_secret: request.clientSecret,
      send_attempt: request.sendAttempt,
      ...(request.nextLink === undefined ? {} : { next_link: request.nextLink }),
    };
    return await this.trusted.object({ method: "POST", url: v1(delegate, "/validate/msisdn/requestToken"), json });
  }

  /** Hands a code to the delegate; returns its answer. */
  async submitMsisdnToken(delegate: string, submission: { clientSecret: string; sid: string; token: string }): Promise<JsonObject> {
    const json = { client_secret: submission.clientSecret, sid: submission.sid, token: submission.token };
    return await this.trusted.object({ method: "POST", url: v1(delegate, "/validate/msisdn/submitToken"), json });
  }

  /** What a validation session of the delegate proved; undefined when it is not proven (some answer that with success). */
  async validatedThreepid(delegate: string, sid: string, clientSecret: string): Promise<{ medium: string; address: string; validatedAt: number } | undefined> {
    const answer = await this.trusted.object({ method: "GET", url: v1(delegate, "/3pid/getValidated3pid"), query: { sid, client_secret: clientSecret } });
    const { medium, address, validated_at: validatedAt } = answer;
    if (typeof medium !== "string" || typeof address !== "string" || typeof validatedAt !== "number") return undefined;
    return { medium, address, validatedAt };
  }
}

const v2 = (idServer: string, path: string): string => `https://${idServer.replace(/\/+$/, "")}/_matrix/identity/v2${path}`;
const v1 = (delegate: string, path: string): string => `${delegate.replace(/\/+$/, "")}/_matrix/identity/api/v1${path}`;

/** Tokens come from clients: what cannot stand in a header makes no request. */
function bearer(accessToken: string): Record<string, string> {
  if (!/^[\x21-\x7e]+$/.test(accessToken)) throw new HttpUnavailable("the access token is malformed");
  return { authorization: `Bearer ${accessToken}` };
}
