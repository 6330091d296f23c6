import type * as Ldapts from "ldapts";
import { lazyModule } from "../lib/lazy-module.ts";

const ldapts = lazyModule<typeof Ldapts>("ldapts");

/** How directory servers are reached. */
export interface LdapOptions {
  /** `ldap://` or `ldaps://`; the first one that answers is asked. */
  readonly uris: readonly string[];
  readonly startTls: boolean;
  /** Options of node's TLS: `rejectUnauthorized`, `ca`, ... */
  readonly tls: Readonly<Record<string, unknown>>;
}

/** An entry of the directory; attributes that have no value are absent. */
export interface LdapEntry {
  readonly dn: string;
  readonly attributes: Readonly<Record<string, readonly string[]>>;
}

/** What must hold of entries that are searched for: attributes with these very values, and a filter as the admin wrote it. */
export interface LdapQuery {
  readonly base: string;
  readonly equal: Readonly<Record<string, string>>;
  readonly filter: string | undefined;
  readonly attributes: readonly string[];
}

const TIMEOUT_MS = 10_000;

/** Asks LDAP servers, on a connection for each question. */
export class LdapDirectory {
  constructor(private readonly options: LdapOptions) {}

  /** Whether the directory takes this password for this entry. @throws Error when no server answers */
  async accepts(dn: string, password: string): Promise<boolean> {
    // An empty password is an anonymous bind, which says nothing about the user (RFC 4513, 5.1.2).
    if (password === "") return false;
    return await this.connected(async (client) => await binds(client, dn, password));
  }

  /** Entries below the base, found in the name of `bindDn`; undefined when that may not ask. @throws Error */
  async search(bindDn: string, bindPassword: string, query: LdapQuery): Promise<LdapEntry[] | undefined> {
    return await this.connected(async (client) => {
      if (!(await binds(client, bindDn, bindPassword))) return undefined;
      const { AndFilter, EqualityFilter, FilterParser } = ldapts();
      const filters: Ldapts.Filter[] = Object.entries(query.equal).map(([attribute, value]) => new EqualityFilter({ attribute, value }));
      if (query.filter !== undefined) filters.push(FilterParser.parseString(query.filter));
      const { searchEntries } = await client.search(query.base, { scope: "sub", filter: new AndFilter({ filters }), attributes: [...query.attributes] });
      return searchEntries.map(entryOf);
    });
  }

  /** `rootDomainNamingContext` of an Active Directory as a domain: `DC=example,DC=org` -> `example.org`. @throws Error */
  async rootDomain(bindDn: string, bindPassword: string): Promise<string | undefined> {
    return await this.connected(async (client) => {
      if (!(await binds(client, bindDn, bindPassword))) return undefined;
      const { searchEntries } = await client.search("", { scope: "base", filter: "(objectClass=*)", attributes: ["rootDomainNamingContext"] });
      const context = searchEntries[0] === undefined ? undefined : entryOf(searchEntries[0]).attributes["rootDomainNamingContext"]?.[0];
      const parts = context?.split(",").flatMap((part) => (part.includes("=") ? [part.slice(part.indexOf("=") + 1)] : [])) ?? [];
      return parts.length === 0 ? undefined : parts.join(".");
    });
  }

  private async connected<T>(use: (client: Ldapts.Client) => Promise<T>): Promise<T> {
    let failure: unknown;
    for (const url of this.options.uris) {
      const tls = this.options.tls;
      const client = new (ldapts().Client)({ url, timeout: TIMEOUT_MS, connectTimeout: TIMEOUT_MS, ...(url.startsWith("ldaps:") ? { tlsOptions: tls } : {}) });
      try {
        if (this.options.startTls && !url.startsWith("ldaps:")) await client.startTLS({ host: new URL(url).hostname, ...tls });
        return await use(client);
      } catch (error) {
        failure = error;
        // A server that answers has the last word; one that does not leaves it to the next.
        if (error instanceof ldapts().ResultCodeError) throw error;
      } finally {
        await client.unbind().catch(() => {});
      }
    }
    throw failure;
  }
}

/** A value as it stands in a distinguished name (RFC 4514, 2.4). */
export function escapeDnValue(value: string): string {
  const escaped = value.replace(/[\\,+"<>;=]/g, (char) => `\\${char}`).replaceAll("\0", "\\00");
  return escaped.replace(/^[ #]/, (char) => `\\${char}`).replace(/ $/, "\\ ");
}

async function binds(client: Ldapts.Client, dn: string, password: string): Promise<boolean> {
  try {
    await client.bind(dn, password);
    return true;
  } catch (error) {
    if (error instanceof ldapts().ResultCodeError) return false;
    throw error;
  }
}

function entryOf(entry: Ldapts.Entry): LdapEntry {
  const attributes: Record<string, readonly string[]> = {};
  for (const [name, value] of Object.entries(entry)) {
    if (name === "dn") continue;
    const values = (Array.isArray(value) ? value : [value]).map(String);
    if (values.length > 0) attributes[name] = values;
  }
  return { dn: entry.dn, attributes };
}
