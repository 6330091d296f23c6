import { endpoint } from "../../http/endpoint.ts";
import { html } from "../../http/reply.ts";

/** What an error M_USER_LIMIT_EXCEEDED refers to where the admin names no page of their own. */
export const mediaUploadLimitExceeded = endpoint({
  servlet: "MediaUploadLimitExceededResource",
  method: "GET",
  path: "/_synapse/client/media_upload_limit_exceeded",
  auth: "none",
  handle: (ctx) => html(200, ctx.templates.render("media_upload_limit_exceeded.html")),
});
