import { A, C, enc, U, V1, type Json } from "./harness/client.ts";
import { termsQuery } from "./fixtures/accounts.ts";
import { slidingRequest } from "./fixtures/traffic.ts";
import type { World } from "./fixtures/world.ts";

/** One read: who asks (nobody when undefined) for what. Reads change nothing that another read answers. */
export interface Read {
  who: string | undefined;
  device?: number;
  method: "GET" | "POST" | "PUT" | "DELETE";
  path: string;
  query?: Record<string, string | number | readonly string[]>;
  body?: Json;
  headers?: Record<string, string>;
}

/** A name for the read, the same on every leg. */
export function nameOf(read: Read): string {
  const query = Object.entries(read.query ?? {}).flatMap(([key, value]) => (Array.isArray(value) ? value : [value]).map((each) => `${key}=${each}`));
  const who = `${read.who ?? "nobody"}${read.device ? `/${read.device}` : ""}`;
  return `${who} ${read.method} ${decodeURIComponent(read.path)}${query.length > 0 ? `?${query.join("&")}` : ""}${read.body === undefined ? "" : ` ${JSON.stringify(read.body).slice(0, 160)}`}`;
}

const SMALL = '{"room":{"timeline":{"limit":10}}}';

/** Every read of the world: what each person can see through each endpoint, and what they must not see. */
export function allReads(world: World): Read[] {
  return [
    ...general(world),
    ...syncs(world),
    ...Object.keys(world.rooms).flatMap((name) => roomReads(world, name)),
    ...personal(world),
    ...keys(world),
    ...mediaReads(world),
    ...admin(world),
    ...accounts(world),
  ];
}

function get(who: string | undefined, path: string, query?: Read["query"], device?: number): Read {
  return { who, method: "GET", path, ...(query === undefined ? {} : { query }), ...(device === undefined ? {} : { device }) };
}

function post(who: string | undefined, path: string, body: Json, query?: Read["query"]): Read {
  return { who, method: "POST", path, body, ...(query === undefined ? {} : { query }) };
}

