import { createHmac } from "node:crypto";
import { MatrixError } from "../../protocol/errors.ts";
import { endpoint } from "../http/endpoint.ts";

/** Credentials for the TURN servers: made for the user from the shared secret, else the configured ones (client-server API, "Voice over IP"). */
export const turnServer = endpoint({
  servlet: "VoipRestServlet",
  method: "GET",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/voip/turnServer",
  auth: "guest",
  handle(ctx, { requester }) {
    const { turnUris, turnSharedSecret, turnUsername, turnPassword, turnUserLifetimeMs, turnAllowGuests } = ctx.config.voip;
    if (requester.isGuest && !turnAllowGuests) throw new MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guest access not allowed");
    if (turnUris.length === 0 || !turnUserLifetimeMs) return {};
    const answer = (username: string, password: string): Record<string, unknown> => ({
      username,
      password,
      ttl: Math.floor(turnUserLifetimeMs / 1000),
      uris: turnUris,
    });
    if (turnSharedSecret) {
      const username = `${Math.floor((ctx.clock.now() + turnUserLifetimeMs) / 1000)}:${requester.userId}`;
      return answer(username, createHmac("sha1", turnSharedSecret).update(username).digest("base64"));
    }
    return turnUsername && turnPassword ? answer(turnUsername, turnPassword) : {};
  },
});

export const voipRoutes = [turnServer];
