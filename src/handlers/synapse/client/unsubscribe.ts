import { endpoint } from "../../http/endpoint.ts";
import { unsubscribe } from "../../client/pusher.ts";

/** The link of notification mails: opened by a person (GET), or posted by a mail program (RFC 8058). */
export const unsubscribePage = endpoint({
  servlet: "UnsubscribeResource",
  method: ["GET", "POST"],
  path: "/_synapse/client/unsubscribe",
  auth: "none",
  bodyType: "none",
  handle: (ctx, { query }) => unsubscribe(ctx, query),
});

export const unsubscribeRoutes = [unsubscribePage];
