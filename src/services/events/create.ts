import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { canonicalJson } from "../../protocol/canonical-json.ts";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import { checkAuthEvents } from "../../protocol/event-auth/auth-events.ts";
import { authTypesForEvent } from "../../protocol/event-auth/auth-types.ts";
import { checkStateDependentAuth } from "../../protocol/event-auth/check.ts";
import { redactionRight } from "../../protocol/event-auth/redaction.ts";
import type { AuthResult } from "../../protocol/event-auth/result.ts";
import { buildEvent } from "../../protocol/event/build.ts";
import { type InternalMetadata, type MatrixEvent, type StateKey, stateKeyOf } from "../../protocol/event/event.ts";
import { MAX_DEPTH } from "../../protocol/event/format.ts";
import { referenceHash } from "../../protocol/event/hash.ts";
import { storedEventJson, strippedState } from "../../protocol/event/serialise.ts";
import { getDomain } from "../../protocol/ids.ts";
import { PowerLevels } from "../../protocol/power-levels.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import { emptyState, type State, StateSnapshot } from "../../storage/state/snapshot.ts";
import type { Context } from "../context.ts";
import type { EventToPersist } from "./event-to-persist.ts";
import { type CrowdContext, evaluatePushForAll } from "./push-actions.ts";
import { checkRelation, type RelationContext } from "./relation-checks.ts";
import { type ResolveContext, resolveState } from "./resolve-state.ts";
import { RoomHead } from "./room-head.ts";
import { checkSize, validateNewEvent } from "./validate.ts";

/** What an event is to say. */
export interface EventInput {
  readonly type: string;
  /** Undefined for messages. */
  readonly stateKey?: string | undefined;
  readonly sender: string;
  readonly content: JsonObject;
  /** The event to redact. */
  readonly redacts?: string | undefined;
  /** Milliseconds since the epoch; default now. */
  readonly timestamp?: number | undefined;
  /** For `event_json.internal_metadata`: device and transaction of the request, and the like. */
  readonly internal?: InternalMetadata;
  readonly unsigned?: JsonObject;
  /** Further top-level keys of the PDU. */
  readonly extra?: JsonObject;
}

export type CreateContext = CrowdContext &
  RelationContext &
  ResolveContext &
  Pick<Context, "clock" | "config" | "events" | "modules" | "persister" | "random" | "read" | "roomVersions" | "signingKeys" | "state">;

/** A new event with what it was made on and authorised by. */
export interface BuiltEvent extends EventToPersist {
  /** State events that its authorisation depended on. */
  readonly authState: ReadonlyMap<StateKey, MatrixEvent>;
  readonly levels: PowerLevels;
}

/** Forward extremities that a new event refers to at most. */
const MAX_PREVS = 10;

/**
 * Builds an event on the head of its room, hashes and signs it, and checks it as one from a local client: format, relations, the
 * authorisation rules, and modules' rules, by which it may become another. Call it within `persister.exclusively`, and hand the event to
 * `persister.persist` there.
 * @throws MatrixError where the event is not allowed or not well formed
 */
export async function createEvent(ctx: CreateContext, head: RoomHead, roomId: string, version: RoomVersion, input: EventInput): Promise<BuiltEvent> {
  const built = await build(ctx, head, roomId, version, input);
  const replacement = await ctx.modules.thirdPartyRules.requireAllowed(built.event, async () => await stateBefore(ctx, head, built.before?.map ?? emptyState));
  return replacement === undefined ? built : await build(ctx, head, roomId, version, replacedBy(ctx, input, replacement));
}

/** The event that a module wants instead: type, state key and room stay. @throws Error for what is no event */
function replacedBy(ctx: Pick<Context, "config">, input: EventInput, replacement: JsonObject): EventInput {
  const { type, state_key: stateKey, sender, content, redacts, origin_server_ts: timestamp } = replacement;
  const refused = (what: string): Error => new Error(`A module made an invalid event of ${input.type}: ${what}`);
  if (type !== input.type || stateKey !== input.stateKey) throw refused("type and state_key cannot change");
  if (typeof sender !== "string" || getDomain(sender) !== ctx.config.server.serverName) throw refused("the sender must be a user of this server");
  if (!isJsonObject(content)) throw refused("the content is no object");
  return { ...input, sender, content, redacts: typeof redacts === "string" ? redacts : input.redacts, timestamp: Number(timestamp) || input.timestamp };
}

async function stateBefore(ctx: Pick<Context, "events">, head: RoomHead, state: State): Promise<[StateKey, MatrixEvent][]> {
  const pairs = [...state];
  const stored = await ctx.events.get(pairs.flatMap(([, id]) => (head.pendingEvent(id) === undefined ? [id] : [])));
  return pairs.flatMap(([key, id]): [StateKey, MatrixEvent][] => {
    const event = head.pendingEvent(id) ?? stored.get(id);
    return event === undefined ? [] : [[key, event]];
  });
}

