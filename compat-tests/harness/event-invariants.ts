import { createHash } from "node:crypto";
import { parseExactly, type Json } from "./client.ts";
import { canonicalJson } from "./keys.ts";
import type { Violation } from "./invariants.ts";
import type { PostgresServer } from "./postgres.ts";

/** The rules about events that need more than SQL: hashes, edges against the JSON, state groups resolved, the chain cover walked. */
export async function eventInvariants(postgres: PostgresServer, database: string): Promise<Violation[]> {
  const query = <Row extends object>(sql: string): Promise<Row[]> => postgres.query<Row>(database, sql);
  const events =
    await query<EventRow>(`SELECT e.event_id, e.room_id, e.type, e.state_key, e.sender, e.depth, e.origin_server_ts, e.topological_ordering, e.outlier, e.rejection_reason IS NOT NULL AS rejected, e.contains_url,
      j.json, j.internal_metadata, r.room_version, r.has_auth_chain_index, s.state_group, x.redacts IS NOT NULL OR e.sender IN (SELECT user_id FROM erased_users) AS redacted
    FROM events e JOIN event_json j USING (event_id) JOIN rooms r ON r.room_id = e.room_id LEFT JOIN event_to_state_groups s USING (event_id) LEFT JOIN (SELECT DISTINCT redacts FROM redactions) x ON x.redacts = e.event_id`);
  const parsed = new Map<string, Json>(events.map((event) => [event.event_id, parseExactly(event.json)]));
  return [
    ...jsonRules(events, parsed),
    ...(await edgeRules(query, events, parsed)),
    ...(await stateRules(query, events)),
    ...(await chainCoverRules(query, events)),
  ];
}

interface EventRow {
  event_id: string;
  room_id: string;
  type: string;
  state_key: string | null;
  sender: string;
  depth: string;
  origin_server_ts: string;
  topological_ordering: string;
  outlier: boolean;
  rejected: boolean;
  contains_url: boolean;
  json: string;
  internal_metadata: string;
  room_version: string;
  has_auth_chain_index: boolean;
  state_group: string | null;
  redacted: boolean;
}

type Query = <Row extends object>(sql: string) => Promise<Row[]>;

const METADATA = new Set([
  "out_of_band_membership",
  "send_on_behalf_of",
  "recheck_redaction",
  "soft_failed",
  "proactively_send",
  "redacted",
  "redacted_by",
  "txn_id",
  "delay_id",
  "token_id",
  "device_id",
  "policy_server_spammy",
  "spam_checker_spammy",
  "calculated_auth_event_ids",
  "stream_ordering",
  "outlier",
  "instance_name",
  "recheck_sticky",
]);

function jsonRules(events: readonly EventRow[], parsed: Map<string, Json>): Violation[] {
  const columns: object[] = [];
  const hashes: object[] = [];
  const metadata: object[] = [];
  const encoding: object[] = [];
  for (const event of events) {
    const json = parsed.get(event.event_id)!;
    const expected = {
      type: json.type,
      state_key: json.state_key ?? null,
      sender: json.sender,
      depth: String(json.depth),
      origin_server_ts: String(json.origin_server_ts),
      topological_ordering: String(json.depth),
    };
    for (const [column, value] of Object.entries(expected))
      if (String(event[column as keyof EventRow]) !== String(value))
        columns.push({ event: event.event_id, column, row: event[column as keyof EventRow], json: value });
    if (!["1", "2"].includes(event.room_version)) {
      const id = referenceHash(json, event.room_version);
      if (event.event_id !== id) hashes.push({ event: event.event_id, hash: id, version: event.room_version });
    }
    // A redacted event, or one of a user who asked for erasure, may have lost its content: its hash stays.
    if (!event.redacted && contentHash(json) !== json.hashes?.sha256)
      hashes.push({ event: event.event_id, content: contentHash(json), json: json.hashes?.sha256 });
    for (const key of Object.keys(JSON.parse(event.internal_metadata) as object)) if (!METADATA.has(key)) metadata.push({ event: event.event_id, key });
    if (/[^\x00-\x7f]/.test(event.json) || /[^\x00-\x7f]/.test(event.internal_metadata) || event.json.includes('": ')) encoding.push({ event: event.event_id });
  }
  return [
    { rule: "columns of events agree with the JSON", rows: columns },
    { rule: "events hash to their ids and content hashes", rows: hashes },
    { rule: "internal_metadata has only the keys Synapse knows", rows: metadata },
    { rule: "event JSON is compact and ASCII", rows: encoding },
  ].filter(({ rows }) => rows.length > 0);
}

