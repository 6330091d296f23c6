import assert from "node:assert/strict";
import { makeRoom, requesterOf } from "../../testing/rooms.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import { unreadCounts } from "../../storage/push/counts.ts";
import { query } from "../../storage/database.ts";
import { sendEvent } from "../events/send.ts";

/** Numbers that look random and are the same in each run. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

describe("unread counts", function () {
  this.timeout(120_000);
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async () => {
    server = await startTestServer();
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
  });

  after(() => server.close());

  const rotate = (): Promise<void> => server.server.jobs.runOnce("rotate_notifs");

  it("are what a recount of the events gives, whatever the order of messages, receipts, redactions and rotation (risk 78)", async () => {
    for (const seed of [1, 2, 3, 4]) {
      const random = numbers(seed);
      const next = (): number => random.next().value;
      const room = await makeRoom(server.ctx, alice.userId, { members: [bob.userId] });
      const sent: { eventId: string; thread: string; highlight: boolean }[] = [];
      const roots: string[] = [];
      const redacted = new Set<string>();
      // Highest index read, by thread; undefined: unthreaded.
      let all = -1;
      const threads = new Map<string, number>();
      for (let step = 0; step < 120; step++) {
        const what = next();
        if (what < 0.6 || sent.length === 0) {
          const highlight = next() < 0.2;
          const thread = roots.length > 0 && next() < 0.4 ? roots[Math.floor(next() * roots.length)]! : "main";
          const content = {
            msgtype: "m.text",
            body: highlight ? `hey bob ${step}` : `message ${step}`,
            ...(thread === "main" ? {} : { "m.relates_to": { rel_type: "m.thread", event_id: thread } }),
          };
          const { eventId } = await sendEvent(server.ctx, requesterOf(alice.userId), { roomId: room, type: "m.room.message", content });
          sent.push({ eventId, thread, highlight });
          if (thread === "main" && next() < 0.3) roots.push(eventId);
        } else if (what < 0.85) {
          const index = Math.floor(next() * sent.length);
          const { eventId, thread } = sent[index]!;
          // What is redacted belongs to no thread any more.
          const threaded = next() < 0.5 && !redacted.has(eventId);
          const type = next() < 0.3 ? "m.read.private" : "m.read";
          const response = await server
            .as(bob)
            .post(`/_matrix/client/v3/rooms/${encodeURIComponent(room)}/receipt/${type}/${encodeURIComponent(eventId)}`, threaded ? { thread_id: thread } : {});
          assert.equal(response.status, 200, JSON.stringify(response.body));
          if (threaded) threads.set(thread, Math.max(threads.get(thread) ?? -1, index));
          else all = Math.max(all, index);
        } else if (what < 0.92) {
          const { eventId } = sent[Math.floor(next() * sent.length)]!;
          if (roots.includes(eventId) || redacted.has(eventId)) continue;
          await sendEvent(server.ctx, requesterOf(alice.userId), { roomId: room, type: "m.room.redaction", redacts: eventId, content: { redacts: eventId } });
          redacted.add(eventId);
        } else {
          await rotate();
        }
        const counts = (await unreadCounts(server.ctx.read, bob.userId, [room])).get(room);
        const expected = new Map<string, { notifications: number; highlights: number; unread: number }>();
        sent.forEach(({ eventId, thread, highlight }, index) => {
          if (redacted.has(eventId)) return;
          if (index <= all || index <= (threads.get(thread) ?? -1)) return;
          const count = expected.get(thread) ?? { notifications: 0, highlights: 0, unread: 0 };
          count.notifications++;
          if (highlight) count.highlights++;
          expected.set(thread, count);
        });
        const actual = new Map<string, unknown>(counts?.threads ?? []);
        if (counts !== undefined && counts.main.notifications > 0) actual.set("main", counts.main);
        assert.deepEqual(actual, expected, `seed ${seed}, step ${step}`);
      }
    }
  });

  it("go back to a few rows: read actions are deleted, positions stay within their streams (risks 77, 78)", async () => {
    await rotate();
    const [row] = await query<Record<string, number>>(
      server.ctx.read,
      `SELECT (SELECT count(*) FROM event_push_summary_stream_ordering) AS orderings, (SELECT stream_ordering FROM event_push_summary_stream_ordering) AS at,
         (SELECT count(*) FROM event_push_summary_last_receipt_stream_id) AS receipts, (SELECT stream_id FROM event_push_summary_last_receipt_stream_id) AS receipt,
         (SELECT count(*) FROM event_push_actions_staging) AS staged`,
    );
    assert.deepEqual([row!.orderings, row!.receipts, row!.staged], [1, 1, 0]);
    assert.equal(row!.at, server.ctx.streams.events.currentToken());
    assert.equal(row!.receipt, server.ctx.streams.receipts.currentToken());
  });
});
