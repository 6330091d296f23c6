import assert from "node:assert/strict";
import { execute, query, queryOne } from "../../storage/database.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";
const proof = (user: string, session?: string): object => ({ auth: { type: "m.login.password", user, password: TEST_PASSWORD, session } });

describe("devices", () => {
  let server: TestServer;
  let alice: TestUser;
  before(async () => {
    server = await startTestServer();
    alice = await server.register("alice");
  });
  after(() => server.close());

  const login = async (deviceId: string): Promise<string> =>
    (await server.anonymous.post(`${V3}/login`, { type: "m.login.password", user: "alice", password: TEST_PASSWORD, device_id: deviceId }).expect(200)).body
      .access_token as string;
  const ids = async (): Promise<string[]> =>
    (await server.as(alice).get(`${V3}/devices`).expect(200)).body.devices.map(({ device_id: id }: { device_id: string }) => id).sort();

  it("are shown with when and where they were seen, and never the hidden ones (migration risk 40)", async () => {
    await login("PHONE");
    await server.ctx.transaction("test", (txn) =>
      execute(txn, "INSERT INTO devices (user_id, device_id, display_name, hidden) VALUES ('@alice:test', 'masterkey', 'master signing key', true)"),
    );
    assert.deepEqual(await ids(), ["PHONE", alice.deviceId].sort());
    const { body } = await server.as(alice).get(`${V3}/devices/PHONE`).expect(200);
    assert.deepEqual(body, { device_id: "PHONE", user_id: "@alice:test", display_name: null, last_seen_ip: null, last_seen_ts: null });
    for (const id of ["masterkey", "NONE", "a%00b", "%F0%9F"])
      assert.equal((await server.as(alice).get(`${V3}/devices/${id}`)).body.errcode, id === "a%00b" ? "M_INVALID_PARAM" : "M_NOT_FOUND", id);
    assert.equal(
      (await server.anonymous.post(`${V3}/login`, { type: "m.login.password", user: "alice", password: TEST_PASSWORD, device_id: "masterkey" }).expect(400))
        .body.errcode,
      "M_FORBIDDEN",
    );
  });

  it("can be renamed by their user only", async () => {
    const bob = await server.register("bob");
    await login("NAMED");
    await server.as(alice).put(`${V3}/devices/NAMED`, { display_name: "Näme \u0000!" }).expect(200);
    assert.equal((await server.as(alice).get(`${V3}/devices/NAMED`)).body.display_name, "Näme !");
    await server.as(alice).put(`${V3}/devices/NAMED`, {}).expect(200);
    assert.equal((await server.as(alice).get(`${V3}/devices/NAMED`)).body.display_name, "Näme !");
    assert.equal((await server.as(bob).put(`${V3}/devices/NAMED`, { display_name: "x" }).expect(404)).body.errcode, "M_NOT_FOUND");
    await server.as(alice).put(`${V3}/devices/masterkey`, { display_name: "x" }).expect(404);
    assert.equal(
      (
        await server
          .as(alice)
          .put(`${V3}/devices/NAMED`, { display_name: "x".repeat(101) })
          .expect(400)
      ).body.errcode,
      "M_TOO_LARGE",
    );
    assert.equal((await server.as(alice).put(`${V3}/devices/NAMED`, { display_name: 5 }).expect(400)).body.errcode, "M_BAD_JSON");
  });

  it("are deleted after a proof, with their tokens and provider links", async () => {
    const token = await login("DOOMED");
    await server.ctx.transaction("test", (txn) =>
      execute(
        txn,
        "INSERT INTO device_auth_providers (user_id, device_id, auth_provider_id, auth_provider_session_id) VALUES ('@alice:test', 'DOOMED', 'oidc', 'sid')",
      ),
    );
    const { body } = await server.as(alice).delete(`${V3}/devices/DOOMED`).expect(401);
    assert.deepEqual(body.flows, [{ stages: ["m.login.password"] }]);
    await server
      .as(alice)
      .delete(`${V3}/devices/DOOMED`, { auth: { session: body.session } })
      .expect(401);
    await server.as(alice).delete(`${V3}/devices/OTHER`, proof("alice", body.session)).expect(403);
    await server.as(alice).delete(`${V3}/devices/DOOMED`, proof("alice", body.session)).expect(200);
    await server.as({ accessToken: token }).get(`${V3}/account/whoami`).expect(401);
    for (const table of ["devices", "access_tokens", "device_auth_providers"])
      assert.deepEqual(await query(server.ctx.read, `SELECT FROM ${table} WHERE device_id = 'DOOMED'`), [], table);
  });

  it("can be deleted together, and one that is hidden stays", async () => {
    await login("A");
    await login("B");
    const { body } = await server
      .as(alice)
      .post(`${V3}/delete_devices`, { devices: ["A", "B", "NONE", "masterkey"] })
      .expect(401);
    await server.as(alice).post(`${V3}/delete_devices`, proof("alice", body.session)).expect(200);
    assert.equal((await ids()).includes("A"), false);
    assert.ok(await queryOne(server.ctx.read, "SELECT FROM devices WHERE device_id = 'masterkey'"));
    for (const bad of [{ devices: "A" }, { devices: [5] }, { devices: null }])
      assert.equal((await server.as(alice).post(`${V3}/delete_devices`, bad).expect(400)).body.errcode, "M_BAD_JSON");
    assert.equal((await server.as(alice).post(`${V3}/delete_devices`, {}).expect(400)).body.errcode, "M_MISSING_PARAM");
    await server.as(alice).post(`${V3}/delete_devices`, { devices: [], auth: "x" }).expect(400);
  });

  it("never change hands: a user's proof is of no use to another (advisory row 92)", async () => {
    const carol = await server.register("carol");
    const token = await login("MINE");
    const { body } = await server.as(carol).delete(`${V3}/devices/MINE`).expect(401);
    await server
      .as(carol)
      .delete(`${V3}/devices/MINE`, { auth: { type: "m.login.password", user: "carol", password: TEST_PASSWORD, session: body.session } })
      .expect(200);
    await server.as({ accessToken: token }).get(`${V3}/account/whoami`).expect(200);
  });
});

