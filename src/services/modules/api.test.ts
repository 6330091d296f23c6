import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { upsertMonthlyActive } from "../../storage/accounts/monthly-active-users.ts";
import { execute } from "../../storage/database.ts";
import type { UserPresence } from "../../storage/presence/presence.ts";
import { bareMembership, bareRoom } from "../../testing/bare-room.ts";
import { testModule } from "../../testing/modules.ts";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";
import { Presence } from "../presence/presence.ts";
import type { ModuleApi } from "./api.ts";

const V3 = "/_matrix/client/v3";

describe("what modules can call", function () {
  this.timeout(60_000);
  let server: TestServer;
  let api: ModuleApi;
  let alice: TestUser;
  before(async () => {
    const module = testModule((_config, given: ModuleApi) => {
      api = given;
      given.register_web_resource("/_synapse/client/own_login", (request) => {
        const { query } = request;
        return given.complete_sso_login_async(query.get("user")!, request, query.get("redirectUrl")!, query.get("new") === "true", "own");
      });
    });
    server = await startTestServer({
      config: { modules: [{ module }], sso: { client_whitelist: ["https://trusted.example/"] }, limit_usage_by_mau: true, max_mau_value: 50 },
    });
    alice = await server.register("alice");
  });
  after(() => server.close());

  const login = (query: Record<string, string>) => server.anonymous.get(`/_synapse/client/own_login?${new URLSearchParams(query).toString()}`);

  it("ends a login of the module's own with the way back to the client, which gets a token that works once", async () => {
    const { headers } = await login({ user: alice.userId, redirectUrl: "https://trusted.example/app?x=1" }).expect(302);
    const location = new URL(headers.location!);
    assert.equal(location.searchParams.get("x"), "1");
    const body = { type: "m.login.token", token: location.searchParams.get("loginToken") };
    assert.equal((await server.anonymous.post(`${V3}/login`, body).expect(200)).body.user_id, alice.userId);
    await server.anonymous.post(`${V3}/login`, body).expect(403);
  });

  it("asks the person before a client that the admin does not trust gets the token, and refuses closed accounts", async () => {
    const page = await login({ user: alice.userId, redirectUrl: "https://stranger.example/?a=<b>", new: "true" }).expect(200);
    assert.match(page.headers["content-type"]!, /text\/html/);
    assert.match(page.text, /stranger\.example/);
    assert.ok(!page.text.includes("<b>"));
    const carol = await server.register("carol");
    await server
      .as(carol)
      .post(`${V3}/account/deactivate`, { auth: { type: "m.login.password", user: "carol", password: TEST_PASSWORD } })
      .expect(200);
    for (const user of [carol.userId, "@nobody:test"])
      assert.equal((await login({ user, redirectUrl: "https://trusted.example/" }).expect(403)).headers.location, undefined);
  });

  it("makes accounts with and without a device", async () => {
    const [userId, accessToken] = await api.register("dora", "Dora");
    assert.equal((await server.as({ accessToken }).get(`${V3}/account/whoami`).expect(200)).body.user_id, userId);
    assert.equal((await api.get_profile_for_user("dora")).display_name, "Dora");
  });

  it("says which actions push rules can have", () => {
    api.check_push_rule_actions(["notify", { set_tweak: "sound", value: "default" }, "dont_notify"]);
    for (const actions of [["shout"], [{ tweak: "sound" }], [7 as never]]) assert.throws(() => api.check_push_rule_actions(actions), { errcode: "M_UNKNOWN" });
  });

  it("lists who counts as active this month, between two times", async () => {
    const { ctx } = server;
    await ctx.transaction("clear", (txn) => execute(txn, "DELETE FROM monthly_active_users"));
    await ctx.transaction("put", (txn) => upsertMonthlyActive(txn, ["@a:test", alice.userId], 5_000));
    await ctx.transaction("put", (txn) => upsertMonthlyActive(txn, ["@late:test"], 7_000));
    const list = async (from?: number, to?: number) =>
      (await api.get_monthly_active_users_by_service(from, to)).map(([service, user]) => `${service} ${user}`).sort();
    assert.deepEqual(await list(), ["native @a:test", "native @alice:test", "native @late:test"]);
    assert.deepEqual(await list(5_001), ["native @late:test"]);
    assert.deepEqual(await list(undefined, 5_000), ["native @a:test", "native @alice:test"]);
    assert.deepEqual(await list(5_001, 6_999), []);
  });

  it("runs a module's own statements in one transaction, which a failure takes back whole", async () => {
    await api.run_db_interaction("make", async (txn) => void (await txn.execute("CREATE TABLE own_words (word text PRIMARY KEY)")));
    const add = (...words: string[]) =>
      api.run_db_interaction(
        "add",
        async (txn, given: readonly string[]) => {
          for (const word of given) await txn.execute("INSERT INTO own_words VALUES ($1)", [word]);
          return await txn.query("SELECT word FROM own_words ORDER BY word");
        },
        words,
      );
    assert.deepEqual(await add("a", "b"), [{ word: "a" }, { word: "b" }]);
    await assert.rejects(add("c", "a"));
    assert.deepEqual(await add(), [{ word: "a" }, { word: "b" }]);
  });

  it("tells another server's user of those alone with whom they share a room", async () => {
    const bob = await server.register("bob");
    await bareRoom(server.ctx, "!shared:test", [alice.userId]);
    await bareMembership(server.ctx, "!shared:test", "@remote:elsewhere.org", "join");
    const sent: [string[], string[]][] = [];
    const sendPresence = (states: readonly UserPresence[], servers: Iterable<string>): void =>
      void sent.push([states.map(({ userId }) => userId), [...servers]]);
    const remote = { ...server.ctx.remote, federates: true, sendPresence };
    const presence = new Presence({ ...server.ctx, remote }, { ...server.ctx.config.server.presence, serverName: "test" });
    await presence.open();
    for (const user of [alice, bob]) await presence.set(user.userId, user.deviceId, "online", undefined);
    sent.length = 0;
    await presence.sendOnlineTo(["@remote:elsewhere.org", "@stranger:nowhere.org"]);
    assert.deepEqual(sent, [[[alice.userId], ["elsewhere.org"]]]);
    await presence.close();
  });
});
