import { type MatrixEvent, splitStateKey, type StateMap, stateKeyOf } from "../../../protocol/event/event.ts";
import { getDomain } from "../../../protocol/ids.ts";
import { readMemberships } from "../../../storage/federation/memberships-at.ts";
import type { Context } from "../../context.ts";

export type JoinedServersContext = Pick<Context, "members" | "read" | "state">;

const MEMBER = "m.room.member\u0000";

/** Servers with a member joined before the event; undefined for events without a known state. */
export async function serversBefore(ctx: JoinedServersContext, event: MatrixEvent): Promise<Set<string> | undefined> {
  const group = (await ctx.state.groupsOfEvents([event.eventId])).get(event.eventId);
  const after = group === undefined ? undefined : (await ctx.state.snapshot(group))?.map;
  if (after === undefined) return undefined;
  const servers = await serversOf(ctx, event.roomId, after);
  if (event.type !== "m.room.member" || event.stateKey === undefined || after.get(stateKeyOf(event.type, event.stateKey)) !== event.eventId) return servers;
  // The event itself says how it is afterwards; who was joined until now must hear of it.
  const before = await ctx.state.beforeEvent(event, [[event.type, event.stateKey]]);
  const previous = before?.get(stateKeyOf(event.type, event.stateKey));
  const wasJoined = previous !== undefined && (await readMemberships(ctx.read, [previous])).get(previous) === "join";
  const server = getDomain(event.stateKey);
  if (wasJoined) servers.add(server);
  else if (event.membership === "join" && !(await othersJoined(ctx, after, server, event.stateKey))) servers.delete(server);
  return servers;
}

/** Servers with a member that is joined in the state, worked out from how it differs from the current one. */
async function serversOf(ctx: JoinedServersContext, roomId: string, state: StateMap): Promise<Set<string>> {
  const current = await ctx.state.currentIds(roomId);
  const { joined, servers } = await ctx.members.inRoom(roomId);
  if (current === state) return new Set(servers);
  const isJoined = [...joined]; // as of now: the set changes as people come and go
  const found = new Set(servers);
  const changed = current.changedKeys(state as typeof current).filter((key) => key.startsWith(MEMBER));
  if (changed.length === 0) return found;
  const ids = changed.flatMap((key) => state.get(key) ?? []);
  const memberships = await readMemberships(ctx.read, ids);
  const gone = new Set<string>();
  for (const key of changed) {
    const [, userId] = splitStateKey(key);
    const id = state.get(key);
    if (id !== undefined && memberships.get(id) === "join") found.add(getDomain(userId));
    else gone.add(userId);
  }
  // Servers of those who were not joined then stay only for others who were.
  const doubtful = new Set([...gone].map((userId) => getDomain(userId)));
  for (const key of changed) {
    const id = state.get(key);
    if (id !== undefined && memberships.get(id) === "join") doubtful.delete(getDomain(splitStateKey(key)[1]));
  }
  for (const userId of isJoined) if (!gone.has(userId)) doubtful.delete(getDomain(userId));
  for (const server of doubtful) found.delete(server);
  return found;
}

async function othersJoined(ctx: JoinedServersContext, state: StateMap, server: string, without: string): Promise<boolean> {
  const ids: string[] = [];
  for (const [key, id] of state) {
    if (!key.startsWith(MEMBER)) continue;
    const [, userId] = splitStateKey(key);
    if (userId !== without && getDomain(userId) === server) ids.push(id);
  }
  return [...(await readMemberships(ctx.read, ids)).values()].includes("join");
}
