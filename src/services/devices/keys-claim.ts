import { isJsonObject, type Json, JsonText } from "../../lib/json.ts";
import { getDomain } from "../../protocol/ids.ts";
import { type ClaimedKey, claimFallbackKeys, claimOneTimeKeys, type FallbackClaim, type KeyClaim } from "../../storage/devices/keys.ts";
import type { Context } from "../context.ts";
import { failureOf } from "./keys-query.ts";

/** `POST /keys/claim`, of clients and of other servers. */
export type ClaimContext = Pick<Context, "transaction" | "config" | "remote" | "keyCounts">;

/** User id to device id to algorithm to count. */
export type ClaimQuery = Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, number>>>>>>;

export interface ClaimResult {
  readonly one_time_keys: Record<string, Record<string, Record<string, JsonText | Json>>>;
  readonly failures: Record<string, unknown>;
}

/** Ids of devices and keys are chosen by clients: no prototype. */
const emptyMap = <T>(): Record<string, T> => Object.create(null) as Record<string, T>;

/** As Synapse: nobody gets more at once. */
const MAX_KEYS = 5;

/** One-time keys of local devices, and of remote ones through their servers. With `alwaysFallback` (MSC3983) fallback keys come beside them. */
export async function claimKeys(ctx: ClaimContext, query: ClaimQuery, timeoutMs: number, alwaysFallback: boolean): Promise<ClaimResult> {
  const local: KeyClaim[] = [];
  const byServer = new Map<string, Record<string, ClaimQuery[string]>>();
  for (const [userId, devices] of Object.entries(query)) {
    const server = getDomain(userId);
    if (server === ctx.config.server.serverName) local.push(...claimsOf(userId, devices));
    else byServer.set(server, { ...byServer.get(server), [userId]: devices });
  }
  const result: ClaimResult = { one_time_keys: await claimLocalKeys(ctx, local, alwaysFallback), failures: {} };
  await Promise.all(
    [...byServer].map(async ([server, users]) => {
      try {
        const keys = (await ctx.remote.claimKeys(server, users, timeoutMs)).one_time_keys;
        for (const [userId, devices] of Object.entries(isJsonObject(keys) ? keys : {})) {
          if (Object.hasOwn(users, userId) && isJsonObject(devices)) result.one_time_keys[userId] = devices as Record<string, Record<string, Json>>;
        }
      } catch (error) {
        result.failures[server] = failureOf(error);
      }
    }),
  );
  return result;
}

/** Keys of local devices: one-time keys, then the appservices', then fallback keys for what is still missing. */
export async function claimLocalKeys(ctx: ClaimContext, claims: readonly KeyClaim[], alwaysFallback: boolean): Promise<ClaimResult["one_time_keys"]> {
  const result: ClaimResult["one_time_keys"] = emptyMap();
  if (claims.length === 0) return result;
  const put = (userId: string, deviceId: string, name: string, key: JsonText | Json): void => {
    ((result[userId] ??= emptyMap())[deviceId] ??= emptyMap())[name] = key;
  };
  const putAll = (keys: readonly ClaimedKey[]): void => {
    for (const key of keys) put(key.userId, key.deviceId, `${key.algorithm}:${key.keyId}`, new JsonText(key.keyJson));
  };
  const claimed = await ctx.transaction(
    "claim_e2e_one_time_keys",
    async (txn) => {
      const keys = await claimOneTimeKeys(txn, claims);
      txn.afterCommit(() => forgetCounts(ctx, keys));
      return keys;
    },
    { isolation: "read committed" },
  );
  putAll(claimed);
  const found = new Map<string, number>();
  for (const key of claimed) found.set(nameOf(key), (found.get(nameOf(key)) ?? 0) + 1);
  let missing = claims.filter((claim) => (found.get(nameOf(claim)) ?? 0) < claim.count);
  const hasFallback = new Set<string>();
  if (ctx.config.experimental.msc3983AppserviceOtkClaims && missing.length > 0) {
    const answer = await ctx.remote.claimAppserviceKeys(missing);
    for (const { userId, deviceId, keyName, key } of answer.keys) {
      put(userId, deviceId, keyName, key);
      const algorithm = keyName.slice(0, keyName.indexOf(":"));
      found.set(nameOf({ userId, deviceId, algorithm }), 1);
      if (isJsonObject(key) && key.fallback === true) hasFallback.add(nameOf({ userId, deviceId, algorithm }));
    }
    missing = [...answer.missing];
  }
  const fallbacks: FallbackClaim[] = alwaysFallback
    ? claims.filter((claim) => !hasFallback.has(nameOf(claim))).map((claim) => ({ ...claim, markUsed: !found.has(nameOf(claim)) }))
    : missing.map((claim) => ({ ...claim, markUsed: true }));
  if (fallbacks.length > 0) {
    const keys = await ctx.transaction(
      "claim_e2e_fallback_keys",
      async (txn) => {
        const keys = await claimFallbackKeys(txn, fallbacks);
        txn.afterCommit(() => forgetCounts(ctx, keys));
        return keys;
      },
      { isolation: "read committed" },
    );
    putAll(keys);
  }
  return result;
}

function claimsOf(userId: string, devices: ClaimQuery[string]): KeyClaim[] {
  return Object.entries(devices).flatMap(([deviceId, algorithms]) =>
    Object.entries(algorithms).map(([algorithm, count]) => ({ userId, deviceId, algorithm, count: Math.min(count, MAX_KEYS) })),
  );
}

const nameOf = (claim: Pick<KeyClaim, "userId" | "deviceId" | "algorithm">): string => JSON.stringify([claim.userId, claim.deviceId, claim.algorithm]);

function forgetCounts(ctx: ClaimContext, keys: readonly ClaimedKey[]): void {
  for (const key of keys) ctx.keyCounts.invalidate(key.userId, [key.deviceId]);
}
