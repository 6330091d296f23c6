import { type MatrixEvent, stateKeyOf, type StateKey } from "../../protocol/event/event.ts";
import { heroCandidates, type HeroRow } from "../../storage/sync/timelines.ts";
import type { Context } from "../context.ts";
import type { LazyMembers } from "./lazy-members.ts";
import type { RoomState } from "./state.ts";
import { key } from "./timeline.ts";
import type { RoomEntry, SyncRequest, TimelineBatch } from "./types.ts";

type Needs = Pick<Context, "read" | "state" | "events">;

/** The `summary` of a joined room (specification "Room Summary"). */
export interface RoomSummary {
  "m.joined_member_count": number;
  "m.invited_member_count": number;
  "m.heroes"?: string[];
}

const NAME = stateKeyOf("m.room.name", "");
const ALIAS = stateKeyOf("m.room.canonical_alias", "");

/** Rooms whose summary the answer must hold: clients that load members lazily get it when memberships may have changed. */
function needsSummary(request: SyncRequest, entry: RoomEntry, batch: TimelineBatch, state: RoomState | undefined): boolean {
  if (entry.outOfBand || entry.kind !== "joined" || !request.filter.lazyLoadMembers) return false;
  if (entry.since === undefined) return true;
  if (batch.events.some(({ event }) => event.type === "m.room.member")) return true;
  return batch.limited && state !== undefined && [...state.keys()].some((at) => at.startsWith("m.room.member\u0000"));
}

/**
 * Summaries by room id, and into `states` the member events of heroes that the client does not have. Three queries at most, however
 * many rooms.
 */
export async function loadSummaries(
  ctx: Needs,
  request: SyncRequest,
  entries: readonly RoomEntry[],
  batches: ReadonlyMap<string, TimelineBatch>,
  states: Map<string, RoomState>,
  lazy: LazyMembers,
): Promise<Map<string, RoomSummary>> {
  const wanted = entries.filter((entry) => needsSummary(request, entry, batches.get(key(entry))!, states.get(key(entry))));
  const summaries = new Map<string, RoomSummary>();
  if (wanted.length === 0) return summaries;
  const roomIds = wanted.map((entry) => entry.roomId);
  const current = await ctx.state.currentIdsOf(roomIds);
  for (const [roomId, { joined, invited }] of await ctx.state.memberCounts(current))
    summaries.set(roomId, { "m.joined_member_count": joined, "m.invited_member_count": invited });

  const names = await ctx.events.get(
    roomIds.flatMap((roomId) => [current.get(roomId)?.get(NAME), current.get(roomId)?.get(ALIAS)]).filter((id) => id !== undefined),
  );
  const nameless = roomIds.filter((roomId) => {
    const state = current.get(roomId);
    return !isSet(names.get(state?.get(NAME) ?? ""), "name") && !isSet(names.get(state?.get(ALIAS) ?? ""), "alias");
  });
  if (nameless.length === 0) return summaries;
  const candidates = new Map<string, HeroRow[]>();
  for (const row of await heroCandidates(ctx.read, nameless)) {
    const list = candidates.get(row.room_id);
    if (list === undefined) candidates.set(row.room_id, [row]);
    else list.push(row);
  }
  const byRoom = new Map(wanted.map((entry) => [entry.roomId, entry]));
  for (const roomId of nameless) {
    const heroes = pickHeroes(candidates.get(roomId) ?? [], request.userId);
    summaries.get(roomId)!["m.heroes"] = heroes.map((hero) => hero.user_id);
    addHeroes(request, byRoom.get(roomId)!, heroes, batches, states, lazy);
  }
  return summaries;
}

/** The first five members but the user: joined and invited ones, or those who are gone where nobody is left. */
export function pickHeroes(candidates: readonly HeroRow[], userId: string): HeroRow[] {
  const others = candidates.filter((row) => row.user_id !== userId);
  const present = [...others.filter((row) => row.membership === "join"), ...others.filter((row) => row.membership === "invite")];
  const gone = [...others.filter((row) => row.membership === "leave"), ...others.filter((row) => row.membership === "ban")];
  return (present.length > 0 ? present : gone).slice(0, 5);
}

function addHeroes(
  request: SyncRequest,
  entry: RoomEntry,
  heroes: readonly HeroRow[],
  batches: ReadonlyMap<string, TimelineBatch>,
  states: Map<string, RoomState>,
  lazy: LazyMembers,
): void {
  const state = new Map<StateKey, string>(states.get(key(entry)));
  const inTimeline = new Set<string | undefined>();
  for (const { event } of batches.get(key(entry))!.events) if (event.type === "m.room.member") inTimeline.add(event.stateKey);
  for (const hero of heroes) {
    const at = stateKeyOf("m.room.member", hero.user_id);
    if (state.has(at) || inTimeline.has(hero.user_id) || lazy.has(request, entry.roomId, hero.user_id, hero.event_id)) continue;
    state.set(at, hero.event_id);
    lazy.remember(request, entry.roomId, hero.user_id, hero.event_id);
  }
  states.set(key(entry), state);
}

const isSet = (event: MatrixEvent | undefined, field: string): boolean => {
  const value = event?.content[field];
  return value !== undefined && value !== null && value !== "" && value !== false && value !== 0;
};
