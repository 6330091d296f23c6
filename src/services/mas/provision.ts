import { dehydratedDevice } from "../../storage/devices/dehydrated.ts";
import { getDevicesOfUser } from "../../storage/devices/devices.ts";
import { setUserFlags } from "../../storage/accounts/users.ts";
import { getThreepidsOfUser, upsertThreepid } from "../../storage/threepids/user-threepids.ts";
import { canonicalEmail } from "../accounts/identifiers.ts";
import { changeProfile } from "../accounts/profile.ts";
import { registerUser } from "../accounts/register.ts";
import type { Context } from "../context.ts";
import { deleteDevices, upsertDevice } from "../devices/devices.ts";
import { unbindThreepid } from "../threepid/bind.ts";
import { removeThreepid } from "../threepid/threepids.ts";
import { requesterFor } from "../requester.ts";

/** What the authentication service says about an account. undefined: stays as it is; null: none. */
export interface Provision {
  readonly localpart: string;
  readonly displayName: string | null | undefined;
  readonly avatarUrl: string | null | undefined;
  readonly emails: readonly string[] | undefined;
  readonly locked: boolean | undefined;
}

/**
 * Makes the account, or brings it to what the service says. True when it is new.
 * @throws MatrixError 400 M_INVALID_USERNAME, M_EXCLUSIVE, or for what is no name, address or avatar
 */
export async function provisionUser(ctx: Context, provision: Provision): Promise<boolean> {
  const { localpart, displayName, avatarUrl, locked } = provision;
  const userId = `@${localpart}:${ctx.config.server.serverName}`;
  const emails = provision.emails?.map(canonicalEmail);
  const isNew = localpart.includes("\0") || (await ctx.accounts.user(userId)) === undefined;
  if (isNew) await registerUser(ctx, { localpart, passwordHash: null, displayName: displayName ?? undefined, byAdmin: true });
  else if (displayName !== undefined) await setProfile(ctx, userId, "displayname", displayName);
  if (emails !== undefined) await setEmails(ctx, userId, new Set(emails));
  if (locked !== undefined) await ctx.transaction("set_user_locked_status", (txn) => setUserFlags(txn, ctx.accounts, userId, { locked }));
  if (avatarUrl !== undefined) await setProfile(ctx, userId, "avatar_url", avatarUrl);
  return isNew;
}

/** Sets or (null) removes the name or avatar of a user, as the user would. @throws MatrixError 400 */
export async function setProfile(ctx: Context, userId: string, field: "displayname" | "avatar_url", value: string | null): Promise<void> {
  await changeProfile(ctx, requesterFor(userId), { userId, field, value: value ?? "", byAdmin: true, propagate: true });
}

/** Deletes the devices that are not in the list, and makes those that are missing. A dehydrated device has no session there: it stays. */
export async function syncDevices(ctx: Context, userId: string, wanted: readonly string[]): Promise<void> {
  const [devices, dehydrated] = await Promise.all([getDevicesOfUser(ctx.read, userId), dehydratedDevice(ctx.read, userId)]);
  const current = devices.map(({ deviceId }) => deviceId);
  const gone = current.filter((deviceId) => deviceId !== dehydrated?.deviceId && !wanted.includes(deviceId));
  const missing = new Set(wanted.filter((deviceId) => !current.includes(deviceId)));
  if (gone.length > 0 || missing.size > 0) {
    ctx.log.named("synapse.rest.synapse.mas.devices").info(`Devices of ${userId}: ${missing.size} are added and ${gone.length} deleted`);
  }
  await deleteDevices(ctx, userId, gone);
  for (const deviceId of missing) await upsertDevice(ctx, userId, deviceId, undefined);
}

/** The service has checked the addresses: they are the user's from now on, whoever had them. */
async function setEmails(ctx: Context, userId: string, wanted: ReadonlySet<string>): Promise<void> {
  const threepids = await getThreepidsOfUser(ctx.read, userId);
  const current = threepids.filter(({ medium }) => medium === "email").map(({ address }) => address);
  for (const address of current.filter((known) => !wanted.has(known))) {
    await unbindThreepid(ctx, userId, { medium: "email", address }, undefined);
    await removeThreepid(ctx, userId, "email", address);
  }
  const now = ctx.clock.now();
  for (const address of wanted) {
    if (current.includes(address)) continue;
    await ctx.transaction("user_add_threepid", (txn) => upsertThreepid(txn, userId, { medium: "email", address, validated_at: now, added_at: now }));
    await ctx.modules.thirdPartyRules.threepidAdded(userId, "email", address);
    for (const hook of ctx.accountHooks.threepidAdded) await hook(ctx, userId, "email", address);
  }
}
