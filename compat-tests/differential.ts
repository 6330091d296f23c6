import { cpSync, rmSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Endpoint } from "../src/handlers/http/endpoint.ts";
import { routes } from "../src/handlers/routes.ts";
import { isJsonObject, type Json } from "../src/lib/json.ts";
import { testCertificates } from "../src/testing/certificates.ts";
import { stopTestDatabases } from "../src/testing/database.ts";
import { FederationPeer } from "../src/testing/federation-peer.ts";
import { Dice } from "../src/testing/fuzz/dice.ts";
import { type Answer, fuzz, send } from "../src/testing/fuzz/fuzz.ts";
import { eventsOf, Pool } from "../src/testing/fuzz/pool.ts";
import { type FuzzRequest, makeRequest } from "../src/testing/fuzz/requests.ts";
import { type Role, TEST_PASSWORD } from "../src/testing/fuzz/world.ts";
import type { TestUser } from "../src/testing/server.ts";
import { A, C, enc, type MatrixClient } from "./harness/client.ts";
import { AS_TOKEN, type Home, makeHome, shareIdentity } from "./harness/home.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { png } from "./harness/png.ts";
import { type RunningServer, type ServerKind, startServer } from "./harness/server.ts";
import { scratchRoot, sleep, waitFor } from "./harness/scratch.ts";

/**
 * `npm run differential -- [--requests 5000] [--seed 1] [--only Servlet] [--out file]`: makes a small world with a
 * real Synapse, gives a copy of it to Synapse and to Myelin, sends both the same right and wrong requests (those of `npm run fuzz`), and
 * tells where status or errcode of the answers differ. A tool to look for differences with: what one of the two takes and the other
 * does not, the worlds are apart in from then on, so that some of what it tells follows from what it told before.
 */
const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "5000" },
    seed: { type: "string", default: "1" },
    batch: { type: "string", default: "1200" },
    only: { type: "string", default: "." },
    out: { type: "string" },
    shapes: { type: "boolean", default: false },
  },
});

/** Answers that wait, need another machine, or are about the server itself. */
const LEFT_OUT =
  /^(SyncRestServlet|EventsRestServlet|EventStreamRestServlet|MSC4108\w+|MSC4388\w+|Metrics\w*|HealthResource|PreviewUrlResource|MediaPreviewUrl\w*|PreviewURLServlet)$/;
const ENDS_SESSIONS =
  /^(?:Logout|LogoutAll|DeactivateAccount|DeleteDevices|Device|Password|UserReplaceMaster|UserAdmin|ResetPassword|UserRestServletV2|RoomRestServlet|RoomRestV2|PurgeHistory)\w*/;
const PATIENCE_MS = 20_000;

/** Where the two differ on purpose, or in nothing that matters to anybody: by the request, Synapse's answer and ours. */
const DELIBERATE: readonly { request?: RegExp; synapse?: RegExp; myelin?: RegExp; reason: string }[] = [
  { myelin: /^415 /, reason: "Bodies of forms are refused, whichever the method." },
  { synapse: /^415/, reason: "Who asks is looked at before what they send." },
  { request: /\/(?:\.\.?)?(?:\/|\?| )/, myelin: /^404 M_UNRECOGNIZED/, reason: "Empty and dot segments are nobody's names." },
  {
    request: /\/client\/v1\/admin\/(?:suspend|lock)\/|^PUT \S+\/3pid\/onbind/,
    synapse: /^40[45] /,
    reason: "What the specification has, and Synapse has not.",
  },
  { request: /\/admin\/v1\/media\/(?!quarantine)/, myelin: /^404 /, reason: "Each of the two names a file as it likes." },
  { synapse: /must be ascii/, reason: "Parameters may have any letters." },
  {
    synapse: /^400 /,
    myelin: /^40[13] (?:M_USER_LOCKED|M_UNKNOWN_TOKEN|M_MISSING_TOKEN|M_GUEST_ACCESS|M_USER_SUSPENDED)/,
    reason: "Who asks is looked at before what they send.",
  },
  {
    request: /_matrix\/federation\/v[12]\/(?:send_|invite)/,
    synapse: /^40[013] /,
    myelin: /^40[034] /,
    reason: "Of several faults of an event, which is said first.",
  },
  { request: /[?&]filter=(?:0|%5B%5D|%22|null)/, myelin: /M_NOT_JSON/, reason: "A filter is an object." },
];

