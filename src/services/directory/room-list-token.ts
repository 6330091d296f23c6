import { decode, encode } from "@msgpack/msgpack";
import { invalidParam } from "../../protocol/errors.ts";

/** Where a page of the room directory ends: `next_batch` and `prev_batch`, as Synapse packs them (MessagePack in unpadded base64). */
export interface RoomListToken {
  readonly joinedMembers: number;
  readonly roomId: string;
  readonly forwards: boolean;
}

/** The text of a pagination token of the room directory, as Synapse writes it. */
export function formatRoomListToken(token: RoomListToken): string {
  return Buffer.from(encode({ m: token.joinedMembers, r: token.roomId, d: token.forwards }))
    .toString("base64")
    .replace(/=+$/, "");
}

/** @throws MatrixError 400 M_INVALID_PARAM */
export function parseRoomListToken(text: string): RoomListToken {
  try {
    const value = decode(Buffer.from(text, "base64")) as { m?: unknown; r?: unknown; d?: unknown } | null;
    if (value !== null && Number.isSafeInteger(value.m) && typeof value.r === "string" && typeof value.d === "boolean") {
      return { joinedMembers: value.m as number, roomId: value.r, forwards: value.d };
    }
  } catch {
    // not one of ours
  }
  throw invalidParam("Invalid since token");
}
