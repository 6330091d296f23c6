import { promises as dns } from "node:dns";
import { lruCache } from "../../lib/lru-cache.ts";
import { isJsonObject } from "../../lib/json.ts";
import { parseServerName } from "../../protocol/ids.ts";

/** Where a server is reached (server-server API, "Resolving server names"). */
export interface Target {
  /** A name or an IP literal (IPv6 without brackets) to connect to. */
  readonly host: string;
  readonly port: number;
  /** `Host` header. */
  readonly hostHeader: string;
  /** The name that the certificate must be valid for; also the SNI where it is no IP literal. */
  readonly certificateName: string;
}

/** A GET of a well-known file: status, headers that matter, at most `maxBytes` of body; undefined when there is no answer. */
export type FetchWellKnown = (
  url: string,
) => Promise<{ status: number; body: string; cacheControl: string | undefined; expires: string | undefined } | undefined>;

export type ResolveSrv = (name: string) => Promise<{ name: string; port: number; priority: number; weight: number }[]>;

const HOUR_MS = 3_600_000;
const DEFAULT_LIFETIME_MS = 24 * HOUR_MS;
const LONGEST_LIFETIME_MS = 48 * HOUR_MS;
const SHORTEST_LIFETIME_MS = HOUR_MS / 12;
/** A server without well-known file is asked again after this long; one whose file was there before sooner. */
const FAILURE_LIFETIME_MS = HOUR_MS;
const FEDERATION_PORT = 8448;

/** Finds where servers are reached, and remembers what their well-known files said. */
export class ServerDiscovery {
  private readonly delegations = lruCache<string, { name: string | undefined; until: number }>(10_000);

  constructor(
    private readonly fetchWellKnown: FetchWellKnown,
    private readonly now: () => number,
    private readonly resolveSrv: ResolveSrv = (name) => dns.resolveSrv(name),
  ) {}

  /** Targets to try, in order. Empty when the name is not a server name. */
  async resolve(serverName: string): Promise<Target[]> {
    const address = parseServerName(serverName);
    if (address === undefined) return [];
    // 1. IP literal; 2. explicit port: no well-known file, no SRV record.
    if (isLiteral(address.host) || address.port !== undefined) return [direct(serverName, address)];
    // 3. The well-known file.
    const delegated = await this.delegation(serverName);
    if (delegated !== undefined) {
      const other = parseServerName(delegated);
      if (other !== undefined) {
        if (isLiteral(other.host) || other.port !== undefined) return [direct(delegated, other)];
        return await this.byService(delegated, other.host);
      }
    }
    // 4. to 6. SRV records, else port 8448.
    return await this.byService(serverName, address.host);
  }

  /** Forgets what is known of a server (it could not be reached there). */
  forget(serverName: string): void {
    this.delegations.delete(serverName);
  }

  private async byService(serverName: string, host: string): Promise<Target[]> {
    for (const service of ["_matrix-fed._tcp", "_matrix._tcp"]) {
      const records = await this.resolveSrv(`${service}.${host}`).catch(() => []);
      if (records.length === 0) continue;
      const ordered = [...records].sort((a, b) => a.priority - b.priority || b.weight - a.weight);
      return ordered.map((record) => ({ host: record.name.replace(/\.$/, ""), port: record.port, hostHeader: serverName, certificateName: host }));
    }
    return [{ host, port: FEDERATION_PORT, hostHeader: serverName, certificateName: host }];
  }

  private async delegation(serverName: string): Promise<string | undefined> {
    const known = this.delegations.get(serverName);
    if (known !== undefined && known.until > this.now()) return known.name;
    const answer = await this.fetchWellKnown(`https://${serverName}/.well-known/matrix/server`).catch(() => undefined);
    const name = answer?.status === 200 ? delegatedName(answer.body) : undefined;
    if (name === undefined) {
      // A delegation that was good a moment ago outlives a short failure.
      const kept = known?.name;
      this.delegations.set(serverName, { name: kept, until: this.now() + (kept === undefined ? FAILURE_LIFETIME_MS : SHORTEST_LIFETIME_MS) });
      return kept;
    }
    this.delegations.set(serverName, { name, until: this.now() + lifetime(answer!, this.now()) });
    return name;
  }
}

function direct(serverName: string, address: { host: string; port: number | undefined }): Target {
  return { host: address.host, port: address.port ?? FEDERATION_PORT, hostHeader: serverName, certificateName: address.host };
}

const isLiteral = (host: string): boolean => host.includes(":") || /^\d{1,3}(\.\d{1,3}){3}$/.test(host);

function delegatedName(body: string): string | undefined {
  try {
    const json: unknown = JSON.parse(body);
    const name = isJsonObject(json) ? json["m.server"] : undefined;
    return typeof name === "string" && parseServerName(name) !== undefined ? name : undefined;
  } catch {
    return undefined;
  }
}

function lifetime(answer: { cacheControl: string | undefined; expires: string | undefined }, now: number): number {
  const maxAge = /(?:^|,)\s*max-age\s*=\s*"?(\d{1,9})/i.exec(answer.cacheControl ?? "")?.[1];
  const expires = answer.expires === undefined ? Number.NaN : Date.parse(answer.expires);
  const wanted = /\bno-(?:cache|store)\b/i.test(answer.cacheControl ?? "")
    ? 0
    : maxAge !== undefined
      ? Number(maxAge) * 1000
      : Number.isNaN(expires)
        ? DEFAULT_LIFETIME_MS
        : expires - now;
  return Math.min(Math.max(wanted, SHORTEST_LIFETIME_MS), LONGEST_LIFETIME_MS);
}
