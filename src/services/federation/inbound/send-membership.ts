import type { JsonObject } from "../../../lib/json.ts";
import { badJson, forbidden, MatrixError, notFound } from "../../../protocol/errors.ts";
import { type MatrixEvent, stateKeyOf } from "../../../protocol/event/event.ts";
import { makeEventFromJson, parsePdu } from "../../../protocol/event/format.ts";
import { federationPdu } from "../../../protocol/event/serialise.ts";
import { signEventJson } from "../../../protocol/event/sign.ts";
import { getDomain } from "../../../protocol/ids.ts";
import { memberKey } from "../../../protocol/power-levels.ts";
import type { RoomVersion } from "../../../protocol/room-versions.ts";
import { isPartialStateRoom } from "../../../storage/rooms/rooms.ts";
import { type State, stateFrom } from "../../../storage/state/snapshot.ts";
import type { Context } from "../../context.ts";
import { prejoinState } from "../../events/create.ts";
import { sendDummyEvent } from "../../events/dummy-events.ts";
import { asTold, isRetryable } from "../../events/persister.ts";
import { RoomHead } from "../../events/room-head.ts";
import type { SendContext } from "../../events/send.ts";
import { authoriserForRemote } from "../../rooms/restricted-join.ts";
import { checkPdu, idProblem, type PduCheckContext } from "../pdu-checks.ts";
import type { ReceiveContext } from "../receive-events.ts";
import { EventRefused, RoomIntake } from "../room-intake.ts";
import { type AccessContext, requireAllowedByAcl, requireRoomVersion } from "./access.ts";
import { authChainOf, pdusOf } from "./history.ts";

export type SendMembershipContext = ReceiveContext & SendContext & AccessContext & PduCheckContext & Pick<Context, "authGraph" | "signingKeys">;

export interface SentMembership {
  readonly origin: string;
  readonly roomId: string;
  readonly eventId: string;
  readonly pdu: JsonObject;
}

interface Received {
  readonly event: MatrixEvent;
  readonly before: State;
}

const ATTEMPTS = 5;
/** Members whose names a room without a name goes by. */
const HEROES = 5;

/**
 * A join by a user of another server (`/send_join`): stored, and answered with the state before it and its auth chain; with
 * `omitMembers` (MSC3706) without the members that a client does not need at once, but with the servers in the room.
 * @throws MatrixError 400, 403, 404, 429
 */
export async function receiveJoin(ctx: SendMembershipContext, sent: SentMembership, omitMembers: boolean): Promise<JsonObject> {
  const { roomId } = sent;
  await ctx.limits.check("joinsPerRoom", roomId, { count: false });
  const { event, before } = await receiveMembership(ctx, sent, "join");
  ctx.limits.record("joinsPerRoom", roomId);
  const stateIds = omitMembers ? await withoutMembers(ctx, before, event) : [...before.values()];
  const authIds = await authChainOf(ctx, stateIds);
  if (omitMembers) for (const id of stateIds) authIds.delete(id);
  const events = await ctx.events.get([...stateIds, ...authIds]);
  const pick = (ids: Iterable<string>): MatrixEvent[] => [...ids].flatMap((id) => events.get(id) ?? []);
  await ctx.modules.federation.delivered(sent.origin, events.values(), "/send_join");
  if ((await ctx.persister.head(roomId)).storedTips.size > 1) tieTogether(ctx, roomId);
  return {
    event: federationPdu(event, ctx.clock.now()),
    state: pdusOf(ctx, pick(stateIds)),
    auth_chain: pdusOf(ctx, pick(authIds)),
    members_omitted: omitMembers,
    ...(omitMembers ? { servers_in_room: await serversIn(ctx, before, event) } : {}),
  };
}

/** A leave, or the rejection of an invite (`/send_leave`). @throws MatrixError 400, 403, 404 */
export async function receiveLeave(ctx: SendMembershipContext, sent: SentMembership): Promise<JsonObject> {
  await receiveMembership(ctx, sent, "leave");
  return {};
}

/** A knock (`/send_knock`); answered with what knockers see of the room. @throws MatrixError 400, 403, 404 */
export async function receiveKnock(ctx: SendMembershipContext, sent: SentMembership): Promise<JsonObject> {
  const { before } = await receiveMembership(ctx, sent, "knock");
  return { knock_room_state: await prejoinState(ctx, new RoomHead(new Map(), undefined, false), before, undefined) };
}

async function receiveMembership(ctx: SendMembershipContext, sent: SentMembership, membership: "join" | "leave" | "knock"): Promise<Received> {
  const { origin, roomId } = sent;
  const version = await requireRoomVersion(ctx, roomId);
  const parsed = parseMembership(ctx, sent, version, membership);
  if (await isPartialStateRoom(ctx.read, roomId)) throw notFound(`Unable to handle /send_${membership} right now; this server is not fully joined.`);
  if (membership === "knock" && !version.knocking) throw forbidden("This room version does not support knocking");
  if ((await ctx.members.joinedLocal(roomId)).size === 0) throw notFound("Not an active room on this server");
  await requireAllowedByAcl(ctx, origin, roomId);
  if (getDomain(parsed.sender) !== origin) throw forbidden("User not from origin");
  if (parsed.sender !== parsed.stateKey) throw badJson("state_key and sender must match");
  const vouched = membership === "join" ? await authorise(ctx, parsed) : parsed;
  const { event, problem } = await checkPdu(ctx, vouched);
  if (event === undefined) throw forbidden(`event id ${parsed.eventId}: ${problem}`);
  event.internal.send_on_behalf_of = origin;
  for (let attempt = 1; ; attempt++) {
    try {
      return await store(ctx, origin, event);
    } catch (error) {
      if (error instanceof EventRefused) throw forbidden(error.message);
      if (!isRetryable(error) || attempt === ATTEMPTS) throw asTold(error);
    }
  }
}

