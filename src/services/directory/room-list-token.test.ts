import assert from "node:assert/strict";
import { formatRoomListToken, parseRoomListToken } from "./room-list-token.ts";

describe("tokens of the room directory", () => {
  // Made by Synapse 1.160: RoomListNextBatch(last_joined_members=3, last_room_id="!abc:localhost", direction_is_forward=True).to_token()
  const synapse = "g6FtA6FyriFhYmM6bG9jYWxob3N0oWTD";
  it("are those of Synapse, both ways", () => {
    assert.equal(formatRoomListToken({ joinedMembers: 3, roomId: "!abc:localhost", forwards: true }), synapse);
    assert.deepEqual(parseRoomListToken(synapse), { joinedMembers: 3, roomId: "!abc:localhost", forwards: true });
  });
  it("refuses what it did not make", () => {
    for (const bad of ["x", "gA", "", "!!", Buffer.from([0xc1]).toString("base64")])
      assert.throws(() => parseRoomListToken(bad), { errcode: "M_INVALID_PARAM" });
  });
});
