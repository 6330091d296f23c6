import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { eventually } from "../../testing/eventually.ts";
import { startFederatedServer } from "../../testing/federated-server.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";

const membership = async (server: TestServer, user: TestUser, roomId: string): Promise<string | undefined> =>
  (await server.ctx.members.roomsOf(user.userId)).get(roomId)?.membership;

async function withServer(config: object, test: (server: TestServer, alice: TestUser, bob: TestUser) => Promise<void>): Promise<void> {
  const server = await startTestServer({ config: config as Record<string, unknown> });
  try {
    const [alice, bob] = await Promise.all([server.register("alice"), server.register("bob")]);
    await test(server, alice, bob);
  } finally {
    await server.close();
  }
}

const invite = async (server: TestServer, inviter: TestUser, invited: TestUser, body: object = {}): Promise<string> =>
  (
    await server
      .as(inviter)
      .post(`${V3}/createRoom`, { invite: [invited.userId], ...body })
      .expect(200)
  ).body.room_id as string;

describe("invites that are accepted by themselves", function () {
  this.timeout(60_000);

  it("join the user, by the option of the core", async () => {
    await withServer({ auto_accept_invites: { enabled: true } }, async (server, alice, bob) => {
      const roomId = await invite(server, alice, bob);
      await eventually("the join", async () => (await membership(server, bob, roomId)) === "join");
    });
  });

  it("join direct chats alone where the module is told so, and mark them", async () => {
    const config = { accept_invites_only_for_direct_messages: true };
    await withServer({ modules: [{ module: "synapse_auto_accept_invite.InviteAutoAccepter", config }] }, async (server, alice, bob) => {
      const group = await invite(server, alice, bob);
      const chat = await invite(server, alice, bob, { is_direct: true });
      await eventually("the join of the chat", async () => (await membership(server, bob, chat)) === "join");
      assert.equal(await membership(server, bob, group), "invite");
      await eventually("the mark", async () => {
        const { status, body } = await server.as(bob).get(`${V3}/user/@bob:test/account_data/m.direct`);
        return status === 200 && JSON.stringify(body) === JSON.stringify({ "@alice:test": [chat] });
      });
    });
  });

  it("leave users alone who are locked or suspended", async () => {
    await withServer({ auto_accept_invites: { enabled: true } }, async (server, alice, bob) => {
      const admin = server.as(await server.register("admin", { admin: true }));
      await admin.put(`/_synapse/admin/v1/suspend/${bob.userId}`, { suspend: true }).expect(200);
      const held = await invite(server, alice, bob);
      await admin.put(`/_synapse/admin/v1/suspend/${bob.userId}`, { suspend: false }).expect(200);
      const free = await invite(server, alice, bob);
      await eventually("the join", async () => (await membership(server, bob, free)) === "join");
      assert.equal(await membership(server, bob, held), "invite");
    });
  });

  it("come over federation, unless only local users are trusted", async () => {
    const open = { auto_accept_invites: { enabled: true } };
    const shut = { auto_accept_invites: { enabled: true, only_from_local_users: true } };
    const [one, two, three] = await Promise.all([startFederatedServer(), startFederatedServer({ config: open }), startFederatedServer({ config: shut })]);
    try {
      const [alice, bob, carol, dave] = await Promise.all([one.register("alice"), two.register("bob"), three.register("carol"), three.register("dave")]);
      const roomId = (
        await one
          .as(alice)
          .post(`${V3}/createRoom`, { invite: [bob.userId, carol.userId] })
          .expect(200)
      ).body.room_id as string;
      await eventually("the join from elsewhere", async () => (await one.ctx.members.joined(roomId)).has(bob.userId));
      const local = await invite(three, dave, carol);
      await eventually("the join from here", async () => (await membership(three, carol, local)) === "join");
      assert.equal(await membership(three, carol, roomId), "invite");
    } finally {
      await Promise.all([one.close(), two.close(), three.close()]);
    }
  });
});
