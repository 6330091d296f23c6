import assert from "node:assert/strict";
import { describe, it } from "mocha";
import type { ReadHandle } from "../database.ts";
import { Memberships } from "./memberships.ts";

describe("memberships", () => {
  it("reads the members of rooms that it does not hold by one query", async () => {
    const asked: string[][] = [];
    const run = async (_sql: string, [roomIds]: [string[]]): Promise<object> => {
      asked.push(roomIds);
      return { rows: roomIds.filter((roomId) => roomId !== "!empty").map((room_id) => ({ room_id, state_key: `@in${room_id.slice(1)}:here` })) };
    };
    const members = new Memberships({ run } as unknown as ReadHandle, "here");
    assert.deepEqual([...(await members.joined("!one"))], ["@inone:here"]);
    const rooms = await members.inRooms(["!one", "!two", "!three", "!empty", "!two"]);
    assert.deepEqual(
      [...rooms].map(([roomId, { local, servers }]) => [roomId, [...local], [...servers]]),
      [
        ["!one", ["@inone:here"], ["here"]],
        ["!two", ["@intwo:here"], ["here"]],
        ["!three", ["@inthree:here"], ["here"]],
        ["!empty", [], []],
      ],
    );
    await members.inRooms(["!empty", "!three"]);
    assert.deepEqual(asked, [["!one"], ["!two", "!three", "!empty"]]);
    assert.equal((await members.inRoom("!two")).joined, rooms.get("!two")!.joined);
  });
});
