import { ConfigError } from "./errors.ts";
import type { ConfigReader } from "./reader.ts";

export const RESOURCE_NAMES = ["client", "consent", "federation", "health", "keys", "media", "metrics", "openid", "replication", "static"] as const;
export type ResourceName = (typeof RESOURCE_NAMES)[number];

export interface ListenerResource {
  readonly names: readonly ResourceName[];
  readonly compress: boolean;
}

/** One socket that the server listens on. */
export interface Listener {
  readonly type: "http" | "metrics" | "manhole";
  /** undefined for a Unix socket. */
  readonly port: number | undefined;
  /** Where to bind; a failure to bind 0.0.0.0 is no error when :: is bound. Empty for a Unix socket. */
  readonly bindAddresses: readonly string[];
  /** Path of a Unix socket. */
  readonly path: string | undefined;
  /** Permissions of the Unix socket. */
  readonly mode: number;
  readonly tls: boolean;
  /** The client's address is taken from X-Forwarded-For. */
  readonly xForwarded: boolean;
  readonly resources: readonly ListenerResource[];
  /** Path prefixes served by modules. */
  readonly additionalResources: Readonly<Record<string, { readonly module: string; readonly config: unknown }>>;
  /** Names the listener in logs: its `tag`, else the port, else "unix". */
  readonly siteTag: string;
  /** The request id for the log is taken from this header. */
  readonly requestIdHeader: string | undefined;
}

/** Both families: where IPv6 sockets take IPv4 as well, the second bind fails and is ignored. */
const ALL_ADDRESSES = ["::", "0.0.0.0"];
const SOCKET_MODE = 0o666;

/** What a server without `listeners` listens on: the loopback addresses, for a reverse proxy. */
export const DEFAULT_LISTENER: Listener = {
  type: "http",
  port: 8008,
  bindAddresses: ["::1", "127.0.0.1"],
  path: undefined,
  mode: SOCKET_MODE,
  tls: false,
  xForwarded: true,
  resources: [{ names: ["client", "federation"], compress: false }],
  additionalResources: {},
  siteTag: "8008",
  requestIdHeader: undefined,
};

/** An entry of `listeners` or `worker_listeners`. */
export function parseListener(reader: ConfigReader): Listener {
  const type = reader.string("type");
  if (type === "replication") throw reader.error("type", "replication over bare TCP no longer exists; use redis");
  const checkedType = reader.oneOf("type", ["http", "metrics", "manhole"] as const);
  const port = reader.port("port");
  const path = reader.string("path");
  const mode = reader.integer("mode", SOCKET_MODE);
  const tls = reader.boolean("tls", false);
  const bindAddresses = reader.strings("bind_addresses");
  const bindAddress = reader.string("bind_address");
  const tag = reader.text("tag");
  const listener: Listener = {
    type: checkedType ?? fail(reader),
    port,
    bindAddresses: path === undefined ? addresses(bindAddresses, bindAddress, type) : [],
    path,
    mode,
    tls: tls && path === undefined,
    // A Unix socket has no other way to tell the client's address.
    xForwarded: reader.boolean("x_forwarded", path !== undefined),
    resources: reader.objects("resources").map(parseResource),
    additionalResources: Object.fromEntries(
      reader.map("additional_resources").map(([prefix, module]) => [prefix, { module: module.requiredString("module"), config: module.raw("config") }]),
    ),
    siteTag: tag ?? (port === undefined ? "unix" : String(port)),
    requestIdHeader: reader.string("request_id_header"),
  };
  if (port !== undefined && path !== undefined) throw new ConfigError("has both port and path; keep one of them", reader.path);
  if (port === undefined && path === undefined) throw new ConfigError("has neither port nor path", reader.path);
  return listener;
}

/** A listener by legacy options that only give an address and a port. */
export function plainListener(type: Listener["type"], port: number, bindAddress: string, resources: readonly ListenerResource[] = [], tls = false): Listener {
  return {
    ...DEFAULT_LISTENER,
    type,
    port,
    bindAddresses: addresses([bindAddress], undefined, type),
    tls,
    xForwarded: false,
    resources,
    siteTag: String(port),
  };
}

function fail(reader: ConfigReader): never {
  throw reader.wrong("type", "one of http, metrics, manhole (the option is required)");
}

function addresses(list: readonly string[], single: string | undefined, type: string | undefined): string[] {
  const all = single ? [...list, single] : [...list];
  if (all.length === 0) return type === "metrics" ? ["0.0.0.0"] : ALL_ADDRESSES;
  return all.map((address) => (address === "" ? "0.0.0.0" : address));
}

function parseResource(reader: ConfigReader): ListenerResource {
  const names = reader.strings("names");
  const unknown = names.find((name) => !(RESOURCE_NAMES as readonly string[]).includes(name));
  if (unknown !== undefined) throw reader.error("names", `found ${JSON.stringify(unknown)}, wanted names out of ${RESOURCE_NAMES.join(", ")}`);
  return { names: names as ResourceName[], compress: reader.boolean("compress", false) };
}
