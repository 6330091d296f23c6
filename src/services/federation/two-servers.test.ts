import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { execute, query } from "../../storage/database.ts";
import { eventually } from "../../testing/eventually.ts";
import { startFederatedServer, type FederatedTestServer } from "../../testing/federated-server.ts";
import type { TestUser } from "../../testing/server.ts";

type Body = Record<string, unknown>;

/** Waits until `fn` gives something. */
describe("two servers that federate", () => {
  let one: FederatedTestServer;
  let two: FederatedTestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async function () {
    this.timeout(20_000);
    const options = { config: { allow_public_rooms_over_federation: true, room_list_publication_rules: [{ action: "allow" }] } };
    [one, two] = await Promise.all([startFederatedServer(options), startFederatedServer(options)]);
    [alice, bob] = await Promise.all([one.register("alice"), two.register("bob")]);
  });
  after(async () => {
    await Promise.all([one?.close(), two?.close()]);
  });

  const createRoom = (version: string, options: Body = {}): Promise<string> =>
    one.as(alice).createRoom({ room_version: version, preset: "public_chat", ...options });
  const join = (roomId: string) => two.as(bob).post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?server_name=${one.name}`);
  let txn = 0;
  const send = (server: FederatedTestServer, user: TestUser, roomId: string, body: string): Promise<string> => server.as(user).send(roomId, body);
  const has = (server: FederatedTestServer, user: TestUser, roomId: string, eventId: string) =>
    eventually(`event ${eventId} at ${server.name}`, async () => {
      const answer = await server.as(user).get(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(eventId)}`);
      return answer.status === 200 ? (answer.body as Body) : undefined;
    });

  for (const version of ["1", "3", "6", "10", "11", "12"]) {
    it(`join a room of version ${version}, write both ways, and agree about its state`, async function () {
      this.timeout(15_000);
      const roomId = await createRoom(version);
      await join(roomId).expect(200);
      const first = await send(one, alice, roomId, "hello from one");
      await has(two, bob, roomId, first);
      const second = await send(two, bob, roomId, "hello from two");
      await has(one, alice, roomId, second);
      const ids = async (server: FederatedTestServer) => [...(await server.ctx.state.currentIds(roomId))].sort();
      assert.deepEqual(await ids(one), await ids(two));
      const heads = async (server: FederatedTestServer) => [...(await server.ctx.persister.head(roomId)).storedTips.keys()];
      assert.deepEqual(await heads(one), await heads(two));
    });
  }

  const roomPath = (roomId: string, rest: string): string => `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${rest}`;
  const sync = async (
    server: FederatedTestServer,
    user: TestUser,
    since?: string,
  ): Promise<Body & { next_batch: string; rooms: Record<string, Record<string, Body>> }> =>
    (
      await server
        .as(user)
        .get(`/_matrix/client/v3/sync?timeout=0${since === undefined ? "" : `&since=${since}`}`)
        .expect(200)
    ).body;
  const membershipAt = async (server: FederatedTestServer, roomId: string, userId: string): Promise<string | undefined> =>
    (await server.ctx.state.currentEvent(roomId, "m.room.member", userId))?.membership;
  const sharedRoom = async (): Promise<string> => {
    const roomId = await createRoom("11");
    await join(roomId).expect(200);
    return roomId;
  };

  describe("memberships", () => {
    it("are offered by invites, which may be taken or rejected", async () => {
      const roomId = await createRoom("11", { preset: "private_chat" });
      await one.as(alice).post(roomPath(roomId, "invite"), { user_id: bob.userId }).expect(200);
      const invited = await sync(two, bob);
      const stripped = (invited.rooms.invite![roomId] as { invite_state: { events: Body[] } }).invite_state.events;
      assert.ok(stripped.some((event) => event.type === "m.room.create"));
      await two.as(bob).post(roomPath(roomId, "join")).expect(200);
      await eventually("join", async () => (await membershipAt(one, roomId, bob.userId)) === "join");

      const other = await createRoom("10", { preset: "private_chat" });
      await one.as(alice).post(roomPath(other, "invite"), { user_id: bob.userId }).expect(200);
      await two.as(bob).post(roomPath(other, "leave")).expect(200);
      await eventually("rejection", async () => (await membershipAt(one, other, bob.userId)) === "leave");
      assert.equal((await two.ctx.members.roomsOf(bob.userId)).get(other)?.membership, "leave");
    });

    it("that are invites can be taken back, and rejected though the inviter is gone", async () => {
      const roomId = await createRoom("11", { preset: "private_chat" });
      await one.as(alice).post(roomPath(roomId, "invite"), { user_id: bob.userId }).expect(200);
      await one.as(alice).post(roomPath(roomId, "kick"), { user_id: bob.userId }).expect(200);
      await eventually("withdrawal", async () => (await two.ctx.members.roomsOf(bob.userId)).get(roomId)?.membership === "leave");

      const other = await createRoom("11", { preset: "private_chat" });
      await one.as(alice).post(roomPath(other, "invite"), { user_id: bob.userId }).expect(200);
      await one.unplug();
      await two.as(bob).post(roomPath(other, "leave")).expect(200);
      assert.equal((await two.ctx.members.roomsOf(bob.userId)).get(other)?.membership, "leave");
      await one.plugIn();
      await two.ctx.backoff.reset(one.name);
    });

    it("end by leaving, and begin again", async () => {
      const roomId = await sharedRoom();
      await two.as(bob).post(roomPath(roomId, "leave")).expect(200);
      await eventually("leave", async () => (await membershipAt(one, roomId, bob.userId)) === "leave");
      await send(one, alice, roomId, "while bob was away");
      await join(roomId).expect(200);
      await has(one, alice, roomId, await send(two, bob, roomId, "back"));
      await has(two, bob, roomId, await send(one, alice, roomId, "welcome"));
      assert.equal(await membershipAt(two, roomId, alice.userId), "join");
    });

    it("are asked for by knocks", async () => {
      const roomId = await createRoom("11", {
        preset: "private_chat",
        initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } }],
      });
      await two
        .as(bob)
        .post(`/_matrix/client/v3/knock/${encodeURIComponent(roomId)}?server_name=${one.name}`, { reason: "please" })
        .expect(200);
      assert.equal(await membershipAt(one, roomId, bob.userId), "knock");
      const knocked = (await sync(two, bob)).rooms.knock?.[roomId] as { knock_state: { events: Body[] } };
      assert.ok(knocked.knock_state.events.some((event) => event.type === "m.room.create"));
      await one.as(alice).post(roomPath(roomId, "invite"), { user_id: bob.userId }).expect(200);
      await two.as(bob).post(roomPath(roomId, "join")).expect(200);
    });

    it("in restricted rooms need a server that vouches", async () => {
      const space = await sharedRoom();
      const rules = { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: space }] };
      const roomId = await createRoom("11", { preset: "private_chat", initial_state: [{ type: "m.room.join_rules", state_key: "", content: rules }] });
      await join(roomId).expect(200);
      const event = await one.ctx.state.currentEvent(roomId, "m.room.member", bob.userId);
      assert.equal(event?.content.join_authorised_via_users_server, alice.userId);

      // A second user of the same server: nobody there may let them in, so the other server is asked again.
      const carol = await two.register("carol");
      const refused = await two.as(carol).post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?server_name=${one.name}`);
      assert.equal(refused.status, 403);
      await two
        .as(carol)
        .post(`/_matrix/client/v3/join/${encodeURIComponent(space)}?server_name=${one.name}`)
        .expect(200);
      await eventually("join of the space", async () => (await membershipAt(one, space, carol.userId)) === "join");
      await two
        .as(carol)
        .post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?server_name=${one.name}`)
        .expect(200);
      await eventually(
        "join at both",
        async () => (await membershipAt(one, roomId, carol.userId)) === "join" && (await membershipAt(two, roomId, carol.userId)) === "join",
      );
    });

    it("that are refused are refused in the other server's words, but log nobody out", async () => {
      const roomId = await createRoom("11", { preset: "private_chat" });
      const { status, body } = await join(roomId);
      assert.equal(status, 403);
      assert.equal(body.errcode, "M_FORBIDDEN");
    });

    it("of two users who join at once come through one join of the room", async () => {
      const roomId = await createRoom("11");
      const [dave, erin] = await Promise.all([two.register("dave"), two.register("erin")]);
      const path = `/_matrix/client/v3/join/${encodeURIComponent(roomId)}?server_name=${one.name}`;
      await Promise.all([two.as(dave).post(path).expect(200), two.as(erin).post(path).expect(200)]);
      await eventually("both", async () => (await one.ctx.members.joined(roomId)).has(dave.userId) && (await one.ctx.members.joined(roomId)).has(erin.userId));
    });
  });

  it("tell redactions", async () => {
    const roomId = await sharedRoom();
    const eventId = await send(two, bob, roomId, "oops");
    await has(one, alice, roomId, eventId);
    await two
      .as(bob)
      .put(roomPath(roomId, `redact/${encodeURIComponent(eventId)}/${txn++}`), {})
      .expect(200);
    await eventually("redaction", async () => Object.keys((await one.ctx.events.one(eventId))?.content ?? { x: 1 }).length === 0);
  });

  it("tell typing, receipts and presence", async () => {
    const roomId = await sharedRoom();
    const eventId = await send(one, alice, roomId, "read me");
    await has(two, bob, roomId, eventId);
    await two
      .as(bob)
      .put(roomPath(roomId, `typing/${encodeURIComponent(bob.userId)}`), { typing: true, timeout: 20_000 })
      .expect(200);
    await two
      .as(bob)
      .post(roomPath(roomId, `receipt/m.read/${encodeURIComponent(eventId)}`))
      .expect(200);
    await two
      .as(bob)
      .put(`/_matrix/client/v3/presence/${encodeURIComponent(bob.userId)}/status`, { presence: "online", status_msg: "federating" })
      .expect(200);
    await eventually("typing and receipt", async () => {
      const events = ((await sync(one, alice)).rooms.join![roomId] as { ephemeral: { events: Body[] } }).ephemeral.events;
      return (
        events.some((event) => event.type === "m.typing" && JSON.stringify(event).includes(bob.userId)) &&
        events.some((event) => event.type === "m.receipt" && JSON.stringify(event).includes(bob.userId))
      );
    });
    await eventually(
      "presence",
      async () => (await one.as(alice).get(`/_matrix/client/v3/presence/${encodeURIComponent(bob.userId)}/status`)).body.status_msg === "federating",
    );
  });

  it("carry to-device messages, device lists and keys", async () => {
    await sharedRoom();
    const keys = (user: TestUser): Body => ({
      device_keys: {
        user_id: user.userId,
        device_id: user.deviceId,
        algorithms: ["m.olm.v1"],
        keys: { [`ed25519:${user.deviceId}`]: "a".repeat(43) },
        signatures: {},
      },
      one_time_keys: { "signed_curve25519:AAAA": { key: "b".repeat(43), signatures: {} } },
    });
    const since = (await sync(one, alice)).next_batch;
    await two.as(bob).post("/_matrix/client/v3/keys/upload", keys(bob)).expect(200);
    await eventually("changed device list", async () =>
      ((await sync(one, alice, since)).device_lists as { changed: string[] } | undefined)?.changed.includes(bob.userId),
    );
    const found = await one
      .as(alice)
      .post("/_matrix/client/v3/keys/query", { device_keys: { [bob.userId]: [] } })
      .expect(200);
    assert.deepEqual(found.body.failures, {});
    assert.equal(found.body.device_keys[bob.userId][bob.deviceId].device_id, bob.deviceId);
    const claimed = await one
      .as(alice)
      .post("/_matrix/client/v3/keys/claim", { one_time_keys: { [bob.userId]: { [bob.deviceId]: "signed_curve25519" } } })
      .expect(200);
    assert.ok(claimed.body.one_time_keys[bob.userId][bob.deviceId]["signed_curve25519:AAAA"]);
    await one
      .as(alice)
      .put(`/_matrix/client/v3/sendToDevice/m.test/${txn++}`, { messages: { [bob.userId]: { [bob.deviceId]: { hello: 1 } } } })
      .expect(200);
    await eventually("to-device message", async () =>
      ((await sync(two, bob)).to_device as { events: Body[] } | undefined)?.events.some((event) => event.type === "m.test" && event.sender === alice.userId),
    );
  });

  it("find each other's aliases, directories, profiles and spaces", async () => {
    const { body } = await one
      .as(alice)
      .post("/_matrix/client/v3/createRoom", {
        preset: "public_chat",
        visibility: "public",
        room_alias_name: "agora",
        name: "Agora",
        creation_content: { type: "m.space" },
      })
      .expect(200);
    const alias = `#agora:${one.name}`;
    const directory = await two
      .as(bob)
      .get(`/_matrix/client/v3/directory/room/${encodeURIComponent(alias)}`)
      .expect(200);
    assert.equal(directory.body.room_id, body.room_id);
    await two
      .as(bob)
      .get(`/_matrix/client/v3/directory/room/${encodeURIComponent(`#nowhere:${one.name}`)}`)
      .expect(404);
    await one.server.followers.runOnce();
    const list = await two.as(bob).get(`/_matrix/client/v3/publicRooms?server=${one.name}`).expect(200);
    assert.ok(list.body.chunk.some((room: Body) => room.room_id === body.room_id));
    const filtered = await two
      .as(bob)
      .post(`/_matrix/client/v3/publicRooms?server=${one.name}`, { filter: { generic_search_term: "nothing like it" } })
      .expect(200);
    assert.deepEqual(filtered.body.chunk, []);
    await one
      .as(alice)
      .put(`/_matrix/client/v3/profile/${encodeURIComponent(alice.userId)}/displayname`, { displayname: "Alice of One" })
      .expect(200);
    const profile = await two
      .as(bob)
      .get(`/_matrix/client/v3/profile/${encodeURIComponent(alice.userId)}`)
      .expect(200);
    assert.equal(profile.body.displayname, "Alice of One");
    await two
      .as(bob)
      .get(`/_matrix/client/v3/profile/${encodeURIComponent(`@nobody:${one.name}`)}`)
      .expect(404);
    const summary = await two
      .as(bob)
      .get(`/_matrix/client/v1/room_summary/${encodeURIComponent(body.room_id)}?via=${one.name}`)
      .expect(200);
    assert.equal(summary.body.name, "Agora");
    await two
      .as(bob)
      .post(`/_matrix/client/v3/join/${encodeURIComponent(alias)}`)
      .expect(200);
    const hierarchy = await two
      .as(bob)
      .get(`/_matrix/client/v1/rooms/${encodeURIComponent(body.room_id)}/hierarchy`)
      .expect(200);
    assert.equal(hierarchy.body.rooms[0].room_id, body.room_id);
  });

  it("give each other media", async () => {
    const upload = await one
      .as(alice)
      .request("post", "/_matrix/media/v3/upload?filename=note.txt")
      .set("Content-Type", "text/plain")
      .send("media across servers")
      .expect(200);
    const mediaId = (upload.body.content_uri as string).split("/").at(-1)!;
    const path = `/_matrix/client/v1/media/download/${one.name}/${mediaId}`;
    const [first, second] = await Promise.all([two.as(bob).get(path).expect(200), two.as(bob).get(path).expect(200)]);
    assert.equal(first.text, "media across servers");
    assert.equal(second.text, first.text);
    assert.match(first.headers["content-disposition"]!, /note\.txt/);
    await two.as(bob).get(`/_matrix/client/v1/media/download/${one.name}/doesnotexist`).expect(404);
  });

  it("fetch history that one of them was not there for", async function () {
    this.timeout(15_000);
    const roomId = await createRoom("11");
    const old: string[] = [];
    for (let i = 0; i < 30; i++) old.push(await send(one, alice, roomId, `old ${i}`));
    await join(roomId).expect(200);
    const seen: string[] = [];
    let from: string | undefined;
    for (let page = 0; page < 10; page++) {
      const { body } = await two
        .as(bob)
        .get(roomPath(roomId, `messages?dir=b&limit=10${from === undefined ? "" : `&from=${from}`}`))
        .expect(200);
      seen.push(...(body.chunk as { event_id: string }[]).map((event) => event.event_id));
      from = body.end;
      if (from === undefined) break;
    }
    assert.deepEqual(
      old.filter((id) => !seen.includes(id)),
      [],
    );
    const { body } = await two
      .as(bob)
      .get(`/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/timestamp_to_event?ts=0&dir=f`)
      .expect(200);
    assert.equal((await two.ctx.events.one(body.event_id))?.type, "m.room.create");
  });

  it("catch up after one of them was away", async function () {
    this.timeout(20_000);
    const roomId = await sharedRoom();
    const other = await sharedRoom();
    await has(two, bob, roomId, await send(one, alice, roomId, "before"));
    await two.unplug();
    const missed = [await send(one, alice, roomId, "missed 1"), await send(one, alice, roomId, "missed 2"), await send(one, alice, other, "missed 3")];
    await one
      .as(alice)
      .put(`/_matrix/client/v3/sendToDevice/m.missed/${txn++}`, { messages: { [bob.userId]: { "*": {} } } })
      .expect(200);
    await eventually("a failure", async () => (await one.ctx.backoff.interval(two.name)) > 0);
    await two.plugIn();
    await one.ctx.backoff.reset(two.name);
    await has(two, bob, roomId, missed[0]!);
    await has(two, bob, roomId, missed[1]!);
    await has(two, bob, other, missed[2]!);
    await eventually("to-device message", async () =>
      ((await sync(two, bob)).to_device as { events: Body[] } | undefined)?.events.some((event) => event.type === "m.missed"),
    );
  });

  it("complete rooms that Synapse joined with partial state and left so", async () => {
    const roomId = await createRoom("11");
    const frank = await one.register("frank");
    await one
      .as(frank)
      .post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}`)
      .expect(200);
    await join(roomId).expect(200);

    // As after a join that omitted members: frank is missing from the state at the join, and from the current one.
    const { ctx } = two;
    const joinId = (await ctx.state.currentIds(roomId)).get(`m.room.member\u0000${bob.userId}`)!;
    await two.database.database.transaction("mutilate", async (txn) => {
      await execute(txn, "DELETE FROM state_groups_state WHERE room_id = $1 AND state_key = $2", [roomId, frank.userId]);
      await execute(txn, "DELETE FROM current_state_events WHERE room_id = $1 AND state_key = $2", [roomId, frank.userId]);
      await execute(txn, "INSERT INTO partial_state_rooms (room_id, joined_via, join_event_id) VALUES ($1, $2, $3)", [roomId, one.name, joinId]);
      await execute(txn, "INSERT INTO partial_state_rooms_servers (room_id, server_name) VALUES ($1, $2)", [roomId, one.name]);
      await execute(txn, "INSERT INTO partial_state_events (room_id, event_id) VALUES ($1, $2)", [roomId, joinId]);
    });
    ctx.partialRooms.forget();
    ctx.state.forgetGroups();
    ctx.state.forgetRoom(roomId);
    ctx.members.forgetRoom(roomId);
    ctx.persister.forgetRoom(roomId);
    await ctx.roomCompletion.holdRooms(ctx);
    assert.equal((await ctx.members.joined(roomId)).has(frank.userId), false);
    const meanwhile = await send(two, bob, roomId, "while the state is partial");
    await has(one, alice, roomId, meanwhile);
    const partial = await query<{ event_id: string }>(ctx.read, "SELECT event_id FROM partial_state_events WHERE room_id = $1", [roomId]);
    assert.deepEqual(partial.map((row) => row.event_id).sort(), [joinId, meanwhile].sort());
    const waiting = await send(one, alice, roomId, "waits");

    await two.server.jobs.runOnce("sync_partial_state_room");
    assert.equal((await ctx.members.joined(roomId)).has(frank.userId), true);
    for (const table of ["partial_state_rooms", "partial_state_rooms_servers", "partial_state_events"])
      assert.deepEqual(await query(ctx.read, `SELECT * FROM ${table}`), [], table);
    assert.equal((await query(ctx.read, "SELECT * FROM un_partial_stated_room_stream WHERE room_id = $1", [roomId])).length, 1);
    assert.equal((await query(ctx.read, "SELECT * FROM un_partial_stated_event_stream WHERE event_id = ANY($1)", [[joinId, meanwhile]])).length, 2);
    const states = await ctx.state.afterEvents([joinId, meanwhile]);
    for (const id of [joinId, meanwhile]) assert.ok(states.get(id)?.has(`m.room.member\u0000${frank.userId}`));
    await has(two, bob, roomId, waiting);
    const ids = async (server: FederatedTestServer) => [...(await server.ctx.state.currentIds(roomId))].sort();
    assert.deepEqual(await ids(one), await ids(two));
  });
});
