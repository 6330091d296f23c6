import { createHash } from "node:crypto";
import type { Answer, Json } from "./harness/client.ts";
import { inParallel, sleep } from "./harness/scratch.ts";
import type { Maker } from "./fixtures/world.ts";
import { nameOf, type Read } from "./reads.ts";

/**
 * What a server answered to each read, in a form in which two servers on the same database must agree. Only what follows from the
 * moment of asking is taken out (see `normalise`), each with its reason.
 */
export type Snapshot = Map<string, { status: number; body: Json }>;

export async function takeSnapshot(m: Maker, reads: readonly Read[]): Promise<Snapshot> {
  const snapshot: Snapshot = new Map();
  const answers = await inParallel(reads, 3, async (read) => {
    const client = read.who === undefined ? m.nobody() : m.as(read.who, read.device);
    try {
      for (;;) {
        const answer = await client.request(read.method, read.path, { query: read.query, body: read.body, headers: read.headers, exact: true });
        // A fast server comes to its rate limits sooner.
        if (answer.status !== 429) return answer;
        await sleep(1000);
      }
    } catch (error) {
      return { status: 0, headers: {}, raw: Buffer.alloc(0), body: { connection: String(error) } };
    }
  });
  for (const [index, read] of reads.entries()) snapshot.set(nameOf(read), present(read, answers[index]!));
  return snapshot;
}

function present(read: Read, answer: Answer): { status: number; body: Json } {
  if (answer.body !== undefined) return { status: answer.status, body: normalise(read, answer.body) };
  const headers = Object.fromEntries(
    ["content-type", "content-disposition", "content-security-policy", "cross-origin-resource-policy", "content-range", "accept-ranges", "location"].flatMap(
      (name) => (answer.headers[name] === undefined ? [] : [[name, answer.headers[name]]]),
    ),
  );
  // Thumbnails are pictures scaled by different programs: the pixels need not agree, kind and size must.
  const thumbnail = read.path.includes("/media/thumbnail/") && answer.status === 200;
  const picture = thumbnail
    ? { png: answer.raw.subarray(1, 4).toString("latin1"), width: answer.raw.readUInt32BE(16), height: answer.raw.readUInt32BE(20) }
    : { sha256: createHash("sha256").update(answer.raw).digest("hex"), bytes: answer.raw.length };
  return { status: answer.status, body: { ...headers, ...picture } };
}

/** Fields that depend on the moment, not on the data. */
const MOMENT = new Set([
  "age",
  "last_active_ago",
  "currently_active",
  "last_seen_ts",
  "last_seen",
  "valid_until_ts",
  "last_access_ts",
  "server_version",
  "average_items_per_ms",
  "total_duration_ms",
  "expires_in_ms",
]);
/** Fields of which only the order of the items carries nothing. */
const UNORDERED = new Set([
  "changed",
  "left",
  "joined_rooms",
  "joined",
  "m.heroes",
  "state",
  "device_unused_fallback_key_types",
  "members",
  "aliases",
  "results",
  "users",
  "devices",
  "registration_tokens",
  "pushers",
  "accounts",
]);

const STATE_LISTS = new Set(["state", "required_state", "state_after", "invite_state", "knock_state"]);
/** Endpoints that list state, or one event from it. */
const STATE_PATH = /\/(state|members)$|\/state\/[^/]+\/?[^/]*$/;

