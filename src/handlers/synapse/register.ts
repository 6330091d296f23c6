import { MatrixError } from "../../protocol/errors.ts";
import { startSession } from "../../services/accounts/sessions.ts";
import { registerBySharedSecret } from "../../services/accounts/shared-secret.ts";
import { sessionAnswer } from "../client/register.ts";
import { endpoint } from "../http/endpoint.ts";

/** A nonce for registration by shared secret. */
export const getRegistrationNonce = endpoint({
  servlet: "UserRegisterServlet",
  method: "GET",
  path: "/_synapse/admin/v1/register",
  auth: "none",
  when: (config) => !config.mas.enabled,
  handle: (ctx) => ({ nonce: ctx.registrationNonces.create() }),
});

/** Registers a user for whoever knows `registration_shared_secret`. */
export const registerWithSharedSecret = endpoint({
  servlet: "UserRegisterServlet",
  method: "POST",
  path: "/_synapse/admin/v1/register",
  auth: "none",
  emptyBody: false,
  when: (config) => !config.mas.enabled,
  async handle(ctx, { body }) {
    const refresh = body["refresh_token"] ?? false;
    if (typeof refresh !== "boolean") throw new MatrixError(400, "M_UNKNOWN", "refresh_token must be a boolean");
    const userId = await registerBySharedSecret(ctx, body);
    return await sessionAnswer(ctx, userId, body, (request) => startSession(ctx, { ...request, refresh }));
  },
});
