import assert from "node:assert/strict";
import { copyRoomRules } from "../../services/push/rules.ts";
import { pushRulesSince } from "../../services/push/streams.ts";
import { query } from "../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

describe("push rules", () => {
  let server: TestServer;
  let alice: TestUser;
  let next = 0;
  before(async () => {
    server = await startTestServer({ config: { push_rules: { limits: { rule_count: 6, rule_id_length: 60, rule_size: 400 } } } });
  });
  beforeEach(async () => {
    alice = await server.register(`user${next++}`);
  });
  after(() => server.close());

  const PATH = "/_matrix/client/v3/pushrules";
  const put = (rule: string, body: unknown): ReturnType<ReturnType<TestServer["as"]>["put"]> => server.as(alice).put(`${PATH}/global/${rule}`, body as object);
  const get = async (path: string): Promise<any> => (await server.as(alice).get(`${PATH}/${path}`).expect(200)).body;
  const ids = async (kind: string): Promise<string[]> =>
    (await get(`global/${kind}/`)).map((rule: { rule_id: string }) => rule.rule_id).filter((id: string) => !id.startsWith("."));
  const rows = (table: string): Promise<any[]> =>
    query(
      server.ctx.read,
      `SELECT * FROM ${table} WHERE ${table === "push_rules_stream" ? "user_id" : "user_name"} = $1 ORDER BY ${table === "push_rules_stream" ? "stream_id" : "id"}`,
      [alice.userId],
    );

  it("begin as the predefined ones, in every shape of the path", async () => {
    const all = await get("");
    assert.deepEqual(Object.keys(all.global).sort(), ["content", "override", "postcontent", "room", "sender", "underride"]);
    assert.deepEqual(await get("global/"), all.global);
    assert.deepEqual(await get("global/override/"), all.global.override);
    assert.equal((await get("global/override/.m.rule.master")).enabled, false);
    assert.deepEqual(await get("global/override/.m.rule.master/enabled"), { enabled: false });
    for (const path of ["global", "global/override", "device/", "global/nonsense/"]) {
      const { body } = await server.as(alice).get(`${PATH}/${path}`).expect(400);
      assert.equal(body.errcode, "M_UNRECOGNIZED", path);
    }
    const { body } = await server.as(alice).get(`${PATH}/global/override/absent`).expect(404);
    assert.equal(body.errcode, "M_NOT_FOUND");
  });

  it("are stored as Synapse's rows, each change with its stream row (risk 93)", async () => {
    await put("content/cake", { pattern: "cake*", actions: ["notify", { set_tweak: "sound", value: "é" }] }).expect(200, {});
    const [rule] = await rows("push_rules");
    assert.deepEqual(
      { ...rule, id: 0 },
      {
        id: 0,
        user_name: alice.userId,
        rule_id: "global/content/cake",
        priority_class: 4,
        priority: 0,
        conditions: '[{"kind":"event_match","key":"content.body","pattern":"cake*"}]',
        actions: '["notify",{"set_tweak":"sound","value":"\\u00e9"}]',
      },
    );
    assert.equal((await rows("push_rules_enable"))[0].enabled, 1);
    const [change] = await rows("push_rules_stream");
    assert.equal(change.op, "ADD");
    assert.equal(change.stream_id, server.ctx.streams.pushRules.currentToken());
    assert.equal(change.event_stream_ordering, server.ctx.streams.events.currentToken());
    assert.deepEqual([change.instance_name, change.priority_class, change.priority], ["master", 4, 0]);
    assert.deepEqual(await get("global/content/cake"), {
      actions: ["notify", { set_tweak: "sound", value: "é" }],
      default: false,
      enabled: true,
      pattern: "cake*",
      rule_id: "cake",
    });
  });

  it("of one kind are ordered: newest first, before and after others", async () => {
    const body = { actions: [], conditions: [] };
    for (const id of ["a", "b"]) await put(`override/${id}`, body).expect(200);
    assert.deepEqual(await ids("override"), ["b", "a"]);
    await put("override/c?before=a", body).expect(200);
    assert.deepEqual(await ids("override"), ["b", "c", "a"]);
    await put("override/d?after=b", body).expect(200);
    assert.deepEqual(await ids("override"), ["b", "d", "c", "a"]);
    await put("override/a?before=b", body).expect(200);
    assert.deepEqual(await ids("override"), ["a", "b", "d", "c"]);
    await put("override/e?after=absent", body).expect(400);
    await put("sender/@x:y?before=a", { actions: [] }).expect(400);
  });

  it("can be switched and given other actions, predefined ones too", async () => {
    await put("override/.m.rule.master/enabled", { enabled: true }).expect(200);
    assert.deepEqual(await get("global/override/.m.rule.master/enabled"), { enabled: true });
    await put("override/.m.rule.master/enabled", "false").set("Content-Type", "application/json").expect(200);
    assert.deepEqual(await get("global/override/.m.rule.master/enabled"), { enabled: false });
    await put("override/.m.rule.member_event/actions", { actions: ["notify"] }).expect(200);
    assert.deepEqual(await get("global/override/.m.rule.member_event/actions"), { actions: ["notify"] });
    const [row] = await rows("push_rules");
    assert.deepEqual([row.priority_class, row.priority, row.conditions], [-1, 1, "[]"]);
    assert.equal((await rows("push_rules_stream")).at(-1).op, "ACTIONS");
    await put("override/.m.rule.absent/enabled", { enabled: true }).expect(404);
    await put("override/absent/enabled", { enabled: true }).expect(404);
    await put("override/.m.rule.master/enabled", { enabled: "yes" }).expect(400);
    await put("override/.m.rule.master/actions", { actions: ["explode"] }).expect(400);
    await put("override/.m.rule.master/colour", {}).expect(400);
  });

  it("are deleted with their switch; deleting again is 404", async () => {
    await put("room/!a:b", { actions: ["notify"] }).expect(200);
    await server
      .as(alice)
      .delete(`${PATH}/global/room/${encodeURIComponent("!a:b")}`)
      .expect(200);
    assert.deepEqual([await rows("push_rules"), await rows("push_rules_enable")], [[], []]);
    await server
      .as(alice)
      .delete(`${PATH}/global/room/${encodeURIComponent("!a:b")}`)
      .expect(404);
  });

  it("malformed are refused with 400", async () => {
    await put("override/x", { actions: [] }).expect(400);
    await put("override/x", { conditions: [{}], actions: [] }).expect(400);
    await put("override/x", { conditions: [] }).expect(400);
    await put("content/x", { actions: [] }).expect(400);
    await put("nonsense/x", { actions: [] }).expect(400);
    await put("override/.x", { conditions: [], actions: [] }).expect(400);
    await put(`override/${encodeURIComponent("a\\b")}`, { conditions: [], actions: [] }).expect(400);
    await put("postcontent/x", { conditions: [], actions: [] }).expect(400);
    await put("override/a%00b", { conditions: [], actions: [] }).expect(400);
    await put("override/x", "{" as unknown).expect(400);
  });

  it("are bounded in number, length of id and size, an update too (Synapse 1.157.2, advisory 8)", async () => {
    const small = { conditions: [], actions: [] };
    await put(`override/${"i".repeat(60)}`, small).expect(413);
    const large = { conditions: [{ kind: "event_match", key: "content.body", pattern: "p".repeat(400) }], actions: [] };
    await put("override/big", large).expect(413);
    await put("override/big", small).expect(200);
    await put("override/big/actions", { actions: Array.from({ length: 60 }, () => "notify") }).expect(413);
    await put("override/.m.rule.master/actions", { actions: Array.from({ length: 60 }, () => "notify") }).expect(413);
    for (let i = 1; i < 6; i++) await put(`override/r${i}`, small).expect(200);
    const { body } = await put("override/r6", small).expect(400);
    assert.match(body.error, /limit/);
    await put("override/r5", small).expect(200);
    await put("override/.m.rule.master/actions", { actions: [] }).expect(400);
  });

  it("larger than the limits, left in the database, still load; unreadable ones break nothing (Synapse 1.157.2, advisory 8)", async () => {
    await server.ctx.transaction("poison", async (txn) => {
      const insert = `INSERT INTO push_rules (id, user_name, rule_id, priority_class, priority, conditions, actions) VALUES ($1, $2, $3, 5, 0, $4, $5)`;
      await query(txn, insert, [
        server.ctx.localIds.pushRules.next(),
        alice.userId,
        `global/override/${"x".repeat(2000)}`,
        "[]",
        JSON.stringify(Array.from({ length: 2000 }, () => "notify")),
      ]);
      await query(txn, insert, [server.ctx.localIds.pushRules.next(), alice.userId, "global/override/broken", "{not json", "nor this"]);
    });
    const all = await get("");
    assert.ok(all.global.override.some((rule: { rule_id: string }) => rule.rule_id.length === 2000));
    assert.ok(all.global.override.some((rule: { rule_id: string }) => rule.rule_id === "broken"));
  });

  it("changed at the same time by one user do not get in each other's way", async () => {
    await Promise.all(Array.from({ length: 5 }, (_, i) => put(`override/p${i}`, { conditions: [], actions: [] }).expect(200)));
    const priorities = (await rows("push_rules")).map((row) => row.priority).sort();
    assert.deepEqual(priorities, [0, 1, 2, 3, 4]);
  });

  it("keep no endless history: older stream rows of the user go", async () => {
    for (let i = 0; i < 4; i++) await put("override/.m.rule.master/enabled", { enabled: i % 2 === 0 }).expect(200);
    assert.equal((await rows("push_rules_stream")).length, 1);
  });

  it("are shown to sync when they changed since, and shared among users with the same rules", async () => {
    const { ctx } = server;
    const before = ctx.streams.pushRules.currentToken();
    assert.equal(await pushRulesSince(ctx, alice.userId, before, before), undefined);
    await put("override/.m.rule.master/enabled", { enabled: true }).expect(200);
    const rules = (await pushRulesSince(ctx, alice.userId, before, ctx.streams.pushRules.currentToken())) as any;
    assert.equal(rules.global.override[0].enabled, true);
    const sets = await ctx.pushRules.forUsers(["@nobody:test", "@somebody:test"]);
    assert.equal(sets.get("@nobody:test"), sets.get("@somebody:test"));
  });

  it("of a room are copied to its successor", async () => {
    await put("room/!old:b", { actions: ["notify"] }).expect(200);
    await copyRoomRules(server.ctx, alice.userId, "!old:b", "!new:b");
    assert.deepEqual((await ids("room")).sort(), ["!new:b", "!old:b"]);
  });
});