function normalise(read: Read, body: Json): Json {
  const path = read.path;
  const walk = (value: Json, key: string, parents: readonly string[]): Json => {
    // Synapse adds what was before to a state event that it has shown in a timeline since it started: in lists of state that is chance.
    if (
      value?.unsigned !== undefined &&
      value.type !== undefined &&
      (STATE_LISTS.has(key) || parents.some((each) => STATE_LISTS.has(each)) || STATE_PATH.test(path) || path.endsWith("/notifications"))
    ) {
      const { prev_content: _c, prev_sender: _s, replaces_state: _r, ...unsigned } = value.unsigned;
      const { prev_content: _topContent, replaces_state: _topState, ...rest } = value; // the first version of the API has them beside the content
      value = { ...rest, unsigned };
    }
    if (Array.isArray(value)) {
      const items = value.map((each) => walk(each, key, parents));
      // Lists whose order is that of a hash map in Synapse. Timelines, chunks and rankings keep theirs.
      const unordered =
        UNORDERED.has(key) ||
        parents.includes("state") ||
        (key === "events" &&
          parents.some((each) => ["account_data", "presence", "ephemeral", "state", "invite_state", "knock_state", "state_after"].includes(each))) ||
        (key === "chunk" && path.endsWith("/members")) ||
        (key === "" && path.endsWith("/state")) ||
        key === "required_state";
      return unordered ? items.sort((a, b) => compareText(order(a), order(b))) : items;
    }
    if (value === null || typeof value !== "object") return leaf(value, key, path);
    const out: Record<string, Json> = {};
    for (const name of Object.keys(value).sort()) {
      if (MOMENT.has(name) && !(name === "last_seen" && parents.includes("content"))) {
        out[name] = "<moment>";
        continue;
      }
      out[name] = walk(value[name], name, [...parents, key]);
    }
    return out;
  };
  const result = walk(body, "", []);
  if (result?.errcode !== undefined) return result;
  if (path.endsWith("/sync") && result !== null && typeof result === "object") {
    // Who is online follows from who asked when, and from restarts; presence has its own reads.
    delete result.presence;
    // Waiting to-device messages go at the next sync: checked by the tests that own them.
    delete result.to_device;
    for (const [id, room] of Object.entries<Json>(result.rooms?.join ?? {})) {
      room.ephemeral.events = room.ephemeral.events.filter((event: Json) => event.type !== "m.typing");
      // A room that is there only because somebody typed a while ago.
      if (
        [room.timeline, room.state ?? room["org.matrix.msc4222.state_after"], room.ephemeral, room.account_data].every(
          (part) => (part?.events ?? []).length === 0,
        )
      )
        delete result.rooms.join[id];
    }
    if (Object.keys(result.rooms?.join ?? { some: 1 }).length === 0) delete result.rooms.join;
    if (Object.keys(result.rooms ?? { some: 1 }).length === 0) delete result.rooms;
    for (const kind of ["join", "leave"])
      for (const { timeline } of Object.values<Json>(result.rooms?.[kind] ?? {}))
        if (isWholeTimeline(read, kind, timeline)) timeline.prev_batch = "<before the timeline>";
    // Of a key that changed in a gap Synapse names the event before or the one after it, by chance, where the timeline was filtered by visibility.
    for (const room of Object.values<Json>(result.rooms?.leave ?? {}))
      room.state.events = room.state.events.map((event: Json) => `${event.type} ${event.state_key}`).sort();
  }
  if (path.includes("simplified_msc3575")) {
    // A list that is shown whole is not sorted.
    for (const list of Object.values<Json>(result?.lists ?? {})) for (const op of list.ops ?? []) if (op.room_ids?.length === list.count) op.room_ids.sort();
  }
  if (path.endsWith("/initialSync")) {
    delete result.presence;
    for (const key of ["rooms", "receipts"]) result[key]?.sort((a: Json, b: Json) => compareText(a.room_id, b.room_id));
  }
  if (path.endsWith("/notifications")) {
    // What was read is forgotten by and by.
    result.notifications = result.notifications?.filter((each: Json) => !each.read);
    delete result.next_token;
  }
  if (path.includes("/presence/")) return { status_msg: result.status_msg ?? null };
  if (path.startsWith("/_matrix/key/v2/server")) delete result.signatures; // over valid_until_ts
  if (path === "/_matrix/federation/v1/version") return Object.keys(result.server).sort();
  if (path.includes("/v1/whois/")) return { user_id: result.user_id, devices: Object.keys(result.devices) };
  if (path.endsWith("/background_updates/status")) return { enabled: result.enabled };
  if (/\/v2\/users\/[^/]+\/devices$/.test(path) || path.endsWith("/devices"))
    for (const device of result.devices ?? []) for (const name of ["last_seen_ip", "last_seen_user_agent"]) if (name in device) device[name] = "<moment>";
  return result;
}

/**
 * True for a timeline that holds all there is to see though it was cut or read from the beginning: the place before it is then, with Synapse,
 * the one after it, so that /messages gives the same events again.
 */
function isWholeTimeline(read: Read, kind: string, timeline: Json): boolean {
  const filter = String(read.query?.["filter"] ?? "{}");
  const limit: number = filter.startsWith("{") ? (JSON.parse(filter).room?.timeline?.limit ?? 10) : 10;
  const since = read.query?.["since"] !== undefined;
  // Rooms joined and left since then are always marked as limited.
  const whole = timeline.limited && !(kind === "leave" && since) ? timeline.events.length < limit : timeline.events.length <= limit;
  return whole && (timeline.limited || kind === "leave" || !since);
}

function leaf(value: Json, key: string, path: string): Json {
  if (typeof value !== "string") return value;
  // A token names the position of every stream: only that of the rooms is the same for two servers asked at different times.
  if (["next_batch", "prev_batch", "start", "end", "next_token"].includes(key) && /^[stm]\d|^t\d/.test(value)) {
    if (key === "next_batch" && path.endsWith("/sync")) return `<token of ${value.split("_").length}>`;
    return value.split("_")[0];
  }
  if (key === "pos" && value.includes("/")) return `<pos of ${value.split("/")[1]!.split("_").length}>`;
  return value;
}

