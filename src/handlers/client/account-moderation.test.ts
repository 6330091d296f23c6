import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { startTestServer, type TestClient, type TestServer, type TestUser } from "../../testing/server.ts";

const PATH = "/_matrix/client/v1/admin";

describe("suspending and locking by the specification's routes (MSC4323)", () => {
  let server: TestServer;
  let admin: TestUser;
  let bob: TestUser;
  let asAdmin: TestClient;
  let asBob: TestClient;
  before(async function () {
    this.timeout(60_000);
    server = await startTestServer();
    [admin, bob] = [await server.register("root", { admin: true }), await server.register("bob")];
    [asAdmin, asBob] = [server.as(admin), server.as(bob)];
  });
  after(() => server.close());

  const forBoth = async (check: (path: string, field: string) => Promise<void>): Promise<void> => {
    await check(`${PATH}/suspend`, "suspended");
    await check(`${PATH}/lock`, "locked");
  };

  it("take effect, and back", async () => {
    const rename = () => asBob.put(`/_matrix/client/v3/profile/${bob.userId}/displayname`, { displayname: "Robert" });
    assert.deepEqual((await asAdmin.put(`${PATH}/suspend/${bob.userId}`, { suspended: true }).expect(200)).body, { suspended: true });
    assert.equal((await rename().expect(403)).body.errcode, "M_USER_SUSPENDED");
    await asAdmin.put(`${PATH}/suspend/${bob.userId}`, { suspended: false }).expect(200);
    await rename().expect(200);
    await asAdmin.put(`${PATH}/lock/${bob.userId}`, { locked: true }).expect(200);
    assert.equal((await rename().expect(401)).body.errcode, "M_USER_LOCKED");
    assert.deepEqual((await asAdmin.get(`${PATH}/lock/${bob.userId}`).expect(200)).body, { locked: true });
    assert.deepEqual((await asAdmin.get(`${PATH}/suspend/${bob.userId}`).expect(200)).body, { suspended: false });
    await asAdmin.put(`${PATH}/lock/${bob.userId}`, { locked: false }).expect(200);
    await rename().expect(200);
  });

  it("are for admins, who are told so by their capabilities, and say nothing of accounts to others", () =>
    forBoth(async (path, field) => {
      for (const userId of [bob.userId, "@nobody:test", "@x:elsewhere"]) {
        assert.equal((await asBob.get(`${path}/${userId}`).expect(403)).body.errcode, "M_FORBIDDEN");
        assert.equal((await asBob.put(`${path}/${userId}`, { [field]: true }).expect(403)).body.errcode, "M_FORBIDDEN");
      }
      const moderation = async (client: TestClient) =>
        (await client.get("/_matrix/client/v3/capabilities").expect(200)).body.capabilities["m.account_moderation"];
      assert.deepEqual(await moderation(asAdmin), { suspend: true, lock: true });
      assert.equal(await moderation(asBob), undefined);
    }));

  it("are not for admins, users of other servers, closed accounts, and those who are not here", () =>
    forBoth(async (path, field) => {
      const gone = await server.register(`gone-${field}`);
      await asAdmin.post(`/_synapse/admin/v1/deactivate/${gone.userId}`, {}).expect(200);
      for (const [userId, status, errcode] of [
        [admin.userId, 403, "M_FORBIDDEN"],
        ["@bob:elsewhere", 400, "M_INVALID_PARAM"],
        ["bob", 400, "M_INVALID_PARAM"],
        [gone.userId, 404, "M_NOT_FOUND"],
        [bob.userId.replace("bob", "nobody"), 404, "M_NOT_FOUND"],
      ] as const) {
        assert.equal((await asAdmin.get(`${path}/${userId}`).expect(status)).body.errcode, errcode, userId);
        assert.equal((await asAdmin.put(`${path}/${userId}`, { [field]: true }).expect(status)).body.errcode, errcode, userId);
      }
      await asAdmin.put(`${path}/${bob.userId}`, { [field]: "yes" }).expect(400);
      await asAdmin.put(`${path}/${bob.userId}`, {}).expect(400);
      assert.deepEqual((await asAdmin.get(`${path}/${bob.userId}`).expect(200)).body, { [field]: false });
    }));
});
