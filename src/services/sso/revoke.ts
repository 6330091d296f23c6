import { spendLoginTokensOfSession } from "../../storage/accounts/login-tokens.ts";
import { getDevicesOfAuthSession } from "../../storage/devices/devices.ts";
import type { Context } from "../context.ts";
import { deleteDevices } from "../devices/devices.ts";

/**
 * A session at a provider has ended: what began with it ends, too (choosing a name, login tokens, devices). Devices of others than
 * `expectedUserId`, where it is known, stay.
 */
export async function revokeProviderSession(ctx: Context, providerId: string, sessionId: string, expectedUserId: string | undefined): Promise<void> {
  ctx.sso.sessions.revoke(providerId, sessionId);
  await ctx.transaction("invalidate_login_tokens_by_session_id", (txn) => spendLoginTokensOfSession(txn, providerId, sessionId, ctx.clock.now()));
  const log = ctx.log.named("synapse.handlers.sso");
  const byUser = new Map<string, string[]>();
  for (const { userId, deviceId } of await getDevicesOfAuthSession(ctx.read, providerId, sessionId)) {
    byUser.set(userId, [...(byUser.get(userId) ?? []), deviceId]);
  }
  for (const [userId, deviceIds] of byUser) {
    if (expectedUserId !== undefined && userId !== expectedUserId) {
      log.error(
        `${providerId} logs ${expectedUserId} out, but the session is one of ${userId}. If users are mapped by another claim than sub, set backchannel_logout_ignore_sub`,
      );
      continue;
    }
    log.info(`${providerId} logs ${userId} out of ${deviceIds.join(", ")}`);
    await deleteDevices(ctx, userId, deviceIds);
  }
}
