import { ConfigError, describeValue } from "./errors.ts";
import { expandRanges } from "./ip-ranges.ts";
import { isMapping, readConfigFile } from "./reader.ts";
import { parseYaml } from "./yaml.ts";

/** An application service as its registration file describes it (Application Service API, "Registration"). */
export interface AppserviceRegistration {
  readonly id: string;
  /** Without trailing slash as written; undefined: nothing is sent to it. */
  readonly url: string | undefined;
  readonly asToken: string;
  readonly hsToken: string;
  readonly senderLocalpart: string;
  /** Full user id of the sender. */
  readonly sender: string;
  readonly namespaces: {
    readonly users: readonly AppserviceNamespace[];
    readonly aliases: readonly AppserviceNamespace[];
    readonly rooms: readonly AppserviceNamespace[];
  };
  readonly rateLimited: boolean;
  readonly protocols: readonly string[];
  /** CIDR ranges from which the token may be used; undefined: from everywhere. */
  readonly ipRangeWhitelist: readonly string[] | undefined;
  readonly receiveEphemeral: boolean;
  /** MSC2409 under its unstable name: ephemeral events are sent under the unstable key. */
  readonly receiveEphemeralUnstable: boolean;
  /** MSC3202: device lists and key counts in transactions. */
  readonly msc3202: boolean;
  /** MSC4190: the service manages devices of its users. */
  readonly msc4190: boolean;
  /** MSC4502. */
  readonly scopes: readonly string[];
}

export interface AppserviceNamespace {
  readonly exclusive: boolean;
  /** Matched from the start of the identifier, as Python's re.match. */
  readonly regex: string;
}

/** Reads a registration file. @throws ConfigError naming the file and the field */
export function loadAppservice(file: string, option: string, serverName: string): AppserviceRegistration {
  const fields = parseYaml(readConfigFile(file, option), file);
  const fail = (field: string, wanted: string): never => {
    const found = isMapping(fields) ? describeValue(fields[field], field) : describeValue(fields, "");
    throw new ConfigError(`${file}: ${field}: found ${found}, wanted ${wanted}`, option);
  };
  if (!isMapping(fields)) return fail("the file", "a mapping");
  const text = (field: string): string => {
    const value = fields[field];
    return typeof value === "string" ? value : fail(field, "a string");
  };
  const flag = (field: string): boolean => {
    const value = fields[field] ?? false;
    return typeof value === "boolean" ? value : fail(field, "true or false");
  };
  const list = (field: string): string[] => {
    const value = fields[field] ?? [];
    return Array.isArray(value) && value.every((item) => typeof item === "string") ? (value as string[]) : fail(field, "a list of strings");
  };
  const url = fields["url"];
  if (typeof url !== "string" && url !== null) fail("url", "a URL, or null for a service that receives nothing");
  const senderLocalpart = text("sender_localpart");
  if (encodeURIComponent(senderLocalpart).replaceAll("%2F", "/") !== senderLocalpart || /[!'()*]/.test(senderLocalpart)) {
    fail("sender_localpart", "a localpart that needs no percent-encoding");
  }
  const namespaces = fields["namespaces"];
  if (!isMapping(namespaces)) return fail("namespaces", "a mapping");
  const namespace = (kind: "users" | "aliases" | "rooms"): AppserviceNamespace[] => {
    const entries = namespaces[kind] ?? [];
    if (!Array.isArray(entries)) return fail("namespaces", `a list below ${kind}`);
    return entries.map((entry: unknown): AppserviceNamespace => {
      if (!isMapping(entry) || typeof entry["regex"] !== "string" || typeof entry["exclusive"] !== "boolean") {
        return fail("namespaces", `entries with regex (a string) and exclusive (true or false) below ${kind}`);
      }
      return { regex: entry["regex"], exclusive: entry["exclusive"] };
    });
  };
  const ranges = list("ip_range_whitelist");
  return {
    id: text("id"),
    url: typeof url === "string" ? url : undefined,
    asToken: text("as_token"),
    hsToken: text("hs_token"),
    senderLocalpart,
    sender: `@${senderLocalpart}:${serverName}`,
    namespaces: { users: namespace("users"), aliases: namespace("aliases"), rooms: namespace("rooms") },
    rateLimited: typeof fields["rate_limited"] === "boolean" ? fields["rate_limited"] : true,
    protocols: list("protocols"),
    ipRangeWhitelist: ranges.length === 0 ? undefined : expandRanges(ranges, `${option}: ${file}: ip_range_whitelist`),
    receiveEphemeral: flag("receive_ephemeral"),
    receiveEphemeralUnstable: flag("de.sorunome.msc2409.push_ephemeral"),
    msc3202: flag("org.matrix.msc3202"),
    msc4190: flag("io.element.msc4190"),
    scopes: list("io.element.msc4502.scopes"),
  };
}
