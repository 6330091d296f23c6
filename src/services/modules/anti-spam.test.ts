import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { ConfigReader, ReadTracker } from "../../config/reader.ts";
import { eventually } from "../../testing/eventually.ts";
import { type FederatedTestServer, startFederatedServer } from "../../testing/federated-server.ts";
import { testModule } from "../../testing/modules.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import type { ModuleApi } from "./api.ts";
import { mjolnirAntiSpam } from "./built-in/mjolnir.ts";
import type { FederationDelivery } from "./callbacks/federation.ts";

const V3 = "/_matrix/client/v3";

describe("ban lists (mjolnir)", function () {
  this.timeout(60_000);
  let server: TestServer;
  let moderator: TestUser;
  let alice: TestUser;
  let list: string;
  let room: string;

  before(async () => {
    let api: ModuleApi;
    const module = testModule((_config, given) => (api = given).register_third_party_rules_callbacks({ on_new_event: () => {} }));
    server = await startTestServer({ config: { modules: [{ module }], user_directory: { search_all_users: true } } });
    [moderator, alice] = await Promise.all([server.register("moderator"), server.register("alice")]);
    await server.register("spammer1");
    const create = async (): Promise<string> =>
      (await server.as(moderator).post(`${V3}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id as string;
    [list, room] = await Promise.all([create(), create()]);
    await server.as(alice).post(`${V3}/join/${room}`).expect(200);
    // The list has its id only now; else the configuration would name it.
    const config = { ban_lists: [list], block_messages: true, block_usernames: true };
    mjolnirAntiSpam(new ConfigReader(config, new ReadTracker()), api!);
  });
  after(() => server?.close());

  let txn = 0;
  const rule = async (type: string, key: string, content: object): Promise<void> => {
    await server
      .as(moderator)
      .put(`${V3}/rooms/${list}/state/${type}/${encodeURIComponent(key)}`, content)
      .expect(200);
  };
  const ban = (entity: string): object => ({ entity, recommendation: "m.ban", reason: "spam" });
  const write = async (): Promise<number> =>
    (await server.as(alice).put(`${V3}/rooms/${room}/send/m.room.message/${txn++}`, { msgtype: "m.text", body: "hello" })).status;
  const invite = async (roomId: string): Promise<number> =>
    (await server.as(moderator).post(`${V3}/rooms/${roomId}/invite`, { user_id: "@spammer1:test" })).status;
  const becomes = (fn: () => Promise<number>, status: number): Promise<boolean> => eventually(`answer ${status}`, async () => (await fn()) === status);

  it("ban users by globs, as long as the rule stands", async () => {
    assert.equal(await write(), 200);
    await rule("m.policy.rule.user", "rule:1", ban("@ALI?e:*"));
    await becomes(write, 403);
    await rule("m.policy.rule.user", "rule:1", {});
    await becomes(write, 200);
  });

  it("ban servers, by the older names of rules, too", async () => {
    await rule("org.matrix.mjolnir.rule.server", "rule:2", { ...ban("test"), recommendation: "org.matrix.mjolnir.ban" });
    await becomes(write, 403);
    // Whoever keeps the list can take the rule back all the same.
    await rule("org.matrix.mjolnir.rule.server", "rule:2", {});
    await becomes(write, 200);
  });

  it("keep invites out of banned rooms", async () => {
    const fresh = (await server.as(moderator).post(`${V3}/createRoom`, {}).expect(200)).body.room_id as string;
    await rule("m.room.rule.room", "rule:3", ban(fresh));
    await eventually(
      "the rule for fresh rooms",
      async () => (await server.as(moderator).post(`${V3}/rooms/${fresh}/invite`, { user_id: "@alice:test" })).status === 403,
    );
    assert.equal(await invite(room), 200);
  });

  it("hide banned names from searches", async () => {
    const found = async (): Promise<number> =>
      ((await server.as(alice).post(`${V3}/user_directory/search`, { search_term: "spammer1" }).expect(200)).body.results as unknown[]).length;
    assert.equal(await found(), 1);
    await rule("m.policy.rule.user", "rule:4", ban("@spammer*:test"));
    await eventually("an empty result", async () => (await found()) === 0);
  });

  it("take a rule without a recommendation to ban for none", async () => {
    await rule("m.policy.rule.user", "rule:5", { entity: "@alice:test", recommendation: "org.test.watch", reason: "odd" });
    await rule("m.policy.rule.user", "rule:6", { entity: "@alice:test", reason: "no recommendation" });
    assert.equal(await write(), 200);
  });
});

describe("spam from other servers", function () {
  this.timeout(60_000);
  let one: FederatedTestServer;
  let two: FederatedTestServer;
  let alice: TestUser;
  let bob: TestUser;
  const delivered: FederationDelivery[] = [];

  before(async () => {
    const module = testModule((_config, api) => {
      api.register_spam_checker_callbacks({
        check_event_for_spam: (event) => (event.content["body"] === "spam" ? "M_FORBIDDEN" : api.NOT_SPAM),
        should_drop_federated_event: (event) => event.content["body"] === "drop me",
        federated_user_may_invite: (event) => (event.content["reason"] === "spam" ? "M_FORBIDDEN" : api.NOT_SPAM),
        user_may_invite: (_inviter, invitee) => (invitee.startsWith("@shy:") ? "M_FORBIDDEN" : api.NOT_SPAM),
      });
    });
    const watcher = testModule((_config, api) =>
      api.register_federation_callbacks({ on_event_delivered_over_federation: (delivery) => void delivered.push(delivery) }),
    );
    [one, two] = await Promise.all([
      startFederatedServer({ config: { modules: [{ module: watcher }] } }),
      startFederatedServer({ config: { modules: [{ module }] } }),
    ]);
    [alice, bob] = await Promise.all([one.register("alice"), two.register("bob")]);
    await two.register("shy");
  });
  after(async () => {
    await Promise.all([one?.close(), two?.close()]);
  });

  let txn = 0;
  const send = async (roomId: string, body: string): Promise<string> =>
    (await one.as(alice).put(`${V3}/rooms/${roomId}/send/m.room.message/${txn++}`, { msgtype: "m.text", body }).expect(200)).body.event_id as string;

  it("is soft-failed and kept without its content; what is dropped never came; the rest is shown", async () => {
    const roomId = (await one.as(alice).post(`${V3}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id as string;
    await two
      .as(bob)
      .post(`${V3}/join/${encodeURIComponent(roomId)}?server_name=${one.name}`)
      .expect(200);
    const spam = await send(roomId, "spam");
    const fine = await send(roomId, "fine");
    await eventually(
      "the message at the other server",
      async () => (await two.as(bob).get(`${V3}/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(fine)}`)).status === 200,
    );
    const stored = await two.ctx.events.one(spam);
    assert.deepEqual([stored?.content, stored?.internal.soft_failed, stored?.internal.spam_checker_spammy], [{}, true, true]);
    const { chunk } = (
      await two
        .as(bob)
        .get(`${V3}/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=20`)
        .expect(200)
    ).body as { chunk: { event_id: string }[] };
    assert.ok(!chunk.some(({ event_id: id }) => id === spam));
    const other = (await one.as(alice).post(`${V3}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id as string;
    await two
      .as(bob)
      .post(`${V3}/join/${encodeURIComponent(other)}?server_name=${one.name}`)
      .expect(200);
    const dropped = await send(roomId, "drop me");
    const later = await send(other, "fine");
    await eventually("the later message", async () => (await two.ctx.events.one(later)) !== undefined);
    assert.equal(await two.ctx.events.one(dropped), undefined);
  });

  it("does not invite", async () => {
    const room = async (body: object): Promise<number> => (await one.as(alice).post(`${V3}/createRoom`, body)).status;
    assert.equal(await room({ invite: [bob.userId] }), 200);
    assert.equal(await room({ invite: [`@shy:${two.name}`] }), 403);
  });

  it("and whoever sends is told what was delivered", async () => {
    await eventually("the delivery", () =>
      delivered.some(({ method, events }) => method === "/send" && events.some((event) => event.content["body"] === "fine")),
    );
    const join = delivered.find(({ method }) => method === "/send_join");
    assert.equal(join?.server_name, two.name);
    assert.ok(join.events.some((event) => event.type === "m.room.create"));
  });
});

describe("third-party rules and other servers", function () {
  this.timeout(60_000);

  it("refuse knocks and joins of their users", async () => {
    const module = testModule((_config, api) =>
      api.register_third_party_rules_callbacks({ check_event_allowed: (event) => [!(event.sender.startsWith("@rude:") && event.type === "m.room.member")] }),
    );
    const [one, two] = await Promise.all([startFederatedServer({ config: { modules: [{ module }] } }), startFederatedServer()]);
    try {
      const [alice, rude, kind] = await Promise.all([one.register("alice"), two.register("rude"), two.register("kind")]);
      const room = async (joinRule: string): Promise<string> => {
        const initial = [{ type: "m.room.join_rules", state_key: "", content: { join_rule: joinRule } }];
        return (await one.as(alice).post(`${V3}/createRoom`, { initial_state: initial }).expect(200)).body.room_id as string;
      };
      const closed = await room("knock");
      const knock = async (user: TestUser): Promise<number> =>
        (await two.as(user).post(`${V3}/knock/${encodeURIComponent(closed)}?server_name=${one.name}`)).status;
      const join = async (user: TestUser): Promise<number> =>
        (await two.as(user).post(`${V3}/join/${encodeURIComponent(await room("public"))}?server_name=${one.name}`)).status;
      assert.deepEqual([await knock(kind), await join(kind)], [200, 200]);
      assert.deepEqual([await knock(rude), await join(rude)], [403, 403]);
    } finally {
      await Promise.all([one.close(), two.close()]);
    }
  });
});
