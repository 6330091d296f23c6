import assert from "node:assert/strict";
import { systemClock } from "../../lib/clock.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { HeldEvents } from "./held-events.ts";

const event = (streamOrdering: number): MatrixEvent => ({ streamOrdering }) as MatrixEvent;

describe("events held for a reader of the stream", () => {
  it("come in order, a batch at a time, and again until they are released", async () => {
    const stream = { events: { currentToken: () => 10 } } as never;
    const held = new HeldEvents({ streams: stream, read: {} as never, events: {} as never, clock: systemClock }, { batch: 2, raw: false, wants: () => true });
    held.stored({ events: [event(13), event(11)], backfilled: false } as never);
    held.stored({ events: [event(12), event(14)], backfilled: false } as never);
    const orderings = (events: readonly MatrixEvent[]): (number | undefined)[] => events.map(({ streamOrdering }) => streamOrdering);
    for (let attempt = 0; attempt < 2; attempt++) {
      const batch = await held.take(10, 13);
      assert.deepEqual(orderings(batch.events), [11, 12]);
      assert.equal(batch.position, 12);
    }
    held.release(12);
    const rest = await held.take(12, 13);
    assert.deepEqual([orderings(rest.events), rest.position], [[13], 13]);
    held.release(13);
    assert.deepEqual(orderings((await held.take(13, 20)).events), [14]);
  });
});
