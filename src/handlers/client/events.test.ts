import assert from "node:assert/strict";
import { query } from "../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";
const id = encodeURIComponent;
type Event = { event_id: string; type: string; user_id?: string; room_id?: string; state_key?: string; content: Record<string, any> };

describe("the old event routes, reports and rooms in common", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async () => {
    server = await startTestServer();
    [alice, bob] = (await Promise.all(["alice", "bob"].map((name) => server.register(name)))) as [TestUser, TestUser];
  });
  after(() => server.close());

  const create = (body: object = {}): Promise<string> => server.as(alice).createRoom({ preset: "public_chat", ...body });
  const join = (roomId: string, user = bob): Promise<void> => server.as(user).join(roomId);
  const send = (roomId: string, body: string, user = alice): Promise<string> => server.as(user).send(roomId, body);
  const worldReadable = { initial_state: [{ type: "m.room.history_visibility", content: { history_visibility: "world_readable" } }] };

  describe("/initialSync", () => {
    it("gives each room with its newest messages in order, its state and its account data", async () => {
      const carol = await server.register("carol");
      const roomId = await create({ name: "Hall" });
      const invited = await create({ preset: "private_chat", invite: [carol.userId] });
      await join(roomId, carol);
      const sent = [await send(roomId, "one"), await send(roomId, "two")];
      await server
        .as(carol)
        .put(`${V3}/user/${id(carol.userId)}/rooms/${id(roomId)}/tags/u.mine`, { order: 0.5 })
        .expect(200);
      await server
        .as(carol)
        .put(`${V3}/user/${id(carol.userId)}/account_data/org.example.own`, { a: 1 })
        .expect(200);
      const { body } = await server.as(carol).get(`${V3}/initialSync?limit=2`).expect(200);
      const rooms = new Map((body.rooms as { room_id: string }[]).map((room) => [room.room_id, room as Record<string, any>]));
      const room = rooms.get(roomId)!;
      assert.equal(room.membership, "join");
      assert.deepEqual(
        (room.messages.chunk as Event[]).map((event) => event.event_id),
        sent,
      );
      assert.equal(room.messages.chunk[0].user_id, alice.userId, "the old format");
      assert.ok((room.state as Event[]).some((event) => event.type === "m.room.name" && event.content.name === "Hall"));
      assert.deepEqual(room.account_data, [{ type: "m.tag", content: { tags: { "u.mine": { order: 0.5 } } } }]);
      const { body: earlier } = await server
        .as(carol)
        .get(`${V3}/rooms/${id(roomId)}/messages?dir=b&limit=1&from=${room.messages.start}`)
        .expect(200);
      assert.equal(earlier.chunk[0].state_key, carol.userId, "the token leads further back");
      assert.equal(rooms.get(invited)!.membership, "invite");
      assert.equal(rooms.get(invited)!.inviter, alice.userId);
      assert.equal(rooms.get(invited)!.invite.state_key, carol.userId);
      assert.deepEqual((body.account_data as Event[]).find(({ type }) => type === "org.example.own")!.content, { a: 1 });

      const { body: stream } = await server.as(carol).get(`${V3}/events?timeout=0&from=${body.end}`).expect(200);
      assert.deepEqual(
        (stream.chunk as Event[]).filter(({ type }) => type !== "m.presence"),
        [],
        "its token is where /events goes on",
      );
    });

    it("of one room ends where one left", async () => {
      const roomId = await create();
      await join(roomId);
      await send(roomId, "seen");
      await server
        .as(bob)
        .post(`${V3}/rooms/${id(roomId)}/leave`)
        .expect(200);
      const later = await send(roomId, "later");
      const { body } = await server
        .as(bob)
        .get(`${V3}/rooms/${id(roomId)}/initialSync`)
        .expect(200);
      assert.equal(body.membership, "leave");
      assert.equal(body.messages.chunk.at(-1).state_key, bob.userId);
      assert.ok(!(body.messages.chunk as Event[]).some((event) => event.event_id === later));
    });

    it("of a room of others is refused, unless the world may read it", async () => {
      assert.equal((await server.as(bob).get(`${V3}/rooms/${id(await create())}/initialSync`)).status, 403);
      const { body } = await server
        .as(bob)
        .get(`${V3}/rooms/${id(await create(worldReadable))}/initialSync`)
        .expect(200);
      assert.ok(!("membership" in body));
    });
  });

  describe("/events", () => {
    it("waits for something new and answers at once when it comes", async () => {
      const roomId = await create();
      await join(roomId);
      const { body: start } = await server.as(bob).get(`${V3}/events?timeout=0`).expect(200);
      const waiting = server
        .as(bob)
        .get(`${V3}/events?timeout=10000&from=${start.end}`)
        .expect(200)
        .then(({ body }) => body);
      const began = performance.now();
      const sent = await send(roomId, "news");
      const { chunk, end } = await waiting;
      assert.ok(performance.now() - began < 5000);
      assert.deepEqual(
        (chunk as Event[]).filter(({ type }) => type !== "m.presence").map((event) => event.event_id),
        [sent],
      );
      const { body: after } = await server.as(bob).get(`${V3}/events?timeout=0&from=${end}`).expect(200);
      assert.deepEqual(
        (after.chunk as Event[]).filter(({ type }) => type === "m.room.message"),
        [],
      );
    });

    it("lets strangers peek into world-readable rooms only, as long as they are", async () => {
      const roomId = await create(worldReadable);
      const peek = (rest: string) => server.as(bob).get(`${V3}/events?room_id=${id(roomId)}&${rest}`);
      const { body: start } = await peek("timeout=0").expect(200);
      const waiting = peek(`timeout=10000&from=${start.end}`)
        .expect(200)
        .then(({ body }) => body);
      const sent = await send(roomId, "to the world");
      assert.deepEqual(
        ((await waiting).chunk as Event[]).filter(({ type }) => type === "m.room.message").map((event) => event.event_id),
        [sent],
      );
      await server
        .as(alice)
        .put(`${V3}/rooms/${id(roomId)}/state/m.room.history_visibility`, { history_visibility: "shared" })
        .expect(200);
      await peek("timeout=0").expect(403);
    });

    it("takes only milliseconds for a timeout", async () => {
      assert.equal((await server.as(bob).get(`${V3}/events?timeout=soon`)).status, 400);
    });
  });

  describe("reports", () => {
    const last = async (table: string): Promise<Record<string, unknown>> =>
      (await query<Record<string, unknown>>(server.ctx.read, `SELECT * FROM ${table} ORDER BY id DESC LIMIT 1`, []))[0]!;

    it("of an event are kept with all the client said", async () => {
      const roomId = await create();
      await join(roomId);
      const eventId = await send(roomId, "rude");
      await server
        .as(bob)
        .post(`${V3}/rooms/${id(roomId)}/report/${id(eventId)}`, { reason: "rude", score: -100 })
        .expect(200, {});
      const { id: _, received_ts: at, ...row } = await last("event_reports");
      assert.ok(typeof at === "number");
      assert.deepEqual(row, { room_id: roomId, event_id: eventId, user_id: bob.userId, reason: "rude", content: '{"reason":"rude","score":-100}' });
    });

    it("of an event that one cannot see are not found", async () => {
      const eventId = await send(await create(), "hidden");
      const other = await create();
      await join(other);
      for (const roomId of [other, "!none:test"]) assert.equal((await server.as(bob).post(`${V3}/rooms/${id(roomId)}/report/${id(eventId)}`, {})).status, 404);
    });

    it("with a reason or score of the wrong kind are refused", async () => {
      const roomId = await create();
      const eventId = await send(roomId, "x");
      for (const body of [{ reason: 5 }, { score: "high" }]) {
        assert.equal((await server.as(alice).post(`${V3}/rooms/${id(roomId)}/report/${id(eventId)}`, body)).body.errcode, "M_BAD_JSON");
      }
    });

    it("of rooms are kept, of rooms that do not exist refused", async () => {
      const roomId = await create();
      await server
        .as(bob)
        .post(`${V3}/rooms/${id(roomId)}/report`, { reason: "spam" })
        .expect(200, {});
      assert.deepEqual([(await last("room_reports")).room_id, (await last("room_reports")).reason], [roomId, "spam"]);
      assert.equal((await server.as(bob).post(`${V3}/rooms/!none:test/report`, { reason: "spam" })).body.errcode, "M_NOT_FOUND");
      assert.equal((await server.as(bob).post(`${V3}/rooms/${id(roomId)}/report`, {})).status, 400);
    });

    it("of users are kept for users of this server, and taken without a word for others", async () => {
      await server
        .as(bob)
        .post(`${V3}/users/${id("@nobody:test")}/report`, { reason: "spam" })
        .expect(200, {});
      assert.deepEqual(await query(server.ctx.read, "SELECT * FROM user_reports", []), []);
      await server
        .as(bob)
        .post(`${V3}/users/${id(alice.userId)}/report`, { reason: "spam" })
        .expect(200, {});
      assert.equal((await last("user_reports")).target_user_id, alice.userId);
      assert.equal((await server.as(bob).post(`${V3}/users/${id(alice.userId)}/report`, { reason: "x".repeat(1001) })).status, 400);
    });
  });

  describe("rooms in common", () => {
    it("are those where both are joined, in pages", async () => {
      const [dave, erin] = [await server.register("dave"), await server.register("erin")];
      const common: string[] = [];
      for (let n = 0; n < 3; n++) {
        const roomId = await create();
        await join(roomId, dave);
        if (n < 2) {
          await join(roomId, erin);
          common.push(roomId);
        }
      }
      const { body } = await server
        .as(dave)
        .get(`/_matrix/client/v1/mutual_rooms?user_id=${id(erin.userId)}`)
        .expect(200);
      assert.deepEqual(body, { joined: common.toSorted(), count: 2 });
      const from = Buffer.from(common.toSorted()[0]!).toString("base64url");
      const { body: rest } = await server
        .as(dave)
        .get(`/_matrix/client/v1/mutual_rooms?user_id=${id(erin.userId)}&from=${from}`)
        .expect(200);
      assert.deepEqual(rest, { joined: common.toSorted().slice(1), count: 2 });
    });

    it("cannot be asked for with oneself, two users or none", async () => {
      for (const rest of [
        `user_id=${id(bob.userId)}`,
        `user_id=${id(alice.userId)}&user_id=${id("@x:test")}`,
        "",
        "user_id=nobody",
        `user_id=${id(alice.userId)}&from=%00`,
      ]) {
        assert.equal((await server.as(bob).get(`/_matrix/client/v1/mutual_rooms?${rest}`)).status, 400, rest);
      }
    });
  });
});
