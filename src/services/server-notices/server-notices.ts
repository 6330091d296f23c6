import type { JsonObject } from "../../lib/json.ts";
import { addTag } from "../account-data/account-data.ts";
import type { Context } from "../context.ts";
import { sendEvent } from "../events/send.ts";
import { type Requester, requesterFor } from "../requester.ts";
import { createRoom } from "../rooms/create.ts";
import { updateMembership } from "../rooms/membership.ts";
import { noticeOfTerms } from "./consent-notice.ts";
import { noticeOfLimits } from "./limit-notice.ts";

/** The tag by which clients know the room (client-server API, "Server Notices"). */
const TAG = "m.server_notice";
const OPTIONS = { rateLimit: false };

export interface Notice {
  /** Default `m.room.message`. */
  readonly type?: string | undefined;
  readonly stateKey?: string | undefined;
  readonly content: JsonObject;
}

/**
 * Speaks to users in the server's own name (`server_notices`): each has one room with the notices' user, which is made when there is
 * something to say. One notice after another for each user, so that nobody gets two rooms.
 */
export class ServerNotices {
  private readonly turns = new Map<string, Promise<unknown>>();
  private readonly watched = new Map<string, Promise<void>>();

  constructor(private readonly full: () => Context) {}

  /** Whether the config has a user for notices. */
  isEnabled(): boolean {
    return this.full().config.serverNotices.userId !== undefined;
  }

  /** Sends a notice to a local user; returns the event's id. @throws Error where notices are off */
  async send(userId: string, notice: Notice): Promise<string> {
    const before = this.turns.get(userId) ?? Promise.resolve();
    const turn = before.catch(() => {}).then(() => this.sendNow(userId, notice));
    this.turns.set(userId, turn);
    try {
      return await turn;
    } finally {
      if (this.turns.get(userId) === turn) this.turns.delete(userId);
    }
  }

  /** The room with the notices' user that the user is in or invited to; undefined when there is none. */
  async roomOf(userId: string): Promise<string | undefined> {
    const ctx = this.full();
    const notices = ctx.config.serverNotices.userId;
    if (notices === undefined) return undefined;
    const [own, rooms] = await Promise.all([ctx.members.roomsOf(userId), ctx.members.roomsOf(notices)]);
    for (const [roomId, { membership }] of own) {
      if ((membership === "join" || membership === "invite") && rooms.get(roomId)?.membership === "join") return roomId;
    }
    return undefined;
  }

  /** The user is here: terms to agree to and limits that were reached are told, where the config wants it. Never throws. */
  async userActive(userId: string): Promise<void> {
    const { consent, server } = this.full().config;
    const terms = consent.serverNoticeContent !== undefined;
    const limits = server.limitUsageByMau && !server.hsDisabled;
    if (!this.isEnabled() || (!terms && !limits) || this.watched.has(userId)) return;
    const telling = this.tell(userId, terms, limits).finally(() => this.watched.delete(userId));
    this.watched.set(userId, telling);
    await telling;
  }

  /** Resolves when nothing is being told of by itself any more. */
  async settled(): Promise<void> {
    await Promise.all(this.watched.values());
  }

  private async tell(userId: string, terms: boolean, limits: boolean): Promise<void> {
    const ctx = this.full();
    try {
      if (terms) await noticeOfTerms(ctx, userId);
      if (limits) await noticeOfLimits(ctx, userId);
    } catch (error) {
      ctx.log.named("synapse.server_notices").error("Error sending a server notice", { error });
    }
  }

  private async sendNow(userId: string, notice: Notice): Promise<string> {
    const ctx = this.full();
    const notices = ctx.config.serverNotices.userId;
    if (notices === undefined) throw new Error("Server notices are not enabled");
    const speaker = speakerOf(ctx, notices);
    const roomId = await this.roomFor(ctx, speaker, userId);
    const { type = "m.room.message", stateKey, content } = notice;
    return (await sendEvent(ctx, speaker, { roomId, type, stateKey, content }, OPTIONS)).eventId;
  }

  /** The user's room, as the config describes it now, with the user in it or invited. */
  private async roomFor(ctx: Context, speaker: Requester, userId: string): Promise<string> {
    const present = await this.roomOf(userId);
    if (present !== undefined) {
      await bringUpToDate(ctx, speaker, present);
      return present;
    }
    const roomId = await makeRoom(ctx, speaker);
    await addTag(ctx, userId, roomId, TAG, {});
    await updateMembership(ctx, speaker, { roomId, target: userId, action: "invite" }, OPTIONS);
    if (ctx.config.serverNotices.autoJoin) await updateMembership(ctx, speakerOf(ctx, userId), { roomId, target: userId, action: "join" }, OPTIONS);
    return roomId;
  }
}

/** The server acts in the name of one of its users. */
function speakerOf(ctx: Pick<Context, "config">, userId: string): Requester {
  return requesterFor(userId, { authenticatedEntity: ctx.config.server.serverName });
}

async function makeRoom(ctx: Context, speaker: Requester): Promise<string> {
  const { displayName, avatarUrl, roomName, roomTopic, roomAvatarUrl } = ctx.config.serverNotices;
  const request: JsonObject = {
    preset: "private_chat",
    power_level_content_override: { users_default: -10 },
    ...(roomName ? { name: roomName } : {}),
    ...(roomTopic ? { topic: roomTopic } : {}),
    ...(roomAvatarUrl ? { initial_state: [{ type: "m.room.avatar", state_key: "", content: { url: roomAvatarUrl } }] } : {}),
  };
  const creatorProfile = displayName === undefined && avatarUrl === undefined ? undefined : { displayname: displayName ?? null, avatar_url: avatarUrl ?? null };
  const { roomId } = await createRoom(ctx, speaker, request, { rateLimit: false, creatorProfile, ignoreForcedEncryption: true });
  ctx.log.named("synapse.server_notices.server_notices_manager").info(`Created server notices room ${roomId}`);
  return roomId;
}

/** Name, picture and topic follow the config. */
async function bringUpToDate(ctx: Context, speaker: Requester, roomId: string): Promise<void> {
  const { displayName, avatarUrl, roomName, roomTopic, roomAvatarUrl } = ctx.config.serverNotices;
  const own = (await ctx.state.currentEvent(roomId, "m.room.member", speaker.userId))?.content;
  if ((own?.displayname ?? undefined) !== displayName || (own?.avatar_url ?? undefined) !== avatarUrl) {
    const content = { displayname: displayName ?? null, avatar_url: avatarUrl ?? null };
    await updateMembership(ctx, speaker, { roomId, target: speaker.userId, action: "join", content }, OPTIONS);
  }
  const wanted = [
    ["m.room.name", "name", roomName],
    ["m.room.avatar", "url", roomAvatarUrl],
    ["m.room.topic", "topic", roomTopic],
  ] as const;
  for (const [type, key, value] of wanted) {
    const present = (await ctx.state.currentEvent(roomId, type))?.content[key];
    if ((present || undefined) !== (value || undefined))
      await sendEvent(ctx, speaker, { roomId, type, stateKey: "", content: { [key]: value ?? "" } }, OPTIONS);
  }
}
