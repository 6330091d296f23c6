import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "mocha";
import type { JsonObject } from "../../lib/json.ts";
import { silentLogger } from "../../lib/log.ts";
import { testConfig } from "../../testing/config.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { TestMas } from "../../testing/mas.ts";
import { startTestServer, type TestClient, type TestServer } from "../../testing/server.ts";
import { query } from "../../storage/database.ts";
import { ModuleApi } from "../modules/api.ts";
import { ModuleCallbacks } from "../modules/callbacks.ts";

const API = "urn:matrix:client:api:*";
const DEVICE = "urn:matrix:client:device:";

describe("authentication delegated to the Matrix Authentication Service", () => {
  const clock = new FakeClock();
  let mas: TestMas;
  let server: TestServer;
  const by = (accessToken: string): TestClient => server.as({ accessToken });
  let asMas: TestClient;

  before(async () => {
    mas = await TestMas.start();
    server = await startTestServer({ clock, config: mas.config });
    asMas = by(TestMas.SECRET);
    await asMas.post("/_synapse/mas/provision_user", { localpart: "alice", set_displayname: "Alice" }).expect(201);
    await asMas.post("/_synapse/mas/upsert_device", { localpart: "alice", device_id: "PHONE", display_name: "Alice's phone" }).expect(201);
    mas.grant("alice", "alice", "PHONE");
    mas.grant("admin", "alice", "PHONE", { scope: `${API} ${DEVICE}PHONE urn:synapse:admin:*` });
  });
  after(async () => {
    await server.close();
    await mas.close();
  });
  afterEach(() => {
    mas.failWith = undefined;
    clock.advance(200_000);
  });

  const whoami = (token: string) => by(token).get("/_matrix/client/v3/account/whoami");
  const introspections = (token: string): number => mas.requests.filter((request) => request.token === token).length;

  describe("access tokens", () => {
    it("are asked about with the shared secret, and once in two minutes", async () => {
      const earlier = introspections("alice");
      const answers = await Promise.all([whoami("alice"), whoami("alice")]);
      for (const { body } of answers) assert.deepEqual(body, { user_id: "@alice:test", device_id: "PHONE", is_guest: false });
      clock.advance(119_000);
      await whoami("alice").expect(200);
      assert.equal(introspections("alice"), earlier + 1);
      const { headers, path } = mas.requests.findLast(({ token }) => token === "alice")!;
      assert.equal(path, "POST /oauth2/introspect");
      assert.equal(headers.authorization, `Bearer ${TestMas.SECRET}`);
      assert.equal(headers["x-mas-supports-device-id"], "1");
      clock.advance(2_000);
      await whoami("alice").expect(200);
      assert.equal(introspections("alice"), earlier + 2);
    });

    const device = "PHONE";
    for (const [what, answer] of Object.entries<JsonObject>({
      "the first names of the scopes": { scope: `urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:${device}` },
      "a device beside the scope, as of old clients": { scope: API, device_id: device },
      "the same device by both names": { scope: `${API} ${DEVICE}${device} urn:matrix:org.matrix.msc2967.client:device:${device}` },
    })) {
      it(`are taken with ${what}`, async () => {
        mas.grant(`token with ${what}`.replaceAll(/[ ,]/g, "-"), "alice", undefined, answer);
        const { body } = await whoami(`token with ${what}`.replaceAll(/[ ,]/g, "-")).expect(200);
        assert.equal(body.device_id, device);
      });
    }

    for (const [what, answer, status, errcode] of [
      ["that is not active", { active: false }, 401, "M_UNKNOWN_TOKEN"],
      ["whose time is up", { expires_in: 0 }, 401, "M_UNKNOWN_TOKEN"],
      ["that does not open the client-server API", { scope: `openid ${DEVICE}PHONE` }, 401, "M_UNKNOWN_TOKEN"],
      ["without scope", { scope: null }, 401, "M_UNKNOWN_TOKEN"],
      ["of a device that is gone", { scope: `${API} ${DEVICE}GONE` }, 401, "M_UNKNOWN_TOKEN"],
      ["of two devices", { scope: `${API} ${DEVICE}PHONE ${DEVICE}OTHER` }, 500, "M_FORBIDDEN"],
      ["of a device with an endless id", { scope: `${API} ${DEVICE}${"x".repeat(256)}` }, 500, "M_FORBIDDEN"],
      ["of nobody", { username: null }, 500, "M_FORBIDDEN"],
      ["of somebody unknown here", { username: "stranger" }, 500, "M_FORBIDDEN"],
      ["of which it says nothing clear", { active: "yes" }, 503, "M_UNKNOWN"],
      ["with a time that is no number", { expires_in: "300" }, 503, "M_UNKNOWN"],
    ] as const) {
      it(`${what} are refused`, async () => {
        const token = `bad-${what.replaceAll(" ", "-")}`;
        mas.grant(token, "alice", "PHONE", answer as JsonObject);
        const { body } = await whoami(token).expect(status);
        assert.equal(body.errcode, errcode);
      });
    }

    it("end on time, whatever was said before", async () => {
      mas.grant("short", "alice", "PHONE", { expires_in: 60 });
      await whoami("short").expect(200);
      clock.advance(59_000);
      await whoami("short").expect(200);
      clock.advance(1_000);
      await whoami("short").expect(401);
    });

    for (const [what, failure] of Object.entries({
      "an error": { status: 500, body: "{}" },
      "a refusal": { status: 401, body: "{}" },
      "no JSON": { status: 200, body: "<html>" },
      "no object": { status: 200, body: "[]" },
      "an endless answer": { status: 200, body: JSON.stringify({ active: true, pad: "x".repeat(1_100_000) }) },
    })) {
      it(`cannot be judged while the service answers with ${what}: 503, and it is asked again`, async () => {
        const token = `unlucky-${what.replaceAll(" ", "-")}`;
        mas.grant(token, "alice", "PHONE");
        mas.failWith = failure;
        const { body } = await whoami(token).expect(503);
        assert.deepEqual(body, { errcode: "M_UNKNOWN", error: "Unable to introspect the access token" });
        mas.failWith = undefined;
        await whoami(token).expect(200);
      });
    }

    it("of deleted devices are refused at once", async () => {
      await asMas.post("/_synapse/mas/upsert_device", { localpart: "alice", device_id: "LOST" }).expect(201);
      mas.grant("lost", "alice", "LOST");
      await whoami("lost").expect(200);
      await asMas.post("/_synapse/mas/delete_device", { localpart: "alice", device_id: "LOST" }).expect(204);
      await whoami("lost").expect(401);
    });

    it("of locked and closed accounts are refused, although the service has them active", async () => {
      await asMas.post("/_synapse/mas/provision_user", { localpart: "locked", locked: true }).expect(201);
      mas.grant("locked", "locked");
      assert.equal((await whoami("locked").expect(401)).body.errcode, "M_USER_LOCKED");
      await asMas.post("/_synapse/mas/provision_user", { localpart: "locked", locked: false }).expect(200);
      await whoami("locked").expect(200);
      await asMas.post("/_synapse/mas/delete_user", { localpart: "locked", erase: false }).expect(200);
      assert.equal((await whoami("locked").expect(401)).body.errcode, "M_UNKNOWN_TOKEN");
      await asMas.post("/_synapse/mas/reactivate_user", { localpart: "locked" }).expect(200);
      await whoami("locked").expect(200);
    });

    it("of this server's own making are worth nothing", async () => {
      const rows = await query<{ token: string }>(server.ctx.read, "SELECT token FROM access_tokens");
      assert.deepEqual(rows, []);
      await whoami("syt_YWxpY2U_abcdefghij_123456").expect(401);
      await whoami(TestMas.SECRET).expect(401);
    });
  });

  describe("admins", () => {
    it("are those whose token says so, whatever the account says", async () => {
      await by("alice").get("/_synapse/admin/v1/server_version").expect(200);
      await by("alice").get("/_synapse/admin/v2/users?guests=false").expect(403);
      await by("admin").get("/_synapse/admin/v2/users?guests=false").expect(200);
      await by("admin").put("/_synapse/admin/v2/users/@alice:test", { admin: true }).expect(200);
      await by("alice").get("/_synapse/admin/v2/users?guests=false").expect(403);
    });

    it("find what the service does now nowhere else", async () => {
      const gone: (readonly ["get" | "post", string])[] = [
        ["get", "/_synapse/admin/v1/register"],
        ["post", "/_synapse/admin/v1/users/@alice:test/login"],
        ["get", "/_synapse/admin/v1/users/@alice:test/admin"],
        ["post", "/_synapse/admin/v1/reset_password/@alice:test"],
        ["get", "/_synapse/admin/v1/registration_tokens"],
        ["post", "/_synapse/admin/v1/account_validity/validity"],
      ];
      for (const [method, path] of gone) assert.equal((await by("admin").request(method, path).expect(404)).body.errcode, "M_UNRECOGNIZED", path);
    });
  });

  describe("clients", () => {
    it("learn where to sign in, from a document that is fetched once an hour and outlives the service", async () => {
      const fetched = (): number => mas.requests.filter(({ path }) => path.startsWith("GET")).length;
      const earlier = fetched();
      const { body, headers } = await server.anonymous.get("/_matrix/client/v1/auth_metadata").expect(200);
      assert.equal(body.issuer, `${mas.url}/`);
      assert.equal(body.token_endpoint, `${mas.url}/oauth2/token`);
      assert.match(headers["cache-control"]!, /^public, max-age=600/);
      for (const path of ["unstable/auth_metadata", "unstable/org.matrix.msc2965/auth_metadata"]) {
        assert.deepEqual((await server.anonymous.get(`/_matrix/client/${path}`).expect(200)).body, body);
      }
      assert.deepEqual((await server.anonymous.get("/_matrix/client/unstable/org.matrix.msc2965/auth_issuer").expect(200)).body, { issuer: `${mas.url}/` });
      const wellKnown = (await server.anonymous.get("/.well-known/matrix/client").expect(200)).body;
      assert.deepEqual(wellKnown["org.matrix.msc2965.authentication"], { issuer: `${mas.url}/`, account: `${mas.url}/account/` });
      assert.equal(fetched(), earlier + 1);
      clock.advance(3_600_000);
      mas.failWith = { status: 500, body: "" };
      assert.deepEqual((await server.anonymous.get("/_matrix/client/v1/auth_metadata").expect(200)).body, body);
    });

    it("find no login, no registration and no passwords here", async () => {
      const gone: (readonly ["get" | "post", string])[] = [
        ["get", "/_matrix/client/v3/login"],
        ["post", "/_matrix/client/v3/login"],
        ["post", "/_matrix/client/v3/logout"],
        ["post", "/_matrix/client/v3/logout/all"],
        ["post", "/_matrix/client/v3/refresh"],
        ["get", "/_matrix/client/v3/register/available"],
        ["post", "/_matrix/client/v3/register/email/requestToken"],
        ["post", "/_matrix/client/v3/account/password"],
        ["post", "/_matrix/client/v3/account/password/email/requestToken"],
        ["post", "/_matrix/client/v3/account/deactivate"],
        ["post", "/_matrix/client/v3/account/3pid"],
        ["post", "/_matrix/client/v3/account/3pid/add"],
        ["post", "/_matrix/client/v3/account/3pid/delete"],
        ["post", "/_matrix/client/v3/account/3pid/email/requestToken"],
        ["post", "/_matrix/client/v3/delete_devices"],
        ["delete" as "post", "/_matrix/client/v3/devices/PHONE"],
      ];
      for (const [method, path] of gone) {
        const { body, status } = await by("alice")
          .request(method, path)
          .send(method === "get" ? undefined : {});
        assert.deepEqual([status, body.errcode], [404, "M_UNRECOGNIZED"], path);
      }
      assert.equal((await server.anonymous.post("/_matrix/client/v3/register", {}).expect(403)).body.errcode, "M_FORBIDDEN");
      const { capabilities } = (await by("alice").get("/_matrix/client/v3/capabilities").expect(200)).body;
      for (const name of ["m.change_password", "m.3pid_changes", "m.get_login_token"]) assert.deepEqual(capabilities[name], { enabled: false }, name);
    });

    it("upload cross-signing keys at first freely, and others once the user has approved it at the service", async () => {
      const url = `${mas.url}/account/?action=org.matrix.cross_signing_reset`;
      const upload = (key: string) =>
        by("alice").post("/_matrix/client/v3/keys/device_signing/upload", {
          master_key: { user_id: "@alice:test", usage: ["master"], keys: { [`ed25519:${key}`]: key } },
        });
      const [first, second] = ["A", "B"].map((letter) => letter.repeat(42) + "A") as [string, string];
      await upload(first).expect(200);
      const { body } = await upload(second).expect(401);
      assert.deepEqual(body.flows, [{ stages: ["m.oauth"] }, { stages: ["org.matrix.cross_signing_reset"] }]);
      assert.deepEqual(body.params, { "m.oauth": { url }, "org.matrix.cross_signing_reset": { url } });
      assert.equal(body.session, "dummy");
      for (const stage of ["m.oauth", "org.matrix.cross_signing_reset"]) {
        const page = await server.anonymous.get(`/_matrix/client/v3/auth/${stage}/fallback/web?session=dummy`).redirects(0).expect(302);
        assert.equal(page.headers.location, url);
      }
      await asMas.post("/_synapse/mas/allow_cross_signing_reset", { localpart: "alice" }).expect(200);
      await upload(second).expect(200);
      await asMas.post("/_synapse/mas/allow_cross_signing_reset", { localpart: "alice" }).expect(200);
      clock.advance(600_000);
      await upload(first).expect(401);
    });
  });

  describe("the service", () => {
    it("alone may call its routes", async () => {
      const paths = ["provision_user", "delete_user", "reactivate_user", "upsert_device", "delete_device", "sync_devices", "set_displayname"];
      for (const path of paths) {
        assert.equal((await server.anonymous.post(`/_synapse/mas/${path}`, { localpart: "alice" }).expect(401)).body.errcode, "M_MISSING_TOKEN");
        // Told before the body is looked at.
        for (const token of ["admin", `${TestMas.SECRET}x`, TestMas.SECRET.slice(1)]) {
          assert.equal((await by(token).post(`/_synapse/mas/${path}`).expect(403)).body.error, "This endpoint must only be called by MAS");
        }
      }
    });

    it("asks whether a name is free", async () => {
      const ask = (localpart: string) => asMas.get(`/_synapse/mas/is_localpart_available?localpart=${encodeURIComponent(localpart)}`);
      await ask("free").expect(200, {});
      assert.equal((await ask("alice").expect(400)).body.errcode, "M_USER_IN_USE");
      for (const name of ["", "ALICE", "_a", "12", "a b", "x".repeat(300)])
        assert.equal((await ask(name).expect(400)).body.errcode, "M_INVALID_USERNAME", name);
      await asMas.get("/_synapse/mas/is_localpart_available").expect(400);
    });

    it("makes accounts and brings them to what it says", async () => {
      const user = async () => (await asMas.get("/_synapse/mas/query_user?localpart=dora").expect(200)).body;
      const emails = async () =>
        (await by("dora").get("/_matrix/client/v3/account/3pid").expect(200)).body.threepids.map(({ address }: { address: string }) => address).sort();
      mas.grant("dora", "dora");
      await asMas.get("/_synapse/mas/query_user?localpart=dora").expect(404);
      const first = { localpart: "dora", set_displayname: "Dora", set_avatar_url: "mxc://test/dora", set_emails: ["Dora@Example.org", "d@example.org"] };
      await asMas.post("/_synapse/mas/provision_user", first).expect(201, {});
      assert.deepEqual(await user(), {
        user_id: "@dora:test",
        display_name: "Dora",
        avatar_url: "mxc://test/dora",
        is_suspended: false,
        is_deactivated: false,
      });
      assert.deepEqual(await emails(), ["d@example.org", "dora@example.org"]);
      await asMas
        .post("/_synapse/mas/provision_user", { localpart: "dora", unset_displayname: true, set_emails: ["dora@example.org", "new@example.org"] })
        .expect(200);
      assert.equal((await user()).display_name, null);
      assert.equal((await user()).avatar_url, "mxc://test/dora");
      assert.deepEqual(await emails(), ["dora@example.org", "new@example.org"]);
      await asMas.post("/_synapse/mas/provision_user", { localpart: "dora", unset_emails: true, unset_avatar_url: true }).expect(200);
      assert.deepEqual(await emails(), []);
      assert.equal((await user()).avatar_url, null);
      await asMas.post("/_synapse/mas/set_displayname", { localpart: "dora", displayname: "D." }).expect(200, {});
      assert.equal((await user()).display_name, "D.");
      await asMas.post("/_synapse/mas/unset_displayname", { localpart: "dora" }).expect(200, {});
      assert.equal((await user()).display_name, null);
      await asMas.post("/_synapse/mas/delete_user", { localpart: "dora", erase: true }).expect(200, {});
      assert.equal((await user()).is_deactivated, true);
      await asMas.post("/_synapse/mas/reactivate_user", { localpart: "dora" }).expect(200, {});
      assert.equal((await user()).is_deactivated, false);
    });

    it("moves an address from one account to another", async () => {
      await asMas.post("/_synapse/mas/provision_user", { localpart: "one", set_emails: ["shared@example.org"] }).expect(201);
      await asMas.post("/_synapse/mas/provision_user", { localpart: "two", set_emails: ["shared@example.org"] }).expect(201);
      const rows = await query<{ user_id: string }>(server.ctx.read, "SELECT user_id FROM user_threepids WHERE address = 'shared@example.org'");
      assert.deepEqual(rows, [{ user_id: "@two:test" }]);
    });

    for (const [what, body, errcode] of [
      ["a name set and unset", { localpart: "alice", set_displayname: "A", unset_displayname: false }, "M_INVALID_PARAM"],
      ["addresses set and unset", { localpart: "alice", set_emails: [], unset_emails: true }, "M_INVALID_PARAM"],
      ["a name that is none", { localpart: "alice", set_displayname: 1 }, "M_BAD_JSON"],
      ["no localpart", { set_displayname: "A" }, "M_MISSING_PARAM"],
      ["a localpart that nobody may have", { localpart: "A b" }, "M_INVALID_USERNAME"],
      ["a localpart with U+0000", { localpart: "a\0" }, "M_INVALID_USERNAME"],
      ["what is no address", { localpart: "alice", set_emails: ["alice"] }, "M_UNKNOWN"],
      ["a lock that is no truth value", { localpart: "alice", locked: "yes" }, "M_BAD_JSON"],
      ["an endless name", { localpart: "alice", set_displayname: "x".repeat(300) }, "M_UNKNOWN"],
    ] as const) {
      it(`is told about ${what}`, async () => {
        assert.equal((await asMas.post("/_synapse/mas/provision_user", body).expect(400)).body.errcode, errcode);
      });
    }

    it("makes, renames, lists and deletes devices", async () => {
      await asMas.post("/_synapse/mas/provision_user", { localpart: "eve" }).expect(201);
      mas.grant("eve", "eve");
      const names = async () =>
        Object.fromEntries(
          (await by("eve").get("/_matrix/client/v3/devices").expect(200)).body.devices.map(
            (device: { device_id: string; display_name: string | null }): [string, string | null] => [device.device_id, device.display_name],
          ),
        );
      const device = { localpart: "eve", device_id: "ONE" };
      await asMas.post("/_synapse/mas/upsert_device", { ...device, display_name: "One" }).expect(201, {});
      await asMas.post("/_synapse/mas/upsert_device", device).expect(200, {});
      assert.deepEqual(await names(), { ONE: "One" });
      await asMas.post("/_synapse/mas/upsert_device", { ...device, display_name: "First" }).expect(200);
      assert.deepEqual(await names(), { ONE: "First" });
      await asMas.post("/_synapse/mas/update_device_display_name", { ...device, display_name: "Uno" }).expect(200, {});
      await asMas.post("/_synapse/mas/update_device_display_name", { ...device, device_id: "NONE", display_name: "Uno" }).expect(404);
      await asMas.post("/_synapse/mas/update_device_display_name", { ...device, display_name: "x".repeat(101) }).expect(400);
      await asMas.post("/_synapse/mas/sync_devices", { localpart: "eve", devices: ["ONE", "TWO", "THREE"] }).expect(200, {});
      assert.deepEqual(await names(), { ONE: "Uno", TWO: null, THREE: null });
      await asMas.post("/_synapse/mas/sync_devices", { localpart: "eve", devices: ["TWO"] }).expect(200);
      assert.deepEqual(await names(), { TWO: null });
      await asMas.post("/_synapse/mas/delete_device", { localpart: "eve", device_id: "TWO" }).expect(204);
      assert.deepEqual(await names(), {});
      for (const [path, body] of Object.entries({
        upsert_device: { device_id: "X" },
        delete_device: { device_id: "X" },
        sync_devices: { devices: [] },
        update_device_display_name: { device_id: "X", display_name: "X" },
      })) {
        assert.equal((await asMas.post(`/_synapse/mas/${path}`, { localpart: "nobody", ...body }).expect(404)).body.errcode, "M_NOT_FOUND", path);
        await asMas.post(`/_synapse/mas/${path}`, { localpart: "eve", device_id: 7, devices: 7 }).expect(400);
      }
    });
  });

  it("leaves application services their users: made without a login, with devices that they manage (MSC4190)", async () => {
    const folder = mkdtempSync(join(tmpdir(), "appservice-"));
    const file = join(folder, "bridge.yaml");
    const namespaces = { users: [{ regex: "@_irc_.*:test", exclusive: true }], aliases: [], rooms: [] };
    writeFileSync(file, JSON.stringify({ id: "bridge", url: null, as_token: "bridge-token", hs_token: "x", sender_localpart: "bridgebot", namespaces }));
    const other = await startTestServer({ config: { ...mas.config, app_service_config_files: [file] } });
    try {
      const bridge = other.as({ accessToken: "bridge-token" });
      const register = { type: "m.login.application_service", username: "_irc_ann" };
      assert.match((await bridge.post("/_matrix/client/v3/register", register).expect(400)).body.errcode, /M_APPSERVICE_LOGIN_UNSUPPORTED$/);
      await bridge.post("/_matrix/client/v3/register", { ...register, inhibit_login: true }).expect(200);
      const as = "user_id=@_irc_ann:test";
      await bridge.put(`/_matrix/client/v3/devices/BRIDGE?${as}`, { display_name: "Bridge" }).expect(201);
      const { body } = await bridge.get(`/_matrix/client/v3/account/whoami?${as}&device_id=BRIDGE`).expect(200);
      assert.deepEqual([body.user_id, body.device_id], ["@_irc_ann:test", "BRIDGE"]);
      await bridge.get(`/_synapse/admin/v2/users?guests=false&${as}`).expect(403);
      await bridge.delete(`/_matrix/client/v3/devices/BRIDGE?${as}`).expect(200);
      const taken = await other.as({ accessToken: TestMas.SECRET }).get("/_synapse/mas/is_localpart_available?localpart=_irc_bea").expect(400);
      assert.equal(taken.body.errcode, "M_INVALID_USERNAME");
      assert.equal(
        mas.requests.some(({ token }) => token === "bridge-token"),
        false,
      );
    } finally {
      await other.close();
      rmSync(folder, { recursive: true });
    }
  });

  it("does not go with modules that check passwords", () => {
    const api = new ModuleApi(testConfig(mas.config), () => server.ctx, new ModuleCallbacks(silentLogger), silentLogger);
    assert.throws(() => api.register_password_auth_provider_callbacks({}), /matrix_authentication_service: cannot be enabled together with/);
  });

  it("is spoken to over HTTP/2 where the config wants it", async () => {
    const { createServer } = await import("node:http2");
    const versions: string[] = [];
    const http2 = createServer((req, res) => {
      versions.push(req.httpVersion);
      req.resume();
      res.end(JSON.stringify({ active: false }));
    });
    await new Promise<void>((resolve) => http2.listen(0, "127.0.0.1", resolve));
    const { port } = http2.address() as { port: number };
    const other = await startTestServer({
      config: {
        ...mas.config,
        matrix_authentication_service: { enabled: true, endpoint: `http://127.0.0.1:${port}/`, secret: TestMas.SECRET, force_http2: true },
      },
    });
    try {
      await other.as({ accessToken: "x" }).get("/_matrix/client/v3/account/whoami").expect(401);
      assert.deepEqual(versions, ["2.0"]);
    } finally {
      await other.close();
      await new Promise((resolve) => http2.close(resolve));
    }
  });

  it("cannot be asked where to sign in while it was never reached", async () => {
    const other = await startTestServer({ config: mas.config });
    try {
      mas.failWith = { status: 502, body: "" };
      await other.anonymous.get("/_matrix/client/v1/auth_metadata").expect(503);
      await other.anonymous.get("/.well-known/matrix/client").expect(503);
      mas.failWith = undefined;
      await other.anonymous.get("/_matrix/client/v1/auth_metadata").expect(200);
    } finally {
      await other.close();
    }
  });

  it("has no routes where accounts are this server's own", async () => {
    const other = await startTestServer();
    try {
      for (const path of [
        "/_matrix/client/v1/auth_metadata",
        "/_synapse/mas/query_user?localpart=a",
        "/_matrix/client/unstable/org.matrix.msc2965/auth_issuer",
      ]) {
        assert.equal((await other.anonymous.get(path).expect(404)).body.errcode, "M_UNRECOGNIZED");
      }
    } finally {
      await other.close();
    }
  });
});
