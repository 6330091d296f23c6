import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import http, { type IncomingHttpHeaders } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openListeners } from "../handlers/http/listen.ts";
import type { OpenListeners } from "../handlers/http/sockets.ts";
import { routes } from "../handlers/routes.ts";
import { silentLogger } from "../lib/log.ts";
import { testConfig } from "../testing/config.ts";
import { startTestServer, type TestServer, type TestUser } from "../testing/server.ts";
import { openRelay } from "./relay.ts";

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

describe("a process on a worker's configuration", () => {
  let folder: string;
  let server: TestServer;
  let main: OpenListeners;
  let worker: OpenListeners;
  let alice: TestUser;
  const place = (name: string): string => join(folder, `${name}.sock`);

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "myelin-relay-"));
    const shared = {
      worker_replication_secret: "between us",
      instance_map: { main: { path: place("main") } },
      listeners: [{ type: "http", path: place("main"), resources: [{ names: ["replication"] }] }],
    };
    server = await startTestServer({ config: shared });
    alice = await server.register("alice");
    main = await openListeners(server.ctx, server.ctx.config.server.listeners, routes, undefined);
    const config = testConfig({
      ...shared,
      worker_app: "synapse.app.generic_worker",
      worker_name: "worker1",
      worker_listeners: [{ type: "http", path: place("worker"), resources: [{ names: ["client"] }] }],
    });
    worker = await openRelay(config, silentLogger);
  });
  after(async () => {
    await worker.close();
    await main.close();
    await server.close();
    rmSync(folder, { recursive: true });
  });

  function ask(socket: string, method: string, path: string, headers: Record<string, string> = {}, body?: Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = http.request({ socketPath: place(socket), method, path, headers, agent: false }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("end", () => resolve({ status: answer.statusCode!, headers: answer.headers, body: Buffer.concat(chunks) }));
        answer.on("error", reject);
      });
      request.on("error", reject);
      request.end(body);
    });
  }

  it("passes requests on to the main process, with their bodies, and tells it whose they are", async () => {
    const token = { Authorization: `Bearer ${alice.accessToken}`, "X-Forwarded-For": "192.0.2.7" };
    const whoami = await ask("worker", "GET", "/_matrix/client/v3/account/whoami", token);
    assert.equal(whoami.status, 200);
    assert.equal((JSON.parse(whoami.body.toString()) as { user_id: string }).user_id, alice.userId);
    assert.equal(whoami.headers["access-control-allow-origin"], "*");

    const file = randomBytes(300_000);
    const upload = await ask("worker", "POST", "/_matrix/media/v3/upload?filename=a.bin", { ...token, "Content-Type": "application/octet-stream" }, file);
    const { content_uri: uri } = JSON.parse(upload.body.toString()) as { content_uri: string };
    const download = await ask("worker", "GET", `/_matrix/client/v1/media/download/${uri.slice("mxc://".length)}`, token);
    assert.ok(download.body.equals(file));

    await server.ctx.clientIps.flush();
    const { body } = await server.as(alice).get(`/_matrix/client/v3/admin/whois/${alice.userId}`).expect(200);
    assert.match(JSON.stringify(body), /192\.0\.2\.7/);
  });

  it("serves the resources of its listener only, and health", async () => {
    assert.equal((await ask("worker", "GET", "/_matrix/federation/v1/version")).status, 404);
    assert.equal((await ask("worker", "GET", "/health")).status, 200);
  });

  it("is the only one that the main process lets in there", async () => {
    for (const headers of [{}, { "X-Myelin-Relay": "something else" }] as Record<string, string>[])
      assert.equal((await ask("main", "GET", "/_matrix/client/versions", headers)).status, 403);
    const forged = await ask("worker", "GET", "/_matrix/client/versions", { "X-Myelin-Relay": "something else" });
    assert.equal(forged.status, 200, "what a client says in the header is not passed on");
  });

  it("answers 503 while the main process is away, and goes on when it is back", async () => {
    await main.close();
    const away = await ask("worker", "GET", "/_matrix/client/versions");
    assert.equal(away.status, 503);
    assert.equal((JSON.parse(away.body.toString()) as { errcode: string }).errcode, "M_UNKNOWN");
    main = await openListeners(server.ctx, server.ctx.config.server.listeners, routes, undefined);
    assert.equal((await ask("worker", "GET", "/_matrix/client/versions")).status, 200);
  });
});
