import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

type Body = Record<string, never> & {
  next_batch: string;
  rooms?: { join?: Record<string, RoomBody>; invite?: Record<string, { invite_state: { events: EventBody[] } }>; leave?: Record<string, RoomBody> };
};
interface EventBody {
  type: string;
  sender: string;
  state_key?: string;
  event_id: string;
  content: Record<string, unknown>;
  unsigned?: Record<string, unknown>;
}
interface RoomBody {
  timeline: { events: EventBody[]; limited: boolean; prev_batch: string };
  state: { events: EventBody[] };
  summary: Record<string, unknown>;
  unread_notifications: { notification_count: number; highlight_count: number };
  unread_thread_notifications?: Record<string, unknown>;
  account_data: { events: EventBody[] };
  ephemeral: { events: EventBody[] };
}

describe("/sync", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let count = 0;
  before(async () => {
    server = await startTestServer();
    alice = await server.register("alice");
    bob = await server.register("bob");
  });
  after(() => server.close());

  const sync = async (user: TestUser, options: { since?: string; filter?: object; timeout?: number; fullState?: boolean } = {}): Promise<Body> => {
    const query = new URLSearchParams({ set_presence: "offline" });
    if (options.since !== undefined) query.set("since", options.since);
    if (options.filter !== undefined) query.set("filter", JSON.stringify(options.filter));
    if (options.timeout !== undefined) query.set("timeout", String(options.timeout));
    if (options.fullState) query.set("full_state", "true");
    return (await server.as(user).get(`/_matrix/client/v3/sync?${query.toString()}`).expect(200)).body as Body;
  };
  const newRoom = async (user: TestUser, body: object = { preset: "public_chat" }): Promise<string> =>
    ((await server.as(user).post("/_matrix/client/v3/createRoom", body).expect(200)).body as { room_id: string }).room_id;
  const path = (roomId: string, rest: string): string => `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${rest}`;
  const send = async (user: TestUser, roomId: string, body: string, more: object = {}): Promise<string> =>
    (
      (
        await server
          .as(user)
          .put(path(roomId, `send/m.room.message/t${++count}`), { msgtype: "m.text", body, ...more })
          .expect(200)
      ).body as { event_id: string }
    ).event_id;
  const setState = (user: TestUser, roomId: string, type: string, content: object): Promise<unknown> =>
    server
      .as(user)
      .put(path(roomId, `state/${type}/`), content)
      .expect(200);
  const join = (user: TestUser, roomId: string): Promise<unknown> => server.as(user).post(path(roomId, "join"), {}).expect(200);
  const bodies = (room: RoomBody | undefined): unknown[] =>
    (room?.timeline.events ?? []).filter((event) => event.type === "m.room.message").map((event) => event.content.body);
  const types = (events: readonly EventBody[]): string[] => events.map((event) => event.type).sort();

  it("gives what is new since the last answer, each event once", async () => {
    const room = await newRoom(alice);
    await join(bob, room);
    let { next_batch: since } = await sync(bob);
    const seen: unknown[] = [];
    for (const text of ["one", "two", "three"]) {
      await send(alice, room, text);
      const answer = await sync(bob, { since });
      seen.push(...bodies(answer.rooms?.join?.[room]));
      assert.equal(answer.rooms?.join?.[room]?.timeline.limited, false);
      since = answer.next_batch;
    }
    assert.deepEqual(seen, ["one", "two", "three"]);
    assert.equal((await sync(bob, { since })).rooms, undefined);
  });

  it("answers a waiting client as soon as something happens", async () => {
    const room = await newRoom(alice);
    await join(bob, room);
    const { next_batch: since } = await sync(bob);
    const waiting = sync(bob, { since, timeout: 10_000 });
    await send(alice, room, "wake up");
    assert.deepEqual(bodies((await waiting).rooms?.join?.[room]), ["wake up"]);
  });

  it("cuts a long timeline, says so, and gives the state that changed in the gap", async () => {
    const room = await newRoom(alice);
    await join(bob, room);
    const { next_batch: since } = await sync(bob);
    await setState(alice, room, "m.room.topic", { topic: "in the gap" });
    for (let i = 0; i < 12; i++) await send(alice, room, `m${i}`);
    const filter = { room: { timeline: { limit: 5 } } };
    const answer = (await sync(bob, { since, filter })).rooms!.join![room]!;
    assert.equal(answer.timeline.limited, true);
    assert.deepEqual(bodies(answer), ["m7", "m8", "m9", "m10", "m11"]);
    assert.deepEqual(types(answer.state.events), ["m.room.topic"]);
    const before = await server
      .as(bob)
      .get(path(room, `messages?dir=b&limit=3&from=${answer.timeline.prev_batch}`))
      .expect(200);
    assert.deepEqual(
      (before.body as { chunk: EventBody[] }).chunk.map((event) => event.content.body),
      ["m6", "m5", "m4"],
    );
  });

  it("repeats no state that the client has, where the timeline shows what became of it", async () => {
    const room = await newRoom(alice);
    await join(bob, room);
    await setState(alice, room, "m.room.topic", { topic: "known" });
    const { next_batch: since } = await sync(bob);
    for (let i = 0; i < 8; i++) await send(alice, room, `m${i}`);
    await setState(alice, room, "m.room.topic", { topic: "new" });
    const answer = (await sync(bob, { since, filter: { room: { timeline: { limit: 3 } } } })).rooms!.join![room]!;
    assert.equal(answer.timeline.limited, true);
    assert.deepEqual(answer.state.events, []);
  });

  it("gives all of a room that was joined and left meanwhile", async () => {
    const room = await newRoom(alice);
    const { next_batch: since } = await sync(bob);
    await join(bob, room);
    await server.as(bob).post(path(room, "leave")).expect(200);
    const answer = (await sync(bob, { since })).rooms!.leave![room]!;
    assert.equal(types(answer.timeline.events)[0], "m.room.create");
    assert.equal(answer.timeline.limited, true);
  });

  it("says in a timeline what a state event replaced", async () => {
    const room = await newRoom(alice, { preset: "public_chat", name: "old" });
    const { next_batch: since } = await sync(alice);
    await setState(alice, room, "m.room.name", { name: "new" });
    const [event] = (await sync(alice, { since })).rooms!.join![room]!.timeline.events;
    assert.deepEqual(event!.unsigned!.prev_content, { name: "old" });
    assert.equal(event!.unsigned!.replaces_state !== undefined, true);
  });

  it("gives the full state of a room that was joined meanwhile", async () => {
    const room = await newRoom(alice, { preset: "public_chat", name: "joined later" });
    for (let i = 0; i < 12; i++) await send(alice, room, `before ${i}`);
    const { next_batch: since } = await sync(bob);
    await join(bob, room);
    const answer = (await sync(bob, { since })).rooms!.join![room]!;
    assert.equal(answer.timeline.limited, true);
    assert.ok(types(answer.state.events).includes("m.room.create"));
    assert.ok(types(answer.state.events).includes("m.room.name"));
  });

  it("shows invites with stripped state, and leaves once", async () => {
    const room = await newRoom(alice, { preset: "private_chat", name: "secret", invite: [bob.userId] });
    const first = await sync(bob);
    const invite = first.rooms!.invite![room]!.invite_state.events;
    assert.ok(types(invite).includes("m.room.name"));
    assert.equal(invite.at(-1)!.state_key, bob.userId);
    await join(bob, room);
    const joined = await sync(bob, { since: first.next_batch });
    assert.ok(joined.rooms!.join![room] !== undefined);
    await server.as(bob).post(path(room, "leave"), {}).expect(200);
    await send(alice, room, "after the leave");
    const left = await sync(bob, { since: joined.next_batch });
    assert.deepEqual(bodies(left.rooms!.leave![room]), []);
    assert.equal(left.rooms!.leave![room]!.timeline.events.at(-1)!.content.membership, "leave");
    assert.equal((await sync(bob, { since: left.next_batch })).rooms?.leave, undefined);
  });

  it("loads members lazily: senders only, and none twice", async () => {
    const room = await newRoom(alice, { preset: "public_chat", name: "no heroes needed" });
    const people = await Promise.all(["m1", "m2", "m3"].map((name) => server.register(`lazy-${name}`)));
    for (const person of people) await join(person, room);
    await join(bob, room);
    const filter = { room: { state: { lazy_load_members: true }, timeline: { limit: 1 } } };
    for (let i = 0; i < 3; i++) await send(alice, room, `filler ${i}`);
    await send(people[0]!, room, "hello");
    const first = await sync(bob, { filter });
    const members = (events: readonly EventBody[]): (string | undefined)[] =>
      events
        .filter((event) => event.type === "m.room.member")
        .map((event) => event.state_key)
        .sort();
    assert.deepEqual(members(first.rooms!.join![room]!.state.events), [bob.userId, people[0]!.userId].sort());
    assert.equal(first.rooms!.join![room]!.summary["m.joined_member_count"], 5);
    await send(people[0]!, room, "again");
    const second = await sync(bob, { filter, since: first.next_batch });
    assert.deepEqual(members(second.rooms!.join![room]!.state.events), []);
    await send(people[1]!, room, "me too");
    const third = await sync(bob, { filter, since: second.next_batch });
    assert.deepEqual(members(third.rooms!.join![room]!.state.events), [people[1]!.userId]);
  });

  it("counts what is unread, and forgets it with a receipt", async () => {
    const room = await newRoom(alice, { preset: "trusted_private_chat", invite: [bob.userId], is_direct: true });
    await join(bob, room);
    let { next_batch: since } = await sync(bob);
    const counts = async (): Promise<unknown> => {
      const answer = await sync(bob, { since });
      since = answer.next_batch;
      return answer.rooms?.join?.[room]?.unread_notifications;
    };
    await send(alice, room, "one");
    assert.deepEqual(await counts(), { notification_count: 1, highlight_count: 0 });
    const last = await send(alice, room, "two, bob");
    assert.deepEqual(await counts(), { notification_count: 2, highlight_count: 1 });
    await server
      .as(bob)
      .post(path(room, `receipt/m.read/${encodeURIComponent(last)}`), {})
      .expect(200);
    assert.deepEqual(await counts(), { notification_count: 0, highlight_count: 0 });
    const gone = await send(alice, room, "three");
    assert.deepEqual(await counts(), { notification_count: 1, highlight_count: 0 });
    await server
      .as(alice)
      .put(path(room, `redact/${encodeURIComponent(gone)}/r1`), {})
      .expect(200);
    assert.deepEqual(await counts(), { notification_count: 0, highlight_count: 0 });
  });

  it("leaves out rooms and events that the filter does not want", async () => {
    const [wanted, unwanted] = [await newRoom(alice), await newRoom(alice)];
    await send(alice, wanted, "seen");
    const filter = {
      room: { not_rooms: [unwanted], timeline: { types: ["m.room.message"] }, state: { types: [] } },
      presence: { types: [] },
      account_data: { not_types: ["*"] },
    };
    const answer = await sync(alice, { filter });
    assert.equal(answer.rooms!.join![unwanted], undefined);
    assert.deepEqual(bodies(answer.rooms!.join![wanted]), ["seen"]);
    assert.deepEqual(answer.rooms!.join![wanted]!.state.events, []);
    assert.equal((answer as Record<string, unknown>).account_data, undefined);
  });

  it("asks the database nothing when a known room has one new message", async () => {
    const room = await newRoom(alice);
    await join(bob, room);
    const first = await sync(bob);
    await send(alice, room, "warm");
    const { next_batch: since } = await sync(bob, { since: first.next_batch });
    await send(alice, room, "cheap");
    const statements: string[] = [];
    const stop = server.ctx.db.observe(({ sql }) => statements.push(sql));
    assert.deepEqual(bodies((await sync(bob, { since })).rooms!.join![room]), ["cheap"]);
    stop();
    assert.deepEqual(statements, []);
  });

  it("refuses tokens and filters that are none", async () => {
    const refused = async (query: string): Promise<unknown> => (await server.as(alice).get(`/_matrix/client/v3/sync?${query}`).expect(400)).body.errcode;
    for (const since of ["x", "s1_2_x", "s1_".repeat(20), "t1", "s99999999999999999999"]) assert.equal(await refused(`since=${since}`), "M_UNKNOWN", since);
    assert.equal(await refused("filter={"), "M_NOT_JSON");
    assert.equal(await refused("filter=12345"), "M_INVALID_PARAM");
    assert.equal(await refused("timeout=x"), "M_INVALID_PARAM");
  });
});

