import { forbidden, MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";
import { createEvent, type EventInput, withPush } from "./create.ts";
import { RoomHead } from "./room-head.ts";
import type { SendContext } from "./send.ts";

/**
 * Builds an event on one older event, under the rules of that time, and stores it beside what came later: for those who may no longer write
 * to the room today.
 * @throws MatrixError 403 where it was not allowed then either
 */
export async function sendBeside(ctx: SendContext & Pick<Context, "state">, roomId: string, input: EventInput, afterEventId: string): Promise<string> {
  const [version, event, groups] = await Promise.all([ctx.roomVersions.get(roomId), ctx.events.one(afterEventId), ctx.state.groupsOfEvents([afterEventId])]);
  const group = groups.get(afterEventId);
  const state = group === undefined ? undefined : await ctx.state.snapshot(group);
  if (version === undefined || event === undefined || state === undefined) throw forbidden(`The state at ${afterEventId} is not known`);
  return await ctx.persister.exclusively(roomId, async () => {
    const head = new RoomHead(new Map([[afterEventId, { eventId: afterEventId, depth: event.depth, state }]]), undefined, false);
    const built = await createEvent(ctx, head, roomId, version, input);
    if (built.before === undefined) throw new MatrixError(500, "M_UNKNOWN", "An event without a state before it");
    await ctx.modules.spamChecker.requireNoSpam(built.event);
    for (const hook of ctx.eventHooks.beforeSend) await hook(built);
    const { builtOn: _, ...item } = await withPush(ctx, built, head);
    await ctx.persister.persist([item]);
    return built.event.eventId;
  });
}
