import assert from "node:assert/strict";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V1 = "/_matrix/client/v1";
const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;
type Event = { event_id: string; type: string; sender: string; content: Record<string, any>; unsigned?: Record<string, any> };

describe("relations between events", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let roomId: string;

  before(async () => {
    server = await startTestServer();
    [alice, bob] = (await Promise.all(["alice", "bob"].map((name) => server.register(name)))) as [TestUser, TestUser];
    roomId = (await server.as(alice).post(`${V3}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id;
    await server
      .as(bob)
      .post(`${V3}/rooms/${id(roomId)}/join`)
      .expect(200);
  });
  after(() => server.close());

  let txn = 0;
  const send = async (user: TestUser, content: object, type = "m.room.message"): Promise<string> =>
    (
      await server
        .as(user)
        .put(`${V3}/rooms/${id(roomId)}/send/${type}/${txn++}`, content)
        .expect(200)
    ).body.event_id;
  const text = (body: string, relation?: object): object => ({ msgtype: "m.text", body, ...(relation === undefined ? {} : { "m.relates_to": relation }) });
  const edit = (target: string, body: string): object => ({ ...text(`* ${body}`, { rel_type: "m.replace", event_id: target }), "m.new_content": text(body) });
  const inThread = (root: string, body: string): object => text(body, { rel_type: "m.thread", event_id: root });
  const react = (user: TestUser, target: string, key: string): Promise<string> =>
    send(user, { "m.relates_to": { rel_type: "m.annotation", event_id: target, key } }, "m.reaction");
  const redact = (user: TestUser, eventId: string) =>
    server
      .as(user)
      .put(`${V3}/rooms/${id(roomId)}/redact/${id(eventId)}/${txn++}`, {})
      .expect(200);
  const fetch = async (user: TestUser, eventId: string): Promise<Event> =>
    (
      await server
        .as(user)
        .get(`${V3}/rooms/${id(roomId)}/event/${id(eventId)}`)
        .expect(200)
    ).body;
  const relations = async (
    user: TestUser,
    parent: string,
    rest = "",
  ): Promise<{ chunk: Event[]; next_batch?: string; prev_batch?: string; recursion_depth?: number }> =>
    (
      await server
        .as(user)
        .get(`${V1}/rooms/${id(roomId)}/relations/${id(parent)}${rest}`)
        .expect(200)
    ).body;
  const ids = (events: readonly Event[]): string[] => events.map((event) => event.event_id);

  it("are listed newest first, page by page, and the other way round", async () => {
    const root = await send(alice, text("root"));
    const replies: string[] = [];
    for (let n = 0; n < 7; n++) replies.push(await send(bob, inThread(root, `reply ${n}`)));
    const newest = replies.toReversed();

    const first = await relations(alice, root, "?limit=3");
    assert.deepEqual(ids(first.chunk), newest.slice(0, 3));
    const second = await relations(alice, root, `?limit=3&from=${first.next_batch!}`);
    assert.deepEqual(ids(second.chunk), newest.slice(3, 6));
    assert.equal(second.prev_batch, first.next_batch);
    const third = await relations(alice, root, `?limit=3&from=${second.next_batch!}`);
    assert.deepEqual(ids(third.chunk), newest.slice(6));
    assert.equal(third.next_batch, undefined);

    const forwards: string[] = [];
    for (let from: string | undefined = ""; from !== undefined;) {
      const page = await relations(alice, root, `?limit=2&dir=f${from === "" ? "" : `&from=${from}`}`);
      forwards.push(...ids(page.chunk));
      from = page.next_batch;
    }
    assert.deepEqual(forwards, replies);
    assert.equal((await relations(alice, root)).chunk.length, 5, "five without a limit");
  });

  it("are chosen by kind and by type", async () => {
    const root = await send(alice, text("root"));
    const reaction = await react(bob, root, "👍");
    const reply = await send(bob, inThread(root, "reply"));
    assert.deepEqual(ids((await relations(alice, root)).chunk), [reply, reaction]);
    assert.deepEqual(ids((await relations(alice, root, "/m.annotation")).chunk), [reaction]);
    assert.deepEqual(ids((await relations(alice, root, "/m.thread/m.room.message")).chunk), [reply]);
    assert.deepEqual(ids((await relations(alice, root, "/m.thread/m.reaction")).chunk), []);
  });

  it("of relations come along with recurse, deeper than the three levels promised but not without end", async () => {
    const chain = [await send(alice, text("root"))];
    for (let depth = 0; depth < 7; depth++) chain.push(await send(bob, text(`level ${depth}`, { rel_type: "m.reference", event_id: chain.at(-1)! })));
    const found = await relations(alice, chain[0]!, "?recurse=true&dir=f&limit=10");
    assert.deepEqual(ids(found.chunk), chain.slice(1, 6), "five, as Synapse");
    assert.equal(found.recursion_depth, 3);
    assert.equal((await relations(alice, chain[0]!)).recursion_depth, undefined);
  });

  it("to an event that is not there, or in another room, are not found", async () => {
    const other = (await server.as(alice).post(`${V3}/createRoom`).expect(200)).body.room_id;
    const elsewhere = (
      await server
        .as(alice)
        .put(`${V3}/rooms/${id(other)}/send/m.room.message/x`, text("x"))
        .expect(200)
    ).body.event_id;
    for (const parent of ["$nothing", elsewhere]) {
      const { status } = await server.as(alice).get(`${V1}/rooms/${id(roomId)}/relations/${id(parent)}`);
      assert.equal(status, 404);
    }
    assert.equal((await server.as(bob).get(`${V1}/rooms/${id(other)}/relations/${id(elsewhere)}`)).status, 403);
  });

  it("an event carries its newest edit by the same sender and type, and keeps its own content", async () => {
    const original = await send(alice, text("one"));
    await send(alice, edit(original, "two"));
    const last = await send(alice, edit(original, "three"));
    await send(bob, edit(original, "not mine to edit"));
    const event = await fetch(bob, original);
    assert.equal(event.unsigned?.["m.relations"]["m.replace"].event_id, last);
    assert.equal(event.unsigned?.["m.relations"]["m.replace"].content["m.new_content"].body, "three");
    assert.equal(event.content.body, "one");
    await redact(alice, last);
    assert.equal((await fetch(bob, original)).unsigned?.["m.relations"]["m.replace"].content["m.new_content"].body, "two", "a redacted edit does not count");
  });

  it("a redacted event carries no edit and no summary, and its edits are listed no more", async () => {
    const original = await send(alice, text("one"));
    await send(alice, edit(original, "two"));
    const reference = await send(bob, text("see", { rel_type: "m.reference", event_id: original }));
    await redact(alice, original);
    const event = await fetch(bob, original);
    assert.deepEqual(event.content, {});
    assert.equal(event.unsigned?.["m.relations"]?.["m.replace"], undefined);
    assert.deepEqual(ids((await relations(bob, original)).chunk), [reference]);
  });

  it("an event carries the references to it, oldest first", async () => {
    const target = await send(alice, text("target"));
    const references = [
      await send(bob, text("a", { rel_type: "m.reference", event_id: target })),
      await send(alice, text("b", { rel_type: "m.reference", event_id: target })),
    ];
    assert.deepEqual((await fetch(alice, target)).unsigned?.["m.relations"]["m.reference"], { chunk: references.map((event_id) => ({ event_id })) });
  });

  it("reactions are not summed up on the event", async () => {
    const target = await send(alice, text("target"));
    await react(bob, target, "👍");
    assert.equal((await fetch(alice, target)).unsigned?.["m.relations"], undefined);
  });

  it("the root of a thread tells how many replies there are, the latest with its edit, and whether one took part", async () => {
    const root = await send(alice, text("root"));
    await send(bob, inThread(root, "first"));
    const latest = await send(bob, inThread(root, "second"));
    const changed = await send(bob, edit(latest, "second, better"));
    const asBob = (await fetch(bob, root)).unsigned?.["m.relations"]["m.thread"];
    assert.equal(asBob.count, 2);
    assert.equal(asBob.current_user_participated, true);
    assert.equal(asBob.latest_event.event_id, latest);
    assert.equal(asBob.latest_event.unsigned["m.relations"]["m.replace"].event_id, changed);
    assert.equal((await fetch(alice, root)).unsigned?.["m.relations"]["m.thread"].current_user_participated, true, "the root is hers");

    await redact(bob, latest);
    const after = (await fetch(bob, root)).unsigned?.["m.relations"]["m.thread"];
    assert.equal(after.count, 1);
    assert.equal(after.latest_event.content.body, "first");
  });

  it("an ignored user's replies and references do not count", async () => {
    const carol = await server.register("carol");
    const dave = await server.register("dave");
    for (const user of [carol, dave])
      await server
        .as(user)
        .post(`${V3}/rooms/${id(roomId)}/join`)
        .expect(200);
    const root = await send(alice, text("root"));
    const kept = await send(bob, inThread(root, "kept"));
    await send(dave, inThread(root, "ignored"));
    await send(dave, text("ignored", { rel_type: "m.reference", event_id: root }));
    await server
      .as(carol)
      .put(`${V3}/user/${id(carol.userId)}/account_data/m.ignored_user_list`, { ignored_users: { [dave.userId]: {} } })
      .expect(200);
    const aggregated = (await fetch(carol, root)).unsigned?.["m.relations"];
    assert.equal(aggregated["m.thread"].count, 1);
    assert.equal(aggregated["m.thread"].latest_event.event_id, kept);
    assert.equal(aggregated["m.reference"], undefined);
    assert.deepEqual(ids((await relations(carol, root)).chunk), [kept]);
    assert.equal((await fetch(alice, root)).unsigned?.["m.relations"]["m.thread"].count, 2, "others still see them");
  });

  it("the same bundle comes with /messages, /context and the relations of another event", async () => {
    const target = await send(alice, text("target"));
    const child = await send(bob, text("child", { rel_type: "m.reference", event_id: target }));
    const edited = await send(bob, edit(child, "child, changed"));
    const found = (await relations(alice, target)).chunk;
    assert.equal(found[0]!.unsigned?.["m.relations"]["m.replace"].event_id, edited);
    const { body: page } = await server
      .as(alice)
      .get(`${V3}/rooms/${id(roomId)}/messages?dir=b&limit=3`)
      .expect(200);
    assert.equal((page.chunk as Event[]).find((event) => event.event_id === target)!.unsigned!["m.relations"]["m.reference"].chunk.length, 1);
    const { body: around } = await server
      .as(alice)
      .get(`${V3}/rooms/${id(roomId)}/context/${id(target)}?limit=4`)
      .expect(200);
    assert.equal(around.event.unsigned["m.relations"]["m.reference"].chunk[0].event_id, child);
    assert.equal((around.events_after as Event[])[0]!.unsigned!["m.relations"]["m.replace"].event_id, edited);
  });

  it("bundles for a page take the same few statements however many events it has", async () => {
    const roots: string[] = [];
    for (let n = 0; n < 12; n++) {
      const root = await send(alice, text(`thread ${n}`));
      roots.push(root);
      await send(bob, inThread(root, "reply"));
      await send(alice, edit(root, "changed"));
    }
    const count = async (limit: number): Promise<number> => {
      let statements = 0;
      const stop = server.ctx.db.observe(() => statements++);
      await server
        .as(bob)
        .get(`${V3}/rooms/${id(roomId)}/messages?dir=b&limit=${limit}`)
        .expect(200);
      stop();
      return statements;
    };
    await count(36);
    const few = await count(6);
    const many = await count(36);
    assert.ok(many <= few, `${few} for 6 events, ${many} for 36`);
    assert.ok(many <= 12, `${many} statements`);
  });

  it("the threads of a room come by their latest reply, also only those one took part in", async () => {
    const room = (await server.as(alice).post(`${V3}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id as string;
    const outer = roomId;
    roomId = room;
    try {
      await server
        .as(bob)
        .post(`${V3}/rooms/${id(room)}/join`)
        .expect(200);
      const roots: string[] = [];
      for (let n = 0; n < 5; n++) roots.push(await send(n === 4 ? bob : alice, text(`root ${n}`)));
      for (const root of roots) await send(alice, inThread(root, "reply"));
      await send(bob, inThread(roots[0]!, "newest"));
      const expected = [roots[0]!, roots[4]!, roots[3]!, roots[2]!, roots[1]!];
      const list = async (rest: string) =>
        (
          await server
            .as(bob)
            .get(`${V1}/rooms/${id(room)}/threads?${rest}`)
            .expect(200)
        ).body as { chunk: Event[]; next_batch?: string };

      const first = await list("limit=2");
      assert.deepEqual(ids(first.chunk), expected.slice(0, 2));
      const second = await list(`limit=2&from=${first.next_batch!}`);
      assert.deepEqual(ids(second.chunk), expected.slice(2, 4));
      const third = await list(`limit=2&from=${second.next_batch!}`);
      assert.deepEqual(ids(third.chunk), expected.slice(4));
      assert.equal(third.next_batch, undefined);
      assert.equal(first.chunk[0]!.unsigned!["m.relations"]["m.thread"].count, 2);
      assert.deepEqual(ids((await list("include=participated")).chunk), [roots[0], roots[4]]);
      assert.equal((await server.as(bob).get(`${V1}/rooms/${id(room)}/threads?from=nonsense`)).status, 400);
    } finally {
      roomId = outer;
    }
  });
});
