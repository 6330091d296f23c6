import { type MatrixEvent, stateKeyOf } from "../../../protocol/event/event.ts";
import { getProfile } from "../../../storage/accounts/profiles.ts";
import { eventsBefore, type Throttle, type UnreadNotification } from "../../../storage/push/mails.ts";
import type { Context } from "../../context.ts";
import { markup } from "../../templates.ts";
import { filterForUser } from "../../visibility.ts";
import { digestSubject } from "./digest-subject.ts";
import { namesFor } from "./names.ts";
import { memberName, presentable, roomName, type StateIds } from "./room-names.ts";
import { safeHtml, textAsHtml } from "./safe-html.ts";

/** What a mail about unread messages says; names of the values are Synapse's, for the templates that admins have. */

export type DigestContext = Pick<
  Context,
  "accounts" | "clock" | "config" | "erasedUsers" | "events" | "ignoredUsers" | "macaroons" | "members" | "read" | "state"
>;

/** Whom a mail is for. */
export interface Recipient {
  readonly userId: string;
  readonly appId: string;
  readonly address: string;
  /** What the mail calls the service. */
  readonly appName: string;
}

/** The notification that a mail is due for. */
export interface DigestReason {
  readonly notification: UnreadNotification;
  readonly throttle: Throttle;
}

/** A notification whose event is there, and in whose room the user still is. */
export interface Notified extends UnreadNotification {
  readonly event: MatrixEvent;
}

/** A room that a mail tells of. */
export interface DigestRoom {
  readonly roomId: string;
  readonly state: StateIds;
  /** Newest first. */
  readonly notified: readonly Notified[];
  /** The invitation, where the user is invited. */
  readonly invite: MatrixEvent | undefined;
  /** What the room is called; undefined: nothing of its own. */
  readonly ownName: string | undefined;
  readonly name: string;
}

interface Message {
  readonly event_type: string;
  is_historical: boolean;
  readonly id: string;
  readonly ts: number;
  readonly sender_name: string;
  readonly sender_avatar_url: string | null;
  readonly sender_hash: number;
  readonly msgtype?: string | null;
  readonly body_text_html?: unknown;
  readonly body_text_plain?: string;
  readonly image_url?: string;
}

interface NotificationVars {
  readonly link: string;
  readonly ts: number;
  readonly messages: Message[];
}

const MAX_TEXT = 5_000;
const MAX_HTML = 20_000;

/** Those of the notifications that can still be told of. */
export async function tellable(ctx: DigestContext, userId: string, notifications: readonly UnreadNotification[]): Promise<Notified[]> {
  const [events, rooms] = await Promise.all([ctx.events.get(notifications.map(({ eventId }) => eventId)), ctx.members.roomsOf(userId)]);
  return notifications.flatMap((notification) => {
    const event = events.get(notification.eventId);
    const membership = rooms.get(notification.roomId)?.membership;
    return event !== undefined && (membership === "join" || membership === "invite") ? [{ ...notification, event }] : [];
  });
}

/** Subject, unsubscribe link and template values of a mail about `notified` (newest first, not empty). */
export async function composeDigest(
  ctx: DigestContext,
  recipient: Recipient,
  notified: readonly Notified[],
  reason: DigestReason,
): Promise<{ readonly subject: string; readonly unsubscribeLink: string; readonly values: Readonly<Record<string, unknown>> }> {
  const { userId, appId, address, appName } = recipient;
  const byRoom = new Map<string, Notified[]>();
  for (const notification of notified) byRoom.set(notification.roomId, [...(byRoom.get(notification.roomId) ?? []), notification]);
  const states = await ctx.state.currentIdsOf(byRoom.keys());
  const rooms: DigestRoom[] = [];
  for (const [roomId, list] of byRoom) rooms.push(await describeRoom(ctx, userId, roomId, states.get(roomId)!, list));
  const [profile, messages] = await Promise.all([getProfile(ctx.read, userId), messagesOf(ctx, userId, rooms)]);
  const reasonRoom = rooms.find(({ roomId }) => roomId === reason.notification.roomId) ?? rooms[0]!;
  const subject = await digestSubject(ctx, appName, rooms, reasonRoom);
  const query = new URLSearchParams({ access_token: ctx.macaroons.deletePusherToken(userId, appId, address), app_id: appId, pushkey: address });
  const unsubscribeLink = `${ctx.config.server.publicBaseurl}_synapse/client/unsubscribe?${query.toString()}`;
  return {
    subject,
    unsubscribeLink,
    values: {
      user_display_name: presentable(profile?.displayname ?? userId),
      unsubscribe_link: unsubscribeLink,
      summary_text: subject,
      rooms: await Promise.all(rooms.map((room) => roomVars(ctx, appName, room, messages))),
      reason: {
        room_id: reason.notification.roomId,
        now: ctx.clock.now(),
        received_at: reason.notification.receivedTs,
        delay_before_mail_ms: ctx.config.email.notifDelayBeforeMailMs,
        last_sent_ts: reason.throttle.lastSentTs,
        throttle_ms: reason.throttle.throttleMs,
        room_name: reasonRoom.name,
      },
      // A mail program has no token, by which pictures are shown.
      show_media: !ctx.config.media.enableAuthenticatedMedia,
    },
  };
}

