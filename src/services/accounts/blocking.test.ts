import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { query } from "../../storage/database.ts";
import { setUserFlags } from "../../storage/accounts/users.ts";
import { upsertThreepid } from "../../storage/threepids/user-threepids.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import { seedReservedUsers } from "./blocking.ts";

const V3 = "/_matrix/client/v3";
const SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
const DAY = 86_400_000;
const HOUR = 3_600_000;

describe("limits of monthly active users", () => {
  let server: TestServer | undefined;
  let clock: FakeClock;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  async function start(config: Record<string, unknown>): Promise<TestServer> {
    clock = new FakeClock();
    return (server = await startTestServer({ clock, config: { limit_usage_by_mau: true, max_mau_value: 1, ...config } }));
  }
  const active = async (): Promise<string[]> =>
    (await query<{ user_id: string }>(server!.ctx.read, "SELECT user_id FROM monthly_active_users ORDER BY user_id")).map((row) => row.user_id);
  const whoami = (user: TestUser) => server!.as(user).get(`${V3}/account/whoami`).expect(200);
  const refused = (status: number, body: { errcode?: string; limit_type?: string }): void =>
    assert.deepEqual([status, body.errcode, body.limit_type], [403, "M_RESOURCE_LIMIT_EXCEEDED", "monthly_active_user"]);

  /** Two users with tokens, of whom only the first has a place in the month. */
  async function twoUsers(config: Record<string, unknown> = {}): Promise<[TestUser, TestUser]> {
    const { ctx, register } = await start({ max_mau_value: 10, ...config });
    const users: [TestUser, TestUser] = [await register("alice"), await register("bob")];
    await whoami(users[0]);
    await ctx.transaction("test", async (txn) => {
      txn.afterCommit(() => ctx.monthlyActive.clear());
      await query(txn, "DELETE FROM monthly_active_users WHERE user_id <> $1 RETURNING 1", [users[0].userId]);
    });
    return users;
  }

  it("keep those who have no place from syncing, sending and making rooms, and nobody else", async () => {
    const [alice, bob] = await twoUsers({ max_mau_value: 2, mau_limit_reserved_threepids: [] });
    // Somebody else takes the second place.
    await server!.ctx.transaction("test", (txn) =>
      query(txn, `INSERT INTO monthly_active_users (user_id, "timestamp") VALUES ('@x:test', $1) RETURNING 1`, [clock.now()]),
    );
    const answers = await Promise.all(
      [bob, alice].map(async (user) => {
        const as = server!.as(user);
        return [await as.get(`${V3}/sync`), await as.post(SLIDING, {}), await as.post(`${V3}/createRoom`, {})];
      }),
    );
    for (const { status, body } of answers[0]!) refused(status, body);
    for (const { status } of answers[1]!) assert.equal(status, 200);
    await whoami(bob);
    assert.deepEqual(await active(), ["@alice:test", "@x:test"]);
  });

  it("count a user once an hour at most", async () => {
    const [alice] = await twoUsers();
    const at = async () =>
      (await query<{ at: number }>(server!.ctx.read, `SELECT "timestamp" AS at FROM monthly_active_users WHERE user_id = $1`, [alice.userId]))[0]!.at;
    const first = await at();
    clock.advance(HOUR);
    await whoami(alice);
    assert.equal(await at(), first);
    clock.advance(121_000); // sightings of one address count again after two minutes
    await whoami(alice);
    assert.equal(await at(), clock.now());
  });

  it("leave out users on trial, by days and by application service, and take them in afterwards", async () => {
    const [alice, bob] = await twoUsers({ mau_trial_days: 3 });
    assert.deepEqual(await active(), []);
    await server!.as(bob).get(`${V3}/sync`).expect(200);
    clock.advance(3 * DAY + 1_000);
    await whoami(alice);
    assert.deepEqual(await active(), ["@alice:test"]);
  });

  it("leave out support users and guests, and are open to them", async () => {
    const [alice] = await twoUsers({ max_mau_value: 1, allow_guest_access: true });
    assert.deepEqual(await active(), ["@alice:test"]);
    const { ctx } = server!;
    await ctx.transaction("test", (txn) => setUserFlags(txn, ctx.accounts, "@bob:test", { userType: "support" }));
    const guest = (await server!.anonymous.post(`${V3}/register?kind=guest`, {})).body;
    refused(403, guest);
    const { body } = await server!.anonymous
      .post(`${V3}/login`, { type: "m.login.password", user: "bob", password: "correct horse battery staple" })
      .expect(200);
    await server!.as({ accessToken: body.access_token }).get(`${V3}/sync`).expect(200);
    assert.deepEqual(await active(), ["@alice:test"]);
    await whoami(alice);
  });

  it("keep a place for the owners of reserved addresses", async () => {
    const [, bob] = await twoUsers({ max_mau_value: 2, mau_limit_reserved_threepids: [{ medium: "email", address: "bob@example.org" }] });
    const { ctx } = server!;
    await ctx.transaction("test", (txn) => upsertThreepid(txn, bob.userId, { medium: "email", address: "bob@example.org", validated_at: 1, added_at: 1 }));
    await seedReservedUsers(ctx);
    assert.deepEqual(await active(), ["@alice:test", "@bob:test"]);
    clock.advance(31 * DAY);
    await server!.server.jobs.runOnce("reap_monthly_active_users");
    assert.deepEqual(await active(), ["@bob:test"], "whoever has a reserved place keeps it");
    // With one reserved place of two, one other user stays.
    await ctx.transaction("test", (txn) =>
      query(txn, `INSERT INTO monthly_active_users (user_id, "timestamp") VALUES ('@x:test', $1), ('@y:test', $1 + 1) RETURNING 1`, [clock.now()]),
    );
    await server!.server.jobs.runOnce("reap_monthly_active_users");
    assert.deepEqual(await active(), ["@bob:test", "@y:test"]);
  });

  it("only count where mau_stats_only says so", async () => {
    await start({ limit_usage_by_mau: false, mau_stats_only: true, max_mau_value: 1 });
    const users = [await server!.register("alice"), await server!.register("bob")];
    for (const user of users) await whoami(user);
    for (const user of users) await server!.as(user).get(`${V3}/sync`).expect(200);
    assert.deepEqual(await active(), ["@alice:test", "@bob:test"]);
  });

  describe("and users of application services", () => {
    const folder = mkdtempSync(join(tmpdir(), "appservice-"));
    const file = join(folder, "bridge.yaml");
    before(() => {
      const namespaces = { users: [{ regex: "@_irc_.*:test", exclusive: true }], aliases: [], rooms: [] };
      const registration = { id: "bridge", url: null, as_token: "as", hs_token: "hs", sender_localpart: "bridgebot", rate_limited: false, namespaces };
      writeFileSync(file, JSON.stringify(registration));
    });
    after(() => rmSync(folder, { recursive: true }));

    for (const track of [false, true]) {
      it(track ? "hold for them with track_appservice_user_ips" : "do not hold for them", async () => {
        await start({ max_mau_value: 1, app_service_config_files: [file], track_appservice_user_ips: track });
        const bridge = server!.as({ accessToken: "as" });
        await bridge.post(`${V3}/register`, { type: "m.login.application_service", username: "_irc_ann", inhibit_login: true }).expect(200);
        const alice = await server!.register("alice");
        await whoami(alice);
        await bridge.get(`${V3}/account/whoami?user_id=@_irc_ann:test`).expect(200);
        const { status, body } = await bridge.post(`${V3}/createRoom?user_id=@_irc_ann:test`, {});
        if (track) refused(status, body);
        else assert.equal(status, 200);
        assert.deepEqual(await active(), ["@alice:test"]);
      });
    }

    it("give them their own days of trial", async () => {
      const days = { bridge: 2 };
      await start({ max_mau_value: 9, mau_trial_days: 5, mau_appservice_trial_days: days, app_service_config_files: [file], track_appservice_user_ips: true });
      const bridge = server!.as({ accessToken: "as" });
      await bridge.post(`${V3}/register`, { type: "m.login.application_service", username: "_irc_bea", inhibit_login: true }).expect(200);
      const alice = await server!.register("alice");
      clock.advance(3 * DAY);
      await whoami(alice);
      await bridge.get(`${V3}/account/whoami?user_id=@_irc_bea:test`).expect(200);
      assert.deepEqual(await active(), ["@_irc_bea:test"]);
    });
  });
});
