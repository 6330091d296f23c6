import assert from "node:assert/strict";
import { setFeatures } from "../../storage/accounts/experimental-features.ts";
import { queryOne } from "../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

describe("what the server says of itself", () => {
  let server: TestServer;
  let alice: TestUser;
  before(async () => {
    server = await startTestServer();
    alice = await server.register("alice");
  });
  after(() => server.close());

  it("lists versions and unstable features, cacheable for strangers", async () => {
    const answer = await server.anonymous.get("/_matrix/client/versions").expect(200);
    assert.equal(answer.headers["cache-control"], "public, max-age=600, s-maxage=3600, stale-while-revalidate=600");
    assert.equal(answer.headers["vary"], "Authorization");
    assert.deepEqual([answer.body.versions[0], answer.body.versions.at(-1), answer.body.versions.length], ["r0.0.1", "v1.12", 20]);
    const on = Object.entries(answer.body.unstable_features)
      .filter(([, value]) => value)
      .map(([key]) => key);
    assert.deepEqual(on.sort(), [
      "fi.mau.msc2659.stable",
      "org.matrix.e2e_cross_signing",
      "org.matrix.label_based_filtering",
      "org.matrix.msc2285.stable",
      "org.matrix.msc2432",
      "org.matrix.msc3440.stable",
      "org.matrix.msc3771",
      "org.matrix.msc3827.stable",
      "org.matrix.msc3981",
      "org.matrix.msc4380.stable",
      "org.matrix.msc4445.initial_sync_timeline_topological_ordering",
      "org.matrix.simplified_msc3575",
      "uk.half-shot.msc2666.query_mutual_rooms.stable",
      "uk.tcpip.msc4133.stable",
    ]);
  });

  it("counts the features that an admin turned on for the user who asks", async () => {
    await server.ctx.transaction("test", (txn) => setFeatures(txn, alice.userId, { msc3881: true }));
    const { body, headers } = await server.as(alice).get("/_matrix/client/versions").expect(200);
    assert.equal(body.unstable_features["org.matrix.msc3881"], true);
    assert.match(headers["cache-control"]!, /no-store/);
    assert.equal((await server.anonymous.get("/_matrix/client/versions")).body.unstable_features["org.matrix.msc3881"], false);
    await server.as({ accessToken: "wrong" }).get("/_matrix/client/versions").expect(401);
  });

  it("tells users what they may do", async () => {
    const { body } = await server.as(alice).get("/_matrix/client/v3/capabilities").expect(200);
    const { "m.room_versions": rooms, ...rest } = body.capabilities;
    assert.equal(rooms.default, "11");
    assert.deepEqual(
      [rooms.available["1"], rooms.available["12"], rooms.available["org.matrix.hydra.11"], rooms.available["org.matrix.msc1767.10"]],
      ["stable", "stable", "unstable", undefined],
    );
    assert.deepEqual(rest, {
      "m.change_password": { enabled: true },
      "m.set_displayname": { enabled: true },
      "m.set_avatar_url": { enabled: true },
      "m.3pid_changes": { enabled: true },
      "m.get_login_token": { enabled: false },
      "m.profile_fields": { enabled: true },
      "org.matrix.msc4140.delayed_events": { max_delay_ms: 0, max_scheduled: 100 },
    });
    await server.anonymous.get("/_matrix/client/v3/capabilities").expect(401);
    assert.deepEqual((await server.anonymous.get("/_matrix/client/v3/password_policy").expect(200)).body, {});
  });

  it("gives an OpenID token to the user alone", async () => {
    const ask = (userId: string) => server.as(alice).post(`/_matrix/client/v3/user/${userId}/openid/request_token`);
    const { body } = await ask("@alice:test").expect(200);
    const { access_token: token, ...rest } = body as { access_token: string };
    assert.match(token, /^[a-zA-Z]{24}$/);
    assert.deepEqual(rest, { token_type: "Bearer", matrix_server_name: "test", expires_in: 3600 });
    assert.equal(
      (await queryOne<{ user_id: string }>(server.ctx.read, "SELECT user_id FROM open_id_tokens WHERE token = $1", [token]))!.user_id,
      "@alice:test",
    );
    assert.equal((await ask("@bob:test").expect(403)).body.errcode, "M_FORBIDDEN");
  });
});
