import assert from "node:assert/strict";
import { query, queryOne } from "../../storage/database.ts";
import { fixtureDump } from "../../testing/database.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { startTestServer, type TestServer } from "../../testing/server.ts";

const fixture = fixtureDump();
const WHOAMI = "/_matrix/client/v3/account/whoami";

(fixture === undefined ? describe.skip : describe)("accounts of a Synapse database (migration risks 24, 33, 34, 40, 44)", () => {
  let server: TestServer;
  // A moment at which the tokens of the fixture's last hours have not expired.
  const clock = new FakeClock(1_795_221_400_000);

  before(async function () {
    this.timeout(60_000);
    server = await startTestServer({
      clock,
      config: { server_name: "localhost:18448", macaroon_secret_key: "clients-secret-a-macaroon", allow_guest_access: true },
      database: { fixture: fixture! },
    });
  });
  after(() => server.close());

  interface TokenRow {
    token: string;
    user_id: string;
    device_id: string | null;
    valid_until_ms: number | null;
    puppets_user_id: string | null;
    deactivated: number;
    locked: boolean;
  }
  const tokens = (): Promise<TokenRow[]> =>
    query<TokenRow>(
      server.ctx.read,
      `SELECT token, user_id, device_id, valid_until_ms, puppets_user_id, deactivated, locked
       FROM access_tokens JOIN users ON users.name = coalesce(puppets_user_id, user_id) ORDER BY id`,
    );

  it("keep every access token, for the user and device that it had", async () => {
    const rows = await tokens();
    assert.ok(rows.length > 50, `${rows.length} tokens`);
    for (const row of rows) {
      const { status, body } = await server.as({ accessToken: row.token }).get(WHOAMI);
      if (row.valid_until_ms !== null && row.valid_until_ms < clock.now()) assert.deepEqual([status, body.soft_logout], [401, true]);
      else if (row.locked) assert.deepEqual([status, body.errcode], [401, "M_USER_LOCKED"]);
      else {
        assert.equal(status, 200, row.user_id);
        assert.deepEqual([body.user_id, body.device_id ?? null], [row.puppets_user_id ?? row.user_id, row.device_id]);
      }
    }
    assert.deepEqual(await tokens(), rows);
  });

  it("show the devices that they had, without the keys among them", async () => {
    const [row] = await query<{ token: string; user_id: string }>(
      server.ctx.read,
      `SELECT token, user_id FROM access_tokens WHERE valid_until_ms IS NULL AND puppets_user_id IS NULL
         AND EXISTS (SELECT FROM devices WHERE devices.user_id = access_tokens.user_id AND hidden) LIMIT 1`,
    );
    const { body } = await server.as({ accessToken: row!.token }).get("/_matrix/client/v3/devices").expect(200);
    const stored = await query<{ device_id: string }>(server.ctx.read, "SELECT device_id FROM devices WHERE user_id = $1 AND NOT hidden", [row!.user_id]);
    assert.deepEqual(body.devices.map(({ device_id: id }: { device_id: string }) => id).sort(), stored.map(({ device_id: id }) => id).sort());
  });

  it("go on refreshing, and refuse what is spent", async () => {
    const rows = await query<{ id: number; token: string; next_token_id: number | null; expiry_ts: number | null }>(
      server.ctx.read,
      "SELECT id, token, next_token_id, expiry_ts FROM refresh_tokens ORDER BY id",
    );
    let fresh = 0;
    for (const row of rows.reverse()) {
      const { status, body } = await server.anonymous.post("/_matrix/client/v3/refresh", { refresh_token: row.token });
      if (row.next_token_id === null && (row.expiry_ts === null || row.expiry_ts > clock.now())) {
        assert.equal(status, 200, JSON.stringify(body));
        await server.as({ accessToken: body.access_token }).get(WHOAMI).expect(200);
        fresh++;
      } else {
        assert.ok([401, 403].includes(status), `${status}`);
      }
    }
    assert.ok(fresh > 0);
  });

  it("take new ids above all that are there, for tokens and for guests", async () => {
    const highest = await queryOne<{ id: number }>(server.ctx.read, "SELECT max(id) AS id FROM access_tokens");
    const guest = (await server.anonymous.post("/_matrix/client/v3/register?kind=guest", {}).expect(200)).body;
    assert.equal(guest.user_id, "@6:localhost:18448");
    await server.register("newcomer");
    const newest = await queryOne<{ id: number }>(server.ctx.read, "SELECT max(id) AS id FROM access_tokens");
    assert.ok(newest!.id > highest!.id);
  });

  it("stay closed when they were closed", async () => {
    const closed = await query<{ name: string }>(server.ctx.read, "SELECT name FROM users WHERE deactivated = 1");
    assert.ok(closed.length > 0);
    for (const { name } of closed) await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.password", user: name, password: "x" }).expect(403);
  });
});
