import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "mocha";
import { query } from "../../../storage/database.ts";
import { markRemoteProfilesStale } from "../../../storage/rooms/user-directory.ts";
import { type FederatedTestServer, startFederatedServer } from "../../../testing/federated-server.ts";
import { FederationPeer } from "../../../testing/federation-peer.ts";
import { refreshRemoteProfiles } from "./refresh-profiles.ts";

describe("profiles that private rooms may not tell truly", function () {
  this.timeout(30_000);
  let server: FederatedTestServer;
  let peer: FederationPeer;
  let answer: { status: number; body: unknown };

  before(async () => {
    server = await startFederatedServer();
  });
  beforeEach(async () => {
    await peer?.close();
    peer = await FederationPeer.start();
    peer.answers.push(({ path: [, what] }) => (what === "query" ? answer : undefined));
    const users = [{ userId: peer.user("bob"), serverName: peer.name }];
    await server.ctx.transaction("stale", (txn) => markRemoteProfilesStale(txn, users, server.ctx.clock.now() - 1, 0));
  });
  after(async () => {
    await server.close();
    await peer.close();
  });

  const entry = async () =>
    (
      await query<{ display_name: string | null; avatar_url: string | null }>(
        server.ctx.read,
        "SELECT display_name, avatar_url FROM user_directory WHERE user_id = $1",
        [peer.user("bob")],
      )
    )[0];
  const waiting = async () =>
    (
      await query<{ next_try_at_ts: number; retry_counter: number }>(
        server.ctx.read,
        "SELECT next_try_at_ts, retry_counter FROM user_directory_stale_remote_users WHERE user_id = $1",
        [peer.user("bob")],
      )
    )[0];

  it("are asked of the user's server", async () => {
    answer = { status: 200, body: { displayname: "Bob", avatar_url: "mxc://x/y", extra: 1 } };
    await refreshRemoteProfiles(server.ctx);
    assert.deepEqual(await entry(), { display_name: "Bob", avatar_url: "mxc://x/y" });
    assert.equal(await waiting(), undefined);
    const [request] = peer.requests;
    assert.equal(request!.query.get("user_id"), peer.user("bob"));
  });

  it("may have names and pictures that are none", async () => {
    answer = { status: 200, body: { displayname: { not: "text" }, avatar_url: "a\u0000b" } };
    await refreshRemoteProfiles(server.ctx);
    assert.deepEqual(await entry(), { display_name: null, avatar_url: null });
  });

  it("are asked no more where there is none", async () => {
    answer = { status: 404, body: { errcode: "M_NOT_FOUND", error: "No such user" } };
    await refreshRemoteProfiles(server.ctx);
    assert.equal(await entry(), undefined);
    assert.equal(await waiting(), undefined);
  });

  it("are asked again later, and later each time, when the server stumbles or is away", async () => {
    const now = server.ctx.clock.now();
    answer = { status: 403, body: { errcode: "M_FORBIDDEN", error: "No" } };
    await refreshRemoteProfiles(server.ctx);
    const first = (await waiting())!;
    assert.equal(first.retry_counter, 1);
    assert.ok(first.next_try_at_ts >= now + 5 * 60_000);
    await peer.close();
    server.ctx.backoff.failed(peer.name);
    const users = [{ userId: peer.user("bob"), serverName: peer.name }];
    await server.ctx.transaction("due", (txn) => markRemoteProfilesStale(txn, users, now - 1, 1));
    const asked = peer.requests.length;
    await refreshRemoteProfiles(server.ctx);
    assert.equal((await waiting())!.retry_counter, 2);
    assert.equal(peer.requests.length, asked);
  });
});
