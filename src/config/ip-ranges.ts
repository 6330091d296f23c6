import ipaddr from "ipaddr.js";
import { ConfigError } from "./errors.ts";

/** Addresses that are private, local or otherwise no target on the public internet: the default of `ip_range_blacklist`. */
export const DEFAULT_BLOCKED_RANGES: readonly string[] = [
  "127.0.0.0/8",
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "192.0.0.0/24",
  "169.254.0.0/16",
  "192.88.99.0/24",
  "198.18.0.0/15",
  "192.0.2.0/24",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "::1/128",
  "fe80::/10",
  "fc00::/7",
  "2001:db8::/32",
  "ff00::/8",
  "fec0::/10",
];

/** The unspecified addresses reach the own machine; they are blocked whatever the configuration says. */
const ALWAYS_BLOCKED = ["0.0.0.0", "::"];

/**
 * The ranges as CIDR texts, each IPv4 range followed by its three IPv6 forms (IPv4-compatible, IPv4-mapped, 6to4), so that an address
 * is compared as it is.
 * @throws ConfigError for a text that is no address and no range
 */
export function expandRanges(ranges: readonly string[], option: string): string[] {
  return ranges.flatMap((text, index) => {
    const range = parseRange(text);
    if (range === undefined) throw new ConfigError(`found ${JSON.stringify(text)}, wanted an IP address or range such as "10.0.0.0/8"`, `${option}[${index}]`);
    const [address, bits] = range;
    if (address.kind() === "ipv6") return [`${address.toString()}/${bits}`];
    const [a, b, c, d] = (address as ipaddr.IPv4).octets as [number, number, number, number];
    const high = ((a << 8) | b).toString(16);
    const low = ((c << 8) | d).toString(16);
    return [`${address.toString()}/${bits}`, `::${high}:${low}/${96 + bits}`, `::ffff:${high}:${low}/${96 + bits}`, `2002:${high}:${low}::/${16 + bits}`];
  });
}

/** As `expandRanges`, with the unspecified addresses added. */
export function blockedRanges(ranges: readonly string[], option: string): string[] {
  return expandRanges([...ranges, ...ALWAYS_BLOCKED], option);
}

function parseRange(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] | undefined {
  try {
    if (text.includes("/")) return ipaddr.parseCIDR(text);
    const address = ipaddr.parse(text);
    return [address, address.kind() === "ipv4" ? 32 : 128];
  } catch {
    return undefined;
  }
}
