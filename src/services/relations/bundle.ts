import { isJsonObject } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { eventsWithBundles, latestEdits, referencesTo, threadSummaries } from "../../storage/rooms/relations.ts";
import type { Context } from "../context.ts";

/**
 * What is bundled with an event under `unsigned.m.relations` (client-server API, "Aggregations of child events"): its latest edit, its
 * thread's summary, the events that refer to it.
 */
export interface Aggregations {
  readonly references?: { readonly chunk: readonly { readonly event_id: string }[] };
  /** The latest edit by the event's sender. */
  readonly replace?: MatrixEvent;
  readonly thread?: ThreadAggregation;
}

export interface ThreadAggregation {
  readonly latestEvent: MatrixEvent;
  readonly count: number;
  readonly currentUserParticipated: boolean;
}

export type Bundles = ReadonlyMap<string, Aggregations>;

export const noBundles: Bundles = new Map();

/** `m.relates_to` as far as it is well-formed: type of the relation and the event it points to. */
export function relationOf(event: MatrixEvent): { readonly type: string; readonly parentId: string } | undefined {
  const relation = event.content["m.relates_to"];
  if (!isJsonObject(relation) || typeof relation.rel_type !== "string" || typeof relation.event_id !== "string") return undefined;
  return { type: relation.rel_type, parentId: relation.event_id };
}

/**
 * The aggregations of these events, and of the latest events of their threads, as `userId` is to see them: without what ignored users
 * wrote. Events without any are left out. One statement where there are none, else at most four, however many events.
 */
export async function bundleAggregations(
  ctx: Pick<Context, "read" | "events" | "ignoredUsers">,
  userId: string,
  events: Iterable<MatrixEvent>,
): Promise<Map<string, Aggregations>> {
  // State events, reactions and edits have none.
  const parents = new Map<string, MatrixEvent>();
  const roots: MatrixEvent[] = [];
  for (const event of events) {
    if (event.isState()) continue;
    const relation = relationOf(event);
    if (relation?.type === "m.annotation" || relation?.type === "m.replace") continue;
    parents.set(event.eventId, event);
    // What relates to another event cannot be the root of a thread.
    if (relation === undefined) roots.push(event);
  }
  if (parents.size === 0) return new Map();
  // Most events have none.
  const related = await eventsWithBundles(ctx.read, [...parents.keys()]);
  for (const eventId of parents.keys()) if (!related.has(eventId)) parents.delete(eventId);
  if (parents.size === 0) return new Map();

  const ignored = await ctx.ignoredUsers.ignoredBy(userId);
  const threads = await threadSummaries(
    ctx.read,
    roots.map((event) => event.eventId).filter((eventId) => related.has(eventId)),
    userId,
    [...ignored],
  );
  const latest = await ctx.events.get([...threads.values()].map((thread) => thread.latestEventId));
  for (const event of latest.values()) parents.set(event.eventId, event);

  const notRedacted = [...parents.values()].filter((event) => event.redactedBecause === undefined).map((event) => event.eventId);
  const [references, editIds] = await Promise.all([referencesTo(ctx.read, [...parents.keys()]), latestEdits(ctx.read, notRedacted)]);
  const edits = await ctx.events.get(editIds.values());

  const bundles = new Map<string, Aggregations>();
  for (const [eventId, event] of parents) {
    const summary = threads.get(eventId);
    const latestEvent = summary === undefined ? undefined : latest.get(summary.latestEventId);
    const referring = (references.get(eventId) ?? []).filter((reference) => !ignored.has(reference.sender));
    const editId = editIds.get(eventId);
    const replace = editId === undefined ? undefined : edits.get(editId);
    if (latestEvent === undefined && referring.length === 0 && replace === undefined) continue;
    bundles.set(eventId, {
      ...(referring.length === 0 ? {} : { references: { chunk: referring.map((reference) => ({ event_id: reference.eventId })) } }),
      ...(replace === undefined ? {} : { replace }),
      ...(summary === undefined || latestEvent === undefined
        ? {}
        : { thread: { latestEvent, count: summary.count, currentUserParticipated: event.sender === userId || summary.participated } }),
    });
  }
  return bundles;
}
