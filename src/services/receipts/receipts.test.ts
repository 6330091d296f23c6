import assert from "node:assert/strict";
import { query } from "../../storage/database.ts";
import { putReceipts, type NewReceipt, threadForReceipt, threadOfEvent } from "../../storage/receipts/receipts.ts";
import { bareEvent, bareMembership, bareRoom } from "../../testing/bare-room.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import { receiveReceipts } from "./receipts.ts";
import { receiptContents, receiptsSince } from "./streams.ts";

describe("receipts", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  const ROOM = "!r:test";
  const events: string[] = [];
  before(async () => {
    server = await startTestServer();
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
    await bareRoom(server.ctx, ROOM, [alice.userId, bob.userId, "@r:remote"]);
    for (let i = 0; i < 4; i++) events.push(await bareEvent(server.ctx, ROOM, bob.userId));
  });
  after(() => server.close());

  const receipt = (over: Partial<NewReceipt> = {}): NewReceipt => {
    const eventId = over.eventId ?? events[0]!;
    return { roomId: ROOM, receiptType: "m.read", userId: alice.userId, eventId, eventIds: [eventId], threadId: null, data: '{"ts":1}', ...over };
  };
  const put = async (...receipts: NewReceipt[]): Promise<number> => {
    const { ctx } = server;
    return await ctx.transaction(
      "put",
      async (txn) => {
        const ids = await ctx.streams.receipts.next(txn, receipts.length);
        const stored = await putReceipts(txn, receipts, ids, "master");
        txn.afterCommit(() => ctx.changes.receipts.record(ROOM, ids.at(-1)!));
        return stored.length;
      },
      { isolation: "read committed" },
    );
  };
  const rows = (table: string): Promise<Record<string, unknown>[]> =>
    query(server.ctx.read, `SELECT * FROM ${table} WHERE user_id = $1 ORDER BY thread_id NULLS FIRST`, [alice.userId]);

  it("are stored in both tables, with the event's position (risk 80)", async () => {
    assert.equal(await put(receipt({ eventId: events[1]! })), 1);
    const [linear] = await rows("receipts_linearized");
    const [event] = await query<{ stream_ordering: number }>(server.ctx.read, "SELECT stream_ordering FROM events WHERE event_id = $1", [events[1]]);
    assert.deepEqual(linear, {
      stream_id: server.ctx.streams.receipts.currentToken(),
      room_id: ROOM,
      receipt_type: "m.read",
      user_id: alice.userId,
      event_id: events[1],
      data: '{"ts":1}',
      instance_name: "master",
      event_stream_ordering: event!.stream_ordering,
      thread_id: null,
    });
    assert.deepEqual(await rows("receipts_graph"), [
      { room_id: ROOM, receipt_type: "m.read", user_id: alice.userId, event_ids: `["${events[1]}"]`, data: '{"ts":1}', thread_id: null },
    ]);
  });

  it("do not go back, nor stand still; unthreaded and threaded ones go their own ways, one row each (risk 80)", async () => {
    assert.equal(await put(receipt({ eventId: events[0]! })), 0);
    assert.equal(await put(receipt({ eventId: events[1]! })), 0);
    assert.equal(await put(receipt({ eventId: events[0]!, threadId: "main" }), receipt({ eventId: events[0]!, threadId: "$root" })), 2);
    assert.equal(await put(receipt({ eventId: events[2]! }), receipt({ eventId: events[2]!, threadId: "main" })), 2);
    assert.deepEqual(
      (await rows("receipts_linearized")).map(({ thread_id, event_id }) => [thread_id, event_id]),
      [
        [null, events[2]],
        ["$root", events[0]],
        ["main", events[2]],
      ],
    );
    assert.equal((await rows("receipts_graph")).length, 3);
  });

  it("of the same user at the same moment leave the newest", async () => {
    await Promise.all(events.map((eventId) => put(receipt({ eventId, userId: bob.userId }))));
    const stored = await query<{ event_id: string }>(server.ctx.read, "SELECT event_id FROM receipts_linearized WHERE user_id = $1", [bob.userId]);
    assert.deepEqual(stored, [{ event_id: events[3] }]);
  });

  it("for events that the server does not have are kept without a position", async () => {
    assert.equal(await put(receipt({ eventId: "$unknown", receiptType: "m.read.private" })), 1);
    const [row] = await query<{ event_stream_ordering: number | null }>(
      server.ctx.read,
      "SELECT event_stream_ordering FROM receipts_linearized WHERE event_id = '$unknown'",
    );
    assert.equal(row!.event_stream_ordering, null);
  });

  it("are shown since a position; private ones to their owner alone", async () => {
    const { ctx } = server;
    const upTo = ctx.streams.receipts.currentToken();
    const forBob = (await receiptsSince(ctx, bob.userId, [ROOM], undefined, upTo)).get(ROOM)!;
    assert.equal(forBob["$unknown"], undefined);
    assert.deepEqual(Object.keys(forBob[events[2]!]!["m.read"]!), [alice.userId]);
    const forAlice = (await receiptsSince(ctx, alice.userId, [ROOM], undefined, upTo)).get(ROOM)!;
    assert.equal(forAlice["$unknown"]!["m.read.private"]![alice.userId]!.text, '{"ts":1}');
    assert.equal((await receiptsSince(ctx, alice.userId, [ROOM], upTo, upTo)).size, 0);
    await put(receipt({ eventId: events[3]! }));
    const news = (await receiptsSince(ctx, bob.userId, [ROOM, "!other:test"], upTo, upTo + 1)).get(ROOM)!;
    assert.deepEqual(Object.keys(news), [events[3]]);
  });

  it("say their thread, unless the user has an unthreaded one for the same event", () => {
    const row = { roomId: ROOM, receiptType: "m.read", userId: "@a:b", eventId: "$e", data: '{"ts":1}' };
    const threaded = receiptContents([{ ...row, threadId: "main" }], "@x:y").get(ROOM)!;
    assert.equal(threaded["$e"]!["m.read"]!["@a:b"]!.text, '{"ts":1,"thread_id":"main"}');
    const both = receiptContents(
      [
        { ...row, threadId: "main" },
        { ...row, threadId: null },
      ],
      "@x:y",
    ).get(ROOM)!;
    assert.equal(both["$e"]!["m.read"]!["@a:b"]!.text, '{"ts":1}');
  });

  describe("from other servers", () => {
    const edu = (room: string, user: string, body: unknown): any => ({ [room]: { "m.read": { [user]: body } } });
    const stored = (user: string): Promise<object[]> =>
      query(server.ctx.read, "SELECT event_id, thread_id FROM receipts_linearized WHERE user_id = $1", [user]);

    it("are taken of members of the sending server alone (CVE-2023-42453, Synapse 1.2.1)", async () => {
      const good = { event_ids: [events[1]], data: { ts: 5, thread_id: "main" } };
      await receiveReceipts(server.ctx, "remote", edu(ROOM, "@r:remote", good));
      assert.deepEqual(await stored("@r:remote"), [{ event_id: events[1], thread_id: "main" }]);
      await receiveReceipts(server.ctx, "remote", edu(ROOM, "@stranger:remote", good));
      await receiveReceipts(server.ctx, "evil", edu(ROOM, "@r:remote", { ...good, event_ids: [events[3]] }));
      await receiveReceipts(server.ctx, "remote", edu("!unknown:test", "@r:remote", good));
      assert.deepEqual(await stored("@stranger:remote"), []);
      assert.deepEqual(await stored("@r:remote"), [{ event_id: events[1], thread_id: "main" }]);
      await bareMembership(server.ctx, ROOM, "@r:remote", "leave");
      await receiveReceipts(server.ctx, "remote", edu(ROOM, "@r:remote", { ...good, event_ids: [events[3]] }));
      assert.deepEqual(await stored("@r:remote"), [{ event_id: events[1], thread_id: "main" }]);
      await bareMembership(server.ctx, ROOM, "@r:remote", "join");
    });

    it("malformed ones are passed over, the rest is taken", async () => {
      for (const bad of [5, null, [], { event_ids: "x" }, { event_ids: [] }, { event_ids: [1] }, { event_ids: ["a\0b"] }])
        await receiveReceipts(server.ctx, "remote", edu(ROOM, "@r:remote", bad));
      await receiveReceipts(server.ctx, "remote", { [ROOM]: 5, "!x:y": { "m.read": 5 } });
      await receiveReceipts(server.ctx, "remote", edu(ROOM, "@r:remote", { event_ids: [events[0], events[2]], data: 7 }));
      assert.deepEqual((await stored("@r:remote")).length, 2);
    });
  });

  it("may be put into a thread that the event is in, or is the root of", async () => {
    const [root, reply, reaction] = [
      await bareEvent(server.ctx, ROOM, alice.userId),
      await bareEvent(server.ctx, ROOM, alice.userId),
      await bareEvent(server.ctx, ROOM, alice.userId),
    ];
    await server.ctx.transaction("relate", async (txn) => {
      await query(txn, "INSERT INTO event_relations (event_id, relates_to_id, relation_type) VALUES ($1, $2, 'm.thread'), ($3, $4, 'm.annotation')", [
        reply,
        root,
        reaction,
        reply,
      ]);
    });
    const { read } = server.ctx;
    assert.deepEqual(await Promise.all([root, reply, reaction].map((id) => threadOfEvent(read, id))), ["main", root, root]);
    assert.deepEqual(await Promise.all([root, reply, reaction].map((id) => threadForReceipt(read, id))), [root, root, root]);
    assert.equal(await threadForReceipt(read, events[0]!), "main");
  });
});
