import { isUnknownEndpoint } from "../../../outbound/federation/client.ts";
import type { JsonObject } from "../../../lib/json.ts";
import type { Context } from "../../context.ts";
import { noRemoteServers, type RemoteServers } from "../../remote-servers.ts";
import type { FederationSender } from "./federation-sender.ts";

/** Bytes of an answer about keys: of many users with many devices. */
const MAX_KEYS_BYTES = 32 * 1024 * 1024;
const DEVICES_TIMEOUT_MS = 30_000;
/** Keys of one device at once. */
const MOST_KEYS = 5;

/** What other servers are told and asked on behalf of users. Appservices answer for their users elsewhere. */
export function remoteServers(ctx: Pick<Context, "federationClient">, sender: FederationSender): RemoteServers {
  const post = (destination: string, path: string, content: JsonObject, timeoutMs: number): Promise<JsonObject> =>
    ctx.federationClient.requestObject({ method: "POST", destination, path: `/_matrix/federation${path}`, content, timeoutMs, maxBytes: MAX_KEYS_BYTES });
  return {
    ...noRemoteServers,
    federates: true,
    sendReceipt: (receipt) => sender.sendReceipt(receipt),
    sendTyping(roomId, userId, typing) {
      void sender.serversIn(roomId).then(
        (servers) => sender.sendKeyed(servers, "m.typing", JSON.stringify([roomId, userId]), { room_id: roomId, user_id: userId, typing }),
        () => {}, // the database is away, and whoever typed will have stopped when it is back
      );
    },
    sendPresence: (states, destinations) => sender.sendPresence(states, destinations),
    wake: (destinations) => sender.wake(destinations),
    queryKeys: (destination, deviceKeys, timeoutMs) => post(destination, "/v1/user/keys/query", { device_keys: deviceKeys as JsonObject }, timeoutMs),
    async claimKeys(destination, oneTimeKeys, timeoutMs) {
      if (wantsSeveral(oneTimeKeys)) {
        try {
          return await post(destination, "/unstable/user/keys/claim", { one_time_keys: severalClaims(oneTimeKeys) }, timeoutMs);
        } catch (error) {
          if (!isUnknownEndpoint(error)) throw error;
        }
      }
      return await post(destination, "/v1/user/keys/claim", { one_time_keys: claims(oneTimeKeys) }, timeoutMs);
    },
    userDevices: (destination, userId) =>
      ctx.federationClient.requestObject({
        method: "GET",
        destination,
        path: `/_matrix/federation/v1/user/devices/${encodeURIComponent(userId)}`,
        timeoutMs: DEVICES_TIMEOUT_MS,
        maxBytes: MAX_KEYS_BYTES,
      }),
  };
}

type Wanted = Parameters<RemoteServers["claimKeys"]>[1];

/** The specified request has one algorithm for each device, and claims one key of it. */
function claims(wanted: Wanted): JsonObject {
  const users: Record<string, Record<string, string>> = {};
  for (const [userId, devices] of Object.entries(wanted)) {
    for (const [deviceId, algorithms] of Object.entries(devices)) {
      const [algorithm] = Object.keys(algorithms);
      if (algorithm !== undefined) (users[userId] ??= {})[deviceId] = algorithm;
    }
  }
  return users;
}

const wantsSeveral = (wanted: Wanted): boolean =>
  Object.values(wanted).some((devices) => Object.values(devices).some((algorithms) => Object.values(algorithms).reduce((sum, count) => sum + count, 0) > 1));

/** MSC3983: each algorithm as often as keys of it are wanted. */
function severalClaims(wanted: Wanted): JsonObject {
  const users: Record<string, Record<string, string[]>> = {};
  for (const [userId, devices] of Object.entries(wanted)) {
    for (const [deviceId, algorithms] of Object.entries(devices)) {
      const list = Object.entries(algorithms).flatMap(([algorithm, count]) => Array.from({ length: Math.min(count, MOST_KEYS) }, () => algorithm));
      if (list.length > 0) (users[userId] ??= {})[deviceId] = list;
    }
  }
  return users;
}
