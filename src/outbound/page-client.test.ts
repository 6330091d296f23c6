import assert from "node:assert/strict";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { after, afterEach, before, describe, it } from "mocha";
import { IpFilter } from "./ip-filter.ts";
import { PageClient, PageUnavailable } from "./page-client.ts";

describe("pages that never end", function () {
  this.timeout(30_000);
  const options = { userAgent: "test", acceptLanguage: ["en"], filter: new IpFilter([], []), proxy: undefined };
  const client = new PageClient({ ...options, timeoutMs: 500 });
  const patient = new PageClient(options);
  let web: Server;
  let url: string;
  let answer: RequestListener;
  let open = 0;

  before(async () => {
    web = createServer((req, res) => {
      open++;
      res.on("close", () => open--);
      answer(req, res);
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => web.once("listening", resolve));
    url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/`;
  });
  after(async () => {
    await Promise.all([client.close(), patient.close()]);
    web.closeAllConnections();
    await new Promise((resolve) => web.close(resolve));
  });
  afterEach(async () => {
    for (const end = Date.now() + 20_000; open > 0; await new Promise((resolve) => setTimeout(resolve, 5)))
      assert.ok(Date.now() < end, "no connection is held after it");
  });

  const read = async (by = client): Promise<string> => {
    const { body } = await by.get(url, () => {});
    let text = "";
    for await (const chunk of body as AsyncIterable<Buffer>) text += chunk.toString("utf8");
    return text;
  };
  const every = (ms: number, what: () => void, end: { on(event: "close", fn: () => void): unknown }): void => {
    const timer = setInterval(what, ms);
    end.on("close", () => clearInterval(timer));
  };

  it("are given up when they come in drops, compressed or not (CVE-2022-41952)", async () => {
    answer = (_req, res) => {
      res.writeHead(200, { "content-type": "text/html" });
      every(20, () => res.write("x"), res);
    };
    await assert.rejects(read());
    const packed = gzipSync("x".repeat(100_000));
    answer = (_req, res) => {
      res.writeHead(200, { "content-type": "text/html", "content-encoding": "gzip" });
      let at = 0;
      every(20, () => at < packed.length - 10 && res.write(packed.subarray(at, ++at)), res);
    };
    await assert.rejects(read());
  });

  it("are given up when they do not begin", async () => {
    answer = () => {};
    await assert.rejects(read(), (error) => error instanceof PageUnavailable && error.reason === "timeout");
  });

  it("are none when they end in time", async () => {
    answer = (_req, res) => res.writeHead(200, { "content-type": "text/html" }).end("short");
    assert.equal(await read(patient), "short");
  });
});
