import { isJsonObject, type JsonObject } from "../../src/lib/json.ts";
import { parseJson } from "../../src/lib/lossless-json.ts";
import { canonicalJson } from "../../src/protocol/canonical-json.ts";
import { contentHashMatches, eventIdOf } from "../../src/protocol/event/hash.ts";
import { redactJson } from "../../src/protocol/event/redact.ts";
import { signingKeyFromSeed, signingKeyIds, type VerifyKey, verifyEventJson, verifyKey } from "../../src/protocol/event/sign.ts";
import { roomVersion, type RoomVersion } from "../../src/protocol/room-versions.ts";
import type { CheckContext, DatabaseCheck } from "../context.ts";
import { blocker, count, type Draft, note, ok, thousands, warning } from "../finding.ts";
import type { Block } from "../queries/blocks.ts";
import type { Broken } from "../queries/broken.ts";
import { knownKeys, ownEvents, sampleEvents, type SampleEvent } from "../queries/events.ts";
import { judge } from "./rooms.ts";

/** What Synapse 1.160 writes into `internal_metadata`, and what older ones wrote. */
const METADATA = new Set(
  `out_of_band_membership send_on_behalf_of recheck_redaction soft_failed proactively_send redacted redacted_by txn_id delay_id token_id device_id
   policy_server_spammy spam_checker_spammy calculated_auth_event_ids stream_ordering outlier instance_name recheck_sticky historical before after order`.split(
    /\s+/,
  ),
);

interface Parsed {
  readonly row: SampleEvent;
  readonly json: JsonObject | undefined;
  readonly version: RoomVersion | undefined;
}

/** How many events are read at a time, so that memory stays small. */
const PAGE = 500;

/** Goes through a sample of the events page by page. @returns how many there were */
async function eachEvent(ctx: CheckContext, limit: number, visit: (parsed: Parsed) => void | Promise<void>): Promise<number> {
  let seen = 0;
  for (const block of ctx.events) {
    if (seen >= limit) break;
    const share = Math.min(limit - seen, block === ctx.events[0] ? Math.ceil(limit / 2) : Math.ceil(limit / 2 / Math.max(1, ctx.events.length - 1)));
    for (let to = block.to, left = share; left > 0 && to >= block.from;) {
      const rows = await sampleEvents(ctx.read, [{ from: block.from, to }] satisfies Block[], Math.min(PAGE, left));
      for (const row of rows) await visit(parse(row));
      seen += rows.length;
      left -= rows.length;
      if (rows.length === 0) break;
      to = rows.at(-1)!.stream_ordering - 1;
    }
  }
  return seen;
}

function parse(row: SampleEvent): Parsed {
  let json: JsonObject | undefined;
  try {
    const value = parseJson(row.json ?? "");
    json = isJsonObject(value) ? value : undefined;
  } catch {
    json = undefined;
  }
  return { row, json, version: row.room_version === null ? undefined : roomVersion(row.room_version) };
}

/** The ids of events that break a rule, counted. */
class Tally {
  private readonly ids: string[] = [];
  count = 0;
  add(id: string): void {
    this.count++;
    if (this.ids.length < 5) this.ids.push(id);
  }
  get broken(): Broken {
    return { count: this.count, more: false, examples: this.ids };
  }
}

