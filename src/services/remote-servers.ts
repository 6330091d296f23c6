import type { JsonObject } from "../lib/json.ts";
import type { UserPresence } from "../storage/presence/presence.ts";

/**
 * What the services of per-user data ask of other servers. Federation provides it; `noRemoteServers` stands in where the server does not
 * federate. The `send...` functions never fail and never wait: what must not be lost lies in the database already
 * (`device_federation_outbox`, `device_lists_outbound_pokes`), and is fetched from there after a `wake`.
 */
export interface RemoteServers {
  /** False: nobody listens, so that nothing need be worked out for them. */
  readonly federates: boolean;
  /** A public receipt of a local user, to all servers in the room. */
  sendReceipt(receipt: { roomId: string; receiptType: string; userId: string; eventIds: readonly string[]; threadId: string | undefined; data: JsonObject }): void;
  /** To all servers in the room. */
  sendTyping(roomId: string, userId: string, typing: boolean): void;
  sendPresence(states: readonly UserPresence[], destinations: Iterable<string>): void;
  /** Rows for these servers wait in the database. */
  wake(destinations: Iterable<string>): void;
  /** `POST /user/keys/query` of the users' server: user id to device ids (empty list: all). Rejects when the server cannot be asked. */
  queryKeys(destination: string, deviceKeys: Readonly<Record<string, readonly string[]>>, timeoutMs: number): Promise<JsonObject>;
  /** `POST /user/keys/claim`: user id to device id to algorithm to count. Rejects when the server cannot be asked. */
  claimKeys(destination: string, oneTimeKeys: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, number>>>>>>, timeoutMs: number): Promise<JsonObject>;
  /** `GET /user/devices/{userId}`. Rejects when the server cannot be asked. */
  userDevices(destination: string, userId: string): Promise<JsonObject>;
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
};
