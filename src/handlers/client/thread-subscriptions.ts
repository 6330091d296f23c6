import type { Config } from "../../config/config.ts";
import { badJson, invalidParam } from "../../protocol/errors.ts";
import { isRoomId } from "../../protocol/ids.ts";
import { isAutomaticSubscription, subscribeToThread, threadSubscriptionChanges, unsubscribeFromThread } from "../../services/push/thread-subscriptions.ts";
import { parseStreamToken } from "../../services/streams/token.ts";
import { endpoint } from "../http/endpoint.ts";

const PATH = "/_matrix/client/unstable/io.element.msc4306/rooms/:roomId/thread/:rootId/subscription";
const when = (config: Config): boolean => config.experimental.msc4306Enabled;
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 512;

function check({ roomId, rootId }: { roomId: string; rootId: string }): void {
  if (!isRoomId(roomId)) throw invalidParam("Invalid room ID");
  if (!rootId.startsWith("$")) throw invalidParam("Invalid event ID");
}

export const getThreadSubscription = endpoint({
  servlet: "ThreadSubscriptionsRestServlet",
  method: "GET",
  path: PATH,
  auth: "user",
  when,
  async handle(ctx, { requester, params }) {
    check(params);
    return { automatic: await isAutomaticSubscription(ctx, requester.userId, params.roomId, params.rootId) };
  },
});

export const putThreadSubscription = endpoint({
  servlet: "ThreadSubscriptionsRestServlet",
  method: "PUT",
  path: PATH,
  auth: "user",
  when,
  async handle(ctx, { requester, params, body }) {
    check(params);
    const cause = body.automatic ?? undefined;
    if (cause !== undefined && (typeof cause !== "string" || !cause.startsWith("$"))) throw badJson("automatic must be an event ID");
    await subscribeToThread(ctx, requester.userId, params.roomId, params.rootId, cause);
    return {};
  },
});

export const deleteThreadSubscription = endpoint({
  servlet: "ThreadSubscriptionsRestServlet",
  method: "DELETE",
  path: PATH,
  auth: "user",
  bodyType: "none",
  when,
  async handle(ctx, { requester, params }) {
    check(params);
    await unsubscribeFromThread(ctx, requester.userId, params.roomId, params.rootId);
    return {};
  },
});

/** MSC4308: pages of changes, newest first, from a token of sliding sync backwards. */
export const getThreadSubscriptions = endpoint({
  servlet: "ThreadSubscriptionsPaginationRestServlet",
  method: "GET",
  path: "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions",
  auth: "user",
  when,
  async handle(ctx, { requester, query }) {
    const limit = Math.min(query.natural("limit", DEFAULT_LIMIT), MAX_LIMIT);
    query.requiredString("dir");
    query.oneOf("dir", ["b"]);
    if (limit <= 0) throw invalidParam("limit must be greater than 0");
    const from = query.string("from");
    const upTo = from === undefined ? ctx.streams.threadSubscriptions.currentToken() : readToken(from, "from");
    const to = query.string("to");
    const since = to === undefined ? 0 : /^ts\d/.test(to) ? readToken(to, "to") : slidingSyncPosition(to);
    const { subscribed, unsubscribed, moreUpTo } = await threadSubscriptionChanges(ctx, requester.userId, since, upTo, limit);
    return {
      ...(Object.keys(subscribed).length > 0 ? { subscribed } : {}),
      ...(Object.keys(unsubscribed).length > 0 ? { unsubscribed } : {}),
      ...(moreUpTo === undefined ? {} : { end: `ts${moreUpTo}` }),
    };
  },
});

function readToken(text: string, name: string): number {
  if (!/^ts\d{1,15}$/.test(text)) throw invalidParam(`\`${name}\` is not a valid token`);
  return Number(text.slice(2));
}

/** `<connection position>/<sync token>` */
function slidingSyncPosition(text: string): number {
  const match = /^\d{1,15}\/(.+)$/.exec(text);
  if (match === null) throw invalidParam("`to` is not a valid token");
  return parseStreamToken(match[1]!).threadSubscriptions;
}

export const threadSubscriptionRoutes = [getThreadSubscription, putThreadSubscription, deleteThreadSubscription, getThreadSubscriptions];