function general(world: World): Read[] {
  return [
    get(undefined, "/_matrix/client/versions"),
    get("alice", "/_matrix/client/versions"),
    get(undefined, `${C}/login`),
    get("alice", `${C}/capabilities`),
    get(undefined, `${C}/register/available`, { username: "alice" }),
    get(undefined, `${C}/register/available`, { username: "free-name" }),
    get(undefined, `${V1}/register/m.login.registration_token/validity`, { token: "come.in" }),
    get(undefined, `${V1}/register/m.login.registration_token/validity`, { token: "nope" }),
    get(undefined, `${C}/publicRooms`, { limit: 20 }),
    get("alice", `${C}/publicRooms`),
    post("bob", `${C}/publicRooms`, { limit: 5, filter: { generic_search_term: "lobby" } }),
    post("bob", `${C}/publicRooms`, { filter: { room_types: ["m.space"] } }),
    get(undefined, `${C}/directory/room/${enc(`#lobby:${world.serverName}`)}`),
    get("alice", `${C}/directory/room/${enc(`#_bridge_lobby:${world.serverName}`)}`),
    get("alice", `${C}/directory/room/${enc(`#none:${world.serverName}`)}`),
    get("alice", `${C}/thirdparty/protocols`),
    get("alice", `${C}/voip/turnServer`),
    get("alice", "/_matrix/client/v1/media/config"),
    get("alice", "/_matrix/media/v3/config"),
    get(undefined, `${C}/sync`),
    get(undefined, `${C}/account/whoami`),
    get("frank", `${C}/account/whoami`),
    get("judy", `${C}/account/whoami`),
    get("guest", `${C}/account/whoami`),
    get("guest", `${C}/devices`),
    get("alice", "/_matrix/client/v3/nowhere"),
    post("alice", `${C}/account/whoami`, {}),
    get(undefined, "/_matrix/federation/v1/version"),
    get(undefined, "/_matrix/key/v2/server"),
    get(undefined, "/.well-known/matrix/client"),
  ];
}

function syncs(world: World): Read[] {
  const reads: Read[] = [];
  for (const person of ["alice", "bob", "carol", "dave", "erin", "hana", "ivan", "kim", "guest", "judy", "frank"]) {
    reads.push(get(person, `${C}/sync`, { filter: SMALL, set_presence: "offline" }));
    reads.push(get(person, `${C}/joined_rooms`));
  }
  reads.push(get("alice", `${C}/sync`, { set_presence: "offline" }, 1));
  // Not by its stable name, which the specification has and Synapse ignores.
  reads.push(get("alice", `${C}/sync`, { set_presence: "offline", "org.matrix.msc4222.use_state_after": "true", filter: SMALL }));
  reads.push(
    get("alice", `${C}/sync`, {
      set_presence: "offline",
      filter: '{"room":{"timeline":{"limit":20,"unread_thread_notifications":true},"state":{"lazy_load_members":true,"include_redundant_members":true}}}',
    }),
  );
  for (const { person, id } of world.filters) reads.push(get(person, `${C}/sync`, { filter: id, set_presence: "offline" }));
  for (const { person, device, token } of world.since) {
    reads.push(get(person, `${C}/sync`, { since: token, filter: SMALL, set_presence: "offline", timeout: 0 }, device));
    reads.push(
      get(
        person,
        `${C}/sync`,
        {
          since: token,
          filter: '{"room":{"include_leave":true,"timeline":{"limit":3},"state":{"lazy_load_members":true,"include_redundant_members":true}}}',
          set_presence: "offline",
          timeout: 0,
        },
        device,
      ),
    );
  }
  const first = world.since[0]!;
  reads.push(get(first.person, `${C}/sync`, { since: first.token, full_state: "true", filter: SMALL, set_presence: "offline", timeout: 0 }, first.device));
  // The shorter tokens of Synapse before 1.159.
  const short = first.token.split("_").slice(0, 13).join("_");
  reads.push(get(first.person, `${C}/sync`, { since: short, filter: SMALL, set_presence: "offline", timeout: 0 }, first.device));
  for (const person of ["alice", "bob", "erin"]) {
    reads.push(post(person, `${U}/org.matrix.simplified_msc3575/sync`, slidingRequest("")));
    reads.push(
      post(person, `${U}/org.matrix.simplified_msc3575/sync`, {
        lists: {
          dms: { ranges: [[0, 9]], filters: { is_dm: true }, timeline_limit: 1, required_state: [["*", "*"]] },
          invites: { ranges: [[0, 9]], filters: { is_invite: true }, timeline_limit: 1, required_state: [] },
          spaces: { ranges: [[0, 9]], filters: { room_types: ["m.space"] }, timeline_limit: 0, required_state: [["m.space.child", "*"]] },
        },
      }),
    );
    reads.push(
      post(person, `${U}/org.matrix.simplified_msc3575/sync`, {
        room_subscriptions: { [world.rooms["lobby"]!.id]: { timeline_limit: 20, required_state: [["m.room.member", "*"]] } },
      }),
    );
  }
  return reads;
}

function roomReads(world: World, name: string): Read[] {
  const room = world.rooms[name]!;
  const at = `${C}/rooms/${enc(room.id)}`;
  const reads: Read[] = [];
  const inside = room.members[0] ?? room.creator;
  const people = [...new Set([inside, room.members[1], "erin"])].filter((each) => each !== undefined);
  for (const person of people) {
    reads.push(get(person, `${at}/state`), get(person, `${at}/messages`, { dir: "b", limit: 30 }), get(person, `${at}/members`));
  }
  reads.push(
    get(undefined, `${at}/messages`, { dir: "b" }),
    get(inside, `${at}/messages`, { dir: "f", limit: 12 }),
    get(inside, `${at}/messages`, { dir: "b", limit: 6, filter: '{"types":["m.room.message"],"lazy_load_members":true}' }),
    get(inside, `${at}/members`, { membership: "join" }),
    get(inside, `${at}/members`, { not_membership: "join" }),
    get(inside, `${at}/joined_members`),
    get(inside, `${at}/aliases`),
    get(inside, `${at}/state/m.room.name`),
    get(inside, `${at}/state/m.room.create`),
    get(inside, `${at}/state/m.room.power_levels/`),
    get(inside, `${at}/state/m.room.topic`, { format: "event" }),
    get("dave", `${at}/state/m.room.name`),
    get(inside, `${at}/initialSync`, { limit: 5 }),
    get(inside, `${V1}/rooms/${enc(room.id)}/threads`),
    get(inside, `${V1}/rooms/${enc(room.id)}/threads`, { include: "participated" }),
    get(inside, `${V1}/rooms/${enc(room.id)}/hierarchy`, { limit: 20 }),
    get("erin", `${V1}/rooms/${enc(room.id)}/hierarchy`),
    get(inside, `${V1}/rooms/${enc(room.id)}/timestamp_to_event`, { ts: 1, dir: "f" }),
    get(inside, `${V1}/rooms/${enc(room.id)}/timestamp_to_event`, { ts: 4102444800000, dir: "b" }),
    get(undefined, `${V1}/room_summary/${enc(room.id)}`),
    get("erin", `${V1}/room_summary/${enc(room.id)}`),
    get(undefined, `${C}/directory/list/room/${enc(room.id)}`),
    get(inside, `${C}/user/${enc(world.people[inside]!.userId)}/rooms/${enc(room.id)}/tags`),
    get("erin", `${at}/joined_members`),
  );
  for (const event of Object.values(room.events)) {
    for (const person of new Set([inside, "erin"])) reads.push(get(person, `${at}/event/${enc(event)}`));
    reads.push(get(inside, `${at}/context/${enc(event)}`, { limit: 4 }));
    reads.push(get(inside, `${V1}/rooms/${enc(room.id)}/relations/${enc(event)}`));
  }
  for (const [what, event] of Object.entries(room.events)) {
    if (!what.startsWith("root")) continue;
    for (const kind of ["m.thread", "m.annotation", "m.annotation/m.reaction", "m.reference"])
      reads.push(get("bob", `${V1}/rooms/${enc(room.id)}/relations/${enc(event)}/${kind}`, { limit: 2 }));
    reads.push(get("bob", `${V1}/rooms/${enc(room.id)}/relations/${enc(event)}`, { recurse: "true", dir: "f" }));
    reads.push(get("carol", `${U}/io.element.msc4306/rooms/${enc(room.id)}/thread/${enc(event)}/subscription`));
  }
  for (const page of world.pages.filter((each) => each.room === name))
    reads.push(
      get(page.person, `${at}/messages`, { from: page.token, dir: page.dir, limit: 8 }),
      get(page.person, `${at}/members`, { at: world.since[0]!.token }),
    );
  return reads;
}

function personal(world: World): Read[] {
  const reads: Read[] = [];
  for (const [name, person] of Object.entries(world.people)) {
    const id = enc(person.userId);
    reads.push(get(undefined, `${C}/profile/${id}`), get("alice", `${C}/profile/${id}/displayname`), get("bob", `${C}/presence/${id}/status`));
    if (!["alice", "bob", "carol", "hana"].includes(name)) continue;
    for (let device = 0; device < person.sessions.length; device++) reads.push(get(name, `${C}/account/whoami`, undefined, device));
    reads.push(
      get(name, `${C}/devices`),
      get(name, `${C}/devices/${enc(person.sessions[0]!.deviceId)}`),
      get(name, `${C}/devices/NOPE`),
      get(name, `${C}/account/3pid`),
      get(name, `${C}/pushers`),
      get(name, `${C}/pushrules/`),
      get(name, `${C}/pushrules/global/content/fox`),
      get(name, `${C}/pushrules/global/override/.m.rule.master/enabled`),
      get(name, `${C}/notifications`, { limit: 500 }),
      get(name, `${C}/notifications`, { limit: 500, only: "highlight" }),
      get(name, `${C}/user/${id}/account_data/org.example.settings`),
      get(name, `${C}/user/${id}/account_data/org.example.deleted`),
      get(name, `${C}/user/${id}/account_data/m.push_rules`),
      get(name, `${C}/user/${id}/rooms/${enc(world.rooms["lobby"]!.id)}/account_data/org.example.room`),
      get(name, `${C}/user/${id}/rooms/${enc(world.rooms["lobby"]!.id)}/tags`),
      get(name, `${C}/room_keys/version`),
      get(name, `${U}/org.matrix.msc3814.v1/dehydrated_device`),
      get(name, `${U}/uk.half-shot.msc2666/user/mutual_rooms`, { user_id: world.people["dave"]!.userId }),
      post(name, `${C}/user_directory/search`, { search_term: "dave" }),
      post(name, `${C}/user_directory/search`, { search_term: "late" }),
      post(name, `${C}/search`, {
        search_categories: {
          room_events: { search_term: "fox", order_by: "recent", event_context: { before_limit: 1, after_limit: 1, include_profile: true } },
        },
      }),
      post(name, `${C}/search`, {
        search_categories: {
          room_events: {
            search_term: "thread",
            order_by: "recent",
            filter: { limit: 3 },
            include_state: true,
            groupings: { group_by: [{ key: "room_id" }, { key: "sender" }] },
          },
        },
      }),
      get("dave", `${C}/user/${id}/account_data/org.example.settings`),
    );
  }
  for (const { person, id } of world.filters) reads.push(get(person, `${C}/user/${enc(world.people[person]!.userId)}/filter/${id}`));
  reads.push(
    get("alice", `${C}/profile/${enc(world.people["alice"]!.userId)}/m.tz`),
    get("alice", `${C}/profile/${enc(world.people["alice"]!.userId)}/none`),
    get("alice", `${C}/profile/${enc("@ghost:compat.test")}`),
  );
  reads.push(get("alice", `${C}/user/${enc(world.people["alice"]!.userId)}/filter/999`));
  return reads;
}

function keys(world: World): Read[] {
  const id = (name: string): string => world.people[name]!.userId;
  const everybody = Object.fromEntries(Object.values(world.people).map((person) => [person.userId, []]));
  const reads = [
    post("alice", `${C}/keys/query`, { device_keys: everybody }),
    post("bob", `${C}/keys/query`, { device_keys: { [id("alice")]: ["ALICE1"], [id("bob")]: [], "@ghost:compat.test": [] } }),
    post("dave", `${C}/keys/query`, { device_keys: { [id("alice")]: [] } }),
  ];
  for (const { person, token } of world.since) {
    // Without `to` this asks for the changes until now.
    reads.push(get(person, `${C}/keys/changes`, { from: token, to: world.since.findLast((each) => each.person === person)!.token }));
  }
  for (const { person, version } of world.backups) {
    reads.push(
      get(person, `${C}/room_keys/version/${version}`),
      get(person, `${C}/room_keys/keys`, { version }),
      get(person, `${C}/room_keys/keys/${enc(world.rooms["direct"]!.id)}`, { version }),
      get(person, `${C}/room_keys/keys/${enc(world.rooms["direct"]!.id)}/two`, { version }),
      get(person, `${C}/room_keys/keys`, { version: "1" }),
    );
  }
  return reads;
}

function accounts(world: World): Read[] {
  const terms = termsQuery("alice");
  const reads = [
    get(undefined, "/_matrix/consent", terms),
    get(undefined, "/_matrix/consent", termsQuery("bob")),
    get(undefined, "/_matrix/consent", { ...terms, h: "0".repeat(64) }),
    get("olga", `${C}/account/whoami`),
    get("olga", `${C}/sync`),
    get("pat", `${C}/account/whoami`),
    get("nora", `${U}/org.matrix.msc4140/delayed_events`),
    get("alice", `${U}/org.matrix.msc4140/delayed_events`),
  ];
  const { dehydrated, leg } = world;
  if (dehydrated !== undefined) reads.push(post("alice", `${U}/org.matrix.msc3814.v1/dehydrated_device/${dehydrated}/events`, {}));
  const paths = ["v1/threepid/msisdn/users/49123456781", `v1/threepid/email/users/kim${leg}@example.org`, "v1/auth_providers/oidc-second/users/kim"];
  for (const name of ["nora", "olga", "pat", "hana"])
    paths.push(`v2/users/${enc(world.people[name]!.userId)}`, `v1/users/${enc(world.people[name]!.userId)}/pushers`);
  for (const path of paths) reads.push(get("admin", `${A}/${path}`));
  for (const [what, event] of Object.entries(world.rooms["lobby"]!.events))
    if (what.startsWith("root")) reads.push(get("dave", `${U}/io.element.msc4306/rooms/${enc(world.rooms["lobby"]!.id)}/thread/${enc(event)}/subscription`));
  return reads;
}

function mediaReads(world: World): Read[] {
  const reads: Read[] = [];
  for (const { uri } of world.media) {
    const path = uri.slice("mxc://".length);
    reads.push(
      get("bob", `${V1}/media/download/${path}`),
      get("bob", `${V1}/media/download/${path}/other%20name.txt`),
      get(undefined, `/_matrix/media/v3/download/${path}`),
      get(undefined, `${V1}/media/download/${path}`),
    );
    if (/png|note/.test(world.media.find((each) => each.uri === uri)!.name)) {
      for (const [width, height, method] of [
        [32, 32, "crop"],
        [96, 96, "crop"],
        [320, 240, "scale"],
        [640, 480, "scale"],
        [800, 600, "scale"],
        [100, 50, "crop"],
      ] as const)
        reads.push(get("bob", `${V1}/media/thumbnail/${path}`, { width, height, method }));
    }
  }
  reads.push(get("bob", `${V1}/media/download/compat.test/none`), {
    ...get("bob", `${V1}/media/download/${world.media[1]!.uri.slice("mxc://".length)}`),
    headers: { range: "bytes=2-5" },
  });
  return reads;
}

function admin(world: World): Read[] {
  const reads: Read[] = [];
  const paths: [string, Read["query"]?][] = [
    ["v2/users", { limit: 100 }],
    ["v2/users", { limit: 3, from: 2, order_by: "creation_ts", dir: "b" }],
    ["v3/users", { deactivated: "true", guests: "false" }],
    ["v2/users", { name: "ali" }],
    ["v1/rooms", { limit: 100 }],
    ["v1/rooms", { search_term: "lobby" }],
    ["v1/rooms", { order_by: "joined_members", limit: 5 }],
    ["v1/event_reports", { dir: "f" }],
    ["v1/event_reports/1"],
    ["v1/registration_tokens"],
    ["v1/registration_tokens/come.in"],
    ["v1/statistics/users/media"],
    ["v1/background_updates/status"],
    ["v1/background_updates/enabled"],
    ["v1/federation/destinations"],
    ["v1/username_available", { username: "alice" }],
    ["v1/threepid/email/users/kim@example.org"],
    // An id that was taken away Synapse goes on finding until it is restarted.
    [`v1/auth_providers/oidc-example/users/kim-${Math.max(world.leg, 1)}`],
  ];
  for (const [path, query] of paths) reads.push(get("admin", `${A}/${path}`, query));
  reads.push(get("alice", `${A}/v2/users`), get(undefined, `${A}/v1/rooms`));
  for (const name of ["alice", "bob", "frank", "kim", "guest", "judy", "ivan"]) {
    const id = enc(world.people[name]!.userId);
    for (const path of [
      `v2/users/${id}`,
      `v2/users/${id}/devices`,
      `v1/users/${id}/joined_rooms`,
      `v1/users/${id}/memberships`,
      `v1/users/${id}/pushers`,
      `v1/users/${id}/media`,
      `v1/users/${id}/accountdata`,
      `v1/users/${id}/override_ratelimit`,
      `v1/experimental_features/${id}`,
      `v1/whois/${id}`,
      `v1/users/${id}/admin`,
    ])
      reads.push(get("admin", `${A}/${path}`));
  }
  for (const name of ["lobby", "v1", "v12", "abandoned", "space", "direct"].filter((each) => each in world.rooms)) {
    const id = enc(world.rooms[name]!.id);
    for (const path of [
      `v1/rooms/${id}`,
      `v1/rooms/${id}/members`,
      `v1/rooms/${id}/state`,
      `v1/rooms/${id}/forward_extremities`,
      `v1/rooms/${id}/block`,
      `v1/rooms/${id}/messages?dir=b&limit=5`,
      `v1/room/${id}/media`,
      `v1/rooms/${id}/hierarchy`,
    ])
      reads.push(get("admin", `${A}/${path}`));
  }
  reads.push(get("admin", `${A}/v1/fetch_event/${enc(world.rooms["v11"]!.events["hello"]!)}`));
  return reads;
}
