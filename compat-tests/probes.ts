// More than 500 lines: a list of requests, which is read as one.
import { A, C, enc, U, V1, type Json } from "./harness/client.ts";
import type { World } from "./fixtures/world.ts";
import type { Read } from "./reads.ts";
import type { Difference, Snapshot } from "./snapshot.ts";

/** Where the answers to probes may differ: status or errcode (`at`), by what one of the two says there. */
export const ALLOWED_PROBES: readonly { read: RegExp; at?: RegExp; either?: RegExp; reason: string }[] = [
  { read: /./, at: /^status$/, either: /^500 /, reason: "Synapse fails; we say what is wrong." },
  {
    read: / "(\{nope|\[\])"$/,
    at: /^(status|\.errcode)$/,
    either: /M_NOT_JSON|M_BAD_JSON/,
    reason: "Of a body that is no JSON object and another fault of the request, which is said first.",
  },
  { read: /\/directory\/room\/nonsense /, at: /errcode/, reason: "Of a bad alias and a bad body, which is said first." },
  { read: /createRoom\/ /, at: /^status$/, either: /^405 /, reason: "A slash too much: an unknown path here." },
  { read: /1e400/, at: /errcode/, reason: "A number beyond all bounds is no JSON here." },
  { read: /filter=\[\]/, at: /^status$/, reason: "A filter that is a list is none." },
  { read: /method=stretch/, at: /^status$/, reason: "An unknown method is taken for the usual one." },
  { read: /\/thirdparty\/protocol\//, at: /^\.(errcode|error)$/, either: /^undefined$/, reason: "Synapse's answer has no errcode." },
  { read: /\/key\/v2\/query\/compat\.test/, at: /server_keys/, reason: "Asked as a notary we know our own keys, too." },
  { read: /\/context\/.*limit=0/, at: /^\.start$/, reason: "Synapse's token passes over events of the same depth." },
  { read: /\/initialSync\?/, at: /transaction_id$/, either: /^undefined$/, reason: "The sender's own redaction carries its transaction id." },
  { read: /fallback\/web|account_validity\/renew/, at: /sha256|bytes/, reason: "Pages have words of their own." },
  { read: /\/initialSync\?/, at: /\.thread_id$/, either: /^undefined$/, reason: "Synapse does not say there which thread a receipt is for." },
  { read: /GET \/health$/, at: /content-type/, reason: "With its charset." },
  { read: /GET .*\/profile\//, at: /errcode/, either: /M_UNKNOWN/, reason: "Where there is no profile, the specification says M_NOT_FOUND." },
  { read: /\/media\/thumbnail\//, at: /content-security-policy/, reason: "Thumbnails have the header of downloads here." },
];

/** Answers without what need not agree: the words of errors, ids of sessions, pages of errors. */
export function outline(snapshot: Snapshot): Snapshot {
  return new Map(
    [...snapshot].map(([read, { status, body }]) => {
      if (body?.errcode !== undefined) return [read, { status, body: { errcode: body.errcode } }];
      if (body?.sha256 !== undefined && status >= 400) return [read, { status, body: { "content-type": body["content-type"] } }];
      if (body?.session !== undefined) return [read, { status, body: { ...body, session: "<random>" } }];
      return [read, { status, body }];
    }),
  );
}

export function allowedProbe({ read, at, expected, got }: Difference): string | undefined {
  return ALLOWED_PROBES.find(
    (each) =>
      each.read.test(read) &&
      (each.at === undefined || each.at.test(at)) &&
      (each.either === undefined || [expected, got].some((side) => each.either!.test(String(side)))),
  )?.reason;
}

/**
 * What clients of today rarely ask, and what no client should: old and unstable paths, parameters and bodies that are wrong, things that
 * are not there or belong to somebody else. Nothing of it changes anything.
 */
export function probes(world: World): Read[] {
  return [...oldPaths(world), ...badQueries(world), ...badBodies(world), ...notTheirs(world), ...adminProbes(world)];
}

type Method = Read["method"];

function ask(who: string | undefined, method: Method, path: string, more: { query?: Read["query"]; body?: Json; headers?: Record<string, string> } = {}): Read {
  return { who, method, path, ...more };
}

const get = (who: string | undefined, path: string, query?: Read["query"]): Read => ask(who, "GET", path, query === undefined ? {} : { query });

function oldPaths(world: World): Read[] {
  const lobby = world.rooms["lobby"]!;
  const event = lobby.events["edited make"]!;
  const room = enc(lobby.id);
  return [
    get(undefined, "/.well-known/matrix/server"),
    get(undefined, "/health"),
    get("alice", `${U}/initialSync`, { limit: 2 }),
    get("erin", `${C}/initialSync`, { limit: 1, archived: "true" }),
    get("alice", `${U}/events/${enc(event)}`),
    get("alice", `${U}/im.nheko.summary/rooms/${room}/summary`),
    get("alice", `${U}/im.nheko.summary/summary/${enc(lobby.alias!)}`),
    get("alice", `${U}/org.matrix.msc2432/rooms/${room}/aliases`),
    get("alice", `${U}/uk.tcpip.msc4133/profile/${enc(world.people["alice"]!.userId)}/m.tz`),
    get("alice", `${U}/org.matrix.msc4143/rtc/transports`),
    get("alice", `${U}/org.matrix.msc1763/retention/configuration`),
    get("alice", `${U}/org.matrix.msc2965/auth_issuer`),
    get("alice", `${U}/org.matrix.msc2965/auth_metadata`),
    get("alice", `${V1}/auth_metadata`),
    get("alice", `${U}/io.element.msc4308/thread_subscriptions`),
    get("carol", `${U}/io.element.msc4308/thread_subscriptions`, { dir: "b", limit: 5 }),
    get("alice", `${V1}/mutual_rooms`, { user_id: world.people["bob"]!.userId }),
    get(undefined, `${C}/password_policy`),
    get("alice", `${C}/admin/whois/${enc(world.people["alice"]!.userId)}`),
    get("alice", `${C}/admin/whois/${enc(world.people["bob"]!.userId)}`),
    get("alice", `${C}/thirdparty/protocol/compat`),
    get("alice", `${C}/thirdparty/protocol/nothing`),
    get("alice", `${C}/thirdparty/user/compat`, { name: "x" }),
    get("alice", `${C}/thirdparty/location/compat`, { place: "x" }),
    get("alice", `${C}/thirdparty/user`, { userid: "@x:y" }),
    get(undefined, `${C}/login/sso/redirect`, { redirectUrl: "https://client.test/" }),
    get(undefined, `${C}/login/sso/redirect/oidc-nothing`, { redirectUrl: "https://client.test/" }),
    get(undefined, `${C}/auth/m.login.dummy/fallback/web`, { session: "none" }),
    get(undefined, `${C}/auth/m.login.recaptcha/fallback/web`, { session: "none" }),
    get("alice", "/_matrix/media/r0/preview_url", { url: "http://127.0.0.1/" }),
    get("alice", `${V1}/media/preview_url`),
    get(undefined, "/_matrix/client/r0/account_validity/renew", { token: "none" }),
    get(undefined, "/_matrix/client/unstable/account_validity/renew"),
    get(undefined, "/_matrix/client/api/v1/login"),
    get("alice", `/_matrix/client/api/v1/rooms/${room}/state/m.room.name`),
    get("alice", `/_matrix/client/r0/rooms/${room}/state/m.room.name/`),
    get(undefined, "/_matrix/client"),
    get(undefined, "/_matrix"),
    get(undefined, "/_matrix/federation/v1/none"),
    get(undefined, "/_matrix/key/v2/server/ed25519:a_comp"),
    ask(undefined, "POST", "/_matrix/key/v2/query", { body: { server_keys: {} } }),
    get(undefined, "/_matrix/key/v2/query/compat.test"),
    get(undefined, "/_matrix/federation/v1/publicRooms"),
    get(undefined, `/_matrix/federation/v1/event/${enc(event)}`),
    get(undefined, "/_matrix/federation/v1/openid/userinfo", { access_token: "none" }),
    get(undefined, "/_matrix/federation/v1/openid/userinfo"),
    ask("bob", "POST", `${C}/keys/claim`, { body: { one_time_keys: {} } }),
    ask("alice", "POST", `${U}/org.matrix.msc3983/keys/claim`, { body: { one_time_keys: {} } }),
    ask("alice", "PUT", `${C}/login`),
    ask("alice", "DELETE", `${C}/sync`),
  ];
}

function badQueries(world: World): Read[] {
  const lobby = world.rooms["lobby"]!;
  const at = `${C}/rooms/${enc(lobby.id)}`;
  const v1 = `${V1}/rooms/${enc(lobby.id)}`;
  const event = lobby.events["edited make"]!;
  const alice = `${C}/user/${enc(world.people["alice"]!.userId)}`;
  return [
    get("alice", `${C}/sync`, { since: "nonsense" }),
    get("alice", `${C}/sync`, { since: "", timeout: 0, filter: '{"room":{"rooms":[]}}' }),
    get("alice", `${C}/sync`, { since: "s1_2_3" }),
    get("alice", `${C}/sync`, { timeout: "soon" }),
    get("alice", `${C}/sync`, { filter: "{" }),
    get("alice", `${C}/sync`, { filter: '{"room":7}' }),
    get("alice", `${C}/sync`, { filter: "999" }),
    get("alice", `${C}/sync`, { set_presence: "dancing" }),
    get("alice", `${C}/sync`, { full_state: "perhaps" }),
    get("alice", `${at}/messages`),
    get("alice", `${at}/messages`, { dir: "x" }),
    get("alice", `${at}/messages`, { dir: "b", limit: -1 }),
    get("alice", `${at}/messages`, { dir: "b", limit: "many" }),
    get("alice", `${at}/messages`, { dir: "b", limit: 0 }),
    get("alice", `${at}/messages`, { dir: "b", from: "nonsense" }),
    get("alice", `${at}/messages`, { dir: "b", filter: "[]" }),
    get("alice", `${at}/messages`, { dir: "b", filter: "{" }),
    get("alice", `${at}/messages`, { dir: "f", from: "s0", to: "s5" }),
    get("alice", `${at}/context/${enc(event)}`, { limit: -3 }),
    get("alice", `${at}/context/${enc(event)}`, { limit: 0 }),
    get("alice", `${at}/context/$none`),
    get("alice", `${at}/event/$none`),
    get("alice", `${at}/event/none`),
    get("alice", `${at}/members`, { membership: "dancing" }),
    get("alice", `${at}/members`, { at: "nonsense" }),
    get("alice", `${at}/state/m.room.none`),
    get("alice", `${at}/state/m.room.name`, { format: "strange" }),
    get("alice", `${at}/initialSync`, { limit: -2 }),
    get("alice", `${v1}/threads`, { from: "nonsense" }),
    get("alice", `${v1}/threads`, { limit: 0 }),
    get("alice", `${v1}/threads`, { include: "some" }),
    get("alice", `${v1}/relations/${enc(event)}`, { limit: 0 }),
    get("alice", `${v1}/relations/${enc(event)}`, { dir: "x" }),
    get("alice", `${v1}/relations/${enc(event)}`, { from: "nonsense" }),
    get("alice", `${v1}/relations/$none`),
    get("alice", `${v1}/hierarchy`, { max_depth: -1 }),
    get("alice", `${v1}/hierarchy`, { from: "nonsense" }),
    get("alice", `${v1}/timestamp_to_event`),
    get("alice", `${v1}/timestamp_to_event`, { ts: "now", dir: "f" }),
    get("alice", `${v1}/timestamp_to_event`, { ts: 1, dir: "b" }),
    get("alice", `${C}/notifications`, { limit: "x" }),
    get("alice", `${C}/notifications`, { from: "nonsense" }),
    get("alice", `${C}/keys/changes`, { from: "nonsense", to: "nonsense" }),
    get("alice", `${C}/keys/changes`),
    get("alice", `${C}/publicRooms`, { limit: -1 }),
    get("alice", `${C}/publicRooms`, { since: "nonsense" }),
    get("alice", `${C}/register/available`),
    get(undefined, `${C}/register/available`, { username: "UPPER" }),
    get(undefined, `${C}/register/available`, { username: "with space" }),
    get("alice", `${alice}/filter/none`),
    get("alice", `${alice}/rooms/nonsense/account_data/x`),
    get("alice", `${alice}/rooms/nonsense/tags`),
    get("alice", `${C}/room_keys/version/none`),
    get("alice", `${C}/room_keys/keys`),
    get("dave", `${C}/room_keys/keys`, { version: "1" }),
    get("dave", `${C}/room_keys/version`),
    get("alice", `${C}/pushrules/global/none/x`),
    get("alice", `${C}/pushrules/device/override/x`),
    get("alice", `${C}/pushrules/global`),
    get("alice", `${C}/pushrules/global/`),
    get("alice", `${C}/pushrules/global/override/`),
    get("alice", `${C}/pushrules/global/override/.m.rule.master`),
    get("alice", `${C}/pushrules/global/override/.m.rule.master/none`),
    get("alice", `${C}/profile/nonsense`),
    get("alice", `${C}/profile/@x:elsewhere.test/displayname`),
    get("alice", `${C}/presence/nonsense/status`),
    get("alice", `${C}/presence/@none:compat.test/status`),
    get("alice", `${C}/directory/room/nonsense`),
    get("alice", `${C}/directory/room/%23x`),
    get("alice", `${C}/directory/list/room/nonsense`),
    get("alice", `${C}/rooms/nonsense/state`),
    get("alice", `${C}/rooms/!none:compat.test/state`),
    get("alice", `${C}/rooms/!none:compat.test/members`),
    get("alice", `${C}/rooms/!none:compat.test/joined_members`),
    get("alice", `${C}/rooms/!none:compat.test/aliases`),
    get("alice", `${C}/rooms/!none:compat.test/messages`, { dir: "b" }),
    get("alice", `${V1}/rooms/!none:compat.test/hierarchy`),
    get("alice", `${V1}/rooms/!none:compat.test/threads`),
    get("alice", `${V1}/room_summary/nonsense`),
    get("alice", `${V1}/media/download/nonsense`),
    get("alice", `${V1}/media/download/..%2f/x`),
    get("alice", `${V1}/media/thumbnail/${world.media[0]!.uri.slice("mxc://".length)}`),
    get("alice", `${V1}/media/thumbnail/${world.media[0]!.uri.slice("mxc://".length)}`, { width: "x", height: 1 }),
    get("alice", `${V1}/media/thumbnail/${world.media[0]!.uri.slice("mxc://".length)}`, { width: 0, height: 0 }),
    get("alice", `${V1}/media/thumbnail/${world.media[0]!.uri.slice("mxc://".length)}`, { width: 10, height: 10, method: "stretch" }),
    get("alice", `${V1}/register/m.login.registration_token/validity`),
    get("alice", `${U}/uk.half-shot.msc2666/user/mutual_rooms`),
    get("alice", `${U}/uk.half-shot.msc2666/user/mutual_rooms`, { user_id: world.people["alice"]!.userId }),
  ];
}

function badBodies(world: World): Read[] {
  const lobby = world.rooms["lobby"]!;
  const at = `${C}/rooms/${enc(lobby.id)}`;
  const event = enc(lobby.events["edited make"]!);
  const alice = `${C}/user/${enc(world.people["alice"]!.userId)}`;
  const reads: Read[] = [];
  const bodies: [string, Json][] = [
    ["not JSON", "{nope"],
    ["a list", "[]"],
    ["empty", "{}"],
  ];
  const paths: [Method, string][] = [
    ["POST", `${C}/login`],
    ["POST", `${C}/refresh`],
    ["POST", `${C}/join/nonsense`],
    ["POST", `${at}/invite`],
    ["POST", `${at}/kick`],
    ["POST", `${at}/ban`],
    ["POST", `${at}/unban`],
    ["POST", `${at}/read_markers`],
    ["POST", `${at}/receipt/m.none/${event}`],
    ["PUT", `${at}/typing/${enc(world.people["alice"]!.userId)}`],
    ["PUT", `${at}/send/m.room.redaction/probe`],
    ["PUT", `${at}/state/m.room.member/nonsense`],
    ["PUT", `${at}/state/m.room.power_levels`],
    ["PUT", `${at}/state/m.room.create`],
    ["POST", `${at}/upgrade`],
    ["POST", `${C}/user_directory/search`],
    ["POST", `${C}/search`],
    ["POST", `${C}/keys/query`],
    ["POST", `${C}/keys/claim`],
    ["POST", `${C}/keys/signatures/upload`],
    ["PUT", `${C}/sendToDevice/m.x/probe`],
    ["PUT", `${C}/pushrules/global/content/probe`],
    ["PUT", `${C}/pushrules/global/none/probe`],
    ["PUT", `${C}/pushrules/global/override/.probe`],
    ["POST", `${C}/pushers/set`],
    ["PUT", `${alice}/account_data/m.push_rules`],
    ["PUT", `${alice}/account_data/m.fully_read`],
    ["PUT", `${C}/profile/${enc(world.people["alice"]!.userId)}/displayname`],
    ["PUT", `${C}/presence/${enc(world.people["alice"]!.userId)}/status`],
    ["PUT", `${C}/directory/room/${enc(lobby.alias!)}`],
    ["PUT", `${C}/directory/room/nonsense`],
    ["DELETE", `${C}/directory/room/${enc("#none:compat.test")}`],
    ["POST", `${C}/room_keys/version`],
    ["PUT", `${C}/room_keys/version/none`],
    ["PUT", `${C}/room_keys/keys`],
    ["PUT", `${C}/devices/NONE`],
    ["POST", `${C}/account/deactivate`],
    ["POST", `${C}/account/password`],
    ["POST", `${C}/account/3pid/delete`],
    ["POST", `${C}/account/3pid/unbind`],
    ["POST", `${C}/account/password/email/requestToken`],
    ["POST", `${C}/account/3pid/email/requestToken`],
    ["POST", `${C}/account/3pid/msisdn/requestToken`],
    ["POST", `${C}/register/email/requestToken`],
    ["POST", `${C}/account/3pid/add`],
    ["POST", `${C}/account/3pid/bind`],
    ["POST", `${V1}/login/get_token`],
    ["POST", `${U}/org.matrix.simplified_msc3575/sync`],
    ["PUT", `${U}/org.matrix.msc3814.v1/dehydrated_device`],
    ["POST", `${U}/org.matrix.msc4140/delayed_events/none`],
    ["POST", `${U}/org.matrix.msc4108/rendezvous`],
    ["POST", `${C}/createRoom/`],
    ["POST", `${V1}/appservice/compat-bridge/ping`],
  ];
  for (const [method, path] of paths)
    for (const [, body] of bodies) {
      // An empty object is fine for some: those change something.
      if (
        body === "{}" &&
        /typing|read_markers|createRoom|displayname|simplified|keys\/(query|claim|signatures)|power_levels|get_token|devices\/NONE|m\.x\/probe|refresh$/.test(
          path,
        )
      )
        continue;
      reads.push(ask("alice", method, path, { body }));
    }
  reads.push(
    ask(undefined, "POST", `${C}/login`, { body: { type: "m.login.none" } }),
    ask(undefined, "POST", `${C}/login`, { body: { type: "m.login.password", password: "x" } }),
    ask(undefined, "POST", `${C}/login`, { body: { type: "m.login.password", identifier: { type: "m.id.user", user: "alice" }, password: "wrong" } }),
    ask(undefined, "POST", `${C}/login`, { body: { type: "m.login.password", identifier: { type: "m.id.user", user: "nobody" }, password: "wrong" } }),
    ask(undefined, "POST", `${C}/login`, {
      body: { type: "m.login.password", identifier: { type: "m.id.user", user: "@alice:elsewhere.test" }, password: "wrong" },
    }),
    ask(undefined, "POST", `${C}/login`, {
      body: { type: "m.login.password", identifier: { type: "m.id.thirdparty", medium: "email", address: "x@y.z" }, password: "wrong" },
    }),
    ask(undefined, "POST", `${C}/login`, { body: { type: "m.login.password", identifier: { type: "m.id.phone" }, password: "wrong" } }),
    ask(undefined, "POST", `${C}/login`, { body: { type: "m.login.password", identifier: { type: "m.id.none" }, password: "wrong" } }),
    ask(undefined, "POST", `${C}/login`, { body: { type: "m.login.password", identifier: { type: "m.id.user", user: "alice" }, password: 7 } }),
    ask(undefined, "POST", `${C}/login`, { body: { type: "m.login.token", token: "none" } }),
    ask(undefined, "POST", `${C}/login`, { body: { type: "m.login.application_service", identifier: { type: "m.id.user", user: "alice" } } }),
    ask(undefined, "POST", `${C}/register`, { body: { username: "alice", password: "x", auth: { type: "m.login.dummy" } } }),
    ask(undefined, "POST", `${C}/register`, { body: { username: "with space", password: "x" } }),
    ask(undefined, "POST", `${C}/register`, { body: { username: "_bridge_x", password: "x" } }),
    ask(undefined, "POST", `${C}/register`, { body: { password: 7 } }),
    ask(undefined, "POST", `${C}/register`, { query: { kind: "none" }, body: {} }),
    ask(undefined, "POST", `${C}/refresh`, { body: { refresh_token: "none" } }),
    ask("alice", "POST", `${C}/createRoom`, { body: { room_version: "none" } }),
    ask("alice", "POST", `${C}/createRoom`, { body: { invite: ["nonsense"] } }),
    ask("alice", "POST", `${C}/createRoom`, { body: { room_alias_name: "lobby" } }),
    ask("alice", "POST", `${C}/createRoom`, { body: { room_alias_name: "a:b" } }),
    ask("alice", "POST", `${C}/createRoom`, { body: { preset: "none" } }),
    ask("alice", "POST", `${C}/createRoom`, { body: { initial_state: "none" } }),
    ask("alice", "POST", `${C}/createRoom`, { body: { power_level_content_override: { users: { nonsense: 1 } } } }),
    ask("alice", "POST", `${at}/invite`, { body: { user_id: "nonsense" } }),
    ask("alice", "POST", `${at}/invite`, { body: { user_id: world.people["bob"]!.userId } }),
    ask("bob", "POST", `${at}/kick`, { body: { user_id: world.people["alice"]!.userId } }),
    ask("bob", "POST", `${at}/ban`, { body: { user_id: world.people["alice"]!.userId } }),
    ask("alice", "POST", `${at}/unban`, { body: { user_id: world.people["bob"]!.userId } }),
    ask("alice", "POST", `${at}/kick`, { body: { user_id: "@none:compat.test" } }),
    ask("alice", "POST", `${C}/join/${enc("#none:compat.test")}`, { body: {} }),
    ask("alice", "POST", `${C}/join/${enc("!none:compat.test")}`, { body: {} }),
    ask("alice", "POST", `${C}/knock/${enc(lobby.id)}`, { body: {} }),
    ask("erin", "POST", `${C}/rooms/${enc(world.rooms["v11"]!.id)}/join`, { body: {} }),
    ask("alice", "PUT", `${at}/send/m.room.message/probe`, { body: '{"body":1e400}' }),
    ask("alice", "PUT", `${at}/send/m.room.message/probe`, { body: `{"body":"${"x".repeat(70_000)}"}` }),
    ask("alice", "PUT", `${C}/rooms/${enc(world.rooms["v11"]!.id)}/send/m.room.message/probe`, { body: '{"body":1.5}' }),
    ask("alice", "PUT", `${C}/rooms/${enc(world.rooms["v11"]!.id)}/send/m.room.message/probe`, { body: '{"body":9007199254740993}' }),
    ask("bob", "PUT", `${at}/state/m.room.name`, { body: { name: "mine" } }),
    ask("bob", "PUT", `${at}/state/m.room.power_levels`, { body: { users: { [world.people["bob"]!.userId]: 100 } } }),
    ask("alice", "PUT", `${at}/state/m.room.canonical_alias`, { body: { alias: "#none:compat.test" } }),
    ask("alice", "PUT", `${at}/state/m.room.canonical_alias`, { body: { alias: "nonsense" } }),
    ask("alice", "PUT", `${at}/state/x/${enc("@bob:compat.test")}`, { body: {} }),
    ask("alice", "PUT", `${at}/state/m.room.member/${enc(world.people["bob"]!.userId)}`, { body: { membership: "dance" } }),
    ask("alice", "PUT", `${at}/state/m.room.member/${enc(world.people["bob"]!.userId)}`, { body: { membership: "join" } }),
    ask("alice", "PUT", `${C}/pushrules/global/content/probe`, { body: { pattern: "x", actions: ["dance"] } }),
    ask("alice", "PUT", `${C}/pushrules/global/override/probe`, { body: { conditions: "x", actions: [] } }),
    ask("alice", "PUT", `${C}/pushrules/global/content/probe`, { query: { before: "none" }, body: { pattern: "x", actions: [] } }),
    ask("alice", "PUT", `${C}/pushrules/global/override/none/enabled`, { body: { enabled: true } }),
    ask("alice", "DELETE", `${C}/pushrules/global/override/none`),
    ask("alice", "DELETE", `${C}/room_keys/version/none`),
    ask("alice", "POST", `${C}/keys/upload`, { body: { device_keys: { user_id: "@bob:compat.test", device_id: "X" } } }),
    ask("alice", "POST", `${C}/keys/upload`, { body: { one_time_keys: { nonsense: 1 } } }),
    ask("alice", "POST", `${C}/keys/device_signing/upload`, { body: { master_key: { user_id: "@bob:compat.test", usage: ["master"], keys: {} } } }),
    ask("alice", "POST", `${C}/keys/query`, { body: { device_keys: { nonsense: [] } } }),
    ask("alice", "POST", `${C}/keys/query`, { body: { device_keys: { "@alice:compat.test": "X" } } }),
    ask("alice", "POST", `${C}/search`, { body: { search_categories: {} } }),
    ask("alice", "POST", `${C}/search`, { body: { search_categories: { room_events: {} } } }),
    ask("alice", "POST", `${C}/search`, { query: { next_batch: "nonsense" }, body: { search_categories: { room_events: { search_term: "fox" } } } }),
    ask("alice", "POST", `${C}/search`, { body: { search_categories: { room_events: { search_term: "fox", keys: ["none"] } } } }),
    ask("alice", "POST", `${C}/search`, { body: { search_categories: { room_events: { search_term: "fox", order_by: "none" } } } }),
    ask("alice", "POST", `${C}/publicRooms`, { body: { limit: "x" } }),
    ask("alice", "POST", `${C}/publicRooms`, { body: { filter: 7 } }),
    ask("alice", "POST", `${at}/receipt/m.read/${event}`, { body: { thread_id: 7 } }),
    ask("alice", "POST", `${at}/receipt/m.read/${event}`, { body: { thread_id: "" } }),
    ask("alice", "POST", `${at}/report/$none`, { body: { reason: "x" } }),
    ask("alice", "POST", `${at}/report/${event}`, { body: { reason: 7 } }),
    ask("alice", "POST", `${C}/users/nonsense/report`, { body: { reason: "x" } }),
    ask("alice", "POST", `${C}/rooms/!none:compat.test/report`, { body: { reason: "x" } }),
    ask("alice", "PUT", `${C}/profile/${enc(world.people["alice"]!.userId)}/displayname`, { body: { displayname: "x".repeat(300) } }),
    ask("alice", "PUT", `${C}/profile/${enc(world.people["alice"]!.userId)}/displayname`, { body: { displayname: 7 } }),
    ask("alice", "PUT", `${C}/profile/${enc(world.people["alice"]!.userId)}/avatar_url`, { body: { avatar_url: 7 } }),
    ask("alice", "PUT", `${C}/profile/${enc(world.people["alice"]!.userId)}/org.example.big`, { body: { "org.example.big": "x".repeat(70_000) } }),
    ask("alice", "PUT", `${C}/profile/${enc(world.people["alice"]!.userId)}/org.example.other`, { body: { "org.example.none": 1 } }),
    ask("alice", "PUT", `${C}/profile/${enc(world.people["alice"]!.userId)}/BAD`, { body: { BAD: 1 } }),
    ask("alice", "PUT", `${C}/presence/${enc(world.people["alice"]!.userId)}/status`, { body: { presence: "dancing" } }),
    ask("alice", "POST", `${alice}/filter`, { body: { room: { timeline: { limit: "x" } } } }),
    ask("alice", "POST", `${alice}/filter`, { body: { room: { rooms: ["nonsense"] } } }),
    ask("alice", "POST", `${C}/pushers/set`, { body: { kind: "http", app_id: "x", pushkey: "y" } }),
    ask("alice", "POST", `${C}/pushers/set`, {
      body: { kind: "http", app_id: "x", pushkey: "y", app_display_name: "", device_display_name: "", lang: "en", data: { url: "ftp://x/" } },
    }),
  );
  return reads;
}

function notTheirs(world: World): Read[] {
  const alice = enc(world.people["alice"]!.userId);
  const lobby = enc(world.rooms["lobby"]!.id);
  const waiting = enc(world.rooms["history joined"]!.id);
  return [
    ask("bob", "PUT", `${C}/profile/${alice}/displayname`, { body: { displayname: "Bob's" } }),
    ask("bob", "PUT", `${C}/presence/${alice}/status`, { body: { presence: "online" } }),
    ask("bob", "PUT", `${C}/user/${alice}/account_data/x`, { body: {} }),
    ask("bob", "PUT", `${C}/user/${alice}/rooms/${lobby}/tags/u.x`, { body: {} }),
    get("bob", `${C}/user/${alice}/rooms/${lobby}/tags`),
    get("bob", `${C}/user/${alice}/filter/0`),
    ask("bob", "POST", `${C}/user/${alice}/filter`, { body: {} }),
    ask("bob", "POST", `${C}/user/${alice}/openid/request_token`, { body: {} }),
    ask("bob", "PUT", `${C}/rooms/${lobby}/typing/${alice}`, { body: { typing: true } }),
    ask("guest", "POST", `${C}/createRoom`, { body: {} }),
    ask("guest", "PUT", `${C}/rooms/${lobby}/state/x`, { body: {} }),
    ask("guest", "POST", `${C}/keys/query`, { body: { device_keys: {} } }),
    get("guest", `${C}/pushers`),
    get("guest", `${C}/notifications`),
    ask("guest", "POST", `${C}/user_directory/search`, { body: { search_term: "a" } }),
    ask("kim", "PUT", `${C}/rooms/${waiting}/send/m.room.message/probe`, { body: { body: "x" } }),
    get("kim", `${C}/rooms/${waiting}/state`),
    ask("kim", "POST", `${C}/rooms/${waiting}/invite`, { body: { user_id: "@alice:compat.test" } }),
    ask("kim", "POST", `${C}/rooms/${waiting}/leave`, { body: {} }),
    ask("kim", "POST", `${C}/rooms/${waiting}/forget`, { body: {} }),
    ask("alice", "POST", `${C}/rooms/${lobby}/forget`, { body: {} }),
    ask("kim", "POST", `${C}/rooms/${waiting}/upgrade`, { body: { new_version: "11" } }),
    ask("judy", "POST", `${C}/createRoom`, { body: {} }),
    ask("olga", "POST", `${C}/createRoom`, { body: {} }),
    { ...get(undefined, `${C}/account/whoami`), headers: { authorization: "Bearer nonsense" } },
    { ...get(undefined, `${C}/account/whoami`), headers: { authorization: "Basic x" } },
    { ...get(undefined, `${C}/account/whoami`), query: { access_token: "nonsense" } },
    { ...get(undefined, `${C}/account/whoami`), headers: { authorization: "Bearer compat_as_token" } },
    { ...get(undefined, `${C}/account/whoami`), query: { user_id: "@_bridge_one:compat.test" }, headers: { authorization: "Bearer compat_as_token" } },
    { ...get(undefined, `${C}/account/whoami`), query: { user_id: "@alice:compat.test" }, headers: { authorization: "Bearer compat_as_token" } },
    { ...get(undefined, `${C}/account/whoami`), query: { user_id: "@_bridge_none:compat.test" }, headers: { authorization: "Bearer compat_as_token" } },
    {
      ...get(undefined, `${C}/account/whoami`),
      query: { user_id: "@_bridge_one:compat.test", device_id: "NONE" },
      headers: { authorization: "Bearer compat_as_token" },
    },
  ];
}

function adminProbes(world: World): Read[] {
  const alice = enc(world.people["alice"]!.userId);
  const lobby = enc(world.rooms["lobby"]!.id);
  const reads: Read[] = [];
  for (const path of [
    "v1/server_version",
    "v2/users/nonsense",
    `v2/users/${enc("@none:compat.test")}`,
    `v2/users/${enc("@x:elsewhere.test")}`,
    `v2/users/${alice}/devices/ALICE1`,
    `v2/users/${alice}/devices/NONE`,
    `v1/users/${enc("@none:compat.test")}/joined_rooms`,
    `v1/users/${enc("@none:compat.test")}/media`,
    `v1/users/${alice}/media`,
    `v1/users/${alice}/sent_invite_count`,
    `v1/users/${alice}/cumulative_joined_room_count`,
    "v1/rooms/nonsense",
    "v1/rooms/!none:compat.test",
    "v1/rooms/!none:compat.test/members",
    "v1/rooms/!none:compat.test/state",
    "v1/rooms/!none:compat.test/block",
    "v1/rooms/!none:compat.test/forward_extremities",
    `v1/rooms/${lobby}/timestamp_to_event?ts=1&dir=f`,
    `v1/rooms/${lobby}/context/${enc(world.rooms["lobby"]!.events["edited make"]!)}?limit=4`,
    `v1/rooms/${lobby}/messages?dir=x`,
    "v2/rooms/delete_status/none",
    `v2/rooms/${lobby}/delete_status`,
    "v1/purge_history_status/none",
    "v1/event_reports/999",
    "v1/event_reports/x",
    "v1/event_reports?limit=-1",
    "v1/user_reports",
    "v1/user_reports/1",
    "v1/room_reports",
    "v1/federation/destinations/none.test",
    "v1/federation/destinations/none.test/rooms",
    "v1/federation/destinations?order_by=none",
    "v1/registration_tokens/none",
    "v1/registration_tokens?valid=perhaps",
    "v1/statistics/users/media?order_by=none",
    "v1/statistics/users/media?limit=-1",
    "v1/statistics/database/rooms",
    "v1/scheduled_tasks?action_name=none",
    "v1/fetch_event/$none",
    "v1/threepid/email/users/none@example.org",
    "v1/auth_providers/none/users/none",
    "v1/username_available?username=12345",
    "v1/username_available",
    "v2/users?limit=-1",
    "v2/users?order_by=none",
    "v2/users?from=x",
    "v3/users?not_user_type=bot&limit=3",
    "v1/rooms?order_by=none",
    "v1/rooms?dir=x",
    "v1/rooms?search_term=",
    "v1/rooms?public_rooms=true&empty_rooms=false",
    "v1/whois/nonsense",
    "v1/account_data/x",
    `v1/media/compat.test/${world.media[0]!.uri.split("/").at(-1)}`,
    "v1/media/compat.test/none",
    "v1/nothing",
  ])
    reads.push(get("admin", `${A}/${path}`));
  for (const [method, path] of [
    ["PUT", `v2/users/${alice}`],
    ["POST", `v1/deactivate/${alice}`],
    ["POST", `v1/reset_password/${alice}`],
    ["PUT", `v1/users/${alice}/admin`],
    ["POST", `v1/users/${alice}/login`],
    ["DELETE", `v1/rooms/${lobby}`],
    ["DELETE", `v2/rooms/${lobby}`],
    ["PUT", `v1/rooms/${lobby}/block`],
    ["POST", `v1/join/${lobby}`],
    ["POST", `v1/send_server_notice`],
    ["POST", `v1/registration_tokens/new`],
    ["POST", `v1/purge_history/${lobby}`],
    ["POST", `v1/background_updates/start_job`],
    ["POST", `v1/account_validity/validity`],
    ["POST", `v1/user/${alice}/redact`],
    ["POST", `v1/rooms/${lobby}/make_room_admin`],
  ] as const) {
    reads.push(ask("admin", method, `${A}/${path}`, { body: "[]" }), ask("admin", method, `${A}/${path}`, { body: "{nope" }));
    reads.push(ask("alice", method, `${A}/${path}`, { body: {} }), ask(undefined, method, `${A}/${path}`, { body: {} }));
  }
  return reads;
}