describe("/sync with sticky events (MSC4354)", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let roomId: string;
  before(async () => {
    server = await startTestServer({ config: { experimental_features: { msc4354_enabled: true } } });
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
    const { body } = await server
      .as(alice)
      .post("/_matrix/client/v3/createRoom", {
        preset: "public_chat",
        initial_state: [{ type: "m.room.history_visibility", state_key: "", content: { history_visibility: "joined" } }],
      })
      .expect(200);
    roomId = body.room_id;
  });
  after(() => server.close());

  const path = (rest: string): string => `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${rest}`;
  let count = 0;
  const send = async (body: string, sticky = ""): Promise<string> =>
    (
      await server
        .as(alice)
        .put(path(`send/m.room.message/t${++count}${sticky}`), { msgtype: "m.text", body })
        .expect(200)
    ).body.event_id;
  const sync = async (user: TestUser, since?: string, limit = 2) => {
    const filter = encodeURIComponent(JSON.stringify({ room: { timeline: { limit } } }));
    const { body } = await server
      .as(user)
      .get(`/_matrix/client/v3/sync?set_presence=offline&filter=${filter}${since === undefined ? "" : `&since=${since}`}`)
      .expect(200);
    return { since: body.next_batch as string, sticky: body.rooms?.join?.[roomId]?.msc4354_sticky?.events as EventBody[] | undefined };
  };

  it("shows who joined what is still sticky and not in the timeline, whatever the history visibility, once", async () => {
    const sticky = await send("sticky", "?org.matrix.msc4354.sticky_duration_ms=600000");
    await send("over soon", "?org.matrix.msc4354.sticky_duration_ms=1");
    for (let i = 0; i < 4; i++) await send(`m${i}`);
    await server.as(bob).post(path("join"), {}).expect(200);
    const first = await sync(bob);
    assert.deepEqual(
      first.sticky?.map((event) => event.event_id),
      [sticky],
    );
    assert.ok(Number(first.sticky![0]!.unsigned!.msc4354_sticky_duration_ttl_ms) > 0);
    assert.equal((await sync(bob, first.since)).sticky, undefined);

    const shown = await send("in the timeline", "?org.matrix.msc4354.sticky_duration_ms=600000");
    const second = await sync(bob, first.since);
    assert.equal(second.sticky, undefined);
    const behind = await send("before the gap", "?org.matrix.msc4354.sticky_duration_ms=600000");
    for (let i = 0; i < 4; i++) await send(`n${i}`);
    assert.deepEqual(
      (await sync(bob, second.since)).sticky?.map((event) => event.event_id),
      [behind],
    );
    assert.deepEqual(
      (await sync(alice)).sticky?.map((event) => event.event_id),
      [sticky, shown, behind],
    );
  });

  it("goes on with the next answer where there are more than 100", async () => {
    const { since } = await sync(bob);
    await Promise.all(Array.from({ length: 105 }, (_, index) => send(`many ${index}`, "?org.matrix.msc4354.sticky_duration_ms=600000")));
    const first = await sync(bob, since);
    assert.equal(first.sticky?.length, 100);
    const rest = await sync(bob, first.since);
    assert.ok(rest.sticky !== undefined && rest.sticky.length >= 3, "the rest comes, but for what was in the timeline");
    assert.equal((await sync(bob, rest.since)).sticky, undefined);
  });
});
