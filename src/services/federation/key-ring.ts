import { lruCache } from "../../lib/lru-cache.ts";
import { isJsonObject, type JsonObject, stringify } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import { signingKeyIds, type VerifyKey, verifyJson, verifyKey } from "../../protocol/event/sign.ts";
import { storedKeys, storeKeys } from "../../storage/federation/keys.ts";
import type { Context } from "../context.ts";

/** Signing keys whose private half was shipped in deployments for everybody to see: nobody's signatures count (CVE-2026-24044). */
const BLOCKED_KEYS: ReadonlySet<string> = new Set(["l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og"]);

/** A key of another server, with the time until which it vouches. */
export interface ServerKey extends VerifyKey {
  /** Milliseconds since the epoch; for old keys, when they expired. */
  readonly validUntilTs: number;
}

/** A key with the time until which the document vouches that says so: of two documents, that which vouches for longer is newer. */
interface KnownKey extends ServerKey {
  readonly asOf: number;
}

export type KeyRingContext = Pick<Context, "read" | "transaction" | "clock" | "config" | "log" | "federationClient" | "ownKeys">;

interface Wanted {
  readonly serverName: string;
  readonly keyId: string;
  /** The key must be valid at this time. */
  readonly validAt: number;
}

/**
 * Public keys of servers: own ones, stored ones, else fetched from trusted key servers and from the server itself; fetches of the same
 * moment are one. (Server-server API, "Retrieving server keys".)
 */
export class KeyRing {
  private readonly known = lruCache<string, KnownKey>(50_000);
  private readonly fetching = new Map<string, Promise<void>>();

  constructor(private readonly ctx: KeyRingContext) {}

  /**
   * True when the object carries a valid signature of the server by a key that is valid at `validAt`.
   */
  async verifyObject(json: JsonObject, serverName: string, validAt: number): Promise<boolean> {
    const ids = signingKeyIds(json, serverName);
    for (const keyId of ids) {
      const key = await this.key(serverName, keyId, validAt);
      if (key !== undefined && verifyJson(json, serverName, key)) return true;
    }
    return false;
  }

  /** The key, valid at the time; undefined when it cannot be had. */
  async key(serverName: string, keyId: string, validAt: number): Promise<ServerKey | undefined> {
    return (await this.keys([{ serverName, keyId, validAt }])).get(cacheKey(serverName, keyId));
  }

  /** Keys by `server key-id`: those that are known or could be fetched and are valid at the times asked for. */
  async keys(wanted: readonly Wanted[]): Promise<Map<string, ServerKey>> {
    const found = new Map<string, ServerKey>();
    const take = (list: readonly Wanted[]): Wanted[] =>
      list.filter(({ serverName, keyId, validAt }) => {
        const id = cacheKey(serverName, keyId);
        const key = serverName === this.ctx.config.server.serverName ? this.ctx.ownKeys.get(keyId) : this.known.get(id);
        if (key === undefined || key.validUntilTs < validAt || BLOCKED_KEYS.has(key.base64)) return true;
        found.set(id, key);
        return false;
      });
    let missing = take(wanted).filter(({ serverName, keyId }) => serverName !== this.ctx.config.server.serverName && keyId.startsWith("ed25519:"));
    if (missing.length > 0) {
      await this.loadStored(missing);
      missing = take(missing);
    }
    if (missing.length > 0) {
      await this.fetch(missing);
      take(missing);
    }
    return found;
  }

  /** Reads a key document, checks its own signature, stores it. False when it is no good. */
  async acceptDocument(document: JsonObject, expectedServer: string, fromServer: string): Promise<boolean> {
    const { server_name: serverName, valid_until_ts: validUntil, verify_keys: current, old_verify_keys: old } = document;
    if (serverName !== expectedServer || typeof validUntil !== "number" || !isJsonObject(current)) return false;
    const keys = new Map<string, ServerKey>();
    for (const [keyId, entry] of Object.entries(current)) addKey(keys, keyId, entry, validUntil);
    const signed = [...keys.values()].some((key) => verifyJson(document, expectedServer, key));
    if (!signed) return false;
    if (isJsonObject(old))
      for (const [keyId, entry] of Object.entries(old))
        if (!keys.has(keyId)) addKey(keys, keyId, entry, isJsonObject(entry) && typeof entry.expired_ts === "number" ? entry.expired_ts : 0);
    const now = this.ctx.clock.now();
    const json = Buffer.from(stringify(document), "utf8");
    await this.ctx.transaction("store_server_keys_response", (txn) =>
      storeKeys(txn, {
        serverName: expectedServer,
        fromServer,
        addedTs: now,
        validUntilTs: validUntil,
        json,
        keys: new Map([...keys].map(([id, key]) => [id, Buffer.from(key.base64, "base64")])),
      }),
    );
    for (const [keyId, key] of keys) this.remember(expectedServer, keyId, { ...key, asOf: validUntil });
    return true;
  }

  private remember(serverName: string, keyId: string, key: KnownKey): void {
    const id = cacheKey(serverName, keyId);
    const old = this.known.get(id);
    // A key may be retired before the time until which an earlier document vouched for it.
    if (old === undefined || old.asOf <= key.asOf) this.known.set(id, key);
  }

