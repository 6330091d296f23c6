import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { startTestServer, type TestServer } from "../testing/server.ts";

describe("pages for browsers", () => {
  let server: TestServer;
  let listed: TestServer;
  before(async function () {
    this.timeout(60_000);
    server = await startTestServer();
    listed = await startTestServer({
      config: {
        federation_domain_whitelist: ["a.example", "b.example"],
        federation_whitelist_endpoint_enabled: true,
        web_client_location: "https://app.example/",
      },
    });
  });
  after(async () => {
    await server.close();
    await listed.close();
  });

  it("send those who open the server to a page that says what it is, or to the admin's web client", async () => {
    assert.equal((await server.anonymous.get("/").expect(302)).headers.location, "/_matrix/static/");
    assert.equal((await listed.anonymous.get("/").expect(302)).headers.location, "https://app.example/");
    const page = await server.anonymous.get("/_matrix/static/").expect(200);
    assert.match(page.headers["content-type"]!, /^text\/html/);
    assert.match(page.text, /Matrix/);
  });

  it("advisory 67: let no other site frame the login fallback, and show it with its parameters", async () => {
    const moved = await server.anonymous.get("/_matrix/static/client/login?device_id=D").expect(302);
    assert.equal(moved.headers.location, "/_matrix/static/client/login/?device_id=D");
    for (const path of ["/_matrix/static/client/login/?device_id=<script>", "/_matrix/static/client/login/index.html"]) {
      const page = await server.anonymous.get(path).expect(200);
      assert.equal(page.headers["x-frame-options"], "DENY");
      assert.match(page.headers["content-security-policy"]!, /frame-ancestors 'none'/);
      assert.match(page.text, /matrixLogin/);
      assert.ok(!page.text.includes("D=<script>"));
    }
  });

  it("are no way to other files", async () => {
    for (const path of ["../package.json", "%2e%2e/package.json", "client/login/../../x", "client", "style.css", "client/login/%2e%2e%2f%2e%2e%2fx"])
      await server.anonymous.get(`/_matrix/static/${path}`).expect(404);
  });

  it("explain upload limits", async () => {
    const page = await server.anonymous.get("/_synapse/client/media_upload_limit_exceeded").expect(200);
    assert.match(page.text, /limit/i);
  });

  it("tell users with which servers this one talks, where the admin wants that", async () => {
    const path = "/_synapse/client/v1/config/federation_whitelist";
    const alice = await listed.register("alice");
    assert.deepEqual((await listed.as(alice).get(path).expect(200)).body, { whitelist_enabled: true, whitelist: ["a.example", "b.example"] });
    await listed.anonymous.get(path).expect(401);
    await server
      .as(await server.register("alice"))
      .get(path)
      .expect(404);
  });
});
