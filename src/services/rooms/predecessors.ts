import { isJsonObject } from "../../lib/json.ts";
import { type MatrixEvent, stateKeyOf } from "../../protocol/event/event.ts";
import type { Context } from "../context.ts";

const CREATE = stateKeyOf("m.room.create", "");
const MAX_STEPS = 50;

/** The room that this one replaces, as its create event says. The other room may say otherwise: see `services/rooms/upgrade.ts`. */
export function predecessorOf(create: MatrixEvent | undefined): { readonly roomId: string; readonly eventId: string | undefined } | undefined {
  const predecessor = create?.content.predecessor;
  if (!isJsonObject(predecessor) || typeof predecessor.room_id !== "string") return undefined;
  return { roomId: predecessor.room_id, eventId: typeof predecessor.event_id === "string" ? predecessor.event_id : undefined };
}

/** All rooms that these rooms replace, one after another, as far as this server knows them. */
export async function predecessors(ctx: Pick<Context, "state">, roomIds: readonly string[]): Promise<Set<string>> {
  const found = new Set<string>();
  let open: readonly string[] = roomIds;
  for (let step = 0; step < MAX_STEPS && open.length > 0; step++) {
    const next = await Promise.all(open.map(async (roomId) => predecessorOf((await ctx.state.current(roomId, [CREATE])).get(CREATE))?.roomId));
    open = next.filter((roomId) => roomId !== undefined && !found.has(roomId)) as string[];
    for (const roomId of open) found.add(roomId);
  }
  return found;
}