async function build(ctx: CreateContext, head: RoomHead, roomId: string, version: RoomVersion, input: EventInput): Promise<BuiltEvent> {
  const { prevIds, depth, before } = await parentsOf(ctx, head, roomId);
  if (input.type === "m.room.create" && input.stateKey !== undefined && prevIds.length > 0)
    throw new MatrixError(400, "M_INVALID_PARAM", "Cannot resend m.room.create event");
  const state = before?.map ?? emptyState;
  const authEvents = await authEventsOf(ctx, head, state, authTypesForEvent(version, input));
  const event = buildEvent(
    {
      roomVersion: version,
      roomId: version.roomIdIsCreateHash && input.type === "m.room.create" ? undefined : roomId,
      type: input.type,
      stateKey: input.stateKey,
      sender: input.sender,
      content: input.content,
      originServerTs: input.timestamp ?? ctx.clock.now(),
      depth,
      prevEventIds: prevIds,
      authEventIds: [...authEvents.values()].map((authEvent) => authEvent.eventId),
      redacts: input.redacts,
      unsigned: { ...(await unsignedOf(ctx, head, state, input)), ...input.unsigned },
      internal: { ...input.internal },
      ...(input.extra && { extra: input.extra }),
      ...(version.eventFormat === 1 && (await oldReferences(ctx, head, [...prevIds, ...[...authEvents.values()].map((authEvent) => authEvent.eventId)]))),
    },
    ctx.config.server.serverName,
    ctx.signingKeys.slice(0, 1),
  );
  validateNewEvent(ctx.config, event);
  const json = storedEventJson(event);
  checkSize(event, json);
  await checkRelation(ctx, event, (id) => head.pendingEvent(id));
  const levels = PowerLevels.of(authEvents);
  authorise(ctx, event, authEvents);
  await judgeRedaction(ctx, event, levels);
  const after =
    input.stateKey === undefined
      ? before
      : (before ?? StateSnapshot.full(event.roomId, emptyState)).after(stateKeyOf(input.type, input.stateKey), event.eventId);
  return {
    event,
    json,
    before,
    after: before === undefined && after !== undefined ? StateSnapshot.full(event.roomId, after.map) : after,
    builtOn: head,
    authState: authEvents,
    levels,
  };
}

/** As `createEvent`, with whom the event notifies. */
export async function withPush(ctx: CreateContext, built: BuiltEvent, head: RoomHead): Promise<BuiltEvent> {
  const { push, crowd } = await evaluatePushForAll(ctx, {
    event: built.event,
    before: built.before?.map,
    levels: built.levels,
    atHand: (id) => head.pendingEvent(id),
  });
  return push.length === 0 && crowd.length === 0 ? built : { ...built, push, crowd };
}

/** The create event of a room that is named after it, and the head of the new room. */
export async function createFirstEvent(ctx: CreateContext, version: RoomVersion, input: EventInput): Promise<BuiltEvent> {
  const built = await createEvent(ctx, new RoomHead(new Map(), undefined, false), "", version, input);
  return { ...built, builtOn: await ctx.persister.head(built.event.roomId) };
}

/**
 * The event that the state has already, when the new one would change nothing: same sender, same content. Clients may set state
 * again and again.
 */
export async function duplicateOf(ctx: Pick<Context, "events">, built: BuiltEvent, head: RoomHead): Promise<MatrixEvent | undefined> {
  const { event, before } = built;
  if (event.stateKey === undefined || before === undefined) return undefined;
  const id = before.map.get(stateKeyOf(event.type, event.stateKey));
  if (id === undefined) return undefined;
  const old = head.pendingEvent(id) ?? (await ctx.events.one(id));
  return old !== undefined && old.sender === event.sender && canonicalJson(old.content) === canonicalJson(event.content) ? old : undefined;
}

async function parentsOf(
  ctx: CreateContext,
  head: RoomHead,
  roomId: string,
): Promise<{ prevIds: string[]; depth: number | bigint; before: StateSnapshot | undefined }> {
  const all = [...head.tips.values()];
  const tips = all.length <= MAX_PREVS ? all : all.sort((a, b) => (BigInt(b.depth) > BigInt(a.depth) ? 1 : -1)).slice(0, MAX_PREVS);
  if (tips.length === 0) return { prevIds: [], depth: 1, before: undefined };
  let depth: number | bigint = 0;
  for (const tip of tips) if (tip.depth > depth) depth = tip.depth;
  const next = typeof depth === "number" && Number.isSafeInteger(depth + 1) ? depth + 1 : BigInt(depth) >= MAX_DEPTH ? MAX_DEPTH : BigInt(depth) + 1n;
  const states = [...new Set(tips.map((tip) => tip.state))];
  const before = states.length === 1 ? states[0]! : await head.resolved(states, async () => await resolveState(ctx, roomId, states, head.pendingEvents));
  return { prevIds: tips.map((tip) => tip.eventId), depth: next, before };
}

