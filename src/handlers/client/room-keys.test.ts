import assert from "node:assert/strict";
import { query } from "../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const BASE = "/_matrix/client/v3/room_keys";

describe("key backups", () => {
  let server: TestServer;
  let alice: TestUser;
  let next = 0;
  before(async () => {
    server = await startTestServer({ config: { experimental_features: { msc3814_enabled: true } } });
  });
  beforeEach(async () => {
    alice = await server.register(`user${next++}`);
  });
  after(() => server.close());

  const client = (): ReturnType<TestServer["as"]> => server.as(alice);
  const newVersion = async (): Promise<string> =>
    (
      await client()
        .post(`${BASE}/version`, { algorithm: "m.megolm_backup.v1", auth_data: { k: "v" } })
        .expect(200)
    ).body.version;
  const key = (over: object = {}): object => ({ first_message_index: 5, forwarded_count: 2, is_verified: false, session_data: { c: "x" }, ...over });
  const room = encodeURIComponent("!r:test");

  it("have versions counted from 1 that are never used twice", async () => {
    await client().get(`${BASE}/version`).expect(404);
    assert.equal(await newVersion(), "1");
    assert.equal(await newVersion(), "2");
    await client()
      .get(`${BASE}/version`)
      .expect(200, { auth_data: { k: "v" }, version: "2", algorithm: "m.megolm_backup.v1", etag: "0", count: 0 });
    await client().delete(`${BASE}/version/2`).expect(200);
    assert.equal((await client().get(`${BASE}/version`).expect(200)).body.version, "1");
    await client().get(`${BASE}/version/2`).expect(404);
    await client().get(`${BASE}/version/x`).expect(404);
    await client().delete(`${BASE}/version/9`).expect(404);
    assert.equal(await newVersion(), "3");
  });

  it("let their auth data be replaced, but neither version nor algorithm", async () => {
    const version = await newVersion();
    await client()
      .put(`${BASE}/version/${version}`, { algorithm: "m.megolm_backup.v1", auth_data: { k: "w" } })
      .expect(200, {});
    assert.deepEqual((await client().get(`${BASE}/version/${version}`).expect(200)).body.auth_data, { k: "w" });
    assert.equal((await client().put(`${BASE}/version/${version}`, { algorithm: "other", auth_data: {} }).expect(400)).body.errcode, "M_INVALID_PARAM");
    assert.equal(
      (await client().put(`${BASE}/version/${version}`, { algorithm: "m.megolm_backup.v1", version: "7", auth_data: {} }).expect(400)).body.errcode,
      "M_INVALID_PARAM",
    );
    await client().put(`${BASE}/version/77`, { algorithm: "m.megolm_backup.v1", auth_data: {} }).expect(404);
  });

  it("keep keys in all three forms of the route", async () => {
    const version = await newVersion();
    await client().put(`${BASE}/keys/${room}/s1?version=${version}`, key()).expect(200, { etag: "1", count: 1 });
    await client()
      .put(`${BASE}/keys/${room}?version=${version}`, { sessions: { s2: key() } })
      .expect(200, { etag: "2", count: 2 });
    await client()
      .put(`${BASE}/keys?version=${version}`, { rooms: { "!q:test": { sessions: { s3: key() } } } })
      .expect(200, { etag: "3", count: 3 });
    await client().get(`${BASE}/keys/${room}/s1?version=${version}`).expect(200, key());
    await client()
      .get(`${BASE}/keys/${room}?version=${version}`)
      .expect(200, { sessions: { s1: key(), s2: key() } });
    assert.deepEqual(Object.keys((await client().get(`${BASE}/keys?version=${version}`).expect(200)).body.rooms).sort(), ["!q:test", "!r:test"]);
    await client().get(`${BASE}/keys/${room}/absent?version=${version}`).expect(404);
    await client()
      .get(`${BASE}/keys/${encodeURIComponent("!absent:test")}?version=${version}`)
      .expect(200, { sessions: {} });
    await client().delete(`${BASE}/keys/${room}/s1?version=${version}`).expect(200, { etag: "4", count: 2 });
    await client().delete(`${BASE}/keys/${room}?version=${version}`).expect(200, { etag: "5", count: 1 });
    await client().delete(`${BASE}/keys?version=${version}`).expect(200, { etag: "6", count: 0 });
    await client().get(`${BASE}/keys`).expect(400);
  });

  it("replace a key by a better one only", async () => {
    const version = await newVersion();
    const put = async (over: object): Promise<string> =>
      (
        await client()
          .put(`${BASE}/keys/${room}/s?version=${version}`, key({ session_data: over, ...over }))
          .expect(200)
      ).body.etag;
    assert.equal(await put({}), "1");
    assert.equal(await put({ first_message_index: 6 }), "1", "later start");
    assert.equal(await put({ forwarded_count: 2 }), "1", "as often forwarded");
    assert.equal(await put({ first_message_index: 4 }), "2", "earlier start");
    assert.equal(await put({ first_message_index: 4, forwarded_count: 1 }), "3", "less forwarded");
    assert.equal(await put({ first_message_index: 9, forwarded_count: 9, is_verified: true }), "4", "verified");
    assert.equal(await put({ first_message_index: 9, forwarded_count: 9 }), "4", "no longer verified");
    assert.equal((await client().get(`${BASE}/keys/${room}/s?version=${version}`)).body.is_verified, true);
  });

  it("refuse an old version, naming the current one, and unknown ones", async () => {
    const old = await newVersion();
    const current = await newVersion();
    const { body } = await client().put(`${BASE}/keys/${room}/s?version=${old}`, key()).expect(403);
    assert.deepEqual([body.errcode, body.current_version], ["M_WRONG_ROOM_KEYS_VERSION", current]);
    await client().put(`${BASE}/keys/${room}/s?version=99`, key()).expect(404);
    await client().put(`${BASE}/keys/${room}/s?version=x`, key()).expect(404);
    await client().get(`${BASE}/keys?version=99`).expect(404);
    await client().delete(`${BASE}/keys?version=99`).expect(404);
  });

  it("refuse malformed keys with 400, never 500", async () => {
    const version = await newVersion();
    for (const bad of [
      { is_verified: "yes" },
      { first_message_index: "1" },
      { first_message_index: 2 ** 40 },
      { forwarded_count: -1 },
      { forwarded_count: 1.5 },
      { session_data: "x" },
    ]) {
      await client().put(`${BASE}/keys/${room}/s?version=${version}`, key(bad)).expect(400);
    }
    for (const body of [{}, { rooms: [] }, { rooms: { r: {} } }, { rooms: { r: { sessions: [] } } }, { rooms: { r: { sessions: { s: 1 } } } }])
      await client().put(`${BASE}/keys?version=${version}`, body).expect(400);
    for (const body of [{}, { algorithm: 1, auth_data: {} }, { algorithm: "a" }, { algorithm: "a", auth_data: "x" }])
      await client().post(`${BASE}/version`, body).expect(400);
  });

  it("count uploads at the same moment right", async () => {
    const version = await newVersion();
    const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => client().put(`${BASE}/keys/${room}/s${i}?version=${version}`, key()).expect(200)));
    assert.deepEqual(answers.map(({ body }) => Number(body.etag)).sort(), [1, 2, 3, 4, 5, 6, 7, 8]);
    const { body } = await client().get(`${BASE}/version`).expect(200);
    assert.deepEqual([body.etag, body.count], ["8", 8]);
  });

  it("are stored in Synapse's columns", async () => {
    const version = await newVersion();
    await client().put(`${BASE}/keys/${room}/s?version=${version}`, key()).expect(200);
    assert.deepEqual(await query(server.ctx.read, "SELECT * FROM e2e_room_keys WHERE user_id = $1", [alice.userId]), [
      {
        user_id: alice.userId,
        room_id: "!r:test",
        session_id: "s",
        version: 1,
        first_message_index: 5,
        forwarded_count: 2,
        is_verified: false,
        session_data: '{"c":"x"}',
      },
    ]);
  });

  describe("dehydrated devices (MSC3814)", () => {
    const PATH = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
    const device = (id: string): object => ({
      device_id: id,
      device_data: { algorithm: "m.dehydration.v1.olm", pickle: "x" },
      initial_device_display_name: "dehydrated",
      device_keys: { user_id: alice.userId, device_id: id, algorithms: ["a"], keys: { [`ed25519:${id}`]: "k" }, signatures: {} },
      one_time_keys: { "signed_curve25519:A": { key: "k", signatures: {} } },
    });

    it("are kept one for each user; the old one is deleted", async () => {
      await client().get(PATH).expect(404);
      await client().put(PATH, device("D1")).expect(200, { device_id: "D1" });
      await client()
        .get(PATH)
        .expect(200, { device_id: "D1", device_data: { algorithm: "m.dehydration.v1.olm", pickle: "x" } });
      await client().put(PATH, device("D2")).expect(200, { device_id: "D2" });
      const { body } = await client().get("/_matrix/client/v3/devices").expect(200);
      assert.deepEqual(body.devices.map(({ device_id }: { device_id: string }) => device_id).sort(), ["D2", alice.deviceId].sort());
      assert.equal((await server.ctx.keyCounts.of(alice.userId, "D2")).oneTimeKeys["signed_curve25519"], 1);
      await client().delete(PATH).expect(200, { device_id: "D2" });
      await client().get(PATH).expect(404);
      await client().delete(PATH).expect(404);
    });

    it("are told once to whom it concerns, and again where they take the place of a device that was there", async () => {
      await client().post("/_matrix/client/v3/createRoom", {}).expect(200);
      const told = async (id: string): Promise<number> =>
        (
          await query<{ n: number }>(server.ctx.read, "SELECT count(*) AS n FROM device_lists_changes_in_room WHERE user_id = $1 AND device_id = $2", [
            alice.userId,
            id,
          ])
        )[0]!.n;
      await client().put(PATH, device("D1")).expect(200);
      assert.equal(await told("D1"), 1);
      const before = await told(alice.deviceId);
      await client().put(PATH, device(alice.deviceId)).expect(200);
      assert.equal(await told(alice.deviceId), before + 1);
    });

    it("collect messages, which are given in pages and stay", async () => {
      await client().put(PATH, device("D1")).expect(200);
      for (let n = 0; n < 3; n++)
        await client()
          .put(`/_matrix/client/v3/sendToDevice/m.test/${next}d${n}`, { messages: { [alice.userId]: { D1: { n } } } })
          .expect(200);
      const first = (await client().get(`${PATH}/D1/events?limit=2`).expect(200)).body;
      assert.deepEqual(
        first.events.map(({ content }: { content: object }) => content),
        [{ n: 0 }, { n: 1 }],
      );
      const second = (await client().get(`${PATH}/D1/events?limit=2&from=${first.next_batch}`).expect(200)).body;
      assert.deepEqual([second.events.length, second.next_batch], [1, undefined]);
      assert.equal((await client().post(`${PATH}/D1/events`, {}).expect(200)).body.events.length, 3);
      await client().get(`${PATH}/OTHER/events`).expect(403);
      await client().get(`${PATH}/D1/events?from=x1`).expect(400);
    });

    it("malformed are refused", async () => {
      for (const body of [
        {},
        { ...device("D"), device_keys: undefined },
        { ...device("D"), device_data: {} },
        { ...device("D"), device_id: 1 },
        { ...device("D"), device_keys: { ...(device("D") as { device_keys: object }).device_keys, user_id: "@b:test" } },
      ]) {
        await client().put(PATH, body).expect(400);
      }
    });
  });
});
