import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Json } from "./client.ts";

/** What servers send out: pushes to a push gateway, transactions to an application service. It takes all and keeps them. */
export interface Sink {
  readonly url: string;
  readonly pushes: Json[];
  readonly transactions: { id: string; body: Json }[];
  close(): Promise<void>;
}

export async function startSink(): Promise<Sink> {
  const pushes: Json[] = [];
  const transactions: { id: string; body: Json }[] = [];
  const server: Server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => {
      const path = new URL(req.url ?? "/", "http://sink").pathname;
      const text = Buffer.concat(chunks).toString("utf8");
      const body: Json = text === "" ? undefined : JSON.parse(text);
      let status = 200;
      let answer: Json = {};
      const transaction = /\/transactions\/([^/]+)$/.exec(path);
      if (path === "/_matrix/push/v1/notify") {
        pushes.push(body.notification);
        answer = { rejected: [] };
      } else if (transaction) transactions.push({ id: transaction[1]!, body });
      else if (/\/(users|rooms)\//.test(path)) status = 404;
      else if (/\/thirdparty\/protocol\//.test(path)) answer = { user_fields: ["name"], location_fields: ["place"], icon: "", field_types: {}, instances: [] };
      else if (/\/thirdparty\//.test(path)) answer = [];
      res.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
    });
  });
  // Synapse sends a transaction on a connection that is just being closed only again without its ephemeral events.
  server.keepAliveTimeout = 10 * 60_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    pushes,
    transactions,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
