import { verify } from "node:crypto";
import type { Json, JsonObject } from "../../lib/json.ts";
import { isJsonObject } from "../../lib/json.ts";
import { requiredSigners } from "../../protocol/event-auth/auth-types.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { byteLimitProblem, makeEventFromJson, parsePdu } from "../../protocol/event/format.ts";
import { contentHashMatches } from "../../protocol/event/hash.ts";
import { redactJson } from "../../protocol/event/redact.ts";
import { eventSignature, signingKeyIds, type VerifyKey, verifyEventJson } from "../../protocol/event/sign.ts";
import { isEventId, isServerName, isUserId } from "../../protocol/ids.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import type { Context } from "../context.ts";
import { cacheKey } from "./key-ring.ts";

export type PduCheckContext = Pick<Context, "clock" | "keyRing" | "log" | "modules">;

export interface CheckedPdus {
  /** In the order of the input, duplicates dropped; what failed its hash is in its redacted form. */
  readonly events: MatrixEvent[];
  /** Why the others are dropped, by event id; PDUs without a proper form have none and are left out. */
  readonly refused: ReadonlyMap<string, string>;
}

/** Events whose signatures are checked at the same time, by threads; fewer than `FEW` are done with sooner where they are. */
const CHUNK = 100;
const FEW = 5;
/** PDUs read between two turns of the event loop. */
const PARSED = 200;

/**
 * The checks that need nothing but the event and the keys of its servers (server-server API, "Checks performed on receipt of a PDU", 1 to
 * 3): format, signatures, hashes. All keys are asked for at once.
 * @param roomId what the events must be of
 */
export async function checkPdus(ctx: PduCheckContext, version: RoomVersion, roomId: string, pdus: readonly Json[], receivedAt?: number): Promise<CheckedPdus> {
  const refused = new Map<string, string>();
  const parsed = new Map<string, MatrixEvent>();
  for (const [index, pdu] of pdus.entries()) {
    if (index % PARSED === PARSED - 1) await ctx.clock.sleep(0);
    const event = parse(ctx, version, pdu, receivedAt);
    if (event === undefined) continue;
    if (event.roomId !== roomId) refused.set(event.eventId, "The event is of another room");
    else if (!parsed.has(event.eventId)) parsed.set(event.eventId, event);
  }
  const events = [...parsed.values()];
  const signers = new Map(events.map((event) => [event, requiredSigners(event)]));
  const keys = await ctx.keyRing.keys(wantedKeys(events, signers));

  const good: MatrixEvent[] = [];
  const verifies = events.length < FEW ? verifiesHere : verifiesInThread;
  const problemsFrom = (at: number): Promise<(string | undefined)[]> =>
    Promise.all(events.slice(at, at + CHUNK).map((event) => signatureProblem(event, signers.get(event)!, keys, verifies)));
  let following = problemsFrom(0);
  for (let at = 0; at < events.length; at += CHUNK) {
    const checking = following;
    following = problemsFrom(at + CHUNK); // the threads have something to do while hashes are checked here
    for (const [index, problem] of (await checking).entries()) {
      const event = events[at + index]!;
      if (problem !== undefined) refused.set(event.eventId, problem);
      else good.push(await withoutSpam(ctx, contentHashMatches(event.json) ? event : redacted(event)));
    }
  }
  for (const [id, reason] of refused) ctx.log.named("synapse.federation.federation_base").warn(`Dropping event ${id}: ${reason}`);
  return { events: good, refused };
}

/** One event, or why it is refused. */
export async function checkPdu(
  ctx: PduCheckContext,
  event: MatrixEvent,
): Promise<{ event: MatrixEvent; problem?: undefined } | { event?: undefined; problem: string }> {
  const signers = requiredSigners(event);
  const keys = await ctx.keyRing.keys(wantedKeys([event], new Map([[event, signers]])));
  const problem = await signatureProblem(event, signers, keys, verifiesHere);
  if (problem !== undefined) return { problem };
  return { event: await withoutSpam(ctx, contentHashMatches(event.json) ? event : redacted(event)) };
}

/** The event of a PDU by its form alone; undefined when it must be dropped. Room versions that this server does not federate have none. */
function parse(ctx: PduCheckContext, version: RoomVersion, pdu: Json, receivedAt: number | undefined): MatrixEvent | undefined {
  const { event, problem } = parsePdu(pdu, version, receivedAt);
  const reason = problem ?? idProblem(event!);
  if (reason === undefined) return event;
  ctx.log.named("synapse.federation.federation_base").info(`Ignoring PDU for failing to deserialize: ${reason}`);
  return undefined;
}

