import { timingSafeEqual } from "node:crypto";
import { MatrixError, notFound } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";
import { consentMac } from "./consent-links.ts";
import { giveConsent } from "./register.ts";

/** The page with the terms (`/_matrix/consent`): for everybody, or by a signed link for a user who can agree there. */
export interface ConsentRequest {
  /** User id or localpart, as the link has it; "": nobody in particular. */
  readonly user: string;
  /** The link's signature. */
  readonly mac: string | undefined;
  /** undefined: the present one. */
  readonly version: string | undefined;
}

/** The page of a version of the terms. @throws MatrixError 400, 403 for a forged link, 404 for an unknown version or user */
export async function showTerms(ctx: Context, request: ConsentRequest): Promise<string> {
  const { user, mac } = request;
  const version = request.version ?? ctx.config.consent.version!;
  const isPublic = user === "";
  const hasConsented = isPublic ? false : (await linkedAccount(ctx, user, mac)).consentVersion === version;
  return page(ctx, version, { user, userhmac: isPublic ? null : mac, version, has_consented: hasConsented, public_version: isPublic });
}

/** The user agrees to a version of the terms. Returns a page that says so. @throws MatrixError 400, 403, 404 */
export async function agreeToTerms(ctx: Context, request: ConsentRequest & { readonly version: string }): Promise<string> {
  const { userId } = await linkedAccount(ctx, request.user, request.mac);
  page(ctx, request.version, { user: request.user, userhmac: request.mac, version: request.version, has_consented: true, public_version: false });
  await giveConsent(ctx, userId, request.version);
  return ctx.templates.renderOwn(ctx.config.consent.templateDir!, "en/success.html") ?? ctx.templates.render("consent_success.html");
}

/** Pages lie in a folder of the language; the version is the name of a file there, and nothing but a name. */
function page(ctx: Context, version: string, values: Readonly<Record<string, unknown>>): string {
  const isName = /^[^/\\\0]{1,200}$/.test(version) && !version.startsWith(".");
  const text = isName ? ctx.templates.renderOwn(ctx.config.consent.templateDir!, `en/${version}.html`, values) : undefined;
  if (text === undefined) throw notFound("Unknown policy version");
  return text;
}

async function linkedAccount(ctx: Context, user: string, mac: string | undefined): Promise<{ userId: string; consentVersion: string | null }> {
  const wanted = Buffer.from(consentMac(ctx, user));
  const given = Buffer.from(mac ?? "");
  if (wanted.length !== given.length || !timingSafeEqual(wanted, given)) throw new MatrixError(403, "M_UNKNOWN", "HMAC incorrect");
  const userId = user.startsWith("@") ? user : `@${user}:${ctx.config.server.serverName}`;
  const account = userId.includes("\0") ? undefined : await ctx.accounts.user(userId);
  if (account === undefined) throw notFound("Unknown user");
  return { userId, consentVersion: account.consentVersion };
}
