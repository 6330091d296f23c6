import { cookieOf, MAPPING_COOKIE, type BrowserAnswer, orErrorPage } from "../../../services/sso/answers.ts";
import type { Context } from "../../../services/context.ts";
import { htmlErrors, PAGE_HEADERS } from "../../http/html-errors.ts";
import { Query } from "../../http/query.ts";
import { html, type RawReply, redirect, type Reply } from "../../http/reply.ts";

/** Forms of these pages are small; responses of identity providers are not. */
export const MAX_FORM = 65_536;
export const MAX_PROVIDER_FORM = 2 * 1024 * 1024;

/** A page or a redirect as an HTTP answer; tokens in addresses are nobody else's business. */
export function browserReply(answer: BrowserAnswer): RawReply | Reply {
  const cookies: Record<string, string[]> = answer.cookies.length === 0 ? {} : { "Set-Cookie": [...answer.cookies] };
  if ("location" in answer) return redirect(answer.location, { ...PAGE_HEADERS, ...cookies });
  return html(answer.status, answer.html, { ...PAGE_HEADERS, ...answer.headers, ...cookies });
}

/** Runs the handler of a page of single sign-on: all its errors are pages. */
export const browserPage = (ctx: Context, work: () => BrowserAnswer | Promise<BrowserAnswer>): Promise<RawReply | Reply> =>
  htmlErrors(ctx, async () => browserReply(await orErrorPage(ctx, async () => await work())));

/** The session of a new user, by the browser's cookie. */
export const mappingSession = (headers: { readonly cookie?: string | undefined }): string | undefined => cookieOf(headers.cookie, MAPPING_COOKIE);

/** A form as it was posted. */
export const formOf = (body: unknown): Query => new Query((body as Buffer).toString("utf8"));
