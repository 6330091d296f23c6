import type { MatrixEvent } from "../../protocol/event/event.ts";
import { readEventFlags } from "../../storage/events/rows.ts";
import type { Context } from "../context.ts";
import { EventPool, judgeByAuthEvents } from "./judge-event.ts";

export type OutlierContext = Pick<Context, "clock" | "events" | "log" | "persister" | "read">;

/** Events judged between two turns of the event loop. */
const CHUNK = 200;
const STORED_TOGETHER = 1000;

/**
 * Stores events without their place in the history: auth chains and states that other servers sent, checked by `checkPdus`. Each is
 * judged by its auth events, which come before it; one whose auth events cannot be had is dropped, as is one that takes part in a cycle.
 * What is stored already is left alone.
 */
export async function storeOutliers(ctx: OutlierContext, roomId: string, events: Iterable<MatrixEvent>): Promise<void> {
  const given = new Map<string, MatrixEvent>();
  for (const event of events) if (event.roomId === roomId) given.set(event.eventId, event);
  if (given.size === 0) return;
  const flags = await readEventFlags(ctx.read, [...given.keys()]);
  const fresh = new Map([...given].filter(([id]) => !flags.has(id)));
  const pool = new EventPool(ctx);
  const authIds = new Set<string>();
  for (const event of fresh.values()) for (const id of event.authEventIds) if (!fresh.has(id)) authIds.add(id);
  await pool.load(authIds);

  const accepted: MatrixEvent[] = [];
  let count = 0;
  for (const event of inAuthOrder(fresh)) {
    if (++count % CHUNK === 0) await ctx.clock.sleep(0);
    const missing = event.authEventIds.find((id) => pool.get(id) === undefined);
    if (missing !== undefined) {
      ctx.log
        .named("synapse.handlers.federation_event")
        .info(`Dropping event ${event.eventId}, which relies on auth event ${missing}, which could not be found`);
      continue;
    }
    const judgement = judgeByAuthEvents(event, pool);
    event.outlier = true;
    event.rejectedReason = judgement?.rejection;
    if (judgement !== undefined)
      ctx.log.named("synapse.handlers.federation_event").warn(`Rejecting ${event.eventId} because ${judgement.refusal?.reason ?? judgement.rejection}`);
    pool.add(event);
    accepted.push(event);
  }
  for (let at = 0; at < accepted.length; at += STORED_TOGETHER) {
    // As history: should they get their place one day, they must not look new to anybody.
    await ctx.persister.persist(
      accepted.slice(at, at + STORED_TOGETHER).map((event) => ({ event })),
      { backfilled: true },
    );
  }
}

/** Each event after those of the others that it names as auth events; members of cycles are left out. Without recursion: chains are long. */
function inAuthOrder(events: ReadonlyMap<string, MatrixEvent>): MatrixEvent[] {
  const waitsFor = new Map<string, number>();
  const followers = new Map<string, string[]>();
  for (const event of events.values()) {
    const before = [...new Set(event.authEventIds)].filter((id) => events.has(id));
    waitsFor.set(event.eventId, before.length);
    for (const id of before) {
      const list = followers.get(id);
      if (list === undefined) followers.set(id, [event.eventId]);
      else list.push(event.eventId);
    }
  }
  const ready = [...events.keys()].filter((id) => waitsFor.get(id) === 0);
  const order: MatrixEvent[] = [];
  for (let at = 0; at < ready.length; at++) {
    const id = ready[at]!;
    order.push(events.get(id)!);
    for (const follower of followers.get(id) ?? []) {
      const left = waitsFor.get(follower)! - 1;
      waitsFor.set(follower, left);
      if (left === 0) ready.push(follower);
    }
  }
  return order;
}
