import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { query } from "../../../storage/database.ts";
import { FakeClock } from "../../../testing/fake-clock.ts";
import { makeRoom, requesterOf } from "../../../testing/rooms.ts";
import { startTestServer, type TestServer, type TestUser } from "../../../testing/server.ts";
import { sendEvent } from "../../events/send.ts";
import { PusherPool } from "./pusher-pool.ts";

const V3 = "/_matrix/client/v3";

interface Notification {
  readonly event_id?: string;
  readonly counts?: { unread: number };
  readonly devices: { pushkey: string; pushkey_ts: number; data: object; tweaks?: object }[];
  readonly [key: string]: unknown;
}

describe("Push gateways", function () {
  this.timeout(30_000);
  let server: TestServer;
  let gateway: Server;
  let clock: FakeClock;
  let pool: PusherPool;
  let alice: TestUser;
  let bob: TestUser;
  let room: string;
  let url: string;
  let count = 0;
  const got: Notification[] = [];
  let status = 200;
  let rejected: string[] = [];

  before(async () => {
    gateway = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        got.push((JSON.parse(Buffer.concat(chunks).toString("utf8")) as { notification: Notification }).notification);
        response.writeHead(status, { "content-type": "application/json", ...(status === 302 ? { location: "http://127.0.0.1:1/" } : {}) });
        response.end(JSON.stringify({ rejected }));
      });
    });
    gateway.listen(0, "0.0.0.0");
    await new Promise((resolve) => gateway.once("listening", resolve));
    url = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}/_matrix/push/v1/notify`;
    clock = new FakeClock();
    server = await startTestServer({ clock, config: { ip_range_whitelist: ["127.0.0.1"] } });
    await startPool();
  });

  after(async () => {
    await pool.close();
    await server.close();
    gateway.closeAllConnections();
    await new Promise((resolve) => gateway.close(resolve));
  });

  beforeEach(async () => {
    status = 200;
    rejected = [];
    count++;
    alice = await server.register(`alice${count}`);
    bob = await server.register(`bob${count}`);
    room = await makeRoom(server.ctx, alice.userId, { members: [bob.userId] });
    await quiet();
    got.length = 0;
  });

  afterEach(async () => {
    await server.as(bob).post(`${V3}/logout/all`).expect(200);
    await quiet();
  });

  async function startPool(): Promise<void> {
    pool = new PusherPool(() => server.ctx, server.ctx.config);
    await pool.start(server.ctx.publisher);
  }

  async function quiet(): Promise<void> {
    await pool.settled();
    clock.advance(1_500);
    await pool.settled();
  }

  const setPusher = async (data: object = {}): Promise<void> => {
    const body = {
      kind: "http",
      app_id: "app",
      app_display_name: "App",
      device_display_name: "Phone",
      pushkey: `key${count}`,
      lang: "en",
      data: { url, ...data },
    };
    await server.as(bob).post(`${V3}/pushers/set`, body).expect(200);
    await pool.settled();
  };
  const send = async (text: string, roomId = room): Promise<string> =>
    (await sendEvent(server.ctx, requesterOf(alice.userId), { roomId, type: "m.room.message", content: { msgtype: "m.text", body: text } })).eventId;
  const rows = (): Promise<{ last_success: number | null; failing_since: number | null; last_stream_ordering: number }[]> =>
    query(server.ctx.read, "SELECT last_success, failing_since, last_stream_ordering FROM pushers WHERE user_name = $1", [bob.userId]);

  it("are told what a module wants them to be told, by device, and asked once", async () => {
    await setPusher({ default_payload: { aps: 1, kept: true } });
    const content = { prio: "high", org: "x", devices: "replaced" };
    const tell = (deviceId?: string) => pool.dispatch(bob.userId, deviceId, { content, tweaks: { sound: "bing" }, defaultPayload: { aps: 2 } });
    assert.deepEqual(await tell(), { [bob.deviceId]: true });
    assert.deepEqual(await tell(bob.deviceId), { [bob.deviceId]: true });
    assert.deepEqual(await tell("OTHER"), {});
    assert.equal(got.length, 2);
    const { devices, ...rest } = got[0]!;
    assert.deepEqual(rest, { prio: "high", org: "x" });
    assert.deepEqual(devices, [
      {
        app_id: "app",
        pushkey: `key${count}`,
        pushkey_ts: devices[0]!.pushkey_ts,
        data: { default_payload: { aps: 2, kept: true } },
        tweaks: { sound: "bing" },
      },
    ]);
    status = 500;
    assert.deepEqual(await tell(), { [bob.deviceId]: false });
    status = 200;
    rejected = [`key${count}`];
    assert.deepEqual(await tell(), { [bob.deviceId]: false });
    assert.equal((await rows()).length, 1, "it is the server's own notifications that a rejected key ends");
    assert.deepEqual(await pool.dispatch("@nobody:test", undefined, { content: {}, tweaks: {}, defaultPayload: {} }), {});
  });

  it("are told of the event, its sender and room, the badge and the tweaks", async () => {
    await setPusher({ brand: "x" });
    const eventId = await send(`hello bob${count}`);
    await quiet();
    assert.equal(got.length, 1);
    const { devices, content, ...rest } = got[0]!;
    assert.deepEqual(rest, {
      id: eventId,
      event_id: eventId,
      room_id: room,
      type: "m.room.message",
      sender: alice.userId,
      prio: "high",
      counts: { unread: 1 },
      sender_display_name: `alice${count}`,
    });
    assert.deepEqual(content, { msgtype: "m.text", body: `hello bob${count}` });
    assert.deepEqual(
      devices.map(({ pushkey, data }) => [pushkey, data]),
      [[`key${count}`, { brand: "x" }]],
    );
    assert.deepEqual(devices[0]!.tweaks, { sound: "default", highlight: true });
    assert.ok((await rows())[0]!.last_success !== null);
  });

  it("of the format event_id_only are told no more than the id and the badge", async () => {
    await setPusher({ format: "event_id_only" });
    const eventId = await send("secret");
    await quiet();
    assert.deepEqual(
      got.map(({ devices: _devices, ...rest }) => rest),
      [{ event_id: eventId, room_id: room, prio: got[0]!.prio, counts: { unread: 1 } }],
    );
    assert.equal(got[0]!.devices[0]!.tweaks, undefined);
  });

  it("hear of what came while the server was down, in order, and not of what was read meanwhile", async () => {
    await setPusher();
    await pool.close();
    const read = await send("read");
    const unread = [await send("one"), await send("two")];
    await server
      .as(bob)
      .post(`${V3}/rooms/${room}/receipt/m.read/${encodeURIComponent(read)}`)
      .expect(200);
    await startPool();
    await quiet();
    assert.deepEqual(
      got.filter((one) => one.event_id !== undefined).map((one) => one.event_id),
      unread,
    );
    await pool.close();
    await startPool();
    await quiet();
    assert.deepEqual(got.filter((one) => one.event_id !== undefined).length, 2);
  });

  it("that fail are asked again after pauses that double, and are given up after a day", async () => {
    await setPusher();
    status = 500;
    const eventId = await send("one");
    await pool.settled();
    assert.equal(got.length, 1);
    const later = await send("two");
    await pool.settled();
    assert.equal(got.length, 1);
    for (const pause of [1_000, 2_000, 4_000]) {
      const tries: number = got.length;
      clock.advance(pause - 1);
      await pool.settled();
      assert.equal(got.length, tries);
      clock.advance(1);
      await pool.settled();
      assert.equal(got.length, tries + 1);
    }
    assert.ok(got.every((one) => one.event_id === eventId));
    assert.ok((await rows())[0]!.failing_since !== null);
    clock.advance(25 * 3_600_000);
    await pool.settled();
    status = 200;
    got.length = 0;
    clock.advance(3_600_000);
    await quiet();
    assert.deepEqual(
      got.map((one) => one.event_id),
      [later],
    );
    assert.equal((await rows())[0]!.failing_since, null);
  });

  it("that reject the push key lose the pusher; other keys do not count", async () => {
    await setPusher();
    rejected = ["another key"];
    await send("one");
    await quiet();
    assert.equal((await rows()).length, 1);
    rejected = [`key${count}`];
    await send("two");
    await quiet();
    assert.equal((await rows()).length, 0);
    const deleted = await query(server.ctx.read, "SELECT app_id FROM deleted_pushers WHERE user_id = $1", [bob.userId]);
    assert.equal(deleted.length, 1);
    await send("three");
    await quiet();
    assert.equal(got.length, 2);
  });

  it("are told the new badge when the user reads, once", async () => {
    await setPusher();
    const eventId = await send("one");
    await quiet();
    got.length = 0;
    await server
      .as(bob)
      .post(`${V3}/rooms/${room}/receipt/m.read/${encodeURIComponent(eventId)}`)
      .expect(200);
    await quiet();
    assert.deepEqual(
      got.map(({ devices: _devices, ...rest }) => rest),
      [{ id: "", type: null, sender: "", counts: { unread: 0 } }],
    );
    await server
      .as(bob)
      .post(`${V3}/rooms/${room}/receipt/m.read/${encodeURIComponent(eventId)}`)
      .expect(200);
    await quiet();
    assert.equal(got.length, 1);
  });

  it("at addresses that are out of reach get nothing, nor where a redirect leads", async () => {
    await setPusher({ url: url.replace("127.0.0.1", "127.0.0.2") });
    await send("one");
    await quiet();
    assert.deepEqual(got, []);
    assert.ok((await rows())[0]!.failing_since !== null);
    status = 302;
    await setPusher();
    await send("two");
    await quiet();
    assert.ok(got.length >= 1);
    assert.ok((await rows())[0]!.failing_since !== null);
  });

  it("take no work for users whom nothing notifies", async () => {
    await setPusher();
    const carol = await server.register(`carol${count}`);
    const elsewhere = await makeRoom(server.ctx, alice.userId, { members: [carol.userId] });
    await quiet();
    const statements: string[] = [];
    const stop = server.ctx.db.observe(({ sql }) => {
      if (/pushers|receipts_linearized/.test(sql)) statements.push(sql);
    });
    await send("for carol", elsewhere);
    await pool.settled();
    stop();
    assert.deepEqual([statements, got], [[], []]);
  });
});
