import assert from "node:assert/strict";
import { createTestDatabase, type TestDatabase } from "../testing/database.ts";
import { FakeClock } from "../testing/fake-clock.ts";
import { testConfig } from "../testing/config.ts";
import { setRatelimitOverride } from "../storage/accounts/ratelimit-overrides.ts";
import { type AppserviceIdentity, noAppservices } from "./accounts/hooks.ts";
import { RateLimits } from "./rate-limits.ts";
import type { Requester } from "./requester.ts";

const requester = (userId: string, appserviceId?: string): Requester => ({
  userId,
  deviceId: undefined,
  accessTokenId: 1,
  isGuest: false,
  appserviceId,
  authenticatedEntity: userId,
  shadowBanned: false,
  scope: [],
});

describe("RateLimits", () => {
  let database: TestDatabase;
  let clock: FakeClock;
  let limits: RateLimits;
  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());
  beforeEach(() => {
    clock = new FakeClock();
    const { ratelimiting } = testConfig({
      rc_message: { per_second: 0.5, burst_count: 3 },
      rc_joins: { local: { per_second: 0.1, burst_count: 2 } },
      rc_admin_redaction: undefined,
    });
    const bridge = { id: "bridge", sender: "@bridgebot:test", rateLimited: false } as AppserviceIdentity;
    limits = new RateLimits({ ...ratelimiting, adminRedaction: undefined }, database.database.read, clock, {
      ...noAppservices,
      all: () => [bridge],
      byId: (id) => (id === "bridge" ? bridge : undefined),
    });
  });
  afterEach(() => limits.close());

  it("lets a burst through, then as many as leak out", async () => {
    for (let i = 0; i < 3; i++) await limits.check("message", "a");
    await assert.rejects(limits.check("message", "a"), {
      status: 429,
      errcode: "M_LIMIT_EXCEEDED",
      extra: { retry_after_ms: 2000, "org.myelin.limit": "rc_message" },
      headers: { "Retry-After": "2" },
    });
    await limits.check("message", "b");
    clock.advance(1999);
    assert.equal(await limits.allows("message", "a"), false);
    clock.advance(1);
    assert.equal(await limits.allows("message", "a"), true);
    assert.equal(await limits.allows("message", "a"), false);
    clock.advance(60_000);
    for (let i = 0; i < 3; i++) await limits.check("message", "a");
  });

  it("counts nothing when it only looks, and nothing that it refused", async () => {
    for (let i = 0; i < 10; i++) await limits.check("message", "a", { count: false });
    await limits.check("message", "a", { cost: 3 });
    for (let i = 0; i < 10; i++) assert.equal(await limits.allows("message", "a"), false);
    clock.advance(2000);
    await limits.check("message", "a");
  });

  it("takes all of several actions or none", async () => {
    await limits.check("joinsLocal", "a");
    assert.equal(await limits.allows("joinsLocal", "a", { cost: 2 }), false);
    await limits.check("joinsLocal", "a");
  });

  it("counts what others did, and gives back", async () => {
    limits.record("joinsLocal", "room", 2);
    assert.equal(await limits.allows("joinsLocal", "room"), false);
    limits.record("joinsLocal", "room", -1);
    assert.equal(await limits.allows("joinsLocal", "room"), true);
  });

  it("names the option of each limit", async () => {
    limits.record("joinsLocal", "x", 2);
    await assert.rejects(limits.check("joinsLocal", "x"), { extra: { retry_after_ms: 10_000, "org.myelin.limit": "rc_joins.local" } });
  });

  it("exempts users by the word of an admin, as soon as it is given", async () => {
    const alice = { requester: requester("@alice:test") };
    await limits.check("message", "@alice:test", { ...alice, cost: 3 });
    assert.equal(await limits.allows("message", "@alice:test", alice), false);
    await database.database.transaction("test", (txn) => setRatelimitOverride(txn, "@alice:test", { perSecond: 0, burst: 0 }));
    limits.forgetOverride("@alice:test");
    for (let i = 0; i < 20; i++) for (const name of ["message", "joinsLocal"] as const) await limits.check(name, "@alice:test", alice);
  });

  it("lets an admin set a user's own limit for messages, and for messages only", async () => {
    await database.database.transaction("test", (txn) => setRatelimitOverride(txn, "@bob:test", { perSecond: 1, burst: 5 }));
    const bob = { requester: requester("@bob:test") };
    for (let i = 0; i < 5; i++) await limits.check("message", "@bob:test", bob);
    assert.equal(await limits.allows("message", "@bob:test", bob), false);
    await limits.check("joinsLocal", "@bob:test", { ...bob, cost: 2 });
    assert.equal(await limits.allows("joinsLocal", "@bob:test", bob), false);
  });

  it("does not hold up application services that are not rate limited, nor their senders' messages", async () => {
    for (let i = 0; i < 10; i++) {
      await limits.check("joinsLocal", "@_irc_x:test", { requester: requester("@_irc_x:test", "bridge") });
      await limits.check("message", "@bridgebot:test", { requester: requester("@bridgebot:test") });
    }
  });

  it("counts redactions by admins as messages, unless they have a limit of their own", async () => {
    const carol = { requester: requester("@carol:test") };
    await limits.check("message", "@carol:test", { ...carol, cost: 3 });
    assert.equal(await limits.allows("adminRedaction", "@carol:test", carol), false);
  });

  it("forgets buckets that have run empty", async () => {
    for (let i = 0; i < 100; i++) await limits.check("message", `user${i}`);
    clock.advance(120_000);
    assert.equal((limits as unknown as { buckets: Map<string, unknown> }).buckets.size, 0);
  });
});
