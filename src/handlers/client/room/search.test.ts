import assert from "node:assert/strict";
import { currentRequest } from "../../../lib/request-context.ts";
import { startTestServer, type TestServer, type TestUser } from "../../../testing/server.ts";

const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;
type Event = { event_id: string; type: string; sender: string; content: Record<string, any>; unsigned?: Record<string, any> };
type Result = { rank: number; result: Event; context: { events_before: Event[]; events_after: Event[]; start: string; end: string; profile_info?: object } };
type Found = {
  count: number;
  results: Result[];
  highlights: string[];
  next_batch?: string;
  groups?: Record<string, Record<string, any>>;
  state?: Record<string, Event[]>;
};

describe("search in messages", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async () => {
    server = await startTestServer();
    [alice, bob] = (await Promise.all(["alice", "bob"].map((name) => server.register(name)))) as [TestUser, TestUser];
  });
  after(() => server.close());

  const create = async (body: object = {}): Promise<string> => {
    const roomId = await server.as(alice).createRoom({ preset: "public_chat", ...body });
    await server.as(bob).join(roomId);
    return roomId;
  };
  const send = (roomId: string, body: string, user = alice, more: object = {}): Promise<string> =>
    server.as(user).send(roomId, { msgtype: "m.text", body, ...more });
  const find = async (term: string, more: object = {}, rest = "", user = bob): Promise<Found> =>
    (
      await server
        .as(user)
        .post(`${V3}/search${rest}`, { search_categories: { room_events: { search_term: term, ...more } } })
        .expect(200)
    ).body.search_categories.room_events;
  const ids = (found: Found): string[] => found.results.map(({ result }) => result.event_id);

  it("finds words in any form, several words, phrases, without those excluded", async () => {
    const roomId = await create();
    const [apples, both, reversed] = [await send(roomId, "Apples are ripening"), await send(roomId, "ripe apple pie"), await send(roomId, "a pie of apple")];
    const within = { order_by: "recent", filter: { rooms: [roomId] } };
    const one = await find("apple", within);
    assert.deepEqual(ids(one), [reversed, both, apples]);
    assert.equal(one.count, 3);
    assert.deepEqual(one.highlights.toSorted(), ["apple", "apples"]);
    assert.deepEqual(ids(await find("apple pie", within)), [reversed, both]);
    assert.deepEqual(ids(await find('"apple pie"', within)), [both]);
    assert.deepEqual(ids(await find("apple -pie", within)), [apples]);
    assert.deepEqual((await find("cherry", within)).results, []);
    assert.deepEqual((await find("", within)).results, []);
    assert.deepEqual((await find("' & | ! ( :* \\", within)).results, []);
  });

  it("finds names and topics, or only what `keys` says", async () => {
    const roomId = await create({ name: "Quokka lounge", topic: "All about the quokka" });
    const message = await send(roomId, "a quokka!");
    const within = { order_by: "recent", filter: { rooms: [roomId] } };
    assert.deepEqual((await find("quokka", within)).results.map(({ result }) => result.type).toSorted(), ["m.room.message", "m.room.name", "m.room.topic"]);
    assert.deepEqual(ids(await find("quokka", { ...within, keys: ["content.body"] })), [message]);
    assert.deepEqual(
      (await find("quokka", { ...within, keys: ["content.name"] })).results.map(({ result }) => result.type),
      ["m.room.name"],
    );
  });

  it("ranks by how well events match, or orders them by time", async () => {
    const roomId = await create();
    const better = await send(roomId, "zebra zebra zebra");
    const newer = await send(roomId, "a zebra among many other animals of the wide plain");
    const within = { filter: { rooms: [roomId] } };
    const ranked = await find("zebra", within);
    assert.deepEqual(ids(ranked), [better, newer]);
    assert.ok(ranked.results[0]!.rank > ranked.results[1]!.rank);
    assert.deepEqual(ids(await find("zebra", { ...within, order_by: "recent" })), [newer, better]);
  });

  it("leads from page to page without losing or repeating anything", async () => {
    const roomId = await create();
    const sent: string[] = [];
    for (let n = 0; n < 7; n++) sent.push(await send(roomId, `walrus ${n}`));
    const query = { order_by: "recent", filter: { rooms: [roomId], limit: 3 } };
    const all: string[] = [];
    for (let rest: string | undefined = "", rounds = 0; rest !== undefined; rounds++) {
      assert.ok(rounds < 5);
      const found = await find("walrus", query, rest);
      assert.equal(found.count, 7);
      all.push(...ids(found));
      rest = found.next_batch === undefined ? undefined : `?next_batch=${found.next_batch}`;
    }
    assert.deepEqual(all, sent.toReversed());
  });

  it("groups by room and by sender, with a token for more of one room", async () => {
    const [one, two] = [await create(), await create()];
    const here = [await send(one, "heron", alice), await send(one, "heron", bob), await send(one, "heron", alice)];
    const there = await send(two, "heron", bob);
    const ranked = await find("heron", { filter: { rooms: [one, two] }, groupings: { group_by: [{ key: "room_id" }, { key: "sender" }] } });
    assert.deepEqual(ranked.groups!.room_id![one].results.toSorted(), here.toSorted());
    assert.deepEqual(ranked.groups!.room_id![two].results, [there]);
    assert.equal(ranked.groups!.sender![bob.userId].results.length, 2);

    const recent = await find("heron", { order_by: "recent", filter: { rooms: [one, two], limit: 2 }, groupings: { group_by: [{ key: "room_id" }] } });
    assert.deepEqual(recent.groups!.room_id![one].results, [here[2]]);
    const more = await find("heron", { order_by: "recent", filter: { rooms: [one, two], limit: 2 } }, `?next_batch=${recent.groups!.room_id![one].next_batch}`);
    assert.deepEqual(ids(more), [here[1], here[0]]);
  });

  it("looks in all rooms that one is in, in no others, however many are named", async () => {
    const [here, left, foreign] = [await create(), await create(), await server.as(alice).createRoom({ preset: "private_chat" })];
    const found = await send(here, "a lone dotterel");
    for (const roomId of [left, foreign]) await send(roomId, "another dotterel");
    await server
      .as(bob)
      .post(`${V3}/rooms/${id(left)}/leave`, {})
      .expect(200);
    const many = [here, left, foreign, ...Array.from({ length: 30 }, (_, n) => `!none${n}:test`)];
    for (const order_by of ["rank", "recent"]) {
      for (const filter of [{}, { rooms: [here, left, foreign] }, { rooms: many }, { not_rooms: ["!none:test"] }]) {
        const answer = await find("dotterel", { order_by, filter });
        assert.deepEqual([ids(answer), answer.count], [[found], 1], JSON.stringify({ order_by, filter }));
        assert.ok(answer.results[0]!.rank > 0);
      }
      assert.deepEqual(ids(await find("dotterel", { order_by, filter: { not_rooms: [here] } })), []);
    }
  });

  it("fills a page with what the user may see, though better hits are hidden", async () => {
    const roomId = await create();
    const seen = [await send(roomId, "one avocet over there"), await send(roomId, "an avocet among others")];
    await server
      .as(bob)
      .put(`${V3}/user/${id(bob.userId)}/account_data/m.ignored_user_list`, { ignored_users: { "@dora:test": {} } })
      .expect(200);
    const dora = await server.register("dora");
    await server.as(dora).join(roomId);
    for (let n = 0; n < 9; n++) await send(roomId, "avocet avocet avocet", dora);
    const found = await find("avocet", { filter: { rooms: [roomId], limit: 2 } });
    assert.deepEqual(ids(found).toSorted(), seen.toSorted());
    assert.equal(found.count, 11);
  });

  it("takes as many statements for many hits as for few", async () => {
    const roomId = await create();
    const statements = async (limit: number): Promise<number> => {
      let count = 0;
      const stop = server.ctx.db.observe(() => (count += currentRequest()?.url?.startsWith(`${V3}/search`) === true ? 1 : 0));
      const event_context = { before_limit: 2, after_limit: 2, include_profile: true };
      const found = await find("bittern", { filter: { rooms: [roomId], limit }, event_context });
      stop();
      assert.equal(found.results.length, limit);
      return count;
    };
    for (let n = 0; n < 12; n++) await send(roomId, `bittern ${n}`);
    const few = await statements(1);
    const many = await statements(12);
    assert.ok(few >= 3 && many <= few + 3, `${many} statements for 12 hits, ${few} for one`);
  });

  it("brings the events around, their senders' profiles and the state when asked", async () => {
    const roomId = await create({ name: "Nest" });
    const around = [await send(roomId, "before"), await send(roomId, "osprey", bob), await send(roomId, "after")];
    const found = await find("osprey", {
      order_by: "recent",
      include_state: true,
      filter: { rooms: [roomId] },
      event_context: { before_limit: 1, after_limit: 1, include_profile: true },
    });
    const [{ context, result }] = found.results as [Result];
    assert.equal(result.event_id, around[1]);
    assert.deepEqual(
      [...context.events_before, ...context.events_after].map((event) => event.event_id),
      [around[0], around[2]],
    );
    assert.deepEqual(context.profile_info, {
      [alice.userId]: { displayname: "alice", avatar_url: null },
      [bob.userId]: { displayname: "bob", avatar_url: null },
    });
    assert.equal(found.state![roomId]!.find((event) => event.type === "m.room.name")!.content.name, "Nest");
    const { body: page } = await server
      .as(bob)
      .get(`${V3}/rooms/${id(roomId)}/messages?dir=f&limit=1&from=${context.end}`)
      .expect(200);
    assert.deepEqual(page.chunk, [], "the token continues after the context");
  });

  it("stays within the rooms one is in and what one may see there", async () => {
    const secret: string = (await server.as(alice).post(`${V3}/createRoom`).expect(200)).body.room_id;
    await send(secret, "ibis in secret");
    const hidden: string = (
      await server
        .as(alice)
        .post(`${V3}/createRoom`, { preset: "public_chat", initial_state: [{ type: "m.room.history_visibility", content: { history_visibility: "joined" } }] })
        .expect(200)
    ).body.room_id;
    await send(hidden, "ibis before bob");
    await server
      .as(bob)
      .post(`${V3}/rooms/${id(hidden)}/join`)
      .expect(200);
    const seen = await send(hidden, "ibis with bob");
    assert.deepEqual(ids(await find("ibis", { order_by: "recent" })), [seen]);
    assert.deepEqual(ids(await find("ibis", { filter: { rooms: [secret] } })), []);
    await server
      .as(bob)
      .post(`${V3}/rooms/${id(hidden)}/leave`)
      .expect(200);
    assert.deepEqual(ids(await find("ibis")), []);
  });

  it("finds neither redacted messages nor those of ignored users", async () => {
    const roomId = await create();
    const carol = await server.register("carol");
    await server
      .as(carol)
      .post(`${V3}/rooms/${id(roomId)}/join`)
      .expect(200);
    const gone = await send(roomId, "puffin redacted");
    await send(roomId, "puffin ignored", carol);
    const kept = await send(roomId, "puffin kept");
    await server
      .as(alice)
      .put(`${V3}/rooms/${id(roomId)}/redact/${id(gone)}/r`, {})
      .expect(200);
    await server
      .as(bob)
      .put(`${V3}/user/${id(bob.userId)}/account_data/m.ignored_user_list`, { ignored_users: { [carol.userId]: {} } })
      .expect(200);
    assert.deepEqual(ids(await find("puffin")), [kept]);
  });

  it("searches what a room was before its upgrade along with it", async () => {
    const roomId = await create();
    const old = await send(roomId, "kingfisher");
    const { replacement_room: next } = (
      await server
        .as(alice)
        .post(`${V3}/rooms/${id(roomId)}/upgrade`, { new_version: "11" })
        .expect(200)
    ).body;
    assert.deepEqual(ids(await find("kingfisher", { filter: { rooms: [next] } }, "", alice)), [old]);
  });

  it("refuses what is no query", async () => {
    for (const body of [
      {},
      { search_categories: {} },
      { search_categories: { room_events: {} } },
      { search_categories: { room_events: { search_term: 5 } } },
      { search_categories: { room_events: { search_term: "x", order_by: "size" } } },
      { search_categories: { room_events: { search_term: "x", groupings: { group_by: [{ key: "day" }] } } } },
    ]) {
      const { status } = await server.as(bob).post(`${V3}/search`, body);
      assert.equal(status, 400, JSON.stringify(body));
    }
    const ask = { search_categories: { room_events: { search_term: "x" } } };
    assert.equal((await server.as(bob).post(`${V3}/search?next_batch=nonsense`, ask)).status, 400);
    assert.equal((await server.anonymous.post(`${V3}/search`, ask)).status, 401);
  });
});
