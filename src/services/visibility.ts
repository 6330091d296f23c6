import { isJsonObject, type Json, type JsonObject } from "../lib/json.ts";
import { type MatrixEvent, type StateMap, stateKeyOf } from "../protocol/event/event.ts";
import { redactEvent } from "../protocol/event/redact.ts";
import { getDomain } from "../protocol/ids.ts";
import { clientVisibility } from "../protocol/visibility.ts";
import { globalAccountDataOfType } from "../storage/accounts/account-data.ts";
import { retentionOfRooms } from "../storage/rooms/retention.ts";
import type { Context } from "./context.ts";

/**
 * Which events a user may see, and in which form (client-server API, "Room History Visibility"): by the room's history visibility and the
 * user's membership at each event, without what ignored users and erased users wrote and what is too old. Every list of events that goes to
 * a client passes through here.
 */
export interface VisibleEvent {
  /** The event, or its redacted form. */
  readonly event: MatrixEvent;
  /** The user's membership at the event (MSC4115); undefined for admins who look in from outside. */
  readonly membership: string | undefined;
}

export interface VisibilityOptions {
  /** The user is not in the room: `shared` history is hidden too. */
  readonly peeking?: boolean;
  /** Stream position at which the user left the room: what came later is judged as for one who peeks. */
  readonly leftAt?: number | undefined;
  /** Shown whatever the history visibility says. */
  readonly always?: ReadonlySet<string>;
  /**
   * False: the list does not go to a client but decides something (push, search index): ignored senders, old events and the like stay.
   */
  readonly forClient?: boolean;
}

type Needs = Pick<Context, "config" | "read" | "clock" | "events" | "state" | "ignoredUsers" | "accounts" | "erasedUsers">;

/** Those of the events that the user may see, in their order. A fixed number of statements, however many events. */
export async function filterForUser(ctx: Needs, userId: string, events: readonly MatrixEvent[], options: VisibilityOptions = {}): Promise<VisibleEvent[]> {
  const forClient = options.forClient ?? true;
  const candidates = await withoutSoftFailed(ctx, userId, events, forClient);
  if (candidates.length === 0) return [];
  const [states, ignored, erased, oldest] = await Promise.all([
    statesAt(ctx, userId, candidates),
    forClient ? ctx.ignoredUsers.ignoredBy(userId) : undefined,
    erasedSenders(ctx, candidates),
    forClient ? oldestAllowed(ctx, candidates) : undefined,
  ]);
  const visible: VisibleEvent[] = [];
  for (const event of candidates) {
    if (
      forClient &&
      (isNeverSent(event) || (!event.isState() && (ignored!.has(event.sender) || event.originServerTs < (oldest!.get(event.roomId) ?? -Infinity))))
    )
      continue;
    const at = states.get(event.eventId);
    const own = event.type === "m.room.member" && event.stateKey === userId;
    if (event.outlier && !options.always?.has(event.eventId)) {
      // An invite or its rejection: there is no state to judge by, but the user is concerned.
      if (own) visible.push({ event, membership: event.membership ?? "leave" });
      continue;
    }
    if (event.type === "m.call.invite" && !event.isState() && at?.joinRule === "public") continue;
    const membership = (own ? event.membership : at?.membership) ?? "leave";
    if (options.always?.has(event.eventId)) {
      visible.push({ event, membership });
      continue;
    }
    const shown = clientVisibility({
      event,
      userId,
      visibility: at?.visibility,
      membership: at?.membership,
      previousContent: at?.previousContent,
      peeking: options.peeking === true || (options.leftAt !== undefined && (event.streamOrdering ?? 0) > options.leftAt),
      senderErased: erased.has(event.sender),
    });
    if (shown === "hidden") continue;
    visible.push({ event: shown === "redacted" ? redactEvent(event) : event, membership });
  }
  return visible;
}

/** Server-internal events, and aliases, which any server could claim. */
const isNeverSent = (event: MatrixEvent): boolean => event.type === "org.matrix.dummy_event" || event.type === "m.room.aliases";

