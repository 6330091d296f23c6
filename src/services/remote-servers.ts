import type { Json, JsonObject } from "../lib/json.ts";
import type { KeyClaim } from "../storage/devices/keys.ts";
import type { UserPresence } from "../storage/presence/presence.ts";

/**
 * What the services of per-user data tell and ask other servers (and, of keys, appservices). Federation provides it; `noRemoteServers` stands in where the server does not
 * federate. The `send...` functions never fail and never wait: what must not be lost lies in the database already
 * (`device_federation_outbox`, `device_lists_outbound_pokes`), and is fetched from there after a `wake`.
 */
export interface RemoteServers {
  /** False: nobody listens, so that nothing need be worked out for them. */
  readonly federates: boolean;
  /** A public receipt of a local user, to all servers in the room. */
  sendReceipt(receipt: {
    roomId: string;
    receiptType: string;
    userId: string;
    eventIds: readonly string[];
    threadId: string | undefined;
    data: JsonObject;
  }): void;
  /** To all servers in the room. */
  sendTyping(roomId: string, userId: string, typing: boolean): void;
  sendPresence(states: readonly UserPresence[], destinations: Iterable<string>): void;
  /** Rows for these servers wait in the database. */
  wake(destinations: Iterable<string>): void;
  /** `POST /user/keys/query` of the users' server: user id to device ids (empty list: all). Rejects when the server cannot be asked. */
  queryKeys(destination: string, deviceKeys: Readonly<Record<string, readonly string[]>>, timeoutMs: number): Promise<JsonObject>;
  /** `POST /user/keys/claim`: user id to device id to algorithm to count. Rejects when the server cannot be asked. */
  claimKeys(
    destination: string,
    oneTimeKeys: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, number>>>>>>,
    timeoutMs: number,
  ): Promise<JsonObject>;
  /** `GET /user/devices/{userId}`. Rejects when the server cannot be asked. */
  userDevices(destination: string, userId: string): Promise<JsonObject>;
  /** Keys of appservices' users that the appservices know (MSC3984): `{"device_keys": ...}`. */
  queryAppserviceKeys(query: Readonly<Record<string, readonly string[]>>): Promise<JsonObject>;
  /** One-time keys of appservices' users (MSC3983), and the claims that remain. */
  claimAppserviceKeys(claims: readonly KeyClaim[]): Promise<AppserviceKeys>;
}

export interface AppserviceKeys {
  readonly keys: readonly { readonly userId: string; readonly deviceId: string; /** `<algorithm>:<key id>` */ readonly keyName: string; readonly key: Json }[];
  readonly missing: readonly KeyClaim[];
}

const unreachable = (): Promise<never> => Promise.reject(new Error("This server does not federate"));

export const noRemoteServers: RemoteServers = {
  federates: false,
  sendReceipt: () => {},
  sendTyping: () => {},
  sendPresence: () => {},
  wake: () => {},
  queryKeys: unreachable,
  claimKeys: unreachable,
  userDevices: unreachable,
  queryAppserviceKeys: () => Promise.resolve({}),
  claimAppserviceKeys: (claims) => Promise.resolve({ keys: [], missing: claims }),
};
