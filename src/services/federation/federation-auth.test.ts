import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { canonicalJson } from "../../protocol/canonical-json.ts";
import { signJson, signingKeyFromSeed, signText, verifyJson, verifyKey } from "../../protocol/event/sign.ts";
import { startTestServer, type TestServer } from "../../testing/server.ts";
import { ServerDiscovery } from "../../outbound/federation/discovery.ts";
import { IpFilter } from "../../outbound/ip-filter.ts";
import { authenticateServer, parseAuthorization } from "./authenticate-server.ts";

const peerKey = signingKeyFromSeed("a_peer", new Uint8Array(32).fill(3));

describe("federation requests", () => {
  let server: TestServer;
  before(async () => {
    server = await startTestServer();
    const now = server.ctx.clock.now();
    const document = signJson(
      { server_name: "peer", valid_until_ts: now + 3_600_000, verify_keys: { [peerKey.keyId]: { key: peerKey.base64 } }, old_verify_keys: {} },
      "peer",
      peerKey,
    );
    assert.ok(await server.ctx.keyRing.acceptDocument(document, "peer", "peer"));
  });
  after(() => server.close());

  const header = (signed: Record<string, string>, sent: Partial<Record<"origin" | "destination", string>> = {}): string => {
    const json = { method: "GET", uri: "/x", origin: "peer", destination: "test", ...signed };
    return `X-Matrix origin="${sent.origin ?? json.origin}",key="${peerKey.keyId}",sig="${signText(canonicalJson(json), peerKey)}",destination="${sent.destination ?? json.destination}"`;
  };
  const check = (authorization: string | undefined): Promise<string> =>
    authenticateServer(server.ctx, { method: "GET", uri: "/x", authorization, content: undefined });
  const refused = (authorization: string | undefined): Promise<void> => assert.rejects(check(authorization), { errcode: "M_UNAUTHORIZED" });

  it("are known by their signature", async () => {
    assert.equal(await check(header({})), "peer");
  });

  it("are refused without, with another's, or with a wrong signature", async () => {
    await refused(undefined);
    await refused("Bearer abc");
    await refused(header({ uri: "/y" }));
    await refused(header({ method: "PUT" }));
    await refused(header({ destination: "elsewhere" }));
    await refused(header({}, { destination: "elsewhere" }));
    await refused(header({ origin: "test" }, { origin: "test" }));
  });

  it("CVE-2019-18835: keys that have expired do not count", async () => {
    const old = signingKeyFromSeed("a_old", new Uint8Array(32).fill(4));
    const document = signJson({ server_name: "past", valid_until_ts: 1, verify_keys: { [old.keyId]: { key: old.base64 } } }, "past", old);
    await server.ctx.keyRing.acceptDocument(document, "past", "past");
    const json = { method: "GET", uri: "/x", origin: "past", destination: "test" };
    await refused(`X-Matrix origin="past",key="${old.keyId}",sig="${signText(canonicalJson(json), old)}"`);
  });

  it("CVE-2026-24044: signatures of the key that was shipped to everybody do not count", async () => {
    const shipped = "l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og";
    assert.equal(
      await server.ctx.keyRing.acceptDocument(
        { server_name: "leaky", valid_until_ts: 4e12, verify_keys: { "ed25519:1": { key: shipped } }, signatures: {} },
        "leaky",
        "leaky",
      ),
      false,
    );
  });

  it("header parameters may be bare, quoted, spaced, in any order and case", () => {
    const wanted = { origin: "a.b:8448", keyId: "ed25519:1", signature: "x+/=", destination: undefined };
    assert.deepEqual(parseAuthorization('X-Matrix origin=a.b:8448,key="ed25519:1",sig="x+/="'), wanted);
    assert.deepEqual(parseAuthorization('x-matrix  SIG="x+/=" , Key="ed25519:1",  ORIGIN="a.b:8448", future="1"'), wanted);
    for (const bad of ["", "X-Matrix", "X-Matrix origin=a", 'X-Matrix origin="a b",key="ed25519:1",sig="x"', "Y-Matrix origin=a,key=ed25519:1,sig=x"])
      assert.equal(parseAuthorization(bad), undefined, bad);
  });

  it("find this server's keys, signed", async () => {
    const { body } = await server.anonymous.get("/_matrix/key/v2/server").expect(200);
    const [keyId, entry] = Object.entries(body.verify_keys as Record<string, { key: string }>)[0]!;
    assert.ok(verifyJson(body, "test", verifyKey(keyId, entry.key)!));
  });

  it("find other servers' keys with this server's signature beside theirs", async () => {
    const { body } = await server.anonymous.post("/_matrix/key/v2/query", { server_keys: { peer: { [peerKey.keyId]: {} } } }).expect(200);
    const [document] = body.server_keys as [{ signatures: Record<string, unknown> }];
    assert.deepEqual(Object.keys(document.signatures).sort(), ["peer", "test"]);
  });
});

