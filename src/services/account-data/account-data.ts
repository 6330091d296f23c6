import { isJsonObject, type JsonObject, stringifyAscii } from "../../lib/json.ts";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import {
  emptyGlobalAccountData,
  emptyGlobalAccountDataOf,
  emptyRoomAccountData,
  globalAccountDataOfType,
  putGlobalAccountData,
  putRoomAccountData,
  replaceIgnoredUsers,
} from "../../storage/accounts/account-data.ts";
import { deleteRoomTag, putRoomTag, roomTags } from "../../storage/accounts/tags.ts";
import type { Txn } from "../../storage/database.ts";
import type { Context } from "../context.ts";

/** A user's own data, global and per room, and tags (client-server API, "Client Config", "Room Tagging"; MSC3391). */
export type AccountDataContext = Pick<Context, "read" | "transaction" | "streams" | "modules" | "notifier" | "changes" | "ignoredUsers">;

const IGNORED_USER_LIST = "m.ignored_user_list";
const DIRECT = "m.direct";

/** Requests that set the same entry at the same moment take turns on its row; the last one counts. */
const READ_COMMITTED = { isolation: "read committed" } as const;

/** Types that have their own API. @throws MatrixError 405 M_BAD_JSON */
export function checkMayBeSet(type: string): void {
  if (type === "m.fully_read") {
    throw new MatrixError(405, "M_BAD_JSON", "Cannot set m.fully_read through this API. Use /rooms/!roomId:server.name/read_markers");
  }
  if (type === "m.push_rules") throw new MatrixError(405, "M_BAD_JSON", "Cannot set m.push_rules through this API. Use /pushrules");
}

/** @throws MatrixError 400 M_INVALID_PARAM when a user would ignore themself */
export async function setAccountData(ctx: AccountDataContext, userId: string, type: string, content: JsonObject): Promise<void> {
  const ignored = type === IGNORED_USER_LIST ? ignoredUserIds(content) : undefined;
  if (ignored?.includes(userId)) throw invalidParam("You cannot ignore yourself");
  const text = stringifyAscii(content);
  await ctx.transaction(
    "add_user_account_data",
    async (txn) => {
      const [streamId] = await ctx.streams.accountData.next(txn);
      await putGlobalAccountData(txn, userId, type, text, streamId!);
      if (ignored !== undefined) await storeIgnored(ctx, txn, userId, ignored);
      announce(ctx, txn, userId, streamId!);
    },
    READ_COMMITTED,
  );
  await ctx.modules.accountData.updated(userId, undefined, type, content);
}

/** As `setAccountData`, for a room. */
export async function setRoomAccountData(ctx: AccountDataContext, userId: string, roomId: string, type: string, content: JsonObject): Promise<void> {
  const text = stringifyAscii(content);
  await ctx.transaction(
    "add_room_account_data",
    async (txn) => {
      const [streamId] = await ctx.streams.accountData.next(txn);
      await putRoomAccountData(txn, userId, roomId, type, text, streamId!);
      announce(ctx, txn, userId, streamId!);
    },
    READ_COMMITTED,
  );
  await ctx.modules.accountData.updated(userId, roomId, type, content);
}

/** MSC3391. Nothing happens when there is nothing of that type. */
export async function deleteAccountData(ctx: AccountDataContext, userId: string, type: string): Promise<void> {
  await ctx.transaction(
    "remove_account_data_for_user",
    async (txn) => {
      const [streamId] = await ctx.streams.accountData.next(txn);
      if (!(await emptyGlobalAccountData(txn, userId, type, streamId!))) return;
      if (type === IGNORED_USER_LIST) await storeIgnored(ctx, txn, userId, []);
      announce(ctx, txn, userId, streamId!);
    },
    READ_COMMITTED,
  );
  await ctx.modules.accountData.updated(userId, undefined, type, {});
}

/** As `deleteAccountData` of several types, as part of a larger transaction. */
export async function deleteAccountDataIn(ctx: AccountDataContext, txn: Txn, userId: string, types: readonly string[]): Promise<void> {
  const streamIds = await ctx.streams.accountData.next(txn, types.length);
  const emptied = await emptyGlobalAccountDataOf(txn, userId, types, streamIds);
  if (emptied.length === 0) return;
  announce(ctx, txn, userId, streamIds.at(-1)!);
  txn.afterCommit(() => {
    for (const type of emptied) void ctx.modules.accountData.updated(userId, undefined, type, {});
  });
}

