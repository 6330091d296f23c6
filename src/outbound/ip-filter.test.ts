import assert from "node:assert/strict";
import type { LookupAddress } from "node:dns";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "mocha";
import { IpFilter } from "./ip-filter.ts";
import { PageClient } from "./page-client.ts";

const PRIVATE = ["127.0.0.1/32", "10.0.0.0/8", "::1/128"];

describe("addresses that must not be reached", () => {
  let web: Server;
  let port: number;
  let visits: string[];

  before(async () => {
    web = createServer((req, res) => {
      visits.push(`${req.socket.localAddress} ${req.url}`);
      if (req.url === "/again") res.writeHead(302, { location: `http://rebound.example:${port}/end`, connection: "close" }).end();
      else res.writeHead(200, { connection: "close" }).end("page");
    }).listen(0, "0.0.0.0");
    await new Promise((resolve) => web.once("listening", resolve));
    port = (web.address() as AddressInfo).port;
  });
  after(async () => {
    web.closeAllConnections();
    await new Promise((resolve) => web.close(resolve));
  });

  /** A client for whom names have these addresses, at the first question, the second and so on; the last stays. */
  function clientWith(answers: readonly (readonly string[])[]): { client: PageClient; questions: () => number } {
    let asked = 0;
    visits = [];
    const filter = new IpFilter(PRIVATE, [], (_host, _options, done) => {
      const addresses = answers[Math.min(asked++, answers.length - 1)]!;
      done(
        null,
        addresses.map((address): LookupAddress => ({ address, family: address.includes(":") ? 6 : 4 })),
      );
    });
    return { client: new PageClient({ userAgent: "test", acceptLanguage: [], filter, proxy: undefined }), questions: () => asked };
  }

  it("are left out of what a name stands for, whichever place they have there", async () => {
    const { client } = clientWith([["127.0.0.1", "10.1.2.3", "127.0.0.2", "::1"]]);
    (await client.get(`http://mixed.example:${port}/`, () => {})).body.resume();
    assert.deepEqual(visits, ["127.0.0.2 /"]);
    await client.close();
  });

  it("are not reached by a name that stands for another address by then (DNS rebinding)", async () => {
    const { client, questions } = clientWith([["127.0.0.2"], ["127.0.0.1"]]);
    await assert.rejects(
      client.get(`http://rebound.example:${port}/again`, () => {}),
      { reason: "unresolved" },
    );
    assert.deepEqual(visits, ["127.0.0.2 /again"]);
    // The address that was checked is the one that was connected to: a name is not looked up once more in between.
    assert.equal(questions(), 2);
    await client.close();
  });
});
