import type { JsonObject, JsonText } from "../lib/json.ts";
import type { MatrixEvent } from "../protocol/event/event.ts";
import { clientEvent, type ClientEventOptions, clientEventText, type EventFormat, type EventReader } from "../protocol/event/serialise.ts";
import type { Context } from "./context.ts";
import type { Aggregations, Bundles } from "./relations/bundle.ts";
import type { Requester } from "./requester.ts";
import type { VisibleEvent } from "./visibility.ts";

/** How events are shown to one requester. */
export interface PresentOptions {
  /** Default: `client-v1`, which Synapse uses everywhere but in /sync. */
  readonly format?: EventFormat;
  readonly bundles?: Bundles;
  /** Adds what state events replaced: `prev_content`, `prev_sender`. */
  readonly previous?: boolean;
  /** Leaves out what only the sender's own session is shown (`transaction_id`). */
  readonly impersonal?: boolean;
  /** Only these fields, see `parseEventFields`. */
  readonly fields?: readonly (readonly string[])[];
}

type Needs = Pick<Context, "clock" | "config" | "events" | "isServerAdmin" | "modules">;

/** Events as JSON for the requester, in their order. Plain events (not `VisibleEvent`s) are shown without the reader's membership. */
export async function presentEvents(
  ctx: Needs,
  requester: Requester,
  events: readonly (VisibleEvent | MatrixEvent)[],
  options: PresentOptions = {},
): Promise<JsonText[]> {
  if (events.length === 0) return [];
  const common = await commonOptions(ctx, requester, options);
  const before = options.previous ? await previousStates(ctx, events.map(eventOf)) : undefined;
  const added = ctx.modules.unsigned.isEmpty ? undefined : await ctx.modules.unsigned.additionsTo(events.map(eventOf));
  return events.map((item) => {
    const event = eventOf(item);
    const own = before?.get(event.eventId);
    const extra = added?.get(event.eventId);
    const unsigned = extra === undefined ? own : { ...extra, ...own };
    return clientEventText(event, {
      ...common,
      ...("event" in item ? { membership: item.membership } : {}),
      ...(unsigned === undefined ? {} : { unsigned }),
      ...relations(event, common, options.bundles),
    });
  });
}

/** One event, as `presentEvents`. */
export async function presentEvent(ctx: Needs, requester: Requester, event: VisibleEvent | MatrixEvent, options: PresentOptions = {}): Promise<JsonText> {
  return (await presentEvents(ctx, requester, [event], options))[0]!;
}

const eventOf = (item: VisibleEvent | MatrixEvent): MatrixEvent => ("event" in item ? item.event : item);

async function commonOptions(ctx: Needs, requester: Requester, options: PresentOptions): Promise<ClientEventOptions> {
  return {
    now: ctx.clock.now(),
    format: options.format ?? "client-v1",
    ...(options.fields === undefined ? {} : { fields: options.fields }),
    ...(options.impersonal ? {} : { reader: readerOf(requester) }),
    adminMetadata: await ctx.isServerAdmin(requester),
    stickyEvents: ctx.config.experimental.msc4354Enabled,
  };
}

function readerOf(requester: Requester): EventReader {
  return {
    userId: requester.userId,
    deviceId: requester.deviceId,
    accessTokenId: requester.accessTokenId,
    isGuest: requester.isGuest,
    isAppService: requester.appserviceId !== undefined,
  };
}

function relations(event: MatrixEvent, common: ClientEventOptions, bundles: Bundles | undefined): { relations?: JsonObject } {
  const bundle = bundles?.get(event.eventId);
  return bundle === undefined ? {} : { relations: presentAggregations(bundle, common, bundles!) };
}

/** `m.relations` of an event; the latest event of a thread has its own aggregations. */
export function presentAggregations(bundle: Aggregations, common: ClientEventOptions, bundles: Bundles): JsonObject {
  const out: JsonObject = {};
  if (bundle.references !== undefined) out["m.reference"] = { chunk: bundle.references.chunk.map((reference) => ({ ...reference })) };
  if (bundle.replace !== undefined) out["m.replace"] = clientEvent(bundle.replace, common);
  if (bundle.thread !== undefined) {
    const { latestEvent, count, currentUserParticipated } = bundle.thread;
    const own = bundles.get(latestEvent.eventId);
    out["m.thread"] = {
      latest_event: clientEvent(
        latestEvent,
        own === undefined || own.thread !== undefined ? common : { ...common, relations: presentAggregations(own, common, bundles) },
      ),
      count,
      current_user_participated: currentUserParticipated,
    };
  }
  return out;
}

/** `prev_content` and `prev_sender` of those state events that replaced something. */
export async function previousStates(ctx: Pick<Context, "events">, events: readonly MatrixEvent[]): Promise<Map<string, JsonObject>> {
  const replaced = new Map<string, string>();
  for (const event of events) {
    const id = event.isState() ? event.unsigned.replaces_state : undefined;
    if (typeof id === "string") replaced.set(event.eventId, id);
  }
  const loaded = replaced.size === 0 ? new Map<string, MatrixEvent>() : await ctx.events.get(replaced.values());
  const previous = new Map<string, JsonObject>();
  for (const [eventId, id] of replaced) {
    const before = loaded.get(id);
    if (before !== undefined) previous.set(eventId, { prev_content: before.content, prev_sender: before.sender });
  }
  return previous;
}
