import type { JsonObject } from "../../lib/json.ts";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { localpartOf } from "../../protocol/ids.ts";
import { deleteExternalIdsOfUser, type ExternalId, insertExternalIds } from "../../storage/accounts/external-ids.ts";
import { setUserFlags, type User, type UserFlags } from "../../storage/accounts/users.ts";
import type { Txn } from "../../storage/database.ts";
import { deleteThreepid, getThreepidsOfUser, upsertThreepid } from "../../storage/threepids/user-threepids.ts";
import { setPassword } from "../accounts/change-password.ts";
import { deactivateAccount, reactivateAccount } from "../accounts/deactivate.ts";
import { canonicalEmail } from "../accounts/identifiers.ts";
import { hashPassword } from "../accounts/passwords.ts";
import { changeProfile } from "../accounts/profile.ts";
import { registerUser } from "../accounts/register.ts";
import type { Context } from "../context.ts";
import { deletePusher, setPusher } from "../push/pushers.ts";
import type { Requester } from "../requester.ts";
import { accountView } from "./account-view.ts";
import { badRequest, inTheNameOf } from "./targets.ts";
import type { Threepid, UserRecord } from "./user-record.ts";

/**
 * Makes or changes an account (`PUT /v2/users/{id}`); returns it as it is now, and whether it is new.
 * @throws MatrixError 400, 403, 409 for an external id that is somebody's already
 */
export async function putUser(ctx: Context, requester: Requester, userId: string, record: UserRecord): Promise<{ isNew: boolean; view: JsonObject }> {
  const user = await ctx.accounts.user(userId);
  if (user === undefined) await createUser(ctx, requester, userId, record);
  else await modifyUser(ctx, requester, user, record);
  return { isNew: user === undefined, view: await accountView(ctx, (await ctx.accounts.user(userId))!) };
}

/** Sets flags of an account. False when there is none. */
export async function flagUser(ctx: Pick<Context, "accounts" | "transaction">, userId: string, flags: UserFlags): Promise<boolean> {
  return await ctx.transaction("set_user_flags", (txn) => setUserFlags(txn, ctx.accounts, userId, flags));
}

async function modifyUser(ctx: Context, requester: Requester, user: User, record: UserRecord): Promise<void> {
  const userId = user.name;
  if (record.admin === false && user.admin && userId === requester.userId) throw badRequest("You may not demote yourself.");
  // Said before anything is changed.
  for (const [field, value] of Object.entries({ displayname: record.displayname, avatar_url: record.avatarUrl })) {
    if (value !== undefined && typeof value !== "string") throw invalidParam(`'${field}' must be a string`);
  }
  for (const { medium } of record.threepids ?? []) checkMedium(medium);
  const profile = async (field: string, value: UserRecord["displayname"]): Promise<void> => {
    if (value === undefined) return;
    await changeProfile(ctx, inTheNameOf(requester, userId), { userId, field, value, byAdmin: true, propagate: true });
  };
  await profile("displayname", record.displayname);
  if (record.threepids !== undefined) await replaceThreepids(ctx, userId, record.threepids);
  if (record.externalIds !== undefined) {
    const ids = record.externalIds;
    await ctx.transaction("replace_user_external_id", async (txn) => {
      await deleteExternalIdsOfUser(txn, userId);
      await addExternalIds(txn, userId, ids);
    });
  }
  await profile("avatar_url", record.avatarUrl);
  if (record.admin !== undefined && record.admin !== user.admin) await flagUser(ctx, userId, { admin: record.admin });
  if (record.password !== undefined) {
    await setPassword(ctx, userId, await hashPassword(ctx, record.password), {
      logoutDevices: record.logoutDevices,
      except: requester.userId === userId ? requester : undefined,
    });
  }
  if (record.deactivated === true && !user.deactivated) await deactivateAccount(ctx, { userId, erase: false, idServer: undefined, byAdmin: true });
  if (record.deactivated === false && user.deactivated) await reactivateAccount(ctx, userId);
  if (record.locked !== undefined && record.locked !== user.locked) await flagUser(ctx, userId, { locked: record.locked });
  if (record.userType !== undefined) await flagUser(ctx, userId, { userType: record.userType });
  if (record.approved !== undefined) await flagUser(ctx, userId, { approved: record.approved });
}

