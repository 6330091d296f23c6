import type { RoomVersion } from "../room-versions.ts";
import { conflictedIds, type Separated } from "./conflict.ts";
import { addHolders, type Holders, isAll } from "./holders.ts";
import { atOnce, PAUSE, type Steps } from "./steps.ts";

/** Ids of an event's auth events; empty for events that are not known. */
export type AuthEdges = (eventId: string) => readonly string[];

/** An event in the auth chains of conflicted events. */
interface Link {
  readonly id: string;
  /** The states with it in the auth chain of something that is in conflict. */
  readonly holders: Holders;
  /** Place in the order in which each event comes before those that authorised it, where there are no cycles. */
  place: number;
}

const LINKS_AT_ONCE = 1000;

/**
 * The `authDifference` of a resolution, where all auth chains are at hand. Otherwise it is made of its parts: `contested`, without what
 * authorised anything undisputed (all states have that), and for state resolution 2.1 the `conflictedSubgraph`.
 */
export function authDifferenceOf(version: RoomVersion, separated: Separated, edges: AuthEdges): Set<string> {
  const difference = atOnce(contested(separated, edges));
  for (const id of reachable(separated.unconflicted.values(), edges)) difference.delete(id);
  if (version.stateResolution === 3) for (const id of conflictedSubgraph(conflictedIds(separated), edges)) difference.add(id);
  return difference;
}

/**
 * Events that are, with the events themselves, in the auth chains of what some of the states hold in the conflict, but not of what all of
 * them do. Each event is visited once, with the states that have it, however many those are.
 */
export function* contested({ states, conflicted }: Separated, edges: AuthEdges): Steps<Set<string>> {
  const links = new Map<string, Link>();
  const link = (id: string): Link => {
    let found = links.get(id);
    if (found === undefined) links.set(id, (found = { id, holders: new Uint32Array((states + 31) >>> 5), place: -1 }));
    return found;
  };
  for (const ids of conflicted.values()) for (const [id, holders] of ids) addHolders(link(id).holders, holders);

  const order = yield* chainOrder([...links.values()], (from) => edges(from.id).map(link));
  // Once is enough, but what other servers sent may have cycles.
  for (let isSettled = false; !isSettled;) {
    isSettled = true;
    for (const [place, from] of order.entries()) {
      if (place % LINKS_AT_ONCE === LINKS_AT_ONCE - 1) yield PAUSE;
      for (const id of edges(from.id)) {
        const to = links.get(id)!;
        if (addHolders(to.holders, from.holders) && to.place <= place) isSettled = false;
      }
    }
  }
  const difference = new Set<string>();
  for (const { id, holders } of order) if (!isAll(holders, states)) difference.add(id);
  return difference;
}

/** The events and their auth chains, each before those that authorised it; sets `place`. */
function* chainOrder(start: readonly Link[], authEvents: (link: Link) => Link[]): Steps<Link[]> {
  const order: Link[] = [];
  const entered = new Set<Link>();
  let count = 0;
  for (const first of start) {
    const stack: { link: Link; rest: Link[] | undefined }[] = [{ link: first, rest: undefined }];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      if (top.rest === undefined) {
        if (entered.has(top.link)) {
          stack.pop();
          continue;
        }
        entered.add(top.link);
        top.rest = authEvents(top.link);
        if (++count % LINKS_AT_ONCE === 0) yield PAUSE;
      }
      const next = top.rest.pop();
      if (next !== undefined) {
        if (!entered.has(next)) stack.push({ link: next, rest: undefined });
        continue;
      }
      order.push(top.link);
      stack.pop();
    }
  }
  order.reverse();
  for (const [place, link] of order.entries()) link.place = place;
  return order;
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
