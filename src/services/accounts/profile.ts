import type { Json, JsonObject } from "../../lib/json.ts";
import { canonicalJson } from "../../protocol/canonical-json.ts";
import { forbidden, invalidParam, MatrixError, notFound } from "../../protocol/errors.ts";
import { isUserId } from "../../protocol/ids.ts";
import {
  deleteProfileField as deleteField,
  getFieldsSize,
  getProfile as readProfile,
  insertProfileUpdate,
  lockProfile,
  type Profile,
  setAvatarUrl,
  setDisplayname,
  setProfileField as writeField,
} from "../../storage/accounts/profiles.ts";
import { getLocalUsersSharingRooms, shareRoom } from "../../storage/accounts/profile-audience.ts";
import type { Txn } from "../../storage/database.ts";
import { localMedia } from "../../storage/media/local-media.ts";
import { remoteMedia } from "../../storage/media/remote-media.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";

export const MAX_DISPLAYNAME = 256;
export const MAX_AVATAR_URL = 1000;
/** Bytes of a whole profile as JSON (MSC4133). */
const MAX_PROFILE_BYTES = 65_536;
const MAX_FIELD_BYTES = 255;
/** Quotes, colon and comma around a key and its value. */
const JSON_OVERHEAD = 6;
/** Common namespaced identifiers, as the specification's appendix has them. */
const FIELD_GRAMMAR = /^[a-z][a-z0-9_.-]{0,254}$/;

/** @throws MatrixError 400 M_INVALID_PARAM, M_KEY_TOO_LARGE */
export function checkFieldName(field: string): void {
  if (field === "") throw invalidParam("Field name too short");
  if (Buffer.byteLength(field) > MAX_FIELD_BYTES) throw new MatrixError(400, "M_KEY_TOO_LARGE", "Field name too long");
  if (!FIELD_GRAMMAR.test(field)) throw invalidParam("Field name does not follow Common Namespaced Identifier Grammar");
}

/**
 * The whole profile of a user, of this server or another.
 * @throws MatrixError 400, 403 where only those who share a room may see it, 404 M_NOT_FOUND, 502
 */
export async function getProfile(ctx: Context, userId: string, requester: Requester | undefined): Promise<JsonObject> {
  await checkLookup(ctx, userId, requester);
  if (!isLocal(ctx, userId)) return await remoteProfile(ctx, userId, undefined);
  const profile = await readProfile(ctx.read, userId);
  const shown = profile === undefined ? {} : show(profile);
  if (Object.keys(shown).length === 0) throw notFound("Profile was not found");
  return shown;
}

/** One field of a profile: null when the user has a profile but no name or avatar. @throws MatrixError as `getProfile` */
export async function getProfileField(ctx: Context, userId: string, field: string, requester: Requester | undefined): Promise<Json> {
  checkFieldName(field);
  await checkLookup(ctx, userId, requester);
  if (!isLocal(ctx, userId)) {
    const remote = await remoteProfile(ctx, userId, field);
    return Object.hasOwn(remote, field) ? (remote[field] ?? null) : null;
  }
  const profile = await readProfile(ctx.read, userId);
  if (profile === undefined) throw notFound("Profile was not found");
  if (field === "displayname") return profile.displayname;
  if (field === "avatar_url") return profile.avatarUrl;
  const value = Object.hasOwn(profile.fields, field) ? profile.fields[field] : undefined;
  if (value === undefined) throw notFound("Profile was not found");
  return value;
}

export interface ProfileChange {
  readonly userId: string;
  readonly field: string;
  /** undefined: the field is removed. */
  readonly value: Json | undefined;
  readonly byAdmin: boolean;
  /** Show a new name or avatar in the rooms that the user is in. */
  readonly propagate: boolean;
}

/**
 * Sets or removes a field. Names and avatars go on to the user directory and into the user's rooms.
 * @throws MatrixError 400 M_INVALID_PARAM, M_PROFILE_TOO_LARGE; 403 M_FORBIDDEN, M_USER_SUSPENDED; 429
 */