/** What the format leaves open and the database or the rules could not take. */
export function idProblem(event: MatrixEvent): string | undefined {
  if (event.roomVersion.stateDag) return "Room version is not federated";
  if (event.roomVersion.strictByteLimits) {
    const problem = byteLimitProblem(event.json);
    if (problem !== undefined) return problem;
  }
  if (!isEventId(event.eventId) || !isUserId(event.sender)) return "Event or sender ID is malformed";
  if (!(Math.abs(event.originServerTs) < 2 ** 63)) return "'origin_server_ts' is out of range";
  for (const text of [event.type, event.stateKey, event.roomId, ...event.prevEventIds, ...event.authEventIds])
    if (text?.includes("\0")) return "An ID holds NUL";
  return undefined;
}

function wantedKeys(
  events: readonly MatrixEvent[],
  signers: ReadonlyMap<MatrixEvent, readonly string[]>,
): { serverName: string; keyId: string; validAt: number }[] {
  // Of each key the earliest and the latest time asked for: what holds at both holds for all events.
  const wanted = new Map<string, { serverName: string; keyId: string; first: number; last: number }>();
  for (const event of events) {
    const validAt = timeOfValidity(event);
    for (const serverName of signers.get(event)!) {
      if (!isServerName(serverName)) continue;
      for (const keyId of signingKeyIds(event.json, serverName).slice(0, 5)) {
        const key = cacheKey(serverName, keyId);
        const known = wanted.get(key);
        if (known === undefined) wanted.set(key, { serverName, keyId, first: validAt, last: validAt });
        else {
          known.first = Math.min(known.first, validAt);
          known.last = Math.max(known.last, validAt);
        }
      }
    }
  }
  return [...wanted.values()].flatMap(({ serverName, keyId, first, last }) =>
    first === last
      ? [{ serverName, keyId, validAt: last }]
      : [
          { serverName, keyId, validAt: first },
          { serverName, keyId, validAt: last },
        ],
  );
}

/** Room versions before 5 take signatures by keys that have expired. */
const timeOfValidity = (event: MatrixEvent): number => (event.roomVersion.enforceKeyValidity ? event.originServerTs : 0);

/** True when the event bears the server's valid signature by that key. */
type Verify = (event: MatrixEvent, server: string, key: VerifyKey) => boolean | Promise<boolean>;

const verifiesHere: Verify = (event, server, key) => verifyEventJson(event.json, event.roomVersion, server, key);

/** By one of Node's threads: the event loop goes on meanwhile, and all cores have a share of many signatures. */
const verifiesInThread: Verify = async (event, server, key) => {
  const signed = eventSignature(event.json, event.roomVersion, server, key.keyId);
  if (signed === undefined) return false;
  return await new Promise<boolean>((resolve) => {
    verify(null, signed.data, key.key, signed.signature, (error, isValid) => resolve(error === null && isValid));
  });
};

async function signatureProblem(
  event: MatrixEvent,
  signers: readonly string[],
  keys: Awaited<ReturnType<Context["keyRing"]["keys"]>>,
  verifies: Verify,
): Promise<string | undefined> {
  const validAt = timeOfValidity(event);
  for (const server of signers) {
    const ids = signingKeyIds(event.json, server);
    if (ids.length === 0) return `unable to verify signature for sender domain ${server}: no signature`;
    let isSigned = false;
    for (const keyId of ids) {
      const key = keys.get(cacheKey(server, keyId));
      if (key === undefined || key.validUntilTs < validAt) continue;
      isSigned = await verifies(event, server, key);
      if (isSigned) break;
    }
    if (!isSigned) return `unable to verify signature for sender domain ${server}`;
  }
  return undefined;
}

/** What modules take for spam is kept in its redacted form, shown to nobody, and nothing is built on it. */
async function withoutSpam(ctx: PduCheckContext, event: MatrixEvent): Promise<MatrixEvent> {
  if (!ctx.modules.spamChecker.judgesEvents || (await ctx.modules.spamChecker.spamIn(event)) === undefined) return event;
  ctx.log.named("synapse.federation.federation_base").warn(`Event contains spam, soft-failing ${event.eventId}`);
  const spam = redacted(event);
  spam.internal.soft_failed = true;
  spam.internal.spam_checker_spammy = true;
  return spam;
}

/** The event without what its hash does not vouch for. */
function redacted(event: MatrixEvent): MatrixEvent {
  const json: JsonObject = redactJson(event.json, event.roomVersion);
  if (isJsonObject(event.json.unsigned) && typeof event.json.unsigned.age_ts === "number") json.unsigned = { age_ts: event.json.unsigned.age_ts };
  return makeEventFromJson(json, event.roomVersion);
}
