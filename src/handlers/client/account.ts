import { z } from "zod";
import { badJson } from "../../protocol/errors.ts";
import { changePassword } from "../../services/accounts/change-password.ts";
import { deactivateAccount } from "../../services/accounts/deactivate.ts";
import { accountStatuses } from "../../services/accounts/status.ts";
import { requireInteractiveAuth } from "../../services/accounts/uia.ts";
import { getThreepidsOfUser } from "../../storage/threepids/user-threepids.ts";
import { authenticateIfAsked } from "../http/authenticate.ts";
import { endpoint } from "../http/endpoint.ts";

/** Who the token belongs to. */
export const whoami = endpoint({
  servlet: "WhoamiRestServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/account/whoami",
  auth: "guest",
  handle: (_ctx, { requester }) => ({ user_id: requester.userId, is_guest: requester.isGuest, device_id: requester.deviceId }),
});

/** Changes the password: of the token's user, or of whoever owns a verified e-mail address. */
export const password = endpoint({
  servlet: "PasswordRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/account/password",
  auth: "none",
  emptyBody: false,
  when: (config) => !config.mas.enabled,
  async handle(ctx, request) {
    await changePassword(ctx, await authenticateIfAsked(ctx, request), request);
    return {};
  },
});

/** Closes the account. */
export const deactivate = endpoint({
  servlet: "DeactivateAccountRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/account/deactivate",
  auth: "user",
  emptyBody: false,
  when: (config) => !config.mas.enabled,
  async handle(ctx, request) {
    const { body, requester } = request;
    const { erase = false, id_server: idServer } = body;
    if (typeof erase !== "boolean") throw badJson("erase must be true or false");
    if (idServer !== undefined && idServer !== null && typeof idServer !== "string") throw badJson("id_server must be a string");
    if (requester.appserviceId === undefined) await requireInteractiveAuth(ctx, requester, request, { description: "deactivate your account" });
    const unbound = await deactivateAccount(ctx, { userId: requester.userId, erase, idServer: idServer ?? undefined, byAdmin: false });
    return { id_server_unbind_result: unbound ? "success" : "no-support" };
  },
});

/** The user's verified 3PIDs. */
export const getThreepids = endpoint({
  servlet: "ThreepidRestServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/account/3pid",
  auth: "user",
  handle: async (ctx, { requester }) => ({ threepids: await getThreepidsOfUser(ctx.read, requester.userId) }),
});

/** Whether accounts exist and are open (MSC3720). */
export const accountStatus = endpoint({
  servlet: "AccountStatusRestServlet",
  method: "POST",
  path: "/_matrix/client/unstable/org.matrix.msc3720/account_status",
  auth: "user",
  body: z.object({ user_ids: z.array(z.string()) }),
  when: (config) => config.experimental.msc3720Enabled,
  async handle(ctx, { body }) {
    const { statuses, failures } = await accountStatuses(ctx, body.user_ids, { allowRemote: true });
    return { account_statuses: statuses, failures };
  },
});
