import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "mocha";
import type { JsonObject } from "../../lib/json.ts";
import { silentLogger } from "../../lib/log.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { eventually } from "../../testing/eventually.ts";
import { testModule } from "../../testing/modules.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import type { ModuleApi } from "./api.ts";
import { ThirdPartyRules, type ThirdPartyRulesCallbacks } from "./callbacks/third-party-rules.ts";
import type { ModuleEvent, ModuleState } from "./events.ts";

const V3 = "/_matrix/client/v3";

describe("third-party rules modules", () => {
  let server: TestServer;
  let alice: TestUser;
  let admin: TestUser;
  let api: ModuleApi;
  let rules: ThirdPartyRulesCallbacks = {};

  before(async function () {
    this.timeout(20_000);
    const module = testModule((_config, given) => {
      api = given;
      const names = [
        "check_event_allowed",
        "on_create_room",
        "check_visibility_can_be_modified",
        "on_new_event",
        "check_can_shutdown_room",
        "check_can_deactivate_user",
        "on_profile_update",
        "on_user_deactivation_status_changed",
        "on_add_user_third_party_identifier",
        "on_remove_user_third_party_identifier",
        "on_threepid_bind",
      ] as const;
      const passes: Record<string, unknown> = { check_event_allowed: [true] };
      const callbacks = names.map((name) => [
        name,
        (...args: unknown[]) => (rules[name] as ((...args: unknown[]) => unknown) | undefined)?.(...args) ?? passes[name],
      ]);
      api.register_third_party_rules_callbacks(Object.fromEntries(callbacks) as ThirdPartyRulesCallbacks);
    });
    server = await startTestServer({ config: { modules: [{ module }], room_list_publication_rules: [{ action: "allow" }] } });
    [alice, admin] = await Promise.all([server.register("alice"), server.register("admin", { admin: true })]);
  });
  after(() => server?.close());
  beforeEach(() => (rules = {}));

  const room = (body: object = {}): Promise<string> => server.as(alice).createRoom(body);
  let txn = 0;
  const send = (roomId: string, body: string) => server.as(alice).put(`${V3}/rooms/${roomId}/send/m.room.message/${txn++}`, { msgtype: "m.text", body });
  const event = async (roomId: string, id: string): Promise<JsonObject> =>
    (
      await server
        .as(alice)
        .get(`${V3}/rooms/${roomId}/event/${encodeURIComponent(id)}`)
        .expect(200)
    ).body as JsonObject;

  it("forbid events, by the state before them", async () => {
    const roomId = await room({ name: "Quiet" });
    rules.check_event_allowed = (given: ModuleEvent, state: ModuleState) => [
      !(
        given.type === "m.room.message" &&
        state.get("m.room.name")?.content["name"] === "Quiet" &&
        state.get("m.room.member", given.sender)?.membership === "join"
      ),
    ];
    assert.deepEqual((await send(roomId, "psst").expect(403)).body, { errcode: "M_FORBIDDEN", error: "This event is not allowed in this context" });
    await server.as(alice).put(`${V3}/rooms/${roomId}/state/m.room.name/`, { name: "Loud" }).expect(200);
    await send(roomId, "psst").expect(200);
  });

  it("put another event in the place of one", async () => {
    const roomId = await room();
    rules.check_event_allowed = (given) => {
      const replacement = given.get_dict();
      replacement["content"] = { ...given.content, body: "[censored]" };
      return [true, replacement];
    };
    const { event_id: id } = (await send(roomId, "a bad word").expect(200)).body as { event_id: string };
    assert.deepEqual((await event(roomId, id))["content"], { msgtype: "m.text", body: "[censored]" });
  });

  it("may hand an event back as it was, whatever numbers it holds", async () => {
    const roomId = await server.as(alice).post(`${V3}/createRoom`, { room_version: "5" }).expect(200);
    rules.check_event_allowed = (given) => [true, given.get_dict()];
    const text = '{"msgtype":"m.text","body":"x","float":1.0,"large":12345678901234567890}';
    const path = `${V3}/rooms/${roomId.body.room_id as string}/send/m.room.message/${txn++}`;
    const { event_id: id } = (await server.as(alice).request("put", path).set("Content-Type", "application/json").send(text).expect(200)).body as {
      event_id: string;
    };
    const got = await server
      .as(alice)
      .get(`${V3}/rooms/${roomId.body.room_id as string}/event/${encodeURIComponent(id)}`)
      .expect(200);
    assert.ok(got.text.includes('"float":1.0') && got.text.includes('"large":12345678901234567890'), got.text);
  });

  it("cannot change type, state key or sender's server", async () => {
    const roomId = await room();
    for (const change of [{ type: "org.test.other" }, { state_key: "" }, { sender: "@alice:elsewhere" }, { content: "text" }]) {
      rules.check_event_allowed = (given) => [true, { ...given.get_dict(), ...change }];
      await send(roomId, "a word").expect(500);
    }
    rules = {};
    await send(roomId, "the room goes on").expect(200);
  });

  it("refuse with an error of their own, and with 500 where they fail", async () => {
    const roomId = await room();
    rules.check_event_allowed = () => {
      throw new api.errors.MatrixError(418, "ORG.TEST.TEAPOT", "No");
    };
    assert.deepEqual((await send(roomId, "x").expect(418)).body, { errcode: "ORG.TEST.TEAPOT", error: "No" });
    rules.check_event_allowed = () => {
      throw new Error("broken");
    };
    await send(roomId, "x").expect(500);
  });

  it("judge memberships and the first events of rooms, too", async () => {
    const types: string[] = [];
    rules.check_event_allowed = (given) => {
      types.push(given.membership === undefined ? given.type : `${given.type} ${given.membership}`);
      return [true];
    };
    const roomId = await room({ preset: "public_chat" });
    await server.as(admin).post(`${V3}/join/${roomId}`).expect(200);
    for (const type of ["m.room.create", "m.room.member join", "m.room.power_levels", "m.room.join_rules"]) assert.ok(types.includes(type), type);
    assert.equal(types.filter((type) => type === "m.room.member join").length, 2);
  });

  it("are told that they would wait for themselves, and get by with background work", async () => {
    const roomId = await room();
    const problems: unknown[] = [];
    rules.check_event_allowed = async (given) => {
      if (given.content["body"] !== "ping") return [true];
      const pong = () =>
        api.create_and_send_event_into_room({ type: "m.room.message", room_id: roomId, sender: alice.userId, content: { msgtype: "m.text", body: "pong" } });
      await pong().catch((error: unknown) => problems.push(error));
      api.run_as_background_process("pong", pong);
      return [true];
    };
    await send(roomId, "ping").expect(200);
    assert.match(String(problems[0]), /cannot wait for another event there/);
    await eventually("the answer", async () => {
      const { chunk } = (await server.as(alice).get(`${V3}/rooms/${roomId}/messages?dir=b&limit=5`).expect(200)).body as {
        chunk: { content: { body?: string } }[];
      };
      return chunk.some(({ content }) => content.body === "pong");
    });
  });

  it("change and refuse requests for rooms", async () => {
    rules.on_create_room = (requester, config, isAdmin) => {
      if (config["name"] === "forbidden") throw new Error("no");
      if (config["name"] === "told") throw new api.errors.MatrixError(403, "M_FORBIDDEN", "Ask first");
      config["topic"] = `for ${requester.userId}, ${isAdmin ? "an admin" : "no admin"}`;
    };
    const roomId = await room();
    assert.equal((await server.as(alice).get(`${V3}/rooms/${roomId}/state/m.room.topic`).expect(200)).body.topic, "for @alice:test, no admin");
    const refused = async (name: string): Promise<string> => (await server.as(alice).post(`${V3}/createRoom`, { name }).expect(403)).body.error as string;
    assert.equal(await refused("forbidden"), "Room creation forbidden with these parameters");
    assert.equal(await refused("told"), "Ask first");
  });

  it("keep rooms out of the directory", async () => {
    const roomId = await room();
    rules.check_visibility_can_be_modified = (_roomId, state, visibility) => !(visibility === "public" && state.get("m.room.create") !== undefined);
    assert.equal(
      (await server.as(alice).put(`${V3}/directory/list/room/${roomId}`, { visibility: "public" }).expect(403)).body.error,
      "Not allowed to publish room",
    );
    rules.check_visibility_can_be_modified = (_roomId, _state, visibility) => visibility !== "public";
    assert.equal((await server.as(alice).post(`${V3}/createRoom`, { visibility: "public" }).expect(403)).body.error, "Room visibility value not allowed.");
    rules.check_visibility_can_be_modified = () => {
      throw new Error("a module that fails has no say");
    };
    await server.as(alice).put(`${V3}/directory/list/room/${roomId}`, { visibility: "public" }).expect(200);
  });

  it("hear of new events with the state after them", async () => {
    const roomId = await room();
    const heard: [string, number, boolean][] = [];
    rules.on_new_event = (given, state) => {
      heard.push([given.event_id, given.internal_metadata.stream_ordering ?? 0, state.get("m.room.create") !== undefined]);
      throw new Error("nobody minds");
    };
    const { event_id: id } = (await send(roomId, "news").expect(200)).body as { event_id: string };
    await eventually("word of the event", () => heard.some(([eventId]) => eventId === id));
    assert.deepEqual(heard.find(([eventId]) => eventId === id)?.slice(2), [true]);
  });

  it("keep rooms and accounts alive", async () => {
    const roomId = await room();
    rules.check_can_shutdown_room = (userId, id) => !(userId === admin.userId && id === roomId);
    for (const version of ["v1", "v2"])
      assert.equal((await server.as(admin).delete(`/_synapse/admin/${version}/rooms/${roomId}`).expect(403)).body.error, "Shutdown of this room is forbidden");
    const told: unknown[][] = [];
    rules = { check_can_deactivate_user: (userId, byAdmin) => !(userId === "@victim:test" && byAdmin) };
    await server.register("victim");
    assert.equal((await server.as(admin).post("/_synapse/admin/v1/deactivate/@victim:test").expect(403)).body.error, "Deactivation of this user is forbidden");
    rules = { on_user_deactivation_status_changed: (...args) => void told.push(args), on_profile_update: (...args) => void told.push(args) };
    await server.as(admin).post("/_synapse/admin/v1/deactivate/@victim:test", { erase: true }).expect(200);
    await server.as(admin).put("/_synapse/admin/v2/users/@victim:test", { deactivated: false, password: "a new password" }).expect(200);
    assert.deepEqual(told, [
      ["@victim:test", { display_name: null, avatar_url: null }, true, true],
      ["@victim:test", true, true],
      ["@victim:test", false, true],
    ]);
  });

  it("hear of profiles and addresses", async () => {
    const told: unknown[][] = [];
    const note =
      (name: string) =>
      (...args: unknown[]): void =>
        void told.push([name, ...args]);
    rules = {
      on_profile_update: note("profile"),
      on_add_user_third_party_identifier: note("added"),
      on_threepid_bind: note("bound"),
      on_remove_user_third_party_identifier: note("removed"),
    };
    await server.as(alice).put(`${V3}/profile/@alice:test/displayname`, { displayname: "Alice A." }).expect(200);
    await server
      .as(admin)
      .put("/_synapse/admin/v2/users/@alice:test", { threepids: [{ medium: "email", address: "Alice@Example.org" }] })
      .expect(200);
    await server.as(admin).put("/_synapse/admin/v2/users/@alice:test", { threepids: [] }).expect(200);
    assert.deepEqual(told, [
      ["profile", "@alice:test", { display_name: "Alice A.", avatar_url: null }, false, false],
      ["added", "@alice:test", "email", "alice@example.org"],
      ["bound", "@alice:test", "email", "alice@example.org"],
      ["removed", "@alice:test", "email", "alice@example.org"],
    ]);
  });
});

