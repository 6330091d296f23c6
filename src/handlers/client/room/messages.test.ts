import assert from "node:assert/strict";
import { execute, type Txn } from "../../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../../testing/server.ts";

const V1 = "/_matrix/client/v1";
const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;
type Event = { event_id: string; type: string; state_key?: string; sender: string; content: Record<string, unknown>; unsigned?: Record<string, unknown> };
type Page = { chunk: Event[]; start: string; end?: string; state?: Event[] };

describe("pages of a room's messages", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async () => {
    server = await startTestServer();
    [alice, bob] = (await Promise.all(["alice", "bob"].map((name) => server.register(name)))) as [TestUser, TestUser];
  });
  after(() => server.close());

  const create = (body: object = {}): Promise<string> => server.as(alice).createRoom({ preset: "public_chat", ...body });
  const send = (roomId: string, content: object, user = alice, type?: string): Promise<string> => server.as(user).send(roomId, content, type);
  const sendMany = async (roomId: string, count: number): Promise<string[]> => {
    const sent: string[] = [];
    for (let n = 0; n < count; n++) sent.push(await send(roomId, { msgtype: "m.text", body: `message ${n}` }));
    return sent;
  };
  const page = async (roomId: string, rest: string, user = alice): Promise<Page> =>
    (
      await server
        .as(user)
        .get(`${V3}/rooms/${id(roomId)}/messages?${rest}`)
        .expect(200)
    ).body;
  const join = (roomId: string, user = bob): Promise<void> => server.as(user).join(roomId);
  const ids = (events: readonly Event[]): string[] => events.map((event) => event.event_id);
  const filter = (definition: object): string => `filter=${id(JSON.stringify(definition))}`;

  it("cover the whole room backwards and forwards, each event once", async () => {
    const roomId = await create();
    const sent = await sendMany(roomId, 11);
    const back: Event[] = [];
    for (let from: string | undefined; ;) {
      const found: Page = await page(roomId, `dir=b&limit=4${from === undefined ? "" : `&from=${from}`}`);
      if (from !== undefined) assert.equal(found.start, from);
      back.push(...found.chunk);
      if (found.end === undefined) break;
      from = found.end;
    }
    assert.equal(back.at(-1)!.type, "m.room.create");
    assert.deepEqual(ids(back).slice(0, 11), sent.toReversed());
    assert.equal(new Set(ids(back)).size, back.length);

    const forth: Event[] = [];
    for (let from: string | undefined; ;) {
      const found: Page = await page(roomId, `dir=f&limit=5${from === undefined ? "" : `&from=${from}`}`);
      forth.push(...found.chunk);
      if (found.end === undefined || found.chunk.length === 0) break;
      from = found.end;
    }
    assert.deepEqual(ids(forth), ids(back).toReversed());
  });

  it("end at `to`", async () => {
    const roomId = await create();
    const sent = await sendMany(roomId, 6);
    const newest = await page(roomId, "dir=b&limit=2");
    const all = await page(roomId, `dir=b&limit=4`);
    assert.deepEqual(ids((await page(roomId, `dir=b&limit=50&from=${newest.end!}&to=${all.end!}`)).chunk), sent.slice(2, 4).toReversed());
  });

  it("take tokens of /sync, both ways", async () => {
    const roomId = await create();
    const sent = await sendMany(roomId, 3);
    const { body: sync } = await server
      .as(alice)
      .get(`${V3}/sync?${filter({ room: { rooms: [roomId], timeline: { limit: 2 } } })}`)
      .expect(200);
    assert.deepEqual(ids((await page(roomId, `dir=b&limit=1&from=${sync.rooms.join[roomId].timeline.prev_batch}`)).chunk), [sent[0]]);
    const later = await sendMany(roomId, 2);
    assert.deepEqual(ids((await page(roomId, `dir=f&from=${sync.next_batch}`)).chunk), later);
    assert.deepEqual(ids((await page(roomId, `dir=b&limit=2&from=${sync.next_batch}`)).chunk), [sent[2], sent[1]]);
  });

  it("refuse tokens, limits, directions and filters that make no sense", async () => {
    const roomId = await create();
    for (const [rest, errcode] of [
      ["dir=b&from=nonsense", "M_UNKNOWN"],
      ["dir=b&to=x1", "M_UNKNOWN"],
      ["dir=sideways", "M_INVALID_PARAM"],
      ["dir=b&limit=-1", "M_INVALID_PARAM"],
      ["dir=b&filter=nonsense", "M_NOT_JSON"],
      ["dir=b&filter=[]", "M_NOT_JSON"],
    ]) {
      const { status, body } = await server.as(alice).get(`${V3}/rooms/${id(roomId)}/messages?${rest}`);
      assert.deepEqual([status, body.errcode], [400, errcode], rest);
    }
  });

  it("are filtered by type, sender, url and label", async () => {
    const roomId = await create();
    await join(roomId);
    const mine = await send(roomId, { msgtype: "m.text", body: "mine" });
    const theirs = await send(roomId, { msgtype: "m.image", body: "picture", url: "mxc://test/abc" }, bob);
    const labelled = await send(roomId, { msgtype: "m.text", body: "labelled", "org.matrix.labels": ["#work"] });
    const other = await send(roomId, { body: "x" }, bob, "org.example.thing");
    const some = async (definition: object): Promise<string[]> => ids((await page(roomId, `dir=b&limit=50&${filter(definition)}`)).chunk);
    assert.deepEqual(await some({ types: ["m.room.message"] }), [labelled, theirs, mine]);
    assert.deepEqual(await some({ types: ["org.example.*"] }), [other]);
    assert.deepEqual(await some({ types: ["m.room.message", "org.*"], senders: [bob.userId] }), [other, theirs]);
    assert.deepEqual(await some({ types: ["m.room.message"], not_senders: [alice.userId] }), [theirs]);
    assert.deepEqual(await some({ contains_url: true }), [theirs]);
    assert.deepEqual(await some({ "org.matrix.labels": ["#work"] }), [labelled]);
    assert.deepEqual(await some({ not_types: ["m.room.*"] }), [other]);
    assert.deepEqual(await some({ not_rooms: [roomId] }), []);
  });

  it("go on to the end when a filter leaves pages empty", async () => {
    const roomId = await create();
    const wanted = await send(roomId, { body: "x" }, alice, "org.example.rare");
    await sendMany(roomId, 25);
    assert.deepEqual(ids((await page(roomId, `dir=b&limit=5&${filter({ types: ["org.example.rare"] })}`)).chunk), [wanted]);
  });

  it("bring the members who spoke, with lazy loading", async () => {
    const roomId = await create();
    await join(roomId);
    await send(roomId, { msgtype: "m.text", body: "one" });
    const lazy = `dir=b&limit=1&${filter({ lazy_load_members: true })}`;
    assert.deepEqual(
      (await page(roomId, lazy)).state?.map((event) => [event.type, event.state_key]),
      [["m.room.member", alice.userId]],
    );
    await send(roomId, { msgtype: "m.text", body: "two" }, bob);
    assert.deepEqual(
      (await page(roomId, lazy)).state?.map((event) => event.state_key),
      [bob.userId],
    );
    assert.equal((await page(roomId, "dir=b&limit=1")).state, undefined);
  });

  it("tell the sender the transaction id, on the device that sent it only", async () => {
    const roomId = await create();
    await join(roomId);
    await server
      .as(alice)
      .put(`${V3}/rooms/${id(roomId)}/send/m.room.message/my-own`, { msgtype: "m.text", body: "x" })
      .expect(200);
    assert.equal((await page(roomId, "dir=b&limit=1")).chunk[0]!.unsigned!.transaction_id, "my-own");
    assert.equal((await page(roomId, "dir=b&limit=1", bob)).chunk[0]!.unsigned!.transaction_id, undefined);
  });

  it("with nothing but rejected events on the way still lead further back", async () => {
    const roomId = await create();
    const [old, ...bad] = await sendMany(roomId, 30);
    await server.ctx.transaction("test", async (handle: Txn) => {
      await execute(handle, "UPDATE events SET rejection_reason = 'auth_error' WHERE event_id = ANY($1::text[])", [bad]);
      await execute(handle, "INSERT INTO rejections (event_id, reason, last_check) SELECT unnest($1::text[]), 'auth_error', '0'", [bad]);
    });
    const found: string[] = [];
    for (let from: string | undefined, rounds = 0; rounds < 40; rounds++) {
      const next: Page = await page(roomId, `dir=b&limit=5${from === undefined ? "" : `&from=${from}`}`);
      found.push(...ids(next.chunk));
      if (next.end === undefined) break;
      from = next.end;
    }
    assert.ok(found.includes(old!));
    assert.ok(!found.some((eventId) => bad.includes(eventId)));
  });

  it("take a handful of statements, whatever their size", async () => {
    const roomId = await create();
    await join(roomId);
    await sendMany(roomId, 60);
    const statements = async (limit: number): Promise<number> => {
      let count = 0;
      const stop = server.ctx.db.observe(() => count++);
      const { chunk } = await page(roomId, `dir=b&limit=${limit}`, bob);
      stop();
      assert.equal(chunk.length, limit);
      return count;
    };
    await statements(60);
    const few = await statements(10);
    assert.ok((await statements(60)) <= few);
    assert.ok(few <= 9, `${few} statements`);
  });

  describe("around an event", () => {
    it("come half before and half after, with tokens that lead on and the state at the last", async () => {
      const roomId = await create({ name: "before" });
      const sent = await sendMany(roomId, 9);
      await server
        .as(alice)
        .put(`${V3}/rooms/${id(roomId)}/state/m.room.name`, { name: "after" })
        .expect(200);
      const { body } = await server
        .as(alice)
        .get(`${V3}/rooms/${id(roomId)}/context/${id(sent[4]!)}?limit=4`)
        .expect(200);
      assert.equal(body.event.event_id, sent[4]);
      assert.deepEqual(ids(body.events_before), [sent[3], sent[2]]);
      assert.deepEqual(ids(body.events_after), [sent[5], sent[6]]);
      assert.equal((body.state as Event[]).find((event) => event.type === "m.room.name")!.content.name, "before");
      assert.deepEqual(ids((await page(roomId, `dir=b&limit=2&from=${body.start}`)).chunk), [sent[1], sent[0]]);
      assert.deepEqual(ids((await page(roomId, `dir=f&limit=2&from=${body.end}`)).chunk), [sent[7], sent[8]]);
    });

    it("with a limit of none is the event alone", async () => {
      const roomId = await create();
      const [only] = await sendMany(roomId, 2);
      const { body } = await server
        .as(alice)
        .get(`${V3}/rooms/${id(roomId)}/context/${id(only!)}?limit=0`)
        .expect(200);
      assert.deepEqual([body.event.event_id, body.events_before, body.events_after], [only, [], []]);
    });

    it("obey the filter, the state too, and lazy loading brings only those who speak", async () => {
      const roomId = await create();
      await join(roomId);
      const first = await send(roomId, { body: "x" }, bob, "org.example.a");
      const middle = await send(roomId, { msgtype: "m.text", body: "x" });
      await send(roomId, { body: "x" }, alice, "org.example.a");
      const { body } = await server
        .as(alice)
        .get(
          `${V3}/rooms/${id(roomId)}/context/${id(middle)}?limit=6&${filter({ not_senders: [alice.userId], types: ["org.example.*", "m.room.member"], lazy_load_members: true })}`,
        )
        .expect(200);
      assert.equal(ids(body.events_before)[0], first);
      assert.deepEqual(body.events_after, []);
      assert.deepEqual(
        (body.state as Event[]).map((event) => [event.type, event.state_key]),
        [["m.room.member", bob.userId]],
      );
    });

    it("of an event elsewhere or unknown are not found", async () => {
      const [roomId, other] = [await create(), await create()];
      const [elsewhere] = await sendMany(other, 1);
      for (const eventId of [elsewhere!, "$nothing"])
        assert.equal((await server.as(alice).get(`${V3}/rooms/${id(roomId)}/context/${id(eventId)}`)).status, 404);
    });
  });

  describe("by time", () => {
    it("the nearest event at or after, at or before", async () => {
      const roomId = await create();
      const [first, second] = await sendMany(roomId, 2);
      await server.ctx.transaction("test", (handle: Txn) =>
        execute(
          handle,
          "UPDATE events SET origin_server_ts = wanted.ts FROM unnest($1::text[], $2::bigint[]) AS wanted(id, ts) WHERE events.event_id = wanted.id",
          [
            [first, second],
            [5000, 9000],
          ],
        ),
      );
      const at = async (rest: string) => (await server.as(alice).get(`${V1}/rooms/${id(roomId)}/timestamp_to_event?${rest}`)).body;
      assert.deepEqual(await at("ts=4000&dir=f"), { event_id: first, origin_server_ts: 5000 });
      assert.deepEqual(await at("ts=5000&dir=f"), { event_id: first, origin_server_ts: 5000 });
      assert.deepEqual(await at("ts=6000&dir=f"), { event_id: second, origin_server_ts: 9000 });
      assert.deepEqual(await at("ts=8999&dir=b"), { event_id: first, origin_server_ts: 5000 });
      assert.equal((await at("ts=4999&dir=b")).errcode, "M_NOT_FOUND");
      assert.equal((await at("dir=b")).errcode, "M_MISSING_PARAM");
      assert.equal((await at("ts=1&dir=x")).errcode, "M_INVALID_PARAM");
    });

    it("is for those in the room, and for all where the world may read", async () => {
      const secret = await create({ preset: "private_chat" });
      assert.equal((await server.as(bob).get(`${V1}/rooms/${id(secret)}/timestamp_to_event?ts=0`)).status, 403);
      const open = await create({ initial_state: [{ type: "m.room.history_visibility", content: { history_visibility: "world_readable" } }] });
      assert.equal((await server.as(bob).get(`${V1}/rooms/${id(open)}/timestamp_to_event?ts=0`)).status, 200);
    });
  });

  describe("the members of a room", () => {
    const members = async (roomId: string, rest = "", user = alice): Promise<[string, unknown][]> => {
      const { body } = await server
        .as(user)
        .get(`${V3}/rooms/${id(roomId)}/members${rest}`)
        .expect(200);
      return (body.chunk as Event[]).map((event): [string, unknown] => [event.state_key!, event.content.membership]).sort();
    };

    it("come by membership, now or at a token", async () => {
      const roomId = await create();
      const { body: sync } = await server
        .as(alice)
        .get(`${V3}/sync?${filter({ room: { rooms: [roomId] } })}`)
        .expect(200);
      await join(roomId);
      const all: [string, string][] = [
        [alice.userId, "join"],
        [bob.userId, "join"],
      ];
      assert.deepEqual(await members(roomId), all);
      assert.deepEqual(await members(roomId, `?at=${sync.next_batch}`), all.slice(0, 1));
      await server
        .as(bob)
        .post(`${V3}/rooms/${id(roomId)}/leave`)
        .expect(200);
      assert.deepEqual(await members(roomId, "?membership=leave"), [[bob.userId, "leave"]]);
      assert.deepEqual(await members(roomId, "?not_membership=leave"), [[alice.userId, "join"]]);
    });

    it("are those of the moment one left, and no token opens what came later (CVE-2021-39164)", async () => {
      const roomId = await create();
      await join(roomId);
      await server
        .as(bob)
        .post(`${V3}/rooms/${id(roomId)}/leave`)
        .expect(200);
      const carol = await server.register("carol");
      await join(roomId, carol);
      const { body: sync } = await server
        .as(alice)
        .get(`${V3}/sync?${filter({ room: { rooms: [roomId] } })}`)
        .expect(200);
      assert.deepEqual(await members(roomId, "", bob), [
        [alice.userId, "join"],
        [bob.userId, "leave"],
      ]);
      await server
        .as(bob)
        .get(`${V3}/rooms/${id(roomId)}/members?at=${sync.next_batch}`)
        .expect(403);
      assert.equal((await server.as(bob).get(`${V3}/rooms/${id(roomId)}/joined_members`)).status, 403);
    });

    it("the joined ones come with their profiles, for members only", async () => {
      const roomId = await create();
      await join(roomId);
      const { body } = await server
        .as(bob)
        .get(`${V3}/rooms/${id(roomId)}/joined_members`)
        .expect(200);
      assert.deepEqual(body, {
        joined: { [alice.userId]: { avatar_url: null, display_name: "alice" }, [bob.userId]: { avatar_url: null, display_name: "bob" } },
      });
    });
  });
});
