import type { MatrixEvent } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import type { EventStore } from "../../storage/events/event-store.ts";
import type { StateSnapshot } from "../../storage/state/snapshot.ts";
import type { EventToPersist } from "./event-to-persist.ts";
import type { Tip } from "./room-head.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
/** Extremities older than a day and this many events go; those of a server that just sent something, after fewer. */
const DEPTH_OF_OLD = 100n;
const DEPTH_OF_SAME_SERVER = 20n;

/**
 * The extremities without those that are stuck (behind a gap in the graph) and add nothing to the state: all those whose state lost,
 * when all of them may go, else none. Events of this server stay, or nobody would ever refer to them; dummy events count for what they
 * refer to. As Synapse does.
 */
export async function prunedTips(
  ctx: { readonly events: EventStore; readonly serverName: string; readonly now: () => number },
  roomId: string,
  items: readonly EventToPersist[],
  tips: ReadonlyMap<string, Tip>,
  winner: StateSnapshot,
): Promise<ReadonlyMap<string, Tip>> {
  const losers = [...tips.values()].filter((tip) => tip.state !== winner).map((tip) => tip.eventId);
  if (losers.length === 0 || items.some(({ event }) => losers.includes(event.eventId))) return tips;
  const events = await ctx.events.get(losers, { rejected: true, raw: true });
  const senders = new Set(items.map(({ event }) => getDomain(event.sender)));
  const depth = items.reduce((max, { event }) => (BigInt(event.depth) > max ? BigInt(event.depth) : max), 0n);
  for (const event of events.values()) {
    if (await isOurs(ctx, event)) return tips;
    const behind = depth - BigInt(event.depth);
    const isOld = event.originServerTs < ctx.now() - DAY_MS && behind > DEPTH_OF_OLD;
    if (!isOld && !(senders.has(getDomain(event.sender)) && behind > DEPTH_OF_SAME_SERVER)) return tips;
  }
  return new Map([...tips].filter(([, tip]) => tip.state === winner));
}

/** An event of this server, or a dummy event of it that refers (through others) to one. */
async function isOurs(ctx: { readonly events: EventStore; readonly serverName: string }, event: MatrixEvent): Promise<boolean> {
  let toCheck: Iterable<MatrixEvent> = [event];
  for (;;) {
    const prevs = new Set<string>();
    for (const one of toCheck) {
      if (getDomain(one.sender) !== ctx.serverName) continue;
      if (one.type !== "org.matrix.dummy_event") return true;
      for (const id of one.prevEventIds) prevs.add(id);
    }
    if (prevs.size === 0) return false;
    toCheck = (await ctx.events.get(prevs, { rejected: true, raw: true })).values();
  }
}