function exactCanonical(value: Json): string {
  // Numbers that JavaScript would change were kept as texts; in events they stand as they were written, but for floats of v1 to v5.
  return canonicalJson(value).replaceAll(/"number:([^"]+)"/g, "$1");
}

function contentHash(json: Json): string {
  const { unsigned: _u, signatures: _s, hashes: _h, age_ts: _a, outlier: _o, destinations: _d, event_id, ...rest } = json;
  const hashed = event_id === undefined ? rest : { ...rest, event_id };
  return createHash("sha256").update(exactCanonical(hashed)).digest("base64").replace(/=+$/, "");
}

function referenceHash(json: Json, version: string): string {
  const { unsigned: _u, signatures: _s, age_ts: _a, ...rest } = redact(json, Number(version));
  const digest = createHash("sha256").update(exactCanonical(rest)).digest("base64").replace(/=+$/, "");
  return `$${version === "3" ? digest : digest.replaceAll("+", "-").replaceAll("/", "_")}`;
}

/** The specification's redaction, for versions 3 to 12. */
function redact(json: Json, version: number): Json {
  const top = [
    "event_id",
    "type",
    "room_id",
    "sender",
    "state_key",
    "content",
    "hashes",
    "signatures",
    "depth",
    "prev_events",
    "auth_events",
    "origin_server_ts",
    ...(version >= 11 ? [] : ["prev_state", "origin", "membership"]),
  ];
  const out: Json = Object.fromEntries(top.filter((key) => key in json).map((key) => [key, json[key]]));
  const content = json.content ?? {};
  const keep: Record<string, string[]> = {
    "m.room.member": ["membership", ...(version >= 9 ? ["join_authorised_via_users_server"] : [])],
    "m.room.join_rules": ["join_rule", ...(version >= 8 ? ["allow"] : [])],
    "m.room.power_levels": [
      "ban",
      "events",
      "events_default",
      "kick",
      "redact",
      "state_default",
      "users",
      "users_default",
      ...(version >= 11 ? ["invite"] : []),
    ],
    "m.room.history_visibility": ["history_visibility"],
    "m.room.create": version >= 11 ? Object.keys(content) : ["creator"],
    "m.room.aliases": version >= 6 ? [] : ["aliases"],
    "m.room.redaction": version >= 11 ? ["redacts"] : [],
  };
  out.content = Object.fromEntries((keep[json.type] ?? []).filter((key) => key in content).map((key) => [key, content[key]]));
  if (json.type === "m.room.member" && version >= 11 && content.third_party_invite?.signed !== undefined)
    out.content.third_party_invite = { signed: content.third_party_invite.signed };
  return out;
}

async function edgeRules(query: Query, events: readonly EventRow[], parsed: Map<string, Json>): Promise<Violation[]> {
  const edges = group(await query<{ event_id: string; other: string }>("SELECT event_id, prev_event_id AS other FROM event_edges WHERE NOT is_state"));
  const auth = group(await query<{ event_id: string; other: string }>("SELECT event_id, auth_id AS other FROM event_auth"));
  const relations = new Map(
    (await query<{ event_id: string; relates_to_id: string; relation_type: string; aggregation_key: string | null }>("SELECT * FROM event_relations")).map(
      (row) => [row.event_id, row],
    ),
  );
  const wrongEdges: object[] = [];
  const wrongRelations: object[] = [];
  const ids = (list: Json[]): string[] => [...new Set(list.map((each) => (Array.isArray(each) ? each[0] : each) as string))].sort();
  for (const event of events) {
    const json = parsed.get(event.event_id)!;
    const prev = [...(edges.get(event.event_id) ?? [])].sort();
    const authRows = [...(auth.get(event.event_id) ?? [])].sort();
    if (!event.outlier && prev.join() !== ids(json.prev_events).join()) wrongEdges.push({ event: event.event_id, edges: prev, json: json.prev_events });
    if (event.state_key !== null && authRows.join() !== ids(implied(event, json)).join())
      wrongEdges.push({ event: event.event_id, auth: authRows, json: json.auth_events });
    const relation = json.content?.["m.relates_to"];
    if (typeof relation?.event_id !== "string" || typeof relation.rel_type !== "string" || event.outlier || event.redacted) continue;
    const row = relations.get(event.event_id);
    if (
      row?.relates_to_id !== relation.event_id ||
      row?.relation_type !== relation.rel_type ||
      (relation.rel_type === "m.annotation" && row?.aggregation_key !== relation.key)
    )
      wrongRelations.push({ event: event.event_id, relation, row });
  }
  return [
    { rule: "event_edges and event_auth agree with the JSON", rows: wrongEdges },
    { rule: "event_relations has each relation", rows: wrongRelations },
  ].filter(({ rows }) => rows.length > 0);
}

