import type { JsonObject } from "../../lib/json.ts";
import { getErasedUsers } from "../../storage/accounts/deactivations.ts";
import { getExternalIds } from "../../storage/accounts/external-ids.ts";
import { getProfile } from "../../storage/accounts/profiles.ts";
import type { User } from "../../storage/accounts/users.ts";
import { lastSeen } from "../../storage/admin/users.ts";
import { getThreepidsOfUser } from "../../storage/threepids/user-threepids.ts";
import type { Context } from "../context.ts";

/** An account as `GET /v2/users/{id}` shows it; `creation_ts` in seconds, the other times in milliseconds. */
export async function accountView(ctx: Pick<Context, "config" | "read">, user: User): Promise<JsonObject> {
  const { name } = user;
  const [profile, threepids, externalIds, erased, seen] = await Promise.all([
    getProfile(ctx.read, name),
    getThreepidsOfUser(ctx.read, name),
    getExternalIds(ctx.read, name),
    getErasedUsers(ctx.read, [name]),
    lastSeen(ctx.read, name),
  ]);
  return {
    name,
    admin: user.admin,
    deactivated: user.deactivated,
    locked: user.locked,
    shadow_banned: user.shadowBanned,
    creation_ts: user.creationTs,
    appservice_id: user.appserviceId,
    consent_server_notice_sent: user.consentServerNoticeSent,
    consent_version: user.consentVersion,
    consent_ts: user.consentTs,
    user_type: user.userType,
    is_guest: user.isGuest,
    suspended: user.suspended,
    ...(ctx.config.experimental.msc3866.enabled ? { approved: user.approved } : {}),
    displayname: profile?.displayname ?? null,
    avatar_url: profile?.avatarUrl ?? null,
    threepids: threepids.map((threepid) => ({ ...threepid })),
    external_ids: externalIds.map((id) => ({ ...id })),
    erased: erased.has(name),
    last_seen_ts: seen,
  };
}