interface Found {
  readonly servlet: string;
  readonly kind: string;
  readonly request: string;
  readonly answers: readonly [string, string];
}

interface Made {
  readonly people: ReadonlyMap<Role, TestUser>;
  readonly known: readonly [name: string, value: string][];
}

const dice = new Dice(Number(values.seed));
const only = new RegExp(values.only);
const found: Found[] = [];
let compared = 0;
let failedThere = 0;
const deliberate = new Map<string, number>();
const both = new Map<string, number>();

const learned = await fuzz({ requests: 1500, seed: 7, concurrency: 4 });
await stopTestDatabases();
const postgres = await acquirePostgres();
const peer = await FederationPeer.start();
const homes = await makeHomes(postgres);
try {
  const template = `${homes[0].database}_template`;
  const made = await makeSmallWorld(homes[0], "synapse");
  await postgres.createDatabase(template, homes[0].database);
  cpSync(join(homes[0].folder, "media"), join(homes[0].folder, "media.world"), { recursive: true });
  while (compared < Number(values.requests)) {
    for (const home of homes) {
      await postgres.createDatabase(home.database, template);
      rmSync(join(home.folder, "media"), { recursive: true, force: true });
      cpSync(join(homes[0].folder, "media.world"), join(home.folder, "media"), { recursive: true });
    }
    const servers = await Promise.all([startServer("synapse", homes[0]), startServer("myelin", homes[1])]);
    await compareBatch(made, servers);
    await Promise.all(servers.map((server) => server.kill()));
    process.stderr.write(`${compared} compared, ${found.length} differences\n`);
  }
  await postgres.dropDatabase(template);
} finally {
  await peer.close();
  for (const { database } of homes) await postgres.dropDatabase(database);
  await postgres.stop();
}
const text = describe();
if (values.out !== undefined) writeFileSync(values.out, text);
process.stdout.write(text);
process.exit(0);

async function makeHomes(on: PostgresServer): Promise<[Home, Home]> {
  const first = await makeHome({ name: "diff-a", postgres: on, extra: extraConfig() });
  const second = await makeHome({ name: "diff-b", postgres: on, extra: extraConfig() });
  shareIdentity(first, second);
  return [first, second];

  function extraConfig(): Record<string, unknown> {
    const ca = join(scratchRoot(), `differential-${process.pid}.crt`);
    writeFileSync(ca, testCertificates().ca);
    return {
      federation_custom_ca_list: [ca],
      federation_ip_range_blacklist: [],
      federation: { client_timeout: "3s", max_short_retries: 0, max_long_retries: 0, destination_min_retry_interval: "1h" },
      rc_federation: { window_size: 1000, sleep_limit: 100_000, sleep_delay: 1, reject_limit: 100_000, concurrent: 50 },
      user_consent: undefined,
      account_validity: { enabled: false },
      retention: { enabled: true },
      url_preview_enabled: false,
      require_auth_for_profile_requests: false,
      limit_profile_requests_to_users_who_share_rooms: false,
    };
  }
}

