import { forbidden } from "../../protocol/errors.ts";
import { createOpenIdToken } from "../../services/accounts/openid.ts";
import { endpoint } from "../http/endpoint.ts";

/** A token by which a third party learns, from this server, who the user is. */
export const requestOpenIdToken = endpoint({
  servlet: "IdTokenServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/user/:userId/openid/request_token",
  auth: "user",
  emptyBody: false,
  async handle(ctx, { params, requester }) {
    if (params.userId !== requester.userId) throw forbidden("Cannot request tokens for other users.");
    const { token, expiresInMs } = await createOpenIdToken(ctx, requester.userId);
    return { access_token: token, token_type: "Bearer", matrix_server_name: ctx.config.server.serverName, expires_in: expiresInMs / 1000 };
  },
});
