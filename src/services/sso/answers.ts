import { MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";

/** Where a browser is sent. `cookies` are whole Set-Cookie values. */
export interface BrowserRedirect {
  readonly location: string;
  readonly cookies: readonly string[];
}

/** A page that a browser shows. */
export interface BrowserPage {
  readonly status: number;
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly cookies: readonly string[];
}

export type BrowserAnswer = BrowserRedirect | BrowserPage;

/** Why a login through a provider does not go on: shown to the person, by the template `sso_error.html`. */
export class SsoError extends Error {
  constructor(
    /** For admins and support: "invalid_session". */
    readonly error: string,
    /** For people. */
    readonly description: string | undefined,
    readonly status = 400,
    cause?: unknown,
  ) {
    super(description ?? error, { cause });
    this.name = "SsoError";
  }
}

/** What the provider says of somebody cannot be made into a user. */
export const mappingError = (description: string, cause?: unknown): SsoError => new SsoError("mapping_error", description, 400, cause);

/** The provider is out of order. */
export const providerUnavailable = (cause: unknown): SsoError =>
  new SsoError("provider_unavailable", "This login provider is currently unavailable on this homeserver.", 503, cause);

/** Where the session of somebody who is becoming a user is kept, under Synapse's name. */
export const MAPPING_COOKIE = "username_mapping_session";

/** Set-Cookie for the session of a new user; undefined ends it. Lax: it comes back after the provider's redirect, not with others' forms. */
export function mappingCookie(ctx: Pick<Context, "config">, sessionId: string | undefined): string {
  const secure = ctx.config.server.publicBaseurl.startsWith("https:") ? "; Secure" : "";
  const attributes = `Path=/; HttpOnly; SameSite=Lax${secure}`;
  return sessionId === undefined ? `${MAPPING_COOKIE}=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; ${attributes}` : `${MAPPING_COOKIE}=${sessionId}; ${attributes}`;
}

/** Which interactive authentication a browser has seen the page of. */
const UI_AUTH_COOKIE = "sso_ui_auth";

/** Set-Cookie for a browser that was shown what it is about to confirm; it comes back with the forms of providers, too. */
export function uiAuthCookie(ctx: Pick<Context, "config">, uiAuthSessionId: string): string {
  const sameSite = ctx.config.server.publicBaseurl.startsWith("https:") ? "None; Secure" : "Lax";
  return `${UI_AUTH_COOKIE}=${encodeURIComponent(uiAuthSessionId)}; Max-Age=3600; Path=/; HttpOnly; SameSite=${sameSite}`;
}

/**
 * Whoever confirms an operation has seen what it is: a link straight to the provider, which anybody could send, confirms nothing.
 * @throws SsoError
 */
export function checkUiAuthCookie(cookies: string | undefined, uiAuthSessionId: string): void {
  if (cookieOf(cookies, UI_AUTH_COOKIE) !== encodeURIComponent(uiAuthSessionId))
    throw new SsoError("mismatching_session", "The operation was not begun in this browser, or too long ago. Please try again.");
}

/** The value of a cookie in a request's Cookie header. */
export function cookieOf(header: string | undefined, name: string): string | undefined {
  for (const pair of (header ?? "").split(";")) {
    const at = pair.indexOf("=");
    if (at > 0 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim() || undefined;
  }
  return undefined;
}

/** What all pages consist of. */
const PARTS = ["_sso.html", "sso.css", "sso_footer.html"];

/**
 * Renders one of the pages of single sign-on: the admin's template, or ours. `script` says that the page of ours has a
 * script: it gets `nonce`. Our pages load nothing from elsewhere but pictures; what admins' pages need is theirs to know.
 */
export function page(
  ctx: Pick<Context, "config" | "random" | "templates">,
  template: string,
  values: Readonly<Record<string, unknown>>,
  options: { readonly status?: number; readonly cookies?: readonly string[]; readonly script?: boolean } = {},
): BrowserPage {
  const { templateDir } = ctx.config.sso;
  const nonce = ctx.random.bytes(16).toString("base64");
  const html = ctx.templates.render(template, { ...values, nonce }, templateDir);
  const script = options.script === true ? `script-src 'nonce-${nonce}'; connect-src 'self'; ` : "";
  const policy = [template, ...PARTS].some((name) => ctx.templates.isCustom(name, templateDir))
    ? "frame-ancestors 'none';"
    : `default-src 'none'; style-src 'unsafe-inline'; img-src 'self' https: http:; ${script}base-uri 'none'; frame-ancestors 'none';`;
  return { status: options.status ?? 200, html, headers: { "Content-Security-Policy": policy }, cookies: options.cookies ?? [] };
}

/** Does the work; an `SsoError` becomes the page that tells of it. */
export async function orErrorPage(ctx: Context, work: () => Promise<BrowserAnswer>, cookies: readonly string[] = []): Promise<BrowserAnswer> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SsoError)) throw error;
    const log = ctx.log.named("synapse.handlers.sso");
    if (error.status >= 500) log.error(`A login through a provider failed: ${error.error}`, { error: error.cause ?? error });
    else log.info(`A login through a provider was refused: ${error.error} (${reasonOf(error)})`);
    return page(ctx, "sso_error.html", { error: error.error, error_description: error.description ?? null }, { status: error.status, cookies });
  }
}

function reasonOf({ description, cause }: SsoError): string {
  const reason = cause instanceof Error && !(cause instanceof MatrixError) ? `${description ?? ""}: ${cause.message}` : (description ?? "no reason given");
  return reason.replace(/[\r\n]+/g, " ");
}
