import { MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import { deletePusher, listPushers, setPusher } from "../../services/push/pushers.ts";
import { endpoint } from "../http/endpoint.ts";
import type { Query } from "../http/query.ts";
import { html, type RawReply } from "../http/reply.ts";

/** MSC3881, for everybody or for this user. */
const hasDeviceToggle = (ctx: Pick<Context, "features">, userId: string): Promise<boolean> => ctx.features.has(userId, "msc3881");

export const getPushers = endpoint({
  servlet: "PushersRestServlet",
  method: "GET",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/pushers",
  auth: "user",
  async handle(ctx, { requester }) {
    return { pushers: await listPushers(ctx, requester.userId, await hasDeviceToggle(ctx, requester.userId)) };
  },
});

export const postPusher = endpoint({
  servlet: "PushersSetRestServlet",
  method: "POST",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/pushers/set",
  auth: "user",
  emptyBody: false,
  lossless: true,
  async handle(ctx, { requester, body }) {
    await setPusher(ctx, requester, body, await hasDeviceToggle(ctx, requester.userId));
    return {};
  },
});

/** The link in notification mails: its token is good for removing that one pusher. */
export const removePusherLink = endpoint({
  servlet: "LegacyPushersRemoveRestServlet",
  method: "GET",
  path: "/_matrix/client/unstable/pushers/remove",
  auth: "none",
  handle: (ctx, { query }) => unsubscribe(ctx, query),
});

/** Removes the pusher that the query names. @throws MatrixError 401 M_UNKNOWN_TOKEN */
export async function unsubscribe(ctx: Context, query: Query): Promise<RawReply> {
  const token = query.requiredString("access_token");
  const [appId, pushkey] = [query.requiredString("app_id"), query.requiredString("pushkey")];
  const userId = ctx.macaroons.pusherOwnerOf(token, appId, pushkey);
  if (userId === undefined) throw new MatrixError(401, "M_UNKNOWN_TOKEN", "Invalid token");
  await deletePusher(ctx, userId, appId, pushkey);
  return html(200, ctx.templates.render("unsubscribed.html"));
}

export const pusherRoutes = [getPushers, postPusher, removePusherLink];
