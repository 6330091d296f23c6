import { type Clock, systemClock } from "../../lib/clock.ts";
import { signals } from "../../lib/signals.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { conflictedSubgraph, contested } from "../../protocol/state-res/auth-difference.ts";
import { conflictedIds, type Separated, separating } from "../../protocol/state-res/conflict.ts";
import { type EventLookup, resolving } from "../../protocol/state-res/resolve.ts";
import type { Steps } from "../../protocol/state-res/steps.ts";
import type { RoomVersion } from "../../protocol/room-versions.ts";
import type { State, StateSnapshot } from "../../storage/state/snapshot.ts";
import type { Context } from "../context.ts";

export type ResolveContext = Pick<Context, "authGraph" | "events" | "roomVersions">;

/** A resolution that takes longer than this goes on after others had their turn. */
const TURN_MS = 10;

/**
 * The state of a room that follows from several of its states (room version specifications, "State resolution"). A long resolution lets
 * other work pass again and again; the result shares structure with the states.
 * @param known events that are not stored yet
 * @param clock measures the turns
 * @throws Error when the room's version is not known
 */
export async function resolveState(
  ctx: ResolveContext,
  roomId: string,
  states: readonly StateSnapshot[],
  known: ReadonlyMap<string, MatrixEvent>,
  clock: Pick<Clock, "monotonic" | "sleep"> = systemClock,
): Promise<State> {
  signals.statesCompared.emit({ groups: states.length });
  const different = [...new Set(states.map((state) => state.map))];
  if (different.length === 1) return different[0]!;
  const version = await versionOf(ctx, roomId, known);
  const began = clock.monotonic();
  let waited = 0;
  const waitingFor = async <T>(reading: Promise<T>): Promise<T> => {
    const from = clock.monotonic();
    const result = await reading;
    waited += clock.monotonic() - from;
    return result;
  };
  const loaded = new Map<string, MatrixEvent | null>();
  const event: EventLookup = (id) => known.get(id) ?? loaded.get(id);
  const load = async (ids: readonly string[]): Promise<void> => {
    const found = await waitingFor(ctx.events.get(ids, { rejected: true, raw: true }));
    for (const id of ids) loaded.set(id, found.get(id) ?? null);
  };
  const inTurns = async <T>(steps: Steps<T>): Promise<T> => {
    let since = clock.monotonic();
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      if (step.value.length > 0) await load(step.value);
      else if (clock.monotonic() - since < TURN_MS) continue;
      else await waitingFor(clock.sleep(0));
      since = clock.monotonic();
    }
  };

  const separated = await inTurns(separating(different, version));
  const needsChains = separated.conflicted.size > 0 && version.stateResolution !== 1;
  const authDifference = !needsChains ? [] : await authDifferenceOf(ctx, version, separated, known, inTurns, waitingFor);
  const result = await inTurns(resolving({ version, separated, authDifference, event }));
  signals.stateResolved.emit({ roomId, cpuSeconds: (clock.monotonic() - began - waited) / 1000, databaseSeconds: waited / 1000 });
  return result;
}

/** Only the auth chains of what is in conflict are worked with; of all the others it is asked what they share with them. */
async function authDifferenceOf(
  ctx: Pick<Context, "authGraph">,
  version: RoomVersion,
  separated: Separated,
  known: ReadonlyMap<string, MatrixEvent>,
  inTurns: <T>(steps: Steps<T>) => Promise<T>,
  waitingFor: <T>(reading: Promise<T>) => Promise<T>,
): Promise<Set<string>> {
  const ids = conflictedIds(separated);
  const chains = await waitingFor(ctx.authGraph.below(ids, known));
  const edges = (id: string): readonly string[] => chains.get(id) ?? [];
  const difference = await inTurns(contested(separated, edges));
  for (const id of await waitingFor(ctx.authGraph.among(difference, separated.unconflicted.values(), known))) difference.delete(id);
  if (version.stateResolution === 3) for (const id of conflictedSubgraph(ids, edges)) difference.add(id);
  return difference;
}

async function versionOf(ctx: Pick<Context, "roomVersions">, roomId: string, known: ReadonlyMap<string, MatrixEvent>): Promise<RoomVersion> {
  for (const event of known.values()) if (event.roomId === roomId) return event.roomVersion;
  const version = await ctx.roomVersions.get(roomId);
  if (version === undefined) throw new Error(`The version of room ${roomId} is not known`);
  return version;
}
