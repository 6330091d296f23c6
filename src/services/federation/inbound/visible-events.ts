import { type MatrixEvent, type StateMap, stateKeyOf } from "../../../protocol/event/event.ts";
import { redactEvent } from "../../../protocol/event/redact.ts";
import { getDomain } from "../../../protocol/ids.ts";
import { historyVisibility, isVisibleToServer } from "../../../protocol/visibility.ts";
import { isPartialStateRoom } from "../../../storage/rooms/rooms.ts";
import type { Context } from "../../context.ts";

type Needs = Pick<Context, "config" | "erasedUsers" | "events" | "read" | "state">;

const VISIBILITY_KEY = stateKeyOf("m.room.history_visibility", "");

/**
 * Events of one room as another server may see them: what its users could not see goes in redacted form, as does what erased users wrote.
 * Whether the server is in the room is asked before. A fixed number of reads.
 */
export async function filterForServer(ctx: Needs, server: string, events: readonly MatrixEvent[]): Promise<MatrixEvent[]> {
  if (events.length === 0) return [];
  const own = ctx.config.server.serverName;
  const inTimeline = events.filter((event) => !event.outlier).map((event) => event.eventId);
  const [states, erased, isPartial] = await Promise.all([
    ctx.state.afterEvents(inTimeline, [["m.room.history_visibility", ""]]),
    ctx.erasedUsers.among([...new Set(events.map((event) => event.sender))]),
    isPartialStateRoom(ctx.read, events[0]!.roomId),
  ]);
  const visibilityEvents = await ctx.events.get([...states.values()].flatMap((state) => state.get(VISIBILITY_KEY) ?? []));
  const visibilityAt = (event: MatrixEvent) => {
    const id = states.get(event.eventId)?.get(VISIBILITY_KEY);
    return id === undefined ? undefined : visibilityEvents.get(id)?.content.history_visibility;
  };
  const restricted = events.filter((event) => !event.outlier && ["invited", "joined"].includes(historyVisibility(visibilityAt(event))));
  const memberships = await membershipsAt(ctx, server, restricted);
  return events.map((event) => {
    const visible = isVisibleToServer({
      visibility: visibilityAt(event),
      memberships: memberships.get(event.eventId) ?? [],
      senderErased: erased.has(event.sender),
    });
    const known = !isPartial || getDomain(event.sender) === own;
    return visible && known ? event : redactEvent(event);
  });
}

/** Memberships of the server's users in the state after each event. */
async function membershipsAt(ctx: Needs, server: string, events: readonly MatrixEvent[]): Promise<Map<string, (string | undefined)[]>> {
  if (events.length === 0) return new Map();
  const states = await ctx.state.afterEvents(events.map((event) => event.eventId));
  const idsOf = new Map<StateMap, string[]>();
  for (const state of new Set(states.values())) {
    const ids: string[] = [];
    for (const [key, id] of state) if (key.startsWith("m.room.member\u0000") && getDomain(key) === server) ids.push(id);
    idsOf.set(state, ids);
  }
  const members = await ctx.events.get([...idsOf.values()].flat());
  return new Map([...states].map(([eventId, state]) => [eventId, idsOf.get(state)!.map((id) => members.get(id)?.membership)]));
}
