import { type LookupAddress, lookup as dnsLookup, type LookupOptions } from "node:dns";
import { BlockList, isIP } from "node:net";

/** Thrown when an address must not be connected to. */
export class BlockedAddress extends Error {
  constructor(host: string) {
    super(`${host} is not a permitted address`);
    this.name = "BlockedAddress";
  }
}

/** As `dns.lookup` with `all`. */
export type Resolve = (
  host: string,
  options: LookupOptions & { all: true },
  done: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/**
 * Which addresses may be connected to: not those of the blocked ranges, unless an allowed range holds them. Names are resolved here and
 * only permitted addresses are handed on, so the address that was checked is the one that is connected to.
 */
export class IpFilter {
  private readonly blocked = new BlockList();
  private readonly allowed = new BlockList();

  /** @param blocked, allowed CIDR ranges (`a.b.c.d/n`, `x::/n`); `resolve` finds the addresses of names */
  constructor(
    blocked: readonly string[],
    allowed: readonly string[] = [],
    private readonly resolve: Resolve = dnsLookup,
  ) {
    for (const [list, ranges] of [
      [this.blocked, blocked],
      [this.allowed, allowed],
    ] as const) {
      for (const range of ranges) {
        const [address, bits] = range.split("/") as [string, string];
        list.addSubnet(address, Number(bits), isIP(address) === 4 ? "ipv4" : "ipv6");
      }
    }
  }

  /** True for an IP literal that may be connected to. */
  permits(address: string): boolean {
    const family = isIP(address);
    if (family === 0) return false;
    const kind = family === 4 ? "ipv4" : "ipv6";
    return this.allowed.check(address, kind) || !this.blocked.check(address, kind);
  }

  /** As `dns.lookup`, with permitted addresses only: for the `lookup` option of sockets. */
  readonly lookup = (
    host: string,
    options: LookupOptions,
    done: (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void,
  ): void => {
    this.resolve(host, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return done(error, []);
      const permitted = addresses.filter(({ address }) => this.permits(address));
      if (permitted.length === 0) return done(new BlockedAddress(host) as NodeJS.ErrnoException, []);
      if (options.all) done(null, permitted);
      else done(null, permitted[0]!.address, permitted[0]!.family);
    });
  };
}