function order(value: Json): string {
  if (value !== null && typeof value === "object")
    return JSON.stringify([value.type, value.state_key, value.room_id, value.name, value.device_id, value.pushkey, value.event_id, value]);
  return String(value);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export interface Difference {
  read: string;
  /** Where in the answer, as a path of keys. */
  at: string;
  expected: Json;
  got: Json;
}

/** Differences of two snapshots, leaf by leaf. `allowed` gives the reason why one may stand, or undefined. */
export function compareSnapshots(expected: Snapshot, got: Snapshot, allowed: (difference: Difference) => string | undefined = () => undefined): Difference[] {
  const differences: Difference[] = [];
  for (const [read, answer] of expected) {
    const other = got.get(read);
    if (other === undefined) continue;
    if (answer.status !== other.status) {
      differences.push({ read, at: "status", expected: `${answer.status} ${brief(answer.body)}`, got: `${other.status} ${brief(other.body)}` });
      continue;
    }
    compareValues(answer.body, other.body, "", (at, one, two) => differences.push({ read, at, expected: one, got: two }));
  }
  return differences.filter((difference) => allowed(difference) === undefined);
}

function isEvents(value: Json): value is Json[] {
  return Array.isArray(value) && value.length > 0 && value.every((each) => typeof each?.event_id === "string" && typeof each?.type === "string");
}

function short(event: Json): string {
  return `${event.type}${event.state_key === undefined ? "" : ` "${event.state_key}"`} ${String(event.event_id).slice(0, 8)}`;
}

export function compareValues(a: Json, b: Json, at: string, report: (at: string, a: Json, b: Json) => void): void {
  if (a === b) return;
  if (isEvents(a) && isEvents(b)) {
    // Lists of events are told apart by which events they hold; the events that both hold are compared one by one.
    const others = new Map(b.map((event) => [event.event_id, event]));
    for (const event of a) if (others.has(event.event_id)) compareValues(event, others.get(event.event_id), `${at}[${event.type}]`, report);
    const ids = new Set(a.map((event) => event.event_id));
    const lacking = a.filter((event) => !others.has(event.event_id)).map(short);
    const extra = b.filter((event) => !ids.has(event.event_id)).map(short);
    if (lacking.length + extra.length > 0)
      report(
        `${at}(which events)`,
        `${a.length} events, of which not in the other: ${lacking.join(", ") || "none"}`,
        `${b.length} events, of which not in the first: ${extra.join(", ") || "none"}`,
      );
    else if (a.length !== b.length || a.some((event, index) => event.event_id !== b[index]!.event_id))
      report(`${at}(order)`, a.map(short).join(", "), b.map(short).join(", "));
    return;
  }
  if (Array.isArray(a) && Array.isArray(b)) {
    if (a.length !== b.length) report(`${at}.length`, `${a.length} ${brief(a)}`, `${b.length} ${brief(b)}`);
    else for (let i = 0; i < a.length; i++) compareValues(a[i], b[i], `${at}[${i}]`, report);
    return;
  }
  if (a !== null && b !== null && typeof a === "object" && typeof b === "object" && !Array.isArray(a) && !Array.isArray(b)) {
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      if (!(key in a)) report(`${at}.${key}`, undefined, brief(b[key]));
      else if (!(key in b)) report(`${at}.${key}`, brief(a[key]), undefined);
      else compareValues(a[key], b[key], `${at}.${key}`, report);
    }
    return;
  }
  report(at, brief(a), brief(b));
}

function brief(value: Json): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

/** Differences as text, one line each, the same place in many reads said once. */
export function report(differences: readonly Difference[], limit = 60): string {
  const groups = new Map<string, Difference[]>();
  for (const difference of differences) {
    const endpoint = difference.read
      .replaceAll(/[!$@#][^/?&\s"]+/g, "*")
      .replaceAll(/=[^&\s]+/g, "=…")
      .replace(/^\S+ /, "");
    const key = `${endpoint} ${difference.at.replaceAll(/\[\d+\]|[!$@][^.]*(\.test)?/g, "*")}`;
    const group = groups.get(key);
    if (group) group.push(difference);
    else groups.set(key, [difference]);
  }
  const lines = [...groups.values()].slice(0, limit).map((group) => {
    const [{ read, at, expected, got }] = group as [Difference];
    return `- ${read}\n    ${at}\n    expected ${expected}\n    got      ${got}${group.length > 1 ? `\n    (and ${group.length - 1} more like this)` : ""}`;
  });
  if (groups.size > limit) lines.push(`... and ${groups.size - limit} more kinds`);
  return `${differences.length} differences of ${groups.size} kinds\n${lines.join("\n")}`;
}