/** Risks 46, 48, 50, 54 and 101: what stands in the events' own JSON. */
const sample: DatabaseCheck = {
  name: "event-sample",
  risks: [46, 48, 50, 54],
  async run(ctx) {
    const [hashes, unreadable, formats, metadata, edges] = [new Tally(), new Tally(), new Tally(), new Tally(), new Tally()];
    const keys = new Set<string>();
    const seen = await eachEvent(ctx, ctx.deep ? 20_000 : 600, ({ row, json, version }) => {
      if (json === undefined) return unreadable.add(row.event_id);
      if (version === undefined) return;
      if (row.format_version !== version.eventFormat) return formats.add(row.event_id);
      if (!hashesTell(row, json, version)) hashes.add(row.event_id);
      for (const key of keysOf(row.internal_metadata)) {
        if (METADATA.has(key)) continue;
        keys.add(key);
        metadata.add(row.event_id);
      }
      if (!edgesTell(row, json, version)) edges.add(row.event_id);
    });
    const all = count(seen, "event");
    const drafts = [
      judge(hashes.broken, {
        risk: 46,
        one: `event of ${all} is not what its id or hash says`,
        many: `events of ${all} are not what their ids or hashes say`,
        why: "Other servers refuse them, and Synapse does not read them.",
        todo: "Restore event_json from a backup; find out what wrote to it.",
        fine: `${all} hash to their ids`,
      }),
      judge(unreadable.broken, {
        risk: 46,
        one: `event of ${all} has no readable JSON`,
        many: `events of ${all} have no readable JSON`,
        why: "The event is lost: its room may be stuck.",
        todo: "Restore event_json from a backup.",
        fine: `${all} have readable JSON`,
      }),
      judge(formats.broken, {
        risk: 48,
        one: `event of ${all} has another format than its room`,
        many: `events of ${all} have another format than their rooms`,
        why: "Servers pass over such events.",
        todo: "Compare event_json.format_version and rooms.room_version with a backup.",
        fine: "Events have the format of their rooms",
      }),
      judge(edges.broken, {
        risk: 54,
        one: `event of ${all} has other edges than its JSON says`,
        many: `events of ${all} have other edges than their JSON says`,
        why: "Backfill and auth chains stop there.",
        todo: "Restore event_edges and event_auth from a backup.",
        fine: "Edges and auth events are those of the JSON",
      }),
    ];
    if (metadata.count > 0) {
      const why = "No server knows what they mean, and they are dropped when the row is written again.";
      drafts.push(
        note("risk-50", {
          what: `${count(metadata.count, "event")} of ${thousands(seen)} have unknown marks in internal_metadata`,
          why,
          todo: "Find out what wrote them.",
          examples: [...keys, ...metadata.broken.examples],
        }),
      );
    } else drafts.push(ok("risk-50", "Marks of events are known ones"));
    return drafts;
  },
};

/** Whether the id and the content hash are those of the JSON; a redacted event has kept its id only. */
function hashesTell(row: SampleEvent, json: JsonObject, version: RoomVersion): boolean {
  try {
    if (eventIdOf(json, version) !== row.event_id) return false;
    return row.redacted || row.rejected || contentHashMatches(json) || redactedOnArrival(json, version);
  } catch {
    return false;
  }
}

/** An event whose content hash did not fit when it came is kept as redaction leaves it. */
function redactedOnArrival(json: JsonObject, version: RoomVersion): boolean {
  const left = redactJson(json, version);
  return canonicalJson(left.content ?? {}) === canonicalJson(json.content ?? {});
}

function keysOf(text: string): string[] {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? Object.keys(value) : ["(no object)"];
  } catch {
    return ["(unreadable)"];
  }
}

const idsOf = (list: unknown): string[] => (Array.isArray(list) ? list.map((each: unknown) => (Array.isArray(each) ? String(each[0]) : String(each))) : []);

function edgesTell(row: SampleEvent, json: JsonObject, version: RoomVersion): boolean {
  if (row.rejected || version.stateDag) return true;
  const same = (a: readonly string[], b: readonly string[]): boolean => [...new Set(a)].sort().join() === [...new Set(b)].sort().join();
  if (!row.outlier && !same(row.prev, idsOf(json.prev_events))) return false;
  if (row.state_key === null) return true;
  const auth = idsOf(json.auth_events);
  if (version.roomIdIsCreateHash && row.type !== "m.room.create") auth.push(`$${row.room_id.slice(1)}`);
  return same(row.auth, auth);
}

