import assert from "node:assert/strict";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { systemClock } from "../lib/clock.ts";
import { silentLogger } from "../lib/log.ts";
import { eventually } from "../testing/eventually.ts";
import { Database, query } from "./database.ts";

/** A message of Postgres's protocol. */
function message(type: string, ...parts: readonly (string | number)[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) => {
      if (typeof part === "string") return Buffer.from(part);
      const bytes = Buffer.alloc(4);
      bytes.writeInt32BE(part);
      return bytes;
    }),
  );
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const SASL = 10;
const SASL_CONTINUE = 11;

describe("a connection to a Postgres that wants a password", () => {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
    socket.on("data", (data) => {
      const nonce = /r=([^,\0]+)/.exec(data.toString("latin1"))?.[1];
      if (nonce === undefined) socket.write(message("R", SASL, "SCRAM-SHA-256\0\0"));
      else socket.write(message("R", SASL_CONTINUE, `r=${nonce}more,s=c2FsdA==,i=4096`));
    });
  });
  let port: number;
  const environment = { ...process.env };

  before(async () => {
    delete process.env["PGPASSWORD"];
    process.env["PGPASSFILE"] = "/nowhere/pgpass";
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  });
  after(() => {
    process.env = environment;
    for (const socket of open) socket.destroy();
    server.close();
  });

  const WANTED = /Postgres at 127\.0\.0\.1 wants a password of synapse, and none is given \(database\.args\.password/;

  it("ends at once with a plain word where there is none, and leaves nothing open", async () => {
    const db = new Database({ host: "127.0.0.1", port, user: "synapse", database: "synapse", poolSize: 1, applicationName: "test" }, systemClock, silentLogger);
    await assert.rejects(query(db.read, "SELECT 1"), WANTED);
    await eventually("the end of the connection", () => open.size === 0);
    await db.close();
  });
});