/** From version 12 on the room id names the create event, which is an auth event of every other event without being listed. */
function implied(event: EventRow, json: Json): Json[] {
  return event.room_version === "12" && event.type !== "m.room.create" ? [...json.auth_events, `$${event.room_id.slice(1)}`] : json.auth_events;
}

async function stateRules(query: Query, events: readonly EventRow[]): Promise<Violation[]> {
  const previous = new Map(
    (await query<{ state_group: string; prev_state_group: string }>("SELECT state_group, prev_state_group FROM state_group_edges")).map((row) => [
      String(row.state_group),
      String(row.prev_state_group),
    ]),
  );
  const rows = new Map<string, [string, string][]>();
  for (const row of await query<{ state_group: string; type: string; state_key: string; event_id: string }>(
    "SELECT state_group, type, state_key, event_id FROM state_groups_state",
  ))
    push(rows, String(row.state_group), [`${row.type}\0${row.state_key}`, row.event_id]);
  const resolve = (id: string): Map<string, string> => {
    const chain: string[] = [];
    for (let each: string | undefined = id; each !== undefined && chain.length < 1000; each = previous.get(each)) chain.push(each);
    return new Map(chain.reverse().flatMap((each) => rows.get(each) ?? []));
  };
  const current = new Map<string, Map<string, string>>();
  for (const row of await query<{ room_id: string; type: string; state_key: string; event_id: string }>(
    "SELECT room_id, type, state_key, event_id FROM current_state_events",
  )) {
    if (!current.has(row.room_id)) current.set(row.room_id, new Map());
    current.get(row.room_id)!.set(`${row.type}\0${row.state_key}`, row.event_id);
  }
  const extremities = group(
    (await query<{ room_id: string; event_id: string }>("SELECT room_id, event_id FROM event_forward_extremities")).map((row) => ({
      event_id: row.room_id,
      other: row.event_id,
    })),
  );
  const byId = new Map(events.map((event) => [event.event_id, event]));
  const wrong: object[] = [];
  for (const [room, ids] of extremities) {
    const event = byId.get(ids[0]!);
    // More than one extremity needs state resolution: the servers' own tests do that.
    if (ids.length !== 1 || event?.state_group == null || !current.has(room)) continue;
    const [now, group] = [current.get(room)!, resolve(String(event.state_group))];
    for (const key of new Set([...now.keys(), ...group.keys()]))
      if (now.get(key) !== group.get(key)) wrong.push({ room, key: key.replace("\0", " "), current: now.get(key), stateGroup: group.get(key) });
  }
  // A state event is in the state of its own group.
  const own: object[] = [];
  for (const event of events) {
    if (event.state_key === null || event.state_group === null || event.rejected) continue;
    if (resolve(String(event.state_group)).get(`${event.type}\0${event.state_key}`) !== event.event_id) own.push({ event: event.event_id, type: event.type });
  }
  const deltas = await query<{ room_id: string; type: string; state_key: string; event_id: string | null; prev_event_id: string | null; stream_id: string }>(
    "SELECT room_id, type, state_key, event_id, prev_event_id, stream_id FROM current_state_delta_stream ORDER BY stream_id",
  );
  const replayed = new Map<string, string | null>();
  const broken: object[] = [];
  for (const delta of deltas) {
    const key = `${delta.room_id}\0${delta.type}\0${delta.state_key}`;
    if ((replayed.get(key) ?? null) !== delta.prev_event_id) broken.push({ ...delta, before: replayed.get(key) });
    replayed.set(key, delta.event_id);
  }
  for (const [room, state] of current)
    for (const [key, id] of state)
      if (replayed.get(`${room}\0${key}`) !== id) broken.push({ room, key: key.replace("\0", " "), current: id, replayed: replayed.get(`${room}\0${key}`) });
  return [
    { rule: "current_state_events is the state at the forward extremity", rows: wrong },
    { rule: "a state event is in its own state group", rows: own },
    { rule: "current_state_delta_stream leads to the current state", rows: broken },
  ].filter(({ rows }) => rows.length > 0);
}

