import assert from "node:assert/strict";
import { type Clock, systemClock } from "../../lib/clock.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { requesterOf, makeRoom } from "../../testing/rooms.ts";
import { startTestServer, type TestServer } from "../../testing/server.ts";
import { sendEvent } from "../events/send.ts";
import { type EventFeed, EventFollower } from "./event-follower.ts";

/** Takes messages; keeps its position in memory. */
class Messages implements EventFeed {
  readonly name = "appservice_sender";
  readonly batch = 3;
  readonly raw = true;
  readonly type = "m.room.message";
  readonly bodies: unknown[] = [];
  readonly errors: unknown[] = [];
  saved = 0;
  broken = false;

  wants(event: MatrixEvent): boolean {
    return event.type === this.type;
  }
  openPosition(): Promise<number> {
    return Promise.resolve(this.saved);
  }
  handOut(events: readonly MatrixEvent[]): Promise<boolean> {
    if (this.broken) return Promise.reject(new Error("broken"));
    this.bodies.push(...events.map(({ content }) => content["body"]));
    return Promise.resolve(false);
  }
  savePosition(position: number): Promise<void> {
    this.saved = position;
    return Promise.resolve();
  }
  failed(error: unknown): void {
    this.errors.push(error);
  }
}

describe("a follower of the events stream", () => {
  let server: TestServer;
  const alice = "@alice:test";
  before(async () => (server = await startTestServer()));
  after(() => server.close());

  const send = async (roomId: string, body: string): Promise<void> =>
    void (await sendEvent(server.ctx, requesterOf(alice), { roomId, type: "m.room.message", content: { msgtype: "m.text", body } }));

  it("takes what came before it from the database, what comes from memory, each once and in order, also after a stop", async () => {
    const { ctx } = server;
    const roomId = await makeRoom(ctx, alice);
    const feed = new Messages();
    for (const body of ["1", "2", "3", "4"]) await send(roomId, body);
    const first = EventFollower.start(ctx, ctx.publisher, feed);
    await first.settled();
    for (const body of ["5", "6", "7", "8"]) await send(roomId, body);
    await first.settled();
    await first.close();
    assert.equal(feed.saved, ctx.streams.events.currentToken());
    await send(roomId, "9");
    assert.deepEqual(feed.bodies, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    const second = EventFollower.start(ctx, ctx.publisher, feed);
    await second.settled();
    await second.close();
    assert.deepEqual(feed.bodies.slice(-2), ["8", "9"]);
  });

  it("tries again what failed, and loses nothing by it", async () => {
    const waits: (() => void)[] = [];
    const clock: Clock = {
      ...systemClock,
      after: (_ms, fn) => {
        waits.push(fn);
        return { cancel: () => {} };
      },
    };
    const { ctx } = server;
    const roomId = await makeRoom(ctx, alice);
    const feed = new Messages();
    feed.saved = ctx.streams.events.currentToken();
    feed.broken = true;
    const follower = EventFollower.start({ ...ctx, clock }, ctx.publisher, feed);
    await send(roomId, "kept");
    await follower.settled();
    assert.equal(feed.errors.length > 0, true);
    feed.broken = false;
    for (const again of waits) again();
    await follower.settled();
    await follower.close();
    assert.deepEqual(feed.bodies, ["kept"]);
  });
});
