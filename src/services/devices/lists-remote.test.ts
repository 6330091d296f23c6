import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/json.ts";
import { signingKeyFromSeed } from "../../protocol/event/sign.ts";
import { deleteOutboxMessages } from "../../storage/devices/inbox.ts";
import { acknowledgePokes, lastAcknowledged, outboundPokes, pruneOutboundPokes } from "../../storage/devices/lists-outbound.ts";
import { pruneChangesInRooms } from "../../storage/devices/lists.ts";
import { execute, query } from "../../storage/database.ts";
import { bareMembership, bareRoom } from "../../testing/bare-room.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import type { Context } from "../context.ts";
import { noRemoteServers } from "../remote-servers.ts";
import { devicesForServer } from "../federation/inbound/queries.ts";
import { deviceListEdus, toDeviceEdus } from "../federation/outbound/device-edus.ts";
import { queryKeys, queryKeysForServer } from "./keys-query.ts";
import { receiveSigningKeyUpdate } from "./cross-signing.ts";
import { handleRemoteDeviceListUpdate, resyncDevices, retryResyncs } from "./lists-remote.ts";

const ROOM = "!r:test";

describe("device lists of other servers", () => {
  let server: TestServer;
  let ctx: Context;
  let alice: TestUser;
  let asked: string[];
  let answers: Map<string, JsonObject>;
  let next = 0;
  let remote: string;
  before(async () => {
    server = await startTestServer();
    alice = await server.register("alice");
    await bareRoom(server.ctx, ROOM, [alice.userId]);
  });
  beforeEach(async () => {
    asked = [];
    answers = new Map();
    remote = `@r${next++}:remote`;
    await bareMembership(server.ctx, ROOM, remote, "join");
    ctx = {
      ...server.ctx,
      remote: {
        ...noRemoteServers,
        federates: true,
        userDevices: (_server: string, userId: string) => {
          asked.push(userId);
          const answer = answers.get(userId);
          return answer === undefined ? Promise.reject(new Error("unreachable")) : Promise.resolve(answer);
        },
        queryKeys: (_server: string, users: Readonly<Record<string, readonly string[]>>) => {
          asked.push(...Object.keys(users).map((userId) => `query ${userId}`));
          return Promise.resolve({
            device_keys: { ...Object.fromEntries(Object.keys(users).map((userId) => [userId, { X: { device_id: "X" } }])), "@victim:elsewhere": { X: {} } },
          } as JsonObject);
        },
      },
    };
  });
  after(() => server.close());

  const device = (deviceId: string, over: object = {}): JsonObject =>
    ({ device_id: deviceId, keys: { user_id: remote, device_id: deviceId, algorithms: [], keys: {}, signatures: {} }, ...over }) as JsonObject;
  const list = (streamId: number, ...ids: string[]): JsonObject => ({ user_id: remote, stream_id: streamId, devices: ids.map((id) => device(id)) });
  const update = (deviceId: string, streamId: number, prevId: number[], over: object = {}): JsonObject =>
    ({ user_id: remote, stream_id: streamId, prev_id: prevId, ...device(deviceId), ...over }) as JsonObject;
  const cached = async (): Promise<string[]> =>
    (await query<{ device_id: string }>(ctx.read, "SELECT device_id FROM device_lists_remote_cache WHERE user_id = $1 ORDER BY 1", [remote])).map(
      (row) => row.device_id,
    );
  const isStale = async (): Promise<boolean> => (await query(ctx.read, "SELECT FROM device_lists_remote_resync WHERE user_id = $1", [remote])).length > 0;

  it("are fetched when an update does not follow from what we know, else applied one by one (risk 89)", async () => {
    answers.set(remote, list(5, "A", "B"));
    await handleRemoteDeviceListUpdate(ctx, "remote", update("B", 5, [4]));
    await ctx.deviceResyncs.settled();
    assert.deepEqual([asked, await cached(), await isStale()], [[remote], ["A", "B"], false]);
    await handleRemoteDeviceListUpdate(ctx, "remote", update("C", 6, [5]));
    await handleRemoteDeviceListUpdate(ctx, "remote", update("A", 7, [6], { deleted: true }));
    assert.deepEqual([asked.length, await cached()], [1, ["B", "C"]]);
    const [extremity] = await query<{ stream_id: string }>(ctx.read, "SELECT stream_id FROM device_lists_remote_extremeties WHERE user_id = $1", [remote]);
    assert.equal(extremity!.stream_id, "7");
  });

  it("that cannot be fetched are marked, and fetched later (risk 89)", async () => {
    await handleRemoteDeviceListUpdate(ctx, "remote", update("B", 5, [4]));
    await ctx.deviceResyncs.settled();
    assert.equal(await isStale(), true);
    answers.set(remote, list(6, "B"));
    await retryResyncs(ctx);
    assert.deepEqual([await isStale(), await cached()], [false, ["B"]]);
  });

  it("are changed by their own server alone, and only of users who share a room", async () => {
    const before = ctx.streams.deviceLists.currentToken();
    await handleRemoteDeviceListUpdate(ctx, "evil", update("B", 5, [4]));
    await handleRemoteDeviceListUpdate(ctx, "remote", { ...update("B", 5, [4]), user_id: "@stranger:remote" });
    for (const over of [{ user_id: 5 }, { device_id: null }, { stream_id: {} }, { prev_id: "x" }, { keys: { big: 2 ** 60 } }])
      await handleRemoteDeviceListUpdate(ctx, "remote", update("B", 5, [4], over));
    await ctx.deviceResyncs.settled();
    assert.deepEqual([asked, await cached(), ctx.streams.deviceLists.currentToken()], [[], [], before]);
  });

  it("changes of theirs show to local users, and are not told to other servers", async () => {
    answers.set(remote, list(5, "A"));
    await resyncDevices(ctx, remote);
    await ctx.deviceListPokes.settled();
    assert.ok(ctx.changes.deviceLists.hasChanged(remote, 0));
    const rows = await query<{ converted_to_destinations: boolean }>(
      ctx.read,
      "SELECT converted_to_destinations FROM device_lists_changes_in_room WHERE user_id = $1",
      [remote],
    );
    assert.deepEqual(rows, [{ converted_to_destinations: true }]);
    assert.deepEqual(await query(ctx.read, "SELECT * FROM device_lists_outbound_pokes WHERE user_id = $1", [remote]), []);
  });

  it("malformed answers leave the list stale and break nothing", async () => {
    for (const answer of [{}, { stream_id: 5, devices: "x" }, { stream_id: 5, devices: [5, null, {}, { device_id: 1 }] }]) {
      answers.set(remote, answer as JsonObject);
      await resyncDevices(ctx, remote);
    }
    assert.deepEqual(await cached(), []);
  });

  describe("key queries", () => {
    it("fetch a shared user's list once, then answer from the cache", async () => {
      answers.set(remote, list(5, "A"));
      const first = await queryKeys(ctx, alice.userId, { [remote]: [] }, 1000);
      assert.deepEqual(Object.keys(first.device_keys[remote]!), ["A"]);
      const second = await queryKeys(ctx, alice.userId, { [remote]: [] }, 1000);
      assert.deepEqual(Object.keys(second.device_keys[remote]!), ["A"]);
      assert.deepEqual(asked, [remote]);
      assert.deepEqual(second.device_keys[remote]!.A!.unsigned, {});
    });

    it("ask the server of strangers, and take nothing about users that were not asked for", async () => {
      const { device_keys } = await queryKeys(ctx, alice.userId, { "@stranger:remote": [] }, 1000);
      assert.deepEqual(Object.keys(device_keys), ["@stranger:remote"]);
      assert.deepEqual(asked, ["query @stranger:remote"]);
    });

    it("tell which server could not be asked", async () => {
      const { failures, device_keys } = await queryKeys(ctx, alice.userId, { [remote]: [], [alice.userId]: [] }, 1000);
      assert.equal(failures.remote!.status, 503);
      assert.ok(alice.userId in device_keys);
    });

    it("of other servers are answered for our users only, without device names (CVE-2023-43796)", async () => {
      await assert.rejects(queryKeysForServer(ctx, { [remote]: [] }), { status: 400 });
      const { device_keys } = await queryKeysForServer(ctx, { [alice.userId]: [] });
      assert.deepEqual(Object.keys(device_keys), [alice.userId]);
    });
  });

  it("cross-signing keys of an EDU are stored for users of the sender alone", async () => {
    const { base64 } = signingKeyFromSeed("x", new Uint8Array(32).fill(5));
    const master_key = { user_id: remote, usage: ["master"], keys: { [`ed25519:${base64}`]: base64 } };
    await receiveSigningKeyUpdate(ctx, "evil", { user_id: remote, master_key });
    assert.deepEqual(Object.keys((await queryKeys(ctx, alice.userId, { [remote]: [] }, 10)).master_keys), []);
    await receiveSigningKeyUpdate(ctx, "remote", { user_id: remote, master_key, self_signing_key: { broken: true } } as JsonObject);
    assert.deepEqual((await queryKeys(ctx, alice.userId, { [remote]: [] }, 10)).master_keys[remote], master_key);
    assert.deepEqual(await query(ctx.read, "SELECT * FROM devices WHERE user_id = $1", [remote]), []);
  });

  describe("what other servers are told", () => {
    it("is each changed device once, as it is now, linked to the update before; then cross-signing keys (risk 88)", async () => {
      const bob = await server.register("bob");
      const room = "!told:test";
      await bareRoom(server.ctx, room, [bob.userId, "@x:told"]);
      const keys = { user_id: bob.userId, device_id: bob.deviceId, algorithms: ["a"], keys: {}, signatures: {} };
      await server.as(bob).post("/_matrix/client/v3/keys/upload", { device_keys: keys }).expect(200);
      await ctx.deviceListPokes.settled();
      const first = await deviceListEdus(ctx, "told", 100);
      const update = first.edus[0]!;
      assert.deepEqual(first.edus.length, 1);
      assert.equal(update.type, "m.device_list_update");
      const streamId = update.content.stream_id as number;
      assert.deepEqual(update.content, {
        user_id: bob.userId,
        device_id: bob.deviceId,
        keys: { ...keys, signatures: { [bob.userId]: {} } },
        prev_id: [],
        stream_id: streamId,
      });
      assert.deepEqual((await deviceListEdus(ctx, "told", 100)).edus, first.edus, "told again until acknowledged");
      await ctx.transaction("acknowledge", (txn) => acknowledgePokes(txn, "told", first.upTo!));
      const { base64 } = signingKeyFromSeed("x", new Uint8Array(32).fill(6));
      const master_key = { user_id: bob.userId, usage: ["master"], keys: { [`ed25519:${base64}`]: base64 } };
      await server.as(bob).post("/_matrix/client/v3/keys/device_signing/upload", { master_key }).expect(200);
      await server.as(bob).put(`/_matrix/client/v3/devices/${bob.deviceId}`, { display_name: "secret name" }).expect(200);
      await server.as(bob).post("/_matrix/client/v3/logout").expect(200);
      await ctx.deviceListPokes.settled();
      const second = await deviceListEdus(ctx, "told", 100);
      assert.deepEqual(
        second.edus.map(({ type }) => type),
        ["m.device_list_update", "m.signing_key_update", "org.matrix.signing_key_update"],
      );
      const { content } = second.edus[0]!;
      assert.deepEqual([content.deleted, content.prev_id, content.device_display_name], [true, [streamId], undefined]);
      assert.deepEqual(second.edus[1]!.content, { user_id: bob.userId, master_key });
    });

    it("of a user's devices, when they ask, survives unreadable rows (CVE-2025-61672)", async () => {
      const carol = await server.register("carol");
      await server
        .as(carol)
        .post("/_matrix/client/v3/keys/upload", { device_keys: { user_id: carol.userId, device_id: carol.deviceId, algorithms: [], keys: {}, signatures: {} } })
        .expect(200);
      assert.equal(((await devicesForServer(ctx, carol.userId)).devices as unknown[]).length, 1);
      await ctx.transaction("poison", (txn) => execute(txn, "UPDATE e2e_device_keys_json SET key_json = '[1' WHERE user_id = $1", [carol.userId]));
      assert.deepEqual((await devicesForServer(ctx, carol.userId)).devices, []);
      await assert.rejects(devicesForServer(ctx, "@x:elsewhere"), { status: 400 });
    });

    it("of to-device messages waits until acknowledged", async () => {
      await server
        .as(alice)
        .put("/_matrix/client/v3/sendToDevice/m.test/fed1", { messages: { "@x:mail": { D: { n: 1 } } } })
        .expect(200);
      const batch = await toDeviceEdus(ctx, "mail", 10);
      assert.deepEqual(
        batch.edus.map(({ content }) => content.messages),
        [{ "@x:mail": { D: { n: 1 } } }],
      );
      assert.deepEqual(await toDeviceEdus(ctx, "mail", 10), batch);
      await ctx.transaction("acknowledge", (txn) => deleteOutboxMessages(txn, "mail", batch.upTo!));
      assert.deepEqual((await toDeviceEdus(ctx, "mail", 10)).edus, []);
    });

    const poke = (destination: string, userId: string, streamId: number, deviceId: string, ts: number): Promise<unknown> =>
      ctx.transaction("poke", (txn) =>
        execute(
          txn,
          `INSERT INTO device_lists_outbound_pokes (destination, instance_name, stream_id, user_id, device_id, sent, ts, opentracing_context) VALUES ($1, 'master', $2, $3, $4, false, $5, '{}')`,
          [destination, streamId, userId, deviceId, ts],
        ),
      );

    it("is forgotten when acknowledged, and the last update of each user noted (risk 88)", async () => {
      for (const [id, deviceId] of [
        [1001, "A"],
        [1002, "B"],
        [1003, "C"],
      ] as const)
        await poke("ack", "@u:test", id, deviceId, 0);
      await ctx.transaction("ack", (txn) => acknowledgePokes(txn, "ack", 1002));
      assert.deepEqual(
        (await outboundPokes(ctx.read, "ack", 0, 9999, 10)).map(({ streamId }) => streamId),
        [1003],
      );
      assert.deepEqual(await lastAcknowledged(ctx.read, "ack", ["@u:test"], 9999), new Map([["@u:test", 1002]]));
    });

    it("shrinks to one poke for each user when a server stays away for a day (risk 88)", async () => {
      for (const [id, deviceId, ts] of [
        [2001, "A", 5],
        [2002, "B", 500],
        [2003, "C", 900],
      ] as const)
        await poke("away", "@u:test", id, deviceId, ts);
      await poke("away", "@v:test", 2004, "A", 5);
      await ctx.transaction("success", (txn) =>
        execute(txn, "INSERT INTO device_lists_outbound_last_success (destination, user_id, stream_id) VALUES ('away', '@u:test', 1)"),
      );
      await ctx.transaction("prune", (txn) => pruneOutboundPokes(txn, 100));
      assert.deepEqual(
        (await outboundPokes(ctx.read, "away", 0, 9999, 10)).map(({ userId, streamId }) => [userId, streamId]),
        [
          ["@u:test", 2003],
          ["@v:test", 2004],
        ],
      );
      assert.equal((await lastAcknowledged(ctx.read, "away", ["@u:test"], 9999)).size, 0);
    });

    it("keeps changes of 30 days, those not converted yet, and notes what was pruned (risk 88)", async () => {
      await ctx.deviceListPokes.settled();
      const insert = (id: number, ts: number): Promise<unknown> =>
        ctx.transaction("change", (txn) =>
          execute(
            txn,
            `INSERT INTO device_lists_changes_in_room (user_id, device_id, room_id, stream_id, converted_to_destinations, opentracing_context, inserted_ts) VALUES ('@p:test', 'D', '!pruned:test', $1, true, '{}', $2)`,
            [id, ts],
          ),
        );
      const [row] = await query<{ last: number }>(ctx.read, "SELECT coalesce(max(stream_id), 0) AS last FROM device_lists_changes_in_room");
      await ctx.transaction("clear", (txn) => execute(txn, "DELETE FROM device_lists_changes_in_room"));
      const base = row!.last;
      await ctx.transaction("position", (txn) => execute(txn, "UPDATE device_lists_changes_converted_stream_position SET stream_id = $1", [base + 100]));
      for (const [offset, ts] of [
        [1, 10],
        [2, 20],
        [3, 5000],
      ] as const)
        await insert(base + offset, ts);
      assert.equal(await ctx.transaction("prune", (txn) => pruneChangesInRooms(txn, 100, 1000)), 2);
      const left = await query<{ stream_id: number }>(ctx.read, "SELECT stream_id FROM device_lists_changes_in_room");
      assert.deepEqual(left, [{ stream_id: base + 3 }]);
      const [pruned] = await query<{ stream_id: number }>(ctx.read, "SELECT stream_id FROM device_lists_changes_in_room_max_pruned_stream_id");
      assert.equal(pruned!.stream_id, base + 2);
    });
  });
});
