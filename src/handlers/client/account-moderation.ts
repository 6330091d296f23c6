import { z } from "zod";
import { forbidden, invalidParam, notFound } from "../../protocol/errors.ts";
import { isLocal } from "../../services/admin/targets.ts";
import { flagUser } from "../../services/admin/user-changes.ts";
import type { Context } from "../../services/context.ts";
import type { User } from "../../storage/accounts/users.ts";
import { endpoint } from "../http/endpoint.ts";

/** Suspending and locking accounts by the routes of the specification (client-server API 1.18, "Server administration", MSC4323), which Synapse lacks. */

/** @throws MatrixError 400 for users of other servers, 403 for admins, 404 for who is not here or closed their account */
async function moderated(ctx: Pick<Context, "accounts" | "config">, userId: string): Promise<User> {
  if (!isLocal(ctx, userId)) throw invalidParam("The user does not belong to this server");
  const user = await ctx.accounts.user(userId);
  if (user === undefined || user.deactivated) throw notFound("User not found");
  if (user.admin) throw forbidden("Admins are not suspended or locked this way");
  return user;
}

const suspension = endpoint({
  servlet: "AccountSuspensionServlet",
  method: "GET",
  path: "/_matrix/client/v1/admin/suspend/:userId",
  auth: "admin",
  handle: async (ctx, { params }) => ({ suspended: (await moderated(ctx, params.userId)).suspended }),
});

const suspend = endpoint({
  servlet: "AccountSuspensionServlet",
  method: "PUT",
  path: "/_matrix/client/v1/admin/suspend/:userId",
  auth: "admin",
  body: z.object({ suspended: z.boolean() }),
  async handle(ctx, { params, body: { suspended } }) {
    await flagUser(ctx, (await moderated(ctx, params.userId)).name, { suspended });
    return { suspended };
  },
});

const lock = endpoint({
  servlet: "AccountLockServlet",
  method: "PUT",
  path: "/_matrix/client/v1/admin/lock/:userId",
  auth: "admin",
  body: z.object({ locked: z.boolean() }),
  async handle(ctx, { params, body: { locked } }) {
    await flagUser(ctx, (await moderated(ctx, params.userId)).name, { locked });
    return { locked };
  },
});

const lockedness = endpoint({
  servlet: "AccountLockServlet",
  method: "GET",
  path: "/_matrix/client/v1/admin/lock/:userId",
  auth: "admin",
  handle: async (ctx, { params }) => ({ locked: (await moderated(ctx, params.userId)).locked }),
});

export const accountModerationRoutes = [suspension, suspend, lockedness, lock];
