import { isJsonObject, type Json, type JsonObject } from "../../../lib/json.ts";
import type { KeyedMutex } from "../../../lib/keyed-mutex.ts";
import { forbidden, MatrixError } from "../../../protocol/errors.ts";
import { type MatrixEvent, type StateKey, stateKeyOf } from "../../../protocol/event/event.ts";
import { federationPdu } from "../../../protocol/event/serialise.ts";
import { getDomain } from "../../../protocol/ids.ts";
import type { RoomVersion } from "../../../protocol/room-versions.ts";
import { registerJoinedRoom, removeExtremities } from "../../../storage/federation/joined-room.ts";
import { stateEventFacts } from "../../../storage/federation/history.ts";
import { stateFrom, StateSnapshot } from "../../../storage/state/snapshot.ts";
import { isUnknownEndpoint } from "../../../outbound/federation/client.ts";
import type { Context } from "../../context.ts";
import { carryOver, truePredecessor } from "../../rooms/upgrade.ts";
import { updateMembership } from "../../rooms/membership.ts";
import type { RemoteMembership } from "../../rooms/remote-rooms.ts";
import { authIdsIn, EventPool, judgeByAuthEvents, judgeByState } from "../judge-event.ts";
import { checkPdus } from "../pdu-checks.ts";
import type { ReceiveContext } from "../receive-events.ts";
import { askServers, BadAnswer } from "../remote-error.ts";
import { EventRefused, RoomIntake } from "../room-intake.ts";
import { storeOutliers } from "../store-outliers.ts";
import { makeMembership } from "./membership-template.ts";

export type JoinContext = Context & ReceiveContext;

/** A room's state takes a while to put together and to send. */
const SEND_JOIN_TIMEOUT_MS = 10 * 60_000;
const CREATE_KEY = stateKeyOf("m.room.create", "");
const AUTHORISER = "join_authorised_via_users_server";

/** What the server that let us in says of the room. Nothing of it is believed before it is checked. */
interface JoinAnswer {
  readonly server: string;
  /** The join as it stands in the room: with the signature of who vouched for it. */
  readonly event: MatrixEvent;
  readonly state: readonly MatrixEvent[];
  readonly authChain: readonly MatrixEvent[];
}

/**
 * Joins a room through one of the servers, and stores the room: its state with the auth chain as outliers, and the join as the room's newest
 * event. Events that arrive meanwhile wait. (Server-server API, "Joining rooms".)
 * @throws MatrixError
 */
export async function joinRoom(ctx: JoinContext, request: RemoteMembership): Promise<{ eventId: string }> {
  const { roomId, userId } = request;
  const wasHere = (await ctx.members.joinedLocal(roomId)).size > 0;
  const release = ctx.inbound.rooms.hold(roomId);
  try {
    const { server, version, event } = await makeMembership(ctx, { ...request, membership: "join" });
    const answer = await sendJoin(ctx, version, event, [server, ...request.servers]);
    const joined = await ctx.inbound.rooms.exclusively(roomId, () => (wasHere ? takeIntoRoom(ctx, answer, version) : storeRoom(ctx, answer, version)));
    await followPredecessor(ctx, userId, roomId);
    return { eventId: joined.eventId };
  } finally {
    release();
  }
}

/** One user of this server after the other joins the same room: who comes second finds it here already. */
export async function joinOneAtATime(ctx: JoinContext, request: RemoteMembership, mutex: KeyedMutex): Promise<{ eventId: string }> {
  const wasHere = (await ctx.members.joinedLocal(request.roomId)).size > 0;
  return await mutex.exclusively(request.roomId, async () => {
    const isHere = (await ctx.members.joinedLocal(request.roomId)).size > 0;
    if (wasHere || !isHere) return await joinRoom(ctx, request);
    const change = { roomId: request.roomId, target: request.userId, action: "join" as const, content: request.content, remoteServers: request.servers };
    return await updateMembership(ctx, request.requester, change, { rateLimit: false, requireConsent: false });
  });
}

