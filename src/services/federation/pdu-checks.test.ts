import assert from "node:assert/strict";
import { systemClock } from "../../lib/clock.ts";
import { silentLogger } from "../../lib/log.ts";
import type { JsonObject } from "../../lib/json.ts";
import { buildEvent } from "../../protocol/event/build.ts";
import { signingKeyFromSeed } from "../../protocol/event/sign.ts";
import { roomVersion } from "../../protocol/room-versions.ts";
import { cacheKey } from "./key-ring.ts";
import { checkPdus, type PduCheckContext } from "./pdu-checks.ts";

const VERSION = roomVersion("11")!;
const ROOM = "!r:peer";
const KEY = signingKeyFromSeed("a", new Uint8Array(32).fill(7));
const OTHER = signingKeyFromSeed("a", new Uint8Array(32).fill(8));
const YEAR_3000 = 32_503_680_000_000;

const ctx = {
  clock: systemClock,
  log: silentLogger,
  keyRing: { keys: () => Promise.resolve(new Map([[cacheKey("peer", KEY.keyId), { ...KEY, validUntilTs: YEAR_3000 }]])) },
  modules: { spamChecker: { judgesEvents: false } },
} as unknown as PduCheckContext;

function message(body: string, key = KEY): JsonObject {
  return buildEvent(
    {
      roomVersion: VERSION,
      roomId: ROOM,
      type: "m.room.message",
      sender: "@user:peer",
      content: { msgtype: "m.text", body },
      originServerTs: 1,
      depth: 1,
      prevEventIds: [],
      authEventIds: [],
    },
    "peer",
    [key],
  ).json;
}

describe("the checks of received events", () => {
  // More than are checked at the same time, and so few that they are checked without threads.
  for (const count of [3, 450]) {
    it(`drop what is not signed, and cut down what is not as it was hashed, of ${count} events as of one`, async () => {
      const pdus = Array.from({ length: count }, (_, index) => message(String(index)));
      pdus[1] = message("forged", OTHER);
      pdus[count - 1] = { ...pdus[count - 1]!, content: { body: "changed" } };
      const { events, refused } = await checkPdus(ctx, VERSION, ROOM, pdus);
      assert.equal(refused.size, 1);
      assert.deepEqual([...refused.values()], ["unable to verify signature for sender domain peer"]);
      assert.deepEqual(
        events.map(({ content }) => content.body),
        [...Array.from({ length: count }, (_, index) => String(index)).filter((_, index) => index !== 1 && index !== count - 1), undefined],
      );
    });
  }

  it("take no signature of another length or form", async () => {
    const pdus = ["", "AAAA", "x".repeat(86), "?".repeat(86)].map((signature) => ({ ...message(signature), signatures: { peer: { [KEY.keyId]: signature } } }));
    const { events, refused } = await checkPdus(ctx, VERSION, ROOM, [...pdus, ...pdus.map((pdu) => ({ ...pdu, depth: 2 }))]);
    assert.deepEqual(events, []);
    assert.equal(refused.size, 8);
  });
});
