import type { JsonObject } from "../../lib/json.ts";
import { badJson, forbidden, invalidParam, MatrixError } from "../../protocol/errors.ts";
import type { InternalMetadata, MatrixEvent } from "../../protocol/event/event.ts";
import { memberKey } from "../../protocol/power-levels.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import { checkBlocking } from "../accounts/blocking.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { requireConsent } from "./consent.ts";
import { type BuiltEvent, type CreateContext, createEvent, duplicateOf, type EventInput, withPush } from "./create.ts";
import { asTold, isRetryable } from "./persister.ts";
import type { RoomHead } from "./room-head.ts";

export type SendContext = CreateContext &
  Pick<Context, "accounts" | "eventHooks" | "limits" | "log" | "monthlyActive" | "policyServers" | "presence" | "sendTransactions" | "transaction">;

export interface SendInput {
  readonly roomId: string;
  readonly type: string;
  /** Undefined for messages. */
  readonly stateKey?: string | undefined;
  readonly content: JsonObject;
  /** The client's transaction id: the same one by the same device gets the same event. */
  readonly txnId?: string | undefined;
  /** The event to redact. */
  readonly redacts?: string | undefined;
  /** Appservices may set the time (ms). */
  readonly timestamp?: number | undefined;
  /** The delayed event that is sent now (MSC4140). */
  readonly delayId?: string | undefined;
  /** Milliseconds during which the event is sticky (MSC4354). */
  readonly stickyDurationMs?: number | undefined;
}

export interface SendOptions {
  /** False for what the server sends by itself. Default true. */
  readonly rateLimit?: boolean;
  /** The event is sent though the user is shadow-banned. */
  readonly ignoreShadowBan?: boolean;
  /** False for what users need not agree to terms for. Default true. */
  readonly requireConsent?: boolean;
}

/** What modules and the federation have a say in; all lists may be empty. Refusals are thrown as MatrixErrors. */
export interface EventHooks {
  /** May an event of a local user be sent at all (policy servers, spam checkers, third-party rules)? Called with the room held: be quick. */
  readonly beforeSend: readonly ((built: BuiltEvent) => Promise<void>)[];
}

/** Thrown for shadow-banned users: the edge answers as if the event had been sent, with an id that does not exist. */
export class ShadowBanned extends Error {
  override name = "ShadowBanned";
}

const ATTEMPTS = 5;

/**
 * Sends an event of any kind but a membership for the requester.
 * @throws MatrixError 400, 403, 413, 429 as Synapse does; ShadowBanned
 */
export async function sendEvent(ctx: SendContext, requester: Requester, given: SendInput, options: SendOptions = {}): Promise<{ eventId: string }> {
  let input = given;
  if (input.type === "m.room.member") throw badJson("Tried to send member event through non-member codepath");
  await checkSender(ctx, requester, input, options);
  const version = await ctx.roomVersions.get(input.roomId);
  if (version === undefined) throw forbidden(`User ${requester.userId} not in room ${input.roomId}`);
  input = withRedactsInPlace(version, input);
  if (options.rateLimit !== false) await limitSending(ctx, requester, input.type, redactedBy(version, input));
  const send = async (): Promise<string> => (await sendOne(ctx, requester, version, input)).eventId;
  if (input.txnId === undefined || requester.deviceId === undefined) return { eventId: await send() };
  return { eventId: await ctx.sendTransactions.once(requester.userId, requester.deviceId, input.roomId, input.txnId, send) };
}

/** What a redaction redacts stands beside the content before room version 11: clients may say it in the content all the same (MSC4169, specification 1.18). */
function withRedactsInPlace(version: RoomVersion, input: SendInput): SendInput {
  if (input.type !== "m.room.redaction" || version.redactsInContent || input.redacts !== undefined) return input;
  const { redacts, ...content } = input.content;
  return typeof redacts === "string" ? { ...input, content, redacts } : input;
}

