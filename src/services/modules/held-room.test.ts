import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { outsideOfHeldRoom, requireRoomIsFree, whileRoomIsHeld } from "./held-room.ts";

describe("rooms that are held while a callback judges an event", () => {
  it("are not free for that callback, nor for those that it causes to be asked", async () => {
    await whileRoomIsHeld("!one", async () => {
      assert.throws(() => requireRoomIsFree("!one"));
      requireRoomIsFree("!two");
      await whileRoomIsHeld("!two", () => {
        for (const roomId of ["!one", "!two"]) assert.throws(() => requireRoomIsFree(roomId));
        return Promise.resolve();
      });
      requireRoomIsFree("!two");
    });
    requireRoomIsFree("!one");
  });

  it("are free for what goes on in the background", async () => {
    await whileRoomIsHeld("!one", async () => {
      await outsideOfHeldRoom(async () => {
        await Promise.resolve();
        requireRoomIsFree("!one");
      });
      assert.throws(() => requireRoomIsFree("!one"));
    });
  });
});
