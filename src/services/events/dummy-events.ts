import { MatrixError } from "../../protocol/errors.ts";
import { readRoomsWithManyExtremities } from "../../storage/events/graph.ts";
import type { Context } from "../context.ts";
import { requesterFor } from "../requester.ts";
import { type SendContext, sendEvents } from "./send.ts";

const ROOMS_AT_ONCE = 5;
const LEFT_ALONE_MS = 7 * 24 * 60 * 60 * 1000;

type Needs = SendContext & Pick<Context, "members" | "log">;

/**
 * Ties the loose ends of rooms with many forward extremities together, by an event that nobody sees and that is not sent to other servers.
 * A room in which no local user may send is left alone for a week.
 */
export class DummyEvents {
  private readonly leftAlone = new WeakMap<object, Map<string, number>>();

  async run(ctx: Needs): Promise<void> {
    const now = ctx.clock.now();
    let excluded = this.leftAlone.get(ctx.persister);
    if (excluded === undefined) this.leftAlone.set(ctx.persister, (excluded = new Map()));
    for (const [roomId, since] of excluded) if (since < now - LEFT_ALONE_MS) excluded.delete(roomId);
    const rooms = await readRoomsWithManyExtremities(ctx.read, ctx.config.server.dummyEventsThreshold, [...excluded.keys()], ROOMS_AT_ONCE);
    for (const roomId of rooms) if (!(await sendDummyEvent(ctx, roomId))) excluded.set(roomId, now);
  }
}

/**
 * Sends a dummy event in the name of some local user who may. False when there is none.
 * @param proactively also to other servers (after a join, so that they learn of what was sent meanwhile)
 */
export async function sendDummyEvent(ctx: Needs, roomId: string, proactively = false): Promise<boolean> {
  for (const userId of await ctx.members.joinedLocal(roomId)) {
    const requester = requesterFor(userId, { authenticatedEntity: ctx.config.server.serverName });
    try {
      await sendEvents(ctx, requester, roomId, [{ type: "org.matrix.dummy_event", sender: userId, content: {}, internal: { proactively_send: proactively } }]);
      return true;
    } catch (error) {
      if (!(error instanceof MatrixError) || error.status !== 403) throw error;
      ctx.log
        .named("synapse.handlers.message")
        .info(`Failed to send dummy event into room ${roomId} for user ${userId} due to lack of power. Will try another user`);
    }
  }
  return false;
}
