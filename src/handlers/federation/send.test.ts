import assert from "node:assert/strict";
import { FederationPeer, PeerRoom } from "../../testing/federation-peer.ts";
import { type FederatedTestServer, startFederatedServer } from "../../testing/federated-server.ts";
import { updateMembership } from "../../services/rooms/membership.ts";
import { makeRoom, requesterOf } from "../../testing/rooms.ts";

describe("events from another server", function () {
  this.timeout(60_000);
  let server: FederatedTestServer;
  let peer: FederationPeer;
  let alice: string;

  before(async () => {
    server = await startFederatedServer();
    peer = await FederationPeer.start();
    alice = (await server.register("alice")).userId;
  });
  after(async () => {
    await server.close();
    await peer.close();
  });

  for (const version of ["1", "2", "3", "6", "10", "11", "12"]) {
    it(`join a room of version ${version} and talk in it`, async () => {
      const roomId = await makeRoom(server.ctx, alice, { version });
      const room = await peer.join(server, roomId, "bob");
      assert.ok((await server.ctx.members.joined(roomId)).has(peer.user("bob")));
      const messages = ["one", "two", "three"].map((body) => room.message(peer.user("bob"), body));
      const results = await peer.send(server, messages);
      assert.deepEqual(results, Object.fromEntries(messages.map(({ eventId }) => [eventId, {}])));
      for (const { eventId } of messages) {
        const stored = await server.ctx.events.one(eventId);
        assert.equal(stored?.outlier, false);
        assert.equal(stored.internal.soft_failed, undefined);
      }
      assert.deepEqual([...(await server.ctx.persister.head(roomId)).storedTips.keys()], room.tips);
    });
  }

  it("come in any order within a transaction", async () => {
    const roomId = await makeRoom(server.ctx, alice);
    const room = await peer.join(server, roomId, "bob");
    const messages = Array.from({ length: 20 }, (_, index) => room.message(peer.user("bob"), String(index)));
    await peer.send(server, [...messages].reverse());
    assert.equal((await server.ctx.events.get(messages.map(({ eventId }) => eventId))).size, 20);
    assert.equal(peer.requests.filter(({ path }) => path[1] === "get_missing_events").length, 0);
  });

  it("bring along those between that are missing", async () => {
    const roomId = await makeRoom(server.ctx, alice);
    const room = await peer.join(server, roomId, "bob");
    room.serve();
    const messages = Array.from({ length: 6 }, (_, index) => room.message(peer.user("bob"), String(index)));
    await peer.send(server, [messages.at(-1)!]);
    const stored = await server.ctx.events.get(messages.map(({ eventId }) => eventId));
    assert.equal(stored.size, 6);
    assert.ok([...stored.values()].every((event) => !event.outlier));
  });

  it("fetch the state where more is missing than is given", async () => {
    const roomId = await makeRoom(server.ctx, alice);
    const room = await peer.join(server, roomId, "bob");
    room.serve();
    const early = room.make({ type: "m.room.member", sender: peer.user("carol"), stateKey: peer.user("carol"), content: { membership: "join" } });
    const messages = Array.from({ length: 30 }, (_, index) => room.message(peer.user(index % 2 === 0 ? "carol" : "bob"), String(index)));
    await peer.send(server, [messages.at(-1)!]);
    const last = await server.ctx.events.one(messages.at(-1)!.eventId);
    assert.equal(last?.outlier, false);
    assert.equal((await server.ctx.events.one(early.eventId))?.outlier, true, "carol's join came with the state alone");
    assert.ok((await server.ctx.members.joined(roomId)).has(peer.user("carol")));
  });

  it("that were staged before a restart are taken into their room by the next start", async () => {
    const roomId = await makeRoom(server.ctx, alice);
    const room = await peer.join(server, roomId, "bob");
    const release = server.ctx.inbound.rooms.hold(roomId);
    const message = room.message(peer.user("bob"), "later");
    await peer.send(server, [message]);
    assert.equal(await server.ctx.events.one(message.eventId), undefined);
    release();
    await server.ctx.inbound.rooms.resume();
    await server.ctx.inbound.rooms.whenIdle();
    assert.notEqual(await server.ctx.events.one(message.eventId), undefined);
  });

  it("answer a transaction that comes again as the first time, without taking its events again", async () => {
    const roomId = await makeRoom(server.ctx, alice);
    const room = await peer.join(server, roomId, "bob");
    const message = room.message(peer.user("bob"), "once");
    const content = { origin: peer.name, origin_server_ts: 1, pdus: [message.json], edus: [] };
    const path = "/_matrix/federation/v1/send/twice";
    const first = await peer.ask(server, "put", path, content).expect(200);
    const again = await peer.ask(server, "put", path, { ...content, pdus: [] }).expect(200);
    assert.deepEqual(again.body, first.body);
    assert.deepEqual(Object.keys(again.body.pdus as object), [message.eventId]);
  });

  it("soft-fail where the room has moved on against them, and are shown to nobody", async () => {
    const roomId = await makeRoom(server.ctx, alice);
    const room = await peer.join(server, roomId, "bob");
    const before = [...room.tips];
    await updateMembership(server.ctx, requesterOf(alice), { roomId, target: peer.user("bob"), action: "ban" });
    const late = room.build({ type: "m.room.message", sender: peer.user("bob"), content: { msgtype: "m.text", body: "still here" }, prevEventIds: before });
    await peer.send(server, [late]);
    const stored = await server.ctx.events.one(late.eventId);
    assert.equal(stored?.internal.soft_failed, true);
    assert.ok(!(await server.ctx.persister.head(roomId)).storedTips.has(late.eventId));
  });

  it("of a room that this server is not in are dropped", async () => {
    const room = PeerRoom.create(peer, peer.user("bob"));
    const message = room.message(peer.user("bob"), "hello");
    assert.deepEqual(await peer.send(server, [message]), {});
    assert.equal(await server.ctx.events.one(message.eventId), undefined);
  });
});