/** Soft-failed events are shown to nobody but to admins who asked for them. */
async function withoutSoftFailed(ctx: Needs, userId: string, events: readonly MatrixEvent[], forClient: boolean): Promise<readonly MatrixEvent[]> {
  if (!events.some((event) => event.internal.soft_failed)) return events;
  const settings = forClient && (await ctx.accounts.user(userId))?.admin ? await adminSettings(ctx, userId) : {};
  if (settings.return_soft_failed_events === true) return events;
  const spam = settings.return_policy_server_spammy_events === true;
  return events.filter((event) => !event.internal.soft_failed || (spam && event.internal.policy_server_spammy));
}

async function adminSettings(ctx: Needs, userId: string): Promise<JsonObject> {
  const text = await globalAccountDataOfType(ctx.read, userId, "io.element.synapse.admin_client_config");
  const content: unknown = text === undefined ? undefined : JSON.parse(text);
  return isJsonObject(content) ? content : {};
}

interface StateAt {
  /** As the events say; any value. */
  readonly visibility: Json | undefined;
  readonly membership: string | undefined;
  readonly joinRule: Json | undefined;
  /** What the event itself replaced, for changes of the user's own membership and of the history visibility. */
  readonly previousContent: JsonObject | undefined;
}

/** What of the state after each event decides who sees it. */
async function statesAt(ctx: Needs, userId: string, events: readonly MatrixEvent[]): Promise<Map<string, StateAt>> {
  const member = stateKeyOf("m.room.member", userId);
  const filter: [string, string][] = [
    ["m.room.history_visibility", ""],
    ["m.room.member", userId],
  ];
  if (events.some((event) => event.type === "m.call.invite")) filter.push(["m.room.join_rules", ""]);
  const inTimeline = events.filter((event) => !event.outlier);
  const states = await ctx.state.afterEvents(
    inTimeline.map((event) => event.eventId),
    filter,
  );
  const ids = new Set<string>();
  for (const state of states.values()) for (const id of state.values()) ids.add(id);
  for (const event of inTimeline) {
    const previous = replacedBy(event, userId);
    if (previous !== undefined) ids.add(previous);
  }
  const loaded = await ctx.events.get(ids);
  const contentAt = (state: StateMap | undefined, key: ReturnType<typeof stateKeyOf>): MatrixEvent | undefined => {
    const id = state?.get(key);
    return id === undefined ? undefined : loaded.get(id);
  };
  return new Map(
    inTimeline.map((event) => {
      const state = states.get(event.eventId);
      const previous = replacedBy(event, userId);
      return [
        event.eventId,
        {
          visibility: contentAt(state, HISTORY_VISIBILITY)?.content.history_visibility,
          membership: contentAt(state, member)?.membership,
          joinRule: contentAt(state, JOIN_RULES)?.content.join_rule,
          previousContent: previous === undefined ? undefined : loaded.get(previous)?.content,
        },
      ];
    }),
  );
}

const HISTORY_VISIBILITY = stateKeyOf("m.room.history_visibility", "");
const JOIN_RULES = stateKeyOf("m.room.join_rules", "");

function replacedBy(event: MatrixEvent, userId: string): string | undefined {
  const matters = event.type === "m.room.history_visibility" || (event.type === "m.room.member" && event.stateKey === userId);
  const previous = event.unsigned.replaces_state;
  return matters && typeof previous === "string" ? previous : undefined;
}

/** Local users who asked that their messages be hidden from newcomers. */
async function erasedSenders(ctx: Needs, events: readonly MatrixEvent[]): Promise<Set<string>> {
  const local = new Set(events.map((event) => event.sender).filter((sender) => getDomain(sender) === ctx.config.server.serverName));
  return local.size === 0 ? new Set() : await ctx.erasedUsers.among([...local]);
}

/** By room, the time before which messages are past their retention; rooms without a limit are left out. */
async function oldestAllowed(ctx: Needs, events: readonly MatrixEvent[]): Promise<Map<string, number>> {
  const { retention } = ctx.config;
  if (!retention.enabled) return new Map();
  const roomIds = [...new Set(events.map((event) => event.roomId))];
  const policies = await retentionOfRooms(ctx.read, roomIds);
  const oldest = new Map<string, number>();
  for (const roomId of roomIds) {
    const lifetime = policies.get(roomId)?.maxLifetime ?? retention.defaultMaxLifetimeMs;
    if (lifetime !== undefined) oldest.set(roomId, ctx.clock.now() - lifetime);
  }
  return oldest;
}