/** Where a policy server has a say it is asked while others may go on to write: it may take its time. */
async function sendOne(ctx: SendContext, requester: Requester, version: RoomVersion, input: SendInput): Promise<MatrixEvent> {
  const { roomId } = input;
  const event = toEvent(requester, input);
  const policyServer = await ctx.policyServers.judgeOf(roomId, input);
  if (policyServer === undefined) return (await sendEvents(ctx, requester, roomId, [event]))[0]!;
  for (let attempt = 1; ; attempt++) {
    const built = await ctx.persister.exclusively(roomId, async () => await buildOne(ctx, await ctx.persister.head(roomId), roomId, version, event));
    if ("duplicate" in built) return built.duplicate;
    const signed = await ctx.policyServers.signed(policyServer, built.event);
    if (attempt < ATTEMPTS && (await hasLostGround(ctx, built.event))) continue;
    const { before, after, push = [], crowd = [] } = built;
    await ctx.persister.exclusively(roomId, async () => await ctx.persister.persist([{ event: signed, before, after, push, crowd }]));
    noteActivity(ctx, requester, [signed]);
    return signed;
  }
}

/** True when what an event follows got lost on its way to the database, with the state that came of it. */
export async function hasLostGround(ctx: Pick<SendContext, "events">, { prevEventIds }: MatrixEvent): Promise<boolean> {
  return (await ctx.events.get(prevEventIds)).size < prevEventIds.length;
}

/**
 * Builds events one upon the other on the head of a room and stores them together; returns them, or what the state had already in place
 * of an event that changes nothing. Checks about the sender (`checkSender`) and limits are the caller's.
 */
export async function sendEvents(ctx: SendContext, requester: Requester, roomId: string, inputs: readonly EventInput[]): Promise<MatrixEvent[]> {
  const version = await ctx.roomVersions.get(roomId);
  if (version === undefined) throw forbidden("Unknown room");
  for (let attempt = 1; ; attempt++) {
    try {
      const { events, stored } = await ctx.persister.exclusively(roomId, async () => await buildAndStore(ctx, roomId, version, inputs));
      await stored;
      noteActivity(ctx, requester, events);
      return events;
    } catch (error) {
      if (!isRetryable(error) || attempt === ATTEMPTS) throw asTold(error);
    }
  }
}

/** `stored` is not awaited here: the next sender builds on these events while they are on their way. */
async function buildAndStore(
  ctx: SendContext,
  roomId: string,
  version: RoomVersion,
  inputs: readonly EventInput[],
): Promise<{ events: MatrixEvent[]; stored: Promise<void> }> {
  const head = await ctx.persister.head(roomId);
  const events: MatrixEvent[] = [];
  const stored: Promise<void>[] = [];
  for (const input of inputs) {
    const built = await buildOne(ctx, head, roomId, version, input);
    if ("duplicate" in built) {
      events.push(built.duplicate);
      continue;
    }
    events.push(built.event);
    stored.push(ctx.persister.persist([built]));
  }
  const all = Promise.all(stored).then(() => {});
  all.catch(() => {}); // reported to whoever awaits it
  return { events, stored: all };
}

async function buildOne(
  ctx: SendContext,
  head: RoomHead,
  roomId: string,
  version: RoomVersion,
  input: EventInput,
): Promise<BuiltEvent | { duplicate: MatrixEvent }> {
  await requireMembership(ctx, head, roomId, input);
  const built = await createEvent(ctx, head, roomId, version, input);
  if (input.type !== "m.room.member") await ctx.modules.spamChecker.requireNoSpam(built.event);
  const duplicate = await duplicateOf(ctx, built, head);
  if (duplicate !== undefined) return { duplicate };
  if (input.type === "m.call.invite" && input.stateKey === undefined) await refuseCallInPublic(ctx, built);
  for (const hook of ctx.eventHooks.beforeSend) await hook(built);
  return await withPush(ctx, built, head);
}

/** Said before anything else, so that strangers learn nothing of the room. */
async function requireMembership(ctx: SendContext, head: RoomHead, roomId: string, input: EventInput): Promise<void> {
  if (input.type === "m.room.create" || input.type === "m.room.member") return;
  const states = new Set([...head.tips.values()].map((tip) => tip.state));
  for (const state of states) {
    const id = state.map.get(memberKey(input.sender));
    const event = id === undefined ? undefined : (head.pendingEvent(id) ?? ctx.events.peek(id) ?? (await ctx.events.one(id)));
    if (event?.membership === "join") return;
  }
  const detail = ctx.config.experimental.msc3848Enabled ? { "org.matrix.msc3848.unstable.errcode": "M_NOT_JOINED" } : {};
  throw forbidden(`User ${input.sender} not in room ${roomId}`, detail);
}

