import assert from "node:assert/strict";
import type { JsonObject } from "../../lib/json.ts";
import { signingKeyFromSeed, signJson, type SigningKey } from "../../protocol/event/sign.ts";
import { deviceListChanges } from "../../services/devices/lists.ts";
import { execute, query } from "../../storage/database.ts";
import { deleteOldOneTimeKeys } from "../../storage/devices/keys.ts";
import { bareMembership, bareRoom } from "../../testing/bare-room.ts";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";

/** A key pair whose id is its public key, as cross-signing keys have it. */
function crossSigningKey(seed: number): SigningKey {
  const { base64 } = signingKeyFromSeed("x", new Uint8Array(32).fill(seed));
  return signingKeyFromSeed(base64, new Uint8Array(32).fill(seed));
}

const deviceKeysOf = (user: TestUser, key: SigningKey): JsonObject =>
  signJson(
    {
      user_id: user.userId,
      device_id: user.deviceId,
      algorithms: ["m.olm.v1.curve25519-aes-sha2"],
      keys: { [`ed25519:${user.deviceId}`]: key.base64, [`curve25519:${user.deviceId}`]: "curve" },
    },
    user.userId,
    key,
  );

const deviceSigningKey = (user: TestUser, seed: number): SigningKey => signingKeyFromSeed(user.deviceId, new Uint8Array(32).fill(seed));
const oneTimeKey = (n: number): object => ({ key: `key${n}`, signatures: { "@a:b": { "ed25519:X": `sig${n}` } } });