/** People of all kinds with some rooms, made by the server on the home, which is stopped afterwards. */
async function makeSmallWorld(home: Home, kind: ServerKind): Promise<Made> {
  const server = await startServer(kind, home);
  const people = new Map<Role, TestUser>();
  const known: [string, string][] = [];
  const clients = new Map<Role, MatrixClient>();
  const add = (role: Role, client: MatrixClient): void => {
    clients.set(role, client);
    people.set(role, { userId: client.userId, deviceId: client.deviceId, accessToken: client.accessToken! });
  };
  const admin = server.client();
  await admin.registerAdmin(home.sharedSecret, "admin", TEST_PASSWORD);
  add("admin", admin);
  for (const role of ["user", "other", "suspended", "locked", "deactivated"] as const) {
    const client = server.client();
    await client.register(role, TEST_PASSWORD);
    add(role, client);
  }
  const guest = server.client();
  const answer = await guest.post(`${C}/register`, {}, { kind: "guest" });
  people.set("guest", { userId: answer.user_id, deviceId: answer.device_id, accessToken: answer.access_token });
  people.set("appservice", { userId: `@bridge:${home.serverName}`, accessToken: AS_TOKEN, deviceId: "AS" });
  people.set("foreign", { userId: `@foreign:${home.serverName}`, accessToken: "syt_Zm9yZWlnbg_aaaaaaaaaaaaaaaaaaaa_0abcde", deviceId: "X" });
  people.set("nobody", { userId: `@nobody:${home.serverName}`, accessToken: "", deviceId: "X" });
  const user = clients.get("user")!;
  const other = clients.get("other")!;
  for (const [index, options] of (
    [
      { preset: "public_chat", room_alias_name: "main", visibility: "public", name: "Main" },
      { preset: "private_chat", room_version: "6", invite: [other.userId] },
      { preset: "public_chat", creation_content: { type: "m.space" }, room_version: "12" },
      { preset: "public_chat", initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } }] },
    ] as Record<string, unknown>[]
  ).entries()) {
    const room = await user.createRoom(options);
    known.push(["room_id", room]);
    if (index === 0 || index === 2) for (const role of ["other", "suspended", "locked"] as const) await clients.get(role)!.join(room);
    const first = await user.text(room, "hello");
    const inThread = await user.text(room, "thread", { "m.relates_to": { rel_type: "m.thread", event_id: first } });
    const reaction = await user.send(room, "m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: first, key: "👍" } });
    const topic = await user.state(room, "m.room.topic", { topic: "t" });
    const gone = await user.text(room, "gone");
    await user.redact(room, gone);
    for (const id of [first, inThread, reaction, topic, gone]) known.push([eventsOf(room), id], ["event_id", id]);
    known.push(["prev_batch", (await user.get(`${C}/rooms/${enc(room)}/messages`, { dir: "b", limit: 2 })).end as string]);
  }
  for (const client of [user, other]) {
    known.push(["filter_id", (await client.post(`${C}/user/${enc(client.userId)}/filter`, { room: { timeline: { limit: 2 } } })).filter_id as string]);
    known.push(["device_id", client.deviceId], ["user_id", client.userId]);
    known.push([
      "version",
      (await client.post(`${C}/room_keys/version`, { algorithm: "m.megolm_backup.v1.curve25519-aes-sha2", auth_data: { public_key: "a", signatures: {} } }))
        .version as string,
    ]);
  }
  const { content_uri } = await user.call("POST", "/_matrix/media/v3/upload", { body: png(60, 40, 9), headers: { "content-type": "image/png" } });
  known.push(["media_id", (content_uri as string).split("/").at(-1)!], ["alias", `#main:${home.serverName}`]);
  known.push(["token", (await admin.post(`${A}/v1/registration_tokens/new`, { uses_allowed: 5 })).token as string]);
  known.push(
    ["next_batch", (await user.sync({ timeout: 0 })).next_batch as string],
    ["user_id", `@_bridge_one:${home.serverName}`],
    ["user_id", peer.user("x")],
  );
  await admin.put(`${A}/v1/suspend/${enc(people.get("suspended")!.userId)}`, { suspend: true });
  await admin.put(`${A}/v2/users/${enc(people.get("locked")!.userId)}`, { locked: true });
  await admin.post(`${A}/v1/deactivate/${enc(people.get("deactivated")!.userId)}`, {});
  await sleep(2000); // the directory and statistics follow behind
  await waitFor(
    "background updates are done",
    120_000,
    async () => ((await home.postgres.query(home.database, "SELECT 1 FROM background_updates LIMIT 1")).length === 0 ? true : undefined),
    1000,
  );
  await server.stop();
  return { people, known };
}

