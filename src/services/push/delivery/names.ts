import { isJsonObject, type Json } from "../../../lib/json.ts";
import { type MatrixEvent, splitStateKey, stateKeyOf } from "../../../protocol/event/event.ts";
import { parseStrippedState } from "../../../protocol/event/serialise.ts";
import type { Context } from "../../context.ts";

/** How a room and the sender of an event are called in a notification; undefined: nobody gave them a name. */
export interface Names {
  readonly room: string | undefined;
  readonly sender: string | undefined;
}

/** Names as of the event: the room's by its name, alias or members (but not by a single other one, whom the sender's name tells). */
export async function namesFor(ctx: Pick<Context, "events" | "state">, event: MatrixEvent, userId: string): Promise<Names> {
  if (event.outlier) return namesOfStripped(event);
  const state = (await ctx.state.afterEvents([event.eventId])).get(event.eventId);
  if (state === undefined) return { room: undefined, sender: event.sender };
  const named = [stateKeyOf("m.room.name", ""), stateKeyOf("m.room.canonical_alias", ""), stateKeyOf("m.room.member", event.sender)];
  const found = await ctx.events.get(named.flatMap((key) => state.get(key) ?? []));
  const at = (type: string, stateKey = ""): MatrixEvent | undefined => found.get(state.get(stateKeyOf(type, stateKey)) ?? "");
  const member = at("m.room.member", event.sender);
  const sender = member === undefined ? event.sender : nameOf(member);
  const name = text(at("m.room.name")?.content.name);
  if (name !== undefined) return { room: name, sender };
  const alias = text(at("m.room.canonical_alias")?.content.alias);
  if (alias !== undefined && /^#.*:.+$/.test(alias)) return { room: alias, sender };

  const memberIds = [...state].flatMap(([key, id]) => (splitStateKey(key)[0] === "m.room.member" ? [id] : []));
  const members = [...(await ctx.events.get(memberIds)).values()];
  const own = members.find(({ stateKey }) => stateKey === userId);
  if (own?.membership === "invite") return { room: members.some(({ stateKey }) => stateKey === own.sender) ? undefined : "Room Invite", sender };
  const present = members.filter(({ membership }) => membership === "join" || membership === "invite").sort((a, b) => a.originServerTs - b.originServerTs);
  const others = present.filter(({ stateKey }) => stateKey !== userId);
  const [first, second] = others;
  if (first === undefined) return { room: "Empty Room", sender };
  if (second === undefined) return { room: undefined, sender };
  return { room: others.length === 2 ? `${nameOf(first)} and ${nameOf(second)}` : `${nameOf(first)} and ${others.length - 1} others`, sender };
}

/** An invite or knock of a room that is not known: the state that came with it. */
function namesOfStripped(event: MatrixEvent): Names {
  let sender = event.stateKey === event.sender ? text(event.content.displayname) : undefined;
  let room: string | undefined;
  const stripped =
    event.membership === "invite" ? event.unsigned.invite_room_state : event.membership === "knock" ? event.unsigned.knock_room_state : undefined;
  for (const entry of Array.isArray(stripped) ? stripped : []) {
    const state = parseStrippedState(entry as Json);
    if (state === undefined || !isJsonObject(state.content)) continue;
    if (state.type === "m.room.member" && state.stateKey === event.sender) sender = text(state.content.displayname) ?? sender;
    if (state.type === "m.room.name" && state.stateKey === "") room = text(state.content.name) ?? room;
  }
  return { room, sender };
}

const nameOf = (member: MatrixEvent): string => text(member.content.displayname) ?? member.stateKey!;

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);
