import { MatrixError } from "../protocol/errors.ts";
import type { Context } from "../services/context.ts";
import { asLocation } from "../services/threepid/next-link.ts";
import { checkClientSecret, submitToken } from "../services/threepid/validation.ts";
import { noteRefusal } from "./http/errors.ts";
import { PAGE_HEADERS } from "./http/html-errors.ts";
import { html, type RawReply, redirect, type Reply } from "./http/reply.ts";

/** What a person came back with from a mail. */
export interface EmailedLink {
  readonly sid: string;
  readonly clientSecret: string;
  readonly token: string;
}

/** @param required gives a parameter of the link @throws MatrixError 400 where one is missing or malformed */
export function readEmailedLink(required: (name: string) => string): EmailedLink {
  const link = { sid: required("sid"), token: required("token"), clientSecret: required("client_secret") };
  checkClientSecret(link.clientSecret);
  return link;
}

/** Proves an address by the link that was sent there: on to where the client wanted, else a page that says how it went. */
export async function submitEmailedLink(ctx: Context, link: EmailedLink, pages: { success: string; failure: string }): Promise<RawReply | Reply> {
  const folder = ctx.config.email.templateDir;
  try {
    const next = await submitToken(ctx, { medium: "email", ...link });
    if (next !== undefined) return redirect(asLocation(next), PAGE_HEADERS);
    return html(200, ctx.templates.render(pages.success, {}, folder), PAGE_HEADERS);
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    noteRefusal(ctx, error);
    return html(error.status, ctx.templates.render(pages.failure, { failure_reason: error.message }, folder), PAGE_HEADERS);
  }
}
