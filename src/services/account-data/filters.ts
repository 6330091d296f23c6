import { isJsonObject, type Json, type JsonObject, toNumber } from "../../lib/json.ts";
import { canonicalJson, CanonicalJsonError } from "../../protocol/canonical-json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { isRoomId, isUserId, localpartOf } from "../../protocol/ids.ts";
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

type Check = (value: Json) => boolean;

const isNumber: Check = (value) => toNumber(value) !== undefined;
const isBoolean: Check = (value) => typeof value === "boolean";
const listOf =
  (item: (text: string) => boolean): Check =>
  (value) =>
    Array.isArray(value) && value.every((entry) => typeof entry === "string" && item(entry));
const strings = listOf(() => true);
const users = listOf(isUserId);
const rooms = listOf(isRoomId);
const objectOf =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value) =>
    isJsonObject(value) && Object.entries(value).every(([key, item]) => item === undefined || !Object.hasOwn(fields, key) || fields[key]!(item));

const eventFilter = {
  limit: isNumber,
  senders: users,
  not_senders: users,
  types: strings,
  not_types: strings,
};
const generalFilter = objectOf({ ...eventFilter, "org.matrix.msc3874.rel_types": strings, "org.matrix.msc3874.not_rel_types": strings });
const roomEventFilter = objectOf({
  ...eventFilter,
  rooms,
  not_rooms: rooms,
  contains_url: isBoolean,
  lazy_load_members: isBoolean,
  include_redundant_members: isBoolean,
  unread_thread_notifications: isBoolean,
  "org.matrix.msc3773.unread_thread_notifications": isBoolean,
  "org.matrix.labels": strings,
  "org.matrix.not_labels": strings,
  related_by_senders: strings,
  related_by_rel_types: strings,
});
const wholeFilter: Readonly<Record<string, Check>> = {
  presence: generalFilter,
  account_data: generalFilter,
  room: objectOf({
    not_rooms: rooms,
    rooms,
    include_leave: isBoolean,
    ephemeral: roomEventFilter,
    state: roomEventFilter,
    timeline: roomEventFilter,
    account_data: roomEventFilter,
  }),
  event_format: (value) => value === "client" || value === "federation",
  event_fields: strings,
  "org.matrix.msc4429.profile_fields": objectOf({ ids: strings }),
};

/** Unknown keys are allowed. @throws MatrixError 400 M_UNKNOWN, as Synapse's schema check */
export function checkFilter(filter: JsonObject): void {
  for (const [key, check] of Object.entries(wholeFilter)) {
    const value = filter[key];
    if (value !== undefined && !check(value)) throw new MatrixError(400, "M_UNKNOWN", `Malformed filter: ${key}`);
  }
}
