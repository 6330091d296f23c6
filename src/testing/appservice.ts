import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A request that an application service got. */
export interface AppserviceRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly authorization: string | undefined;
  readonly body: Record<string, unknown>;
}

export interface ReceivedTransaction {
  readonly id: string;
  readonly body: { readonly events: readonly { event_id: string; type: string; [key: string]: unknown }[]; readonly [key: string]: unknown };
}

/** An application service in the test: an HTTP server that writes down what it is told. */
export interface TestAppservice {
  readonly id: string;
  readonly url: string;
  readonly asToken: string;
  readonly hsToken: string;
  readonly requests: AppserviceRequest[];
  /** Every attempt that came in, confirmed or not. */
  readonly attempts: ReceivedTransaction[];
  /** Transactions by their first arrival that the service took, as one that knows their ids sees them. */
  taken(): ReceivedTransaction[];
  /** Ids of the events taken, in order. */
  eventIds(): string[];
  /** What it does with transactions: takes them, refuses them, takes them but loses the answer, does not answer. */
  mood: "ok" | "refuse" | "lose answer" | "hang";
  /** Answers to other requests by path prefix; others are answered with 404. "hang": none comes. */
  readonly answers: Map<string, unknown>;
  /** Writes a registration file; returns its name. */
  registration(fields: Record<string, unknown>): string;
  close(): Promise<void>;
}

export async function startTestAppservice(id = "bridge"): Promise<TestAppservice> {
  const took = new Map<string, ReceivedTransaction>();
  const http = createServer((request, response) => {
    void readJson(request).then((body) => {
      const { pathname } = new URL(request.url!, "http://localhost");
      service.requests.push({ method: request.method!, url: request.url!, authorization: request.headers.authorization, body });
      const answer = (status: number, json: unknown): void => {
        response.writeHead(status, { "content-type": "application/json" });
        response.end(JSON.stringify(json));
      };
      if (pathname.startsWith("/_matrix/app/v1/transactions/")) {
        const transaction = { id: pathname.split("/").at(-1)!, body } as ReceivedTransaction;
        service.attempts.push(transaction);
        if (service.mood === "refuse") return answer(503, {});
        if (service.mood === "hang") return;
        if (!took.has(transaction.id)) took.set(transaction.id, transaction);
        if (service.mood === "lose answer") return void request.socket.destroy();
        return answer(200, {});
      }
      const known = [...service.answers].find(([prefix]) => decodeURIComponent(pathname).startsWith(prefix));
      if (known?.[1] === "hang") return;
      answer(known === undefined ? 404 : 200, known?.[1] ?? { errcode: "M_NOT_FOUND" });
    });
  });
  http.listen(0, "127.0.0.1");
  await new Promise((resolve) => http.once("listening", resolve));
  const service: TestAppservice = {
    id,
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    asToken: `as-token-of-${id}`,
    hsToken: `hs-token-of-${id}`,
    requests: [],
    attempts: [],
    mood: "ok",
    answers: new Map(),
    taken: () => [...took.values()],
    eventIds: () => [...took.values()].flatMap(({ body }) => body.events.map((event) => event.event_id)),
    registration(fields) {
      const file = join(mkdtempSync(join(tmpdir(), "appservice-")), "registration.yaml");
      const namespaces = { users: [{ exclusive: true, regex: `@${id}_.*` }], aliases: [], rooms: [] };
      writeFileSync(
        file,
        JSON.stringify({ id, url: service.url, as_token: service.asToken, hs_token: service.hsToken, sender_localpart: id, namespaces, ...fields }),
      );
      return file;
    },
    async close() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
  return service;
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString("utf8");
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}
