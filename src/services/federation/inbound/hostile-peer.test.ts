// More than 500 lines: a list of lies, told by one peer to one server.
import assert from "node:assert/strict";
import { connect } from "node:net";
import type { JsonObject } from "../../../lib/json.ts";
import { authorizationHeader } from "../../../outbound/federation/client.ts";
import { hashAndSign } from "../../../protocol/event/build.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { signEventJson, signingKeyFromSeed } from "../../../protocol/event/sign.ts";
import { memberKey } from "../../../protocol/power-levels.ts";
import { query } from "../../../storage/database.ts";
import { FederationPeer, PeerRoom } from "../../../testing/federation-peer.ts";
import { type FederatedTestServer, startFederatedServer } from "../../../testing/federated-server.ts";
import { makeRoom, requesterOf } from "../../../testing/rooms.ts";
import { sendEvents } from "../../events/send.ts";
import { MOST_STAGED } from "./prune-staged.ts";

/** A peer that signs properly and lies on purpose. Names of published advisories stand in brackets. */
describe("a hostile server", function () {
  this.timeout(60_000);
  let server: FederatedTestServer;
  let peer: FederationPeer;
  let alice: string;
  let bob: string;
  let roomId: string;
  let room: PeerRoom;

  before(async () => {
    server = await startFederatedServer();
    peer = await FederationPeer.start();
    alice = (await server.register("alice")).userId;
    bob = peer.user("bob");
  });
  after(async () => {
    await server.close();
    await peer.close();
  });
  beforeEach(async () => {
    peer.answers.length = 0;
    roomId = await makeRoom(server.ctx, alice);
    room = await peer.join(server, roomId, "bob");
  });

  const stored = async (event: MatrixEvent): Promise<MatrixEvent | undefined> => await server.ctx.events.one(event.eventId, { rejected: true });
  const resigned = (json: JsonObject): MatrixEvent => hashAndSign({ ...json, signatures: {} }, room.version, peer.name, [peer.key]);
  const eventually = async (probe: () => Promise<boolean>): Promise<void> => {
    for (const end = Date.now() + 20_000; !(await probe()); await new Promise((resolve) => setTimeout(resolve, 10))) assert.ok(Date.now() < end);
  };
  const isRoomAlive = async (): Promise<void> => {
    const message = room.message(bob, "all is well");
    await peer.send(server, [message]);
    assert.equal((await stored(message))?.rejectedReason, undefined);
    const [own] = await sendEvents(server.ctx, requesterOf(alice), roomId, [
      { type: "m.room.message", sender: alice, content: { msgtype: "m.text", body: "still here" } },
    ]);
    assert.ok(own!.streamOrdering! > 0);
  };

  describe("signatures", () => {
    it("drops events without one, with somebody else's, or with a wrong one, and takes the others of the transaction (CVE-2018-16515)", async () => {
      const bare = room.build({ type: "m.room.message", sender: bob, content: { body: "bare" } });
      const { signatures: _signatures, ...unsigned } = bare.json;
      const other = room.build({ type: "m.room.message", sender: bob, content: { body: "other" } });
      const stranger = signingKeyFromSeed("peer", new Uint8Array(32).fill(1));
      const forged = signEventJson({ ...other.json, signatures: {} }, room.version, peer.name, stranger);
      const foreign = signEventJson(
        { ...room.build({ type: "m.room.message", sender: bob, content: { body: "foreign" } }).json, signatures: {} },
        room.version,
        "elsewhere.example",
        peer.key,
      );
      const good = room.message(bob, "good");
      const results = await peer.send(server, [unsigned, forged, foreign, good]);
      assert.deepEqual(results[good.eventId], {});
      assert.equal(Object.values(results).filter(({ error }) => error !== undefined).length, 3);
      for (const event of [bare, other]) assert.equal(await stored(event), undefined);
      assert.notEqual(await stored(good), undefined);
    });

    it("drops events in the name of users of this and of other servers", async () => {
      const mine = room.build({ type: "m.room.message", sender: alice, content: { body: "I am alice" } });
      const theirs = room.build({ type: "m.room.message", sender: "@carol:elsewhere.example", content: { body: "I am carol" } });
      const results = await peer.send(server, [mine, theirs]);
      assert.match(results[mine.eventId]!.error!, /signature/);
      assert.match(results[theirs.eventId]!.error!, /signature/);
      for (const event of [mine, theirs]) assert.equal(await stored(event), undefined);
    });

    it("drops joins and leaves of local users that it made up (Synapse 1.2.1, #5744)", async () => {
      const leave = room.build({ type: "m.room.member", sender: alice, stateKey: alice, content: { membership: "leave" } });
      await peer.send(server, [leave]);
      assert.ok((await server.ctx.members.joinedLocal(roomId)).has(alice));
    });

    it("takes an event whose hash does not match in its redacted form alone", async () => {
      const event = room.build({ type: "m.room.message", sender: bob, content: { msgtype: "m.text", body: "as signed" } });
      const altered = { ...event.json, content: { msgtype: "m.text", body: "as altered" } };
      await peer.send(server, [altered]);
      const kept = await stored(event);
      assert.deepEqual(kept?.content, {});
    });

    it("are checked on what is fetched, too: in /get_missing_events, /state, /event and /event_auth (CVE-2022-39200)", async () => {
      room.serve();
      const victim = room.build({ type: "m.room.message", sender: alice, content: { msgtype: "m.text", body: "forged" } });
      room.add(victim);
      const last = room.message(bob, "after it");
      await peer.send(server, [last]);
      assert.equal(await stored(victim), undefined);
      assert.equal(await stored(last), undefined, "what follows a forged event cannot be placed");
      await server.ctx.inbound.rooms.whenIdle();
    });
  });

  describe("keys", () => {
    it("that are retired count for what was signed before that, and in rooms before version 5 for ever", async () => {
      const other = await FederationPeer.start();
      try {
        const [newId, oldId] = [roomId, await makeRoom(server.ctx, alice, { version: "4" })];
        const rooms = [await other.join(server, newId, "dan"), await other.join(server, oldId, "dan")];
        const now = server.ctx.clock.now();
        const old = other.rotateKey(now);
        const sign = (event: MatrixEvent, key = old): MatrixEvent => hashAndSign({ ...event.json, signatures: {} }, event.roomVersion, other.name, [key]);
        const make = (where: PeerRoom, body: string, originServerTs: number): MatrixEvent =>
          where.build({ type: "m.room.message", sender: other.user("dan"), content: { msgtype: "m.text", body }, originServerTs });
        const [before, late, lateInOld] = [
          sign(make(rooms[0]!, "before", now - 60_000)),
          sign(make(rooms[0]!, "late", now + 60_000)),
          sign(make(rooms[1]!, "late", now + 60_000)),
        ];
        const fresh = make(rooms[0]!, "by the new key", now + 60_000);
        const results = await other.send(server, [fresh, before, late, lateInOld]);
        assert.deepEqual([results[fresh.eventId], results[before.eventId], results[lateInOld.eventId]], [{}, {}, {}]);
        assert.match(results[late.eventId]!.error!, /signature/);
        assert.equal(await stored(late), undefined);
        for (const event of [fresh, before, lateInOld]) assert.notEqual(await stored(event), undefined);
        const refused = await other.ask(server, "get", `/_matrix/federation/v1/state_ids/${encodeURIComponent(newId)}?event_id=x`, undefined, { key: old });
        assert.equal(refused.status, 401, "nor are requests signed by a retired key believed");
      } finally {
        await other.close();
      }
    });
  });

  describe("form", () => {
    it("drops events whose depth is no depth one by one, and goes on (CVE-2025-30355)", async () => {
      const base = room.build({ type: "m.room.message", sender: bob, content: { body: "deep" } }).json;
      const bad = ["1", -1, 1.5, null, 2n ** 63n, [], true].map((depth) => resignedOrRaw({ ...base, depth } as JsonObject));
      const good = room.message(bob, "good");
      const results = await peer.send(server, [...bad, good]);
      assert.deepEqual(Object.keys(results), [good.eventId]);
      assert.notEqual(await stored(good), undefined);
    });

    it("keeps a room usable after an event of the greatest depth (CVE-2018-10657)", async () => {
      const old = await makeRoom(server.ctx, alice, { version: "5" });
      const oldRoom = await peer.join(server, old, "bob");
      const deep = oldRoom.make({ type: "m.room.message", sender: bob, content: { body: "deep" }, depth: 2n ** 63n - 1n });
      await peer.send(server, [deep]);
      assert.notEqual(await stored(deep), undefined);
      const sent = await sendEvents(server.ctx, requesterOf(alice), old, [
        { type: "m.room.message", sender: alice, content: { msgtype: "m.text", body: "after" } },
      ]);
      assert.equal(sent[0]!.depth, 2n ** 63n - 1n);
    });

    it("drops events over the size limit, with too many references, with floats, or with ids over 255 bytes", async () => {
      const make = (content: JsonObject, more: object = {}): MatrixEvent => room.build({ type: "m.room.message", sender: bob, content, ...more });
      const big = make({ body: "x".repeat(70_000) });
      const manyPrevs = make({ body: "prevs" }, { prevEventIds: Array.from({ length: 21 }, (_, index) => `$${String(index).padStart(43, "a")}`) });
      const manyAuth = make({ body: "auth" }, { authEventIds: Array.from({ length: 11 }, (_, index) => `$${String(index).padStart(43, "a")}`) });
      const longType = make({ body: "type" }, { type: "t".repeat(256) });
      const results = await peer.send(server, [big, manyPrevs, manyAuth, longType]);
      assert.deepEqual(results, {});
      for (const event of [big, manyPrevs, manyAuth, longType]) assert.equal(await stored(event), undefined);
      await isRoomAlive();
    });

    it("refuses nesting that no parser should follow, and stays alive", async () => {
      const nested = '{"pdus":[],"edus":[{"edu_type":"m.x","content":' + "[".repeat(100_000) + "]".repeat(100_000) + "}]}";
      assert.equal((await sendText("deep", nested)).status, 400);
      await isRoomAlive();
    });

    it("refuses numbers that JSON does not have, and takes no harm from those that are too large for it (CVE-2020-26890)", async () => {
      for (const number of ["NaN", "Infinity", "-Infinity", "1e999", "-0", "01", "0x1"]) {
        const text = `{"pdus":[{"room_id":${JSON.stringify(roomId)},"type":"m.room.message","depth":${number}}],"edus":[{"edu_type":"m.x","content":{"n":${number}}}]}`;
        const { status } = await sendText("numbers", text);
        assert.ok(status === 400 || status === 401, `${number}: ${status}`);
      }
      for (const number of [1e300, 2 ** 60, 0.5]) {
        const odd = { ...room.build({ type: "m.room.message", sender: bob, content: { body: "odd" } }).json, content: { body: "odd", number } };
        await peer.send(server, [odd]).catch(() => undefined); // a sender that has no canonical form for it cannot even sign the request
      }
      await isRoomAlive();
    });

    it("refuses too many PDUs or EDUs at once, and lists that are none", async () => {
      const path = "/_matrix/federation/v1/send/many";
      const put = (content: JsonObject) => peer.ask(server, "put", path, content).expect(400);
      await put({ pdus: Array.from({ length: 51 }, () => ({})) });
      await put({ pdus: [], edus: Array.from({ length: 101 }, () => ({ edu_type: "x", content: {} })) });
      await put({ pdus: {} });
      await put({ pdus: [], edus: "x" });
    });

    it("takes no harm from PDUs and EDUs that are anything at all", async () => {
      const junk = [null, 1, "x", [], {}, { room_id: 5 }, { room_id: roomId }, { room_id: roomId, type: null, content: "x" }, { room_id: "\0" }];
      const content = {
        pdus: junk,
        edus: [
          null,
          1,
          [],
          { edu_type: 5 },
          { edu_type: "m.typing", content: [] },
          { edu_type: "m.typing", content: { room_id: 1 } },
          { edu_type: "m.receipt", content: { [roomId]: 5, "\0": {} } },
          { edu_type: "m.presence", content: { push: [null, 1, { user_id: 5 }] } },
          { edu_type: "m.device_list_update", content: { user_id: bob } },
          { edu_type: "m.direct_to_device", content: { messages: [] } },
          { edu_type: "m.signing_key_update", content: { user_id: bob, master_key: 5 } },
        ],
      };
      const { body } = await peer.ask(server, "put", "/_matrix/federation/v1/send/junk", content as unknown as JsonObject).expect(200);
      assert.deepEqual(body, { pdus: {} });
      await isRoomAlive();
    });
  });

  describe("authorisation", () => {
    it("rejects what the auth events do not allow, and never lets it into the state (CVE-2022-31152, CVE-2022-39374)", async () => {
      const promoted = room.build({ type: "m.room.power_levels", sender: bob, stateKey: "", content: { users: { [alice]: 0, [bob]: 100 } } });
      await peer.send(server, [promoted]);
      assert.equal((await stored(promoted))?.rejectedReason, "auth_error");
      const after = room.build({ type: "m.room.message", sender: bob, content: { msgtype: "m.text", body: "after" }, prevEventIds: [promoted.eventId] });
      await peer.send(server, [after]);
      assert.equal((await stored(after))?.rejectedReason, undefined);
      const levels = (await server.ctx.state.current(roomId, ["m.room.power_levels\u0000"])).get("m.room.power_levels\u0000");
      assert.deepEqual(levels?.content.users, { [alice]: 100 });
    });

    it("rejects what leans on a rejected event, or on an auth event of another room (Synapse 1.7.1, #6501)", async () => {
      const forged = room.build({ type: "m.room.power_levels", sender: bob, stateKey: "", content: { users: { [bob]: 100 } } });
      await peer.send(server, [forged]);
      const auth = room
        .build({ type: "m.room.topic", sender: bob, stateKey: "", content: { topic: "mine" } })
        .authEventIds.filter((id) => room.events.get(id)!.type !== "m.room.power_levels");
      const leaning = room.build({ type: "m.room.topic", sender: bob, stateKey: "", content: { topic: "mine" }, authEventIds: [...auth, forged.eventId] });
      const otherRoom = await makeRoom(server.ctx, alice);
      const other = await peer.join(server, otherRoom, "bob");
      const borrowed = room.build({
        type: "m.room.message",
        sender: bob,
        content: { body: "borrowed" },
        authEventIds: [...auth.filter((id) => room.events.get(id)!.type !== "m.room.member"), other.state.get(memberKey(bob))!.eventId],
      });
      await peer.send(server, [leaning, borrowed]);
      for (const event of [leaning, borrowed]) assert.equal((await stored(event))?.rejectedReason, "auth_error");
      await isRoomAlive();
    });

    it("keeps the first create event of a room for ever (CVE-2025-54315)", async () => {
      const second = room.build({
        type: "m.room.create",
        sender: bob,
        stateKey: "",
        content: { room_version: "11" },
        prevEventIds: [],
        authEventIds: [],
        depth: 1,
      });
      const beside = room.build({ type: "m.room.create", sender: bob, stateKey: "", content: { room_version: "11" } });
      await peer.send(server, [second, beside]);
      const create = (await server.ctx.state.current(roomId, ["m.room.create\u0000"])).get("m.room.create\u0000");
      assert.equal(create?.sender, alice);
      await isRoomAlive();
    });

    it("does not get more links between auth chains written than there are auth events (CVE-2024-31208)", async () => {
      const creator = bob;
      const events: MatrixEvent[] = [];
      for (let index = 0; index < 60; index++) {
        const stateKey = peer.user(`crowd${index % 20}`);
        const membership = index < 20 ? "join" : index % 2 === 0 ? "leave" : "join";
        events.push(room.make({ type: "m.room.member", sender: stateKey, stateKey, content: { membership } }));
        if (index % 6 === 0)
          events.push(room.make({ type: "m.room.member", sender: creator, stateKey: bob, content: { membership: "join", displayname: `${index}` } }));
      }
      for (let at = 0; at < events.length; at += 50) await peer.send(server, events.slice(at, at + 50));
      for (const event of events) assert.notEqual(await stored(event), undefined);
      const links = await query(
        server.ctx.read,
        `SELECT 1 FROM event_auth_chain_links AS link JOIN event_auth_chains AS chain ON chain.chain_id = link.origin_chain_id
         AND chain.sequence_number = link.origin_sequence_number JOIN events USING (event_id) WHERE room_id = $1`,
        [roomId],
      );
      const edges = events.reduce((sum, event) => sum + event.authEventIds.length, 40);
      assert.ok(links.length <= edges, `${links.length} links, ${edges} auth events`);
    });

    it("drops events whose auth events nobody has", async () => {
      const lost = room.build({
        type: "m.room.message",
        sender: bob,
        content: { body: "lost" },
        authEventIds: [...room.build({ type: "m.room.message", sender: bob }).authEventIds.slice(0, 2), "$nowhereaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
      });
      await peer.send(server, [lost]);
      assert.equal(await stored(lost), undefined);
      await isRoomAlive();
    });

    it("is not led in circles by redactions of redactions (Synapse 1.2.1)", async () => {
      const message = room.message(bob, "to be redacted");
      const first = room.make({ type: "m.room.redaction", sender: bob, content: { redacts: message.eventId } });
      const second = room.make({ type: "m.room.redaction", sender: bob, content: { redacts: first.eventId } });
      const third = room.make({ type: "m.room.redaction", sender: bob, content: { redacts: second.eventId } });
      await peer.send(server, [message, first, second, third]);
      const shown = await server.ctx.events.one(message.eventId);
      assert.equal(shown?.eventId, message.eventId);
    });

    it("does not let a server redact events of another one in rooms of version 1 (Synapse 1.2.1, #5767)", async () => {
      const old = await makeRoom(server.ctx, alice, { version: "1" });
      const oldRoom = await peer.join(server, old, "bob");
      const [victim] = await sendEvents(server.ctx, requesterOf(alice), old, [
        { type: "m.room.message", sender: alice, content: { msgtype: "m.text", body: "mine" } },
      ]);
      const redaction = oldRoom.make({ type: "m.room.redaction", sender: bob, content: {}, redacts: victim!.eventId });
      await peer.send(server, [redaction]);
      assert.equal((await server.ctx.events.one(victim!.eventId))?.content.body, "mine");
    });
  });

  describe("history", () => {
    it("gets nothing of a state in which members are missing: what was rejected or is of another room stays out (CVE-2022-39374, Synapse 1.15.2)", async () => {
      room.serve();
      const forged = room.build({ type: "m.room.power_levels", sender: bob, stateKey: "", content: { users: { [bob]: 100 } } });
      room.learn(forged);
      // Thirty messages lie between, so the state is asked for; the peer slips its power levels in.
      const messages = Array.from({ length: 30 }, (_, index) => room.message(bob, String(index)));
      for (const [id, state] of room.statesBefore) room.statesBefore.set(id, new Map([...state, ["m.room.power_levels\u0000", forged]]));
      await peer.send(server, [messages.at(-1)!]);
      assert.equal((await stored(forged))?.rejectedReason, "auth_error", "it was fetched");
      assert.equal((await stored(messages.at(-1)!))?.rejectedReason, undefined);
      const levels = (await server.ctx.state.current(roomId, ["m.room.power_levels\u0000"])).get("m.room.power_levels\u0000");
      assert.deepEqual(levels?.content.users, { [alice]: 100 });
      assert.ok((await server.ctx.members.joinedLocal(roomId)).has(alice));
    });

    it("is not read to the end when it answers without end, nor followed into nesting without end", async () => {
      const answers = [
        `{"events":["${"x".repeat(9 * 1024 * 1024)}"]}`,
        `{"events":${"[".repeat(200_000)}${"]".repeat(200_000)}}`,
        "[]",
        '{"events":{}}',
        "null",
      ];
      for (const answer of answers) {
        peer.answers.length = 0;
        let asked = 0;
        peer.answers.push(({ path: [, what] }) => {
          if (what !== "get_missing_events") return undefined;
          asked++;
          return { status: 200, body: answer };
        });
        await server.ctx.backoff.reset(peer.name);
        const lost = room.build({
          type: "m.room.message",
          sender: bob,
          content: { body: "x" },
          prevEventIds: [`$${String(answer.length).padStart(43, "q")}`],
          depth: 100,
        });
        await peer.send(server, [lost]);
        assert.equal(asked, 1);
        assert.equal(await stored(lost), undefined);
        await isRoomAlive();
      }
    });

    it("gets no more fetched than there can be use for, however long the state is that it claims", async () => {
      const ids = Array.from({ length: 30_000 }, (_, index) => `$${String(index).padStart(43, "s")}`);
      peer.answers.push(({ path: [, what] }) => {
        if (what === "get_missing_events") return { status: 200, body: { events: [gap.json] } };
        if (what === "state_ids") return { status: 200, body: { pdu_ids: ids, auth_chain_ids: ids } };
        return undefined;
      });
      const gap = room.build({ type: "m.room.message", sender: bob, content: { body: "gap" }, prevEventIds: [`$${"g".repeat(43)}`], depth: 100 });
      const last = room.build({ type: "m.room.message", sender: bob, content: { body: "last" }, prevEventIds: [gap.eventId], depth: 101 });
      const before = peer.requests.length;
      await peer.send(server, [last]);
      assert.ok(peer.requests.length - before < 10, `${peer.requests.length - before} requests`);
      assert.equal(await stored(last), undefined);
      await isRoomAlive();
    });

    it("drops events with previous events that nobody divulges, however many come", async () => {
      const storm = Array.from({ length: 20 }, (_, index) =>
        room.build({
          type: "m.room.message",
          sender: bob,
          content: { body: String(index) },
          prevEventIds: Array.from({ length: 20 }, (_, prev) => `$${String(index * 20 + prev).padStart(43, "z")}`),
          depth: 1000,
        }),
      );
      const before = peer.requests.length;
      await peer.send(server, storm);
      for (const event of storm) assert.equal(await stored(event), undefined);
      const questions = peer.requests.slice(before).filter(({ path }) => !path.includes("send"));
      assert.ok(
        questions.length <= storm.length,
        `${questions.length} questions for ${storm.length} events: ${questions.map(({ path }) => path.join("/")).join()}`,
      );
      await isRoomAlive();
    });

    it("does not get a cycle of auth events stored", async () => {
      // Ids of room version 1 are chosen by their sender, so there cycles can be made.
      const old = await makeRoom(server.ctx, alice, { version: "1" });
      const oldRoom = await peer.join(server, old, "bob");
      oldRoom.serve();
      const base = oldRoom.build({ type: "m.room.topic", sender: bob, stateKey: "", content: { topic: "a" } }).json;
      const [one, two] = [peer.oldEventId(), peer.oldEventId()];
      const make = (id: string, other: string): MatrixEvent =>
        hashAndSign({ ...base, event_id: id, auth_events: [...(base.auth_events as []), [other, {}]] as never, signatures: {} }, oldRoom.version, peer.name, [
          peer.key,
        ]);
      const [first, second] = [make(one, two), make(two, one)];
      oldRoom.learn(first);
      oldRoom.learn(second);
      await peer.send(server, [first, second]);
      for (const event of [first, second]) assert.equal(await stored(event), undefined);
      const message = oldRoom.message(bob, "fine");
      await peer.send(server, [message]);
      assert.notEqual(await stored(message), undefined);
    });

    it("gets events of one room under another refused, also as previous events", async () => {
      const otherId = await makeRoom(server.ctx, alice);
      const other = await peer.join(server, otherId, "bob");
      const secret = other.message(bob, "of the other room");
      await peer.send(server, [secret]);
      const borrowing = room.build({ type: "m.room.message", sender: bob, content: { body: "x" }, prevEventIds: [secret.eventId] });
      await peer.send(server, [borrowing]);
      assert.equal(await stored(borrowing), undefined);
    });
  });

  describe("EDUs", () => {
    it("drops to-device messages in somebody else's name (GHSA advisories of Synapse 1.157.2)", async () => {
      const user = await server.register(`victim${Date.now()}`);
      const edu = (sender: string, id: string): JsonObject => ({
        edu_type: "m.direct_to_device",
        content: { sender, type: "m.test", message_id: id, messages: { [user.userId]: { [user.deviceId]: { a: 1 } } } },
      });
      await peer.send(server, [], [edu("@mallory:elsewhere.example", "1"), edu(alice, "2")]);
      const rows = () => query<{ message_json: string }>(server.ctx.read, "SELECT message_json FROM device_inbox WHERE user_id = $1", [user.userId]);
      assert.equal((await rows()).length, 0);
      await peer.send(server, [], [edu(bob, "3"), edu(bob, "3")]);
      assert.equal((await rows()).length, 1, "and takes an honest one, once");
    });

    it("drops typing, receipts, presence and device lists of users who are not its own (Synapse 1.2.1, #5743)", async () => {
      const [message] = await sendEvents(server.ctx, requesterOf(alice), roomId, [
        { type: "m.room.message", sender: alice, content: { msgtype: "m.text", body: "read me" } },
      ]);
      const receipt = (userId: string): JsonObject => ({
        edu_type: "m.receipt",
        content: { [roomId]: { "m.read": { [userId]: { data: { ts: 1 }, event_ids: [message!.eventId] } } } },
      });
      await peer.send(
        server,
        [],
        [
          { edu_type: "m.typing", content: { room_id: roomId, user_id: alice, typing: true } },
          receipt(alice),
          { edu_type: "m.presence", content: { push: [{ user_id: alice, presence: "unavailable", status_msg: "hacked" }] } },
          { edu_type: "m.device_list_update", content: { user_id: alice, device_id: "EVIL", stream_id: 1, prev_id: [] } },
        ],
      );
      assert.deepEqual(server.ctx.typing.typingIn(roomId), []);
      assert.equal((await server.ctx.presence.get([alice])).get(alice)?.statusMsg ?? null, null);
      assert.equal((await query(server.ctx.read, "SELECT 1 FROM receipts_linearized WHERE room_id = $1", [roomId])).length, 0);
      await peer.send(server, [], [{ edu_type: "m.typing", content: { room_id: roomId, user_id: bob, typing: true } }, receipt(bob)]);
      assert.deepEqual(server.ctx.typing.typingIn(roomId), [bob], "and takes those of its own");
      assert.equal((await query(server.ctx.read, "SELECT 1 FROM receipts_linearized WHERE room_id = $1", [roomId])).length, 1);
    });

    it("drops receipts and typing of its users who are not in the room (CVE-2023-42453)", async () => {
      const eve = peer.user("eve");
      await peer.send(
        server,
        [],
        [
          { edu_type: "m.typing", content: { room_id: roomId, user_id: eve, typing: true } },
          { edu_type: "m.receipt", content: { [roomId]: { "m.read": { [eve]: { data: { ts: 1 }, event_ids: ["$x"] } } } } },
        ],
      );
      assert.deepEqual(server.ctx.typing.typingIn(roomId), []);
      assert.equal((await query(server.ctx.read, "SELECT 1 FROM receipts_linearized WHERE room_id = $1", [roomId])).length, 0);
    });
  });

  describe("floods", () => {
    it("is not listened to when it announces more than a transaction may hold, and need not say it all", async () => {
      const { hostname, port } = new URL(server.url);
      const socket = connect({ host: hostname, port: Number(port) });
      const answer = new Promise<string>((resolve, reject) => {
        let text = "";
        socket.on("data", (chunk: Buffer) => {
          text += chunk.toString("utf8");
          if (text.includes("\r\n\r\n")) resolve(text);
        });
        socket.on("error", reject);
        socket.on("end", () => resolve(text));
      });
      socket.write(
        `PUT /_matrix/federation/v1/send/loris HTTP/1.1\r\nHost: ${server.name}\r\nAuthorization: ${authorizationOf("loris")}\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n{"pdus":[`,
      );
      assert.match(await answer, /^HTTP\/1\.1 413 /);
      socket.destroy();
      await isRoomAlive();
    });

    it("is not listened to before its keys are known: strangers have no bodies held for them", async () => {
      const { hostname, port } = new URL(server.url);
      const stranger = authorizationOf("stranger").replaceAll(peer.name, "localhost:1");
      for (const authorization of ["", `Authorization: ${stranger}\r\n`, "Authorization: X-Matrix nonsense\r\n"]) {
        const socket = connect({ host: hostname, port: Number(port) });
        const answer = new Promise<string>((resolve, reject) => {
          socket.on("data", (chunk: Buffer) => resolve(chunk.toString("utf8")));
          socket.on("error", reject);
        });
        // Less than it says: who waits for the rest of it, waits in vain.
        socket.write(
          `PUT /_matrix/federation/v1/send/stranger HTTP/1.1\r\nHost: ${server.name}\r\n${authorization}Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"pdus":[`,
        );
        assert.match(await answer, /^HTTP\/1\.1 40[01] /);
        socket.destroy();
      }
    });

    it("gets the first answer again when it uses the id of a transaction twice, whatever the second one holds", async () => {
      const [first, second] = [room.message(bob, "first"), room.message(bob, "second")];
      const put = (event: MatrixEvent) => peer.ask(server, "put", "/_matrix/federation/v1/send/twice", { origin: peer.name, pdus: [event.json], edus: [] });
      const answer = (await put(first).expect(200)).body as object;
      assert.deepEqual((await put(second).expect(200)).body, answer);
      await server.ctx.inbound.rooms.whenIdle();
      assert.notEqual(await stored(first), undefined);
      assert.equal(await stored(second), undefined);
    });

    it("takes no room of this server hostage by rooms that nobody here is in", async () => {
      const foreign = PeerRoom.create(peer, bob);
      const flood = Array.from({ length: 49 }, (_, index) => foreign.message(bob, String(index)));
      const good = room.message(bob, "good");
      const results = await peer.send(server, [...flood, good]);
      assert.deepEqual(Object.keys(results), [good.eventId]);
      assert.notEqual(await stored(good), undefined);
      const rows = await query(server.ctx.read, "SELECT 1 FROM federation_inbound_events_staging");
      assert.equal(rows.length, 0);
    });

    it("does not fill the table of events that wait, neither by a long chain nor by events that nothing builds on", async () => {
      const waiting = async (): Promise<string[]> => {
        const rows = await query<{ event_id: string }>(server.ctx.read, "SELECT event_id FROM federation_inbound_events_staging WHERE room_id = $1", [roomId]);
        return rows.map(({ event_id: id }) => id);
      };
      const stage = async (events: readonly MatrixEvent[]): Promise<void> => {
        for (let at = 0; at < events.length; at += 50) {
          const pdus = events.slice(at, at + 50).map(({ json }) => json);
          await peer.ask(server, "put", `/_matrix/federation/v1/send/flood-${events[at]!.eventId}`, { pdus, edus: [] }).expect(200);
        }
        await eventually(async () => (await waiting()).length <= MOST_STAGED);
      };
      room.serve();
      // As if the first of them had the server wait for an answer.
      const release = server.ctx.inbound.rooms.hold(roomId);
      let last: MatrixEvent;
      try {
        const chain = Array.from({ length: MOST_STAGED + 50 }, (_, index) => room.message(bob, `link ${index}`));
        await stage(chain);
        last = chain.at(-1)!;
        assert.ok((await waiting()).length < 100);
        const disjoint = Array.from({ length: MOST_STAGED + 50 }, (_, index) =>
          room.build({ type: "m.room.message", sender: bob, content: { body: `loose ${index}` }, prevEventIds: [last.eventId] }),
        );
        for (const event of disjoint) room.learn(event);
        await stage(disjoint);
        assert.ok((await waiting()).length < 300);
        assert.ok((await waiting()).includes(disjoint.at(-1)!.eventId), "the newest stay");
      } finally {
        release();
      }
      await server.ctx.inbound.rooms.whenIdle();
      assert.deepEqual(await waiting(), []);
      assert.notEqual(await stored(last), undefined, "what they build on is fetched");
      await isRoomAlive();
    });

    it("is told to wait when it sends a second transaction while the first is under way", async () => {
      const slow = Array.from({ length: 50 }, (_, index) => room.message(bob, String(index)));
      const put = (id: string) => peer.ask(server, "put", `/_matrix/federation/v1/send/${id}`, { pdus: slow.map(({ json }) => json), edus: [] });
      const answers = await Promise.all([put("f1"), put("f2"), put("f3")]);
      assert.deepEqual([...new Set(answers.map(({ status }) => status))].sort(), [200, 429]);
      await server.ctx.inbound.rooms.whenIdle();
    });

    it("has its requests slowed down and then refused (rc_federation)", async () => {
      const asks = Array.from({ length: 90 }, () => peer.ask(server, "get", `/_matrix/federation/v1/state_ids/${encodeURIComponent(roomId)}?event_id=%24x`));
      const statuses = (await Promise.all(asks)).map(({ status }) => status);
      assert.ok(statuses.includes(429));
      assert.ok(statuses.includes(404));
    });
  });

  /** The header of a transaction whose content is never looked at. */
  function authorizationOf(txn: string): string {
    return authorizationHeader(
      { serverName: peer.name, signingKey: peer.key },
      { method: "PUT", destination: server.name },
      `/_matrix/federation/v1/send/${txn}`,
      "{}",
    );
  }

  /** Sends a text that may be no JSON at all, by a header that is well formed. */
  function sendText(txn: string, text: string): PromiseLike<{ status: number }> {
    return server.anonymous
      .request("put", `/_matrix/federation/v1/send/${txn}`)
      .set("Authorization", authorizationOf(txn))
      .set("Content-Type", "application/json")
      .send(text);
  }

  function resignedOrRaw(json: JsonObject): JsonObject {
    try {
      return resigned(json).json;
    } catch {
      return json;
    }
  }
});