async function describeRoom(ctx: DigestContext, userId: string, roomId: string, state: StateIds, notified: readonly Notified[]): Promise<DigestRoom> {
  const invite = notified.find(({ event }) => event.type === "m.room.member" && event.stateKey === userId && event.membership === "invite")?.event;
  const base = { roomId, state, notified, invite };
  if (invite?.outlier) {
    // Nothing is known of the room but what came with the invitation.
    const { room, sender } = await namesFor(ctx, invite, userId);
    const ownName = room === undefined ? undefined : presentable(room);
    return { ...base, ownName, name: ownName ?? `Invite from ${presentable(sender ?? invite.sender)}` };
  }
  const ownName = await roomName(ctx, state, userId, false);
  return { ...base, ownName, name: ownName ?? (await roomName(ctx, state, userId)) };
}

/** The messages that a notification shows: the one before it, as far as the user may see it, and itself; by the id of its event. */
async function messagesOf(ctx: DigestContext, userId: string, rooms: readonly DigestRoom[]): Promise<Map<string, MatrixEvent[]>> {
  const notified = rooms.flatMap((room) => (room.invite === undefined ? room.notified : []));
  const before = await eventsBefore(
    ctx.read,
    notified.map(({ eventId }) => eventId),
  );
  const loaded = await ctx.events.get(new Set(before.values()));
  const wanted = new Map([...loaded, ...notified.map(({ event }) => [event.eventId, event] as const)]);
  const visible = new Map((await filterForUser(ctx, userId, [...wanted.values()])).map(({ event }) => [event.eventId, event]));
  return new Map(
    notified.map(({ eventId }) => [
      eventId,
      [before.get(eventId), eventId].flatMap((id) => {
        const event = id === undefined ? undefined : visible.get(id);
        return event !== undefined && (event.type === "m.room.message" || event.type === "m.room.encrypted") ? [event] : [];
      }),
    ]),
  );
}

async function roomVars(ctx: DigestContext, appName: string, room: DigestRoom, messages: ReadonlyMap<string, readonly MatrixEvent[]>): Promise<object> {
  const { roomId, state } = room;
  const senders = new Set([...messages.values()].flat().map(({ sender }) => sender));
  const keys = [...senders].map((sender) => stateKeyOf("m.room.member", sender));
  const ids = [stateKeyOf("m.room.avatar", ""), ...keys].flatMap((key) => state.get(key) ?? []);
  const events = [...(await ctx.events.get(ids)).values()];
  const members = new Map(events.filter(({ type }) => type === "m.room.member").map((member) => [member.stateKey!, member]));
  const avatar = events.find(({ type }) => type === "m.room.avatar")?.content.url;
  const notifs: NotificationVars[] = [];
  for (const { eventId, receivedTs } of room.invite === undefined ? room.notified.toReversed() : []) {
    const shown = (messages.get(eventId) ?? []).map((event) => messageVars(event, event.eventId !== eventId, members.get(event.sender)));
    addMerged(notifs, { link: link(ctx, appName, roomId, eventId), ts: receivedTs, messages: shown });
  }
  return {
    title: room.name,
    hash: ordinalTotal(roomId),
    notifs,
    invite: room.invite !== undefined,
    link: link(ctx, appName, roomId),
    avatar_url: typeof avatar === "string" ? avatar : null,
  };
}

/** Adds a notification; one that shows a message which the last one shows already is joined with it. */
function addMerged(notifs: NotificationVars[], next: NotificationVars): void {
  const last = notifs.at(-1);
  let isMerged = false;
  for (const message of last === undefined ? [] : next.messages) {
    const same = last!.messages.find(({ id }) => id === message.id);
    if (same !== undefined) {
      same.is_historical &&= message.is_historical;
      isMerged = true;
    } else if (isMerged) {
      last!.messages.push(message);
    }
  }
  if (!isMerged) notifs.push(next);
}

function messageVars(event: MatrixEvent, isHistorical: boolean, member: MatrixEvent | undefined): Message {
  const avatar = member?.content.avatar_url;
  const base = {
    event_type: event.type,
    is_historical: isHistorical,
    id: event.eventId,
    ts: event.originServerTs,
    sender_name: member === undefined ? event.sender : memberName(member),
    sender_avatar_url: typeof avatar === "string" ? avatar : null,
    sender_hash: ordinalTotal(event.sender),
  };
  if (event.type === "m.room.encrypted") return base;
  const { body, format, formatted_body: formatted, msgtype, url } = event.content;
  const plain = typeof body === "string" ? body.slice(0, MAX_TEXT) : undefined;
  const isHtml = format === "org.matrix.custom.html" && typeof formatted === "string" && formatted !== "";
  const html = isHtml ? safeHtml(formatted.slice(0, MAX_HTML)) : plain ? textAsHtml(plain) : undefined;
  return {
    ...base,
    msgtype: typeof msgtype === "string" ? msgtype : null,
    ...(msgtype === "m.text" && html !== undefined ? { body_text_html: markup(html) } : {}),
    ...(msgtype === "m.image" && typeof url === "string" ? { image_url: url } : {}),
    ...(plain === undefined ? {} : { body_text_plain: plain }),
  };
}

/** Where a browser shows a room, or an event in it. */
function link(ctx: Pick<Context, "config">, appName: string, roomId: string, eventId?: string): string {
  const base = ctx.config.email.clientBaseUrl;
  const start = base ? `${base}/#/room` : appName === "Vector" ? "https://vector.im/beta/#/room" : "https://matrix.to/#";
  return [start, ...[roomId, eventId].flatMap((id) => (id === undefined ? [] : [inUrl(id)]))].join("/");
}

/** Ids are made by other servers: what does not belong into an address is encoded. */
const inUrl = (id: string): string =>
  id.replace(/[^\w!$:.~=+@-]/gu, (char) => [...Buffer.from(char)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""));

/** Picks a default picture in Synapse's templates: the sum of the code points. */
const ordinalTotal = (text: string): number => [...text].reduce((sum, char) => sum + char.codePointAt(0)!, 0);