/** What is sent must be what the path and the endpoint say (CVE-2020-26257). @throws MatrixError 400 */
function parseMembership(ctx: SendMembershipContext, { roomId, eventId, pdu }: SentMembership, version: RoomVersion, membership: string): MatrixEvent {
  if (pdu.room_id !== roomId) throw badJson("Room ID in body does not match that in request path");
  const { event, problem } = parsePdu(pdu, version, ctx.clock.now());
  const reason = problem ?? idProblem(event!);
  if (event === undefined || reason !== undefined) throw badJson(reason ?? "Malformed event");
  if (event.eventId !== eventId) throw badJson("Event ID in body does not match that in request path");
  if (event.type !== "m.room.member" || event.stateKey === undefined) throw badJson("Not an m.room.member event");
  if (event.membership !== membership) throw badJson(`Not a ${membership} event`);
  return event;
}

/** A restricted join that one of our users vouches for is signed by this server, if the user may join. @throws MatrixError 400, 403 */
async function authorise(ctx: SendMembershipContext, event: MatrixEvent): Promise<MatrixEvent> {
  const needed = await authoriserForRemote(ctx, event.roomId, event.roomVersion, event.sender);
  const authoriser = event.content.join_authorised_via_users_server;
  if (!event.roomVersion.restrictedJoins || authoriser === undefined) return event;
  const { serverName } = ctx.config.server;
  if (typeof authoriser !== "string" || getDomain(authoriser) !== serverName) {
    throw new MatrixError(
      400,
      "M_UNKNOWN",
      `Cannot authorise membership event for ${typeof authoriser === "string" ? getDomain(authoriser) : "nobody"}. We can only authorise requests from our own homeserver`,
    );
  }
  if (needed === undefined) ctx.log.named("synapse.federation.federation_server").debug(`${event.eventId} names an authorising user without need`);
  return makeEventFromJson(signEventJson(event.json, event.roomVersion, serverName, ctx.signingKeys[0]!), event.roomVersion);
}

async function store(ctx: SendMembershipContext, origin: string, event: MatrixEvent): Promise<Received> {
  const { roomId } = event;
  const intake = await RoomIntake.open(ctx, roomId);
  await intake.prepare([event]);
  const known = intake.has(event.eventId) ? await ctx.events.one(event.eventId, { rejected: true }) : undefined;
  if (known !== undefined) return await storedBefore(ctx, event, known);
  if (intake.missingPrevs(event).length > 0) throw forbidden("The event refers to events that are not known here");
  await intake.take(event, { server: origin, roomId, version: event.roomVersion });
  if (event.rejectedReason !== undefined) throw forbidden(`${event.membership} event was rejected`);
  const before = intake.stateBeforeTaken(event.eventId)!.map;
  if (event.membership === "knock") await ctx.modules.thirdPartyRules.requireAllowed(event, async () => await ctx.state.hydrate(before));
  await intake.store();
  return { event, before };
}

/** The same event once more: the answer got lost. */
async function storedBefore(ctx: SendMembershipContext, event: MatrixEvent, known: MatrixEvent): Promise<Received> {
  const before = known.roomId === event.roomId && known.rejectedReason === undefined ? await ctx.state.beforeEvent(known) : undefined;
  if (before === undefined) throw forbidden(`${event.membership} event was rejected`);
  return { event: known, before: stateFrom(before) };
}

/** The state but for members; of those the joining user, and where the room has no name, those it goes by. */
async function withoutMembers(ctx: SendMembershipContext, state: State, join: MatrixEvent): Promise<string[]> {
  const ids: string[] = [];
  for (const [key, id] of state) if (!key.startsWith("m.room.member\u0000")) ids.push(id);
  const own = state.get(memberKey(join.sender));
  if (own !== undefined) ids.push(own);
  const isNamed = state.has(stateKeyOf("m.room.name", "")) || state.has(stateKeyOf("m.room.canonical_alias", ""));
  if (isNamed) return ids;
  let heroes = 0;
  for (const userId of await ctx.members.joined(join.roomId)) {
    const id = state.get(memberKey(userId));
    if (id === undefined || userId === join.sender) continue;
    ids.push(id);
    if (++heroes === HEROES) break;
  }
  return ids;
}

/** Servers with a joined member before the join: those now, but for one that came with it. */
async function serversIn(ctx: SendMembershipContext, before: State, join: MatrixEvent): Promise<string[]> {
  const { joined } = await ctx.members.inRoom(join.roomId);
  const servers = new Set<string>();
  for (const userId of joined) if (userId !== join.sender || before.has(memberKey(userId))) servers.add(getDomain(userId));
  return [...servers];
}

/** The newcomer learns of all loose ends by an event that follows them all. */
function tieTogether(ctx: SendMembershipContext, roomId: string): void {
  sendDummyEvent(ctx, roomId, true).catch((error: unknown) =>
    ctx.log.named("synapse.handlers.message").warn(`Could not send a dummy event into ${roomId}`, { error }),
  );
}