/**
 * May the requester send anything now: the server may be blocked, the account suspended, the terms not agreed to.
 * @throws MatrixError 403; ShadowBanned after a while
 */
export async function checkSender(
  ctx: SendContext,
  requester: Requester,
  input: Pick<SendInput, "type" | "content" | "redacts">,
  options: SendOptions = {},
): Promise<void> {
  if (requester.shadowBanned && !options.ignoreShadowBan && input.type !== "m.room.member") {
    await ctx.clock.sleep(1_000 * (1 + ctx.random.below(10)));
    throw new ShadowBanned();
  }
  await checkBlocking(ctx, { requester });
  if (requester.authenticatedEntity !== ctx.config.server.serverName) await checkSuspension(ctx, requester, input);
  if (options.requireConsent !== false) await requireConsent(ctx, requester);
}

async function checkSuspension(ctx: SendContext, requester: Requester, input: Pick<SendInput, "type" | "content" | "redacts">): Promise<void> {
  if ((await ctx.accounts.user(requester.userId))?.suspended !== true) return;
  const refusal = (message: string): MatrixError => new MatrixError(403, "M_USER_SUSPENDED", message);
  if (input.type === "m.room.member") {
    if (input.content.membership === "leave") return;
    throw refusal("Changing membership while account is suspended is not allowed.");
  }
  if (input.type !== "m.room.redaction") throw refusal("Sending messages while account is suspended is not allowed.");
  const redacts = input.redacts ?? input.content.redacts;
  const target = typeof redacts === "string" ? await ctx.events.one(redacts) : undefined;
  if (target !== undefined && target.sender !== requester.userId) throw refusal("You can only redact your own events while account is suspended.");
}

/** `rc_message`, or for redacting what others sent `rc_admin_redaction` where it is set. */
export async function limitSending(
  ctx: Pick<SendContext, "config" | "events" | "limits">,
  requester: Requester,
  type: string,
  redacts: string | undefined,
): Promise<void> {
  const target = type === "m.room.redaction" && redacts !== undefined ? await ctx.events.one(redacts, { raw: true }) : undefined;
  const isModeration = target !== undefined && target.sender !== requester.userId && ctx.config.ratelimiting.adminRedaction !== undefined;
  await ctx.limits.check(isModeration ? "adminRedaction" : "message", requester.userId, { requester });
}

function redactedBy(version: RoomVersion, input: SendInput): string | undefined {
  if (input.type !== "m.room.redaction") return undefined;
  const redacts = input.redacts ?? (version.redactsInContent ? input.content.redacts : undefined);
  if (typeof redacts !== "string") throw invalidParam("A redaction needs the id of the event to redact");
  return redacts;
}

function toEvent(requester: Requester, input: SendInput): EventInput {
  const internal: InternalMetadata = {
    ...(requester.deviceId !== undefined && { device_id: requester.deviceId }),
    ...(input.txnId !== undefined && { txn_id: input.txnId }),
    ...(input.delayId !== undefined && { delay_id: input.delayId }),
  };
  return {
    type: input.type,
    stateKey: input.stateKey,
    sender: requester.userId,
    content: input.content,
    redacts: input.redacts,
    timestamp: input.timestamp,
    internal,
    ...(input.stickyDurationMs !== undefined && { extra: { msc4354_sticky: { duration_ms: input.stickyDurationMs } } }),
  };
}

async function refuseCallInPublic(ctx: SendContext, built: BuiltEvent): Promise<void> {
  const id = built.before?.map.get("m.room.join_rules\u0000");
  const rules = id === undefined ? undefined : await ctx.events.one(id);
  if (rules?.content.join_rule === "public") throw forbidden("Call invites are not allowed in public rooms.");
}

/** Who writes is active; presence may take its time. */
function noteActivity(ctx: SendContext, requester: Requester, events: readonly MatrixEvent[]): void {
  if (!events.some((event) => event.type === "m.room.message")) return;
  ctx.presence
    .bumpActive(requester.userId, requester.deviceId)
    .catch((error: unknown) => ctx.log.named("synapse.handlers.message").warn("Error bumping presence active time", { error }));
}
