import assert from "node:assert/strict";
import { TestMas } from "../src/testing/mas.ts";
import type { Answer, Json } from "./harness/client.ts";
import { makeHome, type Home } from "./harness/home.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { type RunningServer, startServer } from "./harness/server.ts";
import { requireServers, sides } from "./sides.ts";

const C = "/_matrix/client/v3";
const MAS = "/_synapse/mas";
const API = "urn:matrix:client:api:*";
const DEVICE = "urn:matrix:client:device:";

type Call = readonly [token: string | undefined, method: string, path: string, body?: unknown];
interface Answered {
  readonly call: string;
  readonly status: number;
  readonly errcode: string | undefined;
  readonly location: string | undefined;
  readonly body: Json;
}

/** Sentences that differ with the library that checks a body; the codes do not. */
const PROSE = /validation error|Invalid (?:input|option)|^Cannot specify both/;
/** What differs from one run to the next. */
const VARIES = new Set(["added_at", "validated_at", "last_seen_ts", "last_seen_ip", "last_seen_user_agent", "creation_ts", "server_version"]);

/** The same questions to two servers that leave their accounts to the same Matrix Authentication Service. */
describe("delegation: two servers that delegate to the same service answer alike", function () {
  this.timeout(10 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  let mas: TestMas;
  let home: Home;
  let server: RunningServer | undefined;
  const answers: Answered[][] = [];

  before(async function () {
    requireServers(this, a, b);
    postgres = await acquirePostgres();
    mas = await TestMas.start();
    const none = { user_consent: undefined, refreshable_access_token_lifetime: undefined, login_via_existing_session: { enabled: false } };
    home = await makeHome({ name: "delegation", postgres, extra: { ...mas.config, ...none } });
    grant();
  });
  after(async () => {
    await server?.kill();
    await mas?.close();
    if (home !== undefined && process.env["COMPAT_KEEP"] === undefined) await postgres.dropDatabase(home.database);
    await postgres?.stop();
  });

  function grant(): void {
    mas.grant("alice", "alice", "PHONE");
    mas.grant("admin", "alice", "PHONE", { scope: `${API} ${DEVICE}PHONE urn:synapse:admin:*` });
    mas.grant("older", "alice", undefined, {
      scope: "urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:PHONE",
    });
    mas.grant("compat", "alice", undefined, { device_id: "PHONE", expires_in: 3600 });
    mas.grant("deviceless", "alice");
    mas.grant("no-api", "alice", undefined, { scope: `openid ${DEVICE}PHONE` });
    mas.grant("nobody", "nobody");
    mas.grant("nameless", "alice", "PHONE", { username: null });
    mas.grant("two-devices", "alice", undefined, { scope: `${API} ${DEVICE}PHONE ${DEVICE}OTHER` });
    mas.grant("gone-device", "alice", "GONE");
    mas.grant("expired", "alice", "PHONE", { expires_in: 0 });
    mas.grant("wrong-time", "alice", "PHONE", { expires_in: "300" });
    mas.grant("unclear", "alice", "PHONE", { active: "yes" });
  }

  async function ask(calls: readonly Call[]): Promise<Answered[]> {
    const answered: Answered[] = [];
    for (const [token, method, path, body] of calls) {
      const client = server!.client(token);
      const answer: Answer = await client.request(method, path, body === undefined ? {} : { body });
      const { errcode, error } = (answer.body ?? {}) as { errcode?: string; error?: string };
      answered.push({
        call: `${token ?? "-"} ${method} ${path} ${JSON.stringify(body) ?? ""}`.slice(0, 200),
        status: answer.status,
        errcode,
        location: answer.headers["location"] as string | undefined,
        body: error !== undefined && PROSE.test(error) ? undefined : answer.body,
      });
    }
    return answered;
  }

  for (const kind of [a, b]) {
    it(`${kind} is asked, from an empty database`, async () => {
      await server?.kill();
      await postgres.createDatabase(home.database);
      server = await startServer(kind, home);
      answers.push(await ask(script()));
      await server.stop();
      server = undefined;
    });
  }

  it("the answers are the same", () => {
    const [one, two] = answers;
    assert.ok(one !== undefined && two !== undefined, "both were asked");
    const differences = one.flatMap((answer, index) => {
      const [left, right] = [answer, two[index]].map((each) => JSON.stringify(each, comparable));
      return left === right ? [] : [`${left}\n${right}`];
    });
    assert.deepEqual(differences, []);
  });

  it(`${a} goes on with what ${b} has left, tokens included`, async () => {
    server = await startServer(a, home);
    const [who, devices, user] = await ask([
      ["alice", "GET", `${C}/account/whoami`],
      ["alice", "GET", `${C}/devices`],
      [TestMas.SECRET, "GET", `${MAS}/query_user?localpart=alice`],
    ]);
    assert.deepEqual([who!.status, who!.body.user_id, who!.body.device_id], [200, "@alice:compat.test", "PHONE"]);
    assert.deepEqual(
      devices!.body.devices.map(({ device_id: id }: { device_id: string }) => id),
      ["PHONE"],
    );
    assert.equal(user!.body.display_name, "Alice again");
    assert.deepEqual(
      server.warnings().filter((line) => !line.startsWith("WARNING synapse.config.logger ")),
      [],
    );
  });
});

function comparable(key: string, value: Json): Json {
  if (VARIES.has(key)) return 0;
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value as Record<string, Json>).sort(([one], [two]) => (one < two ? -1 : 1)));
}

