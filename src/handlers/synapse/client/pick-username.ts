import { accountDetailsPage, isUsernameFree, submitAccountDetails } from "../../../services/sso/new-user.ts";
import { endpoint } from "../../http/endpoint.ts";
import { browserPage, formOf, mappingSession, MAX_FORM } from "./browser-answer.ts";
import { SsoError } from "../../../services/sso/answers.ts";
import { MatrixError } from "../../../protocol/errors.ts";

/** Whether a name is free, for whoever is choosing one. */
const checkUsername = endpoint({
  servlet: "AvailabilityCheckResource",
  method: "GET",
  path: "/_synapse/client/pick_username/check",
  auth: "none",
  async handle(ctx, { query, headers }) {
    return { available: await isUsernameFree(ctx, mappingSession(headers), query.requiredString("username")) };
  },
});

/** The page on which a new user chooses a name. */
const accountDetails = endpoint({
  servlet: "AccountDetailsResource",
  method: "GET",
  path: "/_synapse/client/pick_username/account_details",
  auth: "none",
  handle: (ctx, { headers }) => browserPage(ctx, () => accountDetailsPage(ctx, mappingSession(headers))),
});

/** The choice. */
const submitDetails = endpoint({
  servlet: "AccountDetailsResource",
  method: "POST",
  path: "/_synapse/client/pick_username/account_details",
  auth: "none",
  bodyType: "raw",
  maxBody: MAX_FORM,
  handle: (ctx, { headers, body }) =>
    browserPage(ctx, () => {
      const form = formOf(body);
      try {
        return submitAccountDetails(ctx, mappingSession(headers), {
          username: form.requiredString("username"),
          useDisplayName: form.boolean("use_display_name", false),
          useAvatar: form.boolean("use_avatar", false),
          emails: form.strings("use_email"),
        });
      } catch (error) {
        if (error instanceof MatrixError) throw new SsoError("bad_param", error.message, error.status);
        throw error;
      }
    }),
});

export const pickUsernameRoutes = [checkUsername, accountDetails, submitDetails];
