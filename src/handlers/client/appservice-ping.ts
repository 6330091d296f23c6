import { forbidden } from "../../protocol/errors.ts";
import { endpoint } from "../http/endpoint.ts";

/** An application service asks whether this server reaches it (Application Service API, "Pinging"). */
export const appservicePing = endpoint({
  servlet: "AppservicePingRestServlet",
  method: "POST",
  path: "/_matrix/client/(v1|unstable)/appservice/:appserviceId/ping",
  auth: "user",
  emptyBody: false,
  async handle(ctx, { requester, params, body }) {
    const { appserviceId } = requester;
    if (appserviceId === undefined) throw forbidden("Only application services can use the /appservice/ping endpoint");
    if (appserviceId !== params.appserviceId) throw forbidden("Mismatching application service ID in path");
    const durationMs = await ctx.appserviceSender.queries.ping(appserviceId, body.transaction_id ?? null);
    ctx.appserviceSender.retryNow(appserviceId);
    return { duration_ms: durationMs };
  },
});

export const appservicePingRoutes = [appservicePing];