async function createUser(ctx: Context, requester: Requester, userId: string, record: UserRecord): Promise<void> {
  const { displayname, threepids, externalIds, avatarUrl } = record;
  if (displayname !== undefined && displayname !== null && typeof displayname !== "string") throw invalidParam("'displayname' must be a string");
  await registerUser(ctx, {
    localpart: localpartOf(userId),
    passwordHash: record.password === undefined ? null : await hashPassword(ctx, record.password),
    admin: record.admin ?? false,
    displayName: displayname ?? undefined,
    userType: record.userType ?? null,
    byAdmin: true,
    approved: record.approved ?? true,
  });
  for (const threepid of distinct(threepids ?? [])) await addThreepid(ctx, userId, threepid, { withPusher: true });
  if (externalIds !== undefined) await ctx.transaction("record_user_external_id", (txn) => addExternalIds(txn, userId, externalIds));
  if (typeof avatarUrl === "string") {
    await changeProfile(ctx, inTheNameOf(requester, userId), { userId, field: "avatar_url", value: avatarUrl, byAdmin: true, propagate: true });
  }
}

async function addExternalIds(txn: Txn, userId: string, ids: readonly ExternalId[]): Promise<void> {
  if (!(await insertExternalIds(txn, userId, ids))) throw new MatrixError(409, "M_UNKNOWN", "External id is already in use.");
}

async function replaceThreepids(ctx: Context, userId: string, wanted: readonly Threepid[]): Promise<void> {
  const current = await getThreepidsOfUser(ctx.read, userId);
  const same = (one: Threepid) => (other: Threepid) => one.medium === other.medium && one.address === other.address;
  for (const gone of current.filter((threepid) => !wanted.some(same(threepid)))) {
    await ctx.transaction("user_delete_threepid", (txn) => deleteThreepid(txn, userId, gone.medium, gone.address));
    await ctx.modules.thirdPartyRules.threepidRemoved(userId, gone.medium, gone.address);
    if (gone.medium === "email") await deletePusher(ctx, userId, "m.email", gone.address);
  }
  for (const added of distinct(wanted).filter((threepid) => !current.some(same(threepid)))) await addThreepid(ctx, userId, added, { withPusher: false });
}

async function addThreepid(ctx: Context, userId: string, threepid: Threepid, options: { withPusher: boolean }): Promise<void> {
  const { medium } = threepid;
  checkMedium(medium);
  const address = medium === "email" ? canonicalEmail(threepid.address) : threepid.address;
  const now = ctx.clock.now();
  await ctx.transaction("user_add_threepid", (txn) => upsertThreepid(txn, userId, { medium, address, validated_at: now, added_at: now }));
  await ctx.modules.thirdPartyRules.threepidAdded(userId, medium, address);
  const { enableNotifs, notifForNewUsers } = ctx.config.email;
  if (!options.withPusher || !enableNotifs || !notifForNewUsers || medium !== "email") return;
  const pusher = {
    kind: "email",
    app_id: "m.email",
    app_display_name: "Email Notifications",
    device_display_name: address,
    pushkey: address,
    lang: null,
    data: {},
    append: true,
  };
  await setPusher(ctx, { ...inTheNameOf({ authenticatedEntity: userId }, userId) }, pusher, false);
}

function checkMedium(medium: string): void {
  if (medium !== "email" && medium !== "msisdn") throw invalidParam(`'${medium}' is not a valid value for 'medium'`);
}

const distinct = (threepids: readonly Threepid[]): Threepid[] => [
  ...new Map(threepids.map((threepid) => [`${threepid.medium}\0${threepid.address}`, threepid])).values(),
];
