import { isJsonObject, type JsonObject, toNumber } from "../../lib/json.ts";
import { canonicalJson, CanonicalJsonError } from "../../protocol/canonical-json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { localpartOf } from "../../protocol/ids.ts";
import { filterProblem } from "../../protocol/sync-filter.ts";
import { addFilter, filterJson } from "../../storage/accounts/filters.ts";
import { isUniqueViolation } from "../../storage/database.ts";
import type { Context } from "../context.ts";

/** Filters of /sync and /messages, as clients store them (client-server API, "Filtering"). */

const ATTEMPTS = 5; // as Synapse

/** Stores a filter and returns its id; an equal filter gets the id that it has. @throws MatrixError 400 when the filter is malformed */
export async function createFilter(ctx: Pick<Context, "transaction" | "config">, userId: string, filter: JsonObject): Promise<number> {
  limitTimeline(filter, ctx.config.server.filterTimelineLimit);
  checkFilter(filter);
  const text = canonicalText(filter);
  for (let attempt = 1; ; attempt++) {
    try {
      return await ctx.transaction("add_user_filter", (txn) => addFilter(txn, userId, localpartOf(userId), text));
    } catch (error) {
      // Another request of the same user took the number.
      if (attempt === ATTEMPTS || !isUniqueViolation(error)) throw error;
    }
  }
}

function canonicalText(filter: JsonObject): string {
  try {
    return canonicalJson(filter);
  } catch (error) {
    if (error instanceof CanonicalJsonError) throw new MatrixError(400, "M_BAD_JSON", error.message);
    throw error;
  }
}

/** The stored filter; undefined when there is none of that id. */
export async function storedFilter(ctx: Pick<Context, "read">, userId: string, filterId: number): Promise<JsonObject | undefined> {
  const text = await filterJson(ctx.read, userId, filterId);
  if (text === undefined) return undefined;
  const value: unknown = JSON.parse(text);
  return isJsonObject(value) ? value : {};
}

/** Lowers `room.timeline.limit` to the server's limit; a negative limit means none. */
export function limitTimeline(filter: JsonObject, limit: number): void {
  if (limit < 0) return;
  const timeline = isJsonObject(filter.room) ? filter.room.timeline : undefined;
  if (!isJsonObject(timeline)) return;
  const asked = toNumber(timeline.limit);
  if (asked !== undefined && asked > limit) timeline.limit = limit;
}

/** Unknown keys are allowed. @throws MatrixError 400 M_UNKNOWN, as Synapse's schema check */
export function checkFilter(filter: JsonObject): void {
  const problem = filterProblem(filter);
  if (problem !== undefined) throw new MatrixError(400, "M_UNKNOWN", `Malformed filter: ${problem}`);
}
