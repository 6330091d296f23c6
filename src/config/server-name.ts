import { isIPv4, isIPv6 } from "node:net";

/** True for a host name or IP literal with an optional port (specification appendix "Server Name"). */
export function isServerName(text: string): boolean {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return false;
  const host = match[1]!;
  if (host.startsWith("[")) return isIPv6(host.slice(1, -1));
  return isIPv4(host) || /^[0-9A-Za-z.-]+$/.test(host);
}
