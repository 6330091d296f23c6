import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const C = "/_matrix/client/v3";
const SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
const THREADS = "io.element.msc4308.thread_subscriptions";
const STICKY = "org.matrix.msc4354.sticky_events";
const id = encodeURIComponent;

interface Answer {
  readonly pos: string;
  readonly extensions: Record<string, any>;
}

describe("sliding sync: extensions behind flags", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let roomId: string;
  before(async function () {
    this.timeout(60_000);
    server = await startTestServer({ config: { experimental_features: { msc4306_enabled: true, msc4354_enabled: true } } });
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
    roomId = (
      await server
        .as(alice)
        .post(`${C}/createRoom`, {
          preset: "private_chat",
          invite: [bob.userId],
          initial_state: [{ type: "m.room.history_visibility", state_key: "", content: { history_visibility: "joined" } }],
        })
        .expect(200)
    ).body.room_id;
  });
  after(() => server.close());

  let txn = 0;
  const send = async (body: string, query = ""): Promise<string> =>
    (
      await server
        .as(alice)
        .put(`${C}/rooms/${id(roomId)}/send/m.room.message/t${++txn}${query}`, { msgtype: "m.text", body })
        .expect(200)
    ).body.event_id;
  const sync = async (user: TestUser, extensions: object, pos?: string, timeline = 0): Promise<Answer> => {
    const body = { lists: { a: { ranges: [[0, 9]], required_state: [], timeline_limit: timeline } }, extensions };
    return (
      await server
        .as(user)
        .post(`${SLIDING}?timeout=0${pos === undefined ? "" : `&pos=${id(pos)}`}`, body)
        .expect(200)
    ).body as Answer;
  };

  it("tells which threads were subscribed to since the last answer, and leads to older ones (MSC4308)", async () => {
    const roots = [await send("one"), await send("two"), await send("three")];
    const subscription = (root: string): string => `/_matrix/client/unstable/io.element.msc4306/rooms/${id(roomId)}/thread/${id(root)}/subscription`;
    const wanted = { [THREADS]: { enabled: true, limit: 2 } };
    const empty = await sync(alice, wanted);
    assert.equal(empty.extensions[THREADS], undefined);
    for (const root of roots) await server.as(alice).put(subscription(root), {}).expect(200);
    const first = await sync(alice, wanted, empty.pos);
    const part = first.extensions[THREADS];
    assert.deepEqual(Object.keys(part.subscribed[roomId]).sort(), roots.slice(1).sort());
    assert.equal(part.subscribed[roomId][roots[2]!].automatic, false);
    const older = await server
      .as(alice)
      .get(`/_matrix/client/unstable/io.element.msc4308/thread_subscriptions?dir=b&from=${part.prev_batch}&to=${id(empty.pos)}`)
      .expect(200);
    assert.deepEqual(Object.keys(older.body.subscribed[roomId]), [roots[0]]);
    await server.as(alice).delete(subscription(roots[0]!)).expect(200);
    const second = await sync(alice, wanted, first.pos);
    assert.deepEqual(Object.keys(second.extensions[THREADS].unsubscribed[roomId]), [roots[0]]);
    assert.equal((await sync(alice, wanted, second.pos)).extensions[THREADS], undefined);
    assert.equal((await sync(bob, wanted)).extensions[THREADS], undefined);
  });

  it("gives who joins the events that are still sticky, whatever the history visibility, once (MSC4354)", async () => {
    const sticky = await send("sticky", "?org.matrix.msc4354.sticky_duration_ms=600000");
    await send("plain");
    const over = await send("over soon", "?org.matrix.msc4354.sticky_duration_ms=1");
    await new Promise((resolve) => setTimeout(resolve, 20));
    const wanted = { [STICKY]: { enabled: true } };
    assert.deepEqual((await sync(bob, wanted)).extensions[STICKY].rooms, {}, "an invite is no membership");
    await server
      .as(bob)
      .post(`${C}/rooms/${id(roomId)}/join`)
      .expect(200);
    const first = await sync(bob, wanted);
    const { rooms, next_batch } = first.extensions[STICKY];
    assert.deepEqual(
      rooms[roomId].events.map((event: { event_id: string }) => event.event_id),
      [sticky],
    );
    assert.ok(!JSON.stringify(first).includes(over));
    assert.match(next_batch as string, /^sticky_\d+$/);
    const again = await sync(bob, { [STICKY]: { enabled: true, since: next_batch } });
    assert.deepEqual(again.extensions[STICKY].rooms, {});
    // What stands in the timeline is not repeated.
    const later = await send("sticky, too", "?org.matrix.msc4354.sticky_duration_ms=600000");
    const second = await sync(bob, { [STICKY]: { enabled: true, since: next_batch } }, again.pos, 5);
    assert.ok(JSON.stringify(second).includes(later));
    assert.deepEqual(second.extensions[STICKY].rooms, { [roomId]: { events: [] } });
    await server
      .as(bob)
      .post(`${SLIDING}?timeout=0`, { extensions: { [STICKY]: { enabled: true, since: "s1" } } })
      .expect(400);
  });
});
