import type { Txn } from "../../storage/database.ts";
import { noteRemovedPushers, type RemovedPusher, removePushersOfDevices, removePushersOfTokens, removePushersOfUser } from "../../storage/push/pushers.ts";
import type { AccountHooks } from "../accounts/hooks.ts";
import type { Context } from "../context.ts";

/** Pushers go with the account, the device or the token that they were made for. */
export const pusherHooks: Pick<AccountHooks, "deactivated" | "devicesDeleted" | "tokensDeleted"> = {
  deactivated: [async (ctx, txn, { userId }) => await note(ctx, txn, userId, await removePushersOfUser(txn, userId))],
  devicesDeleted: [async (ctx, txn, userId, deviceIds) => await note(ctx, txn, userId, await removePushersOfDevices(txn, userId, deviceIds))],
  tokensDeleted: [async (ctx, txn, userId, tokenIds) => await note(ctx, txn, userId, await removePushersOfTokens(txn, userId, tokenIds))],
};

async function note(ctx: Pick<Context, "streams">, txn: Txn, userId: string, removed: readonly RemovedPusher[]): Promise<void> {
  if (removed.length === 0) return;
  const stream = ctx.streams.pushers;
  await noteRemovedPushers(txn, userId, removed, await stream.next(txn, removed.length), stream.instanceName);
}
