import { MatrixError } from "../../protocol/errors.ts";
import { listNotifications } from "../../services/push/notifications.ts";
import { endpoint } from "../http/endpoint.ts";

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;

export const getNotifications = endpoint({
  servlet: "NotificationsServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/notifications",
  auth: "user",
  async handle(ctx, { requester, query }) {
    const from = query.string("from");
    if (from !== undefined && !/^-?\d{1,15}$/.test(from)) throw new MatrixError(400, "M_UNKNOWN", 'Query parameter "from" contains unrecognised token');
    const limit = Math.max(0, Math.min(query.integer("limit", DEFAULT_LIMIT), MAX_LIMIT));
    return await listNotifications(ctx, requester, from === undefined ? undefined : Number(from), limit, query.string("only") === "highlight");
  },
});

export const notificationRoutes = [getNotifications];
