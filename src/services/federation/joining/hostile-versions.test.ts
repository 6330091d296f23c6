import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "mocha";
import type { Json, JsonObject } from "../../../lib/json.ts";
import { hashAndSign } from "../../../protocol/event/build.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { makeEventFromJson } from "../../../protocol/event/format.ts";
import { roomVersion } from "../../../protocol/room-versions.ts";
import { query } from "../../../storage/database.ts";
import { type FederatedTestServer, startFederatedServer } from "../../../testing/federated-server.ts";
import { FederationPeer, PeerRoom } from "../../../testing/federation-peer.ts";
import { makeRoom, requesterOf } from "../../../testing/rooms.ts";
import type { TestUser } from "../../../testing/server.ts";
import { sendEvents } from "../../events/send.ts";

const id = encodeURIComponent;

/** Rooms of version 12 are named by the hash of their create event, whose sender is above all power levels: so both are worth forging. */
describe("a hostile server that lies about who made a room, and of which version it is", function () {
  this.timeout(60_000);
  let server: FederatedTestServer;
  let peer: FederationPeer;
  let alice: TestUser;
  let creator: string;
  let mallory: string;
  /** What the peer gives out as the room. */
  let room: PeerRoom;
  let joins: number;

  before(async () => {
    server = await startFederatedServer();
    peer = await FederationPeer.start();
    alice = await server.register("alice");
    [creator, mallory] = [peer.user("creator"), peer.user("mallory")];
  });
  after(() => Promise.all([server?.close(), peer?.close()]));

  beforeEach(async () => {
    await server.ctx.federationSender.settled();
    await server.ctx.backoff.reset(peer.name);
    peer.answers.length = 0;
    joins = 0;
  });

  /** The peer lets everybody into `room`. */
  const open = (): void => {
    peer.answers.push(({ path: [, what], body }) => {
      if (what === "make_join") {
        const {
          signatures: _signatures,
          hashes: _hashes,
          unsigned: _unsigned,
          event_id: _id,
          ...event
        } = room.build({ type: "m.room.member", sender: alice.userId, stateKey: alice.userId, content: { membership: "join" } }).json;
        return { status: 200, body: { room_version: room.version.id, event } };
      }
      if (what !== "send_join") return undefined;
      joins++;
      const state = [...room.state.values()];
      const chain = room.authChain(state);
      const answer = { state: state.map(({ json }) => json), auth_chain: chain.map(({ json }) => json), members_omitted: false, event: body };
      room.add(makeEventFromJson(body as JsonObject, room.version));
      return { status: 200, body: answer };
    });
    room.serve();
  };
  const join = (roomId = room.roomId) => server.as(alice).post(`/_matrix/client/v3/join/${id(roomId)}?server_name=${peer.name}`);
  const isIn = async (roomId = room.roomId): Promise<boolean> => (await server.ctx.members.joinedLocal(roomId)).has(alice.userId);
  const stored = async (event: MatrixEvent): Promise<MatrixEvent | undefined> => await server.ctx.events.one(event.eventId, { rejected: true });
  const levelsOf = async (): Promise<JsonObject | undefined> => {
    const key = "m.room.power_levels\u0000" as const;
    return (await server.ctx.state.current(room.roomId, [key])).get(key)?.content;
  };

  describe("when users join it", () => {
    /** A room whose create event is what `change` makes of an honest one, signed as it then is. */
    const forged = (change: (create: JsonObject) => JsonObject, version = "12"): PeerRoom => {
      const honest = PeerRoom.create(peer, creator, version);
      const first = [...honest.events.values()][0]!;
      const { signatures: _signatures, hashes: _hashes, event_id: _id, ...bare } = first.json;
      const create = hashAndSign(change(bare), honest.version, peer.name, [peer.key]);
      const made = new PeerRoom(peer, create.roomId, honest.version);
      made.add(create);
      made.make({ type: "m.room.member", sender: creator, stateKey: creator, content: { membership: "join" } });
      made.make({ type: "m.room.join_rules", sender: creator, stateKey: "", content: { join_rule: "public" } });
      return made;
    };
    const content =
      (more: JsonObject) =>
      (create: JsonObject): JsonObject => ({ ...create, content: { ...(create.content as JsonObject), ...more } });

    it("lets them in when it is honest", async () => {
      room = forged(content({ additional_creators: [peer.user("second")] }));
      open();
      await join().expect(200);
      assert.ok(await isIn());
    });

    for (const [name, make] of Object.entries<() => PeerRoom>({
      "a create event in the name of a user of ours": () => forged((create) => ({ ...create, sender: alice.userId })),
      "a create event in the name of a third server's user": () => forged((create) => ({ ...create, sender: "@admin:elsewhere.example" })),
      "a create event with previous events": () => forged((create) => ({ ...create, prev_events: [`$${"a".repeat(43)}`] })),
      "a create event with a room id of its own": () => forged((create) => ({ ...create, room_id: "!chosen" })),
      "creators that are no list": () => forged(content({ additional_creators: creator })),
      "creators that are no users": () => forged(content({ additional_creators: ["everybody"] })),
      "a version that is not that of make_join": () => forged(content({ room_version: "11" })),
      "a version that nobody knows": () => forged(content({ room_version: "org.example.unknown" })),
      "in version 10, a create event of no creator": () => forged(({ content: _content, ...create }) => ({ ...create, content: { room_version: "10" } }), "10"),
      "in version 10, a create event for a room that is named after another server": () =>
        forged((create) => ({ ...create, room_id: "!victim:elsewhere.example" }), "10"),
      "power levels that name a creator": () => {
        const made = forged((create) => create);
        made.make({ type: "m.room.power_levels", sender: creator, stateKey: "", content: { users: { [creator]: 100 } } });
        return made;
      },
    }))
      it(`and is not believed: ${name}`, async () => {
        room = make();
        open();
        const { status } = await join();
        assert.ok([400, 403, 502].includes(status), String(status));
        assert.equal(await isIn(), false);
        assert.deepEqual(await query(server.ctx.read, "SELECT event_id FROM current_state_events WHERE room_id = $1", [room.roomId]), []);
      });

    it("nor does it get a user into another room of version 12 than the one that was asked for", async () => {
      const wanted = PeerRoom.create(peer, creator, "12");
      room = PeerRoom.create(peer, mallory, "12");
      open();
      const { status } = await join(wanted.roomId);
      assert.ok([400, 403, 502].includes(status), String(status));
      for (const roomId of [wanted.roomId, room.roomId]) assert.equal(await isIn(roomId), false);
    });
  });

  describe("in a room that they are in", () => {
    beforeEach(async () => {
      room = PeerRoom.create(peer, creator, "12");
      room.make({ type: "m.room.member", sender: mallory, stateKey: mallory, content: { membership: "join" } });
      open();
      await join().expect(200);
      assert.equal(joins, 1);
    });

    it("makes nobody a creator afterwards: by no second create event, and by no power levels", async () => {
      const create = [...room.events.values()].find(({ type }) => type === "m.room.create")!;
      const other = PeerRoom.create(peer, mallory, "12");
      const second = [...other.events.values()][0]!;
      const beside = { ...second.json, room_id: room.roomId };
      const levels = (users: Json): MatrixEvent => room.build({ type: "m.room.power_levels", sender: creator, stateKey: "", content: { users } as JsonObject });
      const named = levels({ [creator]: 100, [mallory]: 100 });
      const infinite = [levels({ [mallory]: "Infinity" }), levels({ [mallory]: [100] }), levels({ [mallory]: null })];
      const own = room.build({ type: "m.room.power_levels", sender: mallory, stateKey: "", content: { users: { [mallory]: 100 } } });
      await peer.send(server, [second, beside, named, ...infinite, own]);
      assert.equal(await stored(second), undefined, "of a room that nobody here is in");
      for (const event of [named, ...infinite, own]) assert.equal((await stored(event))?.rejectedReason ?? "not stored", "auth_error");
      const creates = (await server.ctx.state.current(room.roomId, ["m.room.create\u0000"])).get("m.room.create\u0000");
      assert.equal(creates?.eventId, create.eventId);
      assert.deepEqual((await levelsOf())?.users, {});
    });

    it("gets nothing accepted that leans on a create event: in version 12 the room's name stands for it", async () => {
      const create = [...room.events.values()].find(({ type }) => type === "m.room.create")!;
      const honest = room.build({ type: "m.room.topic", sender: creator, stateKey: "", content: { topic: "mine" } });
      const { signatures: _signatures, hashes: _hashes, ...bare } = honest.json;
      const leaning = hashAndSign({ ...bare, auth_events: [create.eventId, ...honest.authEventIds] }, room.version, peer.name, [peer.key]);
      assert.ok((leaning.json.auth_events as string[]).includes(create.eventId));
      const foreign = [...PeerRoom.create(peer, mallory, "12").events.values()][0]!;
      const borrowing = room.build({
        type: "m.room.topic",
        sender: mallory,
        stateKey: "",
        content: { topic: "borrowing" },
        authEventIds: [foreign.eventId, ...honest.authEventIds],
      });
      peer.answers.push(({ path: [, what, first] }) =>
        what === "event" && first === foreign.eventId ? { status: 200, body: { pdus: [foreign.json] } } : undefined,
      );
      await peer.send(server, [leaning, borrowing]);
      for (const event of [leaning, borrowing])
        assert.notEqual(((await stored(event)) ?? { rejectedReason: "not stored" }).rejectedReason, undefined, event.eventId);
      assert.equal((await server.ctx.state.currentIds(room.roomId)).get("m.room.topic\u0000"), undefined);
      await peer.send(server, [honest]);
      assert.equal((await stored(honest))?.rejectedReason, undefined);
    });

    it("does not unseat the creator by power levels, bans or kicks of others", async () => {
      const levels = room.make({
        type: "m.room.power_levels",
        sender: creator,
        stateKey: "",
        content: { users: { [mallory]: Number.MAX_SAFE_INTEGER }, users_default: 0 },
      });
      await peer.send(server, [levels]);
      assert.equal((await stored(levels))?.rejectedReason, undefined);
      for (const membership of ["ban", "leave"]) {
        const against = room.build({ type: "m.room.member", sender: mallory, stateKey: creator, content: { membership } });
        await peer.send(server, [against]);
        assert.equal((await stored(against))?.rejectedReason, "auth_error", membership);
      }
      assert.ok((await server.ctx.members.joined(room.roomId)).has(creator));
    });
  });

  describe("of events and invites", () => {
    it("gets no event of another version's form into a room", async () => {
      for (const [of, as] of [
        ["11", "1"],
        ["1", "11"],
        ["12", "11"],
        ["11", "12"],
      ] as const) {
        const roomId = await makeRoom(server.ctx, alice.userId, { version: of });
        const there = await peer.join(server, roomId, "bob");
        const disguised = new PeerRoom(peer, roomId, roomVersion(as)!);
        for (const event of there.events.values()) disguised.learn(event);
        for (const [key, event] of there.state) disguised.state.set(key, event);
        disguised.tips = there.tips;
        const wrong = disguised.build({ type: "m.room.topic", sender: peer.user("bob"), stateKey: "", content: { topic: as } });
        await peer.send(server, [wrong.json]);
        const topics = await query(server.ctx.read, "SELECT event_id FROM events WHERE room_id = $1 AND type = 'm.room.topic' AND rejection_reason IS NULL", [
          roomId,
        ]);
        assert.deepEqual(topics, [], `an event of version ${as} in a room of version ${of}`);
        const message = there.message(peer.user("bob"), "an honest one");
        assert.deepEqual(await peer.send(server, [message]), { [message.eventId]: {} });
        const [own] = await sendEvents(server.ctx, requesterOf(alice.userId), roomId, [
          { type: "m.room.message", sender: alice.userId, content: { msgtype: "m.text", body: "all is well" } },
        ]);
        assert.ok(own!.streamOrdering! > 0);
      }
    });

    it("gets a user into a room of the version that it is of, whatever version the invite named", async () => {
      room = PeerRoom.create(peer, creator, "11");
      const invite = room.make({ type: "m.room.member", sender: creator, stateKey: alice.userId, content: { membership: "invite" } });
      await peer
        .ask(server, "put", `/_matrix/federation/v2/invite/${id(room.roomId)}/${id(invite.eventId)}`, {
          event: invite.json,
          room_version: "10",
          invite_room_state: [],
        })
        .expect(({ status }) => assert.ok(status === 200 || status === 400 || status === 403, String(status)));
      open();
      await join().expect(200);
      assert.equal((await server.ctx.roomVersions.get(room.roomId))?.id, "11");
      const message = room.message(creator, "in version 11");
      assert.deepEqual(await peer.send(server, [message]), { [message.eventId]: {} });
      assert.notEqual(await stored(message), undefined);
    });
  });
});
