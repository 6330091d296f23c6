import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import type { StreamName } from "../../storage/stream-ids.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

interface Body {
  next_batch: string;
  [section: string]: unknown;
}

const WITHOUT_PRESENCE = `filter=${encodeURIComponent(JSON.stringify({ presence: { not_types: ["*"] } }))}`;

/**
 * A position becomes visible only when every smaller one is stored or given up: a user is woken by what was committed beside a slower
 * writer of the same stream when the slower one has ended, and not at the end of their long poll.
 */
describe("a waiting client and two writers of one stream", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let roomId: string;
  before(async () => {
    server = await startTestServer({ config: { experimental_features: { msc4306_enabled: true } } });
    alice = await server.register("alice");
    bob = await server.register("bob");
    roomId = ((await server.as(alice).post("/_matrix/client/v3/createRoom", { preset: "public_chat" }).expect(200)).body as { room_id: string }).room_id;
    await server.as(bob).post(`/_matrix/client/v3/rooms/${roomId}/join`, {}).expect(200);
  });
  after(() => server.close());

  const sync = async (query: string): Promise<Body> =>
    (await server.as(bob).get(`/_matrix/client/v3/sync?set_presence=offline&${WITHOUT_PRESENCE}&${query}`).expect(200)).body as Body;
  const slidingSync = async (pos: string, timeout: number): Promise<Body & { pos: string }> =>
    (
      await server
        .as(bob)
        .post(`/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=${timeout}${pos}`, {
          conn_id: "c",
          extensions: { account_data: { enabled: true } },
        })
        .expect(200)
    ).body as Body & { pos: string };

  /** A transaction that holds a position of the stream; the returned function ends it. */
  async function holding(stream: StreamName): Promise<() => Promise<void>> {
    const { ctx } = server;
    let end = (): void => {};
    const ended = new Promise<void>((resolve) => (end = resolve));
    let transaction: Promise<unknown> = Promise.resolve();
    await new Promise<void>((resolve, reject) => {
      transaction = ctx.transaction("slow_writer", async (txn) => {
        await ctx.streams[stream].next(txn);
        resolve();
        await ended;
      });
      transaction.catch(reject);
    });
    return async () => {
      end();
      await transaction;
    };
  }

  /** What the waiting client is answered, where something is written beside a slower writer. */
  async function answered<T>(stream: StreamName, wait: () => Promise<T>, write: () => Promise<unknown>): Promise<T> {
    const { ctx } = server;
    const answer = wait();
    for (let i = 0; ctx.notifier.waitingUsers === 0 && i < 2000; i++) await ctx.clock.sleep(10);
    const end = await holding(stream);
    await write();
    await ctx.clock.sleep(50); // the client was woken in vain, where it was woken too early
    await end();
    const late = ctx.clock.sleep(20_000).then(() => assert.fail("the client was not woken"));
    return await Promise.race([answer, late]);
  }

  const writes: [StreamName, string, () => Promise<unknown>][] = [
    ["accountData", "account_data", () => server.as(bob).put(`/_matrix/client/v3/user/${bob.userId}/account_data/org.example.one`, { a: 1 }).expect(200)],
    [
      "pushRules",
      "account_data",
      () =>
        server
          .as(bob)
          .put("/_matrix/client/v3/pushrules/global/content/cake", { pattern: "cake", actions: ["notify"] })
          .expect(200),
    ],
    [
      "toDevice",
      "to_device",
      () =>
        server
          .as(alice)
          .put("/_matrix/client/v3/sendToDevice/org.example.hello/t1", { messages: { [bob.userId]: { "*": { hello: "bob" } } } })
          .expect(200),
    ],
    [
      "deviceLists",
      "device_lists",
      () =>
        server
          .as(alice)
          .post("/_matrix/client/v3/keys/upload", { device_keys: deviceKeys(alice) })
          .expect(200),
    ],
    [
      "receipts",
      "rooms",
      async () => {
        const { body } = await server.as(alice).get(`/_matrix/client/v3/rooms/${roomId}/messages?dir=b&limit=1`).expect(200);
        const [{ event_id: eventId }] = (body as { chunk: [{ event_id: string }] }).chunk;
        await server
          .as(alice)
          .post(`/_matrix/client/v3/rooms/${roomId}/receipt/m.read/${encodeURIComponent(eventId)}`, {})
          .expect(200);
      },
    ],
  ];
  for (const [stream, section, write] of writes)
    it(`/sync answers with ${section} when the slower writer of ${stream} has ended`, async () => {
      const { next_batch: since } = await sync("timeout=0");
      const answer = await answered(stream, () => sync(`since=${since}&timeout=60000`), write);
      assert.ok(answer[section] !== undefined, JSON.stringify(answer));
    });

  it("sliding sync answers with account data when the slower writer has ended", async () => {
    const { pos } = await slidingSync("", 0);
    const answer = await answered(
      "accountData",
      () => slidingSync(`&pos=${encodeURIComponent(pos)}`, 60_000),
      () => server.as(bob).put(`/_matrix/client/v3/user/${bob.userId}/account_data/org.example.two`, { a: 2 }).expect(200),
    );
    const { account_data: accountData } = answer["extensions"] as { account_data: { global: { type: string }[] } };
    assert.deepEqual(
      accountData.global.map(({ type }) => type),
      ["org.example.two"],
    );
  });

  it("what waits for other writers happens once, whether they store something or give up", async () => {
    const { accountData } = server.ctx.streams;
    const [first, second] = [await holding("accountData"), await holding("accountData")];
    const position = accountData.currentToken() + 1;
    let calls = 0;
    accountData.whenVisible(accountData.currentToken(), () => calls++);
    assert.equal(calls, 1, "what is visible does not wait");
    accountData.whenVisible(position + 1, () => calls++);
    await second();
    assert.equal(calls, 1);
    await first();
    assert.equal(calls, 2);
    await (
      await holding("accountData")
    )();
    assert.equal(calls, 2);
  });
});

function deviceKeys(user: TestUser): object {
  const { userId, deviceId } = user;
  return {
    user_id: userId,
    device_id: deviceId,
    algorithms: ["m.olm.v1.curve25519-aes-sha2"],
    keys: { [`curve25519:${deviceId}`]: "curve", [`ed25519:${deviceId}`]: "ed" },
    signatures: { [userId]: { [`ed25519:${deviceId}`]: "signature" } },
  };
}