async function authEventsOf(ctx: CreateContext, head: RoomHead, state: State, keys: readonly StateKey[]): Promise<Map<StateKey, MatrixEvent>> {
  const out = new Map<StateKey, MatrixEvent>();
  const missing: [StateKey, string][] = [];
  for (const key of keys) {
    const id = state.get(key);
    if (id === undefined) continue;
    const event = head.pendingEvent(id) ?? ctx.events.peek(id);
    if (event !== undefined) out.set(key, event);
    else missing.push([key, id]);
  }
  if (missing.length > 0) {
    // Redactions do not touch what the rules look at, and are part of no hash.
    const events = await ctx.events.get(missing.map(([, id]) => id));
    for (const [key, id] of missing) if (events.has(id)) out.set(key, events.get(id)!);
  }
  return out;
}

function authorise(ctx: Pick<Context, "config">, event: MatrixEvent, state: ReadonlyMap<StateKey, MatrixEvent>): void {
  const byId = new Map([...state.values()].map((authEvent) => [authEvent.eventId, authEvent]));
  refuseUnless(ctx, checkAuthEvents(event, byId));
  refuseUnless(ctx, checkStateDependentAuth(event, state));
}

function refuseUnless(ctx: Pick<Context, "config">, result: AuthResult): void {
  if (result.allowed) return;
  const detail = ctx.config.experimental.msc3848Enabled && result.detail !== undefined ? { "org.matrix.msc3848.unstable.errcode": result.detail } : {};
  throw new MatrixError(result.status, result.errcode, result.reason, detail);
}

/** Marks redactions that count only if the redacted event is from the same server; refuses those that can be told to be wrong. */
async function judgeRedaction(ctx: CreateContext, event: MatrixEvent, levels: PowerLevels): Promise<void> {
  if (event.type !== "m.room.redaction" || event.redacts === undefined) return;
  const target = await ctx.events.one(event.redacts, { raw: true });
  if (target !== undefined) {
    if (target.type === "m.room.create") throw forbidden("Redacting create events is not permitted");
    if (target.roomId !== event.roomId) throw new MatrixError(400, "M_UNKNOWN", "Cannot redact event from a different room");
    if (target.type === "m.room.server_acl") throw forbidden("Redacting server ACL events is not permitted");
  }
  if (redactionRight(event, levels) !== "own") return;
  if (target === undefined) throw new MatrixError(404, "M_NOT_FOUND", `Could not find event ${event.redacts}`);
  if (target.sender !== event.sender) throw forbidden("You don't have permission to redact events");
  event.internal.recheck_redaction = false;
}

/** `replaces_state`, and for those who are to see the room from outside, what of it they may see. */
async function unsignedOf(ctx: CreateContext, head: RoomHead, state: State, input: EventInput): Promise<JsonObject> {
  const unsigned: JsonObject = {};
  if (input.stateKey === undefined) return unsigned;
  const replaced = state.get(stateKeyOf(input.type, input.stateKey));
  if (replaced !== undefined) unsigned.replaces_state = replaced;
  if (input.type === "m.room.member" && input.content.membership === "invite") unsigned.invite_room_state = await prejoinState(ctx, head, state, input.sender);
  if (input.type === "m.room.member" && input.content.membership === "knock") unsigned.knock_room_state = await prejoinState(ctx, head, state, undefined);
  return unsigned;
}

/** Stripped state of the configured types (`room_prejoin_state`), of an invite with the inviter's membership. */
export async function prejoinState(
  ctx: Pick<CreateContext, "config" | "events">,
  head: RoomHead,
  state: State,
  inviter: string | undefined,
): Promise<JsonObject[]> {
  const ids = new Set<string>();
  for (const { type, stateKey } of ctx.config.api.prejoinState) {
    if (stateKey !== undefined) {
      const id = state.get(stateKeyOf(type, stateKey));
      if (id !== undefined) ids.add(id);
    } else {
      for (const [key, id] of state) if (key.startsWith(`${type}\u0000`)) ids.add(id);
    }
  }
  const membership = inviter === undefined ? undefined : state.get(stateKeyOf("m.room.member", inviter));
  if (membership !== undefined) ids.add(membership);
  const stored = await ctx.events.get([...ids].filter((id) => head.pendingEvent(id) === undefined));
  return [...ids].flatMap((id) => {
    const event = head.pendingEvent(id) ?? stored.get(id);
    return event === undefined ? [] : [strippedState(event)];
  });
}

let counter = 0;

/** Room versions 1 and 2: the sender chooses the id, and references carry hashes. */
async function oldReferences(
  ctx: CreateContext,
  head: RoomHead,
  ids: readonly string[],
): Promise<{ eventId: string; referenceHash: (id: string) => string | undefined }> {
  const stored = await ctx.events.get(
    ids.filter((id) => head.pendingEvent(id) === undefined),
    { raw: true, rejected: true },
  );
  const eventId = `$${Math.floor(ctx.clock.now() / 1000)}${counter++}${ctx.random.letters(5)}:${ctx.config.server.serverName}`;
  return {
    eventId,
    referenceHash: (id) => {
      const event = head.pendingEvent(id) ?? stored.get(id);
      return event === undefined ? undefined : referenceHash(event.json, event.roomVersion);
    },
  };
}
