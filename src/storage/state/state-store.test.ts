import assert from "node:assert/strict";
import { type StateKey, stateKeyOf } from "../../protocol/event/event.ts";
import type { ReadHandle } from "../database.ts";
import type { EventStore } from "../events/event-store.ts";
import { stateFrom } from "./snapshot.ts";
import { StateStore } from "./state-store.ts";

/** A database of two state groups, 2 on 1, that answers when it is told to. */
class SlowDatabase {
  private readonly waiting: { sql: string; params: unknown[]; resolve: (result: { rows: object[] }) => void }[] = [];

  readonly handle = {
    run: (sql: string, params: unknown[]) => new Promise((resolve) => this.waiting.push({ sql, params, resolve })),
  } as unknown as ReadHandle;

  /** Answers the oldest query that waits. */
  async answer(): Promise<void> {
    const { sql, params, resolve } = this.waiting.shift() ?? assert.fail("no query waits");
    resolve({ rows: sql.includes("RECURSIVE") ? this.chains(params[0] as number[]) : this.rows(params[0] as number[]) });
    await new Promise(setImmediate);
  }

  get queries(): number {
    return this.waiting.length;
  }

  private chains(groups: readonly number[]): object[] {
    const first = { id: 1, room_id: "!r", prev_state_group: null };
    return groups.includes(2) ? [first, { id: 2, room_id: "!r", prev_state_group: 1 }] : [first];
  }

  private rows(groups: readonly number[]): object[] {
    const row = (state_group: number, type: string, event_id: string): object => ({ state_group, type, state_key: "", event_id, base: null });
    return [
      ...(groups.includes(1) ? [row(1, "m.room.create", "$create"), row(1, "m.room.name", "$old")] : []),
      ...(groups.includes(2) ? [row(2, "m.room.name", "$new"), { state_group: 2, base: 1 }] : []),
    ];
  }
}

describe("state store", () => {
  const NEW = [
    [stateKeyOf("m.room.create", ""), "$create"],
    [stateKeyOf("m.room.name", ""), "$new"],
  ];

  it("gives each of two readers the state where the first brings it into the cache while the second waits", async () => {
    const database = new SlowDatabase();
    const store = new StateStore(database.handle, {} as EventStore);
    const first = store.groups([2]);
    await database.answer(); // its chains
    const second = store.groups([2]);
    await database.answer(); // the first one's rows: the group is held now
    assert.deepEqual([...(await first).get(2)!].sort(), NEW);
    while (database.queries > 0) await database.answer();
    assert.deepEqual([...(await second).get(2)!].sort(), NEW);
  });

  it("builds on a group that was held when it looked, though it drops out of the cache while the rows are read", async () => {
    const database = new SlowDatabase();
    const store = new StateStore(database.handle, {} as EventStore);
    const base = store.groups([1]);
    while (database.queries > 0) await database.answer();
    await base;
    const reader = store.groups([2]);
    await database.answer(); // its chains: group 1 is held
    store.forgetGroups();
    while (database.queries > 0) await database.answer();
    assert.deepEqual([...(await reader).get(2)!].sort(), NEW);
  });

  it("reads single entries of a group once, also those that it does not have, until groups are forgotten", async () => {
    const database = new SlowDatabase();
    const store = new StateStore(database.handle, {} as EventStore);
    const wanted: [string, string][] = [
      ["m.room.name", ""],
      ["m.room.topic", ""],
    ];
    const read = async (): Promise<unknown> => {
      const state = store.groups([2], wanted);
      while (database.queries > 0) await database.answer();
      return [...(await state).get(2)!].filter(([key]) => key !== NEW[0]![0]);
    };
    assert.deepEqual(await read(), [NEW[1]]);
    const again = store.groups([2], wanted);
    assert.equal(database.queries, 0);
    assert.deepEqual([...(await again).get(2)!], [NEW[1]]);
    void store.groups([2], [...wanted, ["m.room.avatar", ""]]);
    assert.equal(database.queries, 1);
    await database.answer();
    await database.answer();
    store.forgetGroups();
    void store.groups([2], wanted);
    assert.equal(database.queries, 1);
  });

  it("does not hold entries that were read before groups were forgotten", async () => {
    const database = new SlowDatabase();
    const store = new StateStore(database.handle, {} as EventStore);
    const wanted: [string, string][] = [["m.room.name", ""]];
    const state = store.groups([2], wanted);
    await database.answer();
    store.forgetGroups();
    await database.answer();
    await state;
    void store.groups([2], wanted);
    assert.equal(database.queries, 1);
  });

  it("counts the members of a state once", async () => {
    const database = { queries: 0 };
    const run = async (_sql: string, [roomIds]: [string[]]): Promise<object> => {
      database.queries++;
      return { rows: roomIds.map((room_id) => ({ room_id, joined: 2, invited: 1 })) };
    };
    const store = new StateStore({ run } as unknown as ReadHandle, {} as EventStore);
    const [one, other] = [stateFrom([NEW[0] as [StateKey, string]]), stateFrom([NEW[1] as [StateKey, string]])];
    const count = { joined: 2, invited: 1 };
    assert.deepEqual([...(await store.memberCounts(new Map([["!a", one]])))], [["!a", count]]);
    assert.deepEqual(
      [
        ...(await store.memberCounts(
          new Map([
            ["!a", one],
            ["!b", other],
            ["!c", stateFrom([])],
          ]),
        )),
      ],
      [
        ["!a", count],
        ["!b", count],
        ["!c", { joined: 0, invited: 0 }],
      ],
    );
    assert.equal(database.queries, 2);
    await store.memberCounts(new Map([["!a", stateFrom([...one, ...other])]]));
    assert.equal(database.queries, 3);
  });
});
