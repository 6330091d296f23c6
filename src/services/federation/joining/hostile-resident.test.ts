import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "mocha";
import { isJsonObject, type JsonObject } from "../../../lib/json.ts";
import { systemClock } from "../../../lib/clock.ts";
import { hashAndSign } from "../../../protocol/event/build.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { makeEventFromJson } from "../../../protocol/event/format.ts";
import { signEventJson, signingKeyFromSeed, verifyEventJson } from "../../../protocol/event/sign.ts";
import { query } from "../../../storage/database.ts";
import { type FederatedTestServer, startFederatedServer } from "../../../testing/federated-server.ts";
import { FederationPeer, PeerRoom } from "../../../testing/federation-peer.ts";
import type { TestUser } from "../../../testing/server.ts";

/** A server through which local users join and knock, and to which they send invites, and that lies about it. */
describe("a hostile server in the room that is joined", function () {
  this.timeout(30_000);
  let server: FederatedTestServer;
  let alice: TestUser;
  let peer: FederationPeer;
  let room: PeerRoom;
  /** What `/make_...` proposes, and what `/send_...` answers, each made from what an honest server would say. */
  let propose: (template: JsonObject) => JsonObject;
  let reply: (answer: JsonObject, join: MatrixEvent) => unknown;
  let received: JsonObject[];

  before(async () => {
    server = await startFederatedServer();
    alice = await server.register("alice");
    peer = await FederationPeer.start();
  });
  after(() => Promise.all([server?.close(), peer?.close()]));

  beforeEach(async () => {
    await server.ctx.federationSender.settled();
    await server.ctx.backoff.reset(peer.name);
    room = PeerRoom.create(peer, peer.user("creator"));
    room.message(peer.user("creator"), "before the join");
    propose = (template) => template;
    reply = (answer) => answer;
    received = [];
    peer.answers.length = 0;
    peer.answers.push(({ path: [, what], body }) => {
      if (what?.startsWith("make_")) {
        const membership = what.slice(5);
        const {
          event_id: _id,
          signatures: _signatures,
          hashes: _hashes,
          unsigned: _unsigned,
          ...template
        } = room.build({ type: "m.room.member", sender: alice.userId, stateKey: alice.userId, content: { membership } }).json;
        return { status: 200, body: { room_version: room.version.id, event: propose(template) } };
      }
      if (what === "send") return { status: 200, body: { pdus: {} } };
      if (!what?.startsWith("send_") || !isJsonObject(body)) return undefined;
      received.push(body);
      if (what !== "send_join") return { status: 200, body: { knock_room_state: [] } };
      const join = makeEventFromJson(body, room.version);
      const state = [...room.state.values()];
      const honest = {
        state: state.map((event) => event.json),
        auth_chain: room.authChain(state).map((event) => event.json),
        members_omitted: false,
        event: body,
      };
      return { status: 200, body: reply(honest, join) };
    });
    room.serve();
  });

  const join = () => server.as(alice).post(`/_matrix/client/v3/join/${encodeURIComponent(room.roomId)}?server_name=${peer.name}`);
  const isIn = async (): Promise<boolean> => (await server.ctx.members.joinedLocal(room.roomId)).has(alice.userId);
  const signedByUs = (json: JsonObject): boolean => verifyEventJson(json, room.version, server.name, server.ctx.signingKeys[0]!);

  it("lets users in when it is honest", async () => {
    await join().expect(200);
    assert.equal(await isIn(), true);
    assert.equal((await server.ctx.state.currentIds(room.roomId)).size, room.state.size + 1);
  });

  describe("gets nothing signed but a membership that is ours (CVE-2026-24471)", () => {
    const lies: Record<string, (template: JsonObject) => JsonObject> = {
      "another type": (template) => ({ ...template, type: "m.room.power_levels" }),
      "another sender": (template) => ({ ...template, sender: "@admin:elsewhere.example" }),
      "another state key": (template) => ({ ...template, state_key: "" }),
      "another room": (template) => ({ ...template, room_id: "!elsewhere:example.org" }),
      "another membership": (template) => ({ ...template, content: { membership: "ban" } }),
      "more content": (template) => ({ ...template, content: { membership: "join", users: { "@evil:x": 100 }, join_authorised_via_users_server: 5 } }),
      "more keys": (template) => ({ ...template, redacts: "$victim", "org.example.evil": true, origin: "elsewhere.example" }),
      "no content": (template) => ({ ...template, content: null }),
    };
    for (const [name, lie] of Object.entries(lies)) {
      it(name, async () => {
        propose = lie;
        await join().expect(200);
        const [event] = received;
        assert.ok(event !== undefined && signedByUs(event));
        const { type, sender, state_key: stateKey, room_id: roomId, content } = event;
        assert.deepEqual([type, sender, stateKey, roomId], ["m.room.member", alice.userId, alice.userId, room.roomId]);
        assert.deepEqual(Object.keys(content as JsonObject).sort(), ["displayname", "membership"]);
        assert.equal((content as JsonObject).membership, "join");
        assert.deepEqual(Object.keys(event).sort(), [
          "auth_events",
          "content",
          "depth",
          "hashes",
          "origin_server_ts",
          "prev_events",
          "room_id",
          "sender",
          "signatures",
          "state_key",
          "type",
          "unsigned",
        ]);
      });
    }

    it("and nothing at all for a place in the history that is none", async () => {
      const many = Array.from({ length: 30 }, (_, index) => `$event${index}`);
      for (const change of [
        { prev_events: [] },
        { prev_events: "all" },
        { prev_events: [5] },
        { prev_events: many },
        { auth_events: many },
        { auth_events: [null] },
        { depth: "1" },
        { depth: -1 },
        { depth: 1.5 },
        { depth: undefined },
      ]) {
        propose = (template) => ({ ...template, ...change });
        assert.equal((await join()).status, 502, JSON.stringify(change).slice(0, 60));
      }
      assert.deepEqual(received, []);
    });

    it("nor for a room version that nobody knows", async () => {
      peer.answers.unshift(({ path: [, what] }) =>
        what === "make_join" ? { status: 200, body: { room_version: "org.example.unknown", event: {} } } : undefined,
      );
      const { status, body } = await join();
      assert.deepEqual([status, body.errcode], [400, "M_UNSUPPORTED_ROOM_VERSION"]);
    });
  });

  describe("is not believed about the state of the room", () => {
    const refusals: Record<string, (answer: JsonObject, join: MatrixEvent) => unknown> = {
      "that is missing": () => ({}),
      "that is no list": (answer) => ({ ...answer, state: 5, auth_chain: "x" }),
      "that is no object": () => [1, 2],
      "without a create event": (answer) => ({ ...answer, state: (answer.state as JsonObject[]).filter((event) => event.type !== "m.room.create") }),
      "of which it leaves out members": (answer) => ({ ...answer, members_omitted: true, servers_in_room: [peer.name] }),
      "with another create event in the auth chain": (answer) => {
        const other = {
          ...room.build({
            type: "m.room.create",
            sender: peer.user("creator"),
            stateKey: "",
            content: { room_version: "11", other: true },
            prevEventIds: [],
            authEventIds: [],
            depth: 1,
          }).json,
        };
        return { ...answer, auth_chain: [...(answer.auth_chain as JsonObject[]), other] };
      },
      "whose create event is of another version": (answer) => {
        const create = room.build({
          type: "m.room.create",
          sender: peer.user("creator"),
          stateKey: "",
          content: { room_version: "10" },
          prevEventIds: [],
          authEventIds: [],
          depth: 1,
        }).json;
        return { ...answer, state: [create], auth_chain: [] };
      },
      "with a join that is not the one that was sent": (answer) => ({
        ...answer,
        event: room.build({ type: "m.room.member", sender: peer.user("creator"), stateKey: peer.user("creator"), content: { membership: "join" } }).json,
      }),
      "in which users may not join": (answer) => {
        const rules = room.build({ type: "m.room.join_rules", sender: peer.user("creator"), stateKey: "", content: { join_rule: "invite" } }).json;
        return { ...answer, state: [...(answer.state as JsonObject[]).filter((event) => event.type !== "m.room.join_rules"), rules] };
      },
    };
    for (const [name, lie] of Object.entries(refusals)) {
      it(name, async () => {
        reply = lie;
        const { status } = await join();
        assert.ok(status === 502 || status === 403 || status === 400, String(status));
        assert.equal(await isIn(), false);
      });
    }

    it("of which what is not signed or not allowed stays out, and the join succeeds (Synapse 1.19.2, #8324, CVE-2022-39374)", async () => {
      const mallory = peer.user("mallory");
      const unsigned = {
        ...room.build({ type: "m.room.topic", sender: peer.user("creator"), stateKey: "", content: { topic: "unsigned" } }).json,
        signatures: {},
      };
      const wrongKey = signingKeyFromSeed("peer", new Uint8Array(32).fill(9));
      const forged = signEventJson(
        { ...room.build({ type: "m.room.name", sender: peer.user("creator"), stateKey: "", content: { name: "forged" } }).json, signatures: {} },
        room.version,
        peer.name,
        wrongKey,
      );
      const notAllowed = room.build({ type: "m.room.avatar", sender: mallory, stateKey: "", content: { url: "mxc://x/y" } });
      const malformed = { type: 5 };
      reply = (answer) => ({ ...answer, state: [...(answer.state as JsonObject[]), unsigned, forged, notAllowed.json, malformed, null] });
      await join().expect(200);
      const keys = [...(await server.ctx.state.currentIds(room.roomId)).keys()];
      for (const type of ["m.room.topic", "m.room.name", "m.room.avatar"]) assert.equal(keys.includes(`${type}\u0000`), false, type);
      assert.equal((await server.ctx.events.one(notAllowed.eventId, { rejected: true }))?.rejectedReason, "auth_error");
    });

    it("of which events of other rooms stay out", async () => {
      const other = PeerRoom.create(peer, peer.user("creator"));
      const foreign = other.make({ type: "m.room.topic", sender: peer.user("creator"), stateKey: "", content: { topic: "foreign" } });
      reply = (answer) => ({ ...answer, state: [...(answer.state as JsonObject[]), foreign.json] });
      await join().expect(200);
      assert.equal(await server.ctx.events.one(foreign.eventId, { rejected: true }), undefined);
    });
  });

  it("does not get tags and push rules of a room that it merely names as predecessor (GHSA advisories of Synapse 1.157.2)", async () => {
    const victim = (await server.as(alice).post("/_matrix/client/v3/createRoom", {}).expect(200)).body.room_id as string;
    await server.as(alice).put(`/_matrix/client/v3/user/${alice.userId}/rooms/${victim}/tags/m.favourite`, { order: 0.5 }).expect(200);
    const creator = peer.user("creator");
    const create = room.build({
      type: "m.room.create",
      sender: creator,
      stateKey: "",
      content: { room_version: "11", predecessor: { room_id: victim, event_id: "$x" } },
      prevEventIds: [],
      authEventIds: [],
      depth: 1,
    });
    const claiming = new PeerRoom(peer, room.roomId, room.version);
    claiming.add(create);
    claiming.make({ type: "m.room.member", sender: creator, stateKey: creator, content: { membership: "join" } });
    claiming.make({ type: "m.room.join_rules", sender: creator, stateKey: "", content: { join_rule: "public" } });
    room = claiming;
    await join().expect(200);
    const { body } = await server
      .as(alice)
      .get(`/_matrix/client/v3/user/${alice.userId}/rooms/${encodeURIComponent(room.roomId)}/tags`)
      .expect(200);
    assert.deepEqual(body.tags, {});
  });

  it("keeps events that come during the join waiting, and does not lose them", async () => {
    let sent: Promise<unknown> | undefined;
    let early: MatrixEvent | undefined;
    reply = (answer, joined) => {
      room.add(joined);
      early = room.message(peer.user("creator"), "during the join");
      sent = peer.ask(server, "put", "/_matrix/federation/v1/send/early", { origin: peer.name, origin_server_ts: 1, pdus: [early.json], edus: [] });
      return answer;
    };
    await join().expect(200);
    await sent;
    await server.ctx.inbound.rooms.whenIdle();
    // A room that is new here: what came before its version was known had to be dropped, and comes again.
    await peer.send(server, [early!]);
    assert.equal((await server.ctx.events.one(early!.eventId))?.outlier, false);
  });

  describe("logs nobody out by its refusals (GHSA-95fh-hv8c-chvq)", () => {
    const logout = { status: 401, body: { errcode: "M_UNKNOWN_TOKEN", error: { not: "text" }, soft_logout: true, extra: 1 } };
    const requests: Record<string, () => PromiseLike<{ status: number; body: JsonObject }>> = {
      join: () => join() as never,
      knock: () => server.as(alice).post(`/_matrix/client/v3/knock/${encodeURIComponent(room.roomId)}?server_name=${peer.name}`) as never,
      profile: () => server.as(alice).get(`/_matrix/client/v3/profile/${encodeURIComponent(peer.user("x"))}`) as never,
      "public rooms": () => server.as(alice).get(`/_matrix/client/v3/publicRooms?server=${peer.name}`) as never,
      alias: () => server.as(alice).get(`/_matrix/client/v3/directory/room/${encodeURIComponent(`#x:${peer.name}`)}`) as never,
      media: () => server.as(alice).get(`/_matrix/client/v1/media/download/${peer.name}/abc`) as never,
      keys: () => server.as(alice).post("/_matrix/client/v3/keys/query", { device_keys: { [peer.user("x")]: [] } }) as never,
      invite: async () => {
        const own = (await server.as(alice).post("/_matrix/client/v3/createRoom", {}).expect(200)).body.room_id as string;
        return (await server.as(alice).post(`/_matrix/client/v3/rooms/${encodeURIComponent(own)}/invite`, { user_id: peer.user("x") })) as never;
      },
    };
    for (const [name, ask] of Object.entries(requests)) {
      it(name, async () => {
        peer.answers.unshift(() => logout);
        await server.ctx.backoff.reset(peer.name);
        const { status, body } = await ask();
        await server.ctx.backoff.reset(peer.name);
        assert.notEqual(status, 401);
        assert.ok(status < 500 || status === 502, String(status));
        assert.equal(JSON.stringify(body).includes('M_UNKNOWN_TOKEN"'), false);
        assert.equal(body.soft_logout, undefined);
        assert.equal(body.extra, undefined);
      });
    }
  });

  describe("of users that are invited", () => {
    const invite = async () => {
      const roomId = (await server.as(alice).post("/_matrix/client/v3/createRoom", {}).expect(200)).body.room_id as string;
      const { status, body } = await server.as(alice).post(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: peer.user("guest") });
      const membership = (await server.ctx.state.currentEvent(roomId, "m.room.member", peer.user("guest")))?.membership;
      return { status, body: body as JsonObject, membership };
    };
    const answerInvite = (make: (event: JsonObject) => JsonObject): void => {
      peer.answers.unshift(({ path: [, what], body }) =>
        what === "invite" && isJsonObject(body) ? { status: 200, body: { event: make(body.event as JsonObject) } } : undefined,
      );
    };

    it("must sign the invite", async () => {
      answerInvite((event) => signEventJson(event, room.version, peer.name, peer.key));
      assert.equal((await invite()).membership, "invite");
      for (const lie of [
        (event: JsonObject) => event,
        (event: JsonObject) => signEventJson(event, room.version, peer.name, signingKeyFromSeed("peer", new Uint8Array(32).fill(9))),
        () => ({}),
      ]) {
        answerInvite(lie);
        const { status, membership } = await invite();
        assert.deepEqual([status, membership], [403, undefined]);
      }
    });

    it("cannot change it", async () => {
      answerInvite(
        (event) => hashAndSign({ ...event, content: { membership: "invite", evil: true }, signatures: {} }, room.version, peer.name, [peer.key]).json,
      );
      assert.equal((await invite()).status, 403);
    });
  });

  it("is left in peace once it does not answer, and its users' requests fail at once", async () => {
    const silent = await FederationPeer.start();
    await silent.close();
    const before = systemClock.monotonic();
    for (let i = 0; i < 3; i++)
      await server
        .as(alice)
        .get(`/_matrix/client/v3/profile/${encodeURIComponent(silent.user("x"))}`)
        .expect(502);
    assert.ok(systemClock.monotonic() - before < 3_000);
    const rows = await query(server.ctx.read, "SELECT destination FROM destinations WHERE destination = $1 AND retry_interval > 0", [silent.name]);
    assert.equal(rows.length, 1);
  });
});