export async function changeProfile(ctx: Context, requester: Requester, change: ProfileChange): Promise<void> {
  const { userId, field, byAdmin } = change;
  checkFieldName(field);
  if ((await ctx.accounts.user(requester.userId))?.suspended === true) {
    throw new MatrixError(403, "M_USER_SUSPENDED", "Updating profile while account is suspended is not allowed.");
  }
  if (!isLocal(ctx, userId)) throw new MatrixError(400, "M_UNKNOWN", "User is not hosted on this homeserver");
  const standard = field === "displayname" || field === "avatar_url";
  if (!byAdmin && userId !== requester.userId) {
    throw standard || change.value === undefined
      ? new MatrixError(400, "M_FORBIDDEN", `Cannot set another user's ${standard ? field : "profile"}`)
      : forbidden("Cannot set another user's profile");
  }
  const value = standard ? await checkStandard(ctx, change) : change.value;
  const actor: Requester = requester.userId === userId ? requester : { ...requester, userId, deviceId: undefined };
  const spreads = standard && change.propagate;
  if (spreads) await ctx.limits.check("message", userId, { requester: actor });
  // One after another, by the lock on the row: none has to be tried again because of the others.
  await ctx.transaction(
    "set_profile_field",
    async (txn) => {
      const before = await lockProfile(txn, userId);
      await checkSize(txn, userId, before, field, value);
      if (field === "displayname") await setDisplayname(txn, userId, value as string | null);
      else if (field === "avatar_url") await setAvatarUrl(txn, userId, value as string | null);
      else if (value === undefined) await deleteField(txn, userId, field);
      else await writeField(txn, userId, field, canonicalJson(value));
      if (standard) for (const hook of ctx.accountHooks.profileChanged) await hook(ctx, txn, userId);
      // What a shadow-banned user calls themselves is shown to nobody.
      if (spreads && !requester.shadowBanned) for (const hook of ctx.accountHooks.propagateProfile) await hook(ctx, txn, actor);
      await recordUpdate(ctx, txn, userId, field);
    },
    { isolation: "read committed" },
  );
  if (!ctx.modules.thirdPartyRules.has("on_profile_update")) return;
  const profile = await readProfile(ctx.read, userId);
  const shown = { display_name: profile?.displayname ?? null, avatar_url: profile?.avatarUrl ?? null };
  await ctx.modules.thirdPartyRules.profileUpdated(userId, shown, byAdmin, false);
}

/** The value to store for a name or an avatar: "" is none. */
async function checkStandard(ctx: Context, { userId, field, value = "", byAdmin }: ProfileChange): Promise<string | null> {
  const { enableSetDisplayname, enableSetAvatarUrl } = ctx.config.registration;
  const name = field === "displayname";
  if (!byAdmin && !(name ? enableSetDisplayname : enableSetAvatarUrl)) {
    const current = await readProfile(ctx.read, userId);
    if (name ? current?.displayname : current?.avatarUrl)
      throw new MatrixError(400, "M_FORBIDDEN", name ? "Changing display name is disabled on this server" : "Changing avatar is disabled on this server");
  }
  if (typeof value !== "string") throw invalidParam(`'${field}' must be a string`);
  const limit = name ? MAX_DISPLAYNAME : MAX_AVATAR_URL;
  if ([...value].length > limit) throw new MatrixError(400, "M_UNKNOWN", `${name ? "Displayname" : "Avatar URL"} is too long (max ${limit})`);
  const clean = value.replaceAll("\0", "");
  if (clean === "") return null;
  if (name) return clean.trim();
  if (!(await avatarAllowed(ctx, clean))) throw forbidden("This avatar is not allowed");
  return clean;
}

