import { z } from "zod";
import { badJson, invalidParam, notFound } from "../../../protocol/errors.ts";
import { setPassword } from "../../../services/accounts/change-password.ts";
import { deactivateAccount } from "../../../services/accounts/deactivate.ts";
import { hashPassword } from "../../../services/accounts/passwords.ts";
import { createPuppetToken } from "../../../services/accounts/sessions.ts";
import { redactAllOf, redactionStatus } from "../../../services/admin/redact-user.ts";
import { badRequest, checkLocalUser, checkUserId, isLocal, localAccount } from "../../../services/admin/targets.ts";
import { flagUser } from "../../../services/admin/user-changes.ts";
import type { Context } from "../../../services/context.ts";
import { renewAccount } from "../../../storage/accounts/deactivations.ts";
import { deleteRatelimitOverride, getRatelimitOverride, setRatelimitOverride } from "../../../storage/accounts/ratelimit-overrides.ts";
import { allowMasterKeyReplacement } from "../../../storage/devices/keys-cross-signing.ts";
import { ModuleRequest } from "../../../services/modules/web-resources.ts";
import { endpoint } from "../../http/endpoint.ts";
import { asPython, isInteger, isTruthy, noRow, requireKeys } from "../body.ts";

const USERS = "/_synapse/admin/v1/users/:userId";
const MAX_PASSWORD = 512;
const REPLACEMENT_MS = 600_000;

export const deactivate = endpoint({
  servlet: "DeactivateAccountRestServlet",
  method: "POST",
  path: "/_synapse/admin/v1/deactivate/:targetUserId",
  auth: "admin",
  async handle(ctx, { params, body }) {
    const { name: userId } = await localAccount(ctx, params.targetUserId, "Can only deactivate local users");
    const erase = body.erase ?? false;
    if (body.erase === null || typeof erase !== "boolean") throw badJson("Param 'erase' must be a boolean, if given");
    const unbound = await deactivateAccount(ctx, { userId, erase, idServer: undefined, byAdmin: true });
    return { id_server_unbind_result: unbound ? "success" : "no-support" };
  },
});

export const suspend = endpoint({
  servlet: "SuspendAccountRestServlet",
  method: "PUT",
  path: "/_synapse/admin/v1/suspend/:targetUserId",
  auth: "admin",
  body: z.object({ suspend: z.boolean() }),
  async handle(ctx, { params, body }) {
    const { name } = await localAccount(ctx, params.targetUserId, "Can only suspend local users");
    await flagUser(ctx, name, { suspended: body.suspend });
    return { [`user_${name}_suspended`]: body.suspend };
  },
});

const shadowBan = (method: "POST" | "DELETE") =>
  endpoint({
    servlet: "ShadowBanRestServlet",
    method,
    path: `${USERS}/shadow_ban`,
    auth: "admin",
    bodyType: "none",
    async handle(ctx, { params }) {
      if (!isLocal(ctx, params.userId)) throw badRequest("Only local users can be shadow-banned");
      checkUserId(params.userId);
      if (!(await flagUser(ctx, params.userId, { shadowBanned: method === "POST" }))) throw noRow("users");
      return {};
    },
  });

export const resetPassword = endpoint({
  servlet: "ResetPasswordRestServlet",
  method: "POST",
  path: "/_synapse/admin/v1/reset_password/:targetUserId",
  auth: "admin",
  emptyBody: false,
  when: (config) => !config.mas.enabled,
  async handle(ctx, { params, body, requester }) {
    checkUserId(params.targetUserId);
    requireKeys(body, ["new_password"]);
    const { new_password: password, logout_devices: logoutDevices = true } = body;
    if (typeof password !== "string" || password.length > MAX_PASSWORD) throw badRequest("Invalid password");
    const own = params.targetUserId === requester.userId;
    await setPassword(ctx, params.targetUserId, await hashPassword(ctx, password), {
      logoutDevices: isTruthy(logoutDevices),
      except: own ? requester : undefined,
    });
    return {};
  },
});

