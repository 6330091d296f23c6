import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { startTestServer } from "../testing/server.ts";

describe("well-known documents", function () {
  this.timeout(60_000);
  const documents = async (config: object): Promise<Record<"client" | "server" | "support", { status: number; body: Record<string, unknown> }>> => {
    const server = await startTestServer({ config: { public_baseurl: undefined, ...config } });
    try {
      const get = async (name: string) => {
        const { status, body, headers } = await server.anonymous.get(`/.well-known/matrix/${name}`);
        if (status === 200) assert.equal(headers["access-control-allow-origin"], "*", name);
        return { status, body };
      };
      return { client: await get("client"), server: await get("server"), support: await get("support") };
    } finally {
      await server.close();
    }
  };

  it("say where this server is, and whom to turn to, where the admin wants them served", async () => {
    const contacts = [
      { matrix_id: "@root:test", email_address: "root@test.example" },
      { email_address: "safe@test.example", role: "m.role.security" },
    ];
    const { client, server, support } = await documents({
      public_baseurl: "https://matrix.test.example",
      serve_server_wellknown: true,
      extra_well_known_client_content: { "org.example.key": { a: 1 } },
      default_identity_server: "https://id.example",
      myelin: { well_known_support: { contacts, support_page: "https://test.example/help" } },
    });
    assert.deepEqual(client.body, {
      "m.homeserver": { base_url: "https://matrix.test.example/" },
      "m.identity_server": { base_url: "https://id.example" },
      "org.example.key": { a: 1 },
    });
    assert.match(String(server.body["m.server"]), /^[\w.-]+:\d+$/);
    assert.deepEqual(support.body, { contacts: [{ ...contacts[0], role: "m.role.admin" }, contacts[1]], support_page: "https://test.example/help" });
  });

  it("are not there otherwise", async () => {
    const { client, server, support } = await documents({});
    assert.deepEqual([client.status, server.status, support.status], [404, 404, 404]);
  });
});
