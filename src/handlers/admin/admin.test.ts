import assert from "node:assert/strict";
import { query } from "../../storage/database.ts";
import { routes } from "../routes.ts";
import { adminRoutes } from "./routes.ts";
import { startTestServer, type TestClient, type TestServer, type TestUser } from "../../testing/server.ts";

describe("admin API: the server", () => {
  let server: TestServer;
  let admin: TestClient;
  let alice: TestUser;

  before(async () => {
    server = await startTestServer();
    admin = server.as(await server.register("admin", { admin: true }));
    alice = await server.register("alice");
  });
  after(() => server.close());

  const fill = (path: string): string => path.replaceAll(/:(\w+)/g, (_, name: string) => (/user/i.test(name) ? "@x:test" : "x"));

  it("every route is for admins alone, but the version and where one was oneself", async () => {
    const open = new Set(["VersionServlet", "WhoisRestServlet"]);
    const own = adminRoutes.filter((route) => !open.has(route.servlet));
    assert.ok(own.length > 80 && own.every((route) => routes.includes(route)));
    for (const route of own) {
      for (const path of route.paths) {
        const method = route.methods[0]!.toLowerCase() as "get" | "post" | "put" | "delete";
        const label = `${method} ${path}`;
        const strangers = await server.anonymous.request(method, fill(path));
        assert.deepEqual([strangers.status, strangers.body.errcode], [401, "M_MISSING_TOKEN"], label);
        const users = await server.as(alice).request(method, fill(path));
        assert.deepEqual([users.status, users.body.errcode], [403, "M_FORBIDDEN"], label);
      }
    }
  });

  it("no route answers nonsense with a server error", async () => {
    for (const route of adminRoutes) {
      for (const path of route.paths) {
        for (const method of route.methods) {
          for (const body of [
            undefined,
            "[1]",
            "{}",
            '{"user_id":5,"features":[],"devices":{},"content":1,"job_name":7,"rooms":1,"token":{},"threepids":5,"external_ids":[1]}',
          ]) {
            const request = admin.request(method.toLowerCase() as "get", `${fill(path)}?limit=99999999999999999999&from=-1&name=%00&user_id=%00`);
            const answer = await (body === undefined || method === "GET" ? request : request.set("Content-Type", "application/json").send(body));
            assert.ok(answer.status < 500, `${method} ${path} ${body}: ${answer.status}`);
          }
        }
      }
    }
  });

  it("tells its version to everybody", async () => {
    const { body } = await server.anonymous.get("/_synapse/admin/v1/server_version").expect(200);
    assert.match(body.server_version, /^1\.160\.0 \(Myelin /);
  });

  it("makes, shows, changes and deletes registration tokens; null and absent differ", async () => {
    const path = "/_synapse/admin/v1/registration_tokens";
    const made = (await admin.post(`${path}/new`, { token: "come.in", uses_allowed: 2, expiry_time: 4_000_000_000_000 }).expect(200)).body;
    assert.deepEqual(made, { token: "come.in", uses_allowed: 2, pending: 0, completed: 0, expiry_time: 4_000_000_000_000 });
    assert.equal((await admin.post(`${path}/new`, { token: "come.in" }).expect(400)).body.errcode, "M_INVALID_PARAM");
    assert.match((await admin.post(`${path}/new`, { length: 20 }).expect(200)).body.token, /^[A-Za-z0-9._~-]{20}$/);
    for (const body of [{ token: "" }, { token: "a b" }, { length: 65 }, { uses_allowed: -1 }, { uses_allowed: 1.5 }, { expiry_time: 1 }])
      await admin.post(`${path}/new`, body).expect(400);
    assert.equal((await admin.put(`${path}/come.in`, { uses_allowed: null }).expect(200)).body.uses_allowed, null);
    assert.deepEqual((await admin.put(`${path}/come.in`, {}).expect(200)).body, { ...made, uses_allowed: null });
    assert.equal((await admin.put(`${path}/come.in`, { uses_allowed: 0, expiry_time: null }).expect(200)).body.expiry_time, null);
    const names = async (search: string): Promise<string[]> =>
      (await admin.get(`${path}${search}`).expect(200)).body.registration_tokens.map((token: { token: string }) => token.token);
    assert.ok((await names("")).includes("come.in"));
    assert.deepEqual(await names("?valid=false"), ["come.in"]);
    assert.deepEqual((await names("?valid=true")).includes("come.in"), false);
    await admin.request("delete", `${path}/come.in`).expect(200);
    await admin.request("delete", `${path}/come.in`).expect(404);
    await admin.get(`${path}/come.in`).expect(404);
    await admin.put(`${path}/come.in`, { uses_allowed: 1 }).expect(404);
  });

  it("lists, shows and deletes reports of events and users", async () => {
    const { room_id: roomId } = (await server.as(alice).post("/_matrix/client/v3/createRoom", { name: "Reported" }).expect(200)).body;
    const { event_id: eventId } = (
      await server.as(alice).put(`/_matrix/client/v3/rooms/${roomId}/send/m.room.message/1`, { msgtype: "m.text", body: "bad" }).expect(200)
    ).body;
    await server.as(alice).post(`/_matrix/client/v3/rooms/${roomId}/report/${eventId}`, { reason: "because", score: -50 }).expect(200);
    await server.ctx.transaction("statistics", (txn) =>
      query(txn, "INSERT INTO room_stats_state (room_id, name) VALUES ($1, 'Reported') ON CONFLICT DO NOTHING", [roomId]),
    );
    const { body } = await admin.get(`/_synapse/admin/v1/event_reports?room_id=${roomId}&user_id=alice&event_sender_user_id=${alice.userId}`).expect(200);
    assert.equal(body.total, 1);
    const [report] = body.event_reports;
    assert.deepEqual([report.event_id, report.sender, report.reason, report.score, report.name], [eventId, alice.userId, "because", -50, "Reported"]);
    assert.equal((await admin.get(`/_synapse/admin/v1/event_reports/${report.id}`).expect(200)).body.event_json.content.body, "bad");
    assert.equal((await admin.get("/_synapse/admin/v1/event_reports/-1").expect(400)).body.errcode, "M_INVALID_PARAM");
    await admin.get("/_synapse/admin/v1/event_reports/99999999999999999999").expect(404);
    await admin.get("/_synapse/admin/v1/event_reports?limit=-1").expect(400);
    await admin.delete(`/_synapse/admin/v1/event_reports/${report.id}`).expect(200);
    await admin.delete(`/_synapse/admin/v1/event_reports/${report.id}`).expect(404);

    await server.as(alice).post("/_matrix/client/v3/users/@admin:test/report", { reason: "power" }).expect(200);
    const users = (await admin.get("/_synapse/admin/v1/user_reports?target_user_id=admin").expect(200)).body;
    assert.deepEqual([users.total, users.user_reports[0].target_user_id, users.user_reports[0].reason], [1, "@admin:test", "power"]);
    const { id } = users.user_reports[0];
    assert.deepEqual((await admin.get(`/_synapse/admin/v1/user_reports/${id}`).expect(200)).body, users.user_reports[0]);
    await admin.request("delete", `/_synapse/admin/v1/user_reports/${id}`).expect(200);
    await admin.get(`/_synapse/admin/v1/user_reports/${id}`).expect(404);
  });

  it("lists destinations and lets a server be tried again", async () => {
    await server.ctx.transaction("pretend", async (txn) => {
      await query(
        txn,
        "INSERT INTO destinations (destination, retry_last_ts, retry_interval, failure_ts) VALUES ('down.example', $1, 60000, $1), ('up.example', NULL, NULL, NULL)",
        [Date.now()],
      );
      await query(txn, "INSERT INTO destination_rooms (destination, room_id, stream_ordering) SELECT 'down.example', room_id, 5 FROM rooms LIMIT 1");
    });
    const path = "/_synapse/admin/v1/federation/destinations";
    const { body } = await admin.get(`${path}?order_by=destination&dir=b`).expect(200);
    assert.deepEqual(body, {
      destinations: [
        { destination: "up.example", retry_last_ts: 0, retry_interval: 0, failure_ts: null, last_successful_stream_ordering: null },
        { ...body.destinations[1], destination: "down.example", retry_interval: 60000 },
      ],
      total: 2,
    });
    assert.equal((await admin.get(`${path}?destination=DOWN&limit=1`).expect(200)).body.total, 1);
    assert.equal((await admin.get(`${path}/down.example`).expect(200)).body.retry_interval, 60000);
    assert.equal((await admin.get(`${path}/down.example/rooms`).expect(200)).body.total, 1);
    assert.equal(await server.ctx.backoff.mayTry("down.example"), false);
    await admin.request("post", `${path}/down.example/reset_connection`).expect(200);
    assert.equal(await server.ctx.backoff.mayTry("down.example"), true);
    await admin.request("post", `${path}/down.example/reset_connection`).expect(400);
    for (const end of ["", "/rooms"]) await admin.get(`${path}/none${end}`).expect(404);
    await admin.request("post", `${path}/none/reset_connection`).expect(404);
    await admin.get(`${path}?order_by=password`).expect(400);
  });

  it("shows, pauses and starts background updates", async () => {
    const path = "/_synapse/admin/v1/background_updates";
    assert.deepEqual((await admin.get(`${path}/status`).expect(200)).body, { enabled: true, current_updates: {} });
    assert.deepEqual((await admin.post(`${path}/enabled`, { enabled: false }).expect(200)).body, { enabled: false });
    assert.deepEqual((await admin.get(`${path}/enabled`).expect(200)).body, { enabled: false });
    await admin.post(`${path}/start_job`, { job_name: "populate_stats_process_rooms" }).expect(200);
    assert.match((await admin.post(`${path}/start_job`, { job_name: "populate_stats_process_rooms" }).expect(400)).body.error, /already in queue/);
    await admin.post(`${path}/start_job`, { job_name: "toString" }).expect(400);
    await admin.post(`${path}/start_job`, {}).expect(400);
    await admin.post(`${path}/enabled`, { enabled: "yes" }).expect(400);
    await admin.post(`${path}/enabled`, { enabled: true }).expect(200);
  });

  it("lists tasks by action, status, resource and time", async () => {
    const { redact_id: id } = (await admin.post("/_synapse/admin/v1/user/@alice:test/redact", { rooms: ["!none:test"] }).expect(200)).body;
    await server.ctx.tasks.idle();
    const path = "/_synapse/admin/v1/scheduled_tasks";
    const { body } = await admin.get(`${path}?action_name=redact_all_events&action_name=x&status=complete&resource_id=@alice:test`).expect(200);
    assert.deepEqual(
      body.scheduled_tasks.map((task: { id: string; status: string }) => [task.id, task.status]),
      [[id, "complete"]],
    );
    assert.deepEqual(Object.keys(body.scheduled_tasks[0]).sort(), ["action", "error", "id", "resource_id", "result", "status", "timestamp_ms"]);
    assert.deepEqual((await admin.get(`${path}?max_timestamp=1`).expect(200)).body, { scheduled_tasks: [] });
    await admin.get(`${path}?status=asleep`).expect(400);
  });
});
