import { promises as dns } from "node:dns";
import { lruCache } from "../../lib/lru-cache.ts";
import { isJsonObject } from "../../lib/json.ts";
import { parseServerName, type ServerAddress } from "../../protocol/ids.ts";

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
/** What SRV records say is looked up again after this long; also when nobody was reached there. */
const SERVICE_LIFETIME_MS = 300_000;
const FEDERATION_PORT = 8448;

interface Found {
  readonly targets: readonly Target[];
  /** Milliseconds. */
  readonly until: number;
}

/** Finds where servers are reached, and remembers it and what their well-known files said. */
export class ServerDiscovery {
  private readonly found = lruCache<string, Found>(10_000);
  private readonly delegations = lruCache<string, { name: string | undefined; until: number }>(10_000);

  constructor(
    private readonly fetchWellKnown: FetchWellKnown,
    private readonly now: () => number,
    private readonly resolveSrv: ResolveSrv = (name) => dns.resolveSrv(name),
  ) {}

  /** Targets to try, in order; at once where they are known. Empty when the name is not a server name. */
  resolve(serverName: string): readonly Target[] | Promise<readonly Target[]> {
    const known = this.found.get(serverName);
    return known !== undefined && known.until > this.now() ? known.targets : this.find(serverName);
  }

  /** Nobody was reached there: what is found by SRV records is looked up anew. */
  forget(serverName: string): void {
    this.found.delete(serverName);
  }

  private async find(serverName: string): Promise<readonly Target[]> {
    const address = parseServerName(serverName);
    if (address === undefined) return [];
    const found = await this.findOf(serverName, address);
    this.found.set(serverName, found);
    return found.targets;
  }

  private async findOf(serverName: string, address: ServerAddress): Promise<Found> {
    // 1. IP literal; 2. explicit port: no well-known file, no SRV record.
    if (isLiteral(address.host) || address.port !== undefined) return { targets: [direct(serverName, address)], until: Infinity };
    // 3. The well-known file.
    const { name, until } = await this.delegation(serverName);
    const other = name === undefined ? undefined : parseServerName(name);
    if (other !== undefined && (isLiteral(other.host) || other.port !== undefined)) return { targets: [direct(name!, other)], until };
    // 4. to 6. SRV records, else port 8448.
    const byService = await (other === undefined ? this.byService(serverName, address.host) : this.byService(name!, other.host));
    return { targets: byService.targets, until: Math.min(until, byService.until) };
  }

  private async byService(serverName: string, host: string): Promise<Found> {
    let until = this.now() + SERVICE_LIFETIME_MS;
    for (const service of ["_matrix-fed._tcp", "_matrix._tcp"]) {
      const records = await this.resolveSrv(`${service}.${host}`).catch((error: { code?: unknown }) => {
        // Nobody knows whether there are any.
        if (error.code !== "ENOTFOUND" && error.code !== "ENODATA") until = 0;
        return [];
      });
      if (records.length === 0) continue;
      const ordered = [...records].sort((a, b) => a.priority - b.priority || b.weight - a.weight);
      return {
        targets: ordered.map((record) => ({ host: record.name.replace(/\.$/, ""), port: record.port, hostHeader: serverName, certificateName: host })),
        until,
      };
    }
    return { targets: [{ host, port: FEDERATION_PORT, hostHeader: serverName, certificateName: host }], until };
  }

  private async delegation(serverName: string): Promise<{ name: string | undefined; until: number }> {
    const known = this.delegations.get(serverName);
    if (known !== undefined && known.until > this.now()) return known;
    const answer = await this.fetchWellKnown(`https://${serverName}/.well-known/matrix/server`).catch(() => undefined);
    const name = answer?.status === 200 ? delegatedName(answer.body) : undefined;
    // A delegation that was good a moment ago outlives a short failure.
    const ms = name !== undefined ? lifetime(answer!, this.now()) : known?.name === undefined ? FAILURE_LIFETIME_MS : SHORTEST_LIFETIME_MS;
    const delegation = { name: name ?? known?.name, until: this.now() + ms };
    this.delegations.set(serverName, delegation);
    return delegation;
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
