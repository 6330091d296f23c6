import assert from "node:assert/strict";
import type { Json, JsonObject } from "../../lib/json.ts";
import { acknowledgeToDevice, receiveToDevice, splitIntoEdus, toDeviceSince } from "../../services/devices/to-device.ts";
import { outboxMessages } from "../../storage/devices/inbox.ts";
import { execute, query } from "../../storage/database.ts";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";

describe("to-device messages", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let txn = 0;
  let next = 0;
  before(async () => {
    server = await startTestServer();
  });
  beforeEach(async () => {
    [alice, bob] = [await server.register(`alice${next}`), await server.register(`bob${next++}`)];
  });
  after(() => server.close());

  const send = (user: TestUser, messages: unknown, txnId = `t${txn++}`): ReturnType<ReturnType<TestServer["as"]>["put"]> =>
    server.as(user).put(`${V3}/sendToDevice/m.test/${txnId}`, { messages });
  const received = async (user: TestUser, since = 0, limit?: number): Promise<{ messages: JsonObject[]; position: number }> => {
    const { ctx } = server;
    const batch = await toDeviceSince(ctx, user.userId, user.deviceId, since, ctx.streams.toDevice.currentToken(), limit);
    return { messages: batch.messages.map(({ text }) => JSON.parse(text) as JsonObject), position: batch.position };
  };
  const login = async (user: TestUser): Promise<TestUser> => {
    const body = { type: "m.login.password", identifier: { type: "m.id.user", user: user.userId }, password: TEST_PASSWORD };
    const answer = (await server.anonymous.post(`${V3}/login`, body).expect(200)).body;
    return { userId: answer.user_id, accessToken: answer.access_token, deviceId: answer.device_id };
  };

  it("arrive at the device that they are for, in Synapse's row, and wake it", async () => {
    const listener = server.ctx.notifier.listen(bob.userId);
    await send(alice, { [bob.userId]: { [bob.deviceId]: { text: "é", n: 1 }, OTHER: { lost: true } } }).expect(200, {});
    assert.equal(await listener.wait(0, new AbortController().signal), true);
    listener.close();
    assert.deepEqual((await received(bob)).messages, [{ content: { text: "é", n: 1 }, type: "m.test", sender: alice.userId }]);
    const rows = await query<{ message_json: string; instance_name: string }>(
      server.ctx.read,
      "SELECT message_json, instance_name FROM device_inbox WHERE user_id = $1",
      [bob.userId],
    );
    assert.deepEqual(rows, [{ message_json: `{"content":{"text":"\\u00e9","n":1},"type":"m.test","sender":"${alice.userId}"}`, instance_name: "master" }]);
  });

  it("for * go to every device but hidden ones", async () => {
    const second = await login(bob);
    await server.ctx.transaction("hide", (t) => execute(t, "INSERT INTO devices (user_id, device_id, hidden) VALUES ($1, 'key', true)", [bob.userId]));
    await send(alice, { [bob.userId]: { "*": { a: 1 } } }).expect(200);
    for (const device of [bob, second]) assert.equal((await received(device)).messages.length, 1);
    assert.equal((await query(server.ctx.read, "SELECT * FROM device_inbox WHERE user_id = $1", [bob.userId])).length, 2);
  });

  it("stay until the client comes back with a later token, and no longer (risk 90)", async () => {
    const { ctx } = server;
    await send(alice, { [bob.userId]: { [bob.deviceId]: { n: 1 } } }).expect(200);
    const first = await received(bob);
    assert.equal(first.messages.length, 1);
    await acknowledgeToDevice(ctx, bob.userId, bob.deviceId, first.position - 1);
    assert.equal((await received(bob)).messages.length, 1, "an unacknowledged message is given again");
    await send(alice, { [bob.userId]: { [bob.deviceId]: { n: 2 } } }).expect(200);
    await acknowledgeToDevice(ctx, bob.userId, bob.deviceId, first.position);
    assert.deepEqual(
      (await received(bob)).messages.map(({ content }) => content),
      [{ n: 2 }],
    );
    const { position } = await received(bob, first.position);
    await acknowledgeToDevice(ctx, bob.userId, bob.deviceId, position);
    assert.deepEqual(await query(ctx.read, "SELECT * FROM device_inbox WHERE user_id = $1", [bob.userId]), []);
    await send(alice, { [bob.userId]: { [bob.deviceId]: { n: 3 } } }).expect(200);
    assert.equal((await received(bob, position)).messages.length, 1);
  });

  it("a token from the future deletes nothing that was not delivered", async () => {
    const { ctx } = server;
    await acknowledgeToDevice(ctx, bob.userId, bob.deviceId, 2 ** 50);
    await send(alice, { [bob.userId]: { [bob.deviceId]: { n: 1 } } }).expect(200);
    const { messages, position } = await received(bob);
    assert.equal(messages.length, 1);
    await acknowledgeToDevice(ctx, bob.userId, bob.deviceId, position);
    assert.deepEqual((await received(bob)).messages, []);
  });

  it("come in pages in their order", async () => {
    for (let n = 0; n < 5; n++) await send(alice, { [bob.userId]: { [bob.deviceId]: { n } } }).expect(200);
    const seen: Json[] = [];
    let since = 0;
    for (let page = 0; page < 3; page++) {
      const { messages, position } = await received(bob, since, 2);
      seen.push(...messages.map(({ content }) => (content as JsonObject).n!));
      since = position;
    }
    assert.deepEqual(seen, [0, 1, 2, 3, 4]);
    assert.equal(since, server.ctx.streams.toDevice.currentToken());
  });

  it("sent again under the same transaction id arrive once", async () => {
    await Promise.all([1, 2].map(() => send(alice, { [bob.userId]: { [bob.deviceId]: { n: 1 } } }, "same").expect(200)));
    assert.equal((await received(bob)).messages.length, 1);
  });

  it("for other servers wait in the outbox, as the content of an EDU", async () => {
    const { ctx } = server;
    await send(alice, { "@r:remote1": { D: { n: 1 } }, "@s:remote1": { "*": { n: 2 } }, "@t:remote2": { E: { n: 3 } } }).expect(200);
    const [edu, ...more] = await outboxMessages(ctx.read, "remote1", 0, ctx.streams.toDevice.currentToken(), 10);
    assert.equal(more.length, 0);
    const content = JSON.parse(edu!.json);
    assert.match(content.message_id, /^[a-zA-Z]{16}$/);
    assert.deepEqual(
      { ...content, message_id: "" },
      {
        sender: alice.userId,
        type: "m.test",
        message_id: "",
        messages: { "@r:remote1": { D: { n: 1 } }, "@s:remote1": { "*": { n: 2 } } },
        "org.matrix.opentracing_context": "{}",
      },
    );
  });

  it("are split into EDUs that keep below 64 KiB, with nothing lost", () => {
    const users = Object.fromEntries(
      Array.from({ length: 10 }, (_, u) => [
        `@u${u}:r`,
        Object.fromEntries(Array.from({ length: u === 0 ? 40 : 2 }, (_, d) => [`D${d}`, { x: "y".repeat(4000) }])),
      ]),
    );
    const parts = splitIntoEdus("@a:b", "m.test", users);
    const merged: Record<string, Record<string, unknown>> = {};
    for (const part of parts) {
      assert.ok(JSON.stringify(part).length < 65_536);
      for (const [user, devices] of Object.entries(part)) merged[user] = { ...merged[user], ...devices };
    }
    assert.deepEqual(merged, users);
    assert.equal(parts.length, 4);
  });

  it("too large or malformed are refused whole", async () => {
    const { body } = await send(alice, { [bob.userId]: { [bob.deviceId]: { x: "y".repeat(70_000) } } }).expect(413);
    assert.equal(body.errcode, "M_TOO_LARGE");
    for (const messages of [[], { [bob.userId]: [] }, { [bob.userId]: { D: "x" } }, { [bob.userId]: { D: null } }]) await send(alice, messages).expect(400);
    await server.as(alice).put(`${V3}/sendToDevice/m.test/t${txn++}`, {}).expect(400);
    await send(alice, { nobody: { D: {} } }).expect(200);
    assert.deepEqual((await received(bob)).messages, []);
  });

  it("of a deleted device are deleted with it", async () => {
    await send(alice, { [bob.userId]: { [bob.deviceId]: { n: 1 } } }).expect(200);
    await server.as(bob).post(`${V3}/logout`).expect(200);
    assert.deepEqual(await query(server.ctx.read, "SELECT * FROM device_inbox WHERE user_id = $1", [bob.userId]), []);
  });

  it("of a deleted device, more than go at once, are deleted by Synapse's task", async () => {
    const { ctx } = server;
    await ctx.transaction("fill", (t) =>
      execute(
        t,
        "INSERT INTO device_inbox (user_id, device_id, stream_id, message_json, instance_name) SELECT $1, $2, 1, '{}', 'master' FROM generate_series(1, 2500)",
        [bob.userId, bob.deviceId],
      ),
    );
    await send(alice, { [bob.userId]: { [bob.deviceId]: { n: 1 } } }).expect(200);
    await server.as(bob).post(`${V3}/logout`).expect(200);
    const [task] = await query<{ action: string; resource_id: string; params: string }>(
      ctx.read,
      "SELECT action, resource_id, params FROM scheduled_tasks WHERE resource_id = $1",
      [bob.deviceId],
    );
    assert.equal(task!.action, "delete_device_messages");
    assert.deepEqual(JSON.parse(task!.params), { user_id: bob.userId, device_id: bob.deviceId, up_to_stream_id: ctx.streams.toDevice.currentToken() });
    for (let i = 0; i < 100 && (await query(ctx.read, "SELECT FROM device_inbox WHERE user_id = $1 LIMIT 1", [bob.userId])).length > 0; i++)
      await ctx.clock.sleep(50);
    assert.deepEqual(await query(ctx.read, "SELECT * FROM device_inbox WHERE user_id = $1", [bob.userId]), []);
  });

  describe("from other servers", () => {
    const edu = (over: object = {}): JsonObject =>
      ({ sender: "@r:remote", type: "m.test", message_id: `m${txn++}`, messages: { [bob.userId]: { [bob.deviceId]: { n: 1 } } }, ...over }) as JsonObject;

    it("arrive once, however often the EDU comes, also twice at the same moment (risk 90)", async () => {
      const one = edu();
      await Promise.all([receiveToDevice(server.ctx, "remote", one), receiveToDevice(server.ctx, "remote", one)]);
      await receiveToDevice(server.ctx, "remote", one);
      assert.equal((await received(bob)).messages.length, 1);
      await receiveToDevice(server.ctx, "remote", edu());
      assert.equal((await received(bob)).messages.length, 2);
    });

    it("with a sender of another server are dropped whole (Synapse 1.157.2, advisory 6)", async () => {
      await receiveToDevice(server.ctx, "evil", edu());
      await receiveToDevice(server.ctx, "evil", edu({ sender: bob.userId }));
      for (const sender of [null, 1, "@r", ["@r:evil"]]) await receiveToDevice(server.ctx, "evil", edu({ sender }));
      assert.deepEqual((await received(bob)).messages, []);
    });
  });
});
