import type { JsonText } from "../../lib/json.ts";
import {
  type AccountDataEntry,
  globalAccountData,
  globalAccountDataBetween,
  roomAccountData,
  type RoomAccountDataEntry,
  roomAccountDataBetween,
  wholeAccountData,
} from "../../storage/accounts/account-data.ts";
import { roomTags, roomTagsChangedBetween, type Tags } from "../../storage/accounts/tags.ts";
import type { Context } from "../context.ts";

/** What /sync and sliding sync read of account data and tags. `since` undefined asks for everything (initial sync). */
type Ctx = Pick<Context, "read" | "changes">;

/**
 * Global account data of a user written in (`since`, `upTo`]; without `m.push_rules`, which comes from the push rules.
 * In an initial sync `withoutDeleted` (MSC3391 enabled) leaves out deleted entries.
 */
export async function accountDataSince(
  ctx: Ctx,
  userId: string,
  since: number | undefined,
  upTo: number,
  withoutDeleted: boolean,
): Promise<AccountDataEntry[]> {
  if (since === undefined) return await globalAccountData(ctx.read, userId, withoutDeleted);
  if (since >= upTo || !ctx.changes.accountData.hasChanged(userId, since)) return [];
  return await globalAccountDataBetween(ctx.read, userId, since, upTo);
}

/** Account data of a user in rooms, by room id, without tags. `roomIds` undefined means all rooms. */
export async function roomAccountDataSince(
  ctx: Ctx,
  userId: string,
  since: number | undefined,
  upTo: number,
  roomIds: readonly string[] | undefined,
  withoutDeleted: boolean,
): Promise<Map<string, AccountDataEntry[]>> {
  if (since !== undefined && (since >= upTo || !ctx.changes.accountData.hasChanged(userId, since))) return new Map();
  const entries =
    since === undefined
      ? await roomAccountData(ctx.read, userId, roomIds, withoutDeleted)
      : await roomAccountDataBetween(ctx.read, userId, since, upTo, roomIds);
  return groupByRoom(entries);
}

/** The whole set of tags of each room whose tags changed in (`since`, `upTo`]; with `since` undefined of each room that has tags. */
export async function tagsSince(
  ctx: Ctx,
  userId: string,
  since: number | undefined,
  upTo: number,
  roomIds: readonly string[] | undefined,
): Promise<Map<string, Tags>> {
  if (since === undefined) return await roomTags(ctx.read, userId, roomIds);
  if (since >= upTo || !ctx.changes.accountData.hasChanged(userId, since)) return new Map();
  return await roomTagsChangedBetween(ctx.read, userId, since, upTo, roomIds);
}

/** All account data of a user in rooms that the client sees for the first time, and, where `global`, beside them. */
export async function accountDataOfNewRooms(
  ctx: Pick<Context, "read">,
  userId: string,
  roomIds: readonly string[],
  global: boolean,
  withoutDeleted: boolean,
): Promise<{ global: readonly AccountDataEntry[]; rooms: Map<string, AccountDataEntry[]>; tags: Map<string, Tags> }> {
  if (roomIds.length === 0 && !global) return { global: [], rooms: new Map(), tags: new Map() };
  const whole = await wholeAccountData(ctx.read, userId, { global, roomIds }, withoutDeleted);
  return { global: whole.global, rooms: groupByRoom(whole.rooms), tags: whole.tags };
}

/** The `m.tag` event of a room. */
export function tagEvent(tags: Tags): { type: "m.tag"; content: { tags: Record<string, JsonText> } } {
  return { type: "m.tag", content: { tags } };
}

function groupByRoom(entries: readonly RoomAccountDataEntry[]): Map<string, AccountDataEntry[]> {
  const result = new Map<string, AccountDataEntry[]>();
  for (const { roomId, type, content } of entries) {
    const list = result.get(roomId);
    if (list === undefined) result.set(roomId, [{ type, content }]);
    else list.push({ type, content });
  }
  return result;
}
