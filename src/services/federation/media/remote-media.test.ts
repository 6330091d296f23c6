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
  let contentType = "application/json";

  before(async function () {
    this.timeout(60_000);
    server = await startFederatedServer({ config: { max_upload_size: "1M", remote_media_download_burst_count: "5M", remote_media_download_per_second: "1K" } });
    peer = await FederationPeer.start();
    peer.answers.push(({ path }) => (path[1] === "media" ? { status: 200, body, contentType } : undefined));
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

  it("is cut where it is longer than what users here may upload, and each address has a budget (CVE-2024-37302)", async () => {
    contentType = "multipart/mixed; boundary=gap";
    const file = (bytes: number): string =>
      `--gap\r\nContent-Type: application/json\r\n\r\n{}\r\n--gap\r\nContent-Type: text/plain\r\n\r\n${"x".repeat(bytes)}\r\n--gap--\r\n`;
    body = file(3_000_000);
    const { body: tooLong } = await download("long").expect(502);
    assert.equal(tooLong.errcode, "M_TOO_LARGE");
    body = file(1_000_000);
    const statuses: number[] = [];
    for (let n = 0; n < 7; n++) statuses.push((await download(`file${n}`)).status);
    assert.equal(statuses[0], 200);
    assert.equal(statuses.at(-1), 429);
    assert.ok(statuses.filter((status) => status === 200).length <= 5, statuses.join());
    await download("file0").expect(200); // what is here already costs nothing
  });
});
