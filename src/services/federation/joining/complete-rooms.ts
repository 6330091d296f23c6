import { DestinationDenied, DestinationUnavailable, RemoteError } from "../../../outbound/federation/client.ts";
import { type MatrixEvent, stateKeyOf } from "../../../protocol/event/event.ts";
import type { Txn } from "../../../storage/database.ts";
import { readEventFlags } from "../../../storage/events/rows.ts";
import { storeStateGroup } from "../../../storage/events/persist/state-group.ts";
import { completeEvent, completeRoom, joinedVia, partialStateEvents } from "../../../storage/federation/partial-state.ts";
import { emptyState, stateFrom, StateSnapshot } from "../../../storage/state/snapshot.ts";
import type { Context } from "../../context.ts";
import { replayPendingUpdates } from "../../devices/lists-remote.ts";
import { resolveState } from "../../events/resolve-state.ts";
import { type EventSource, fetchLackingAuthEvents, fetchStateAfter } from "../fetch-events.ts";
import { authIdsIn, EventPool, judgeByAuthEvents, judgeByState } from "../judge-event.ts";

const BATCH = 100;

/**
 * Completes rooms whose state is not wholly known (Synapse joins large rooms so, and may have been stopped before it was done): fetches the
 * state at their events from servers in the room, judges the events by it, works out the current state anew. A job; what does not succeed is
 * tried again at the next run. Events that arrive for such a room wait until then.
 */
export class RoomCompletion {
  private readonly held = new Map<string, () => void>();

  /** Lets the events of rooms that are to be completed wait. */
  async holdRooms(ctx: Context): Promise<void> {
    for (const roomId of (await ctx.partialRooms.all()).keys()) if (!this.held.has(roomId)) this.held.set(roomId, ctx.inbound.rooms.hold(roomId));
  }

  async run(ctx: Context, signal: AbortSignal): Promise<void> {
    for (const [roomId, servers] of await ctx.partialRooms.all()) {
      if (signal.aborted) return;
      try {
        if (await completeFromAny(ctx, roomId, servers, signal)) this.release(roomId);
      } catch (error) {
        if (!signal.aborted) log(ctx).error(`Room ${roomId} could not be completed`, { error });
      }
    }
  }

  private release(roomId: string): void {
    this.held.get(roomId)?.();
    this.held.delete(roomId);
  }
}

const log = (ctx: Pick<Context, "log">): Context["log"] => ctx.log.named("synapse.handlers.federation");

async function completeFromAny(ctx: Context, roomId: string, servers: readonly string[], signal: AbortSignal): Promise<boolean> {
  const version = await ctx.roomVersions.get(roomId);
  if (version === undefined) return false;
  const via = await joinedVia(ctx.read, roomId);
  const others = new Set([...(via === undefined ? [] : [via]), ...servers]);
  others.delete(ctx.config.server.serverName);
  for (const server of others) {
    try {
      while (!signal.aborted) {
        await completeEvents(ctx, { server, roomId, version }, signal);
        if (await finish(ctx, roomId)) return true;
      }
    } catch (error) {
      if (!(error instanceof RemoteError || error instanceof DestinationUnavailable || error instanceof DestinationDenied || error instanceof NoState))
        throw error;
      log(ctx).info(`Could not complete the state of ${roomId} from ${server}: ${error.message}`);
    }
  }
  return false;
}

/** The server does not give the state at an event. */
class NoState extends Error {}

async function completeEvents(ctx: Context, source: EventSource, signal: AbortSignal): Promise<void> {
  for (;;) {
    const ids = await partialStateEvents(ctx.read, source.roomId, BATCH);
    if (ids.length === 0) return;
    const events = await ctx.events.get(ids, { rejected: true, raw: true });
    for (const id of ids) {
      if (signal.aborted) return;
      const event = events.get(id);
      if (event === undefined) throw new Error(`Event ${id} cannot be read`);
      await ctx.inbound.rooms.exclusively(source.roomId, () => complete(ctx, source, event));
    }
  }
}

async function complete(ctx: Context, source: EventSource, event: MatrixEvent): Promise<void> {
  const before = await stateBefore(ctx, source, event);
  await fetchLackingAuthEvents(ctx, source, [event]);
  const pool = new EventPool(ctx);
  await pool.load([...event.authEventIds, ...authIdsIn(event, before.map)]);
  if (event.authEventIds.some((id) => pool.get(id) === undefined)) throw new NoState(`auth events of ${event.eventId} are missing`);
  const rejection = judgeByAuthEvents(event, pool)?.rejection ?? (judgeByState(event, before.map, pool) === undefined ? undefined : "auth_error");
  const after = rejection !== undefined || event.stateKey === undefined ? before : before.after(stateKeyOf(event.type, event.stateKey), event.eventId);
  const { unPartialStatedEvents } = ctx.streams;
  const rejectionChanged = (rejection === undefined) !== (event.rejectedReason === undefined);
  await ctx.transaction("update_state_for_partial_state_event", async (txn: Txn) => {
    const [streamId] = await unPartialStatedEvents.next(txn);
    const group = await storeStateGroup(txn, after, event.eventId);
    await completeEvent(txn, {
      eventId: event.eventId,
      group,
      rejection,
      rejectionChanged,
      streamId: streamId!,
      instanceName: unPartialStatedEvents.instanceName,
      now: ctx.clock.now(),
    });
    txn.afterCommit(() => {
      ctx.state.remember(event.eventId, after);
      if (rejectionChanged) ctx.events.forget(event.eventId);
    });
  });
}

/** By the states after the previous events: those that are here have theirs completed already, the others' are fetched. */
async function stateBefore(ctx: Context, source: EventSource, event: MatrixEvent): Promise<StateSnapshot> {
  const flags = await readEventFlags(ctx.read, event.prevEventIds);
  const here = event.prevEventIds.filter((id) => flags.get(id)?.outlier === false);
  const groups = await ctx.state.groupsOfEvents(here);
  const states = [...new Set((await ctx.state.snapshotsOf(groups.values())).values())];
  for (const id of event.prevEventIds) {
    if (groups.has(id)) continue;
    const fetched = await fetchStateAfter(ctx, source, id);
    if (fetched === undefined) throw new NoState(`the state at ${id} is not told`);
    states.push(StateSnapshot.full(event.roomId, stateFrom(fetched)));
  }
  if (states.length === 0) return StateSnapshot.full(event.roomId, emptyState);
  if (states.length === 1) return states[0]!;
  const map = await resolveState(ctx, event.roomId, states, new Map());
  return states[0]!.become(map);
}

/** All events of the room have their state: so has the room. False when another one came meanwhile. */
async function finish(ctx: Context, roomId: string): Promise<boolean> {
  await ctx.persister.refreshState(roomId);
  await replayPendingUpdates(ctx, roomId);
  const { unPartialStatedRooms } = ctx.streams;
  const { done, position } = await ctx.transaction("clear_partial_state_room", async (txn) => {
    const [streamId] = await unPartialStatedRooms.next(txn);
    const complete = await completeRoom(txn, roomId, streamId!, unPartialStatedRooms.instanceName);
    if (complete) txn.afterCommit(() => ctx.partialRooms.forget());
    return { done: complete, position: streamId! };
  });
  if (done) {
    ctx.members.forgetRoom(roomId);
    const members = await ctx.members.joinedLocal(roomId);
    unPartialStatedRooms.whenVisible(position, () => {
      ctx.notifier.wakeMembers(members, "un_partial_stated_rooms_key");
      ctx.notifier.announce();
    });
    log(ctx).info(`The state of ${roomId} is complete`);
  }
  return done;
}
