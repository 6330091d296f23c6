import { invalidParam } from "../../protocol/errors.ts";
import type { Context } from "../context.ts";

const MAX_LENGTH = 2000;
/** Schemes that a browser would run or read from its own machine. Applications have schemes of their own, which are fine. */
const REFUSED = new Set(["file:", "javascript:", "data:", "vbscript:", "blob:", "about:", "view-source:", "filesystem:"]);

/**
 * Whether a browser may be sent there after an address was verified: one URL, of a host in `next_link_domain_whitelist` where there is
 * one. The host is the one that a browser would go to.
 */
export function isNextLinkAllowed(ctx: Pick<Context, "config">, link: string): boolean {
  if (link.length > MAX_LENGTH || /[\s\p{Cc}]/u.test(link) || !URL.canParse(link)) return false;
  const { protocol, hostname } = new URL(link);
  if (REFUSED.has(protocol)) return false;
  const hosts = ctx.config.server.nextLinkDomainWhitelist;
  return hosts === undefined || ((protocol === "https:" || protocol === "http:") && hosts.includes(hostname));
}

/** @throws MatrixError 400 M_INVALID_PARAM */
export function checkNextLink(ctx: Pick<Context, "config">, link: string | undefined): void {
  if (link !== undefined && link !== "" && !isNextLinkAllowed(ctx, link)) throw invalidParam("'next_link' domain not included in whitelist, or not http(s)");
}

/** The link with the id of the session, which the client does not know yet when the mail is written. */
export function withSession(link: string, sessionId: string): string {
  return `${link}${link.includes("?") ? "&" : "?"}sid=${encodeURIComponent(sessionId)}`;
}

/** As the value of a Location header. */
export const asLocation = (link: string): string => link.replace(/[^\x21-\x7e]+/g, (text) => encodeURIComponent(text));