async function sendJoin(ctx: JoinContext, version: RoomVersion, event: MatrixEvent, servers: readonly string[]): Promise<JoinAnswer> {
  // Who vouched signs, too: nobody else can take the join.
  const authoriser = event.content[AUTHORISER];
  const asked = typeof authoriser === "string" ? [getDomain(authoriser)] : servers;
  const failoverErrcodes = version.restrictedJoins ? ["M_UNABLE_TO_AUTHORISE_JOIN", "M_UNABLE_TO_GRANT_JOIN"] : [];
  return await askServers(
    ctx,
    "send_join",
    asked,
    async (server) => {
      const answer = await putMembership(ctx, "send_join", server, event, { omit_members: "false" });
      if (answer.members_omitted === true) throw new BadAnswer("members_omitted was set, but we asked for full state");
      return await checkAnswer(ctx, version, event, server, answer);
    },
    { failoverErrcodes },
  );
}

/** `PUT /v2/send_...`, or the first version, which answers with a pair, where that is all that the server knows. */
export async function putMembership(
  ctx: Pick<Context, "clock" | "federationClient">,
  endpoint: "send_join" | "send_leave",
  destination: string,
  event: MatrixEvent,
  query?: Record<string, string>,
): Promise<JsonObject> {
  const path = `${endpoint}/${encodeURIComponent(event.roomId)}/${encodeURIComponent(event.eventId)}`;
  const put = { method: "PUT", destination, content: federationPdu(event, ctx.clock.now()), timeoutMs: SEND_JOIN_TIMEOUT_MS } as const;
  try {
    return await ctx.federationClient.requestObject({ ...put, path: `/_matrix/federation/v2/${path}`, ...(query && { query }) });
  } catch (error) {
    if (!isUnknownEndpoint(error)) throw error;
  }
  const answer = await ctx.federationClient.request({ ...put, path: `/_matrix/federation/v1/${path}` });
  if (Array.isArray(answer) && isJsonObject(answer[1])) return answer[1];
  if (isJsonObject(answer)) return answer;
  throw new BadAnswer("The answer is no pair of a status and an object");
}

async function checkAnswer(ctx: JoinContext, version: RoomVersion, sent: MatrixEvent, server: string, answer: JsonObject): Promise<JoinAnswer> {
  const { roomId } = sent;
  const [stateJson, authJson] = [list(answer.state), list(answer.auth_chain ?? answer.auth_events)];
  const { events: state } = await checkPdus(ctx, version, roomId, stateJson);
  // The auth chain holds most of the state again: an event's content hash, with what it is, tells it well enough to check it once.
  const known = new Set(stateJson.map(sketch));
  const { events: authChain } = await checkPdus(
    ctx,
    version,
    roomId,
    authJson.filter((pdu) => !known.has(sketch(pdu))),
  );

  const creates = [...state, ...authChain].filter((event) => event.type === "m.room.create" && event.stateKey === "");
  const create = state.find((event) => event.type === "m.room.create" && event.stateKey === "");
  if (create === undefined) throw new BadAnswer("No create event in state");
  if (creates.some((event) => event.eventId !== create.eventId)) throw new BadAnswer("Unexpected create event(s) in auth chain");
  const claimed = create.content.room_version ?? "1";
  if (claimed !== version.id) throw new BadAnswer(`Unexpected room version ${String(claimed).slice(0, 50)} in create event`);
  return { server, event: await joinOf(ctx, version, sent, answer.event), state, authChain };
}

/** The join as the other server has it now, where it had to sign it. */
async function joinOf(ctx: JoinContext, version: RoomVersion, sent: MatrixEvent, returned: Json | undefined): Promise<MatrixEvent> {
  if (!version.restrictedJoins || returned === undefined) {
    if (sent.content[AUTHORISER] !== undefined) throw new BadAnswer("The join was not signed by the server that vouches for it");
    return sent;
  }
  const { events } = await checkPdus(ctx, version, sent.roomId, [returned]);
  if (events[0]?.eventId !== sent.eventId) throw new BadAnswer("Returned an invalid join event");
  return events[0];
}

