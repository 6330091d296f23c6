import type { JsonObject } from "../../lib/json.ts";
import { badJson, forbidden } from "../../protocol/errors.ts";
import { getDomain } from "../../protocol/ids.ts";
import { type JoinFacts } from "../../storage/rooms/join-facts.ts";
import { avatarAllowed, MAX_AVATAR_URL, MAX_DISPLAYNAME } from "../accounts/profile.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";

/** What a membership event says about the person. */
const AUTHORISER = "join_authorised_via_users_server";

/**
 * The content of a membership event as a client gives it, without what clients may not say.
 * @throws MatrixError 400, 403
 */
export async function checkMemberContent(ctx: Context, requester: Requester, given: JsonObject | undefined): Promise<JsonObject> {
  const { [AUTHORISER]: _, ...content } = given ?? {};
  const isServerNotices = requester.userId === ctx.config.serverNotices.userId;
  if ((!ctx.config.server.allowPerRoomProfiles && !isServerNotices) || requester.shadowBanned) {
    delete content.displayname;
    delete content.avatar_url;
  }
  const { displayname, avatar_url: avatarUrl } = content;
  if (typeof displayname === "string" && [...displayname].length > MAX_DISPLAYNAME) throw badJson(`Displayname is too long (max ${MAX_DISPLAYNAME})`);
  if (typeof avatarUrl === "string") {
    if ([...avatarUrl].length > MAX_AVATAR_URL) throw badJson(`Avatar URL is too long (max ${MAX_AVATAR_URL})`);
    if (!(await avatarAllowed(ctx, avatarUrl))) throw forbidden("This avatar is not allowed");
  }
  return content;
}

/** Adds the name and picture of the person where the content does not say them itself. */
export async function withProfile(ctx: Context, content: JsonObject, target: string, facts: JoinFacts): Promise<JsonObject> {
  if (content.displayname !== undefined && content.avatar_url !== undefined) return content;
  const { displayName, avatarUrl } = getDomain(target) === ctx.config.server.serverName ? facts : await remoteProfile(ctx, target);
  return {
    ...content,
    ...(content.displayname === undefined && displayName !== null ? { displayname: displayName } : {}),
    ...(content.avatar_url === undefined && avatarUrl !== null ? { avatar_url: avatarUrl } : {}),
  };
}

/** As that server says; nothing when it does not answer. */
async function remoteProfile(ctx: Context, userId: string): Promise<{ displayName: string | null; avatarUrl: string | null }> {
  try {
    const profile = await ctx.accountHooks.remoteProfile?.(ctx, userId, undefined);
    const text = (value: unknown): string | null => (typeof value === "string" ? value : null);
    return { displayName: text(profile?.displayname), avatarUrl: text(profile?.avatar_url) };
  } catch (error) {
    ctx.log.named("synapse.handlers.room_member").info(`Failed to get profile information for ${userId}`, { error });
    return { displayName: null, avatarUrl: null };
  }
}

export const authorisedBy = (content: JsonObject, userId: string): JsonObject => ({ ...content, [AUTHORISER]: userId });