/** Risk 39: the signing key is the one that our own events are signed with. */
const signingKey: DatabaseCheck = {
  name: "signing-key",
  risks: [39],
  async run({ config, read }) {
    const found: Draft[] = [];
    const { serverName } = config.server;
    const own = config.key.signingKeys.map(({ version, seed }) => signingKeyFromSeed(version, seed));
    const keys = new Map<string, VerifyKey>(own.map((key) => [key.keyId, key]));
    const old = config.key.oldSigningKeys.flatMap(({ keyId, publicKey }) => verifyKey(keyId, publicKey) ?? []);
    for (const key of old) keys.set(key.keyId, key);
    const events = await ownEvents(read, serverName, 5000, 40);
    const [forged, unknown] = [new Tally(), new Set<string>()];
    let signed = 0;
    for (const { event_id, json: text, room_version } of events) {
      const version = roomVersion(room_version ?? "");
      const json = safeJson(text);
      if (json === undefined || version === undefined) continue;
      const ids = signingKeyIds(json, serverName);
      const known = ids.filter((id) => keys.has(id));
      for (const id of ids) if (!keys.has(id)) unknown.add(id);
      if (known.length === 0) continue;
      if (known.some((id) => verifyEventJson(json, version, serverName, keys.get(id)!))) signed++;
      else forged.add(event_id);
    }
    // Where others are good, single events are damaged, not the key.
    if (forged.count > 0 && signed === 0) {
      found.push(
        blocker("risk-39", {
          what: `The signing key is not the one that ${serverName} has signed its events with`,
          why: "Under the same name it is another key: other servers would refuse whatever we send.",
          todo: "Find the signing key file that Synapse uses, and name it by signing_key_path.",
          examples: forged.broken.examples,
        }),
      );
    }
    if (unknown.size > 0) {
      const current = own[0]!.keyId;
      const words = {
        what: `Events of ours were signed with ${[...unknown].join(", ")}, which is not in the configuration (the key is ${current})`,
        why: "Without the old key's public part other servers cannot verify these events.",
        todo: "Name the key file that Synapse uses; a retired key belongs into old_signing_keys.",
      };
      found.push(signed === 0 ? blocker("risk-39", words) : warning("risk-39", words));
    }
    if (found.length > 0) return found;
    return [
      ok(
        "risk-39",
        signed === 0 ? "There are no events of ours yet, to compare the signing key with" : `Events of ours are signed with the signing key ${own[0]!.keyId}`,
      ),
    ];
  },
};

function safeJson(text: string): JsonObject | undefined {
  try {
    const value = parseJson(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Risk 46, the part that needs other servers' keys. */
const signatures: DatabaseCheck = {
  name: "signatures",
  risks: [46],
  deep: true,
  async run(ctx) {
    const { serverName } = ctx.config.server;
    const keys = new Map<string, VerifyKey>();
    for (const { version, seed } of ctx.config.key.signingKeys) {
      const key = signingKeyFromSeed(version, seed);
      keys.set(`${serverName} ${key.keyId}`, key);
    }
    const asked = new Set([serverName]);
    const wrong = new Tally();
    let verified = 0;
    await eachEvent(ctx, 4000, async ({ row, json, version }) => {
      if (json === undefined || version === undefined || row.rejected) return;
      const server = row.sender.slice(row.sender.indexOf(":") + 1);
      if (!asked.has(server)) {
        asked.add(server);
        for (const each of await knownKeys(ctx.read, [server])) {
          const key = verifyKey(each.keyId, each.key);
          if (key !== undefined) keys.set(`${server} ${each.keyId}`, key);
        }
      }
      const known = signingKeyIds(json, server).filter((id) => keys.has(`${server} ${id}`));
      if (known.length === 0) return;
      if (known.some((id) => verifyEventJson(json, version, server, keys.get(`${server} ${id}`)!))) verified++;
      else wrong.add(row.event_id);
    });
    return [
      judge(wrong.broken, {
        risk: 46,
        one: "event is not signed by its sender's server",
        many: "events are not signed by their senders' servers",
        why: "Other servers refuse them.",
        todo: "Restore event_json from a backup; the background update event_resign mends our own.",
        fine: `The signatures of ${count(verified, "event")} are good`,
      }),
    ];
  },
};

export const sampleChecks: readonly DatabaseCheck[] = [sample, signingKey, signatures];
