import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, it } from "mocha";
import { openListeners } from "../../handlers/http/listen.ts";
import { routes } from "../../handlers/routes.ts";
import { eventually } from "../../testing/eventually.ts";
import { testModule } from "../../testing/modules.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import type { ModuleApi } from "./api.ts";

const V3 = "/_matrix/client/v3";

describe("modules", function () {
  this.timeout(60_000);
  let server: TestServer;
  let api: ModuleApi;
  let alice: TestUser;
  let bob: TestUser;
  const expired = new Set<string>();
  const told: unknown[][] = [];
  const limited = new Map<string, { per_second: number; burst_count: number }>();
  let loops = 0;

  before(async () => {
    const module = testModule((_config, given) => {
      api = given;
      api.register_account_validity_callbacks({
        is_user_expired: (userId) => (userId.startsWith("@exp") ? expired.has(userId) : undefined),
        on_user_registration: (userId) => void told.push(["registered", userId]),
        on_user_login: (...args) => void told.push(["login", ...args]),
        on_legacy_send_mail: (userId) => void told.push(["mail", userId]),
        on_legacy_renew: (token) => [token === "good", token === "used", 86_400_000],
        on_legacy_admin_request: (request) => Number(request.json()["days"]) * 86_400_000,
      });
      api.register_media_repository_callbacks({
        get_media_config_for_user: (userId) => (userId === "@bob:test" ? { "m.upload.size": 7 } : undefined),
        is_user_allowed_to_upload_media_of_size: (userId, size) => userId !== "@bob:test" || size <= 7,
        get_media_upload_limits_for_user: (userId) =>
          userId === "@alice:test" ? [{ max_bytes: 20, time_period_ms: 3_600_000, info_uri: "https://test/more", can_upgrade: true }] : undefined,
        on_media_upload_limit_exceeded: (...args) => void told.push(["exceeded", ...args]),
      });
      api.register_ratelimit_callbacks({ get_ratelimit_override_for_user: (_userId, limiter) => limited.get(limiter) });
      api.register_account_data_callbacks({ on_account_data_updated: (...args) => void told.push(["data", ...args]) });
      api.register_add_extra_fields_to_unsigned_client_event_callbacks({
        add_field_to_unsigned_callback: (event) =>
          event.type === "m.room.message" ? { "org.test.length": String(event.content["body"]).length, age: -1 } : {},
      });
      api.register_web_resource("/_synapse/client/test", async (request) => {
        if (request.path.endsWith("/fail")) throw new api.errors.MatrixError(409, "ORG.TEST.CONFLICT", "No");
        if (request.path.endsWith("/page")) return { body: "<p>A page</p>" };
        if (request.path.endsWith("/who")) return { body: { user_id: (await api.get_user_by_req(request)).userId } };
        return {
          status: 201,
          headers: { "X-Test": "yes" },
          body: { method: request.method, path: request.path, a: request.query.get("a"), body: request.method === "POST" ? request.json() : null },
        };
      });
      api.looping_background_call(() => void loops++, 5, { desc: "count" });
    });
    server = await startTestServer({ config: { modules: [{ module }], rc_invites: { per_room: { per_second: 0.001, burst_count: 1 } } } });
    [alice, bob] = await Promise.all([server.register("alice"), server.register("bob")]);
  });
  after(() => server?.close());

  let txn = 0;
  const login = (user: string) =>
    server.anonymous.post(`${V3}/login`, { type: "m.login.password", identifier: { type: "m.id.user", user }, password: "correct horse battery staple" });

  it("say who has expired, and hear of registrations and logins", async () => {
    const user = await server.register("expiring");
    assert.ok(told.some(([what, userId]) => what === "registered" && userId === user.userId));
    await server.as(user).get(`${V3}/account/whoami`).expect(200);
    expired.add(user.userId);
    assert.equal((await server.as(user).get(`${V3}/account/whoami`).expect(403)).body.errcode, "ORG_MATRIX_EXPIRED_ACCOUNT");
    await login("expiring").expect(200);
    assert.deepEqual(told.at(-1), ["login", "@expiring:test", "m.login.password", undefined]);
  });

  it("take the old endpoints of account validity", async () => {
    await server
      .as(alice)
      .post(`${V3.replace("v3", "unstable")}/account_validity/send_mail`)
      .expect(200);
    assert.deepEqual(told.at(-1), ["mail", alice.userId]);
    const renew = (token: string) => server.anonymous.get(`${V3.replace("v3", "unstable")}/account_validity/renew?token=${token}`);
    await renew("good").expect(200);
    await renew("used").expect(200);
    await renew("bad").expect(404);
    const admin = server.as(await server.register("admin", { admin: true }));
    assert.deepEqual((await admin.post("/_synapse/admin/v1/account_validity/validity", { days: 2 }).expect(200)).body, { expiration_ts: 172_800_000 });
  });

  it("limit uploads", async () => {
    const config = async (user: TestUser): Promise<unknown> => (await server.as(user).get("/_matrix/client/v1/media/config").expect(200)).body;
    assert.deepEqual(await config(bob), { "m.upload.size": 7 });
    assert.deepEqual(await config(alice), { "m.upload.size": 50 * 1024 * 1024 });
    const upload = (user: TestUser, text: string) => server.as(user).request("post", "/_matrix/media/v3/upload").set("Content-Type", "text/plain").send(text);
    await upload(bob, "1234567").expect(200);
    await upload(bob, "12345678").expect(413);
    await upload(alice, "0123456789").expect(200);
    const refused = (await upload(alice, "0123456789ab").expect(403)).body as Record<string, unknown>;
    assert.deepEqual([refused["errcode"], refused["info_uri"], refused["can_upgrade"]], ["M_USER_LIMIT_EXCEEDED", "https://test/more", true]);
    const limit = { max_bytes: 20, time_period_ms: 3_600_000, info_uri: "https://test/more", can_upgrade: true };
    assert.deepEqual(told.at(-1), ["exceeded", alice.userId, limit, 10, 12]);
  });

  it("change limits of invites", async () => {
    const invite = async (): Promise<number> => {
      const roomId = (await server.as(alice).post(`${V3}/createRoom`).expect(200)).body.room_id as string;
      const guests = await Promise.all([1, 2, 3].map((number) => server.register(`guest${number}of${txn++}`)));
      const results: number[] = [];
      for (const { userId } of guests) results.push((await server.as(alice).post(`${V3}/rooms/${roomId}/invite`, { user_id: userId })).status);
      return results.filter((status) => status === 200).length;
    };
    assert.equal(await invite(), 1);
    limited.set("rc_invites.per_room", { per_second: 0.001, burst_count: 2 });
    assert.equal(await invite(), 2);
    limited.set("rc_invites.per_room", { per_second: 0, burst_count: 0 });
    assert.equal(await invite(), 3);
  });

  it("hear of account data", async () => {
    await server.as(alice).put(`${V3}/user/${alice.userId}/account_data/org.test`, { a: 1 }).expect(200);
    assert.deepEqual(told.at(-1), ["data", alice.userId, undefined, "org.test", { a: 1 }]);
    const roomId = (await server.as(alice).post(`${V3}/createRoom`).expect(200)).body.room_id as string;
    await server.as(alice).put(`${V3}/user/${alice.userId}/rooms/${roomId}/account_data/org.test`, { b: 1 }).expect(200);
    assert.deepEqual(told.at(-1), ["data", alice.userId, roomId, "org.test", { b: 1 }]);
  });

  it("add to `unsigned` of events, but replace nothing there", async () => {
    const roomId = (await server.as(alice).post(`${V3}/createRoom`).expect(200)).body.room_id as string;
    await server.as(alice).put(`${V3}/rooms/${roomId}/send/m.room.message/${txn++}`, { msgtype: "m.text", body: "12345" }).expect(200);
    const { body } = await server.as(alice).get(`${V3}/sync`).expect(200);
    const event = (body.rooms.join[roomId].timeline.events as { type: string; unsigned: Record<string, unknown> }[]).find(
      ({ type }) => type === "m.room.message",
    )!;
    assert.equal(event.unsigned["org.test.length"], 5);
    assert.ok((event.unsigned["age"] as number) >= 0);
  });

  it("serve paths of their own", async () => {
    const answer = await server.anonymous.post("/_synapse/client/test/deep/path?a=b", { c: 1 }).expect(201);
    assert.deepEqual([answer.headers["x-test"], answer.body], ["yes", { method: "POST", path: "/_synapse/client/test/deep/path", a: "b", body: { c: 1 } }]);
    const page = await server.anonymous.get("/_synapse/client/test/page").expect(200);
    assert.deepEqual([page.headers["content-type"], page.text], ["text/html; charset=utf-8", "<p>A page</p>"]);
    assert.deepEqual((await server.anonymous.get("/_synapse/client/test/fail").expect(409)).body, { errcode: "ORG.TEST.CONFLICT", error: "No" });
    assert.deepEqual((await server.as(alice).get("/_synapse/client/test/who").expect(200)).body, { user_id: alice.userId });
    await server.anonymous.get("/_synapse/client/test/who").expect(401);
    await server.anonymous.get("/_synapse/client/testing").expect(404);
    assert.equal(
      (await server.anonymous.request("post", "/_synapse/client/test/x").set("Content-Type", "application/json").send("{").expect(400)).body.errcode,
      "M_NOT_JSON",
    );
  });

  it("work in the background while the server runs", async () => {
    await eventually("the third turn", () => loops >= 3);
  });

  describe("act by their API", () => {
    it("on accounts", async () => {
      const userId = await api.register_user("made", "Made Up", ["made@example.org"], true);
      assert.equal(userId, "@made:test");
      const info = await api.get_userinfo_by_id(userId);
      assert.deepEqual([info?.is_admin, info?.is_deactivated, info?.locked], [true, false, false]);
      assert.equal(await api.check_user_exists("@MADE:test"), "@made:test");
      assert.equal(await api.check_user_exists("@nobody:test"), undefined);
      await api.set_user_admin(userId, false);
      assert.equal(await api.is_user_admin(userId), false);
      assert.deepEqual(
        (await api.get_threepids_for_user(userId)).map(({ address }) => address),
        ["made@example.org"],
      );
      await api.set_displayname(userId, "Renamed");
      assert.deepEqual(await api.get_profile_for_user("made"), { display_name: "Renamed", avatar_url: null });
      const { accessToken, deviceId } = await api.register_device(userId, "MODULE", "A module's device");
      assert.equal(deviceId, "MODULE");
      await server.as({ accessToken }).get(`${V3}/account/whoami`).expect(200);
      await api.invalidate_access_token(accessToken);
      await server.as({ accessToken }).get(`${V3}/account/whoami`).expect(401);
      const token = await api.create_login_token(userId);
      await server.anonymous.post(`${V3}/login`, { type: "m.login.token", token }).expect(200);
      await api.record_user_external_id("oidc-test", "made", userId);
      await assert.rejects(api.record_user_external_id("oidc-test", "made", alice.userId));
      await assert.rejects(api.check_username("made"), { errcode: "M_USER_IN_USE" });
    });

    it("in rooms", async () => {
      const [roomId, alias] = await api.create_room(alice.userId, { preset: "public_chat", room_alias_name: "modules" }, false);
      assert.equal(alias, "#modules:test");
      assert.equal((await api.lookup_room_alias("#modules:test"))[0], roomId);
      assert.equal(await api.get_canonical_room_alias(roomId), "#modules:test");
      const topic = { type: "m.room.topic", room_id: roomId, sender: alice.userId, state_key: "", content: { topic: "by a module" } };
      const event = await api.create_and_send_event_into_room(topic);
      assert.deepEqual([event.type, event.is_state(), event.content["topic"]], ["m.room.topic", true, "by a module"]);
      assert.equal((await api.get_room_state(roomId, [["m.room.topic", undefined]])).size, 1);
      assert.equal((await api.get_room_state(roomId)).get("m.room.topic")?.content["topic"], "by a module");
      assert.equal((await api.update_room_membership(bob.userId, bob.userId, roomId, "join")).membership, "join");
      await assert.rejects(api.update_room_membership("@x:elsewhere", "@x:elsewhere", roomId, "join"), /isn't local/);
      const rooms = api.public_room_list_manager;
      await rooms.add_room_to_public_room_list(roomId);
      assert.equal(await rooms.room_is_in_public_room_list(roomId), true);
      await rooms.remove_room_from_public_room_list(roomId);
      assert.equal(await rooms.room_is_in_public_room_list(roomId), false);
      await api.delete_room(roomId);
      await assert.rejects(api.lookup_room_alias("#modules:test"));
    });

    it("on account data, of local users", async () => {
      await api.account_data_manager.put_global(alice.userId, "org.test.module", { x: 1 });
      assert.deepEqual(await api.account_data_manager.get_global(alice.userId, "org.test.module"), { x: 1 });
      assert.equal(await api.account_data_manager.get_global(alice.userId, "org.test.nothing"), undefined);
      await assert.rejects(api.account_data_manager.get_global("@x:elsewhere", "org.test"), /not local/);
      await assert.rejects(api.account_data_manager.put_global("@nobody:test", "org.test", {}), /does not exist/);
    });
  });
});

describe("modules that route presence", function () {
  this.timeout(60_000);

  it("give it to users who share no room", async () => {
    let api: ModuleApi;
    const module = testModule((_config, given) => {
      api = given;
      api.register_presence_router_callbacks({
        get_users_for_states: (states) => ({ "@watcher:test": states, "@boss:test": states.filter(({ user_id: id }) => id === "@alice:test") }),
        get_interested_users: (userId) => (userId === "@watcher:test" ? ["@alice:test"] : userId === "@boss:test" ? api.PRESENCE_ALL_USERS : []),
      });
    });
    const server = await startTestServer({ config: { modules: [{ module }] } });
    try {
      const [alice, carol, watcher, boss] = await Promise.all(["alice", "carol", "watcher", "boss"].map((name) => server.register(name)));
      const senders = async (user: TestUser, since?: string): Promise<{ users: string[]; next: string }> => {
        const { body } = await server
          .as(user)
          .get(`${V3}/sync?set_presence=offline${since === undefined ? "" : `&since=${since}`}`)
          .expect(200);
        const events = (body.presence?.events ?? []) as { sender: string }[];
        return { users: events.map(({ sender }) => sender).filter((sender) => sender !== user.userId), next: body.next_batch as string };
      };
      const before = await Promise.all([watcher!, boss!, carol!].map((user) => senders(user)));
      await server.as(alice!).put(`${V3}/presence/${alice!.userId}/status`, { presence: "online", status_msg: "here" }).expect(200);
      await server.as(carol!).put(`${V3}/presence/${carol!.userId}/status`, { presence: "online" }).expect(200);
      const now = await Promise.all([watcher!, boss!, carol!].map((user, index) => senders(user, before[index]!.next)));
      assert.deepEqual(
        now.map(({ users }) => users),
        [["@alice:test"], ["@alice:test"], []],
      );
      await api!.set_presence_for_users({ [alice!.userId]: ["unavailable", "away"] });
      assert.deepEqual((await senders(watcher!, now[0]!.next)).users, ["@alice:test"]);
      const settled = await senders(watcher!);
      await api!.send_local_online_presence_to([watcher!.userId]);
      const again = await senders(watcher!, settled.next);
      assert.deepEqual(again.users, ["@alice:test"]);
      assert.deepEqual((await senders(watcher!, again.next)).users, []);
    } finally {
      await server.close();
    }
  });

  it("must have both callbacks", async () => {
    const module = testModule((_config, api) => api.register_presence_router_callbacks({ get_interested_users: () => [] } as never));
    await assert.rejects(startTestServer({ config: { modules: [{ module }] } }), /neither/);
  });
});

describe("modules that pace background updates", function () {
  this.timeout(60_000);

  it("are asked before each batch, for its duration and size", async () => {
    const turns: unknown[][] = [];
    let ended = 0;
    const module = testModule((_config, api) => {
      api.register_background_update_controller_callbacks({
        on_update: (name, database, oneShot) => {
          turns.push([name, database, oneShot]);
          return { target_duration_ms: 10, end: () => void ended++ };
        },
        default_batch_size: () => 1,
        min_batch_size: () => 1,
      });
    });
    const server = await startTestServer({ config: { modules: [{ module }], background_updates: { sleep_duration_ms: 3_600_000 } } });
    try {
      const alice = server.as(await server.register("alice"));
      for (let count = 0; count < 3; count++) await alice.post(`${V3}/createRoom`).expect(200);
      assert.equal(await server.ctx.backgroundUpdates.startJob("populate_stats_process_rooms"), "started");
      await eventually("the end of the job", async () => (await server.ctx.backgroundUpdates.pending(["populate_stats_process_rooms"])).length === 0);
      assert.deepEqual(turns[0], ["populate_stats_process_rooms", "master", false]);
      assert.ok(turns.length > 1 && ended === turns.length, `${turns.length} turns, ${ended} ended`);
    } finally {
      await server.close();
    }
  });
});

describe("additional_resources of listeners", function () {
  this.timeout(60_000);

  it("answer below their paths, on the listeners that have them alone; those that modules register are on all", async () => {
    const module = testModule((config) => ({ handle_request: (asked: { path: string }) => Promise.resolve({ body: { config, path: asked.path } }) }));
    const registering = testModule((_config, api) => api.register_web_resource("/_synapse/client/mine", () => ({ body: { mine: true } })));
    const folder = mkdtempSync(path.join(tmpdir(), "myelin-listeners-"));
    const socket = (name: string): string => path.join(folder, `${name}.sock`);
    const listener = (name: string, resources: object): object => ({
      type: "http",
      path: socket(name),
      resources: [{ names: ["client"] }],
      additional_resources: resources,
    });
    const listeners = [
      listener("one", { "/_matrix/my/thing": { module, config: { a: 1 } } }),
      listener("two", { "/_matrix/my/thing": { module, config: { a: 2 } }, "/_matrix/my/other": { module, config: {} } }),
      listener("none", {}),
      { type: "metrics", path: socket("metrics") },
    ];
    const server = await startTestServer({ config: { listeners, modules: [{ module: registering }] } });
    const open = await openListeners(server.ctx, server.ctx.config.server.listeners, routes, undefined);
    try {
      const get = async (name: string, url: string): Promise<[number, unknown]> =>
        await new Promise((resolve, reject) => {
          request({ socketPath: socket(name), path: url, agent: false }, (response) => {
            const chunks: Buffer[] = [];
            response.on("data", (chunk: Buffer) => chunks.push(chunk));
            response.on("end", () => resolve([response.statusCode!, JSON.parse(Buffer.concat(chunks).toString("utf8"))]));
          })
            .on("error", reject)
            .end();
        });
      assert.deepEqual(await get("one", "/_matrix/my/thing/x?y=1"), [200, { config: { a: 1 }, path: "/_matrix/my/thing/x" }]);
      assert.deepEqual(await get("two", "/_matrix/my/thing"), [200, { config: { a: 2 }, path: "/_matrix/my/thing" }]);
      assert.deepEqual(await get("two", "/_matrix/my/other"), [200, { config: {}, path: "/_matrix/my/other" }]);
      for (const [name, url] of [
        ["one", "/_matrix/my/other"],
        ["one", "/_matrix/my/things"],
        ["none", "/_matrix/my/thing"],
        ["metrics", "/_matrix/my/thing"],
        ["metrics", "/_synapse/client/mine"],
      ] as const)
        assert.equal((await get(name, url))[0], 404, `${name} ${url}`);
      for (const name of ["one", "two", "none"]) assert.deepEqual(await get(name, "/_synapse/client/mine"), [200, { mine: true }]);
    } finally {
      await open.close();
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("that have nothing to answer with stop the start, with the place in the configuration", async () => {
    const module = testModule(() => ({}));
    const listeners = (named: object): object => ({
      listeners: [{ type: "http", port: 0, resources: [{ names: ["client"] }], additional_resources: { "/x": named } }],
    });
    await assert.rejects(startTestServer({ config: { ...listeners({ module, config: {} }) } }), /listeners\[0\]\.additional_resources\.\/x.*handle_request/);
    await assert.rejects(startTestServer({ config: { ...listeners({ module: "some.python.Thing" }) } }), /some\.python\.Thing \(listeners\[0\]/);
  });
});
