import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { FakeClock } from "../../testing/fake-clock.ts";
import { startTestServer, type TestServer } from "../../testing/server.ts";

const MAS = {
  matrix_authentication_service: { enabled: true, endpoint: "http://127.0.0.1:1/", secret: "secret" },
  enable_registration: false,
  enable_registration_without_verification: false,
  password_config: { enabled: false },
};
const MSC4108 = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous";
const MSC4388 = "/_matrix/client/unstable/io.element.msc4388/rendezvous";

describe("rendezvous sessions", () => {
  const clock = new FakeClock();
  let server: TestServer;
  before(async () => {
    server = await startTestServer({ clock, config: { ...MAS, experimental_features: { msc4108_enabled: true, msc4388_mode: "open" } } });
  });
  after(() => server.close());

  const post = (body: string, type = "text/plain") => server.anonymous.request("post", MSC4108).set("Content-Type", type).send(body);
  const put = (path: string, body: string, etag?: string) => {
    const request = server.anonymous.request("put", path).set("Content-Type", "text/plain");
    return (etag === undefined ? request : request.set("If-Match", etag)).send(body);
  };
  const pathOf = (response: { body: unknown }): string => new URL((response.body as { url: string }).url).pathname;

  it("MSC4108: passes data from one device to the other", async () => {
    const made = await post("first").expect(201);
    const path = pathOf(made);
    assert.match(path, /^\/_synapse\/client\/rendezvous\/[0-9A-HJKMNP-TV-Z]{26}$/);
    const etag = made.headers["etag"]!;
    assert.equal(made.headers["expires"], new Date(clock.now() + 60_000).toUTCString());
    const read = await server.anonymous.get(path).expect(200).expect("content-type", "text/plain").expect("etag", etag);
    assert.equal(read.text, "first");
    assert.equal(read.headers["cache-control"], "no-store, no-transform");
    assert.match(read.headers["access-control-expose-headers"]!, /ETag/);
    await server.anonymous.get(path).set("If-None-Match", etag).expect(304);
    const written = await put(path, "sécond", etag).expect(202);
    assert.notEqual(written.headers["etag"], etag);
    const { body, headers } = await put(path, "third", etag).expect(412);
    assert.equal((body as Record<string, unknown>)["org.matrix.msc4108.errcode"], "M_CONCURRENT_WRITE");
    assert.equal(headers["etag"], written.headers["etag"]);
    assert.equal((await server.anonymous.get(path).set("If-None-Match", etag).expect(200)).text, "sécond");
    await server.anonymous.request("delete", path).expect(204);
    await server.anonymous.get(path).expect(404);
    await server.anonymous.request("delete", path).expect(404);
  });

  it("MSC4108: refuses other types, long data, writes without If-Match, unknown sessions", async () => {
    await post("x", "application/json").expect(400);
    await post("x".repeat(4097)).expect(413);
    const path = pathOf(await post("x").expect(201));
    const { body } = await put(path, "y").expect(400);
    assert.equal((body as { errcode: string }).errcode, "M_MISSING_PARAM");
    await server.anonymous.get("/_synapse/client/rendezvous/nonsense").expect(404);
  });

  it("MSC4108: a session ends after a minute, writes notwithstanding, and few are kept", async () => {
    const made = await post("x").expect(201);
    const path = pathOf(made);
    clock.advance(59_000);
    await put(path, "y", made.headers["etag"]).expect(202);
    clock.advance(1_000);
    await server.anonymous.get(path).expect(404);
    const first = pathOf(await post("first").expect(201));
    for (let i = 0; i < 210; i++) server.ctx.rendezvous.msc4108.create("more");
    await server.anonymous.get(first).expect(404);
    await server.server.jobs.runOnce("evict_rendezvous_sessions");
  });

  it("MSC4108: lets browsers send If-Match from other origins", async () => {
    const path = pathOf(await post("x").expect(201));
    const address = new URL(server.anonymous.get(path).url);
    const answer = await fetch(address, { method: "OPTIONS" });
    assert.match(answer.headers.get("access-control-allow-headers")!, /If-Match/);
  });

  it("MSC4388: passes data in JSON, and takes a repeated write for the same one", async () => {
    await server.anonymous.get(MSC4388).expect(200, { create_available: true });
    const made = (await server.anonymous.post(MSC4388, { data: "one" }).expect(200)).body as { id: string; sequence_token: string; expires_in_ms: number };
    assert.equal(made.expires_in_ms, 120_000);
    const path = `${MSC4388}/${made.id}`;
    clock.advance(1_000);
    await server.anonymous.get(path).expect(200, { data: "one", sequence_token: made.sequence_token, expires_in_ms: 119_000 });
    const { body } = await server.anonymous.put(path, { data: "two", sequence_token: made.sequence_token }).expect(200);
    const { sequence_token } = body as { sequence_token: string };
    await server.anonymous.put(path, { data: "two", sequence_token: made.sequence_token }).expect(200, { sequence_token });
    const conflict = await server.anonymous.put(path, { data: "three", sequence_token: made.sequence_token }).expect(409);
    assert.equal((conflict.body as { errcode: string }).errcode, "IO_ELEMENT_MSC4388_CONCURRENT_WRITE");
    await server.anonymous.put(path, { data: 1, sequence_token }).expect(400);
    await server.anonymous.put(path, { data: "x".repeat(4097), sequence_token }).expect(413);
    await server.anonymous.request("delete", path).expect(200);
    await server.anonymous.get(path).expect(404);
  });

  it("MSC4388: shows nothing to a browser's address bar", async () => {
    const { id } = (await server.anonymous.post(MSC4388, { data: "<script>" }).expect(200)).body as { id: string };
    for (const [name, value] of [
      ["Sec-Fetch-Dest", "document"],
      ["Sec-Fetch-Mode", "navigate"],
      ["Sec-Fetch-User", "?1"],
      ["Sec-Fetch-Site", "none"],
    ] as const)
      await server.anonymous.get(`${MSC4388}/${id}`).set(name, value).expect(403);
    await server.anonymous.get(`${MSC4388}/${id}`).set("Sec-Fetch-Dest", "empty").set("Sec-Fetch-Site", "cross-site").expect(200);
  });

  it("sends clients to the delegated endpoint, asks for a token where configured, and is off by default", async () => {
    const other = await startTestServer({
      config: { ...MAS, experimental_features: { msc4108_delegation_endpoint: "https://rendezvous.example/", msc4388_mode: "authenticated" } },
    });
    try {
      await other.anonymous.request("post", MSC4108).set("Content-Type", "text/plain").send("x").expect(307).expect("location", "https://rendezvous.example/");
      await other.anonymous.get("/_synapse/client/rendezvous/x").expect(404);
      await other.anonymous.get(MSC4388).expect(401);
      await other.anonymous.post(MSC4388, { data: "x" }).expect(401);
    } finally {
      await other.close();
    }
    const off = await startTestServer();
    try {
      await off.anonymous.post(MSC4388, { data: "x" }).expect(404);
      await off.anonymous.request("post", MSC4108).send("x").expect(404);
    } finally {
      await off.close();
    }
  });
});
