import { isJsonObject, type Json, type JsonObject } from "../lib/json.ts";
import { HttpError, type HttpClient } from "./http-client.ts";

/** Where an application service is reached. */
export interface AppserviceAddress {
  readonly id: string;
  readonly url: string;
  readonly hsToken: string;
}

const PREFIX = "/_matrix/app/v1";
const MAX_ANSWER = 10 * 1024 * 1024;

/** Requests to application services (Application Service API). They are configured by the admin: no address is out of reach, no proxy is used. */
export class AppserviceClient {
  /** @param legacyAuthorization the token goes into the query, too (`use_appservice_legacy_authorization`) */
  constructor(
    private readonly http: HttpClient,
    private readonly legacyAuthorization: boolean,
  ) {}

  /** Sends a transaction; `body` is its JSON. @throws HttpError, HttpUnavailable */
  async sendTransaction(to: AppserviceAddress, transactionId: number, body: string): Promise<void> {
    await this.request(to, "PUT", `${PREFIX}/transactions/${transactionId}`, { text: { body, contentType: "application/json" } });
  }

  /** @throws HttpError, HttpUnavailable */
  async ping(to: AppserviceAddress, transactionId: Json): Promise<void> {
    await this.request(to, "POST", `${PREFIX}/ping`, { json: { transaction_id: transactionId } }, false);
  }

  /** Whether the appservice knows (and has made) a user. @throws HttpUnavailable, HttpError but for 404 */
  async knowsUser(to: AppserviceAddress, userId: string): Promise<boolean> {
    return await this.knows(to, `${PREFIX}/users/${encodeURIComponent(userId)}`);
  }

  /** Whether the appservice knows (and has made) an alias. @throws HttpUnavailable, HttpError but for 404 */
  async knowsAlias(to: AppserviceAddress, alias: string): Promise<boolean> {
    return await this.knows(to, `${PREFIX}/rooms/${encodeURIComponent(alias)}`);
  }

  /** Metadata of a third-party protocol as the appservice answers. @throws HttpError, HttpUnavailable */
  async protocol(to: AppserviceAddress, protocol: string): Promise<Json> {
    return JSON.parse(await this.request(to, "GET", `${PREFIX}/thirdparty/protocol/${encodeURIComponent(protocol)}`)) as Json;
  }

  /** Users or locations of a third-party network as the appservice answers; without a protocol of all. @throws HttpError, HttpUnavailable */
  async thirdParty(to: AppserviceAddress, kind: "user" | "location", protocol: string, fields: readonly (readonly [string, string])[]): Promise<Json> {
    return JSON.parse(await this.request(to, "GET", `${PREFIX}/thirdparty/${kind}/${encodeURIComponent(protocol)}`, { fields })) as Json;
  }

  /** Claims one-time keys (MSC3983). @throws HttpError, HttpUnavailable */
  async claimKeys(to: AppserviceAddress, query: JsonObject): Promise<JsonObject> {
    return objectOf(await this.request(to, "POST", "/_matrix/app/unstable/org.matrix.msc3983/keys/claim", { json: query }, false));
  }

  /** Asks for device keys (MSC3984). @throws HttpError, HttpUnavailable */
  async queryKeys(to: AppserviceAddress, query: JsonObject): Promise<JsonObject> {
    return objectOf(await this.request(to, "POST", "/_matrix/app/unstable/org.matrix.msc3984/keys/query", { json: query }, false));
  }

  private async knows(to: AppserviceAddress, path: string): Promise<boolean> {
    try {
      await this.request(to, "GET", path);
      return true;
    } catch (error) {
      if (error instanceof HttpError && error.status === 404) return false;
      throw error;
    }
  }

  private async request(
    to: AppserviceAddress,
    method: "GET" | "POST" | "PUT",
    path: string,
    body: { json?: JsonObject; text?: { body: string; contentType: string }; fields?: readonly (readonly [string, string])[] } = {},
    mayBeLegacy = true,
  ): Promise<string> {
    const { fields = [], ...content } = body;
    const query = new URLSearchParams(fields.map(([name, value]): [string, string] => [name, value]));
    if (this.legacyAuthorization && mayBeLegacy) query.append("access_token", to.hsToken);
    const search = query.size === 0 ? "" : `?${query.toString()}`;
    return await this.http.text({
      method,
      url: `${to.url.replace(/\/+$/, "")}${path}${search}`,
      headers: { authorization: `Bearer ${to.hsToken}` },
      maxBytes: MAX_ANSWER,
      ...content,
    });
  }
}

function objectOf(text: string): JsonObject {
  const json: unknown = JSON.parse(text);
  return isJsonObject(json) ? json : {};
}
