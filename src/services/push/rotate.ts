import { applyReceipts, deleteRotatedActions, firstPositionSince, rotateActions } from "../../storage/push/rotate.ts";
import type { Context } from "../context.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** Brings the push summaries up to date: receipts first, then new actions, then old rows go. Every half minute. */
export async function rotateNotifications(
  ctx: Pick<Context, "clock" | "config" | "crowds" | "read" | "streams" | "transaction">,
  signal?: AbortSignal,
): Promise<void> {
  const { serverName } = ctx.config.server;
  const untilDone = async (step: () => Promise<boolean>): Promise<void> => {
    for (let done = false; !done && signal?.aborted !== true;) done = await step();
  };
  await untilDone(() => ctx.transaction("_handle_new_receipts_for_notifs_txn", (txn) => applyReceipts(txn, serverName, ctx.streams.receipts.currentToken())));
  await untilDone(() =>
    ctx.transaction("_rotate_notifs", (txn) => rotateActions(txn, ctx.streams.events.currentToken(), (from, to) => ctx.crowds.sums(from, to))),
  );
  const dayAgo = await firstPositionSince(ctx.read, ctx.clock.now() - DAY_MS);
  await untilDone(() => ctx.transaction("_remove_old_push_actions_that_have_rotated", (txn) => deleteRotatedActions(txn, dayAgo)));
}
