// More than 500 lines: all that other servers may ask, of one world that takes long to make.
import assert from "node:assert/strict";
import sharp from "sharp";
import type { JsonObject } from "../../lib/json.ts";
import { signingKeyFromSeed, signJson } from "../../protocol/event/sign.ts";
import { memberKey } from "../../protocol/power-levels.ts";
import { sendEvents } from "../../services/events/send.ts";
import { markUserErased } from "../../storage/accounts/deactivations.ts";
import { AuthGraph } from "../../storage/events/auth-graph.ts";
import { setRoomPublic } from "../../storage/rooms/rooms.ts";
import { type FederatedTestServer, startFederatedServer } from "../../testing/federated-server.ts";
import { FederationPeer, PeerRoom } from "../../testing/federation-peer.ts";
import { makeRoom, requesterOf } from "../../testing/rooms.ts";

const V1 = "/_matrix/federation/v1";
const enc = encodeURIComponent;

describe("what other servers may ask", function () {
  this.timeout(60_000);
  let server: FederatedTestServer;
  let peer: FederationPeer;
  let outsider: FederationPeer;
  let alice: string;
  let bob: string;

  before(async () => {
    server = await startFederatedServer({
      config: {
        allow_public_rooms_over_federation: true,
        rc_federation: { sleep_limit: 10_000, concurrent: 100 },
        experimental_features: { msc4370_enabled: true, msc3720_enabled: true },
      },
    });
    [peer, outsider] = await Promise.all([FederationPeer.start(), FederationPeer.start()]);
    alice = (await server.register("alice")).userId;
    bob = peer.user("bob");
  });
  after(async () => {
    await server.close();
    await Promise.all([peer.close(), outsider.close()]);
  });

  const say = async (roomId: string, body: string): Promise<string> =>
    (await sendEvents(server.ctx, requesterOf(alice), roomId, [{ type: "m.room.message", sender: alice, content: { msgtype: "m.text", body } }]))[0]!.eventId;
  const get = (who: FederationPeer, path: string) => who.ask(server, "get", path);

  /** Each way to ask about an event of a room. */
  const waysToAsk = (roomId: string, eventId: string): [name: string, ask: (who: FederationPeer) => ReturnType<typeof get>][] => [
    ["event", (who) => get(who, `${V1}/event/${enc(eventId)}`)],
    ["state", (who) => get(who, `${V1}/state/${enc(roomId)}?event_id=${enc(eventId)}`)],
    ["state_ids", (who) => get(who, `${V1}/state_ids/${enc(roomId)}?event_id=${enc(eventId)}`)],
    ["event_auth", (who) => get(who, `${V1}/event_auth/${enc(roomId)}/${enc(eventId)}`)],
    ["backfill", (who) => get(who, `${V1}/backfill/${enc(roomId)}?v=${enc(eventId)}&limit=10`)],
    ["timestamp_to_event", (who) => get(who, `${V1}/timestamp_to_event/${enc(roomId)}?ts=0&dir=f`)],
    ["extremities", (who) => get(who, `/_matrix/federation/unstable/org.matrix.msc4370/extremities/${enc(roomId)}`)],
    [
      "get_missing_events",
      (who) => who.ask(server, "post", `${V1}/get_missing_events/${enc(roomId)}`, { earliest_events: [], latest_events: [eventId], limit: 10 }),
    ],
  ];

  describe("history", () => {
    it("is given to servers in the room alone (CVE-2022-39335, GHSA of /timestamp_to_event)", async () => {
      const roomId = await makeRoom(server.ctx, alice);
      await peer.join(server, roomId, "bob");
      const eventId = await say(roomId, "secret");
      for (const [name, ask] of waysToAsk(roomId, eventId)) {
        const refused = await ask(outsider);
        assert.equal(refused.status, 403, name);
        assert.ok(!JSON.stringify(refused.body).includes(eventId), name);
        assert.equal((await ask(peer)).status, 200, name);
      }
    });

    it("and everything else of a room is kept from servers that its ACL shuts out (CVE-2018-16515)", async () => {
      const roomId = await makeRoom(server.ctx, alice);
      const room = await peer.join(server, roomId, "bob");
      const eventId = await say(roomId, "before");
      await denyPeer(roomId);
      for (const [name, ask] of waysToAsk(roomId, eventId)) assert.equal((await ask(peer)).status, 403, name);
      const user = enc(bob);
      assert.equal((await get(peer, `${V1}/make_join/${enc(roomId)}/${user}?ver=11`)).status, 403);
      assert.equal((await get(peer, `${V1}/make_leave/${enc(roomId)}/${user}`)).status, 403);
      assert.equal((await get(peer, `${V1}/make_knock/${enc(roomId)}/${user}?ver=11`)).status, 403);
      const leave = room.build({ type: "m.room.member", sender: bob, stateKey: bob, content: { membership: "leave" } });
      assert.equal((await peer.ask(server, "put", `/_matrix/federation/v2/send_leave/${enc(roomId)}/${enc(leave.eventId)}`, leave.json)).status, 403);
      const message = room.message(bob, "let me in");
      assert.match((await peer.send(server, [message]))[message.eventId]!.error!, /banned/);
      assert.equal(await server.ctx.events.one(message.eventId), undefined);
    });

    it("of one room is not to be had under the name of another (Synapse 0.33.1, #3641, GHSA of /event_auth)", async () => {
      const [mine, secret] = [await makeRoom(server.ctx, alice), await makeRoom(server.ctx, alice)];
      await peer.join(server, mine, "bob");
      const eventId = await say(secret, "secret");
      for (const [name, ask] of waysToAsk(mine, eventId)) {
        if (name === "timestamp_to_event" || name === "extremities") continue;
        const answer = await ask(peer);
        if (name === "backfill") assert.deepEqual((answer.body as { pdus: unknown[] }).pdus, []);
        else if (name === "get_missing_events")
          assert.deepEqual((answer.body as { events: unknown[] }).events, [], "latest_events of another room lead nowhere");
        else assert.ok(answer.status === 403 || answer.status === 404, name);
      }
    });

    it("before the server came is redacted where the room says so (CVE-2018-12291)", async () => {
      const roomId = await makeRoom(server.ctx, alice, { visibility: "joined" });
      const early = await say(roomId, "before bob");
      await peer.join(server, roomId, "bob");
      const late = await say(roomId, "after bob");
      const bodies = (pdus: JsonObject[]): unknown[] => pdus.map((pdu) => (pdu.content as JsonObject).body).filter((body) => body !== undefined);
      const { pdus } = (await get(peer, `${V1}/backfill/${enc(roomId)}?v=${enc(late)}&limit=20`)).body as { pdus: JsonObject[] };
      assert.deepEqual(bodies(pdus), ["after bob"]);
      const { events } = (await peer.ask(server, "post", `${V1}/get_missing_events/${enc(roomId)}`, { earliest_events: [], latest_events: [late], limit: 20 }))
        .body as { events: JsonObject[] };
      assert.ok(events.length > 2);
      assert.deepEqual(bodies(events), []);
      assert.deepEqual(bodies(((await get(peer, `${V1}/event/${enc(early)}`)).body as { pdus: JsonObject[] }).pdus), []);
      assert.deepEqual(bodies(((await get(peer, `${V1}/event/${enc(late)}`)).body as { pdus: JsonObject[] }).pdus), ["after bob"]);
    });

    it("of erased users is redacted", async () => {
      const gone = (await server.register("gone")).userId;
      const roomId = await makeRoom(server.ctx, alice, { members: [gone] });
      const room = await peer.join(server, roomId, "bob");
      const [event] = await sendEvents(server.ctx, requesterOf(gone), roomId, [
        { type: "m.room.message", sender: gone, content: { msgtype: "m.text", body: "forget me" } },
      ]);
      await server.ctx.transaction("erase", (txn) => markUserErased(txn, gone));
      server.ctx.erasedUsers.forget(gone);
      const { pdus } = (await get(peer, `${V1}/event/${enc(event!.eventId)}`)).body as { pdus: JsonObject[] };
      assert.deepEqual(pdus[0]!.content, {});
      assert.equal(room.roomId, roomId);
    });

    it("comes in order: backfill newest first, missing events oldest first, both no more than asked for", async () => {
      const roomId = await makeRoom(server.ctx, alice);
      await peer.join(server, roomId, "bob");
      const ids: string[] = [];
      for (let index = 0; index < 30; index++) ids.push(await say(roomId, String(index)));
      const body = (pdu: JsonObject): string => String((pdu.content as JsonObject).body);
      const { pdus } = (await get(peer, `${V1}/backfill/${enc(roomId)}/?v=${enc(ids.at(-1)!)}&limit=5`)).body as { pdus: JsonObject[] };
      assert.deepEqual(pdus.map(body), ["29", "28", "27", "26", "25"]);
      const { events } = (
        await peer.ask(server, "post", `${V1}/get_missing_events/${enc(roomId)}`, { earliest_events: [ids[20]!], latest_events: [ids.at(-1)!], limit: 1000 })
      ).body as { events: JsonObject[] };
      assert.deepEqual(events.map(body), ["21", "22", "23", "24", "25", "26", "27", "28"]);
      const { body: all } = await peer.ask(server, "post", `${V1}/get_missing_events/${enc(roomId)}`, {
        earliest_events: [],
        latest_events: [ids.at(-1)!],
        limit: 1000,
      });
      assert.equal((all as { events: unknown[] }).events.length, 20);
    });

    it("gives the state before an event, and an auth chain without what is missing in between", async () => {
      const roomId = await makeRoom(server.ctx, alice);
      const room = await peer.join(server, roomId, "bob");
      const [topic] = await sendEvents(server.ctx, requesterOf(alice), roomId, [
        { type: "m.room.topic", stateKey: "", sender: alice, content: { topic: "new" } },
      ]);
      const { body } = await get(peer, `${V1}/state_ids/${enc(roomId)}?event_id=${enc(topic!.eventId)}`).expect(200);
      const { pdu_ids: state, auth_chain_ids: chain } = body as { pdu_ids: string[]; auth_chain_ids: string[] };
      assert.deepEqual(new Set(state), new Set([...room.state.values()].map((event) => event.eventId)));
      const expected = await server.ctx.authGraph.chain(state);
      assert.deepEqual(new Set(chain), expected);
      for (const graph of [server.ctx.authGraph, new AuthGraph(server.ctx.read)]) {
        assert.deepEqual(await graph.among(new Set([...expected, "$nobody"]), state), expected);
        assert.deepEqual(await graph.among(new Set(state.slice(-1)), state), new Set(state.slice(-1)));
        assert.deepEqual(await graph.among(new Set(["$nobody"]), state), new Set());
      }
      const full = (await get(peer, `${V1}/state/${enc(roomId)}?event_id=${enc(topic!.eventId)}`)).body as { pdus: JsonObject[] };
      assert.equal(full.pdus.length, state.length);
    });

    it("answers malformed questions with an error of the client's", async () => {
      const roomId = await makeRoom(server.ctx, alice);
      await peer.join(server, roomId, "bob");
      for (const path of [
        `state/${enc(roomId)}`,
        `state_ids/${enc(roomId)}`,
        `backfill/${enc(roomId)}`,
        `backfill/${enc(roomId)}?limit=x&v=$x`,
        `timestamp_to_event/${enc(roomId)}?ts=1&dir=q`,
        `state/${enc(roomId)}?event_id=%00`,
        `event/%00`,
        `event_auth/${enc(roomId)}/x`,
        `state/%00?event_id=$x`,
      ]) {
        const { status } = await get(peer, `${V1}/${path}`);
        assert.ok(status >= 400 && status < 500, `${path}: ${status}`);
      }
    });
  });

  describe("memberships", () => {
    it("joins: by an event of the asking server's own user, for that room, by that id (CVE-2020-26257, CVE-2019-18835)", async () => {
      const [roomId, otherId] = [await makeRoom(server.ctx, alice), await makeRoom(server.ctx, alice)];
      const { body } = await get(peer, `${V1}/make_join/${enc(roomId)}/${enc(bob)}?ver=11`).expect(200);
      const room = new PeerRoom(peer, roomId, (await server.ctx.roomVersions.get(roomId))!);
      const template = (body as { event: JsonObject }).event;
      const join = peer.complete(template, room.version);
      const put = (inRoom: string, eventId: string, pdu: JsonObject, kind = "send_join") =>
        peer.ask(server, "put", `/_matrix/federation/v2/${kind}/${enc(inRoom)}/${enc(eventId)}`, pdu);
      const changed = (fields: JsonObject) => peer.complete({ ...template, ...fields }, room.version);
      const statusOf = async (inRoom: string, event: { eventId: string; json: JsonObject }, kind?: string): Promise<number> =>
        (await put(inRoom, event.eventId, event.json, kind)).status;

      assert.equal((await put(otherId, join.eventId, join.json)).status, 400, "another room in the path");
      assert.equal((await put(roomId, "$other", join.json)).status, 400, "another id in the path");
      assert.equal(await statusOf(roomId, join, "send_leave"), 400, "a join is no leave");
      assert.equal(await statusOf(roomId, changed({ content: { membership: "leave" } })), 400, "a leave is no join");
      assert.equal(await statusOf(roomId, changed({ type: "m.room.message" })), 400, "a message is no join");
      assert.equal(await statusOf(roomId, changed({ state_key: peer.user("carol") })), 400, "for somebody else");
      assert.equal(await statusOf(roomId, changed({ sender: alice, state_key: alice })), 403, "a user of this server");
      assert.equal(await statusOf(roomId, { eventId: join.eventId, json: { ...join.json, signatures: {} } }), 403, "without a signature");
      assert.equal(
        (await outsider.ask(server, "put", `/_matrix/federation/v2/send_join/${enc(roomId)}/${enc(join.eventId)}`, join.json)).status,
        403,
        "sent by another server",
      );
      assert.equal((await get(peer, `${V1}/make_join/${enc(roomId)}/${enc(alice)}?ver=11`)).status, 403);
      const incompatible = await get(peer, `${V1}/make_join/${enc(roomId)}/${enc(bob)}?ver=1&ver=2`);
      assert.deepEqual([incompatible.status, incompatible.body.errcode, incompatible.body.room_version], [400, "M_INCOMPATIBLE_ROOM_VERSION", "11"]);
      assert.ok(!(await server.ctx.members.joined(roomId)).has(bob));

      assert.equal(await statusOf(roomId, join), 200);
      assert.ok((await server.ctx.members.joined(roomId)).has(bob));
      assert.equal(await statusOf(roomId, join), 200, "once more, where the answer got lost");
    });

    it("give the whole state, or with omit_members what is needed at once (MSC3706)", async () => {
      const members = Array.from({ length: 30 }, (_, index) => `@m${index}:${server.name}`);
      const roomId = await makeRoom(server.ctx, alice, { members, state: [{ type: "m.room.name", content: { name: "Large" } }] });
      const { body } = await get(peer, `${V1}/make_join/${enc(roomId)}/${enc(bob)}?ver=11`).expect(200);
      const join = peer.complete((body as { event: JsonObject }).event, (await server.ctx.roomVersions.get(roomId))!);
      const path = `/_matrix/federation/v2/send_join/${enc(roomId)}/${enc(join.eventId)}`;
      const small = (await peer.ask(server, "put", `${path}?omit_members=true`, join.json).expect(200)).body as {
        state: JsonObject[];
        auth_chain: JsonObject[];
        members_omitted: boolean;
        servers_in_room: string[];
      };
      assert.equal(small.members_omitted, true);
      assert.deepEqual(small.servers_in_room, [server.name]);
      assert.equal(small.state.filter((event) => event.type === "m.room.member").length, 0);
      const large = (await peer.ask(server, "put", path, join.json).expect(200)).body as { state: JsonObject[]; members_omitted: boolean };
      assert.equal(large.members_omitted, false);
      assert.equal(large.state.filter((event) => event.type === "m.room.member").length, members.length + 1);
      const old = (await peer.ask(server, "put", path.replace("v2", "v1"), join.json).expect(200)).body as [number, { state: JsonObject[] }];
      assert.equal(old[0], 200);
      assert.equal(old[1].state.length, large.state.length);
    });

    it("to restricted rooms are vouched for where the user is in a room that gives access", async () => {
      const gate = await makeRoom(server.ctx, alice);
      const roomId = await makeRoom(server.ctx, alice, {
        state: [{ type: "m.room.join_rules", content: { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: gate }] } }],
      });
      const make = () => get(peer, `${V1}/make_join/${enc(roomId)}/${enc(bob)}?ver=11`);
      assert.equal((await make()).status, 403);
      await peer.join(server, gate, "bob");
      const { body } = await make().expect(200);
      const template = (body as { event: JsonObject }).event;
      assert.equal((template.content as JsonObject).join_authorised_via_users_server, alice);
      const version = (await server.ctx.roomVersions.get(roomId))!;
      const elsewhere = peer.complete({ ...template, content: { membership: "join", join_authorised_via_users_server: "@x:elsewhere.example" } }, version);
      assert.equal((await peer.ask(server, "put", `/_matrix/federation/v2/send_join/${enc(roomId)}/${enc(elsewhere.eventId)}`, elsewhere.json)).status, 400);
      const join = peer.complete(template, version);
      const answer = await peer.ask(server, "put", `/_matrix/federation/v2/send_join/${enc(roomId)}/${enc(join.eventId)}`, join.json).expect(200);
      const signatures = (answer.body as { event: JsonObject }).event.signatures as JsonObject;
      assert.deepEqual(Object.keys(signatures).sort(), [peer.name, server.name].sort());
      assert.ok((await server.ctx.members.joined(roomId)).has(bob));
    });

    it("end by make_leave and send_leave, also a rejected invite", async () => {
      const roomId = await makeRoom(server.ctx, alice);
      const room = await peer.join(server, roomId, "bob");
      const { body } = await get(peer, `${V1}/make_leave/${enc(roomId)}/${enc(bob)}`).expect(200);
      const leave = peer.complete((body as { event: JsonObject }).event, room.version);
      assert.deepEqual((await peer.ask(server, "put", `${V1}/send_leave/${enc(roomId)}/${enc(leave.eventId)}`, leave.json).expect(200)).body, [200, {}]);
      assert.ok(!(await server.ctx.members.joined(roomId)).has(bob));
      const again = await peer.join(server, roomId, "bob");
      const made = await get(peer, `${V1}/make_leave/${enc(roomId)}/${enc(bob)}`).expect(200);
      const second = peer.complete((made.body as { event: JsonObject }).event, again.version);
      const path = `/_matrix/federation/v2/send_leave/${enc(roomId)}/${enc(second.eventId)}`;
      assert.deepEqual((await peer.ask(server, "put", path, second.json).expect(200)).body, {});
      assert.ok(!(await server.ctx.members.joined(roomId)).has(bob));
    });

    it("by knocking are answered with what knockers may see", async () => {
      const roomId = await makeRoom(server.ctx, alice, {
        state: [
          { type: "m.room.join_rules", content: { join_rule: "knock" } },
          { type: "m.room.name", content: { name: "Knock here" } },
        ],
      });
      const { body } = await get(peer, `${V1}/make_knock/${enc(roomId)}/${enc(bob)}?ver=11`).expect(200);
      const knock = peer.complete((body as { event: JsonObject }).event, (await server.ctx.roomVersions.get(roomId))!);
      const answer = await peer.ask(server, "put", `${V1}/send_knock/${enc(roomId)}/${enc(knock.eventId)}`, knock.json).expect(200);
      const shown = (answer.body as { knock_room_state: { type: string }[] }).knock_room_state.map(({ type }) => type);
      assert.ok(shown.includes("m.room.name") && shown.includes("m.room.join_rules"));
      const state = await server.ctx.state.current(roomId, [memberKey(bob)]);
      assert.equal(state.get(memberKey(bob))?.membership, "knock");
      const old = await makeRoom(server.ctx, alice, { version: "6" });
      assert.equal((await get(peer, `${V1}/make_knock/${enc(old)}/${enc(bob)}?ver=6`)).status, 403);
    });
  });

  describe("invites", () => {
    let room: PeerRoom;
    beforeEach(() => {
      room = PeerRoom.create(peer, bob);
    });
    const invite = (target: string, more: object = {}) =>
      room.build({ type: "m.room.member", sender: bob, stateKey: target, content: { membership: "invite" }, ...more });
    const put = (event: { eventId: string; json: JsonObject }, body: JsonObject = {}) =>
      peer.ask(server, "put", `/_matrix/federation/v2/invite/${enc(room.roomId)}/${enc(event.eventId)}`, {
        event: event.json,
        room_version: "11",
        invite_room_state: [],
        ...body,
      });

    it("are signed, stored outside of the history, and shown to the user", async () => {
      const dave = await server.register("dave");
      const event = invite(dave.userId);
      const stripped = [{ type: "m.room.name", state_key: "", sender: bob, content: { name: "Come in" } }];
      const answer = await put(event, { invite_room_state: stripped }).expect(200);
      const returned = (answer.body as { event: JsonObject }).event;
      assert.deepEqual(Object.keys(returned.signatures as JsonObject).sort(), [peer.name, server.name].sort());
      const sync = (await server.as(dave).get("/_matrix/client/v3/sync?timeout=0").expect(200)).body as {
        rooms: { invite: Record<string, { invite_state: { events: JsonObject[] } }> };
      };
      const shown = sync.rooms.invite[room.roomId]!.invite_state.events;
      assert.ok(shown.some((one) => one.type === "m.room.name"));
      assert.ok(shown.some((one) => one.type === "m.room.member" && one.state_key === dave.userId));
    });

    it("of rooms of the first versions are signed in the form of the first version of the route", async () => {
      const olga = await server.register("olga");
      const old = PeerRoom.create(peer, bob, "1");
      const event = old.build({ type: "m.room.member", sender: bob, stateKey: olga.userId, content: { membership: "invite" } });
      const { body } = await peer.ask(server, "put", `${V1}/invite/${enc(old.roomId)}/${enc(event.eventId)}`, event.json).expect(200);
      assert.equal(body[0], 200);
      assert.deepEqual(Object.keys((body[1] as { event: { signatures: object } }).event.signatures).sort(), [peer.name, server.name].sort());
      assert.equal((await server.ctx.members.roomsOf(olga.userId)).get(old.roomId)?.membership, "invite");
    });

    it("by address become real ones when a server shows who owns the address now, signed by the key of the invite", async () => {
      const peggy = (await server.register("peggy")).userId;
      const key = signingKeyFromSeed("identity", new Uint8Array(32).fill(5));
      const pending = { type: "m.room.third_party_invite", stateKey: "token", content: { display_name: "f...", public_key: key.base64 } };
      const roomId = await makeRoom(server.ctx, alice, { state: [pending] });
      const exchange = (signed: JsonObject) =>
        peer.ask(server, "put", `${V1}/exchange_third_party_invite/${enc(roomId)}`, {
          type: "m.room.member",
          room_id: roomId,
          sender: alice,
          state_key: peggy,
          content: { membership: "invite", third_party_invite: { signed } },
        });
      const signed = signJson({ mxid: peggy, token: "token" }, "identity.example", key);
      const forged = signJson({ mxid: peggy, token: "token" }, "identity.example", signingKeyFromSeed("identity", new Uint8Array(32).fill(6)));
      assert.equal((await exchange(forged)).status, 403);
      assert.equal((await server.ctx.members.roomsOf(peggy)).get(roomId), undefined);
      await exchange(signed).expect(200, {});
      assert.equal((await server.ctx.members.roomsOf(peggy)).get(roomId)?.membership, "invite");
    });

    it("are never signed for anything but an invite of a local user to that room by the sender's own server (GHSA-22fw-4jq7-g8r8, CVE-2025-68667)", async () => {
      const target = alice;
      const refused: [string, { eventId: string; json: JsonObject }, number?, JsonObject?][] = [
        ["a join", room.build({ type: "m.room.member", sender: bob, stateKey: target, content: { membership: "join" } })],
        ["a message", room.build({ type: "m.room.message", sender: bob, content: { membership: "invite" } })],
        ["power levels", room.build({ type: "m.room.power_levels", sender: bob, stateKey: "", content: { membership: "invite" } })],
        ["a user of another server", invite("@x:elsewhere.example")],
        ["sent by a user of ours", { ...invite(target, { sender: alice }) }],
        ["another room", invite(target, { roomId: "!other:elsewhere.example" })],
        ["an unknown version", invite(target), 400, { room_version: "nope" }],
        ["no signature", { eventId: invite(target).eventId, json: { ...invite(target).json, signatures: {} } }, undefined],
      ];
      for (const [name, event, , body] of refused) {
        const answer = await put(event, body);
        assert.ok(answer.status === 400 || answer.status === 403, `${name}: ${answer.status}`);
        assert.ok(!JSON.stringify(answer.body).includes(server.ctx.signingKeys[0]!.keyId), name);
      }
      const other = await outsider.ask(server, "put", `/_matrix/federation/v2/invite/${enc(room.roomId)}/${enc(invite(target).eventId)}`, {
        event: invite(target).json,
        room_version: "11",
      });
      assert.ok(other.status === 400 || other.status === 403, "sent on by another server");
    });

    it("with room state that is anything at all do not break the user's sync (CVE-2024-52815)", async () => {
      const erin = await server.register("erin");
      const junk = [
        null,
        5,
        [],
        {},
        { type: 5 },
        { type: "m.room.name", state_key: "", sender: bob, content: null },
        { type: "m.room.topic", state_key: "", sender: bob, content: { topic: "fine" } },
      ];
      await put(invite(erin.userId), { invite_room_state: junk as unknown as JsonObject }).expect(200);
      const sync = await server.as(erin).get("/_matrix/client/v3/sync?timeout=0").expect(200);
      assert.ok(JSON.stringify(sync.body).includes("fine"));
      const odd = room.build({
        type: "m.room.member",
        sender: bob,
        stateKey: erin.userId,
        content: { membership: "invite", displayname: { a: 1 }, avatar_url: [] } as JsonObject,
      });
      await put(odd).expect(200);
      await server.as(erin).get("/_matrix/client/v3/sync?timeout=0").expect(200);
    });

    it("cannot hide that somebody is in a room already", async () => {
      const roomId = await makeRoom(server.ctx, alice);
      room = await peer.join(server, roomId, "bob");
      assert.equal((await put(invite(alice))).status, 403);
      assert.equal((await server.ctx.members.roomsOf(alice)).get(roomId)?.membership, "join");
    });

    it("are refused to blocked rooms, and where the user wants none", async () => {
      const { userId: frank, accessToken } = await server.register("frank");
      await server
        .as({ accessToken })
        .put(`/_matrix/client/v3/user/${enc(frank)}/account_data/m.invite_permission_config`, { default_action: "block" })
        .expect(200);
      const answer = await put(invite(frank));
      assert.deepEqual([answer.status, answer.body.errcode], [403, "M_INVITE_BLOCKED"]);
    });

    it("taken back reach the user though this server is not in the room", async () => {
      const { userId: grace } = await server.register("grace");
      const event = invite(grace);
      await put(event).expect(200);
      room.add(event);
      const kick = room.build({ type: "m.room.member", sender: bob, stateKey: grace, content: { membership: "leave" } });
      await peer.send(server, [kick]);
      assert.equal((await server.ctx.members.roomsOf(grace)).get(room.roomId)?.membership, "leave");
    });
  });

  describe("queries", () => {
    it("about profiles and aliases of this server alone", async () => {
      const { accessToken } = await server.register("heidi");
      await server
        .as({ accessToken })
        .put(`/_matrix/client/v3/profile/${enc(`@heidi:${server.name}`)}/displayname`, { displayname: "Heidi" })
        .expect(200);
      const profile = await get(peer, `${V1}/query/profile?user_id=${enc(`@heidi:${server.name}`)}`).expect(200);
      assert.equal(profile.body.displayname, "Heidi");
      assert.equal((await get(peer, `${V1}/query/profile?user_id=${enc("@x:elsewhere.example")}`)).status, 400);
      const roomId = await server.as({ accessToken }).createRoom({ room_alias_name: "heidis" });
      const found = await get(peer, `${V1}/query/directory?room_alias=${enc(`#heidis:${server.name}`)}`).expect(200);
      assert.deepEqual(found.body, { room_id: roomId, servers: [server.name] });
      assert.equal((await get(peer, `${V1}/query/directory?room_alias=${enc("#x:elsewhere.example")}`)).status, 400);
      assert.equal((await get(peer, `${V1}/query/directory?room_alias=${enc(`#none:${server.name}`)}`)).status, 404);
      assert.equal((await get(peer, `${V1}/query/nonsense`)).status, 404);
    });

    it("for files and thumbnails of this server are answered in two parts", async () => {
      const as = server.as(await server.register("zacharias"));
      const picture = await sharp({ create: { width: 200, height: 100, channels: 3, background: "#3366cc" } })
        .png()
        .toBuffer();
      const { body } = await as.request("post", "/_matrix/media/v3/upload").set("Content-Type", "image/png").send(picture).expect(200);
      const mediaId = String(body.content_uri).split("/").at(-1)!;
      for (const path of [`download/${mediaId}`, `thumbnail/${mediaId}?width=32&height=32&method=crop`]) {
        const answer = await get(peer, `${V1}/media/${path}`)
          .buffer(true)
          .parse((response, done) => {
            const chunks: Buffer[] = [];
            response.on("data", (chunk: Buffer) => chunks.push(chunk));
            response.on("end", () => done(null, Buffer.concat(chunks)));
          })
          .expect(200);
        assert.match(answer.headers["content-type"]!, /^multipart\/mixed; boundary=/, path);
        const text = (answer.body as Buffer).toString("latin1");
        assert.match(text, /Content-Type: application\/json\r\n\r\n\{\}\r\n/i, path);
        assert.match(text, /Content-Type: image\/png\r\n/i, path);
      }
      assert.equal((await get(peer, `${V1}/media/thumbnail/none?width=32&height=32`)).status, 404);
    });

    it("about keys and devices of users of other servers are refused (CVE-2023-43796)", async () => {
      const foreign = "@x:elsewhere.example";
      assert.equal((await get(outsider, `${V1}/user/devices/${enc(foreign)}`)).status, 400);
      assert.equal((await outsider.ask(server, "post", `${V1}/user/keys/query`, { device_keys: { [foreign]: [] } })).status, 400);
      assert.equal((await outsider.ask(server, "post", `${V1}/user/keys/claim`, { one_time_keys: { [foreign]: { D: "signed_curve25519" } } })).status, 400);
    });

    it("about devices and keys of users of this server are answered, each one-time key once", async () => {
      const ivan = await server.register("ivan");
      const { userId, deviceId } = ivan;
      const key = signingKeyFromSeed(deviceId, new Uint8Array(32).fill(9));
      const keys = signJson(
        {
          user_id: userId,
          device_id: deviceId,
          algorithms: ["m.olm.v1.curve25519-aes-sha2"],
          keys: { [key.keyId]: key.base64, [`curve25519:${deviceId}`]: "c" },
        },
        userId,
        key,
      );
      const oneTimeKey = { key: "a", signatures: { [userId]: { [key.keyId]: "sig" } } };
      await server
        .as(ivan)
        .post("/_matrix/client/v3/keys/upload", { device_keys: keys, one_time_keys: { "signed_curve25519:A": oneTimeKey } })
        .expect(200);
      const devices = (await get(peer, `${V1}/user/devices/${enc(userId)}`).expect(200)).body as {
        stream_id: number;
        devices: { device_id: string; keys: JsonObject }[];
      };
      assert.deepEqual(
        devices.devices.map(({ device_id }) => device_id),
        [deviceId],
      );
      assert.deepEqual(devices.devices[0]!.keys.keys, keys.keys);
      assert.ok(Number.isInteger(devices.stream_id));
      const claim = () => peer.ask(server, "post", `${V1}/user/keys/claim`, { one_time_keys: { [userId]: { [deviceId]: "signed_curve25519" } } });
      assert.deepEqual((await claim().expect(200)).body, { one_time_keys: { [userId]: { [deviceId]: { "signed_curve25519:A": oneTimeKey } } } });
      assert.deepEqual((await claim().expect(200)).body, { one_time_keys: {} });
      const query = await peer.ask(server, "post", `${V1}/user/keys/query`, { device_keys: { [userId]: [] } }).expect(200);
      assert.deepEqual(Object.keys((query.body as { device_keys: JsonObject }).device_keys[userId] as JsonObject), [deviceId]);
    });

    it("to OpenID tokens tell whose they are", async () => {
      const judy = await server.register("judy");
      const { body } = await server
        .as(judy)
        .post(`/_matrix/client/v3/user/${enc(judy.userId)}/openid/request_token`, {})
        .expect(200);
      const answer = await server.anonymous.get(`${V1}/openid/userinfo?access_token=${(body as { access_token: string }).access_token}`).expect(200);
      assert.deepEqual(answer.body, { sub: judy.userId });
      assert.equal((await server.anonymous.get(`${V1}/openid/userinfo?access_token=nope`)).status, 401);
      assert.equal((await server.anonymous.get(`${V1}/openid/userinfo`)).status, 401);
    });

    it("for media get it with its metadata, and nothing of other servers", async () => {
      const user = await server.register("kim");
      const upload = await server
        .as(user)
        .request("post", "/_matrix/media/v3/upload?filename=a.txt")
        .set("Content-Type", "text/plain")
        .send("hello media")
        .expect(200);
      const mediaId = (upload.body as { content_uri: string }).content_uri.split("/").at(-1)!;
      const answer = await get(peer, `${V1}/media/download/${mediaId}`)
        .buffer(true)
        .parse((res, done) => {
          let text = "";
          res.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
          res.on("end", () => done(null, text));
        });
      assert.equal(answer.status, 200);
      assert.match(answer.headers["content-type"]!, /^multipart\/mixed; boundary=/);
      const text = answer.body as string;
      assert.match(text, /Content-Type: application\/json\r\n\r\n\{\}\r\n/);
      assert.match(text, /Content-Disposition: inline; filename=a\.txt\r\n\r\nhello media\r\n--/);
      for (const bad of ["nothere", "..%2F..%2Fetc%2Fpasswd", "%00"]) assert.equal((await get(peer, `${V1}/media/download/${bad}`)).status >= 400, true, bad);
    });

    it("for the room directory, version, complexity and accounts", async () => {
      const roomId = await makeRoom(server.ctx, alice, { state: [{ type: "m.room.name", content: { name: "Listed" } }] });
      const owner = requesterOf(alice);
      assert.equal((await get(peer, `${V1}/publicRooms`).expect(200)).body.chunk.length, 0);
      await server.ctx.transaction("publish", (txn) => setRoomPublic(txn, roomId, true));
      assert.equal(
        (await peer.ask(server, "post", `${V1}/publicRooms`, { limit: 10, filter: { generic_search_term: "zzz" } }).expect(200)).body.chunk.length,
        0,
      );
      assert.equal((await server.anonymous.get(`${V1}/version`).expect(200)).body.server.name, "Myelin");
      assert.equal(typeof (await get(peer, `/_matrix/federation/unstable/rooms/${enc(roomId)}/complexity`).expect(200)).body.v1, "number");
      const statuses = await peer
        .ask(server, "post", "/_matrix/federation/unstable/org.matrix.msc3720/query/account_status", { user_ids: [owner.userId] })
        .expect(200);
      assert.deepEqual(statuses.body.account_statuses, { [owner.userId]: { exists: true, deactivated: false } });
    });
  });

  /** All peers live on `localhost`, so the ACL must let this server in by its full name. */
  async function denyPeer(roomId: string): Promise<void> {
    await sendEvents(server.ctx, requesterOf(alice), roomId, [
      { type: "m.room.server_acl", stateKey: "", sender: alice, content: { allow: [server.name], deny: [], allow_ip_literals: true } },
    ]);
  }
});
