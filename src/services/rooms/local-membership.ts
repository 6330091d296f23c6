import { canonicalJson } from "../../protocol/canonical-json.ts";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import type { InternalMetadata, MatrixEvent } from "../../protocol/event/event.ts";
import { MatrixEvent as Event, stateKeyOf } from "../../protocol/event/event.ts";
import { buildEvent } from "../../protocol/event/build.ts";
import { referenceHash } from "../../protocol/event/hash.ts";
import { getDomain } from "../../protocol/ids.ts";
import { memberKey } from "../../protocol/power-levels.ts";
import type { JsonObject } from "../../lib/json.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import type { State } from "../../storage/state/snapshot.ts";
import type { Context } from "../context.ts";
import { type BuiltEvent, createEvent, type EventInput, withPush } from "../events/create.ts";
import { asTold, isRetryable } from "../events/persister.ts";
import { evaluatePush } from "../events/push-actions.ts";
import type { RoomHead } from "../events/room-head.ts";
import type { Requester } from "../requester.ts";

/** What a client wants of a membership; `kick` and `unban` make a leave. */
export type MembershipAction = "join" | "invite" | "leave" | "ban" | "kick" | "unban" | "knock";

export interface LocalChange {
  readonly roomId: string;
  readonly version: RoomVersion;
  readonly sender: string;
  readonly target: string;
  readonly action: MembershipAction;
  readonly membership: string;
  readonly content: JsonObject;
  readonly timestamp: number | undefined;
  readonly internal: InternalMetadata;
}

const ATTEMPTS = 5;

/**
 * Builds a membership event on the head of a room that this server is in, and stores it; when the member has that very membership
 * already, nothing happens. Returns the event, and whether it is new.
 * @throws MatrixError 403 and others, where the room's rules or the present membership forbid it
 */
export async function storeMembership(ctx: Context, requester: Requester, change: LocalChange): Promise<{ event: MatrixEvent; isNew: boolean }> {
  for (let attempt = 1; ; attempt++) {
    try {
      const { result, stored } = await ctx.persister.exclusively(change.roomId, async () => {
        const head = await ctx.persister.head(change.roomId);
        const old = await memberOnHead(ctx, head, change);
        const same = checkTransition(change, old);
        if (same !== undefined) return { result: { event: same, isNew: false, built: undefined }, stored: Promise.resolve() };
        if (change.membership === "join" && requester.isGuest) await requireGuestAccess(ctx, head, change.roomId);
        if (old?.membership === "invite" && change.membership === "leave") await refuseLeavingNotices(ctx, change.roomId);
        const built = await createEvent(ctx, head, change.roomId, change.version, toInput(change));
        if (change.membership === "invite" && getDomain(change.target) !== ctx.config.server.serverName)
          return { result: { event: built.event, isNew: true, built }, stored: Promise.resolve() };
        for (const hook of ctx.eventHooks.beforeSend) await hook(built);
        const stored = ctx.persister.persist([await withPush(ctx, built, head)]);
        stored.catch(() => {}); // awaited below, outside of the lock
        return { result: { event: built.event, isNew: true, built: undefined }, stored };
      });
      await stored;
      if (result.built !== undefined) return { event: await storeRemoteInvite(ctx, result.built), isNew: true };
      return result;
    } catch (error) {
      if (!isRetryable(error) || attempt === ATTEMPTS) throw asTold(error);
    }
  }
}

function toInput(change: LocalChange): EventInput {
  return {
    type: "m.room.member",
    stateKey: change.target,
    sender: change.sender,
    content: change.content,
    timestamp: change.timestamp,
    internal: change.internal,
  };
}

/** The user's own server must agree to an invite and sign it. Meanwhile the room may move on: the event may come beside others. */
async function storeRemoteInvite(ctx: Context, built: BuiltEvent): Promise<MatrixEvent> {
  for (const hook of ctx.eventHooks.beforeSend) await hook(built);
  const signatures = await ctx.remoteRooms.sendInvite(built.event);
  const { event } = built;
  const signed = new Event(
    { ...event.json, signatures: { ...(event.json.signatures as JsonObject), ...signatures } },
    event.roomVersion,
    event.eventId,
    event.internal,
  );
  await ctx.persister.persist([{ event: signed, before: built.before, after: built.after }]);
  return signed;
}

