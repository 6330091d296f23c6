import assert from "node:assert/strict";
import type { StatementRecord } from "../../storage/database.ts";
import { query } from "../../storage/database.ts";
import { GoneWhilePersisting } from "../../storage/events/persist/state-tables.ts";
import { makeRoom, requesterOf } from "../../testing/rooms.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import { sendEvent, sendEvents } from "./send.ts";

describe("sending events", function () {
  this.timeout(60_000);
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let room: string;

  before(async () => {
    server = await startTestServer({ config: { experimental_features: { msc4354_enabled: true }, allow_guest_access: true } });
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
    room = await makeRoom(server.ctx, alice.userId, { members: [bob.userId] });
  });

  after(() => server.close());

  const path = (rest: string): string => `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/${rest}`;
  const rows = async (sql: string, params: unknown[] = []): Promise<Record<string, unknown>[]> => await query(server.ctx.read, sql, params);

  for (const version of ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]) {
    it(`makes a room of version ${version} and sends into it`, async () => {
      const id = await makeRoom(server.ctx, alice.userId, { version, members: [bob.userId] });
      const { eventId } = await sendEvent(server.ctx, requesterOf(bob.userId), {
        roomId: id,
        type: "m.room.message",
        content: { msgtype: "m.text", body: "hello" },
      });
      const event = await server.ctx.events.one(eventId);
      assert.equal(event!.content.body, "hello");
      const [broken] = await rows(
        `SELECT count(*) AS n FROM events AS e LEFT JOIN event_to_state_groups AS g USING (event_id) LEFT JOIN event_auth_chains AS c USING (event_id)
         WHERE e.room_id = $1 AND (g.event_id IS NULL OR (e.state_key IS NOT NULL AND c.event_id IS NULL))`,
        [id],
      );
      assert.equal(broken!.n, 0);
    });
  }

  it("into a room that was deleted meanwhile is refused", async () => {
    const gone = (): Promise<never> => Promise.reject(new GoneWhilePersisting("deleted"));
    const persister = Object.create(server.ctx.persister, { persist: { value: gone } }) as typeof server.ctx.persister;
    const input = { type: "m.room.message", sender: alice.userId, content: { msgtype: "m.text", body: "x" } };
    await assert.rejects(
      sendEvents(Object.create(server.ctx, { persister: { value: persister } }) as typeof server.ctx, requesterOf(alice.userId), room, [input]),
      { status: 403, errcode: "M_FORBIDDEN" },
    );
  });

  it("gives a repeated transaction the same event, also after a restart (risk 42)", async () => {
    const send = () => server.as(alice).put(path("send/m.room.message/t1"), { msgtype: "m.text", body: "once" });
    const [first, second] = await Promise.all([send(), send()]);
    assert.equal(first.status, 200, JSON.stringify(first.body));
    assert.equal(second.body.event_id, first.body.event_id);
    server.ctx.sendTransactions.forgetDevice(alice.userId, alice.deviceId);
    const again = await sendEvent(server.ctx, requesterOf(alice.userId, alice.deviceId), {
      roomId: room,
      type: "m.room.message",
      content: { msgtype: "m.text", body: "other" },
      txnId: "t1",
    });
    assert.equal(again.eventId, first.body.event_id);
    assert.equal((await rows(`SELECT 1 FROM event_txn_id_device_id WHERE txn_id = 't1'`)).length, 1);
  });

  it("answers bad events as Synapse does", async () => {
    const cases: [method: "put", path: string, body: object, status: number, errcode: string][] = [
      ["put", "send/m.room.message/a", { msgtype: "m.text" }, 400, "M_UNKNOWN"],
      ["put", "send/m.room.message/b", { msgtype: "m.text", body: 3 }, 400, "M_UNKNOWN"],
      ["put", "send/m.x/c", { big: 1.5 }, 400, "M_BAD_JSON"],
      ["put", "send/m.x/d", { text: "x".repeat(70_000) }, 413, "M_TOO_LARGE"],
      ["put", `send/${"t".repeat(256)}/e`, {}, 413, "M_TOO_LARGE"],
      ["put", "send/m.x/f", { "m.mentions": { user_ids: "x" } }, 400, "M_BAD_JSON"],
      ["put", "send/m.room.name/g", { name: "x" }, 400, "M_UNKNOWN"],
      ["put", "state/m.room.power_levels", { users: { [alice.userId]: "100" } }, 400, "M_BAD_JSON"],
      ["put", "state/m.room.server_acl", { allow: ["other"] }, 400, "M_UNKNOWN"],
      ["put", "state/m.room.create", { room_version: "11" }, 400, "M_INVALID_PARAM"],
      ["put", "state/m.room.canonical_alias", { alias: "#nowhere:test" }, 400, "M_BAD_ALIAS"],
      ["put", "send/m.reaction/h", { "m.relates_to": { rel_type: "m.annotation", event_id: "$unknown", key: "+" } }, 400, "M_UNKNOWN"],
      ["put", "send/m.x%00y/i", {}, 400, "M_UNKNOWN"],
    ];
    for (const [method, rest, body, status, errcode] of cases) {
      const response = await server.as(alice)[method](path(rest), body);
      assert.deepEqual([rest.slice(0, 40), response.status, response.body.errcode], [rest.slice(0, 40), status, errcode]);
    }
    const stranger = await server.register("stranger");
    assert.equal((await server.as(stranger).put(path("send/m.room.message/z"), { msgtype: "m.text", body: "x" })).status, 403);
    const unknown = await server.as(alice).put("/_matrix/client/v3/rooms/!nowhere:test/send/m.room.message/z", { msgtype: "m.text", body: "x" });
    assert.deepEqual([unknown.status, unknown.body.errcode], [403, "M_FORBIDDEN"]);
    assert.equal((await server.as(bob).put(path("state/m.room.name"), { name: "no" })).status, 403);
  });

  it("sets state once for the same content, and reads it in both forms", async () => {
    const first = await server.as(alice).put(path("state/m.room.name"), { name: "Name" });
    assert.equal(first.status, 200, JSON.stringify(first.body));
    const again = await server.as(alice).put(path("state/m.room.name/"), { name: "Name" });
    assert.equal(again.body.event_id, first.body.event_id);
    assert.deepEqual((await server.as(bob).get(path("state/m.room.name"))).body, { name: "Name" });
    const event = (await server.as(bob).get(path("state/m.room.name/?format=event"))).body;
    assert.deepEqual([event.event_id, event.sender, event.state_key], [first.body.event_id, alice.userId, ""]);
    const all = (await server.as(bob).get(path("state"))).body as { type: string }[];
    assert.ok(all.some(({ type }) => type === "m.room.create"));
    assert.equal((await server.as(bob).get(path("state/m.nothing"))).status, 404);
    const [group] = await rows(`SELECT count(*) AS n FROM current_state_delta_stream WHERE room_id = $1 AND type = 'm.room.name'`, [room]);
    assert.equal(group!.n, 1);
  });

  it("redacts: who may, and what is shown then", async () => {
    const sent = (await server.as(bob).put(path("send/m.room.message/r1"), { msgtype: "m.text", body: "secret" })).body.event_id as string;
    const carol = await server.register("carol");
    assert.equal((await server.as(carol).put(path(`redact/${sent}/x`), {})).status, 403);
    const redaction = await server.as(bob).put(path(`redact/${sent}/x`), { reason: "oops" });
    assert.equal(redaction.status, 200, JSON.stringify(redaction.body));
    const event = (await server.ctx.events.one(sent))!;
    assert.deepEqual([event.content, event.redactedBecause?.eventId], [{}, redaction.body.event_id]);
    const [row] = await rows(`SELECT redacts, recheck, have_censored FROM redactions WHERE event_id = $1`, [redaction.body.event_id]);
    assert.deepEqual(row, { redacts: sent, recheck: false, have_censored: false });
    const own = (await server.as(alice).put(path("send/m.room.message/r2"), { msgtype: "m.text", body: "of alice" })).body.event_id as string;
    assert.equal((await server.as(bob).put(path(`redact/${own}/y`), {})).status, 403);
  });

  it("keeps sticky events in their stream (MSC4354)", async () => {
    const response = await server.as(alice).put(path("send/m.x/sticky?org.matrix.msc4354.sticky_duration_ms=60000"), {});
    const [row] = await rows(
      `SELECT s.stream_id, s.expires_at - e.origin_server_ts AS lasts, s.event_stream_ordering = e.stream_ordering AS same FROM sticky_events AS s JOIN events AS e USING (event_id) WHERE s.event_id = $1`,
      [response.body.event_id],
    );
    assert.deepEqual([row!.lasts, row!.same, row!.stream_id], [60_000, true, server.ctx.streams.stickyEvents.currentToken()]);
  });

  it("lets guests leave when a room closes itself to them", async () => {
    const guest = "@1234:test";
    const id = await makeRoom(server.ctx, alice.userId);
    await sendEvents(server.ctx, requesterOf(guest), id, [
      { type: "m.room.member", stateKey: guest, sender: guest, content: { membership: "join", kind: "guest" } },
    ]);
    const left = new Promise<void>((resolve) => {
      const stop = server.ctx.publisher.onStored(({ memberships }) => {
        if (!memberships.some(({ userId, membership }) => userId === guest && membership === "leave")) return;
        stop();
        resolve();
      });
    });
    await sendEvent(server.ctx, requesterOf(alice.userId), { roomId: id, type: "m.room.guest_access", stateKey: "", content: { guest_access: "forbidden" } });
    await left;
  });

  it("reads nothing and writes one batch, with warm caches", async () => {
    const requester = requesterOf(alice.userId, alice.deviceId);
    const send = (n: number) =>
      sendEvent(server.ctx, requester, { roomId: room, type: "m.room.message", content: { msgtype: "m.text", body: `warm ${n}` }, txnId: `warm${n}` });
    await send(0);
    const statements: StatementRecord[] = [];
    const stop = server.ctx.db.observe((record) => statements.push(record));
    await send(1);
    stop();
    const persist = statements.filter(({ transaction }) => transaction === "persist_events");
    assert.deepEqual(
      statements.filter(({ transaction }) => transaction !== "persist_events").map(({ sql }) => sql),
      [],
    );
    assert.ok(persist.length <= 4, `${persist.length} statements:\n${persist.map(({ sql }) => sql.slice(0, 90)).join("\n")}`);
  });

  it("groups what many senders send at once into few transactions, in a line", async () => {
    const transactions = new Set<string>();
    let commits = 0;
    const stop = server.ctx.db.observe(({ sql }) => {
      if (sql.includes("INSERT INTO event_json")) commits++;
      transactions.add(sql);
    });
    const users = await Promise.all(Array.from({ length: 20 }, (_, n) => server.register(`sender${n}`)));
    const id = await makeRoom(server.ctx, alice.userId, { members: users.map((user) => user.userId) });
    commits = 0;
    await Promise.all(
      users.flatMap((user) =>
        [0, 1, 2].map((n) =>
          sendEvent(server.ctx, requesterOf(user.userId), { roomId: id, type: "m.room.message", content: { msgtype: "m.text", body: `${n}` } }),
        ),
      ),
    );
    stop();
    assert.ok(commits <= 30, `${commits} transactions for 60 events`);
    const [graph] = await rows(
      `SELECT count(*) AS events, max(depth) AS depth, (SELECT count(*) FROM event_forward_extremities WHERE room_id = $1) AS extremities FROM events WHERE room_id = $1`,
      [id],
    );
    assert.deepEqual(graph, { events: graph!.events, depth: graph!.events, extremities: 1 });
  });
});
