import { isJsonObject, type Json } from "../../../lib/json.ts";
import { parseJson } from "../../../lib/lossless-json.ts";
import { signals } from "../../../lib/signals.ts";
import { removeStagedEvents, stagedPage, type StagedEvent } from "../../../storage/federation/staging.ts";
import type { Context } from "../../context.ts";

type Needs = Pick<Context, "log" | "read" | "transaction">;
type Place = Pick<StagedEvent, "origin" | "eventId" | "receivedTs">;

/** More events than this do not wait in a room. */
export const MOST_STAGED = 1_000;
/** Of events that no other one builds on, the newest so many of each server wait. */
const MOST_OF_A_SERVER = 200;
const PAGE = 100;

/**
 * Where more events wait than can be taken soon, only those are kept that no other one builds on (as Synapse does): the rest is a gap like any
 * other, which is filled when one of those is taken, or when somebody pages back.
 */
export async function pruneStaged(ctx: Needs, roomId: string): Promise<void> {
  const waiting: Place[] = [];
  const built = new Set<string>();
  for (let after = { receivedTs: -1, eventId: "" }; ; after = waiting.at(-1)!) {
    const page = await stagedPage(ctx.read, roomId, after, PAGE);
    for (const { json, ...place } of page) {
      waiting.push(place);
      for (const id of previousOf(json)) built.add(id);
    }
    if (page.length < PAGE) break;
  }
  if (waiting.length <= MOST_STAGED) return;
  const kept = new Map<string, number>();
  const dropped = waiting.reverse().filter(({ origin, eventId }) => {
    if (built.has(eventId)) return true;
    const count = (kept.get(origin) ?? 0) + 1;
    kept.set(origin, count);
    return count > MOST_OF_A_SERVER;
  });
  await ctx.transaction("prune_staged_events_in_room_delete", (txn) => removeStagedEvents(txn, dropped), { isolation: "read committed" });
  signals.stagedPruned.emit({ events: dropped.length });
  ctx.log.named("synapse.storage.databases.main.event_federation").info(`Pruning ${dropped.length} events in room ${roomId} from federation queue`);
}

/** The events that an event is built on, of rooms of all versions; what is no list of ids names none. */
function previousOf(text: string): string[] {
  let json: Json;
  try {
    json = parseJson(text);
  } catch {
    return [];
  }
  const previous = isJsonObject(json) && Array.isArray(json.prev_events) ? json.prev_events : [];
  return previous.map((entry) => (Array.isArray(entry) ? entry[0] : entry)).filter((id) => typeof id === "string");
}