describe("keys of devices", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let next = 0;
  before(async () => {
    server = await startTestServer();
  });
  beforeEach(async () => {
    [alice, bob] = [await server.register(`alice${next}`), await server.register(`bob${next++}`)];
  });
  after(() => server.close());

  const upload = (user: TestUser, body: object): ReturnType<ReturnType<TestServer["as"]>["post"]> => server.as(user).post(`${V3}/keys/upload`, body);
  const queryKeys = async (user: TestUser, ...targets: string[]): Promise<any> =>
    (
      await server
        .as(user)
        .post(`${V3}/keys/query`, { device_keys: Object.fromEntries(targets.map((id) => [id, []])) })
        .expect(200)
    ).body;
  const claim = async (user: TestUser, target: TestUser): Promise<string[]> => {
    const { body } = await server
      .as(user)
      .post(`${V3}/keys/claim`, { one_time_keys: { [target.userId]: { [target.deviceId]: "signed_curve25519" } } })
      .expect(200);
    return Object.keys(body.one_time_keys[target.userId]?.[target.deviceId] ?? {});
  };

  describe("upload", () => {
    it("stores identity keys as canonical JSON and announces the device, but not the same keys again", async () => {
      const keys = deviceKeysOf(alice, deviceSigningKey(alice, 1));
      const before = server.ctx.streams.deviceLists.currentToken();
      await upload(alice, { device_keys: keys }).expect(200, { one_time_key_counts: { signed_curve25519: 0 } });
      const after = server.ctx.streams.deviceLists.currentToken();
      assert.ok(after > before);
      await upload(alice, { device_keys: keys }).expect(200);
      await server.ctx.deviceListPokes.settled();
      const rows = await query(server.ctx.read, "SELECT * FROM device_lists_stream WHERE user_id = $1", [alice.userId]);
      assert.deepEqual(rows, [{ stream_id: after, user_id: alice.userId, device_id: alice.deviceId, instance_name: "master" }]);
      const [row] = await query<{ key_json: string }>(server.ctx.read, "SELECT key_json FROM e2e_device_keys_json WHERE user_id = $1", [alice.userId]);
      assert.ok(row!.key_json.startsWith('{"algorithms":["m.olm.v1.curve25519-aes-sha2"],"device_id":'));
    });

    it("refuses keys of wrong types, other users and devices, depth and huge numbers (CVE-2025-61672)", async () => {
      const good = deviceKeysOf(alice, deviceSigningKey(alice, 1));
      let deep: object = {};
      for (let i = 0; i < 100; i++) deep = { deep };
      const bad: object[] = [
        { ...good, user_id: bob.userId },
        { ...good, device_id: "OTHER" },
        { ...good, user_id: 1 },
        { ...good, algorithms: "olm" },
        { ...good, algorithms: [1] },
        { ...good, keys: { a: 1 } },
        { ...good, keys: [] },
        { ...good, signatures: { a: "b" } },
        { ...good, signatures: undefined },
        { ...good, extra: deep },
        { ...good, extra: 2 ** 60 },
        { ...good, extra: 1.5 },
      ];
      for (const keys of bad) {
        const { body } = await upload(alice, { device_keys: keys }).expect(400);
        assert.equal(body.errcode, "M_BAD_JSON", JSON.stringify(keys).slice(0, 100));
      }
      for (const device_keys of [null, "keys", []]) await upload(alice, { device_keys }).expect(400);
      for (const keys of [{ plain: "x" }, { "a:b:c": "x" }, { "a:b": 1 }, { "a:b": { key: 1, signatures: {} } }, { "a:\0": "x" }, []]) {
        await upload(alice, { one_time_keys: keys }).expect(400);
        await upload(alice, { fallback_keys: keys }).expect(400);
      }
    });

    it("leaves bad rows of older servers out of answers (CVE-2025-61672)", async () => {
      await upload(alice, { device_keys: deviceKeysOf(alice, deviceSigningKey(alice, 1)) }).expect(200);
      for (const poison of ["[]", "null", '"x"', "{broken", '{"signatures":5,"keys":[]}']) {
        await server.ctx.transaction("poison", (txn) =>
          execute(txn, "UPDATE e2e_device_keys_json SET key_json = $2 WHERE user_id = $1", [alice.userId, poison]),
        );
        const { device_keys } = await queryKeys(bob, alice.userId);
        assert.ok(alice.userId in device_keys);
      }
    });

    it("counts one-time keys, takes the same key again, and refuses another one of that id", async () => {
      await upload(alice, { one_time_keys: { "signed_curve25519:A": oneTimeKey(1), "curve25519:B": "plain" } }).expect(200, {
        one_time_key_counts: { signed_curve25519: 1, curve25519: 1 },
      });
      await upload(alice, { one_time_keys: { "signed_curve25519:A": { ...oneTimeKey(1), signatures: { "@a:b": { "ed25519:X": "made anew" } } } } }).expect(200);
      const { body } = await upload(alice, { one_time_keys: { "signed_curve25519:C": oneTimeKey(3), "signed_curve25519:A": oneTimeKey(2) } }).expect(400);
      assert.match(body.error, /One time key signed_curve25519:A already exists/);
      await upload(alice, {}).expect(200, { one_time_key_counts: { signed_curve25519: 1, curve25519: 1 } });
    });
  });

  describe("query", () => {
    it("gives keys with the device's name, and an empty entry for users without", async () => {
      const keys = deviceKeysOf(alice, deviceSigningKey(alice, 1));
      await upload(alice, { device_keys: keys }).expect(200);
      await server.as(alice).put(`${V3}/devices/${alice.deviceId}`, { display_name: "phone" }).expect(200);
      const answer = await queryKeys(bob, alice.userId, bob.userId, "@nobody:test");
      assert.deepEqual(answer.device_keys, {
        [alice.userId]: { [alice.deviceId]: { ...keys, unsigned: { device_display_name: "phone" } } },
        [bob.userId]: {},
        "@nobody:test": {},
      });
      assert.deepEqual(answer.failures, {});
    });

    it("of single devices gives those alone", async () => {
      await upload(alice, { device_keys: deviceKeysOf(alice, deviceSigningKey(alice, 1)) }).expect(200);
      const ask = async (deviceId: string): Promise<object> =>
        (
          await server
            .as(bob)
            .post(`${V3}/keys/query`, { device_keys: { [alice.userId]: [deviceId] } })
            .expect(200)
        ).body.device_keys[alice.userId];
      assert.deepEqual(Object.keys(await ask(alice.deviceId)), [alice.deviceId]);
      assert.deepEqual(await ask("OTHER"), {});
    });

    it("is one statement for the devices of all local users", async () => {
      const users = await Promise.all(Array.from({ length: 5 }, (_, i) => server.register(`many${next}x${i}`)));
      for (const user of users) await upload(user, { device_keys: deviceKeysOf(user, deviceSigningKey(user, 9)) }).expect(200);
      let statements = 0;
      const stop = server.database.database.observe(() => {});
      const unobserve = server.ctx.db.observe(({ sql }) => {
        if (sql.includes("e2e_device_keys_json")) statements++;
      });
      const { device_keys } = await queryKeys(bob, ...users.map(({ userId }) => userId));
      unobserve();
      stop();
      assert.equal(Object.keys(device_keys).length, 5);
      assert.equal(statements, 1);
    });

    it("refuses malformed bodies", async () => {
      for (const body of [{}, { device_keys: [] }, { device_keys: { [alice.userId]: "all" } }, { device_keys: { [alice.userId]: [1] } }]) {
        await server.as(bob).post(`${V3}/keys/query`, body).expect(400);
      }
    });
  });

  describe("claim", () => {
    it("gives keys in the order of upload, then the fallback key, which is used from then on (risk 41)", async () => {
      for (const n of [2, 1, 3]) {
        await upload(alice, { one_time_keys: { [`signed_curve25519:K${n}`]: oneTimeKey(n) } }).expect(200);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      await upload(alice, { fallback_keys: { "signed_curve25519:F": { ...oneTimeKey(9), fallback: true } } }).expect(200);
      const { ctx } = server;
      assert.deepEqual(await ctx.keyCounts.of(alice.userId, alice.deviceId), {
        oneTimeKeys: { signed_curve25519: 3 },
        unusedFallbackTypes: ["signed_curve25519"],
      });
      const order = [];
      for (let i = 0; i < 5; i++) order.push(...(await claim(bob, alice)));
      assert.deepEqual(
        order,
        ["K2", "K1", "K3", "F", "F"].map((id) => `signed_curve25519:${id}`),
      );
      assert.deepEqual(await ctx.keyCounts.of(alice.userId, alice.deviceId), { oneTimeKeys: { signed_curve25519: 0 }, unusedFallbackTypes: [] });
      await upload(alice, { fallback_keys: { "signed_curve25519:G": { ...oneTimeKey(10), fallback: true } } }).expect(200);
      assert.deepEqual((await ctx.keyCounts.of(alice.userId, alice.deviceId)).unusedFallbackTypes, ["signed_curve25519"]);
    });

    it("never gives the same key to two claimers at the same moment (risk 41)", async () => {
      const keys = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`signed_curve25519:K${i}`, oneTimeKey(i)]));
      await upload(alice, { one_time_keys: keys }).expect(200);
      const claimed = (await Promise.all(Array.from({ length: 30 }, () => claim(bob, alice)))).flat();
      assert.equal(claimed.length, 20);
      assert.equal(new Set(claimed).size, 20);
    });

    it("survives device ids that JavaScript treats in a special way", async () => {
      const { body } = await server
        .as(bob)
        .post(`${V3}/keys/claim`, '{"one_time_keys":{"@x:test":{"__proto__":"signed_curve25519"}}}' as unknown as object)
        .set("Content-Type", "application/json")
        .expect(200);
      assert.deepEqual(body, { one_time_keys: {}, failures: {} });
      assert.equal(({} as Record<string, unknown>)["signed_curve25519"], undefined);
    });

    it("old keys that libolm made, and has forgotten, are deleted by users", async () => {
      const old = server.ctx.clock.now() - 8 * 24 * 3600 * 1000;
      for (const user of [alice, bob]) {
        await upload(user, { one_time_keys: { "signed_curve25519:AAAAAA": oneTimeKey(1), "signed_curve25519:AAAAAAAAAAA": oneTimeKey(2) } }).expect(200);
        await server.ctx.transaction("age", (txn) => execute(txn, "UPDATE e2e_one_time_keys_json SET ts_added_ms = $2 WHERE user_id = $1", [user.userId, old]));
      }
      let last: string | undefined = "";
      while (last !== undefined) last = await server.ctx.transaction("delete", (txn) => deleteOldOneTimeKeys(txn, last!, 1, old + 1));
      const left = await query<{ key_id: string }>(server.ctx.read, "SELECT key_id FROM e2e_one_time_keys_json WHERE user_id = ANY($1::text[])", [
        [alice.userId, bob.userId],
      ]);
      assert.deepEqual(
        left.map((row) => row.key_id),
        ["AAAAAAAAAAA", "AAAAAAAAAAA"],
      );
    });

    it("refuses malformed bodies", async () => {
      for (const one_time_keys of [[], { nobody: {} }, { [alice.userId]: [] }, { [alice.userId]: { D: 1 } }])
        await server.as(bob).post(`${V3}/keys/claim`, { one_time_keys }).expect(400);
    });
  });

  describe("cross-signing", () => {
    const [master, selfSigning, userSigning] = [crossSigningKey(11), crossSigningKey(12), crossSigningKey(13)];
    const keyOf = (user: TestUser, usage: string, key: SigningKey, signer?: SigningKey): JsonObject => {
      const json = { user_id: user.userId, usage: [usage], keys: { [key.keyId]: key.base64 } };
      return signer === undefined ? json : signJson(json, user.userId, signer);
    };
    const keysOf = (user: TestUser, seeds: readonly [SigningKey, SigningKey, SigningKey] = [master, selfSigning, userSigning]): JsonObject => ({
      master_key: keyOf(user, "master", seeds[0]),
      self_signing_key: keyOf(user, "self_signing", seeds[1], seeds[0]),
      user_signing_key: keyOf(user, "user_signing", seeds[2], seeds[0]),
    });
    const uploadSigning = (user: TestUser, body: object): ReturnType<ReturnType<TestServer["as"]>["post"]> =>
      server.as(user).post(`${V3}/keys/device_signing/upload`, body);

    it("keys are stored at first without proof, shown to all but the user-signing key, with hidden devices (risk 40)", async () => {
      const keys = keysOf(alice);
      await uploadSigning(alice, keys).expect(200, {});
      const own = await queryKeys(alice, alice.userId);
      assert.deepEqual(
        [own.master_keys, own.self_signing_keys, own.user_signing_keys],
        [{ [alice.userId]: keys.master_key }, { [alice.userId]: keys.self_signing_key }, { [alice.userId]: keys.user_signing_key }],
      );
      assert.deepEqual((await queryKeys(bob, alice.userId)).user_signing_keys, {});
      const hidden = await query<{ display_name: string }>(server.ctx.read, "SELECT display_name FROM devices WHERE user_id = $1 AND hidden ORDER BY 1", [
        alice.userId,
      ]);
      assert.deepEqual(
        hidden.map((row) => row.display_name),
        ["master signing key", "self_signing signing key", "user_signing signing key"],
      );
      const { body } = await server.as(alice).get(`${V3}/devices`).expect(200);
      assert.deepEqual(
        body.devices.map((device: { device_id: string }) => device.device_id),
        [alice.deviceId],
      );
    });

    it("identical keys are answered without proof, other ones ask for it", async () => {
      await uploadSigning(alice, keysOf(alice)).expect(200);
      await uploadSigning(alice, keysOf(alice)).expect(200, {});
      const others = keysOf(alice, [crossSigningKey(21), crossSigningKey(22), crossSigningKey(23)]);
      const { body } = await uploadSigning(alice, others).expect(401);
      assert.ok(body.flows.some(({ stages }: { stages: string[] }) => stages[0] === "m.login.password"));
      const auth = { type: "m.login.password", identifier: { type: "m.id.user", user: alice.userId }, password: TEST_PASSWORD, session: body.session };
      await uploadSigning(alice, { ...others, auth }).expect(200);
      assert.deepEqual((await queryKeys(bob, alice.userId)).master_keys[alice.userId], others.master_key);
    });

    it("keys not signed by the master key, of others, or malformed are refused", async () => {
      const wrong = keysOf(alice);
      wrong.self_signing_key = keyOf(alice, "self_signing", selfSigning, userSigning);
      assert.equal((await uploadSigning(alice, wrong).expect(400)).body.errcode, "M_INVALID_SIGNATURE");
      assert.equal((await uploadSigning(alice, { self_signing_key: keysOf(alice).self_signing_key! }).expect(400)).body.errcode, "M_MISSING_PARAM");
      for (const master_key of [
        keyOf(bob, "master", master),
        keyOf(alice, "self_signing", master),
        { ...keyOf(alice, "master", master), keys: {} },
        "x",
        { ...keyOf(alice, "master", master), keys: { "ed25519:a": "short" } },
      ]) {
        assert.equal((await uploadSigning(alice, { master_key }).expect(400)).body.errcode, "M_INVALID_PARAM");
      }
      assert.deepEqual((await queryKeys(bob, alice.userId)).master_keys, {});
    });

    const signatures = (user: TestUser, body: object): ReturnType<ReturnType<TestServer["as"]>["post"]> =>
      server.as(user).post(`${V3}/keys/signatures/upload`, body);

    it("a device signed by the self-signing key shows the signature, and the user as changed", async () => {
      const deviceKeys = deviceKeysOf(alice, deviceSigningKey(alice, 1));
      await upload(alice, { device_keys: deviceKeys }).expect(200);
      await uploadSigning(alice, keysOf(alice)).expect(200);
      const before = server.ctx.streams.deviceLists.currentToken();
      const signed = signJson(deviceKeys, alice.userId, selfSigning);
      await signatures(alice, { [alice.userId]: { [alice.deviceId]: signed } }).expect(200, { failures: {} });
      const shown = (await queryKeys(bob, alice.userId)).device_keys[alice.userId][alice.deviceId];
      assert.deepEqual(shown.signatures, signed.signatures);
      assert.ok(server.ctx.changes.deviceLists.hasChanged(alice.userId, before));
    });

    it("the master key signed by a device, and by another user's user-signing key, shows the signatures to whom they concern", async () => {
      const deviceKey = deviceSigningKey(alice, 1);
      await upload(alice, { device_keys: deviceKeysOf(alice, deviceKey) }).expect(200);
      const keys = keysOf(alice);
      await uploadSigning(alice, keys).expect(200);
      const bobs = [crossSigningKey(31), crossSigningKey(32), crossSigningKey(33)] as const;
      await uploadSigning(bob, keysOf(bob, bobs)).expect(200);
      const byDevice = signJson(keys.master_key as JsonObject, alice.userId, deviceKey);
      await signatures(alice, { [alice.userId]: { [master.base64]: byDevice } }).expect(200, { failures: {} });
      const byBob = signJson(keys.master_key as JsonObject, bob.userId, bobs[2]);
      await signatures(bob, { [alice.userId]: { [master.base64]: byBob } }).expect(200, { failures: {} });
      assert.deepEqual((await queryKeys(alice, alice.userId)).master_keys[alice.userId].signatures, byDevice.signatures);
      assert.deepEqual((await queryKeys(bob, alice.userId)).master_keys[alice.userId].signatures, byBob.signatures);
      assert.ok(server.ctx.changes.userSignatures.hasChanged(bob.userId, 0));
    });

    it("signatures are verified before they are stored; what is wrong is told (tuwunel 100)", async () => {
      const deviceKeys = deviceKeysOf(alice, deviceSigningKey(alice, 1));
      await upload(alice, { device_keys: deviceKeys }).expect(200);
      await uploadSigning(alice, keysOf(alice)).expect(200);
      const forged = { ...deviceKeys, signatures: { [alice.userId]: { [selfSigning.keyId]: "A".repeat(86) } } };
      const other = signJson({ ...deviceKeys, algorithms: ["none"] }, alice.userId, selfSigning);
      const byWrongKey = signJson(deviceKeys, alice.userId, master);
      for (const [object, errcode] of [
        [forged, "M_INVALID_SIGNATURE"],
        [other, "M_UNKNOWN"],
        [byWrongKey, "M_INVALID_SIGNATURE"],
        [{ ...deviceKeys, signatures: 5 }, "M_INVALID_SIGNATURE"],
      ] as const) {
        const { body } = await signatures(alice, { [alice.userId]: { [alice.deviceId]: object } }).expect(200);
        assert.equal(body.failures[alice.userId][alice.deviceId].errcode, errcode);
      }
      const { body: unknown } = await signatures(alice, {
        [alice.userId]: { OTHER: signJson({ ...deviceKeys, device_id: "OTHER" }, alice.userId, selfSigning) },
      }).expect(200);
      assert.equal(unknown.failures[alice.userId].OTHER.errcode, "M_NOT_FOUND");
      const { body: noKeys } = await signatures(bob, { [alice.userId]: { [master.base64]: forged } }).expect(200);
      assert.equal(noKeys.failures[alice.userId][master.base64].errcode, "M_NOT_FOUND");
      await signatures(alice, { [alice.userId]: "x" }).expect(400);
      assert.deepEqual(await query(server.ctx.read, "SELECT * FROM e2e_cross_signing_signatures WHERE user_id = $1", [alice.userId]), []);
    });
  });

  describe("device lists", () => {
    const moves = { newlyJoinedRooms: [], newlyLeftRooms: [], newlyJoinedUsers: [], newlyLeftUsers: [] };
    const changesFor = async (user: TestUser, since: number, ...rooms: string[]): Promise<string[]> => {
      const { ctx } = server;
      const upTo = ctx.streams.deviceLists.currentToken();
      return [...(await deviceListChanges(ctx, user.userId, since, upTo, { ...moves, joinedRoomIds: new Set(rooms) })).changed].sort();
    };

    it("show changes to those who share a room, to the owner, and to nobody else (risk 88)", async () => {
      const room = `!dl${next}:test`;
      await bareRoom(server.ctx, room, [alice.userId, bob.userId]);
      const stranger = await server.register(`stranger${next}`);
      const since = server.ctx.streams.deviceLists.currentToken();
      const listener = server.ctx.notifier.listen(bob.userId);
      await upload(alice, { device_keys: deviceKeysOf(alice, deviceSigningKey(alice, 1)) }).expect(200);
      assert.equal(await listener.wait(1000, new AbortController().signal), true);
      listener.close();
      assert.deepEqual(await changesFor(bob, since, room), [alice.userId]);
      assert.deepEqual(await changesFor(alice, since, room), [alice.userId]);
      assert.deepEqual(await changesFor(stranger, since), []);
      const rows = await query<{ converted_to_destinations: boolean; opentracing_context: string }>(
        server.ctx.read,
        "SELECT * FROM device_lists_changes_in_room WHERE room_id = $1",
        [room],
      );
      assert.equal(rows.length, 1);
      assert.equal(rows[0]!.opentracing_context, "{}");
    });

    it("answer 'changed' by asking the members when the history is pruned (risk 88)", async () => {
      const room = `!pruned${next}:test`;
      await bareRoom(server.ctx, room, [alice.userId, bob.userId]);
      const since = server.ctx.streams.deviceLists.currentToken();
      await upload(alice, { device_keys: deviceKeysOf(alice, deviceSigningKey(alice, 1)) }).expect(200);
      await server.ctx.transaction("prune", async (txn) => {
        await execute(txn, "DELETE FROM device_lists_changes_in_room WHERE room_id = $1", [room]);
        await execute(txn, "UPDATE device_lists_changes_in_room_max_pruned_stream_id SET stream_id = $1", [since + 1]);
      });
      assert.deepEqual(await changesFor(bob, since, room), [alice.userId]);
      await server.ctx.transaction("unprune", (txn) => execute(txn, "UPDATE device_lists_changes_in_room_max_pruned_stream_id SET stream_id = 0"));
    });

    it("become one poke for each other server in the user's rooms, and the position moves on (risk 88)", async () => {
      const [one, two] = [`!poke${next}a:test`, `!poke${next}b:test`];
      await bareRoom(server.ctx, one, [alice.userId, "@r:remote1", "@s:remote2"]);
      await bareRoom(server.ctx, two, [alice.userId, "@r:remote1"]);
      await upload(alice, { device_keys: deviceKeysOf(alice, deviceSigningKey(alice, 1)) }).expect(200);
      await server.ctx.deviceListPokes.settled();
      const pokes = await query<{ destination: string; sent: boolean; instance_name: string; opentracing_context: string }>(
        server.ctx.read,
        "SELECT destination, sent, instance_name, opentracing_context FROM device_lists_outbound_pokes WHERE user_id = $1 ORDER BY destination",
        [alice.userId],
      );
      assert.deepEqual(
        pokes,
        ["remote1", "remote2"].map((destination) => ({ destination, sent: false, instance_name: "master", opentracing_context: "{}" })),
      );
      const [position] = await query<{ stream_id: number; room_id: string }>(
        server.ctx.read,
        "SELECT stream_id, room_id FROM device_lists_changes_converted_stream_position",
      );
      assert.deepEqual(position, { stream_id: server.ctx.streams.deviceLists.currentToken(), room_id: "" });
    });

    it("between two tokens: who came, who left, whose devices changed (/keys/changes)", async () => {
      const { ctx } = server;
      const room = `!changes${next}:test`;
      const carol = await server.register(`carol${next}`);
      await bareRoom(ctx, room, [bob.userId, carol.userId]);
      const from = `s${ctx.streams.events.currentToken()}_0_0_0_0_0_0_${ctx.streams.deviceLists.currentToken()}`;
      await bareMembership(ctx, room, alice.userId, "join");
      await bareMembership(ctx, room, carol.userId, "leave");
      await upload(bob, { device_keys: deviceKeysOf(bob, deviceSigningKey(bob, 1)) }).expect(200);
      const { body } = await server.as(bob).get(`${V3}/keys/changes?from=${from}&to=${from}`).expect(200);
      assert.deepEqual([body.changed.sort(), body.left], [[alice.userId, bob.userId].sort(), [carol.userId]]);
      await server.as(bob).get(`${V3}/keys/changes`).expect(400);
      await server.as(bob).get(`${V3}/keys/changes?from=nonsense`).expect(400);
    });

    it("forget a deleted device's keys and tell of it", async () => {
      await upload(alice, { device_keys: deviceKeysOf(alice, deviceSigningKey(alice, 1)), one_time_keys: { "signed_curve25519:A": oneTimeKey(1) } }).expect(
        200,
      );
      const since = server.ctx.streams.deviceLists.currentToken();
      await server.as(alice).post(`${V3}/logout`).expect(200);
      assert.deepEqual((await queryKeys(bob, alice.userId)).device_keys[alice.userId], {});
      assert.ok(server.ctx.changes.deviceLists.hasChanged(alice.userId, since));
      for (const table of ["e2e_device_keys_json", "e2e_one_time_keys_json"])
        assert.deepEqual(await query(server.ctx.read, `SELECT * FROM ${table} WHERE user_id = $1`, [alice.userId]), []);
    });
  });
});
