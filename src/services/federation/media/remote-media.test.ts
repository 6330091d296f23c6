import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { type FederatedTestServer, startFederatedServer } from "../../../testing/federated-server.ts";
import { FederationPeer } from "../../../testing/federation-peer.ts";
import type { TestUser } from "../../../testing/server.ts";

describe("media of a server that does not keep to the protocol", () => {
  let server: FederatedTestServer;
  let peer: FederationPeer;
  let alice: TestUser;
  let body: unknown = {};

  before(async function () {
    this.timeout(60_000);
    server = await startFederatedServer();
    peer = await FederationPeer.start();
    peer.answers.push(({ path }) => (path[1] === "media" ? { status: 200, body } : undefined));
    alice = await server.register("alice");
  });
  after(async () => {
    await server.close();
    await peer.close();
  });

  const download = (mediaId: string) => server.as(alice).get(`/_matrix/client/v1/media/download/${peer.name}/${mediaId}`);

  it("is refused when it comes without a boundary, however long it is, and the server goes on", async () => {
    // Long enough to be on its way still when it is given up.
    for (const [n, answer] of [{}, { text: "x".repeat(4_000_000) }, [1, 2, 3], null].entries()) {
      body = answer;
      const { body: error } = await download(`none${n}`).expect(502);
      assert.equal(error.errcode, "M_UNKNOWN");
    }
    await server.as(alice).get("/_matrix/client/v3/account/whoami").expect(200);
  });
});
