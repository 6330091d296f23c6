import assert from "node:assert/strict";
import { type Requester, requesterFor } from "../../services/requester.ts";
import { sendEvent } from "../../services/events/send.ts";
import { createRoom } from "../../services/rooms/create.ts";
import { updateMembership } from "../../services/rooms/membership.ts";
import { query } from "../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const V3 = "/_matrix/client/v3";

describe("what users do in rooms: receipts, markers, typing, tags, threads", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let carol: TestUser;
  let room: string;
  let other: string;
  let events: string[];
  before(async () => {
    server = await startTestServer({ config: { experimental_features: { msc4306_enabled: true, msc4446_enabled: true } } });
    [alice, bob, carol] = [await server.register("alice"), await server.register("bob"), await server.register("carol")];
    other = (await createRoom(server.ctx, requesterOf(carol), {})).roomId;
  });
  beforeEach(async () => {
    room = (await createRoom(server.ctx, requesterOf(alice), { preset: "public_chat" })).roomId;
    await updateMembership(server.ctx, requesterOf(bob), { roomId: room, target: bob.userId, action: "join" });
    events = [];
    for (let i = 0; i < 4; i++) events.push(await send(alice, { msgtype: "m.text", body: `message ${i}` }));
  });
  after(() => server.close());

  const requesterOf = ({ userId, deviceId }: TestUser): Requester => requesterFor(userId, { deviceId });
  const send = async (user: TestUser, content: object, roomId = room): Promise<string> =>
    (await sendEvent(server.ctx, requesterOf(user), { roomId, type: "m.room.message", content: content as never })).eventId;
  const inThread = (rootId: string): object => ({ msgtype: "m.text", body: "reply", "m.relates_to": { rel_type: "m.thread", event_id: rootId } });
  const path = (rest: string, roomId = room): string => `${V3}/rooms/${encodeURIComponent(roomId)}/${rest}`;

  describe("receipts", () => {
    const receipt = (user: TestUser, eventId: string, body: object = {}, type = "m.read", roomId = room): ReturnType<ReturnType<TestServer["as"]>["post"]> =>
      server.as(user).post(path(`receipt/${type}/${encodeURIComponent(eventId)}`, roomId), body);
    const stored = (user: TestUser): Promise<Record<string, unknown>[]> =>
      query(
        server.ctx.read,
        "SELECT receipt_type, event_id, thread_id FROM receipts_linearized WHERE user_id = $1 AND room_id = $2 ORDER BY receipt_type, thread_id NULLS FIRST",
        [user.userId, room],
      );

    it("public and private ones are kept apart, go forwards only, and wake the room", async () => {
      const listener = server.ctx.notifier.listen(alice.userId);
      await listener.wait(0, new AbortController().signal);
      await receipt(bob, events[1]!).expect(200, {});
      assert.equal(await listener.wait(1000, new AbortController().signal), true);
      listener.close();
      await receipt(bob, events[2]!, {}, "m.read.private").expect(200);
      await receipt(bob, events[0]!).expect(200);
      assert.deepEqual(await stored(bob), [
        { receipt_type: "m.read", event_id: events[1], thread_id: null },
        { receipt_type: "m.read.private", event_id: events[2], thread_id: null },
      ]);
    });

    it("are not taken of people who are not in the room (CVE-2023-42453)", async () => {
      const secret = (await createRoom(server.ctx, requesterOf(alice), {})).roomId;
      const hidden = await send(alice, { msgtype: "m.text", body: "secret" }, secret);
      await receipt(carol, hidden, {}, "m.read", secret).expect(403);
      assert.deepEqual(await query(server.ctx.read, "SELECT * FROM receipts_linearized WHERE user_id = $1", [carol.userId]), []);
    });

    it("for events that do not exist or lie in another room change nothing", async () => {
      const elsewhere = await send(carol, { msgtype: "m.text", body: "x" }, other);
      await receipt(bob, "$unknown").expect(200);
      await receipt(bob, elsewhere).expect(200);
      assert.deepEqual(await stored(bob), []);
    });

    it("may be threaded, where the event is in that thread", async () => {
      const reply = await send(bob, inThread(events[0]!));
      await receipt(bob, reply, { thread_id: events[0] }).expect(200);
      await receipt(bob, events[0]!, { thread_id: events[0] }).expect(200);
      await receipt(bob, events[1]!, { thread_id: "main" }).expect(200);
      assert.deepEqual(
        (await stored(bob)).map(({ event_id, thread_id }) => [event_id, thread_id]).sort(),
        [
          [reply, events[0]],
          [events[1], "main"],
        ].sort(),
      );
      for (const body of [{ thread_id: "" }, { thread_id: 5 }, { thread_id: null }, { thread_id: events[1] }]) {
        assert.equal((await receipt(bob, reply, body).expect(400)).body.errcode, "M_INVALID_PARAM");
      }
      await receipt(bob, reply, { thread_id: "main" }).expect(400);
      await receipt(bob, reply, { thread_id: events[0] }, "m.fully_read").expect(400);
    });

    it("of unknown types and malformed ids are refused", async () => {
      await receipt(bob, events[0]!, {}, "m.nonsense").expect(400);
      await receipt(bob, "nonsense").expect(400);
      await receipt(bob, events[0]!, {}, "m.read", "nonsense").expect(400);
    });
  });

  describe("read markers", () => {
    const marker = async (): Promise<unknown> =>
      (
        await server
          .as(bob)
          .get(`${V3}/user/${bob.userId}/rooms/${encodeURIComponent(room)}/account_data/m.fully_read`)
          .expect(200)
      ).body.event_id;

    it("set all three at once, the marker only forwards", async () => {
      await server
        .as(bob)
        .post(path("read_markers"), { "m.fully_read": events[2], "m.read": events[2], "m.read.private": events[3], other: 1 })
        .expect(200, {});
      assert.equal(await marker(), events[2]);
      await server.as(bob).post(path("read_markers"), { "m.fully_read": events[1] }).expect(200);
      assert.equal(await marker(), events[2]);
      await server
        .as(bob)
        .post(path(`receipt/m.fully_read/${encodeURIComponent(events[3]!)}`), {})
        .expect(200);
      assert.equal(await marker(), events[3]);
      const rows = await query(server.ctx.read, "SELECT * FROM receipts_linearized WHERE user_id = $1 AND room_id = $2", [bob.userId, room]);
      assert.equal(rows.length, 2);
    });

    it("may go back where the client asks for it (MSC4446)", async () => {
      await server.as(bob).post(path("read_markers"), { "m.fully_read": events[2] }).expect(200);
      await server.as(bob).post(path("read_markers"), { "m.fully_read": events[1], "com.beeper.allow_backward": true }).expect(200);
      assert.equal(await marker(), events[1]);
      await server.as(bob).post(path("read_markers"), { "m.fully_read": events[1], "com.beeper.allow_backward": "yes" }).expect(400);
    });

    it("at unknown events are 404, malformed ones 400", async () => {
      await server.as(bob).post(path("read_markers"), { "m.fully_read": "$unknown" }).expect(404);
      await server.as(bob).post(path("read_markers"), { "m.read": 5 }).expect(400);
    });
  });

  describe("typing", () => {
    const typing = (user: TestUser, body: object, who = user): ReturnType<ReturnType<TestServer["as"]>["put"]> =>
      server.as(user).put(path(`typing/${encodeURIComponent(who.userId)}`), body);

    it("begins and ends for members, about themselves", async () => {
      await typing(bob, { typing: true, timeout: 500_000 }).expect(200, {});
      assert.deepEqual(server.ctx.typing.typingIn(room), [bob.userId]);
      await typing(bob, { typing: false }).expect(200);
      assert.deepEqual(server.ctx.typing.typingIn(room), []);
      await typing(carol, { typing: true }).expect(403);
      await typing(bob, { typing: true }).expect(200);
      await updateMembership(server.ctx, requesterOf(bob), { roomId: room, target: bob.userId, action: "leave" });
      assert.deepEqual(server.ctx.typing.typingIn(room), [], "who leaves types no more");
      await updateMembership(server.ctx, requesterOf(bob), { roomId: room, target: bob.userId, action: "join" });
      await typing(bob, { typing: true }, alice).expect(400);
      await typing(bob, {}).expect(400);
      await typing(bob, { typing: true, timeout: "long" }).expect(400);
    });
  });

  describe("tags", () => {
    const tags = (user: TestUser, tag = "", roomId = room): string => `${V3}/user/${user.userId}/rooms/${encodeURIComponent(roomId)}/tags${tag}`;

    it("are put, listed, removed; each change moves the stream (risk 93)", async () => {
      await server.as(alice).put(tags(alice, "/m.favourite"), { order: 0.5 }).expect(200, {});
      await server.as(alice).put(tags(alice, "/u.work"), {}).expect(200);
      await server
        .as(alice)
        .get(tags(alice))
        .expect(200, { tags: { "m.favourite": { order: 0.5 }, "u.work": {} } });
      const before = server.ctx.streams.accountData.currentToken();
      await server.as(alice).delete(tags(alice, "/u.work")).expect(200);
      const [revision] = await query<{ stream_id: number; instance_name: string | null }>(
        server.ctx.read,
        "SELECT stream_id, instance_name FROM room_tags_revisions WHERE user_id = $1 AND room_id = $2",
        [alice.userId, room],
      );
      assert.deepEqual(revision, { stream_id: before + 1, instance_name: null });
      await server
        .as(alice)
        .get(tags(alice))
        .expect(200, { tags: { "m.favourite": { order: 0.5 } } });
    });

    it("are one's own, short, and of rooms that one has to do with", async () => {
      await server.as(bob).put(tags(alice, "/u.x"), {}).expect(403);
      await server.as(carol).put(tags(carol, "/u.x"), {}).expect(403);
      assert.equal(
        (
          await server
            .as(alice)
            .put(tags(alice, `/${"t".repeat(256)}`), {})
            .expect(400)
        ).body.errcode,
        "M_INVALID_PARAM",
      );
    });
  });

  describe("thread subscriptions (MSC4306)", () => {
    const subscription = (rootId: string, roomId = room): string =>
      `/_matrix/client/unstable/io.element.msc4306/rooms/${encodeURIComponent(roomId)}/thread/${encodeURIComponent(rootId)}/subscription`;
    const pages = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions?dir=b";

    it("are made by hand or by the client, and ended", async () => {
      const root = events[0]!;
      const reply = await send(bob, inThread(root));
      await server.as(bob).get(subscription(root)).expect(404);
      await server.as(bob).put(subscription(root), { automatic: reply }).expect(200, {});
      await server.as(bob).get(subscription(root)).expect(200, { automatic: true });
      await server.as(bob).put(subscription(root), {}).expect(200);
      await server.as(bob).put(subscription(root), { automatic: reply }).expect(200);
      await server.as(bob).get(subscription(root)).expect(200, { automatic: false });
      await server.as(bob).delete(subscription(root)).expect(200);
      await server.as(bob).get(subscription(root)).expect(404);
      const { body } = await server.as(bob).put(subscription(root), { automatic: reply }).expect(409);
      assert.equal(body.errcode, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION");
      const later = await send(alice, inThread(root));
      await server.as(bob).put(subscription(root), { automatic: later }).expect(200);
      await server.as(bob).get(subscription(root)).expect(200, { automatic: true });
    });

    it("need a thread that the user can see, and a cause in it", async () => {
      const outside = await send(alice, { msgtype: "m.text", body: "x" });
      const { body } = await server.as(bob).put(subscription(events[0]!), { automatic: outside }).expect(400);
      assert.equal(body.errcode, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD");
      await server.as(bob).put(subscription("$unknown"), {}).expect(404);
      const hidden = await send(carol, { msgtype: "m.text", body: "x" }, other);
      await server.as(bob).put(subscription(hidden, other), {}).expect(404);
      await server.as(bob).put(subscription("nonsense"), {}).expect(400);
    });

    it("are paged backwards (MSC4308)", async () => {
      const dora = await server.register("dora");
      await updateMembership(server.ctx, requesterOf(dora), { roomId: room, target: dora.userId, action: "join" });
      for (const root of events.slice(0, 3)) await server.as(dora).put(subscription(root), {}).expect(200);
      const first = (await server.as(dora).get(`${pages}&limit=2`).expect(200)).body;
      assert.deepEqual(Object.keys(first.subscribed[room]).sort(), [events[1]!, events[2]!].sort());
      const second = (await server.as(dora).get(`${pages}&limit=2&from=${first.end}`).expect(200)).body;
      assert.deepEqual([Object.keys(second.subscribed[room]), second.end], [[events[0]], undefined]);
      await server.as(dora).get(`${pages}&from=x`).expect(400);
      await server.as(dora).get("/_matrix/client/unstable/io.element.msc4308/thread_subscriptions").expect(400);
    });
  });

  describe("notifications", () => {
    it("list what notified the user, read or not, newest first", async () => {
      const { notifications } = (await server.as(bob).get(`${V3}/notifications?limit=2`).expect(200)).body;
      assert.deepEqual(
        notifications.map((each: any) => [each.event.event_id, each.read, each.room_id]),
        [
          [events[3], false, room],
          [events[2], false, room],
        ],
      );
      assert.equal(notifications[0].event.room_id, undefined);
      assert.ok(notifications[0].actions.includes("notify"));
      await server
        .as(bob)
        .post(path(`receipt/m.read/${encodeURIComponent(events[3]!)}`), {})
        .expect(200);
      const again = (await server.as(bob).get(`${V3}/notifications?limit=1`).expect(200)).body;
      assert.deepEqual(
        again.notifications.map((each: any) => [each.event.event_id, each.read]),
        [[events[3], true]],
      );
    });
  });
});
