import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { currentRequest } from "../../lib/request-context.ts";
import { query } from "../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import { ConnectionChanges, type ConnectionState, SlidingConnections } from "./connection.ts";

const C = "/_matrix/client/v3";
const SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
const id = encodeURIComponent;

interface Answer {
  readonly pos: string;
  readonly lists: Record<string, { readonly count: number; readonly ops: readonly { readonly room_ids: readonly string[] }[] }>;
  readonly rooms: Record<string, any>;
  readonly extensions: Record<string, any>;
}

describe("sliding sync: connections", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  before(async function () {
    this.timeout(60_000);
    server = await startTestServer();
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
  });
  after(() => server.close());

  const rows = async <Row extends object>(sql: string, params: unknown[]): Promise<Row[]> => await query<Row>(server.ctx.read, sql, params);
  const createRoom = async (user: TestUser): Promise<string> =>
    (await server.as(user).post(`${C}/createRoom`, { preset: "public_chat", name: "A room" }).expect(200)).body.room_id;
  let txn = 0;
  const send = async (user: TestUser, roomId: string): Promise<void> => {
    await server
      .as(user)
      .put(`${C}/rooms/${id(roomId)}/send/m.room.message/c${++txn}`, { msgtype: "m.text", body: "Hello" })
      .expect(200);
  };
  const REQUIRED = [
    ["m.room.name", ""],
    ["m.room.member", "$LAZY"],
  ];
  const EXTENSIONS = Object.fromEntries(["to_device", "e2ee", "account_data", "receipts", "typing"].map((name) => [name, { enabled: true }]));
  const sync = async (user: TestUser, conn_id: string, pos?: string, required_state: readonly (readonly string[])[] = REQUIRED): Promise<Answer> => {
    const body = { conn_id, lists: { a: { ranges: [[0, 99]], required_state, timeline_limit: 1 } }, extensions: EXTENSIONS };
    const answer = await server
      .as(user)
      .post(`${SLIDING}?timeout=0${pos === undefined ? "" : `&pos=${id(pos)}`}`, body)
      .expect(200);
    return answer.body as Answer;
  };
  const positionOf = (pos: string): number => Number(pos.split("/")[0]);
  const key = (user: TestUser, connId: string): { userId: string; effectiveDeviceId: string; connId: string } => ({
    userId: user.userId,
    effectiveDeviceId: user.deviceId,
    connId,
  });
  const plain = (state: ConnectionState): unknown => ({
    sent: Object.fromEntries(
      Object.entries(state.sent).map(([stream, rooms]) => [stream, [...rooms].map(([roomId, { status, lastToken }]) => [roomId, status, lastToken]).sort()]),
    ),
    configs: [...state.configs].map(([roomId, config]) => [roomId, config.timelineLimit, [...config.requiredState.keys()].sort()]).sort(),
    lazy: [...state.lazyMembers].map(([roomId, users]) => [roomId, [...users].sort()]).sort(),
  });

  it("are stored as they are held: a server that begins reads the same", async () => {
    const roomId = await createRoom(alice);
    await server
      .as(bob)
      .post(`${C}/rooms/${id(roomId)}/join`, {})
      .expect(200);
    const stored = async (pos: string): Promise<void> => {
      const held = await server.ctx.slidingConnections.load(key(alice, "same"), positionOf(pos));
      const read = await new SlidingConnections(server.ctx).load(key(alice, "same"), positionOf(pos));
      assert.deepEqual(plain(read), plain(held));
      assert.ok(held.sent.rooms.has(roomId) && held.sent.receipts.has(roomId) && held.sent.account_data.has(roomId));
    };
    const first = await sync(alice, "same");
    await stored(first.pos);
    await send(bob, roomId);
    const second = await sync(alice, "same", first.pos);
    assert.deepEqual(Object.keys(second.rooms), [roomId]);
    await stored(second.pos);
    const third = await sync(alice, "same", second.pos, [...REQUIRED, ["m.room.topic", ""]]);
    await stored(third.pos);
    const positions = await rows<{ at: number }>(
      `SELECT p.connection_position AS at FROM sliding_sync_connection_positions AS p JOIN sliding_sync_connections AS c USING (connection_key)
       WHERE c.user_id = $1 AND c.conn_id = 'same' ORDER BY 1`,
      [alice.userId],
    );
    // What the client has used, and what it was given last.
    assert.deepEqual(
      positions.map(({ at }) => at),
      [positionOf(second.pos), positionOf(third.pos)],
    );
  });

  it("keep the lazy members that the client has acknowledged, and each required state once", async () => {
    const roomId = await createRoom(alice);
    const first = await sync(alice, "lazy");
    const members = (): Promise<{ user_id: string; position: number | null }[]> =>
      rows(
        `SELECT m.user_id, m.connection_position AS position FROM sliding_sync_connection_lazy_members AS m
         JOIN sliding_sync_connections AS c USING (connection_key) WHERE c.conn_id = 'lazy' AND m.room_id = $1 ORDER BY 1`,
        [roomId],
      );
    assert.deepEqual(await members(), [{ user_id: alice.userId, position: positionOf(first.pos) }]);
    await server
      .as(bob)
      .post(`${C}/rooms/${id(roomId)}/join`, {})
      .expect(200);
    const second = await sync(alice, "lazy", first.pos);
    assert.deepEqual(await members(), [
      { user_id: alice.userId, position: null },
      { user_id: bob.userId, position: positionOf(second.pos) },
    ]);
    const states = await rows(
      `SELECT s.required_state FROM sliding_sync_connection_required_state AS s JOIN sliding_sync_connections AS c USING (connection_key) WHERE c.conn_id = 'lazy'`,
      [],
    );
    assert.equal(states.length, 1);
  });

  it("belong to a device: a position of another's is unknown and stays as it is", async () => {
    const roomId = await createRoom(alice);
    const first = await sync(alice, "mine");
    const changes = new ConnectionChanges();
    const before = await server.ctx.slidingConnections.load(key(alice, "mine"), positionOf(first.pos));
    changes.recordUnsent("rooms", before, [roomId], "s1");
    const read = (): Promise<object[]> =>
      rows(`SELECT * FROM sliding_sync_connection_positions JOIN sliding_sync_connections USING (connection_key) ORDER BY connection_position`, []);
    const all = await read();
    for (const foreign of [key(bob, "mine"), key(alice, "yours"), { ...key(alice, "mine"), effectiveDeviceId: "OTHER" }]) {
      await assert.rejects(server.ctx.slidingConnections.record(foreign, positionOf(first.pos), before, changes), { errcode: "M_UNKNOWN_POS" });
    }
    await assert.rejects(server.ctx.slidingConnections.record(key(alice, "mine"), 1_000_000, before, changes), { errcode: "M_UNKNOWN_POS" });
    assert.deepEqual(await read(), all);
  });

  it("begin anew without a position: what the connection had is gone", async () => {
    const first = await sync(alice, "again");
    await sync(alice, "again");
    const refused = await server.as(alice).post(`${SLIDING}?timeout=0&pos=${id(first.pos)}`, { conn_id: "again" });
    // A position that is still held is answered, but no longer stored.
    if (refused.status !== 200) assert.equal(refused.body.errcode, "M_UNKNOWN_POS");
    const connections = await rows(`SELECT FROM sliding_sync_connections WHERE user_id = $1 AND conn_id = 'again'`, [alice.userId]);
    assert.equal(connections.length, 1);
  });

  it("take as many statements for many rooms as for few", async () => {
    const carol = await server.register("carol");
    const statements = async (run: () => Promise<unknown>): Promise<number> => {
      let count = 0;
      const stop = server.ctx.db.observe(() => {
        if (currentRequest()?.url?.startsWith(SLIDING) === true) count++;
      });
      await run();
      stop();
      return count;
    };
    for (let index = 0; index < 2; index++) await createRoom(carol);
    await sync(carol, "warm");
    const few = await statements(() => sync(carol, "few"));
    for (let index = 0; index < 12; index++) await createRoom(carol);
    const warm = await sync(carol, "warm");
    assert.equal(Object.keys(warm.rooms).length, 14);
    const many = await statements(() => sync(carol, "many"));
    assert.ok(many <= few, `${many} statements for 14 rooms, ${few} for 2`);
    assert.ok(many >= 4 && many <= 12, `${many} statements`);
  });

  it("show which rooms are direct as the user's account data says now", async () => {
    const dave = await server.register("dave");
    const roomId = await createRoom(dave);
    const direct = (content: object): Promise<unknown> =>
      server
        .as(dave)
        .put(`${C}/user/${id(dave.userId)}/account_data/m.direct`, content)
        .expect(200);
    const isDirect = async (): Promise<boolean> => (await sync(dave, `direct${++txn}`)).rooms[roomId].is_dm === true;
    assert.equal(await isDirect(), false);
    await direct({ [bob.userId]: [roomId] });
    assert.equal(await isDirect(), true);
    await direct({});
    assert.equal(await isDirect(), false);
  });

  it("list rooms by their last event, newest first", async () => {
    const erin = await server.register("erin");
    const [one, two, three] = [await createRoom(erin), await createRoom(erin), await createRoom(erin)];
    const order = async (): Promise<readonly string[]> => (await sync(erin, `order${++txn}`)).lists.a!.ops[0]!.room_ids;
    assert.deepEqual(await order(), [three, two, one]);
    await send(erin, two);
    assert.deepEqual(await order(), [two, three, one]);
    await send(erin, one);
    assert.deepEqual(await order(), [one, two, three]);
  });
});