describe("server discovery", () => {
  const srv = (records: Record<string, { name: string; port: number; priority: number; weight: number }[]>) => (name: string) =>
    records[name] === undefined ? Promise.reject(new Error("ENOTFOUND")) : Promise.resolve(records[name]);
  const wellKnown = (files: Record<string, string>) => (url: string) =>
    Promise.resolve(
      files[url] === undefined
        ? { status: 404, body: "", cacheControl: undefined, expires: undefined }
        : { status: 200, body: files[url], cacheControl: undefined, expires: undefined },
    );

  it("follows the specification's order", async () => {
    const discovery = new ServerDiscovery(
      wellKnown({
        "https://delegated.org/.well-known/matrix/server": '{"m.server":"matrix.delegated.org:443"}',
        "https://named.org/.well-known/matrix/server": '{"m.server":"hs.named.org"}',
        "https://broken.org/.well-known/matrix/server": "{",
      }),
      () => 0,
      srv({
        "_matrix-fed._tcp.hs.named.org": [{ name: "box.named.org", port: 1234, priority: 1, weight: 1 }],
        "_matrix._tcp.old.org": [{ name: "box.old.org", port: 99, priority: 1, weight: 1 }],
      }),
    );
    const first = async (name: string): Promise<unknown> => {
      const [target] = await discovery.resolve(name);
      return target && [target.host, target.port, target.hostHeader, target.certificateName];
    };
    assert.deepEqual(await first("1.2.3.4"), ["1.2.3.4", 8448, "1.2.3.4", "1.2.3.4"]);
    assert.deepEqual(await first("[::1]:99"), ["::1", 99, "[::1]:99", "::1"]);
    assert.deepEqual(await first("port.org:123"), ["port.org", 123, "port.org:123", "port.org"]);
    assert.deepEqual(await first("delegated.org"), ["matrix.delegated.org", 443, "matrix.delegated.org:443", "matrix.delegated.org"]);
    assert.deepEqual(await first("named.org"), ["box.named.org", 1234, "hs.named.org", "hs.named.org"]);
    assert.deepEqual(await first("old.org"), ["box.old.org", 99, "old.org", "old.org"]);
    assert.deepEqual(await first("broken.org"), ["broken.org", 8448, "broken.org", "broken.org"]);
    assert.equal(await first("no server!"), undefined);
  });

  it("asks again what SRV records say after a while, when nobody was reached there, and when nobody could tell", async () => {
    let now = 0;
    const asked: string[] = [];
    let failure: Error | undefined;
    const discovery = new ServerDiscovery(
      wellKnown({ "https://named.org/.well-known/matrix/server": '{"m.server":"hs.named.org"}' }),
      () => now,
      (name) => {
        asked.push(name);
        if (failure !== undefined) return Promise.reject(failure);
        return Promise.resolve([{ name: `box${asked.length}.named.org`, port: 1, priority: 1, weight: 1 }]);
      },
    );
    const host = async (): Promise<string | undefined> => (await discovery.resolve("named.org"))[0]?.host;
    assert.equal(await host(), "box1.named.org");
    assert.equal(await host(), "box1.named.org");
    now += 300_000;
    assert.equal(await host(), "box2.named.org");
    discovery.forget("named.org");
    assert.equal(await host(), "box3.named.org");
    discovery.forget("named.org");
    failure = Object.assign(new Error("no resolver"), { code: "ETIMEOUT" });
    assert.equal(await host(), "hs.named.org");
    failure = undefined;
    assert.match((await host())!, /^box/);
    assert.ok(asked.every((name) => name === "_matrix-fed._tcp.hs.named.org" || name === "_matrix._tcp.hs.named.org"));
  });
});

describe("the IP filter", () => {
  it("CVE-2021-21392: refuses private addresses in every form that the ranges name", () => {
    const filter = new IpFilter(["127.0.0.0/8", "::ffff:7f00:0/104", "2002:7f00::/24", "::1/128", "0.0.0.0/32"], ["127.0.0.9/32"]);
    for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1", "2002:7f00:1::", "0.0.0.0", "localhost"])
      assert.equal(filter.permits(address), false, address);
    assert.equal(filter.permits("127.0.0.9"), true);
    assert.equal(filter.permits("93.184.216.34"), true);
  });
});
