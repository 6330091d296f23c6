import { endpoint } from "../http/endpoint.ts";

/** Who the token belongs to. */
export const whoami = endpoint({
  servlet: "WhoamiRestServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/account/whoami",
  auth: "guest",
  handle: (_ctx, { requester }) => ({ user_id: requester.userId, is_guest: requester.isGuest, device_id: requester.deviceId }),
});
