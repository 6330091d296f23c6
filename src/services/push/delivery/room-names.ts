import { type MatrixEvent, splitStateKey, type StateKey, stateKeyOf } from "../../../protocol/event/event.ts";
import type { Context } from "../../context.ts";

/** Ids of state events. */
export interface StateIds extends Iterable<readonly [StateKey, string]> {
  get(key: StateKey): string | undefined;
}

const EMPTY = "Empty Room";
const MAX_NAME = 120;

/**
 * What a room is called when somebody is told about it: its name, its alias, or (by `byMembers`) after those who are in it; as Synapse
 * calls it in mails. undefined: it has no name of its own.
 */
export async function roomName(ctx: Pick<Context, "events">, state: StateIds, userId: string): Promise<string>;
export async function roomName(ctx: Pick<Context, "events">, state: StateIds, userId: string, byMembers: false): Promise<string | undefined>;
export async function roomName(ctx: Pick<Context, "events">, state: StateIds, userId: string, byMembers = true): Promise<string | undefined> {
  const ids = [stateKeyOf("m.room.name", ""), stateKeyOf("m.room.canonical_alias", ""), stateKeyOf("m.room.member", userId)].map((key) => state.get(key));
  const events = await ctx.events.get(ids.filter((id) => id !== undefined));
  const [name, alias, own] = ids.map((id) => (id === undefined ? undefined : events.get(id)));
  const named = text(name?.content.name);
  if (named !== undefined) return named;
  const aliased = text(alias?.content.alias);
  if (aliased !== undefined && /^#.*:.+$/.test(aliased)) return aliased;
  if (!byMembers) return undefined;
  if (own?.membership === "invite") {
    const inviter = state.get(stateKeyOf("m.room.member", own.sender));
    if (inviter === undefined) return "Room Invite";
    const member = await ctx.events.one(inviter);
    if (member !== undefined) return `Invite from ${memberName(member)}`;
  }
  return await nameByMembers(ctx, state, userId);
}

/** The display name of a member event, or the user's id. */
export const memberName = (member: MatrixEvent): string => text(member.content.displayname) ?? member.stateKey!;

/** "Alice", "Alice and Bob", "Alice and 3 others". */
export function describeMembers(members: readonly MatrixEvent[]): string {
  const [first, second] = members;
  if (first === undefined) return "nobody";
  if (second === undefined) return memberName(first);
  return members.length === 2 ? `${memberName(first)} and ${memberName(second)}` : `${memberName(first)} and ${members.length - 1} others`;
}

async function nameByMembers(ctx: Pick<Context, "events">, state: StateIds, userId: string): Promise<string> {
  const memberIds: string[] = [];
  let isThirdPartyInvited = false;
  for (const [key, id] of state) {
    const [type] = splitStateKey(key);
    if (type === "m.room.member") memberIds.push(id);
    isThirdPartyInvited ||= type === "m.room.third_party_invite";
  }
  const members = [...(await ctx.events.get(memberIds)).values()]
    .filter(({ membership }) => membership === "join" || membership === "invite")
    .sort((a, b) => a.originServerTs - b.originServerTs);
  const others = members.filter(({ stateKey }) => stateKey !== userId);
  if (others.length > 0) return describeMembers(others);
  const [own] = members;
  if (own !== undefined && own.sender !== userId) return memberName(own);
  return own !== undefined && isThirdPartyInvited ? "Inviting email address" : EMPTY;
}

/** A name as it stands in a line of a mail: no line breaks, no end beyond `MAX_NAME` characters. */
export function presentable(name: string): string {
  const chars = [...name.replace(/[\p{Cc}\u2028\u2029]+/gu, " ")];
  return chars.length > MAX_NAME ? `${chars.slice(0, MAX_NAME).join("")}…` : chars.join("");
}

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? presentable(value) : undefined);