/** A token with which the admin acts as the user. */
export const loginAs = endpoint({
  servlet: "UserTokenRestServlet",
  method: "POST",
  path: `${USERS}/login`,
  auth: "admin",
  when: (config) => !config.mas.enabled,
  async handle(ctx, { params, body, requester }) {
    if (!isLocal(ctx, params.userId)) throw badRequest("Only local users can be logged in as");
    const { name } = await localAccount(ctx, params.userId, "Only local users can be logged in as");
    const until = body.valid_until_ms ?? null;
    if (until !== null && !isInteger(until)) throw badRequest("'valid_until_ms' parameter must be an int");
    if (name === requester.userId) throw badRequest("Cannot use admin API to login as self");
    return { access_token: await createPuppetToken(ctx, requester.userId, name, until) };
  },
});

export const getAdmin = endpoint({
  servlet: "UserAdminServlet",
  method: "GET",
  path: `${USERS}/admin`,
  auth: "admin",
  when: (config) => !config.mas.enabled,
  async handle(ctx, { params }) {
    checkLocalUser(ctx, params.userId, "Only local users can be admins of this homeserver");
    return { admin: (await ctx.accounts.user(params.userId))?.admin ?? false };
  },
});

export const putAdmin = endpoint({
  servlet: "UserAdminServlet",
  method: "PUT",
  path: `${USERS}/admin`,
  auth: "admin",
  when: (config) => !config.mas.enabled,
  async handle(ctx, { params, body, requester }) {
    checkUserId(params.userId);
    requireKeys(body, ["admin"]);
    checkLocalUser(ctx, params.userId, "Only local users can be admins of this homeserver");
    const admin = isTruthy(body.admin);
    if (params.userId === requester.userId && !admin) throw badRequest("You may not demote yourself.");
    if (!(await flagUser(ctx, params.userId, { admin }))) throw noRow("users");
    return {};
  },
});

async function ratelimited(ctx: Context, userId: string, message: string): Promise<void> {
  if (!isLocal(ctx, userId)) throw badRequest(message);
  if ((await ctx.accounts.user(userId)) === undefined) throw notFound("User not found");
}

export const getRatelimit = endpoint({
  servlet: "RateLimitRestServlet",
  method: "GET",
  path: `${USERS}/override_ratelimit`,
  auth: "admin",
  async handle(ctx, { params }) {
    await ratelimited(ctx, params.userId, "Can only look up local users");
    const override = await getRatelimitOverride(ctx.read, params.userId);
    return override === undefined ? {} : { messages_per_second: override.perSecond ?? 0, burst_count: override.burst ?? 0 };
  },
});

export const setRatelimit = endpoint({
  servlet: "RateLimitRestServlet",
  method: "POST",
  path: `${USERS}/override_ratelimit`,
  auth: "admin",
  async handle(ctx, { params, body }) {
    await ratelimited(ctx, params.userId, "Only local users can be ratelimited");
    const { messages_per_second: perSecond = 0, burst_count: burst = 0 } = body;
    for (const value of [perSecond, burst]) if (!isInteger(value) || value < 0) throw invalidParam(`${asPython(value)} parameter must be a positive int`);
    await ctx.transaction("set_ratelimit", async (txn) => {
      await setRatelimitOverride(txn, params.userId, { perSecond: perSecond as number, burst: burst as number });
      txn.afterCommit(() => ctx.limits.forgetOverride(params.userId));
    });
    return { messages_per_second: perSecond, burst_count: burst };
  },
});

export const deleteRatelimit = endpoint({
  servlet: "RateLimitRestServlet",
  method: "DELETE",
  path: `${USERS}/override_ratelimit`,
  auth: "admin",
  bodyType: "none",
  async handle(ctx, { params }) {
    await ratelimited(ctx, params.userId, "Only local users can be ratelimited");
    await ctx.transaction("delete_ratelimit", async (txn) => {
      await deleteRatelimitOverride(txn, params.userId);
      txn.afterCommit(() => ctx.limits.forgetOverride(params.userId));
    });
    return {};
  },
});