/** MSC3391, in a room. */
export async function deleteRoomAccountData(ctx: AccountDataContext, userId: string, roomId: string, type: string): Promise<void> {
  await ctx.transaction(
    "remove_account_data_for_room",
    async (txn) => {
      const [streamId] = await ctx.streams.accountData.next(txn);
      if (await emptyRoomAccountData(txn, userId, roomId, type, streamId!)) announce(ctx, txn, userId, streamId!);
    },
    READ_COMMITTED,
  );
  await ctx.modules.accountData.updated(userId, roomId, type, {});
}

/** Sets a tag of a room for a user. */
export async function addTag(ctx: AccountDataContext, userId: string, roomId: string, tag: string, content: JsonObject): Promise<void> {
  const text = stringifyAscii(content);
  await ctx.transaction(
    "add_tag",
    async (txn) => {
      const [streamId] = await ctx.streams.accountData.next(txn);
      await putRoomTag(txn, userId, roomId, tag, text, streamId!);
      announce(ctx, txn, userId, streamId!);
    },
    READ_COMMITTED,
  );
}

/** Takes a tag from a room. */
export async function removeTag(ctx: AccountDataContext, userId: string, roomId: string, tag: string): Promise<void> {
  await ctx.transaction(
    "remove_tag",
    async (txn) => {
      const [streamId] = await ctx.streams.accountData.next(txn);
      await deleteRoomTag(txn, userId, roomId, tag, streamId!);
      announce(ctx, txn, userId, streamId!);
    },
    READ_COMMITTED,
  );
}

/**
 * After a room upgrade: the new room takes the old one's tags and its place in `m.direct`. The caller has made sure that the old room is
 * really the predecessor (both rooms say so, and the user was in the old one).
 */
export async function copyTagsAndDirect(ctx: AccountDataContext, userId: string, oldRoomId: string, newRoomId: string): Promise<void> {
  const direct = parseObject(await globalAccountDataOfType(ctx.read, userId, DIRECT));
  const other = Object.entries(direct).find(([, rooms]) => Array.isArray(rooms) && rooms.includes(oldRoomId) && !rooms.includes(newRoomId));
  if (other !== undefined) {
    const [key, rooms] = other as [string, string[]];
    await setAccountData(ctx, userId, DIRECT, { ...direct, [key]: [...rooms, newRoomId] });
  }
  const tags = (await roomTags(ctx.read, userId, [oldRoomId])).get(oldRoomId) ?? {};
  const names = Object.keys(tags);
  if (names.length === 0) return;
  await ctx.transaction(
    "add_tag",
    async (txn) => {
      const streamIds = await ctx.streams.accountData.next(txn, names.length);
      await Promise.all(names.map((tag, index) => putRoomTag(txn, userId, newRoomId, tag, tags[tag]!.text, streamIds[index]!)));
      announce(ctx, txn, userId, streamIds.at(-1)!);
    },
    READ_COMMITTED,
  );
}

/** Wakes the user's own sync once the transaction is committed. */
export function announce(ctx: Pick<Context, "changes" | "notifier" | "streams">, txn: Txn, userId: string, streamId: number): void {
  txn.afterCommit(() => {
    ctx.changes.accountData.record(userId, streamId);
    ctx.streams.accountData.whenVisible(streamId, () => {
      ctx.notifier.wakeUsers([userId], "account_data_key");
      ctx.notifier.announce();
    });
  });
}

async function storeIgnored(ctx: Pick<Context, "ignoredUsers">, txn: Txn, userId: string, ignored: readonly string[]): Promise<void> {
  const changed = await replaceIgnoredUsers(txn, userId, ignored);
  if (changed.length > 0) txn.afterCommit(() => ctx.ignoredUsers.invalidate(userId, changed));
}

/** Keys of `ignored_users`; nobody when it is no object. Postgres cannot hold U+0000, and no user id has it. */
function ignoredUserIds(content: JsonObject): string[] {
  return isJsonObject(content.ignored_users) ? Object.keys(content.ignored_users).filter((userId) => !userId.includes("\0")) : [];
}

function parseObject(text: string | undefined): JsonObject {
  if (text === undefined) return {};
  const value: unknown = JSON.parse(text);
  return isJsonObject(value) ? value : {};
}
