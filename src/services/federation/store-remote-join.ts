import { forbidden, MatrixError } from "../../protocol/errors.ts";
import { type MatrixEvent, type StateKey, stateKeyOf } from "../../protocol/event/event.ts";
import { CREATE_KEY } from "../../protocol/power-levels.ts";
import { readEventFlags } from "../../storage/events/rows.ts";
import { stateEventFacts } from "../../storage/federation/history.ts";
import { type State, stateFrom, StateSnapshot } from "../../storage/state/snapshot.ts";
import { resolveState } from "../events/resolve-state.ts";
import { type EventSource, fetchLackingAuthEvents } from "./fetch-events.ts";
import { authIdsIn, EventPool, judgeByAuthEvents, judgeByState } from "./judge-event.ts";
import type { IntakeContext } from "./room-intake.ts";
import { storeOutliers } from "./store-outliers.ts";

/** What another server answered to a join, all of it through `checkPdus`. */
export interface JoinAnswer {
  readonly join: MatrixEvent;
  readonly state: readonly MatrixEvent[];
  readonly authChain: readonly MatrixEvent[];
  /** Members were left out: the state is to be completed later (MSC3706). */
  readonly partialState: boolean;
}

/**
 * Stores a room that a local user has just joined through another server: the state and the auth chain as outliers, each judged by itself,
 * then the join upon that state. The room's row, with its version, is there already. To run while the room is held (`InboundRooms.hold`).
 * @throws MatrixError 400 when the state has no create event of this version; 403 when the join is not allowed by it
 */
export async function storeRemoteJoin(ctx: IntakeContext, source: EventSource, answer: JoinAnswer): Promise<void> {
  const { roomId, version } = source;
  const { join, partialState } = answer;
  const create = answer.state.find((event) => event.stateKey !== undefined && stateKeyOf(event.type, event.stateKey) === CREATE_KEY);
  if (create === undefined) throw new MatrixError(400, "M_UNKNOWN", "No create event in state");
  if ((create.content.room_version ?? "1") !== version.id) throw new MatrixError(400, "M_UNKNOWN", "Room version mismatch");
  await storeOutliers(ctx, roomId, [...answer.authChain, ...answer.state]);
  const given = stateFrom(await acceptedState(ctx, roomId, answer.state));
  const before = partialState ? await withKnownHistory(ctx, roomId, join, given) : StateSnapshot.full(roomId, given);

  const pool = new EventPool(ctx);
  await fetchLackingAuthEvents(ctx, source, [join]);
  await pool.load([...join.authEventIds, ...authIdsIn(join, before.map)]);
  const missing = join.authEventIds.find((id) => pool.get(id) === undefined);
  if (missing !== undefined) throw forbidden(`Join event was rejected: auth event ${missing} could not be found`);
  const refusal = judgeByAuthEvents(join, pool);
  // With a part of the state alone, only what the event names itself can be held against it.
  const stateRefusal = refusal === undefined && !partialState ? judgeByState(join, before.map, pool) : undefined;
  if (refusal !== undefined || stateRefusal !== undefined) throw forbidden(`Join event was rejected: ${refusal?.refusal?.reason ?? refusal?.rejection ?? stateRefusal!.reason}`);
  join.outlier = false;
  join.internal.proactively_send = false;
  await ctx.persister.persist([{ event: join, before, after: before.after(stateKeyOf(join.type, join.stateKey!), join.eventId), partialState }]);
}

/** The state as it was given, of events that were not rejected. */
async function acceptedState(ctx: IntakeContext, roomId: string, events: readonly MatrixEvent[]): Promise<[StateKey, string][]> {
  const facts = await stateEventFacts(ctx.read, events.map((event) => event.eventId));
  return facts.flatMap((event): [StateKey, string][] => (event.key === undefined || event.rejected || event.roomId !== roomId ? [] : [[event.key, event.eventId]]));
}

/** Where this server has some of the previous events already (another user joined before), their states count too. */
async function withKnownHistory(ctx: IntakeContext, roomId: string, join: MatrixEvent, given: State): Promise<StateSnapshot> {
  const flags = await readEventFlags(ctx.read, join.prevEventIds);
  const known = join.prevEventIds.filter((id) => flags.get(id)?.outlier === false && flags.get(id)?.roomId === roomId);
  const groups = await ctx.state.groupsOfEvents(known);
  const states = [...new Set((await ctx.state.snapshotsOf(groups.values())).values())];
  const remote = StateSnapshot.full(roomId, given);
  if (known.length < join.prevEventIds.length || states.length === 0) states.push(remote);
  if (states.length === 1) return states[0]!;
  return states[0]!.become(await resolveState(ctx, roomId, states, new Map([[join.eventId, join]])));
}