describe("callbacks that take the event alone", () => {
  it("cost no reading of the room's state", async () => {
    const event = { roomId: "!room", eventId: "$event", type: "m.room.message" } as unknown as MatrixEvent;
    let reads = 0;
    const state = (): Promise<[]> => {
      reads++;
      return Promise.resolve([]);
    };
    const rules = new ThirdPartyRules(silentLogger);
    const heard: string[] = [];
    rules.register({ on_new_event: (given) => void heard.push(given.event_id), check_event_allowed: (given) => [given.event_id === "$event"] });
    await rules.newEvent(event, state);
    await rules.requireAllowed(event, state);
    assert.deepEqual([heard, reads], [["$event"], 0]);
    rules.register({ on_new_event: (_given, _state) => {}, check_event_allowed: (_given, _state) => [true] });
    await rules.newEvent(event, state);
    await rules.requireAllowed(event, state);
    assert.equal(reads, 2);
  });
});

describe("modules in their old form", function () {
  this.timeout(60_000);

  it("are objects whose methods are the callbacks", async () => {
    const checker = testModule(() => ({ check_event_for_spam: (event: ModuleEvent) => event.content["body"] === "spam" }));
    const rules = testModule(() => ({
      check_event_allowed: (event: ModuleEvent) =>
        event.content["body"] === "other" ? { ...event.get_dict(), content: { body: "replaced" } } : event.content["body"] !== "forbidden",
      on_create_room: (_requester: unknown, config: JsonObject) => config["name"] !== "forbidden",
    }));
    const provider = testModule(() => ({ check_password: (userId: string, password: string) => userId === "@alice:test" && password === "old form" }));
    const server = await startTestServer({
      config: { spam_checker: [{ module: checker }], third_party_event_rules: { module: rules }, password_providers: [{ module: provider }] },
    });
    try {
      const alice = server.as(await server.register("alice"));
      const roomId = (await alice.post(`${V3}/createRoom`).expect(200)).body.room_id as string;
      let txn = 0;
      const send = (body: string) => alice.put(`${V3}/rooms/${roomId}/send/org.test.message/${txn++}`, { body });
      await send("spam").expect(403);
      await send("forbidden").expect(403);
      const { event_id: id } = (await send("other").expect(200)).body as { event_id: string };
      assert.deepEqual((await alice.get(`${V3}/rooms/${roomId}/event/${encodeURIComponent(id)}`).expect(200)).body.content, { body: "replaced" });
      await alice.post(`${V3}/createRoom`, { name: "forbidden" }).expect(403);
      await server.anonymous
        .post(`${V3}/login`, { type: "m.login.password", identifier: { type: "m.id.user", user: "alice" }, password: "old form" })
        .expect(200);
    } finally {
      await server.close();
    }
  });
});
