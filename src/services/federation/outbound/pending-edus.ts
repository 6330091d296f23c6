import type { JsonObject } from "../../../lib/json.ts";
import type { UserPresence } from "../../../storage/presence/presence.ts";
import { presenceContent } from "../../presence/streams.ts";

/** What another server is told beside events. */
export interface Edu {
  readonly type: string;
  readonly content: JsonObject;
}

export interface PublicReceipt {
  readonly roomId: string;
  readonly receiptType: string;
  readonly userId: string;
  readonly eventIds: readonly string[];
  readonly threadId: string | undefined;
  readonly data: JsonObject;
}

const MAX_PRESENCE_STATES = 50;
const MAX_RECEIPT_EDUS = 5;

/** Passing things for one server: lost when it cannot be reached for long, and overtaken by newer ones of their kind. */
export class PendingEdus {
  private readonly presence = new Map<string, UserPresence>();
  /** Contents of `m.receipt` EDUs: each has room for one receipt of a user, type and room, so threads fill several. */
  private receipts: Map<string, JsonObject>[] = [];
  /** By key: `m.typing` of a user in a room. */
  private readonly keyed = new Map<string, Edu>();

  get isEmpty(): boolean {
    return this.presence.size === 0 && this.receipts.length === 0 && this.keyed.size === 0;
  }

  get size(): number {
    return this.presence.size + this.receipts.length + this.keyed.size;
  }

  addPresence(states: readonly UserPresence[]): void {
    for (const state of states) {
      this.presence.delete(state.userId);
      this.presence.set(state.userId, state);
    }
  }

  addKeyed(key: string, edu: Edu): void {
    this.keyed.delete(key);
    this.keyed.set(key, edu);
  }

  addReceipt(receipt: PublicReceipt): void {
    const key = JSON.stringify([receipt.roomId, receipt.receiptType, receipt.userId]);
    const entry: JsonObject = {
      event_ids: [...receipt.eventIds],
      data: { ...receipt.data, ...(receipt.threadId === undefined ? {} : { thread_id: receipt.threadId }) },
    };
    for (const edu of this.receipts) {
      const there = edu.get(key);
      if (there !== undefined && (there.data as JsonObject).thread_id !== receipt.threadId) continue;
      edu.set(key, entry);
      return;
    }
    this.receipts.push(new Map([[key, entry]]));
  }

  /** Presence and receipts, which come first in a transaction; they are taken out. */
  takeFirst(now: number): Edu[] {
    const edus: Edu[] = [];
    if (this.presence.size > 0) {
      const states = [...this.presence.values()].slice(0, MAX_PRESENCE_STATES);
      for (const { userId } of states) this.presence.delete(userId);
      edus.push({ type: "m.presence", content: { push: states.map((state) => presenceContent(state, now, true) as JsonObject) } });
    }
    for (const receipts of this.receipts.splice(0, MAX_RECEIPT_EDUS)) edus.push({ type: "m.receipt", content: receiptContent(receipts) });
    return edus;
  }

  /** At most `limit` of what remains; newest first, as that is most likely still true. */
  takeOthers(limit: number): Edu[] {
    const taken = [...this.keyed].reverse().slice(0, limit);
    for (const [key] of taken) this.keyed.delete(key);
    return taken.map(([, edu]) => edu);
  }

  clear(): void {
    this.presence.clear();
    this.receipts = [];
    this.keyed.clear();
  }
}

/** Room id to receipt type to user id to receipt. */
function receiptContent(receipts: ReadonlyMap<string, JsonObject>): JsonObject {
  const content: Record<string, Record<string, JsonObject>> = {};
  for (const [key, receipt] of receipts) {
    const [roomId, type, userId] = JSON.parse(key) as [string, string, string];
    ((content[roomId] ??= {})[type] ??= {})[userId] = receipt;
  }
  return content as JsonObject;
}
