import type { User } from "../../storage/accounts/users.ts";

/** What a module is told of an account. */
export interface ModuleUserInfo {
  readonly user_id: string;
  /** Seconds since the epoch. */
  readonly creation_ts: number;
  readonly is_admin: boolean;
  readonly is_guest: boolean;
  readonly is_deactivated: boolean;
  readonly is_shadow_banned: boolean;
  readonly locked: boolean;
  readonly suspended: boolean;
  readonly approved: boolean;
  readonly appservice_id: string | null;
  readonly user_type: string | null;
  readonly consent_version: string | null;
}

/** An account as modules see it. */
export function moduleUserInfo(user: User): ModuleUserInfo {
  return {
    user_id: user.name,
    creation_ts: Number(user.creationTs),
    is_admin: user.admin,
    is_guest: user.isGuest,
    is_deactivated: user.deactivated,
    is_shadow_banned: user.shadowBanned,
    locked: user.locked,
    suspended: user.suspended,
    approved: user.approved,
    appservice_id: user.appserviceId,
    user_type: user.userType,
    consent_version: user.consentVersion,
  };
}
