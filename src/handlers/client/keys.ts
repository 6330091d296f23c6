import { isJsonObject, type Json, toNumber } from "../../lib/json.ts";
import { badJson, invalidParam, MatrixError } from "../../protocol/errors.ts";
import { isUserId } from "../../protocol/ids.ts";
import { AuthenticationIncomplete, requireInteractiveAuth } from "../../services/accounts/uia.ts";
import { hasNewKeys, storedKeys, uploadCrossSigningKeys } from "../../services/devices/cross-signing.ts";
import { type ClaimQuery, claimKeys } from "../../services/devices/keys-claim.ts";
import { type KeyQuery, queryKeys } from "../../services/devices/keys-query.ts";
import { readKeyUpload, uploadKeys } from "../../services/devices/keys-upload.ts";
import { deviceListChangesBetween } from "../../services/devices/lists.ts";
import { uploadSignatures } from "../../services/devices/signatures.ts";
import { currentToken, parseStreamToken } from "../../services/streams/token.ts";
import { masterKeyReplaceableUntil } from "../../storage/devices/keys-cross-signing.ts";
import { endpoint } from "../http/endpoint.ts";

const DEFAULT_TIMEOUT_MS = 10_000;

export const postKeysUpload = endpoint({
  servlet: "KeyUploadServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/keys/upload",
  auth: "guest",
  emptyBody: false,
  lossless: true,
  async handle(ctx, { requester, body }) {
    const { userId, deviceId } = requester;
    if (deviceId === undefined) throw new MatrixError(400, "M_UNKNOWN", "To upload keys, you must pass device_id when authenticating");
    return { one_time_key_counts: await uploadKeys(ctx, userId, deviceId, readKeyUpload(body, userId, deviceId)) };
  },
});

export const postKeysQuery = endpoint({
  servlet: "KeyQueryServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/keys/query",
  auth: "guest",
  emptyBody: false,
  async handle(ctx, { requester, query, body }) {
    const timeout = query.integer("timeout", DEFAULT_TIMEOUT_MS);
    if (!isJsonObject(body.device_keys)) throw badJson("'device_keys' must be a JSON object");
    if (!Object.values(body.device_keys).every(isStringList)) throw badJson("'device_keys' values must be a list of strings");
    return await queryKeys(ctx, requester.userId, body.device_keys as KeyQuery, timeout);
  },
});

const isStringList = (value: unknown): boolean => Array.isArray(value) && value.every((item) => typeof item === "string");

export const getKeysChanges = endpoint({
  servlet: "KeyChangesServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/keys/changes",
  auth: "guest",
  async handle(ctx, { requester, query }) {
    // `to` is not looked at, as in Synapse: the answer reaches to the present.
    const from = parseStreamToken(query.requiredString("from"));
    const { changed, left } = await deviceListChangesBetween(ctx, requester.userId, from, currentToken(ctx.streams, ctx.typing.serial));
    return { changed: [...changed], left: [...left] };
  },
});

export const postKeysClaim = endpoint({
  servlet: "OneTimeKeyServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/keys/claim",
  auth: "guest",
  emptyBody: false,
  async handle(ctx, { query, body }) {
    const timeout = query.integer("timeout", DEFAULT_TIMEOUT_MS);
    const claims = readClaims(body.one_time_keys, (algorithm) => (typeof algorithm === "string" ? { [algorithm]: 1 } : undefined));
    return await claimKeys(ctx, claims, timeout, false);
  },
});

export const postKeysClaimUnstable = endpoint({
  servlet: "UnstableOneTimeKeyServlet",
  method: "POST",
  path: "/_matrix/client/unstable/org.matrix.msc3983/keys/claim",
  auth: "guest",
  emptyBody: false,
  when: (config) => config.experimental.msc3983AppserviceOtkClaims,
  async handle(ctx, { query, body }) {
    const timeout = query.integer("timeout", DEFAULT_TIMEOUT_MS);
    return await claimKeys(ctx, readClaims(body.one_time_keys, readCounts), timeout, true);
  },
});

