import assert from "node:assert/strict";
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterEach, describe, it } from "mocha";
import { systemClock } from "../../lib/clock.ts";
import { silentLogger } from "../../lib/log.ts";
import { signingKeyFromSeed } from "../../protocol/event/sign.ts";
import { testCertificates } from "../../testing/certificates.ts";
import { type Backoff, DestinationUnavailable, FederationClient, type FederationClientOptions, RemoteError } from "./client.ts";

describe("requests to servers that mean harm", function () {
  this.timeout(20_000);
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    // Clients before the servers that they may be connecting to.
    for (const close of closing.splice(0).reverse()) await close();
  });

  const client = (options: Partial<FederationClientOptions> = {}, backoff: Partial<Backoff> = {}): FederationClient => {
    const made = new FederationClient(
      {
        serverName: "test",
        signingKey: signingKeyFromSeed("a_test", new Uint8Array(32).fill(1)),
        userAgent: "Myelin",
        blockedRanges: [],
        allowedRanges: [],
        verifyCertificates: true,
        verificationWhitelist: [],
        customCa: [testCertificates().ca],
        minimumTlsVersion: "TLSv1.2",
        domainWhitelist: undefined,
        timeoutMs: 1_000,
        maxLongRetries: 0,
        maxShortRetries: 0,
        maxLongRetryDelayMs: 1,
        maxShortRetryDelayMs: 1,
        ...options,
      },
      systemClock,
      silentLogger,
      { mayTry: () => true, succeeded() {}, failed() {}, ...backoff },
    );
    closing.push(() => made.close());
    return made;
  };
  const listen = async (server: Server, host: string): Promise<number> => {
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    closing.push(() => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });
    return (server.address() as AddressInfo).port;
  };
  const plain = async (answer: RequestListener, host = "127.0.0.1"): Promise<string> => `http://${host}:${await listen(createServer(answer), host)}/file`;
  const matrix = async (answer: RequestListener): Promise<string> => {
    const { certificate, privateKey } = testCertificates();
    return `localhost:${await listen(createHttpsServer({ cert: certificate, key: privateKey }, answer) as unknown as Server, "127.0.0.1")}`;
  };
  const text = async (body: AsyncIterable<Uint8Array>): Promise<string> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
  };
  const ask = (from: FederationClient, destination: string, more: object = {}) =>
    from.request({ method: "GET", destination, path: "/_matrix/federation/v1/version", ...more });

  it("follow no redirect of a file to an address within (CVE-2021-21273, CVE-2023-32683)", async () => {
    let reached = 0;
    const within = await plain((_req, res) => {
      reached++;
      res.end("secret");
    }, "127.0.0.2");
    const outside = await plain((_req, res) => {
      res.writeHead(302, { location: within }).end();
    });
    const guarded = client({ blockedRanges: ["127.0.0.2/32"] });
    await assert.rejects(
      guarded.fetchUrl(outside, 2_000, ({ body }) => text(body)),
      DestinationUnavailable,
    );
    await assert.rejects(
      guarded.fetchUrl(within, 2_000, ({ body }) => text(body)),
      DestinationUnavailable,
    );
    assert.equal(reached, 0);
    assert.equal(await client().fetchUrl(outside, 2_000, ({ body }) => text(body)), "secret", "the test itself is sound");
  });

  it("follow no redirect to other kinds of addresses, and not for ever", async () => {
    let asked = 0;
    const round = await plain((_req, res) => {
      asked++;
      res.writeHead(302, { location: "/again" }).end();
    });
    await assert.rejects(
      client().fetchUrl(round, 2_000, ({ body }) => text(body)),
      DestinationUnavailable,
    );
    assert.ok(asked <= 10, String(asked));
    for (const location of ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"]) {
      const url = await plain((_req, res) => {
        res.writeHead(302, { location }).end();
      });
      await assert.rejects(
        client().fetchUrl(url, 2_000, ({ body }) => text(body)),
        DestinationUnavailable,
      );
    }
  });

  it("go to no server whose name leads to a blocked address (CVE-2024-52594)", async () => {
    let reached = 0;
    const name = await matrix((_req, res) => {
      reached++;
      res.end("{}");
    });
    for (const destination of [name, name.replace("localhost", "127.0.0.1"), name.replace("localhost", "[::ffff:127.0.0.1]")])
      await assert.rejects(ask(client({ blockedRanges: ["127.0.0.0/8", "::1/128", "::ffff:127.0.0.0/104"] }), destination), DestinationUnavailable);
    assert.equal(reached, 0);
    assert.deepEqual(await ask(client(), name), {});
  });

  it("give up answers that trickle, that never end, or that are too long", async () => {
    const trickling = await matrix((_req, res) => {
      res.writeHead(200, { "content-type": "application/json" });
      const timer = setInterval(() => res.write(" "), 50);
      res.on("close", () => clearInterval(timer));
    });
    await assert.rejects(ask(client(), trickling), DestinationUnavailable);
    const silent = await matrix(() => undefined);
    await assert.rejects(ask(client(), silent), DestinationUnavailable);
    let written = 0;
    const endless = await matrix((_req, res) => {
      res.writeHead(200, { "content-type": "application/json" });
      const chunk = Buffer.alloc(64 * 1024, " ");
      const more = (): void => {
        while (!res.destroyed && res.write(chunk)) written += chunk.length;
      };
      res.on("drain", more);
      more();
    });
    await assert.rejects(ask(client({ timeoutMs: 10_000 }), endless, { maxBytes: 256 * 1024 }), DestinationUnavailable);
    assert.ok(written < 32 * 1024 * 1024, String(written));
  });

  it("end when they are told to, whether or not they are connected, and say nothing about the server then", async () => {
    const silent = await matrix(() => undefined);
    const failed: string[] = [];
    const stopping = new AbortController();
    const asker = client({}, { failed: (destination) => failed.push(destination) });
    // More than there are connections: some wait for one.
    const asked = Array.from({ length: 8 }, () => ask(asker, silent, { signal: stopping.signal, timeoutMs: 15_000 }));
    const refused = Promise.all(asked.map((answer) => assert.rejects(answer, DestinationUnavailable)));
    stopping.abort();
    await refused;
    await assert.rejects(ask(asker, silent, { signal: stopping.signal }), DestinationUnavailable);
    assert.deepEqual(failed, []);
  });

  it("of an error answer that is cut off keep its status", async () => {
    const cut = await matrix((_req, res) => {
      res.writeHead(404, { "content-type": "application/json", "content-length": "100" });
      res.write('{"errcode":', () => res.destroy());
    });
    await assert.rejects(ask(client(), cut), (error: unknown) => error instanceof RemoteError && error.status === 404 && error.errcode === "M_UNKNOWN");
    const halfway = await matrix((_req, res) => {
      res.writeHead(200, { "content-type": "application/json", "content-length": "100" });
      res.write("{", () => res.destroy());
    });
    await assert.rejects(ask(client(), halfway), DestinationUnavailable);
  });

  it("make no millions of objects of an answer that says hardly anything", async () => {
    const empties = `{"auth_chain":[${"{},".repeat(4_100_000)}{}]}`;
    const crowded = await matrix((_req, res) => res.writeHead(200, { "content-type": "application/json" }).end(empties));
    await assert.rejects(ask(client({ timeoutMs: 15_000 }), crowded), /no reasonable one/);
  });

  it("read no well-known file that is long, and follow it nowhere for ever (CVE-2021-21274)", async () => {
    const fetchWellKnown = (url: string): Promise<{ body: string } | undefined> =>
      (client() as unknown as { fetchWellKnown(url: string): Promise<{ body: string } | undefined> }).fetchWellKnown(url);
    const long = await plain((_req, res) => {
      res.writeHead(302, { location: "/long" });
      res.end();
    });
    assert.equal(await fetchWellKnown(long), undefined, "redirects end");
    const endless = await plain((_req, res) => res.end(`{"m.server":"x","filler":"${"x".repeat(200_000)}"}`));
    await assert.rejects(fetchWellKnown(endless));
    const short = await plain((_req, res) => res.end('{"m.server":"x"}'));
    assert.equal((await fetchWellKnown(short))?.body, '{"m.server":"x"}');
  });

  it("follow no well-known file to an address within, and to no server there that it names (CVE-2024-52594)", async () => {
    let reached = 0;
    const count: RequestListener = (_req, res) => {
      reached++;
      res.end('{"m.server":"127.0.0.2:1"}');
    };
    const within = await plain(count, "127.0.0.2");
    const outside = await plain((_req, res) => res.writeHead(302, { location: within }).end());
    const guarded = client({ blockedRanges: ["127.0.0.2/32"] });
    const fetchWellKnown = (url: string): Promise<{ body: string } | undefined> =>
      (guarded as unknown as { fetchWellKnown(url: string): Promise<{ body: string } | undefined> }).fetchWellKnown(url);
    assert.equal(await fetchWellKnown(outside), undefined);
    assert.equal(reached, 0);
    // Whatever a file names, the connection is made to permitted addresses alone.
    await assert.rejects(ask(guarded, `127.0.0.2:${new URL(within).port}`), DestinationUnavailable);
    assert.equal(reached, 0);
  });

  it("do not take a certificate of another authority or another name", async () => {
    const name = await matrix((_req, res) => res.end("{}"));
    await assert.rejects(ask(client({ customCa: undefined }), name), DestinationUnavailable);
    await assert.rejects(ask(client(), name.replace("localhost", "127.0.0.3")), DestinationUnavailable);
    assert.deepEqual(await ask(client({ customCa: undefined, verificationWhitelist: ["local*"] }), name), {});
  });

  it("read of a refusal no more than its first part, and of that only the kinds of fields that there are", async () => {
    const name = await matrix((_req, res) => {
      res.writeHead(403, { "content-type": "application/json" });
      res.end(JSON.stringify({ errcode: ["M_X"], error: { a: 1 }, filler: "x".repeat(400_000) }));
    });
    const error = await ask(client(), name).then(
      () => assert.fail("it was refused"),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof RemoteError);
    assert.deepEqual([error.status, error.errcode, error.remoteMessage], [403, "M_UNKNOWN", ""]);
  });
});
