import type { Config } from "../../../config/config.ts";

type Entry = Config["media"]["urlPreview"]["urlBlocklist"][number];
type Attribute = keyof Entry;

/** The addresses that `url_preview_url_blacklist` rules out: one entry matches with all its attributes. */
export class UrlBlocklist {
  private readonly entries: readonly (readonly (readonly [Attribute, RegExp])[])[];

  constructor(entries: readonly Entry[]) {
    this.entries = entries.map((entry) =>
      (Object.entries(entry) as [Attribute, string][]).map(([attribute, pattern]) => [attribute, compile(pattern)] as const),
    );
  }

  /** True for an address that must not be fetched. */
  blocks(url: string): boolean {
    if (this.entries.length === 0 || !URL.canParse(url)) return false;
    const parts = partsOf(url);
    return this.entries.some((entry) => entry.every(([attribute, pattern]) => parts[attribute] !== undefined && pattern.test(parts[attribute])));
  }
}

/** The parts of an address by Python's names, of the address as it will be fetched. */
function partsOf(address: string): Partial<Record<Attribute, string>> {
  const url = new URL(address);
  const { username, password } = url;
  const port = url.port || /^[^/?#]*\/\/[^/?#]*:(\d+)(?:[/?#]|$)/.exec(address)?.[1];
  const user = username === "" ? "" : `${username}${password === "" ? "" : `:${password}`}@`;
  return {
    scheme: url.protocol.slice(0, -1),
    netloc: user + url.host,
    path: url.pathname,
    query: url.search.slice(1),
    fragment: url.hash.slice(1),
    ...(username === "" ? {} : { username }),
    ...(password === "" ? {} : { password }),
    ...(url.hostname === "" ? {} : { hostname: url.hostname.replace(/^\[|\]$/g, "") }),
    ...(port === undefined ? {} : { port }),
  };
}

/** A regular expression that begins with ^, else a shell glob (`*`, `?`, `[a-z]`, `[!a-z]`). */
function compile(pattern: string): RegExp {
  if (pattern.startsWith("^")) {
    try {
      return new RegExp(pattern, "u");
    } catch {
      return new RegExp(pattern);
    }
  }
  const source = pattern.replace(/\[(!?)(\]?[^\]]*)\]|[*?]|[\\^$.|+(){}[\]]/g, (part, not: string | undefined, set: string | undefined) => {
    if (set !== undefined) return `[${not === "!" ? "^" : ""}${set.replace(/[\\\]^[]/g, "\\$&")}]`;
    return part === "*" ? ".*" : part === "?" ? "." : `\\${part}`;
  });
  return new RegExp(`^(?:${source})$`, "s");
}