function script(): Call[] {
  const S = TestMas.SECRET;
  const post = (path: string, body: unknown): Call => [S, "POST", `${MAS}/${path}`, body];
  const query = (path: string): Call => [S, "GET", `${MAS}/${path}`];
  const tokens = ["alice", "admin", "older", "compat", "deviceless", "no-api", "nobody", "nameless", "two-devices", "gone-device", "expired"];
  const admin: (readonly [string, string, unknown?])[] = [
    ["GET", "/_synapse/admin/v2/users?guests=false"],
    ["GET", "/_synapse/admin/v2/users"],
    ["GET", "/_synapse/admin/v2/users/@bob:compat.test"],
    ["GET", "/_synapse/admin/v1/register"],
    ["POST", "/_synapse/admin/v1/users/@bob:compat.test/login", {}],
    ["GET", "/_synapse/admin/v1/users/@bob:compat.test/admin"],
    ["POST", "/_synapse/admin/v1/reset_password/@bob:compat.test", { new_password: "x" }],
    ["GET", "/_synapse/admin/v1/registration_tokens"],
    ["POST", "/_synapse/admin/v1/account_validity/validity", { user_id: "@bob:compat.test" }],
    ["PUT", "/_synapse/admin/v2/users/@bob:compat.test", { displayname: "Bob" }],
  ];
  return [
    [undefined, "GET", `${MAS}/query_user`],
    ["alice", "GET", `${MAS}/query_user?localpart=alice`],
    [undefined, "POST", `${MAS}/provision_user`, {}],
    ["alice", "POST", `${MAS}/provision_user`, {}],
    query("query_user"),
    query("provision_user"),
    query("query_user?localpart=alice"),
    ...["alice", "", "ALICE", "_a", "12", "a".repeat(300)].map((name) => query(`is_localpart_available?localpart=${name}`)),
    query("is_localpart_available"),
    post("provision_user", "no JSON"),
    post("provision_user", []),
    post("provision_user", {}),
    post("provision_user", { localpart: "alice", set_displayname: "A", unset_displayname: false }),
    post("provision_user", { localpart: "alice", set_displayname: 3 }),
    post("provision_user", { localpart: "A b" }),
    post("provision_user", {
      localpart: "alice",
      set_displayname: "Alice",
      set_emails: ["Alice@Example.org", "b@example.org"],
      set_avatar_url: "mxc://compat.test/a",
    }),
    query("is_localpart_available?localpart=alice"),
    query("query_user?localpart=alice"),
    ["deviceless", "GET", `${C}/account/3pid`],
    post("provision_user", { localpart: "alice", set_emails: ["c@example.org", "alice@example.org"], unset_avatar_url: true }),
    ["deviceless", "GET", `${C}/account/3pid`],
    post("provision_user", { localpart: "bob", set_emails: ["c@example.org"] }),
    ["deviceless", "GET", `${C}/account/3pid`],
    post("upsert_device", { localpart: "alice" }),
    post("upsert_device", { localpart: "nobody", device_id: "X" }),
    post("upsert_device", { localpart: "alice", device_id: "PHONE", display_name: "Phone" }),
    post("upsert_device", { localpart: "alice", device_id: "PHONE" }),
    post("upsert_device", { localpart: "alice", device_id: "PHONE", display_name: "x".repeat(101) }),
    post("update_device_display_name", { localpart: "alice", device_id: "PHONE", display_name: "Renamed" }),
    post("update_device_display_name", { localpart: "alice", device_id: "NONE", display_name: "Renamed" }),
    ...[...tokens, "wrong-time", "unclear", "unknown", S].map((token): Call => [token, "GET", `${C}/account/whoami`]),
    post("sync_devices", { localpart: "alice", devices: ["PHONE", "TWO", "THREE"] }),
    post("sync_devices", { localpart: "alice", devices: [1] }),
    post("sync_devices", { localpart: "alice" }),
    post("delete_device", { localpart: "alice", device_id: "TWO" }),
    post("delete_device", { localpart: "alice", device_id: "NONE" }),
    post("sync_devices", { localpart: "alice", devices: ["PHONE"] }),
    ["alice", "GET", `${C}/devices`],
    post("set_displayname", { localpart: "alice", displayname: "x".repeat(300) }),
    post("unset_displayname", { localpart: "alice" }),
    query("query_user?localpart=alice"),
    post("set_displayname", { localpart: "alice", displayname: "Alice again" }),
    post("allow_cross_signing_reset", { localpart: "alice" }),
    ...[
      "v1/auth_metadata",
      "unstable/auth_metadata",
      "v3/auth_metadata",
      "unstable/org.matrix.msc2965/auth_metadata",
      "unstable/org.matrix.msc2965/auth_issuer",
    ].map((path): Call => [undefined, "GET", `/_matrix/client/${path}`]),
    [undefined, "GET", "/.well-known/matrix/client"],
    ...["login", "login/sso/redirect?redirectUrl=http://x", "register/available?username=x"].map((path): Call => [undefined, "GET", `${C}/${path}`]),
    ...["login", "logout", "logout/all", "refresh", "delete_devices", "account/password", "account/deactivate", "account/3pid", "account/3pid/add"].map(
      (path): Call => ["alice", "POST", `${C}/${path}`, {}],
    ),
    ["alice", "DELETE", `${C}/devices/PHONE`, {}],
    ["alice", "PUT", `${C}/devices/PHONE`, { display_name: "own" }],
    [undefined, "POST", `${C}/register`, {}],
    [undefined, "POST", `${C}/register?kind=guest`, {}],
    ["alice", "GET", `${C}/capabilities`],
    ...["m.oauth", "org.matrix.cross_signing_reset"].map((stage): Call => [undefined, "GET", `${C}/auth/${stage}/fallback/web?session=x`]),
    ...admin.flatMap(([method, path, body]): Call[] => [
      ["alice", method, path, body],
      ["admin", method, path, body],
    ]),
    post("delete_user", { localpart: "bob" }),
    post("delete_user", { localpart: "nobody", erase: true }),
    post("delete_user", { localpart: "bob", erase: false }),
    query("query_user?localpart=bob"),
  ];
}