async function compareBatch(made: Made, servers: readonly RunningServer[]): Promise<void> {
  const pool = new Pool(dice);
  for (const [name, value] of made.known) pool.add(name, value);
  /** What the first server calls what the second calls otherwise. */
  const translation = new Map<string, string>();
  const agent = new Agent({ keepAlive: false });
  const world = { person: (role: Role) => made.people.get(role)!, server: { name: homes[0].serverName }, peer };
  const endpoints = routes.filter(({ servlet }) => only.test(servlet) && !LEFT_OUT.test(servlet));
  const chances = endpoints.flatMap((endpoint) => Array<Endpoint>(/=([^/*]+)/.exec(endpoint.paths[0]!)?.[1]!.split("|").length ?? 1).fill(endpoint));
  for (let sent = 0; sent < Number(values.batch) && compared < Number(values.requests); sent++) {
    const endpoint = dice.pick(chances);
    const request = makeRequest(world, endpoint, [...(learned.queries.get(endpoint.servlet) ?? [])], dice, pool);
    const translated = translate(request, translation);
    if (endpoint.auth === "federation" && translated !== request) continue;
    // Unknown paths are pages there and JSON here; and those who act in most requests stay logged in for a while.
    if (request.spoilt === "path" || (ENDS_SESSIONS.test(endpoint.servlet) && dice.chance(0.9))) continue;
    const [one, two] = await Promise.all([request, translated].map((each, index) => send(agent, new URL(servers[index]!.baseUrl), each, PATIENCE_MS)));
    compared++;
    if (one === undefined || two === undefined) {
      if (one !== two) note(endpoint, one === undefined ? "no answer from Synapse" : "no answer from Myelin", request, one, two);
      if (servers.some((server) => server.exited())) throw new Error(`A server ended: ${describeRequest(request)}`);
      continue;
    }
    if (one.status >= 500) {
      failedThere++;
      if (two.status === 500) note(endpoint, `both fail ${one.status} ${two.status}`, request, one, two);
      continue;
    }
    const kindOfOne = kindOf(one);
    // Pages and old answers have no errcode there.
    const kindOfTwo = kindOfOne === String(two.status) && two.status >= 400 ? kindOfOne : kindOf(two);
    if (kindOfOne === kindOfTwo) {
      both.set(`${endpoint.servlet} ${kindOfOne}`, (both.get(`${endpoint.servlet} ${kindOfOne}`) ?? 0) + 1);
      if (values.shapes && one.status < 300) compareShapes(endpoint, request, one, two);
      learn(pool, translation, request, one, two);
    } else note(endpoint, `${kindOfOne} -> ${kindOfTwo}`, request, one, two);
    if (one.status === 401 && /^(?:user|other|admin|guest)$/.test(request.role) && /M_UNKNOWN_TOKEN/.test(one.text)) break;
  }
  agent.destroy();
}

function translate(request: FuzzRequest, translation: ReadonlyMap<string, string>): FuzzRequest {
  let url = request.url;
  let body = request.body?.toString("latin1");
  let auth = request.headers["Authorization"];
  for (const [from, to] of translation) {
    url = url.replaceAll(encodeURIComponent(from), encodeURIComponent(to));
    body = body?.replaceAll(from, to);
    auth = auth?.replaceAll(from, to);
  }
  if (url === request.url && body === request.body?.toString("latin1")) return request;
  return {
    ...request,
    url,
    headers: auth === undefined ? request.headers : { ...request.headers, Authorization: auth },
    body: body === undefined ? undefined : Buffer.from(body, "latin1"),
  };
}

/** Learns what both servers know, by whichever name. */
function learn(pool: Pool, translation: Map<string, string>, request: FuzzRequest, one: Answer, two: Answer): void {
  const [a, b] = [jsonOf(one.text), jsonOf(two.text)];
  if (!isJsonObject(a) || !isJsonObject(b) || one.text.length > 30_000) return;
  for (const [name, value] of Object.entries(a)) {
    const other = b[name];
    if (typeof value === "string" && typeof other === "string" && value !== other && value.length >= 8 && name !== "error") translation.set(value, other);
  }
  const shared = JSON.parse(one.text, (_key, value: unknown) =>
    typeof value === "string" && !translation.has(value) && !two.text.includes(value) ? undefined : value,
  ) as Json;
  pool.harvest(shared, request.roomId);
}

function note(endpoint: Endpoint, kind: string, request: FuzzRequest, one: Answer | undefined, two: Answer | undefined): void {
  const said = (answer: Answer | undefined): string => (answer === undefined ? "none" : `${kindOf(answer)} ${answer.text}`);
  const reason = DELIBERATE.find(
    (each) => (each.request?.test(describeRequest(request)) ?? true) && (each.synapse?.test(said(one)) ?? true) && (each.myelin?.test(said(two)) ?? true),
  )?.reason;
  if (reason !== undefined) {
    deliberate.set(reason, (deliberate.get(reason) ?? 0) + 1);
    return;
  }
  const brief = (answer: Answer | undefined): string => (answer === undefined ? "none" : `${answer.status} ${answer.text.slice(0, 400)}`);
  found.push({ servlet: endpoint.servlet, kind, request: describeRequest(request), answers: [brief(one), brief(two)] });
}

function compareShapes(endpoint: Endpoint, request: FuzzRequest, one: Answer, two: Answer): void {
  const [a, b] = [shapeOf(jsonOf(one.text)), shapeOf(jsonOf(two.text))];
  const lacking = [...a].filter((each) => !b.has(each));
  const more = [...b].filter((each) => !a.has(each));
  if (lacking.length + more.length > 0)
    note(endpoint, `shape: lacks ${lacking.slice(0, 6).join(" ")}; has more ${more.slice(0, 6).join(" ")}`, request, one, two);
}

/** The paths of the fields with the types of their values, ids left out. */
function shapeOf(value: Json | undefined, at = "", into = new Set<string>()): Set<string> {
  if (Array.isArray(value)) for (const item of value) shapeOf(item, `${at}[]`, into);
  else if (isJsonObject(value))
    for (const [name, item] of Object.entries(value)) shapeOf(item, `${at}.${/^[!@$#]|:/.test(name) || name.length > 40 ? "*" : name}`, into);
  else into.add(`${at}:${value === null ? "null" : typeof value}`);
  return into;
}

function kindOf(answer: Answer): string {
  const body = jsonOf(answer.text);
  return `${answer.status}${isJsonObject(body) && typeof body["errcode"] === "string" ? ` ${body["errcode"]}` : ""}`;
}

function jsonOf(answer: string): Json | undefined {
  try {
    return JSON.parse(answer) as Json;
  } catch {
    return undefined;
  }
}

function describeRequest({ method, url, body, role, spoilt, headers }: FuzzRequest): string {
  return `${method} ${url.slice(0, 500)} as ${role}${spoilt === undefined ? "" : ` (${spoilt} spoilt)`} ${headers["Content-Type"] ?? ""}\n  ${body?.toString("utf8").slice(0, 600) ?? ""}`;
}

function describe(): string {
  const kinds = new Map<string, Found[]>();
  for (const each of found) {
    const key = `${each.servlet}: ${each.kind}`;
    kinds.set(key, [...(kinds.get(key) ?? []), each]);
  }
  return [
    `${compared} compared; Synapse failed at ${failedThere}; ${found.length} differences of ${kinds.size} kinds; ${both.size} kinds of answers agree`,
    ...[...deliberate].map(([reason, count]) => `  ${count} times: ${reason}`),
    ...[...kinds]
      .sort(([one, a], [two, b]) => Number(/[ :]2\d\d/.test(two)) - Number(/[ :]2\d\d/.test(one)) || b.length - a.length)
      .map(([key, list]) =>
        [`- ${key} (${list.length})`, ...list.slice(0, 3).map(({ request, answers }) => `  ${request}\n   S ${answers[0]}\n   M ${answers[1]}`)].join("\n"),
      ),
    "",
  ].join("\n");
}