  private async loadStored(wanted: readonly Wanted[]): Promise<void> {
    for (const row of await storedKeys(this.ctx.read, wanted)) {
      let json: unknown;
      try {
        json = parseJson(row.key_json.toString("utf8"));
      } catch {
        continue;
      }
      if (!isJsonObject(json)) continue;
      const keys = new Map<string, ServerKey>();
      const entry = isJsonObject(json.verify_keys) ? json.verify_keys[row.key_id] : undefined;
      if (entry !== undefined) addKey(keys, row.key_id, entry, row.ts_valid_until_ms);
      else {
        const old = isJsonObject(json.old_verify_keys) ? json.old_verify_keys[row.key_id] : undefined;
        addKey(keys, row.key_id, old, isJsonObject(old) && typeof old.expired_ts === "number" ? old.expired_ts : 0);
      }
      for (const [keyId, key] of keys) this.remember(row.server_name, keyId, { ...key, asOf: row.ts_valid_until_ms });
    }
  }

  private async fetch(wanted: readonly Wanted[]): Promise<void> {
    const servers = new Map<string, Wanted[]>();
    for (const item of wanted) {
      const list = servers.get(item.serverName);
      if (list === undefined) servers.set(item.serverName, [item]);
      else list.push(item);
    }
    await this.askKeyServers(wanted);
    await Promise.all(
      [...servers].map(([serverName, items]) => {
        const still = items.some(({ keyId, validAt }) => (this.known.get(cacheKey(serverName, keyId))?.validUntilTs ?? -1) < validAt);
        return still ? this.askServer(serverName) : Promise.resolve();
      }),
    );
  }

  /** Fetches a server's own document; requests for the same server share one fetch. */
  private async askServer(serverName: string): Promise<void> {
    let running = this.fetching.get(serverName);
    if (running === undefined) {
      running = (async () => {
        try {
          const document = await this.ctx.federationClient.fetchServerKeys(serverName);
          if (!(await this.acceptDocument(document, serverName, serverName)))
            this.ctx.log.named("synapse.crypto.keyring").warn(`The key document of ${serverName} is not properly signed`);
        } catch (error) {
          this.ctx.log.named("synapse.crypto.keyring").info(`The keys of ${serverName} could not be fetched`, { error });
        } finally {
          this.fetching.delete(serverName);
        }
      })();
      this.fetching.set(serverName, running);
    }
    await running;
  }

  /** Asks trusted key servers for all keys in one request each, until none is missing. */
  private async askKeyServers(wanted: readonly Wanted[]): Promise<void> {
    for (const notary of this.ctx.config.key.trustedKeyServers) {
      const serverKeys: JsonObject = {};
      for (const { serverName, keyId, validAt } of wanted) {
        if (serverName === notary.serverName || (this.known.get(cacheKey(serverName, keyId))?.validUntilTs ?? -1) >= validAt) continue;
        const entry = isJsonObject(serverKeys[serverName]) ? serverKeys[serverName] : (serverKeys[serverName] = {});
        entry[keyId] = { minimum_valid_until_ts: validAt };
      }
      if (Object.keys(serverKeys).length === 0) return;
      try {
        const answer = await this.ctx.federationClient.requestObject({
          method: "POST",
          destination: notary.serverName,
          path: "/_matrix/key/v2/query",
          content: { server_keys: serverKeys },
          timeoutMs: 10_000,
          maxBytes: 4 * 1024 * 1024,
        });
        for (const document of Array.isArray(answer.server_keys) ? answer.server_keys : []) {
          if (!isJsonObject(document) || typeof document.server_name !== "string" || !Object.hasOwn(serverKeys, document.server_name)) continue;
          if (await this.isSignedByNotary(document, notary)) await this.acceptDocument(document, document.server_name, notary.serverName);
        }
      } catch (error) {
        this.ctx.log.named("synapse.crypto.keyring").info(`The key server ${notary.serverName} could not be asked`, { error });
      }
    }
  }

  /** With configured keys by those; without, TLS vouches for the notary. */
  private async isSignedByNotary(
    document: JsonObject,
    notary: { serverName: string; verifyKeys: Readonly<Record<string, string>> | undefined },
  ): Promise<boolean> {
    if (notary.verifyKeys === undefined) return true;
    return Object.entries(notary.verifyKeys).some(([keyId, base64]) => {
      const key = verifyKey(keyId, base64);
      return key !== undefined && verifyJson(document, notary.serverName, key);
    });
  }
}

/** Key of the maps that `KeyRing.keys` returns. */
export const cacheKey = (serverName: string, keyId: string): string => `${serverName} ${keyId}`;

function addKey(keys: Map<string, ServerKey>, keyId: string, entry: unknown, validUntilTs: number): void {
  if (!isJsonObject(entry) || typeof entry.key !== "string") return;
  const key = verifyKey(keyId, entry.key);
  if (key !== undefined && !BLOCKED_KEYS.has(key.base64)) keys.set(keyId, { ...key, validUntilTs });
}
