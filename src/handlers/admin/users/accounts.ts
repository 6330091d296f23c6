import { invalidParam, notFound } from "../../../protocol/errors.ts";
import { accountView } from "../../../services/admin/account-view.ts";
import { checkLocalUser, localAccount } from "../../../services/admin/targets.ts";
import { putUser } from "../../../services/admin/user-changes.ts";
import { readUserRecord } from "../../../services/admin/user-record.ts";
import type { Context } from "../../../services/context.ts";
import { getUserByExternalId } from "../../../storage/accounts/external-ids.ts";
import { listUsers as readUsers, searchUsers as findUsers, USER_ORDERS } from "../../../storage/admin/users.ts";
import { getUserOfThreepid } from "../../../storage/threepids/user-threepids.ts";
import { endpoint } from "../../http/endpoint.ts";
import type { Query } from "../../http/query.ts";
import { Reply } from "../../http/reply.ts";
import { nextToken, parseDescending, parsePage } from "../paging.ts";

async function usersPage(ctx: Context, query: Query, deactivated: boolean | undefined): Promise<unknown> {
  const msc3866 = ctx.config.experimental.msc3866.enabled;
  const page = parsePage(query);
  const guests = query.boolean("guests", true);
  if (ctx.config.mas.enabled && guests) throw invalidParam("The guests parameter is not supported when delegating to MAS.");
  const filter = {
    name: query.string("name"),
    userId: query.string("user_id"),
    guests,
    deactivated,
    admins: query.boolean("admins"),
    suspended: query.boolean("suspended"),
    shadowBanned: query.boolean("shadow_banned"),
    approved: msc3866 ? query.boolean("approved", true) : true,
    locked: query.boolean("locked", false),
    notUserTypes: query.strings("not_user_type"),
  };
  const order = { by: query.oneOf("order_by", USER_ORDERS, "name"), descending: parseDescending(query) };
  const { rows, total } = await readUsers(ctx.read, filter, order, page);
  const next = nextToken(page, rows.length, total);
  return {
    users: rows,
    total,
    ...(next === undefined ? {} : { next_token: String(next) }),
  };
}

/** Here `deactivated=true` means: those too. */
export const listUsersV2 = endpoint({
  servlet: "UsersRestServletV2",
  method: "GET",
  path: "/_synapse/admin/v2/users",
  auth: "admin",
  handle: (ctx, { query }) => usersPage(ctx, query, query.boolean("deactivated", false) ? undefined : false),
});

/** Here `deactivated=true` means: only those. */
export const listUsersV3 = endpoint({
  servlet: "UsersRestServletV3",
  method: "GET",
  path: "/_synapse/admin/v3/users",
  auth: "admin",
  handle: (ctx, { query }) => usersPage(ctx, query, query.boolean("deactivated")),
});

export const getUser = endpoint({
  servlet: "UserRestServletV2",
  method: "GET",
  path: "/_synapse/admin/v2/users/:userId",
  auth: "admin",
  handle: async (ctx, { params }) => await accountView(ctx, await localAccount(ctx, params.userId, "Can only look up local users")),
});

/** Makes or changes an account. */
export const putUserRecord = endpoint({
  servlet: "UserRestServletV2",
  method: "PUT",
  path: "/_synapse/admin/v2/users/:userId",
  auth: "admin",
  async handle(ctx, { params, body, requester }) {
    checkLocalUser(ctx, params.userId, "This endpoint can only be used with local users");
    const { isNew, view } = await putUser(ctx, requester, params.userId, readUserRecord(ctx, body));
    return new Reply(isNew ? 201 : 200, view);
  },
});

/** The old search, which shows password hashes too, as in Synapse. */
export const searchUsers = endpoint({
  servlet: "SearchUsersRestServlet",
  method: "GET",
  path: "/_synapse/admin/v1/search_users/:targetUserId",
  auth: "admin",
  async handle(ctx, { params, query }) {
    checkLocalUser(ctx, params.targetUserId, "Can only users a local user");
    return await findUsers(ctx.read, query.requiredString("term"));
  },
});

export const getUserByThreepid = endpoint({
  servlet: "UserByThreePid",
  method: "GET",
  path: "/_synapse/admin/v1/threepid/:medium/users/:address",
  auth: "admin",
  async handle(ctx, { params }) {
    const userId = await getUserOfThreepid(ctx.read, params.medium, params.address);
    if (userId === undefined) throw notFound("User not found");
    return { user_id: userId };
  },
});

export const getUserByExternal = endpoint({
  servlet: "UserByExternalId",
  method: "GET",
  path: "/_synapse/admin/v1/auth_providers/:provider/users/:externalId",
  auth: "admin",
  async handle(ctx, { params }) {
    const userId = await getUserByExternalId(ctx.read, params.provider, params.externalId);
    if (userId === undefined) throw notFound("User not found");
    return { user_id: userId };
  },
});

export const accountRoutes = [listUsersV2, listUsersV3, getUser, putUserRecord, searchUsers, getUserByThreepid, getUserByExternal];
