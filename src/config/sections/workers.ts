import { ConfigError } from "../errors.ts";
import { parseListener } from "../listeners.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";

/** Which process does what (`worker`). */
export type WorkersConfig = ReturnType<typeof parseWorkers>;

/** Name of the main process among instances. */
export const MAIN_INSTANCE = "master";

export type InstanceLocation =
  | { readonly host: string; readonly port: number; readonly tls: boolean; readonly path?: undefined }
  | { readonly path: string; readonly host?: undefined; readonly port?: undefined; readonly tls?: undefined };

const STREAMS = [
  "events",
  "typing",
  "to_device",
  "account_data",
  "receipts",
  "presence",
  "push_rules",
  "device_lists",
  "thread_subscriptions",
  "quarantined_media_changes",
] as const;
export type WriterStream = (typeof STREAMS)[number];
/** Streams that only one instance may write. */
const SINGLE_WRITER: readonly WriterStream[] = ["typing", "to_device", "account_data", "presence", "push_rules"];

export function parseWorkers(raw: ConfigReader, ctx: ParseContext) {
  const app = raw.string("worker_app");
  const workerApp = app === "synapse.app.homeserver" ? undefined : app;
  const name = raw.string("worker_name");
  const isMain = workerApp === undefined;
  const workerName = workerApp === undefined ? name : (name ?? workerApp);
  const self: Self = { workerApp, workerName, instanceName: workerName ?? MAIN_INSTANCE };
  if (raw.has("worker_replication_port")) throw raw.error("worker_replication_port", "replication over bare TCP no longer exists; use redis");
  for (const key of ["worker_replication_host", "worker_replication_http_port", "worker_replication_http_tls"]) {
    const value = raw.raw(key);
    if (value && self.instanceName !== MAIN_INSTANCE) throw raw.error(key, "no longer exists; put the main process into instance_map under main");
  }
  if (raw.raw("worker_main_http_uri") !== undefined) ctx.notice("worker_main_http_uri has no effect; remove it");
  const instanceMap = parseInstanceMap(raw, self);
  const replicationSecret = raw.secret("worker_replication_secret", "worker_replication_secret_path", ctx);
  const federationSenderInstances = instancesFor(raw, self, "send_federation", "synapse.app.federation_sender", "federation_sender_instances");
  const pusherInstances = instancesFor(raw, self, "start_pushers", "synapse.app.pusher", "pusher_instances");
  raw.string("run_background_tasks_on");
  for (const [option, list, instances] of [
    ["send_federation", "federation_sender_instances", federationSenderInstances],
    ["start_pushers", "pusher_instances", pusherInstances],
  ] as const)
    if (isMain && instances.length === 0)
      ctx.notice(
        `${option} is false and ${list} names nobody: nobody does it. If a worker of the old kind did, remove ${option}: Myelin's main process does it`,
      );
  const outbound = raw.strings("outbound_federation_restricted_to");
  if (outbound.length > 0 && !replicationSecret) throw raw.wrong("worker_replication_secret", "a secret, since outbound_federation_restricted_to is set");
  for (const instance of outbound) requireInstance(instanceMap, instance, "outbound_federation_restricted_to");
  return {
    /** undefined: this is the main process. */
    workerApp,
    workerName,
    /** `master` for the main process. */
    instanceName: self.instanceName,
    isMain,
    listeners: raw.objects("worker_listeners").map(parseListener),
    daemonize: raw.boolean("worker_daemonize", false),
    pidFile: raw.filePath("worker_pid_file", ctx),
    replicationSecret,
    /** By instance name; the main process is `master`. */
    instanceMap,
    /** Instances that write each stream. */
    streamWriters: parseWriters(raw, instanceMap),
    /** Synapse's processes that send to other servers, and to push gateways. Of Myelin's the main process has all the duties that any of them has. */
    federationSenderInstances,
    pusherInstances,
    sendFederation: isMain && federationSenderInstances.length > 0,
    startPushers: isMain && pusherInstances.length > 0,
    shouldNotifyAppservices: isMain && isDoneByAny(raw, self, ctx, "notify_appservices", "synapse.app.appservice", "notify_appservices_from_worker"),
    shouldUpdateUserDirectory: isMain && isDoneByAny(raw, self, ctx, "update_user_directory", "synapse.app.user_dir", "update_user_directory_from_worker"),
    /** Instances that alone may reach other servers; empty: all may. */
    outboundFederationRestrictedTo: outbound,
  };
}

interface Self {
  readonly workerApp: string | undefined;
  readonly workerName: string | undefined;
  readonly instanceName: string;
}

function parseInstanceMap(raw: ConfigReader, self: Self): Record<string, InstanceLocation> {
  const map: Record<string, InstanceLocation> = {};
  for (const [name, reader] of raw.map("instance_map")) {
    const path = reader.string("path");
    const host = reader.string("host");
    const port = reader.port("port");
    const tls = reader.boolean("tls", false);
    if (path === undefined && (host === undefined || port === undefined)) throw new ConfigError("wanted host and port, or path", reader.path);
    map[name === "main" ? MAIN_INSTANCE : name] = path === undefined ? { host: host!, port: port!, tls } : { path };
  }
  if (self.instanceName !== MAIN_INSTANCE && map[MAIN_INSTANCE] === undefined) {
    throw new ConfigError("has no entry main, by which workers reach the main process", "instance_map");
  }
  return map;
}

function requireInstance(map: Readonly<Record<string, unknown>>, instance: string, option: string): void {
  if (instance !== MAIN_INSTANCE && map[instance] === undefined) throw new ConfigError(`names the instance ${instance}, which is not in instance_map`, option);
}

function parseWriters(raw: ConfigReader, map: Readonly<Record<string, unknown>>): Record<WriterStream, readonly string[]> {
  const reader = raw.object("stream_writers");
  const writers = Object.fromEntries(STREAMS.map((stream) => [stream, reader.stringOrStrings(stream, [MAIN_INSTANCE])])) as Record<WriterStream, string[]>;
  for (const stream of STREAMS) {
    const path = reader.pathOf(stream);
    for (const instance of writers[stream]) requireInstance(map, instance, path);
    if (writers[stream].length === 0) throw new ConfigError("wanted at least one instance", path);
    if (SINGLE_WRITER.includes(stream) && writers[stream].length !== 1) throw new ConfigError("wanted exactly one instance", path);
  }
  return writers;
}

/** Instances that do a duty: the list, else by the old option and the old worker app. */
function instancesFor(raw: ConfigReader, self: Self, legacyOption: string, legacyApp: string, listOption: string): string[] {
  const onMain = raw.boolean(legacyOption, true);
  const list = raw.optionalStrings(listOption);
  if (list !== undefined) return list;
  if (self.workerApp === legacyApp) {
    if (onMain) throw raw.error(legacyOption, `must be false before ${legacyApp} may do it`);
    return [self.instanceName];
  }
  return onMain ? [MAIN_INSTANCE] : [];
}

/**
 * Whether any of Synapse's processes does a duty that exactly one of them has.
 * @throws ConfigError when the options about it contradict each other
 */
function isDoneByAny(raw: ConfigReader, self: Self, ctx: ParseContext, legacyOption: string, legacyApp: string, option: string): boolean {
  const designated = raw.has(option);
  const onMain = raw.boolean(legacyOption, true);
  raw.string(option);
  if (raw.has(legacyOption)) ctx.notice(`${legacyOption} is deprecated; use ${option}: <name of the worker>`);
  if (self.workerApp === legacyApp && onMain) throw raw.error(legacyOption, `must be false before ${legacyApp} may do it; better use ${option}`);
  return designated || onMain;
}
