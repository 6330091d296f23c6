import { stringifyAscii } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { redactJson } from "../../protocol/event/redact.ts";
import { deleteExpiries, expiredEvents, markCarriedOut, pruneStoredEvents, redactionsToCarryOut } from "../../storage/events/censor.ts";
import type { Context } from "../context.ts";

type Needs = Pick<Context, "read" | "transaction" | "events" | "clock" | "config">;

const AT_ONCE = 100;

/**
 * Takes the content out of stored messages whose time is over: that of their `org.matrix.self_destruct_after`, milliseconds since 1970
 * (MSC2228; option `enable_ephemeral_messages`).
 */
export async function expireEvents(ctx: Needs, signal?: AbortSignal): Promise<void> {
  for (;;) {
    const ids = await expiredEvents(ctx.read, ctx.clock.now(), AT_ONCE);
    if (ids.length === 0 || signal?.aborted === true) return;
    const events = await ctx.events.get(ids, { raw: true, rejected: true });
    await ctx.transaction("delete_expired_event", async (txn) => {
      await deleteExpiries(txn, ids);
      await pruneStoredEvents(txn, prunedTexts([...events.values()]));
      txn.afterCommit(() => ids.forEach((id) => ctx.events.forget(id)));
    });
  }
}

/**
 * Takes the content of redacted events out of the database when `redaction_retention_period` is over. Redactions that do not count, or of
 * which the event is not here yet, are looked at once: whoever stores the event later asks anew.
 */
export async function censorRedactions(ctx: Needs, signal?: AbortSignal): Promise<void> {
  const kept = ctx.config.server.redactionRetentionPeriodMs;
  if (kept === undefined) return;
  for (;;) {
    const redactions = await redactionsToCarryOut(ctx.read, ctx.clock.now() - kept, AT_ONCE);
    if (redactions.length === 0 || signal?.aborted === true) return;
    const targets = await ctx.events.get([...new Set(redactions.map(({ redacts }) => redacts))], { rejected: true });
    const redacted = [...targets.values()].filter((event) => event.redactedBecause !== undefined);
    await ctx.transaction("_update_censor_txn", async (txn) => {
      await pruneStoredEvents(txn, prunedTexts(redacted));
      await markCarriedOut(
        txn,
        redactions.map(({ id }) => id),
      );
      txn.afterCommit(() => redacted.forEach(({ eventId }) => ctx.events.forget(eventId)));
    });
  }
}

function prunedTexts(events: readonly MatrixEvent[]): Map<string, string> {
  return new Map(events.map((event) => [event.eventId, stringifyAscii(redactJson(event.json, event.roomVersion))]));
}