/** A list names an algorithm as often as keys of it are wanted; an object has the counts. */
function readCounts(algorithms: Json): Record<string, number> | undefined {
  const counts: Record<string, number> = {};
  if (Array.isArray(algorithms)) {
    for (const algorithm of algorithms) {
      if (typeof algorithm !== "string") return undefined;
      counts[algorithm] = (counts[algorithm] ?? 0) + 1;
    }
    return counts;
  }
  if (!isJsonObject(algorithms)) return undefined;
  for (const [algorithm, count] of Object.entries(algorithms)) {
    const number = toNumber(count);
    if (number === undefined || !Number.isInteger(number) || number < 0) return undefined;
    counts[algorithm] = number;
  }
  return counts;
}

function readClaims(claims: Json | undefined, readAlgorithms: (value: Json) => Record<string, number> | undefined): ClaimQuery {
  if (claims === undefined) return {};
  if (!isJsonObject(claims)) throw badJson("'one_time_keys' must be a JSON object");
  const result: Record<string, Record<string, Record<string, number>>> = {};
  for (const [userId, devices] of Object.entries(claims)) {
    if (!isUserId(userId)) throw invalidParam(`Invalid user ID: ${userId}`);
    if (!isJsonObject(devices)) throw badJson(`'one_time_keys.${userId}' must be a JSON object`);
    const wanted = Object.create(null) as Record<string, Record<string, number>>;
    for (const [deviceId, value] of Object.entries(devices)) {
      const algorithms = readAlgorithms(value!);
      if (algorithms === undefined || [deviceId, ...Object.keys(algorithms)].some((id) => id.includes("\0")))
        throw badJson(`'one_time_keys.${userId}.${deviceId}' is malformed`);
      wanted[deviceId] = algorithms;
    }
    result[userId] = wanted;
  }
  return result;
}

export const postDeviceSigningUpload = endpoint({
  servlet: "SigningKeyUploadServlet",
  method: "POST",
  path: "/_matrix/client/(v3|unstable)/keys/device_signing/upload",
  auth: "user",
  emptyBody: false,
  async handle(ctx, { requester, body, method, url, ip, userAgent }) {
    const { userId } = requester;
    const [stored, { exists, until }] = await Promise.all([storedKeys(ctx, userId), masterKeyReplaceableUntil(ctx.read, userId)]);
    if (!hasNewKeys(stored, body)) return {};
    let keys = body;
    if (exists && requester.appserviceId === undefined) {
      if (ctx.delegatedAuth !== undefined) {
        if (until === null || ctx.clock.now() >= until) throw approvalNeeded(await ctx.delegatedAuth.crossSigningResetUrl());
      } else {
        const { params } = await requireInteractiveAuth(
          ctx,
          requester,
          { body, method, url, ip, userAgent },
          { description: "reset the device signing key on your account" },
        );
        keys = params;
      }
    }
    await uploadCrossSigningKeys(ctx, userId, keys);
    return {};
  },
});

/** With delegated authentication the user approves the reset in the account management of the authentication service. */
function approvalNeeded(url: string): AuthenticationIncomplete {
  return new AuthenticationIncomplete("dummy", {
    session: "dummy",
    flows: [{ stages: ["m.oauth"] }, { stages: ["org.matrix.cross_signing_reset"] }],
    params: { "m.oauth": { url }, "org.matrix.cross_signing_reset": { url } },
    msg: `To reset your end-to-end encryption cross-signing identity, you first need to approve it at ${url} and then try again.`,
  });
}

export const postSignaturesUpload = endpoint({
  servlet: "SignaturesUploadServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/keys/signatures/upload",
  auth: "guest",
  emptyBody: false,
  lossless: true,
  handle: (ctx, { requester, body }) => uploadSignatures(ctx, requester.userId, body),
});

export const keyRoutes = [postKeysUpload, postKeysQuery, getKeysChanges, postKeysClaim, postKeysClaimUnstable, postDeviceSigningUpload, postSignaturesUpload];
