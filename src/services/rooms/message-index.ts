import { gramsOf, gramsToFind, hasUnspaced, normaliseText } from "../../lib/character-grams.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { searchText } from "../../storage/events/persist/event-tables.ts";
import type { UnspacedTerm } from "../../storage/rooms/search.ts";
import {
  eventsToIndexAfter,
  eventsToIndexBefore,
  type IndexedMessage,
  type IndexedRange,
  indexedRange,
  indexMessages,
  type PositionedEvent,
  setIndexedRange,
  unindexGone,
  unindexRedacted,
} from "../../storage/search/message-search.ts";
import type { Context } from "../context.ts";

type Needs = Pick<Context, "read" | "transaction" | "events" | "streams">;

const AT_ONCE = 500;
/** Steps into the past in one run. */
const OLD_STEPS = 10;
/** Words of a search term that count. */
const MAX_PIECES = 20;

/** Adds to the index of messages in scripts without spaces what came since the last run, then some of what is older. */
export async function indexUnspacedMessages(ctx: Needs, signal?: AbortSignal): Promise<void> {
  const upTo = ctx.streams.events.currentToken();
  let range = await ctx.transaction("message_search_range", (txn) => indexedRange(txn, upTo));
  while (range.newest < upTo && signal?.aborted !== true) {
    const found = await eventsToIndexAfter(ctx.read, range.newest, upTo, AT_ONCE);
    range = await add(ctx, found, { ...range, newest: found.length < AT_ONCE ? upTo : found.at(-1)!.position });
  }
  const downTo = -ctx.streams.backfill.currentToken();
  for (let step = 0; step < OLD_STEPS && range.oldest > downTo && signal?.aborted !== true; step++) {
    const found = await eventsToIndexBefore(ctx.read, range.oldest, downTo, AT_ONCE);
    range = await add(ctx, found, { ...range, oldest: found.length < AT_ONCE ? downTo : found.at(-1)!.position });
  }
}

async function add(ctx: Needs, found: readonly PositionedEvent[], range: IndexedRange): Promise<IndexedRange> {
  const events = await ctx.events.get(found.map(({ id }) => id));
  const messages = found.flatMap(({ id, position }) => indexed(events.get(id), position) ?? []);
  const redactions = [...events.values()].filter(({ type }) => type === "m.room.redaction").map(({ eventId }) => eventId);
  await ctx.transaction("message_search_index", async (txn) => {
    await indexMessages(txn, messages);
    if (redactions.length > 0) await unindexRedacted(txn, redactions);
    await setIndexedRange(txn, range);
  });
  return range;
}

function indexed(event: MatrixEvent | undefined, position: number): IndexedMessage | undefined {
  if (event === undefined || event.redactedBecause !== undefined) return undefined;
  const found = searchText(event);
  if (found === undefined || !hasUnspaced(found.value)) return undefined;
  const text = normaliseText(Buffer.from(found.value, "utf8").toString("utf8"));
  return {
    eventId: event.eventId,
    roomId: event.roomId,
    key: found.key,
    text,
    grams: gramsOf(text),
    streamOrdering: position,
    originServerTs: Math.trunc(event.originServerTs),
  };
}

/** Takes out of the index what is gone from the database. */
export async function cleanMessageIndex(ctx: Pick<Context, "transaction">): Promise<void> {
  await ctx.transaction("message_search_clean", (txn) => unindexGone(txn));
}

/**
 * A search term as the index takes it: words and quoted phrases that a text must hold, and those after a minus that it must not. Undefined for
 * a term without such scripts.
 */
export function unspacedTerm(term: string): UnspacedTerm | undefined {
  const wanted: string[] = [];
  const unwanted: string[] = [];
  for (const [, minus, phrase, word] of normaliseText(term.replaceAll("\u0000", " ")).matchAll(/(-?)(?:"([^"]*)"?|([^\s"]+))/g)) {
    const piece = (phrase ?? word ?? "").trim();
    if (piece !== "") (minus === "-" ? unwanted : wanted).push(piece);
  }
  const grams = [...new Set(wanted.flatMap(gramsToFind))];
  if (grams.length === 0) return undefined;
  return { grams, wanted: wanted.slice(0, MAX_PIECES), unwanted: unwanted.slice(0, MAX_PIECES) };
}
