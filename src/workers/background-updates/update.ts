import type { JsonObject } from "../../lib/json.ts";
import type { Context } from "../../services/context.ts";
import type { Txn } from "../../storage/database.ts";
import type { IndexDefinition } from "../../storage/jobs/background-updates.ts";
import type { Batch, BatchFunction } from "../../storage/jobs/background-updates-batches.ts";

export type UpdateContext = Pick<Context, "config" | "db" | "read" | "transaction" | "clock" | "log" | "streams" | "events" | "state" | "appservices"> & {
  /** What paces updates, if anything does. */
  readonly modules?: Pick<Context["modules"], "backgroundUpdates">;
};

/** How a background update is done. */
export type Update =
  /** Batch by batch, each in a transaction with the progress it leaves. `afterwards` runs when nothing is left, outside a transaction. */
  | { readonly kind: "batches"; readonly batch: BatchFunction; readonly afterwards?: (ctx: UpdateContext) => Promise<void> }
  /** The same, for batches that need more than the database. */
  | { readonly kind: "service"; readonly batch: (ctx: UpdateContext, txn: Txn, progress: JsonObject, size: number) => Promise<Batch> }
  | { readonly kind: "index"; readonly index: IndexDefinition }
  /** Checks old rows against a constraint; when some violate it, `repair` goes through them batch by batch, and it is checked again. */
  | { readonly kind: "constraint"; readonly table: string; readonly constraint: string; readonly repair?: BatchFunction }
  /** In one go, outside a transaction; may be repeated. */
  | { readonly kind: "once"; readonly run: (ctx: UpdateContext) => Promise<void> };

/** True for updates that take as long as they take, whatever the pace. */
export const isOneshot = (update: Update): boolean => update.kind === "index" || update.kind === "once" || update.kind === "constraint";
