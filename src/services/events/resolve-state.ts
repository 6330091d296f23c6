import { systemClock } from "../../lib/clock.ts";
import { signals } from "../../lib/signals.ts";
import type { MatrixEvent, StateKey, StateMap } from "../../protocol/event/event.ts";
import { authDifferenceOf } from "../../protocol/state-res/auth-difference.ts";
import { type EventLookup, eventsToLoad, isConflicted, resolveState as resolve } from "../../protocol/state-res/resolve.ts";
import { type State, stateFrom, type StateSnapshot } from "../../storage/state/snapshot.ts";
import type { Context } from "../context.ts";

export type ResolveContext = Pick<Context, "authGraph" | "events" | "roomVersions">;

/**
 * The state of a room that follows from several of its states (room version specifications, "State resolution").
 * @param known events that are not stored yet
 * @throws Error when the room's version is not known
 */
export async function resolveState(
  ctx: ResolveContext,
  roomId: string,
  states: readonly StateSnapshot[],
  known: ReadonlyMap<string, MatrixEvent>,
): Promise<State> {
  signals.statesCompared.emit({ groups: states.length });
  const first = states[0]!.map;
  const different = states.map((state) => state.map).filter((map, index, all) => all.indexOf(map) === index);
  if (different.length === 1) return first;
  const result = await resolveMaps(ctx, roomId, different, known);
  // What is left of one of the states shares its structure.
  const base = different
    .map((map) => ({ map, away: differences(map, result) }))
    .sort((a, b) => a.away.changed.length + a.away.gone.length - (b.away.changed.length + b.away.gone.length))[0]!;
  return base.map.without(base.away.gone).with(base.away.changed);
}

/** As `resolveState`, of any maps. */
export async function resolveMaps(
  ctx: ResolveContext,
  roomId: string,
  stateSets: readonly StateMap[],
  known: ReadonlyMap<string, MatrixEvent> = new Map(),
): Promise<State> {
  const version = [...known.values()].find((event) => event.roomId === roomId)?.roomVersion ?? (await ctx.roomVersions.get(roomId));
  if (version === undefined) throw new Error(`The version of room ${roomId} is not known`);
  const began = systemClock.monotonic();
  let waited = 0;
  const waitingFor = async <T>(reading: Promise<T>): Promise<T> => {
    const from = systemClock.monotonic();
    const result = await reading;
    waited += systemClock.monotonic() - from;
    return result;
  };
  const loaded = new Map<string, MatrixEvent | null>();
  const event: EventLookup = (id) => known.get(id) ?? loaded.get(id);
  let authDifference: Iterable<string> = [];
  if (version.stateResolution !== 1 && isConflicted(version, stateSets)) {
    const ids = new Set<string>();
    for (const stateSet of stateSets) for (const id of stateSet.values()) ids.add(id);
    const edges = await waitingFor(ctx.authGraph.below(ids, known));
    authDifference = authDifferenceOf(version, stateSets, (id) => edges.get(id) ?? []);
  }
  const resolution = { version, stateSets, authDifference, event };
  for (let missing = eventsToLoad(resolution); missing.length > 0; missing = eventsToLoad(resolution)) {
    const found = await waitingFor(ctx.events.get(missing, { rejected: true, raw: true }));
    for (const id of missing) loaded.set(id, found.get(id) ?? null);
  }
  const result = stateFrom(resolve(resolution));
  signals.stateResolved.emit({ roomId, cpuSeconds: (systemClock.monotonic() - began - waited) / 1000, databaseSeconds: waited / 1000 });
  return result;
}

function differences(map: State, result: State): { changed: [StateKey, string][]; gone: StateKey[] } {
  const changed: [StateKey, string][] = [];
  const gone: StateKey[] = [];
  for (const key of result.changedKeys(map)) {
    const id = result.get(key);
    if (id === undefined) gone.push(key);
    else changed.push([key, id]);
  }
  return { changed, gone };
}
