import { SsoError } from "../../../services/sso/answers.ts";
import { acceptTerms, newUserConsentPage } from "../../../services/sso/new-user.ts";
import { endpoint } from "../../http/endpoint.ts";
import { browserPage, formOf, mappingSession, MAX_FORM } from "./browser-answer.ts";

const PATH = "/_synapse/client/new_user_consent";

/** The page on which a new user agrees to the terms. */
const newUserConsent = endpoint({
  servlet: "NewUserConsentResource",
  method: "GET",
  path: PATH,
  auth: "none",
  handle: (ctx, { headers }) => browserPage(ctx, () => newUserConsentPage(ctx, mappingSession(headers))),
});

/** The user agrees. */
const submitConsent = endpoint({
  servlet: "NewUserConsentResource",
  method: "POST",
  path: PATH,
  auth: "none",
  bodyType: "raw",
  maxBody: MAX_FORM,
  handle: (ctx, { headers, body }) =>
    browserPage(ctx, () => {
      const session = mappingSession(headers);
      if (session === undefined) throw new SsoError("bad_session", "missing session_id");
      const version = formOf(body).string("accepted_version");
      if (version === undefined) throw new SsoError("bad_param", "Missing string query parameter 'accepted_version'");
      return acceptTerms(ctx, session, version);
    }),
});

export const newUserConsentRoutes = [newUserConsent, submitConsent];
