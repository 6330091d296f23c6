import type { EmailSubject } from "../../../config/sections/emailconfig.ts";
import { type MatrixEvent, stateKeyOf } from "../../../protocol/event/event.ts";
import type { Context } from "../../context.ts";
import { subjectOf } from "../../mail.ts";
import type { DigestRoom } from "./digest.ts";
import { describeMembers, memberName, presentable } from "./room-names.ts";
import { namesFor } from "./names.ts";

type SubjectContext = Pick<Context, "config" | "events" | "state">;

/** The subject of a mail about these rooms, by `email.subjects`: names as much as is known, as Synapse. */
export async function digestSubject(ctx: SubjectContext, appName: string, rooms: readonly DigestRoom[], reason: DigestRoom): Promise<string> {
  const subject = (key: EmailSubject, names: Readonly<Record<string, string>>): string => subjectOf(ctx, key, { app: appName, ...names });
  if (rooms.length > 1) return subject("messages_in_room_and_others", { room: reason.name });
  const [room] = rooms as [DigestRoom];
  const { ownName, roomId, notified } = room;
  if (room.invite !== undefined) return await inviteSubject(ctx, room, room.invite, subject);
  const [only] = notified as [DigestRoom["notified"][number]];
  if (notified.length === 1) {
    const id = room.state.get(stateKeyOf("m.room.member", only.event.sender));
    const member = id === undefined ? undefined : await ctx.events.one(id);
    if (member === undefined) return subject("messages_in_room", { room: ownName ?? roomId });
    const person = memberName(member);
    return ownName === undefined ? subject("message_from_person", { person }) : subject("message_from_person_in_room", { person, room: ownName });
  }
  if (ownName !== undefined) return subject("messages_in_room", { room: ownName });
  const senders = await sendersOf(ctx, room);
  if (senders.length === 0) return subject("messages_in_room", { room: roomId });
  return subject(senders.length === 1 ? "messages_from_person" : "messages_from_person_and_others", { person: describeMembers(senders.slice(0, 1)) });
}

async function inviteSubject(
  ctx: SubjectContext,
  { ownName, state }: DigestRoom,
  invite: MatrixEvent,
  subject: (key: EmailSubject, names: Readonly<Record<string, string>>) => string,
): Promise<string> {
  const [memberId, createId] = [stateKeyOf("m.room.member", invite.sender), stateKeyOf("m.room.create", "")].map((key) => state.get(key));
  const events = await ctx.events.get([memberId, createId].filter((id) => id !== undefined));
  const member = memberId === undefined ? undefined : events.get(memberId);
  const stripped = invite.outlier ? (await namesFor(ctx, invite, invite.stateKey!)).sender : undefined;
  const person = member === undefined ? presentable(stripped ?? invite.sender) : memberName(member);
  if (ownName === undefined) return subject("invite_from_person", { person });
  const create = createId === undefined ? undefined : events.get(createId);
  if (create?.content.type === "m.space") return subject("invite_from_person_to_space", { person, space: ownName });
  return subject("invite_from_person_to_room", { person, room: ownName });
}

/** Member events of those who wrote, the latest first; of those who have left, as they were. */
async function sendersOf(ctx: SubjectContext, { notified, state }: DigestRoom): Promise<MatrixEvent[]> {
  const ids: string[] = [];
  const gone: { readonly sender: string; readonly eventId: string }[] = [];
  for (const sender of new Set(notified.map(({ event }) => event.sender))) {
    const id = state.get(stateKeyOf("m.room.member", sender));
    if (id !== undefined) ids.push(id);
    else gone.push({ sender, eventId: notified.find(({ event }) => event.sender === sender)!.eventId });
  }
  if (gone.length > 0) {
    const states = await ctx.state.afterEvents(gone.map(({ eventId }) => eventId));
    ids.push(...gone.flatMap(({ sender, eventId }) => states.get(eventId)?.get(stateKeyOf("m.room.member", sender)) ?? []));
  }
  const events = await ctx.events.get(ids);
  return ids.flatMap((id) => events.get(id) ?? []);
}
