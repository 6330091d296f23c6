import { signals } from "../../lib/signals.ts";
import type { JsonObject } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import { topicText } from "../../protocol/topic.ts";
import { type StateDelta, stateDeltas } from "../../storage/rooms/state-deltas.ts";
import {
  addToRoomCounters,
  addToUserCounters,
  countedUpTo,
  type RoomCounter,
  type RoomStateUpdate,
  setStatsPosition,
  statsPosition,
  updateRoomState,
} from "../../storage/rooms/stats.ts";
import type { Context } from "../context.ts";

const BATCH = 1000;

const MEMBERSHIP_COUNTERS: Readonly<Record<string, RoomCounter>> = {
  join: "joined_members",
  invite: "invited_members",
  leave: "left_members",
  ban: "banned_members",
  knock: "knocked_members",
};

/**
 * Follows the changes of rooms' current state with the statistics tables, from the position stored there. Each batch is one
 * transaction with its new position, so that nothing is counted twice.
 */
export async function updateStats(ctx: Pick<Context, "config" | "read" | "transaction" | "events" | "streams">, signal?: AbortSignal): Promise<void> {
  if (!ctx.config.stats.enabled) return;
  let position = await statsPosition(ctx.read);
  for (;;) {
    const upTo = ctx.streams.events.currentToken();
    // A position ahead of the stream is what a restored backup leaves behind: begin again from here.
    signals.positionReached.emit({ name: "stats", position });
    if (position >= upTo || signal?.aborted) return;
    const batch = await stateDeltas(ctx.read, position, upTo, BATCH);
    const roomIds = [...new Set(batch.deltas.map((delta) => delta.roomId))];
    const counted = await countedUpTo(ctx.read, roomIds);
    const fresh = batch.deltas.filter((delta) => delta.streamId > (counted.get(delta.roomId) ?? -1) && (delta.eventId !== null || delta.prevEventId !== null));
    const events = await ctx.events.get(fresh.flatMap((delta) => [delta.eventId, delta.prevEventId].filter((id) => id !== null)));
    const changes = summarise(fresh, events, ctx.config.server.serverName);
    await ctx.transaction("bulk_update_stats_delta", async (txn) => {
      await updateRoomState(txn, changes.state);
      await addToRoomCounters(txn, changes.rooms, batch.position);
      await addToUserCounters(txn, changes.users, batch.position);
      await setStatsPosition(txn, batch.position);
    });
    position = batch.position;
  }
}

export interface StatsChanges {
  readonly rooms: Map<string, Partial<Record<RoomCounter, number>>>;
  readonly users: Map<string, number>;
  readonly state: Map<string, RoomStateUpdate>;
}

/** What a list of state changes, in order, does to the statistics. */
export function summarise(deltas: readonly StateDelta[], events: ReadonlyMap<string, MatrixEvent>, serverName: string): StatsChanges {
  const changes: StatsChanges = { rooms: new Map(), users: new Map(), state: new Map() };
  for (const delta of deltas) {
    let counters = changes.rooms.get(delta.roomId);
    if (counters === undefined) changes.rooms.set(delta.roomId, (counters = {}));
    const add = (counter: RoomCounter, n: number): void => void (counters[counter] = (counters[counter] ?? 0) + n);
    // Each room gets its row, also when none of its columns changes.
    if (!changes.state.has(delta.roomId)) changes.state.set(delta.roomId, {});
    const content = delta.eventId === null ? {} : (events.get(delta.eventId)?.content ?? {});
    if (delta.prevEventId === null) add("current_state_events", 1);
    if (delta.type === "m.room.member") {
      const previous = delta.prevEventId === null ? undefined : events.get(delta.prevEventId);
      const before = previous === undefined ? undefined : membershipIn(previous.content);
      const after = membershipIn(content);
      if (before === after) continue;
      const [lost, gained] = [before === undefined ? undefined : MEMBERSHIP_COUNTERS[before], MEMBERSHIP_COUNTERS[after]];
      if (lost !== undefined) add(lost, -1);
      if (gained !== undefined) add(gained, 1);
      if (getDomain(delta.stateKey) !== serverName || (before === "join") === (after === "join")) continue;
      const joined = after === "join" ? 1 : -1;
      changes.users.set(delta.stateKey, (changes.users.get(delta.stateKey) ?? 0) + joined);
      add("local_users_in_room", joined);
    } else {
      const update = stateUpdate(delta.type, content);
      if (update !== undefined) changes.state.set(delta.roomId, { ...changes.state.get(delta.roomId), ...update });
    }
  }
  return changes;
}

const membershipIn = (content: JsonObject): string => (typeof content.membership === "string" ? content.membership : "leave");

/** The columns of `room_stats_state` that a state event sets; undefined when its type is none of them. */
export function stateUpdate(type: string, content: JsonObject): RoomStateUpdate | undefined {
  switch (type) {
    case "m.room.create":
      return {
        is_federatable: content["m.federate"] === undefined || content["m.federate"] === true,
        ...(typeof content.type === "string" ? { room_type: text(content.type) } : {}),
      };
    case "m.room.join_rules":
      return { join_rules: text(content.join_rule) };
    case "m.room.history_visibility":
      return { history_visibility: text(content.history_visibility) };
    case "m.room.encryption":
      return { encryption: text(content.algorithm) };
    case "m.room.name":
      return { name: text(content.name) };
    case "m.room.topic":
      return { topic: text(topicText(content)) };
    case "m.room.avatar":
      return { avatar: text(content.url) };
    case "m.room.canonical_alias":
      return { canonical_alias: text(content.alias) };
    case "m.room.guest_access":
      return { guest_access: text(content.guest_access) };
    default:
      return undefined;
  }
}

/** As a text column can hold it: null for anything but a string, and for strings with U+0000; lone surrogates are replaced. */
const text = (value: unknown): string | null => (typeof value === "string" && !value.includes("\0") ? value.replace(/\p{Surrogate}/gu, "\ufffd") : null);
