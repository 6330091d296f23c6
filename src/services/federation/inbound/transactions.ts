import { isJsonObject, type Json, type JsonObject, JsonText } from "../../../lib/json.ts";
import { canonicalJson } from "../../../protocol/canonical-json.ts";
import { MatrixError } from "../../../protocol/errors.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { storedEventJson, storedInternalMetadata } from "../../../protocol/event/serialise.ts";
import { DatabaseUnavailable, isDataException } from "../../../storage/database.ts";
import { answerOfTransaction, storeAnswerOfTransaction } from "../../../storage/federation/received-transactions.ts";
import { stageEvents, type StagedEvent } from "../../../storage/federation/staging.ts";
import type { Context } from "../../context.ts";
import { checkPdus, type PduCheckContext } from "../pdu-checks.ts";
import { type EduContext, receiveEdu } from "./edus.ts";

export type TransactionContext = PduCheckContext & EduContext & Pick<Context, "config" | "read" | "roomVersions" | "transaction">;

export interface TransactionAnswer {
  readonly status: number;
  readonly body: JsonObject | JsonText;
}

const MAX_PDUS = 50;
const MAX_EDUS = 100;
/** EDUs, and rooms, that are worked at together. */
const AT_ONCE = 10;

/**
 * Transactions of other servers (server-server API, "Transactions"). One of each server at a time; one that came before gets the same answer
 * again, also after a restart.
 */
export class InboundTransactions {
  /** By server, the transaction under way and its answer. */
  private readonly active = new Map<string, { id: string; answer: Promise<TransactionAnswer> }>();
  /** Time of the last staged event: the staging table is ordered by it. */
  private lastReceived = 0;

  constructor(private readonly context: () => TransactionContext) {}

  /** The answer to a transaction: `pdus` by event id, with an `error` for those that were refused. */
  async receive(origin: string, transactionId: string, content: JsonObject): Promise<TransactionAnswer> {
    const { pdus = [], edus = [] } = content;
    if (!Array.isArray(pdus) || !Array.isArray(edus)) return { status: 400, body: { errcode: "M_BAD_JSON", error: "Invalid transaction" } };
    if (pdus.length > MAX_PDUS || edus.length > MAX_EDUS)
      return { status: 400, body: { errcode: "M_UNKNOWN", error: "Too many PDUs or EDUs in one transaction" } };
    const running = this.active.get(origin);
    if (running !== undefined) {
      if (running.id === transactionId) return await running.answer;
      return { status: 429, body: { errcode: "M_UNKNOWN", error: "Too many concurrent transactions" } };
    }
    const answer = this.handle(origin, transactionId, pdus, edus);
    this.active.set(origin, { id: transactionId, answer });
    try {
      return await answer;
    } finally {
      this.active.delete(origin);
    }
  }

  private async handle(origin: string, transactionId: string, pdus: readonly Json[], edus: readonly Json[]): Promise<TransactionAnswer> {
    const ctx = this.context();
    const before = await answerOfTransaction(ctx.read, origin, transactionId);
    if (before !== undefined) return { status: before.status, body: new JsonText(before.json) };
    const [results] = await Promise.all([this.handlePdus(ctx, origin, pdus), handleEdus(ctx, origin, edus)]);
    const body = { pdus: results };
    const row = { origin, transactionId, status: 200, json: canonicalJson(body), now: ctx.clock.now() };
    await ctx.transaction("set_received_txn_response", (txn) => storeAnswerOfTransaction(txn, row), { isolation: "read committed" });
    return { status: 200, body };
  }

  /** Checks the events and stages them; they are taken into their rooms afterwards. */
  private async handlePdus(ctx: TransactionContext, origin: string, pdus: readonly Json[]): Promise<JsonObject> {
    const results: JsonObject = {};
    const byRoom = new Map<string, Json[]>();
    for (const pdu of pdus) {
      const roomId = isJsonObject(pdu) ? pdu.room_id : undefined;
      if (typeof roomId !== "string" || roomId === "" || roomId.includes("\0")) continue;
      const list = byRoom.get(roomId);
      if (list === undefined) byRoom.set(roomId, [pdu]);
      else list.push(pdu);
    }
    const receivedAt = ctx.clock.now();
    await inParallel([...byRoom], async ([roomId, list]) => {
      const version = await ctx.roomVersions.get(roomId);
      if (version === undefined) return ctx.log.named("synapse.federation.federation_server").info(`Ignoring PDUs for unknown room_id: ${roomId}`);
      const { events, refused } = await checkPdus(ctx, version, roomId, list, receivedAt);
      for (const [id, error] of refused) results[id] = { error };
      if (!(await ctx.inbound.acls.allows(ctx, roomId, origin))) {
        ctx.log.named("synapse.federation.federation_server").warn(`Ignoring PDUs for room ${roomId} from banned server`);
        for (const event of events) results[event.eventId] = { errcode: "M_FORBIDDEN", error: "Server is banned from room" };
        return;
      }
      await this.stage(ctx, origin, await wanted(ctx, events));
      for (const event of events) results[event.eventId] = {};
    });
    return results;
  }

  private async stage(ctx: TransactionContext, origin: string, events: readonly MatrixEvent[]): Promise<void> {
    if (events.length === 0) return;
    const rows = events.map((event): StagedEvent => {
      this.lastReceived = Math.max(ctx.clock.now(), this.lastReceived + 1);
      return {
        origin,
        roomId: event.roomId,
        eventId: event.eventId,
        receivedTs: this.lastReceived,
        json: storedEventJson(event),
        metadata: storedInternalMetadata(event),
      };
    });
    await ctx.transaction("insert_received_event_to_staging", (txn) => stageEvents(txn, rows), { isolation: "read committed" });
    ctx.inbound.rooms.wake(events[0]!.roomId, events.length);
  }
}

/** Without what modules want dropped, as if it had never come. */
async function wanted(ctx: TransactionContext, events: readonly MatrixEvent[]): Promise<readonly MatrixEvent[]> {
  const { spamChecker } = ctx.modules;
  if (!spamChecker.has("should_drop_federated_event")) return events;
  const kept: MatrixEvent[] = [];
  for (const event of events) {
    if (await spamChecker.dropsFederatedEvent(event))
      ctx.log.named("synapse.federation.federation_server").warn(`Unstaged federated event contains spam, dropping ${event.eventId}`);
    else kept.push(event);
  }
  return kept;
}

async function handleEdus(ctx: TransactionContext, origin: string, edus: readonly Json[]): Promise<void> {
  await inParallel(edus, async (edu) => {
    if (!isJsonObject(edu) || typeof edu.edu_type !== "string" || !isJsonObject(edu.content)) return;
    try {
      await receiveEdu(ctx, origin, edu.edu_type, edu.content);
    } catch (error) {
      // A malformed EDU is lost, or it would hold up what comes after it for ever; to-device messages come again after an outage.
      const isLasting = error instanceof MatrixError || isDataException(error);
      if (error instanceof DatabaseUnavailable || (edu.edu_type === "m.direct_to_device" && !isLasting)) throw error;
      ctx.log.named("synapse.federation.federation_server").warn(`Error handling EDU of type ${edu.edu_type.slice(0, 100)} from ${origin}`, { error });
    }
  });
}

async function inParallel<T>(items: readonly T[], fn: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) await fn(items[next++]!);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker));
}