/** Whether the size and type of an avatar are within `max_avatar_size` and `allowed_avatar_mimetypes`. */
export async function avatarAllowed(ctx: Pick<Context, "config" | "read">, mxc: string): Promise<boolean> {
  const { maxAvatarSize, allowedAvatarMimetypes } = ctx.config.server;
  if (mxc === "" || (!maxAvatarSize && !allowedAvatarMimetypes?.length)) return true;
  const parts = /^mxc:\/\/([^/]+)\/([^/]+)$/.exec(mxc);
  if (parts === null) return false;
  const [, origin, mediaId] = parts as unknown as [string, string, string];
  const media = origin === ctx.config.server.serverName ? await localMedia(ctx.read, mediaId) : await remoteMedia(ctx.read, origin, mediaId);
  if (media === undefined) return false;
  if (maxAvatarSize && (media.media_length === null || media.media_length > maxAvatarSize)) return false;
  return !allowedAvatarMimetypes?.length || (media.media_type !== null && allowedAvatarMimetypes.includes(media.media_type));
}

async function checkSize(txn: Txn, userId: string, before: Profile | undefined, field: string, value: Json | undefined): Promise<void> {
  if (value === undefined) return;
  let bytes: number;
  try {
    bytes = Buffer.byteLength(canonicalJson({ [field]: value }));
  } catch {
    throw new MatrixError(400, "M_BAD_JSON", "The value has no canonical JSON form");
  }
  if (before !== undefined) {
    const fields = await getFieldsSize(txn, userId, field);
    if (fields > 0) bytes += fields - 1;
    if (field !== "displayname" && before.displayname) bytes += Buffer.byteLength(before.displayname) + "displayname".length + JSON_OVERHEAD;
    if (field !== "avatar_url" && before.avatarUrl) bytes += Buffer.byteLength(before.avatarUrl) + "avatar_url".length + JSON_OVERHEAD;
  }
  if (bytes > MAX_PROFILE_BYTES) throw new MatrixError(400, "M_PROFILE_TOO_LARGE", "Profile too large");
}

/** An entry of the profile stream for those who share a room with the user, where syncs carry profile updates. */
async function recordUpdate(ctx: Context, txn: Txn, userId: string, field: string): Promise<void> {
  if (!ctx.config.server.includeProfileUpdatesInSync) return;
  const targets = await getLocalUsersSharingRooms(txn, userId);
  const { profileUpdates } = ctx.streams;
  const { instanceName } = profileUpdates;
  const [streamId] = await profileUpdates.next(txn);
  await insertProfileUpdate(txn, { streamId: streamId!, instanceName, userId, action: "update", fields: [field], targets: [...targets], now: ctx.clock.now() });
  txn.afterCommit(() => profileUpdates.whenVisible(streamId!, () => ctx.notifier.wakeUsers(targets, "profile_updates_key")));
}

async function checkLookup(ctx: Context, userId: string, requester: Requester | undefined): Promise<void> {
  if (!isUserId(userId)) throw invalidParam("Invalid user id");
  if (!ctx.config.server.limitProfileRequestsToUsersWhoShareRooms || requester === undefined || requester.userId === userId) return;
  if (!(await shareRoom(ctx.read, requester.userId, userId))) throw forbidden("Profile isn't available");
}

async function remoteProfile(ctx: Context, userId: string, field: string | undefined): Promise<JsonObject> {
  const ask = ctx.accountHooks.remoteProfile;
  if (ask === undefined) throw new MatrixError(502, "M_UNKNOWN", "Failed to fetch profile");
  return await ask(ctx, userId, field);
}

function show(profile: Profile): JsonObject {
  const shown: JsonObject = {};
  if (profile.displayname !== null) shown["displayname"] = profile.displayname;
  if (profile.avatarUrl !== null) shown["avatar_url"] = profile.avatarUrl;
  return { ...shown, ...profile.fields };
}

function isLocal(ctx: Pick<Context, "config">, userId: string): boolean {
  return userId.endsWith(`:${ctx.config.server.serverName}`);
}
