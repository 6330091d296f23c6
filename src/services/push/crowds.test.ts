import assert from "node:assert/strict";
import { execute, query, type Txn } from "../../storage/database.ts";
import { unreadCounts as storedCounts } from "../../storage/push/counts.ts";
import { makeRoom, requesterOf } from "../../testing/rooms.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import { sendEvent } from "../events/send.ts";
import { Crowds } from "./crowds.ts";
import { recoverCrowds } from "../events/recover-crowds.ts";

const CROWD = 150;

function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

describe("notifications in large rooms", function () {
  this.timeout(120_000);
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;

  beforeEach(async () => {
    server = await startTestServer();
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
  });
  afterEach(() => server.close());

  const members = (): string[] => [bob.userId, ...Array.from({ length: CROWD }, (_, n) => `@member${n}x:test`)];
  const rotate = (): Promise<void> => server.server.jobs.runOnce("rotate_notifs");
  const say = async (room: string, body: string, thread?: string): Promise<string> => {
    const content = { msgtype: "m.text", body, ...(thread === undefined ? {} : { "m.relates_to": { rel_type: "m.thread", event_id: thread } }) };
    return (await sendEvent(server.ctx, requesterOf(alice.userId), { roomId: room, type: "m.room.message", content })).eventId;
  };
  const rowCount = async (): Promise<number> => (await query<{ n: number }>(server.ctx.read, "SELECT count(*) AS n FROM event_push_actions"))[0]!.n;
  const countOf = async (userId: string, room: string) => (await server.ctx.unreadCounts(userId, [room])).get(room)?.main.notifications ?? 0;

  it("take no rows but for those who are named, and count for all", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: members() });
    await say(room, "hello everybody");
    await say(room, "and hello member7x");
    assert.equal(await rowCount(), 1);
    for (const user of ["@member1x:test", "@member7x:test", bob.userId]) assert.equal(await countOf(user, room), 2, user);
    assert.equal((await server.ctx.unreadCounts("@member7x:test", [room])).get(room)?.main.highlights, 1);
    assert.equal(await countOf(alice.userId, room), 0);
    await rotate();
    // Now by the tables alone, as Synapse reads them.
    for (const user of ["@member1x:test", "@member7x:test", bob.userId])
      assert.equal((await storedCounts(server.ctx.read, user, [room])).get(room)?.main.notifications, 2, user);
    for (const user of ["@member1x:test", bob.userId]) assert.equal(await countOf(user, room), 2, user);
  });

  it("are what a recount gives, whatever the order of messages, receipts and rotation (risk 78)", async () => {
    for (const seed of [5, 6, 7]) {
      const random = numbers(seed);
      const next = (): number => random.next().value;
      const room = await makeRoom(server.ctx, alice.userId, { members: members() });
      const sent: { eventId: string; thread: string }[] = [];
      const roots: string[] = [];
      let all = -1;
      const threads = new Map<string, number>();
      for (let step = 0; step < 100; step++) {
        const what = next();
        if (what < 0.6 || sent.length === 0) {
          const thread = roots.length > 0 && next() < 0.4 ? roots[Math.floor(next() * roots.length)]! : "main";
          const eventId = await say(room, `${next() < 0.1 ? "bob " : ""}message ${step}`, thread === "main" ? undefined : thread);
          sent.push({ eventId, thread });
          if (thread === "main" && next() < 0.3) roots.push(eventId);
        } else if (what < 0.85) {
          const index = Math.floor(next() * sent.length);
          const { eventId, thread } = sent[index]!;
          const threaded = next() < 0.5;
          const type = next() < 0.3 ? "m.read.private" : "m.read";
          const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/receipt/${type}/${encodeURIComponent(eventId)}`;
          assert.equal((await server.as(bob).post(path, threaded ? { thread_id: thread } : {})).status, 200);
          if (threaded) threads.set(thread, Math.max(threads.get(thread) ?? -1, index));
          else all = Math.max(all, index);
        } else {
          await rotate();
        }
        const expected = new Map<string, number>();
        sent.forEach(({ thread }, index) => {
          if (index > all && index > (threads.get(thread) ?? -1)) expected.set(thread, (expected.get(thread) ?? 0) + 1);
        });
        const counts = (await server.ctx.unreadCounts(bob.userId, [room])).get(room);
        const actual = new Map([...(counts?.threads ?? [])].map(([thread, { notifications }]) => [thread, notifications]));
        if (counts !== undefined && counts.main.notifications > 0) actual.set("main", counts.main.notifications);
        assert.deepEqual(actual, expected, `seed ${seed}, step ${step}`);
      }
    }
  });

  it("are listed, and redacted away", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: members() });
    const first = await say(room, "one");
    await say(room, "two");
    const listed = (await server.as(bob).get("/_matrix/client/v3/notifications")).body.notifications as { event: { content: { body: string } } }[];
    assert.deepEqual(listed.map(({ event }) => event.content.body).sort(), ["one", "two"]);
    assert.equal(await countOf(bob.userId, room), 2);
    await sendEvent(server.ctx, requesterOf(alice.userId), { roomId: room, type: "m.room.redaction", content: {}, redacts: first });
    for (const user of ["@member1x:test", bob.userId]) assert.equal(await countOf(user, room), 1, user);
  });

  it("survive a killed process", async () => {
    const room = await makeRoom(server.ctx, alice.userId, { members: members() });
    await say(room, "before");
    await rotate();
    await say(room, "after the rotation");
    await say(room, "bob is named");
    // As a server that starts on the database as it is now.
    const crowds = new Crowds(() => server.ctx.clock.now());
    await recoverCrowds({ ...server.ctx, crowds });
    assert.equal([...crowds.noticesFor("@member3x:test", room, 0)].length, 2);
    assert.equal([...crowds.noticesFor(bob.userId, room, 0)].length, 1);
    await rotate();
    assert.equal((await storedCounts(server.ctx.read, "@member3x:test", [room])).get(room)?.main.notifications, 3);
    assert.equal((await storedCounts(server.ctx.read, bob.userId, [room])).get(room)?.main.notifications, 3);
  });

  it("are looked for at the start in large rooms alone, among events that most have no row for", async () => {
    const large = await makeRoom(server.ctx, alice.userId, { members: members() });
    const small = await makeRoom(server.ctx, alice.userId, { members: members().slice(0, 20) });
    await rotate();
    const [inSmall, told, untold] = [await say(small, "few hear it"), await say(large, "told by another program"), await say(large, "told to nobody yet")];
    const tell = (txn: Txn): Promise<number> =>
      execute(
        txn,
        `INSERT INTO event_push_actions (room_id, event_id, user_id, actions, stream_ordering, topological_ordering, notif, highlight, unread, thread_id)
       SELECT e.room_id, e.event_id, u.user_id, '', e.stream_ordering, e.topological_ordering, 1, 0, 0, 'main'
       FROM events AS e CROSS JOIN unnest($2::text[]) AS u (user_id) WHERE e.event_id = $1 ON CONFLICT DO NOTHING`,
        [told, members()],
      );
    await server.ctx.transaction("test", tell);
    const judged: string[] = [];
    const events = { get: (ids: Iterable<string>) => (judged.push(...ids), server.ctx.events.get(judged)) };
    await recoverCrowds({ ...server.ctx, events: events as never, crowds: new Crowds(() => server.ctx.clock.now()) });
    assert.ok(!judged.includes(inSmall) && !judged.includes(told), "judged although nobody can be missing");
    assert.deepEqual(judged, [untold]);
  });
});
