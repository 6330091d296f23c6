import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;

describe("who is in a room, for application services (MSC4502)", () => {
  let server: TestServer;
  let alice: TestUser;
  let roomId: string;
  const allowed = { accessToken: "token-of-the-allowed" };
  const other = { accessToken: "token-of-the-other" };

  before(async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "myelin-as-"));
    const files = [allowed, other].map(({ accessToken }, n) => {
      const file = path.join(folder, `${n}.yaml`);
      const scopes = n === 0 ? { "io.element.msc4502.scopes": ["urn:matrix:client:io.element.msc4502:rooms:is_joined"] } : {};
      writeFileSync(
        file,
        JSON.stringify({ id: `as${n}`, url: null, as_token: accessToken, hs_token: `hs${n}`, sender_localpart: `bot${n}`, namespaces: {}, ...scopes }),
      );
      return file;
    });
    server = await startTestServer({ config: { app_service_config_files: files, experimental_features: { msc4502_enabled: true } } });
    alice = await server.register("alice");
    roomId = (await server.as(alice).post(`${V3}/createRoom`).expect(200)).body.room_id;
  });
  after(() => server.close());

  const ask = (user: { accessToken: string }, rest: string, room = roomId) =>
    server.as(user).get(`/_matrix/client/unstable/io.element.msc4502/rooms/${id(room)}/is_joined?${rest}`);

  it("answers for users and servers, also about rooms that the service is not in", async () => {
    for (const [rest, joined] of [
      [`mxid=${id(alice.userId)}`, true],
      [`mxid=${id("@bob:test")}`, false],
      [`mxid=${id("@alice:elsewhere")}`, false],
      ["server_name=test", true],
      ["server_name=elsewhere", false],
    ] as const) {
      assert.deepEqual((await ask(allowed, rest).expect(200)).body, { joined }, rest);
    }
    assert.deepEqual((await ask(allowed, "server_name=test", "!none:test").expect(200)).body, { joined: false });
  });

  it("is for services with the scope only", async () => {
    for (const user of [other, alice]) assert.equal((await ask(user, "server_name=test")).body.errcode, "M_FORBIDDEN");
  });

  it("wants exactly one valid name", async () => {
    for (const rest of ["", `server_name=test&mxid=${id(alice.userId)}`]) assert.equal((await ask(allowed, rest)).body.errcode, "M_MISSING_PARAM");
    for (const rest of ["mxid=alice", "server_name=a%20b"]) assert.equal((await ask(allowed, rest)).body.errcode, "M_INVALID_PARAM");
    assert.equal((await ask(allowed, "server_name=test", "room")).body.errcode, "M_INVALID_PARAM");
  });
});