/** The chain cover must say of any two events of a room what the auth events say: is one in the auth chain of the other. */
async function chainCoverRules(query: Query, events: readonly EventRow[]): Promise<Violation[]> {
  const auth = group(await query<{ event_id: string; other: string }>("SELECT event_id, auth_id AS other FROM event_auth"));
  const chains = new Map(
    (await query<{ event_id: string; chain_id: string; sequence_number: string }>("SELECT event_id, chain_id, sequence_number FROM event_auth_chains")).map(
      (row) => [row.event_id, { chain: Number(row.chain_id), sequence: Number(row.sequence_number) }],
    ),
  );
  const waiting = new Set((await query<{ event_id: string }>("SELECT event_id FROM event_auth_chain_to_calculate")).map((row) => row.event_id));
  const links = new Map<number, { from: number; to: number; target: number }[]>();
  for (const row of await query<{ origin_chain_id: string; origin_sequence_number: string; target_chain_id: string; target_sequence_number: string }>(
    "SELECT * FROM event_auth_chain_links",
  )) {
    const list = links.get(Number(row.origin_chain_id)) ?? [];
    list.push({ from: Number(row.origin_sequence_number), to: Number(row.target_chain_id), target: Number(row.target_sequence_number) });
    links.set(Number(row.origin_chain_id), list);
  }
  const missing: object[] = [];
  const wrong: object[] = [];
  const state = events.filter((event) => event.state_key !== null && !event.outlier && event.has_auth_chain_index && !event.rejected);
  const byPlace = new Map([...chains].map(([id, { chain, sequence }]) => [`${chain} ${sequence}`, id]));
  for (const event of state) {
    const place = chains.get(event.event_id);
    if (place === undefined) {
      if (!waiting.has(event.event_id)) missing.push({ event: event.event_id, room: event.room_id });
      continue;
    }
    const real = new Set<string>();
    for (const queue = [event.event_id]; queue.length > 0;)
      for (const id of auth.get(queue.pop()!) ?? [])
        if (!real.has(id)) {
          real.add(id);
          queue.push(id);
        }
    // The highest sequence number reachable in each chain, by links of links.
    const reach = new Map<number, number>([[place.chain, place.sequence]]);
    for (const queue = [place.chain]; queue.length > 0;) {
      const chain = queue.pop()!;
      for (const link of links.get(chain) ?? []) {
        if (link.from > reach.get(chain)! || (reach.get(link.to) ?? 0) >= link.target) continue;
        reach.set(link.to, link.target);
        queue.push(link.to);
      }
    }
    const said = new Set<string>();
    for (const [chain, highest] of reach)
      for (let n = 1; n <= highest; n++) {
        const id = byPlace.get(`${chain} ${n}`);
        if (id !== undefined && id !== event.event_id) said.add(id);
      }
    const extra = [...said].filter((id) => !real.has(id));
    const lost = [...real].filter((id) => !said.has(id) && chains.has(id));
    if (extra.length > 0 || lost.length > 0) wrong.push({ event: event.event_id, type: event.type, extra: extra.slice(0, 2), lost: lost.slice(0, 2) });
  }
  return [
    { rule: "each state event has its place in the chain cover", rows: missing },
    { rule: "the chain cover says what the auth events say", rows: wrong },
  ].filter(({ rows }) => rows.length > 0);
}

function group(rows: readonly { event_id: string; other: string }[]): Map<string, string[]> {
  const map = new Map<string, string[]>();
  for (const row of rows) push(map, row.event_id, row.other);
  return map;
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
