import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "mocha";
import { systemClock } from "../../../lib/clock.ts";
import type { JsonObject } from "../../../lib/json.ts";
import { execute, query } from "../../../storage/database.ts";
import { eventually } from "../../../testing/eventually.ts";
import { type FederatedTestServer, startFederatedServer } from "../../../testing/federated-server.ts";
import { FederationPeer, type PeerRoom } from "../../../testing/federation-peer.ts";
import { makeRoom } from "../../../testing/rooms.ts";
import type { TestUser } from "../../../testing/server.ts";

interface Transaction {
  readonly pdus: readonly JsonObject[];
  readonly edus: readonly { edu_type: string; content: JsonObject }[];
}

describe("what is sent to other servers", function () {
  this.timeout(30_000);
  let server: FederatedTestServer;
  let alice: TestUser;
  let peer: FederationPeer;
  /** How the peer answers transactions. */
  let answer: { status: number; body: unknown };
  let txn = 0;

  before(async () => {
    server = await startFederatedServer();
    alice = await server.register("alice");
  });
  after(() => server?.close());
  beforeEach(async () => {
    await peer?.close();
    peer = await FederationPeer.start();
    answer = { status: 200, body: { pdus: {} } };
    peer.answers.push(({ path: [, what] }) => (what === "send" ? answer : undefined));
  });
  after(() => peer?.close());

  const sent = (): Transaction[] => peer.requests.filter(({ path }) => path[1] === "send").map(({ body }) => body as unknown as Transaction);
  const bodies = (): string[] => sent().flatMap(({ pdus }) => pdus.map((pdu) => String((pdu.content as JsonObject).body)));
  const edus = (type: string): JsonObject[] =>
    sent().flatMap((transaction) => transaction.edus.filter((edu) => edu.edu_type === type).map((edu) => edu.content));
  const write = async (roomId: string, body: string): Promise<void> => {
    await server
      .as(alice)
      .put(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${txn++}`, { msgtype: "m.text", body })
      .expect(200);
  };
  const sharedRoom = async (): Promise<{ roomId: string; room: PeerRoom }> => {
    const roomId = await makeRoom(server.ctx, alice.userId);
    return { roomId, room: await peer.join(server, roomId, "bob") };
  };
  const destination = async () =>
    (
      await query<{ retry_interval: number | null; last: number | null }>(
        server.ctx.read,
        "SELECT retry_interval, last_successful_stream_ordering AS last FROM destinations WHERE destination = $1",
        [peer.name],
      )
    )[0];

  it("goes on whatever shape the answers have (GHSA advisories of Synapse 1.157.2)", async () => {
    const { roomId } = await sharedRoom();
    for (const [index, body] of [[], 5, null, '"text"', { pdus: [] }, { pdus: { $x: "no" } }, { pdus: { $x: { error: 5 } } }, {}].entries()) {
      answer = { status: 200, body };
      await write(roomId, `answer ${index}`);
      await eventually(`event ${index}`, () => bodies().includes(`answer ${index}`));
    }
    assert.equal((await destination())?.retry_interval ?? 0, 0);
  });

  it("is remembered in Synapse's tables: what is to go where, and how far it has got", async () => {
    const { roomId } = await sharedRoom();
    await write(roomId, "remembered");
    await eventually("delivery", () => bodies().includes("remembered"));
    await server.ctx.federationSender.settled();
    const [row] = await query<{ stream_ordering: number }>(
      server.ctx.read,
      "SELECT stream_ordering FROM destination_rooms WHERE destination = $1 AND room_id = $2",
      [peer.name, roomId],
    );
    assert.equal(row?.stream_ordering, (await destination())?.last);
    assert.equal(row?.stream_ordering, server.ctx.streams.events.currentToken());
  });

  it("comes in transactions of at most 50 events, in order", async () => {
    const { roomId } = await sharedRoom();
    answer = { status: 503, body: {} };
    for (let i = 0; i < 60; i++) await write(roomId, `burst ${i}`);
    await eventually("a failure", async () => (await server.ctx.backoff.interval(peer.name)) > 0);
    peer.requests.length = 0;
    answer = { status: 200, body: {} };
    await server.ctx.backoff.reset(peer.name);
    await eventually("all", () => bodies().includes("burst 59"));
    assert.ok(sent().every(({ pdus, edus: list }) => pdus.length <= 50 && list.length <= 100));
    assert.deepEqual(
      bodies(),
      [...bodies()].sort((a, b) => Number(a.slice(6)) - Number(b.slice(6))),
    );
  });

  it("stops when the server has left, after its leave or kick", async () => {
    const { roomId, room } = await sharedRoom();
    await server
      .as(alice)
      .post(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/kick`, { user_id: peer.user("bob") })
      .expect(200);
    await eventually("the kick", () => sent().some(({ pdus }) => pdus.some((pdu) => (pdu.content as JsonObject).membership === "leave")));
    await write(roomId, "not for them");
    await server.ctx.federationSender.settled();
    assert.ok(!bodies().includes("not for them"));
    assert.ok(room.events.size > 0);
  });

  it("leaves a server in peace that refuses transactions", async () => {
    const { roomId } = await sharedRoom();
    answer = { status: 404, body: { errcode: "M_UNRECOGNIZED" } };
    await write(roomId, "refused");
    await eventually("a retry interval", async () => ((await destination())?.retry_interval ?? 0) > 0);
    const tries = sent().length;
    await write(roomId, "kept back");
    await server.ctx.federationSender.settled();
    assert.equal(sent().length, tries);
  });

  it("is only the newest of each room after a long time away", async () => {
    const { roomId } = await sharedRoom();
    const { roomId: other } = await sharedRoom();
    await write(roomId, "before");
    await eventually("delivery", () => bodies().includes("before"));
    await server.ctx.federationSender.settled();
    await execute(
      ...updateRow("UPDATE destinations SET retry_last_ts = $2, retry_interval = 86400000, failure_ts = $2 WHERE destination = $1", [
        peer.name,
        server.ctx.clock.now(),
      ]),
    );
    // eslint-disable-next-line -- the cache of timings is private
    (server.ctx.backoff as unknown as { timings: Map<string, unknown> }).timings.delete(peer.name);
    for (const room of [roomId, other]) for (let i = 0; i < 5; i++) await write(room, `missed ${i}`);
    await server.ctx.federationSender.settled();
    assert.ok(!bodies().some((body) => body.startsWith("missed")));
    await server.ctx.backoff.reset(peer.name);
    await eventually("catching up", () => bodies().filter((body) => body === "missed 4").length === 2);
    assert.equal(bodies().filter((body) => body.startsWith("missed")).length, 2);
    await write(roomId, "present");
    await eventually("what is new", () => bodies().includes("present"));
  });

  it("passes over rows that are broken (CVE-2025-61672, CVE-2023-32323)", async () => {
    await sharedRoom();
    const { streams } = server.ctx;
    const insert = "INSERT INTO device_federation_outbox (destination, stream_id, queued_ts, messages_json, instance_name) VALUES ($1, $2, 0, $3, 'master')";
    for (const json of [
      "no json",
      "[]",
      '{"sender":"@a:b","type":"m.bad","message_id":"1","messages":{"lone":"\\ud800"}}',
      '{"sender":"@a:b","type":"m.good","message_id":"2","messages":{}}',
    ]) {
      await server.ctx.transaction("bad row", async (t) => {
        const [id] = await streams.toDevice.next(t);
        await execute(t, insert, [peer.name, id, json]);
      });
    }
    await server.ctx.transaction("bad keys", async (t) => {
      const [id] = await streams.deviceLists.next(t);
      await execute(t, "INSERT INTO e2e_device_keys_json (user_id, device_id, ts_added_ms, key_json) VALUES ($1, $2, 0, '[broken')", [
        alice.userId,
        alice.deviceId,
      ]);
      await execute(
        t,
        "INSERT INTO device_lists_outbound_pokes (destination, stream_id, user_id, device_id, sent, ts, instance_name) VALUES ($1, $2, $3, $4, false, 0, 'master')",
        [peer.name, id, alice.userId, alice.deviceId],
      );
    });
    server.ctx.federationSender.wake([peer.name]);
    await eventually("the good ones", () => edus("m.direct_to_device").some((content) => content.type === "m.good") && edus("m.device_list_update").length > 0);
    await server.ctx.federationSender.settled();
    assert.deepEqual(await query(server.ctx.read, "SELECT stream_id FROM device_federation_outbox WHERE destination = $1", [peer.name]), []);
    assert.deepEqual(await query(server.ctx.read, "SELECT stream_id FROM device_lists_outbound_pokes WHERE destination = $1", [peer.name]), []);
    assert.equal(
      edus("m.direct_to_device").some((content) => content.type === "m.bad"),
      false,
    );
  });

  it("chains device list updates by the ids of those before", async () => {
    await sharedRoom();
    for (let i = 0; i < 3; i++) {
      const before = edus("m.device_list_update").length;
      await server
        .as(alice)
        .put(`/_matrix/client/v3/devices/${alice.deviceId}`, { display_name: `name ${i}` })
        .expect(200);
      await eventually("an update", () => edus("m.device_list_update").length > before);
    }
    const updates = edus("m.device_list_update");
    for (const [index, update] of updates.entries()) assert.deepEqual(update.prev_id, index === 0 ? update.prev_id : [updates[index - 1]!.stream_id]);
    assert.ok(
      updates.every((update) => update.device_display_name === undefined),
      "names of devices stay here",
    );
  });

  it("has receipts of several threads in EDUs of their own", async () => {
    const { roomId } = await sharedRoom();
    const receipt = (threadId: string | undefined, eventId: string) => ({
      roomId,
      receiptType: "m.read",
      userId: alice.userId,
      eventIds: [eventId],
      threadId,
      data: { ts: 1 },
    });
    answer = { status: 200, body: {} };
    for (const [thread, event] of [
      [undefined, "$1"],
      ["main", "$2"],
      ["main", "$3"],
      ["$t", "$4"],
    ] as const)
      server.ctx.federationSender.sendReceipt(receipt(thread, event));
    const found = () =>
      edus("m.receipt").map(
        (content) => ((content[roomId] as JsonObject)["m.read"] as JsonObject)[alice.userId] as { event_ids: string[]; data: { thread_id?: string } },
      );
    for (const [thread, event] of [
      [undefined, "$1"],
      ["main", "$3"],
      ["$t", "$4"],
    ]) {
      await eventually(`receipt of ${thread}`, () => found().some((one) => one.data.thread_id === thread && one.event_ids[0] === event));
    }
  });

  it("is tried again as soon as it shows itself, though its failure is only on record since before the start", async () => {
    const { roomId } = await sharedRoom();
    await write(roomId, "before");
    await eventually("delivery", () => bodies().includes("before"));
    await server.ctx.federationSender.settled();
    const now = server.ctx.clock.now();
    await execute(
      ...updateRow("UPDATE destinations SET retry_last_ts = $2, retry_interval = 3000000, failure_ts = $2 WHERE destination = $1", [peer.name, now]),
    );
    (server.ctx.backoff as unknown as { timings: Map<string, unknown> }).timings.delete(peer.name);
    await peer.ask(server, "get", `/_matrix/federation/v1/query/profile?user_id=${encodeURIComponent(alice.userId)}`).expect(200);
    await eventually("its record is cleared", async () => (await destination())?.retry_interval === 0);
    await write(roomId, "after");
    await eventually("delivery", () => bodies().includes("after"));
  });

  it("has the presence of those in a room when the server comes, and of those who come later", async () => {
    const presence = (user: TestUser) => `/_matrix/client/v3/presence/${encodeURIComponent(user.userId)}/status`;
    const carol = await server.register(`carol${txn++}`);
    for (const user of [alice, carol]) await server.as(user).put(presence(user), { presence: "online", status_msg: "here" }).expect(200);
    const told = (user: TestUser): number => edus("m.presence").filter((content) => JSON.stringify(content).includes(user.userId)).length;
    const { roomId } = await sharedRoom();
    await eventually("presence of alice", () => told(alice) > 0);
    assert.equal(told(carol), 0);
    await server
      .as(carol)
      .post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}`)
      .expect(200);
    await eventually("presence of carol", () => told(carol) > 0);
    await server.ctx.federationSender.settled();
    const before = told(carol);
    await server
      .as(carol)
      .put(`/_matrix/client/v3/profile/${encodeURIComponent(carol.userId)}/displayname`, { displayname: "Caroline" })
      .expect(200);
    await eventually("the new name", () => sent().some(({ pdus }) => JSON.stringify(pdus).includes("Caroline")));
    await server.ctx.federationSender.settled();
    assert.equal(told(carol), before, "a new name is no join");
  });

  it("has the newest receipt and typing, though finding out who gets the one before took longer", async () => {
    const { roomId } = await sharedRoom();
    const { backoff, federationSender } = server.ctx;
    const triableWithin = backoff.triableWithin.bind(backoff);
    const sendBoth = async (send: (which: "$older" | "$newer") => void): Promise<void> => {
      let release = (): void => undefined;
      const held = new Promise<void>((resolve) => (release = resolve));
      let calls = 0;
      backoff.triableWithin = async (...args) => {
        if (calls++ === 0) await held;
        return await triableWithin(...args);
      };
      send("$older");
      await eventually("the first to be held", () => calls === 1);
      send("$newer");
      await systemClock.sleep(50);
      release();
      await federationSender.settled();
    };
    try {
      await sendBoth((event) =>
        federationSender.sendReceipt({ roomId, receiptType: "m.read", userId: alice.userId, eventIds: [event], threadId: undefined, data: { ts: 1 } }),
      );
      await sendBoth((event) => federationSender.sendKeyed([peer.name], "m.typing", "key", { typing: event === "$newer" }));
    } finally {
      backoff.triableWithin = triableWithin;
    }
    assert.ok(JSON.stringify(edus("m.receipt").at(-1)).includes("$newer"));
    assert.equal(edus("m.typing").at(-1)?.typing, true);
  });

  /** Arguments of `execute` outside of a transaction: for rows that a test plants. */
  function updateRow(sql: string, params: unknown[]): Parameters<typeof execute> {
    return [server.ctx.read as Parameters<typeof execute>[0], sql, params];
  }
});
