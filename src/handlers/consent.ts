import { MatrixError } from "../protocol/errors.ts";
import { agreeToTerms, showTerms } from "../services/accounts/consent.ts";
import { endpoint } from "./http/endpoint.ts";
import { htmlErrors, PAGE_HEADERS } from "./http/html-errors.ts";
import { Query } from "./http/query.ts";
import { html } from "./http/reply.ts";

const missing = (name: string): MatrixError => new MatrixError(400, "M_MISSING_PARAM", `Missing required string query parameter ${name}`);

/** The terms: to read, or to agree to by a signed link. */
export const showConsent = endpoint({
  servlet: "ConsentResource",
  method: "GET",
  path: "/_matrix/consent",
  auth: "none",
  when: (config) => config.consent.version !== undefined,
  handle: (ctx, { query }) =>
    htmlErrors(ctx, async () => {
      const user = query.string("u", "");
      const mac = query.string("h");
      if (user !== "" && mac === undefined) throw missing("h");
      return html(200, await showTerms(ctx, { user, mac, version: query.string("v") }), PAGE_HEADERS);
    }),
});

/** A user agrees. */
export const giveConsent = endpoint({
  servlet: "ConsentResource",
  method: "POST",
  path: "/_matrix/consent",
  auth: "none",
  bodyType: "raw",
  maxBody: 65_536,
  when: (config) => config.consent.version !== undefined,
  handle: (ctx, { query, body }) =>
    htmlErrors(ctx, async () => {
      const form = new Query((body as unknown as Buffer).toString("utf8"));
      const required = (name: string): string => {
        const value = query.string(name) ?? form.string(name);
        if (value === undefined) throw missing(name);
        return value;
      };
      const [version, user, mac] = [required("v"), required("u"), required("h")];
      return html(200, await agreeToTerms(ctx, { version, user, mac }), PAGE_HEADERS);
    }),
});

export const consentRoutes = [showConsent, giveConsent];