/** Prolongs an account that expires. */
export const renewValidity = endpoint({
  servlet: "AccountValidityRenewServlet",
  method: "POST",
  path: "/_synapse/admin/v1/account_validity/validity",
  auth: "admin",
  emptyBody: false,
  when: (config) => !config.mas.enabled,
  async handle(ctx, { body, method, url, headers, ip, userAgent }) {
    const module = ctx.modules.accountValidity.owner("on_legacy_admin_request");
    if (module !== undefined) {
      const { pathname, searchParams } = new URL(url, "http://localhost");
      const text = Buffer.from(JSON.stringify(body));
      return { expiration_ts: await module.on_legacy_admin_request(new ModuleRequest(method, pathname, searchParams, headers, text, ip, userAgent)) };
    }
    const { user_id: userId, expiration_ts: asked = null, enable_renewal_emails: mails = true } = body;
    if (userId === undefined) throw badRequest("Missing property 'user_id' in the request body");
    if (typeof userId !== "string") throw badRequest("'user_id' must be a string");
    if (asked !== null && !isInteger(asked)) throw badRequest("'expiration_ts' must be an integer");
    const now = ctx.clock.now();
    const { periodMs } = ctx.config.accountValidity;
    if (asked === null && periodMs === undefined) throw badRequest("'expiration_ts' is required: account validity has no period here");
    const expiresAt = asked ?? now + periodMs!;
    await ctx.transaction("set_account_validity_for_user", async (txn) => {
      await renewAccount(txn, userId, { expiresAt, emailSent: !isTruthy(mails), renewalToken: null, now });
      txn.afterCommit(() => ctx.accounts.forgetExpiry(userId));
    });
    return { expiration_ts: expiresAt };
  },
});

/** For ten minutes the user may replace the master key without proving who they are (used by MAS). */
export const allowCrossSigningReplacement = endpoint({
  servlet: "UserReplaceMasterCrossSigningKeyRestServlet",
  method: "POST",
  path: `${USERS}/_allow_cross_signing_replacement_without_uia`,
  auth: "admin",
  bodyType: "none",
  async handle(ctx, { params }) {
    const until = ctx.clock.now() + REPLACEMENT_MS;
    const allowed = await ctx.transaction("allow_master_cross_signing_key_replacement_without_uia", (txn) =>
      allowMasterKeyReplacement(txn, params.userId, until),
    );
    if (!allowed) throw notFound("User has no master cross-signing key");
    return { updatable_without_uia_before_ms: until };
  },
});

const integer = z.int();
export const redactUser = endpoint({
  servlet: "RedactUser",
  method: "POST",
  path: "/_synapse/admin/v1/user/:userId/redact",
  auth: "admin",
  body: z.object({
    rooms: z.array(z.string()),
    reason: z.string().nullish(),
    limit: integer.nullish(),
    use_admin: z.boolean().nullish(),
    before_ts: integer.nullish(),
    after_ts: integer.nullish(),
  }),
  async handle(ctx, { params, body, requester }) {
    checkUserId(params.userId);
    if (body.limit && body.limit <= 0) throw badRequest("If limit is provided it must be a non-negative integer greater than 0.");
    const id = await redactAllOf(ctx, requester, {
      userId: params.userId,
      rooms: body.rooms,
      reason: body.reason ?? undefined,
      limit: body.limit || undefined,
      useAdmin: body.use_admin ?? false,
      before: body.before_ts || undefined,
      after: body.after_ts || undefined,
    });
    return { redact_id: id };
  },
});

export const getRedactStatus = endpoint({
  servlet: "RedactUserStatus",
  method: "GET",
  path: "/_synapse/admin/v1/user/redact_status/:redactId",
  auth: "admin",
  async handle(ctx, { params }) {
    const status = redactionStatus(await ctx.tasks.get(params.redactId));
    if (status === undefined) throw notFound(`redact id '${params.redactId}' not found`);
    return status;
  },
});

export const actionRoutes = [
  deactivate,
  suspend,
  shadowBan("POST"),
  shadowBan("DELETE"),
  resetPassword,
  loginAs,
  getAdmin,
  putAdmin,
  getRatelimit,
  setRatelimit,
  deleteRatelimit,
  renewValidity,
  allowCrossSigningReplacement,
  redactUser,
  getRedactStatus,
];
