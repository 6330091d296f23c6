import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { systemClock } from "../../lib/clock.ts";
import { startFederatedServer, type FederatedTestServer } from "../../testing/federated-server.ts";
import type { TestUser } from "../../testing/server.ts";

type Body = Record<string, unknown>;

/** Waits until `fn` gives something. */
async function eventually<T>(what: string, fn: () => Promise<T | undefined | false>, ms = 8_000): Promise<T> {
  const end = systemClock.monotonic() + ms;
  for (;;) {
    const value = await fn();
    if (value !== undefined && value !== false) return value as T;
    if (systemClock.monotonic() > end) throw new Error(`${what} did not happen`);
    await systemClock.sleep(25);
  }
}

describe("two servers that federate", () => {
  let one: FederatedTestServer;
  let two: FederatedTestServer;
  let alice: TestUser;
  let bob: TestUser;

  before(async function () {
    this.timeout(20_000);
    [one, two] = await Promise.all([startFederatedServer(), startFederatedServer()]);
    [alice, bob] = await Promise.all([one.register("alice"), two.register("bob")]);
  });
  after(async () => {
    await Promise.all([one?.close(), two?.close()]);
  });

  const createRoom = async (version: string, options: Body = {}): Promise<string> =>
    (await one.as(alice).post("/_matrix/client/v3/createRoom", { room_version: version, preset: "public_chat", ...options }).expect(200)).body.room_id as string;
  const join = (roomId: string) => two.as(bob).post(`/_matrix/client/v3/join/${encodeURIComponent(roomId)}?server_name=${one.name}`);
  let txn = 0;
  const send = async (server: FederatedTestServer, user: TestUser, roomId: string, body: string): Promise<string> =>
    (await server.as(user).put(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${txn++}`, { msgtype: "m.text", body }).expect(200)).body.event_id as string;
  const has = (server: FederatedTestServer, user: TestUser, roomId: string, eventId: string) =>
    eventually(`event ${eventId} at ${server.name}`, async () => {
      const answer = await server.as(user).get(`/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(eventId)}`);
      return answer.status === 200 ? (answer.body as Body) : undefined;
    });

  for (const version of ["1", "3", "6", "10", "11", "12"]) {
    it(`join a room of version ${version}, write both ways, and agree about its state`, async function () {
      this.timeout(15_000);
      const roomId = await createRoom(version);
      await join(roomId).expect(200);
      const first = await send(one, alice, roomId, "hello from one");
      await has(two, bob, roomId, first);
      const second = await send(two, bob, roomId, "hello from two");
      await has(one, alice, roomId, second);
      const ids = async (server: FederatedTestServer) => [...(await server.ctx.state.currentIds(roomId))].sort();
      assert.deepEqual(await ids(one), await ids(two));
      const heads = async (server: FederatedTestServer) => [...(await server.ctx.persister.head(roomId)).storedTips.keys()];
      assert.deepEqual(await heads(one), await heads(two));
    });
  }
});