/** The state that a new event would follow; with several tips the resolved current one. */
async function stateOnHead(ctx: Context, head: RoomHead, roomId: string): Promise<State> {
  const [only, more] = [...head.tips.values()];
  return only !== undefined && more === undefined ? only.state.map : await ctx.state.currentIds(roomId);
}

async function memberOnHead(ctx: Context, head: RoomHead, change: LocalChange): Promise<MatrixEvent | undefined> {
  return await eventOnHead(ctx, head, (await stateOnHead(ctx, head, change.roomId)).get(memberKey(change.target)));
}

async function eventOnHead(ctx: Context, head: RoomHead, id: string | undefined): Promise<MatrixEvent | undefined> {
  if (id === undefined) return undefined;
  return head.pendingEvent(id) ?? ctx.events.peek(id) ?? (await ctx.events.one(id));
}

/** Whether the present membership allows the change, in Synapse's words; the old event when there is nothing to change. */
function checkTransition(change: LocalChange, old: MatrixEvent | undefined): MatrixEvent | undefined {
  const { action } = change;
  const before = old?.membership;
  const badState = (message: string): MatrixError => new MatrixError(403, "M_BAD_STATE", message);
  if (old === undefined) {
    if (action === "kick") throw forbidden("The target user is not in the room");
    return undefined;
  }
  if (action === "unban" && before !== "ban") throw badState(`Cannot unban user who was not banned (membership=${before})`);
  if (before === "ban" && action !== "ban" && action !== "unban" && action !== "leave") throw badState(`Cannot ${action} user who was banned`);
  if (old.sender === change.sender && before === change.membership && canonicalJson(old.content) === canonicalJson(change.content)) return old;
  if (action === "kick" && (before === "ban" || before === "leave")) throw forbidden("The target user is not in the room");
  return undefined;
}

async function requireGuestAccess(ctx: Context, head: RoomHead, roomId: string): Promise<void> {
  const event = await eventOnHead(ctx, head, (await stateOnHead(ctx, head, roomId)).get(stateKeyOf("m.room.guest_access", "")));
  if (event?.content.guest_access !== "can_join") throw forbidden("Guest access not allowed");
}

/** The rooms of server notices may be left once joined, but their invites not be rejected. */
async function refuseLeavingNotices(ctx: Context, roomId: string): Promise<void> {
  const notices = ctx.config.serverNotices.userId;
  if (notices === undefined || !(await ctx.members.joinedLocal(roomId)).has(notices)) return;
  throw new MatrixError(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", "You cannot reject this invite");
}

/**
 * Ends an invite or a knock without the room: a leave event that stands on the earlier membership alone. For when the other server does not
 * answer, or cannot be asked.
 */
export async function leaveOutOfBand(ctx: Context, previous: MatrixEvent, content: JsonObject, internal: InternalMetadata): Promise<MatrixEvent> {
  const version = previous.roomVersion;
  const authEventIds = [...new Set([...previous.authEventIds, previous.eventId])];
  const stored = version.eventFormat === 1 ? await ctx.events.get(authEventIds, { raw: true, rejected: true }) : undefined;
  const event = buildEvent(
    {
      roomVersion: version,
      roomId: previous.roomId,
      type: "m.room.member",
      stateKey: previous.stateKey!,
      sender: previous.stateKey!,
      content: { ...content, membership: "leave" },
      originServerTs: ctx.clock.now(),
      depth: BigInt(previous.depth) < 2n ** 53n - 2n ? Number(previous.depth) + 1 : previous.depth,
      prevEventIds: [previous.eventId],
      authEventIds,
      ...(version.stateDag ? { prevStateEventIds: [previous.eventId] } : {}),
      unsigned: { replaces_state: previous.eventId },
      internal: { ...internal, out_of_band_membership: true },
      ...(stored === undefined
        ? {}
        : {
            eventId: `$${Math.floor(ctx.clock.now() / 1000)}${ctx.random.below(1_000_000)}${ctx.random.letters(5)}:${ctx.config.server.serverName}`,
            referenceHash: (id: string) => {
              const known = stored.get(id);
              return known === undefined ? undefined : referenceHash(known.json, known.roomVersion);
            },
          }),
    },
    ctx.config.server.serverName,
    ctx.signingKeys.slice(0, 1),
  );
  event.outlier = true;
  const push = await evaluatePush(ctx, { event, before: undefined, levels: undefined });
  await ctx.persister.persist([{ event, push }]);
  return event;
}