/** The room is new here, or this server had left it: its state is what the other server says, as far as it holds. */
async function storeRoom(ctx: JoinContext, answer: JoinAnswer, version: RoomVersion): Promise<MatrixEvent> {
  const { event, state } = answer;
  const { roomId } = event;
  const create = state.find((one) => one.type === "m.room.create" && one.stateKey === "")!;
  const creator = version.implicitCreator ? create.sender : create.content.creator;
  await ctx.transaction("upsert_room_on_join", async (txn) => {
    await registerJoinedRoom(txn, { roomId, version: version.id, creator: typeof creator === "string" ? creator : "" });
    await removeExtremities(txn, roomId);
  });
  ctx.roomVersions.remember(roomId, version);
  ctx.persister.forgetRoom(roomId);
  await storeOutliers(ctx, roomId, [...answer.authChain, ...state]);

  const before = new Map<StateKey, string>();
  for (const facts of await stateEventFacts(
    ctx.read,
    state.map((one) => one.eventId),
  )) {
    if (facts.roomId === roomId && facts.key !== undefined && !facts.rejected) before.set(facts.key, facts.eventId);
  }
  if (!before.has(CREATE_KEY)) throw new MatrixError(400, "M_UNKNOWN", "No create event in state");
  const pool = new EventPool(ctx);
  const stateMap = stateFrom(before);
  await pool.load([...event.authEventIds, ...authIdsIn(event, stateMap)]);
  const lacking = event.authEventIds.find((id) => pool.get(id) === undefined);
  const refused =
    lacking !== undefined
      ? `auth event ${lacking} is missing`
      : (judgeByAuthEvents(event, pool)?.refusal?.reason ?? judgeByState(event, stateMap, pool)?.reason);
  if (refused !== undefined) throw forbidden(`Join event was rejected: ${refused}`);

  const snapshot = StateSnapshot.full(roomId, stateMap);
  await ctx.persister.persist([{ event, before: snapshot, after: snapshot.after(stateKeyOf(event.type, event.stateKey!), event.eventId) }]);
  return event;
}

/** This server is in the room already, and another one had to let its user in: the join is taken as any event from there. */
async function takeIntoRoom(ctx: JoinContext, answer: JoinAnswer, version: RoomVersion): Promise<MatrixEvent> {
  const { event } = answer;
  const intake = await RoomIntake.open(ctx, event.roomId);
  await storeOutliers(ctx, event.roomId, [...answer.authChain, ...answer.state]);
  await intake.prepare([event]);
  if (!intake.has(event.eventId)) {
    try {
      await intake.take(event, { server: answer.server, roomId: event.roomId, version });
    } catch (error) {
      if (error instanceof EventRefused) throw new MatrixError(502, "M_UNKNOWN", `Failed to join the room: ${error.message}`);
      throw error;
    }
    if (event.rejectedReason !== undefined) throw forbidden("Join event was rejected");
    await intake.store();
  }
  return event;
}

/** Tags and the like go on where the room replaces one that the user is in. */
async function followPredecessor(ctx: JoinContext, userId: string, roomId: string): Promise<void> {
  const old = await truePredecessor(ctx, userId, roomId);
  if (old !== undefined) await carryOver(ctx, old, roomId, [userId]);
}

function sketch(pdu: Json): string {
  if (!isJsonObject(pdu)) return "";
  const hash = isJsonObject(pdu.hashes) ? pdu.hashes.sha256 : undefined;
  return JSON.stringify([typeof hash === "string" ? hash : null, String(pdu.type), String(pdu.state_key), String(pdu.sender), String(pdu.origin_server_ts)]);
}

const list = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : []);
