import assert from "node:assert/strict";
import { query } from "../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

describe("account data, filters", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  before(async () => {
    server = await startTestServer({ config: { experimental_features: { msc3391_enabled: true } } });
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
  });
  after(() => server.close());

  const path = (user: TestUser, type: string): string => `/_matrix/client/v3/user/${user.userId}/account_data/${type}`;

  it("gives back what was put, floats and big integers included, and writes Synapse's row (risk 93)", async () => {
    const body = '{"é":"\\u0000","float":1.0,"big":12345678901234567890}';
    await server
      .as(alice)
      .put(path(alice, "org.example"), body as unknown as object)
      .set("Content-Type", "application/json")
      .expect(200, {});
    const { text } = await server.as(alice).get(path(alice, "org.example")).expect(200);
    assert.equal(text, '{"\\u00e9":"\\u0000","float":1.0,"big":12345678901234567890}');
    const rows = await query(server.ctx.read, "SELECT * FROM account_data WHERE user_id = $1 AND account_data_type = 'org.example'", [alice.userId]);
    assert.deepEqual(rows, [
      { user_id: alice.userId, account_data_type: "org.example", stream_id: server.ctx.streams.accountData.currentToken(), content: text, instance_name: null },
    ]);
  });

  it("keeps to the requester's own data", async () => {
    await server.as(bob).get(path(alice, "org.example")).expect(403);
    await server.as(bob).put(path(alice, "org.example"), {}).expect(403);
    await server.as(alice).get(path(alice, "org.absent")).expect(404);
  });

  it("refuses types that have their own API with 405", async () => {
    for (const type of ["m.push_rules", "m.fully_read"]) {
      const { body } = await server.as(alice).put(path(alice, type), {}).expect(405);
      assert.equal(body.errcode, "M_BAD_JSON");
    }
  });

  it("answers 400, not 500, to U+0000 in a type", async () => {
    await server.as(alice).put(path(alice, "a%00b"), { x: 1 }).expect(400);
    await server
      .as(alice)
      .get(path(alice, "a%00b"))
      .expect((res) => assert.ok(res.status < 500));
  });

  it("wakes the owner's sync and advances the stream", async () => {
    const listener = server.ctx.notifier.listen(alice.userId);
    const before = server.ctx.streams.accountData.currentToken();
    await server.as(alice).put(path(alice, "org.woken"), { a: 1 }).expect(200);
    assert.equal(await listener.wait(0, new AbortController().signal), true);
    assert.ok(server.ctx.changes.accountData.hasChanged(alice.userId, before));
    listener.close();
  });

  it("takes many changes of one entry at the same moment", async () => {
    const lists = Array.from({ length: 20 }, (_, i) => ({ ignored_users: { [`@u${i}:x`]: {} } }));
    await Promise.all(lists.map((body) => server.as(bob).put(path(bob, "m.ignored_user_list"), body).expect(200)));
    const { body } = await server.as(bob).get(path(bob, "m.ignored_user_list")).expect(200);
    assert.deepEqual([...(await server.ctx.ignoredUsers.ignoredBy(bob.userId))], Object.keys(body.ignored_users));
  });

  it("shows push rules under m.push_rules", async () => {
    const { body } = await server.as(alice).get(path(alice, "m.push_rules")).expect(200);
    assert.equal(body.global.override[0].rule_id, ".m.rule.master");
  });

  describe("ignored users", () => {
    const list = (...ids: string[]): object => ({ ignored_users: Object.fromEntries(ids.map((id) => [id, {}])) });
    const rows = async (): Promise<string[]> =>
      (
        await query<{ ignored_user_id: string }>(server.ctx.read, "SELECT ignored_user_id FROM ignored_users WHERE ignorer_user_id = $1 ORDER BY 1", [
          alice.userId,
        ])
      ).map((row) => row.ignored_user_id);

    it("are copied into their table, and both caches follow", async () => {
      assert.deepEqual([...(await server.ctx.ignoredUsers.ignorersOf("@x:a"))], []);
      await server.as(alice).put(path(alice, "m.ignored_user_list"), list("@x:a", "@y:b")).expect(200);
      assert.deepEqual(await rows(), ["@x:a", "@y:b"]);
      assert.deepEqual([...(await server.ctx.ignoredUsers.ignorersOf("@x:a"))], [alice.userId]);
      await server.as(alice).put(path(alice, "m.ignored_user_list"), list("@y:b", "@z:c")).expect(200);
      assert.deepEqual(await rows(), ["@y:b", "@z:c"]);
      assert.deepEqual([...(await server.ctx.ignoredUsers.ignorersOf("@x:a"))], []);
      assert.deepEqual([...(await server.ctx.ignoredUsers.ignoredBy(alice.userId))].sort(), ["@y:b", "@z:c"]);
    });

    it("may not be oneself", async () => {
      const { body } = await server.as(alice).put(path(alice, "m.ignored_user_list"), list(alice.userId)).expect(400);
      assert.equal(body.errcode, "M_INVALID_PARAM");
      assert.deepEqual(await rows(), ["@y:b", "@z:c"]);
    });

    it("are nobody when the list is malformed or deleted (MSC3391)", async () => {
      await server.as(alice).put(path(alice, "m.ignored_user_list"), { ignored_users: "all" }).expect(200);
      assert.deepEqual(await rows(), []);
      await server.as(alice).put(path(alice, "m.ignored_user_list"), list("@x:a")).expect(200);
      await server.as(alice).delete(`/_matrix/client/unstable/org.matrix.msc3391/user/${alice.userId}/account_data/m.ignored_user_list`).expect(200);
      assert.deepEqual(await rows(), []);
      await server.as(alice).get(path(alice, "m.ignored_user_list")).expect(404);
    });
  });

  describe("in rooms", () => {
    const room = "!room:test";
    const roomPath = (type: string, id = room): string => `/_matrix/client/v3/user/${alice.userId}/rooms/${encodeURIComponent(id)}/account_data/${type}`;

    it("are kept by room, and deleted by an empty object with MSC3391", async () => {
      await server.as(alice).put(roomPath("org.example"), { a: 1 }).expect(200);
      await server.as(alice).get(roomPath("org.example")).expect(200, { a: 1 });
      await server.as(alice).get(roomPath("org.example", "!other:test")).expect(404);
      await server.as(alice).put(roomPath("org.example"), {}).expect(200);
      await server.as(alice).get(roomPath("org.example")).expect(404);
      const [row] = await query<{ content: string }>(server.ctx.read, "SELECT content FROM room_account_data WHERE user_id = $1", [alice.userId]);
      assert.equal(row!.content, "{}");
    });

    it("are refused for what is no room id", async () => {
      const { body } = await server.as(alice).put(roomPath("org.example", "room"), {}).expect(400);
      assert.equal(body.errcode, "M_INVALID_PARAM");
    });
  });

  describe("filters", () => {
    const filters = (user: TestUser): string => `/_matrix/client/v3/user/${user.userId}/filter`;

    it("get ids from 0, an equal one the id that it has", async () => {
      const ids: string[] = [];
      for (const body of [{ room: { timeline: { limit: 5 } } }, { event_fields: ["type"] }, { room: { timeline: { limit: 5 } } }]) {
        ids.push((await server.as(alice).post(filters(alice), body).expect(200)).body.filter_id);
      }
      assert.deepEqual(ids, ["0", "1", "0"]);
      await server
        .as(alice)
        .get(`${filters(alice)}/1`)
        .expect(200, { event_fields: ["type"] });
      const [row] = await query<{ user_id: string; filter_json: Buffer }>(
        server.ctx.read,
        "SELECT user_id, filter_json FROM user_filters WHERE full_user_id = $1 AND filter_id = 0",
        [alice.userId],
      );
      assert.deepEqual([row!.user_id, row!.filter_json.toString()], ["alice", '{"room":{"timeline":{"limit":5}}}']);
    });

    it("made at the same time get different ids", async () => {
      const made = await Promise.all(
        Array.from({ length: 4 }, (_, i) =>
          server
            .as(bob)
            .post(filters(bob), { event_fields: [`field${i}`] })
            .expect(200),
        ),
      );
      assert.equal(new Set(made.map(({ body }) => body.filter_id)).size, 4);
    });

    it("have their timeline cut to the server's limit", async () => {
      const { body } = await server
        .as(bob)
        .post(filters(bob), { room: { timeline: { limit: 100000 } } })
        .expect(200);
      assert.deepEqual(
        (
          await server
            .as(bob)
            .get(`${filters(bob)}/${body.filter_id}`)
            .expect(200)
        ).body,
        { room: { timeline: { limit: 100 } } },
      );
    });

    it("are refused when malformed", async () => {
      for (const filter of [
        { room: [] },
        { room: { rooms: ["nonsense"] } },
        { presence: { senders: ["bob"] } },
        { event_format: "other" },
        { room: { state: { lazy_load_members: 1 } } },
      ]) {
        await server.as(alice).post(filters(alice), filter).expect(400);
      }
      await server.as(alice).post(filters(bob), {}).expect(403);
      await server
        .as(alice)
        .get(`${filters(alice)}/999`)
        .expect(404);
      await server
        .as(alice)
        .get(`${filters(alice)}/x`)
        .expect(400);
    });
  });
});
