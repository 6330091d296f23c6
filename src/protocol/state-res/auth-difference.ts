import type { StateMap } from "../event/event.ts";
import type { RoomVersion } from "../room-versions.ts";
import { conflictedEventIds } from "./resolve.ts";

/** Ids of an event's auth events; empty for events that are not known. */
export type AuthEdges = (eventId: string) => readonly string[];

/**
 * The `authDifference` of a resolution, walked event by event: for rooms whose auth chains are in memory, and as the measure of
 * the SQL that goes through the chain cover index.
 */
export function authDifferenceOf(version: RoomVersion, stateSets: readonly StateMap[], edges: AuthEdges): Set<string> {
  const difference = chainDifference(
    stateSets.map((stateSet) => stateSet.values()),
    edges,
  );
  if (version.stateResolution === 3) for (const id of conflictedSubgraph(conflictedEventIds(version, stateSets), edges)) difference.add(id);
  return difference;
}

/** Events that are in the auth chains (with the events themselves) of some of the sets, but not of all: "Auth difference". */
export function chainDifference(sets: readonly Iterable<string>[], edges: AuthEdges): Set<string> {
  const counts = new Map<string, number>();
  for (const set of sets) for (const id of reachable(set, edges)) counts.set(id, (counts.get(id) ?? 0) + 1);
  return new Set([...counts].filter(([, count]) => count < sets.length).map(([id]) => id));
}

/** "Conflicted state subgraph" (state resolution 2.1): everything on a path of auth events from one conflicted event to another. */
export function conflictedSubgraph(conflicted: ReadonlySet<string>, edges: AuthEdges): Set<string> {
  const below = reachable(conflicted, edges);
  const forward = new Map<string, string[]>();
  for (const id of below) {
    for (const target of edges(id)) {
      const sources = forward.get(target);
      if (sources === undefined) forward.set(target, [id]);
      else sources.push(id);
    }
  }
  const above = reachable(conflicted, (id) => forward.get(id) ?? []);
  return new Set([...below].filter((id) => above.has(id)));
}

function reachable(from: Iterable<string>, edges: AuthEdges): Set<string> {
  const seen = new Set<string>(from);
  const stack = [...seen];
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    for (const next of edges(id)) {
      if (seen.has(next)) continue;
      seen.add(next);
      stack.push(next);
    }
  }
  return seen;
}