describe("devices and time", () => {
  const clock = new FakeClock();

  it("need no new proof while the last is fresh, where the config says so", async () => {
    const server = await startTestServer({ clock, config: { ui_auth: { session_timeout: "1m" } } });
    try {
      const alice = await server.register("alice");
      const device = async (id: string): Promise<void> =>
        void (await server.anonymous.post(`${V3}/login`, { type: "m.login.password", user: "alice", password: TEST_PASSWORD, device_id: id }).expect(200));
      for (const id of ["A", "B", "C"]) await device(id);
      await server.as(alice).delete(`${V3}/devices/A`).expect(200); // the login itself was a proof
      clock.advance(60_001);
      const { body } = await server.as(alice).delete(`${V3}/devices/B`).expect(401);
      await server.as(alice).delete(`${V3}/devices/B`, proof("alice", body.session)).expect(200);
      await server.as(alice).delete(`${V3}/devices/C`).expect(200);
      await server.as(alice).post(`${V3}/account/password`, { new_password: "n" }).expect(401); // not for this
    } finally {
      await server.close();
    }
  });

  it("are deleted when they were not used for long", async () => {
    const server = await startTestServer({ clock, config: { delete_stale_devices_after: "30d" } });
    try {
      const alice = await server.register("alice");
      const bob = await server.register("bob");
      for (const user of [alice, bob]) await server.as(user).get(`${V3}/account/whoami`).expect(200);
      await server.ctx.clientIps.flush();
      clock.advance(31 * 86_400_000);
      await server.as(bob).get(`${V3}/account/whoami`).expect(200);
      await server.ctx.clientIps.flush();
      await server.server.jobs.runOnce("delete_stale_devices");
      await server.as(alice).get(`${V3}/account/whoami`).expect(401);
      await server.as(bob).get(`${V3}/account/whoami`).expect(200);
      await server.server.jobs.runOnce("prune_old_user_ips");
      assert.deepEqual(await query(server.ctx.read, "SELECT DISTINCT user_id FROM user_ips"), [{ user_id: "@bob:test" }]);
    } finally {
      await server.close();
    }
  });

  it("take their notification settings with them (MSC3890)", async () => {
    const server = await startTestServer({ config: { experimental_features: { msc3391_enabled: true, msc3890_enabled: true } } });
    try {
      const alice = await server.register("alice");
      const type = (device: string): string => `org.matrix.msc3890.local_notification_settings.${device}`;
      const url = (device: string): string => `${V3}/user/${alice.userId}/account_data/${type(device)}`;
      for (const device of [alice.deviceId, "A", "B"]) await server.as(alice).put(url(device), { is_silenced: true }).expect(200);
      for (const device of ["A", "B"])
        await server.anonymous.post(`${V3}/login`, { type: "m.login.password", user: "alice", password: TEST_PASSWORD, device_id: device }).expect(200);
      const { body: before } = await server.as(alice).get(`${V3}/sync`).expect(200);
      await server
        .as(alice)
        .post(`${V3}/delete_devices`, { devices: ["A", "B"], ...proof("alice") })
        .expect(200);
      for (const device of ["A", "B"]) await server.as(alice).get(url(device)).expect(404);
      await server.as(alice).get(url(alice.deviceId)).expect(200, { is_silenced: true });
      const { body: after } = await server.as(alice).get(`${V3}/sync?since=${before.next_batch}`).expect(200);
      assert.deepEqual(
        after.account_data.events.filter((event: { type: string }) => event.type.startsWith("org.matrix.msc3890")),
        ["A", "B"].map((device) => ({ type: type(device), content: {} })),
      );
    } finally {
      await server.close();
    }
  });
});
