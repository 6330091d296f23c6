import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { formatSigningKey } from "../src/config/signing-key.ts";
import { systemClock } from "../src/lib/clock.ts";
import { systemRandom } from "../src/lib/random.ts";
import { TEST_SIGNING_KEY } from "../src/testing/config.ts";
import { makeRoom, requesterOf } from "../src/testing/rooms.ts";
import { startTestServer, type TestServer } from "../src/testing/server.ts";
import { sendEvent } from "../src/services/events/send.ts";
import { check, type CheckOptions, type Report } from "./check.ts";

/** A deployment as an admin has it: files in a folder, and a database that a server has stopped on. */
export interface Deployment {
  readonly folder: string;
  readonly databaseUrl: string;
  /** homeserver.yaml with these options over the usual ones. */
  write(options?: Readonly<Record<string, unknown>>, file?: string): string;
  check(options?: Partial<CheckOptions>): Promise<Report>;
  remove(): Promise<void>;
}

export async function makeDeployment(): Promise<Deployment> {
  const folder = mkdtempSync(path.join(tmpdir(), "myelin-check-"));
  const server = await startTestServer({ config: { media_store_path: path.join(folder, "media") } });
  await fill(server);
  await server.server.followers.runOnce();
  // The server hands over and lets go of its database, which stays.
  await server.server.close();
  const url = new URL(server.database.url);
  const base = {
    server_name: "test",
    report_stats: false,
    public_baseurl: "https://test/",
    listeners: [{ type: "http", port: 8008, bind_addresses: ["127.0.0.1"], x_forwarded: true, resources: [{ names: ["client", "federation"] }] }],
    database: {
      name: "psycopg2",
      args: {
        host: url.hostname,
        port: Number(url.port),
        user: decodeURIComponent(url.username),
        password: decodeURIComponent(url.password),
        dbname: url.pathname.slice(1),
      },
    },
    media_store_path: path.join(folder, "media"),
    signing_key_path: path.join(folder, "signing.key"),
    macaroon_secret_key: "macaroons",
    form_secret: "forms",
    trusted_key_servers: [],
    suppress_key_server_warning: true,
  };
  writeFileSync(path.join(folder, "signing.key"), `${formatSigningKey(TEST_SIGNING_KEY)}\n`);
  const write = (options: Readonly<Record<string, unknown>> = {}, file = "homeserver.yaml"): string => {
    writeFileSync(path.join(folder, file), JSON.stringify({ ...base, ...options }));
    return path.join(folder, file);
  };
  write();
  return {
    folder,
    databaseUrl: server.database.url,
    write,
    check: (options = {}) =>
      check({
        target: "myelin",
        configPaths: [path.join(folder, "homeserver.yaml")],
        workingDirectory: folder,
        env: {},
        clock: systemClock,
        random: systemRandom,
        ...options,
      }),
    async remove() {
      await server.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Something of everything that the checks look at. */
async function fill(server: TestServer): Promise<void> {
  const { ctx } = server;
  const [alice, bob] = [await server.register("alice", { admin: true }), await server.register("bob")];
  const as = server.as(alice);
  const rooms = [];
  for (const version of ["1", "6", "11", "12"]) rooms.push(await makeRoom(ctx, alice.userId, { version, members: [bob.userId] }));
  const sent: string[] = [];
  for (const roomId of rooms) {
    for (let n = 0; n < 5; n++) {
      const { eventId } = await sendEvent(ctx, requesterOf(n % 2 === 0 ? alice.userId : bob.userId), {
        roomId,
        type: "m.room.message",
        content: { msgtype: "m.text", body: `Hello ${n}` },
      });
      sent.push(eventId);
    }
  }
  const [v1, , v11] = rooms as [string, string, string, string];
  await as.put(`/_matrix/client/v3/rooms/${encodeURIComponent(v11)}/redact/${encodeURIComponent(sent[12]!)}/one`, { reason: "no" }).expect(200);
  await as.post(`/_matrix/client/v3/rooms/${encodeURIComponent(v11)}/receipt/m.read/${encodeURIComponent(sent[13]!)}`).expect(200);
  await as.put(`/_matrix/client/v3/rooms/${encodeURIComponent(v11)}/state/m.room.name/`, { name: "A room" }).expect(200);
  await server
    .as(bob)
    .post(`/_matrix/client/v3/rooms/${encodeURIComponent(v1)}/leave`)
    .expect(200);
  await server
    .as(bob)
    .post(`/_matrix/client/v3/rooms/${encodeURIComponent(v1)}/forget`)
    .expect(200);
  await as.put(`/_matrix/client/v3/user/${encodeURIComponent(alice.userId)}/account_data/org.example`, { of: "hers" }).expect(200);
  await as.post(`/_matrix/client/v3/user/${encodeURIComponent(alice.userId)}/filter`, { room: {} }).expect(200);
  await as.put(`/_matrix/client/v3/profile/${encodeURIComponent(alice.userId)}/displayname`, { displayname: "Alice" }).expect(200);
  for (let n = 0; n < 6; n++) await as.request("post", "/_matrix/media/v3/upload").set("Content-Type", "text/plain").send(`file ${n}`).expect(200);
  await as.get("/_matrix/client/v3/sync?timeout=0").expect(200);
}
