import { invalidParam } from "../../protocol/errors.ts";

/** Addresses that make a browser run or read something here rather than go to a client. */
const NO_CLIENT = /^(?:javascript|data|vbscript|blob|file|about|view-source):/i;

/**
 * Checks where a client wants its user back. @throws MatrixError 400 for what is no address, or one that would run as a script in our
 * own pages
 */
export function checkClientRedirect(url: string): void {
  // Browsers pass over these characters within an address, and before it.
  const seen = url.replace(/[\t\n\r]/g, "").replace(/^[\0-\x20]+/, "");
  if (NO_CLIENT.test(seen) || /[\0\r\n]/.test(url)) throw invalidParam("Invalid redirectUrl");
}

/**
 * Whether the admin trusts this client (`sso.client_whitelist`): a prefix of the address. An entry that ends with the host's name stands
 * for that host alone, not for others that begin with it.
 */
export function isTrustedClient(url: string, whitelist: readonly string[]): boolean {
  return whitelist.some((entry) => {
    if (!url.startsWith(entry)) return false;
    const hostOnly = /^[a-z][a-z0-9+.-]*:\/\/[^/?#\\]+$/i.test(entry);
    return !hostOnly || url.length === entry.length || "/?#".includes(url[entry.length]!);
  });
}

/** The client's address with the login token at the end of its query. */
export function withLoginToken(url: string, token: string): string {
  const hash = url.indexOf("#");
  const [beforeHash, fragment] = hash < 0 ? [url, ""] : [url.slice(0, hash), url.slice(hash)];
  const mark = beforeHash.indexOf("?");
  const [base, query] = mark < 0 ? [beforeHash, ""] : [beforeHash.slice(0, mark), beforeHash.slice(mark + 1)];
  const params = new URLSearchParams(query);
  params.append("loginToken", token);
  return `${base}?${params.toString()}${fragment}`;
}

/** The client's address for people: the host of a web client, what stands before the query of others. */
export function shownClient(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  // As the browser will understand it: what looks like a host before an @ is none.
  if (parsed?.protocol === "https:") return parsed.host;
  if (parsed?.protocol === "http:") return `http://${parsed.host}${parsed.pathname}`;
  return url.replace(/[?#].*$/s, "");
}
