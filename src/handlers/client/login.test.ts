import assert from "node:assert/strict";
import { startTestServer, TEST_PASSWORD, type TestServer, type TestUser } from "../../testing/server.ts";

describe("login", () => {
  let server: TestServer;
  let alice: TestUser;

  before(async () => {
    server = await startTestServer();
    alice = await server.register("alice");
  });
  after(() => server.close());

  it("works", async () => {
    const { body } = await server.as(alice).get("/_matrix/client/v3/account/whoami").expect(200);
    assert.deepEqual(body, { user_id: "@alice:test", is_guest: false, device_id: alice.deviceId });
    void TEST_PASSWORD;
  });
});
