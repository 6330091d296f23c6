import type { Config } from "../src/config/config.ts";
import type { Listener } from "../src/config/listeners.ts";
import type { WorkerFile } from "./worker-files.ts";

/** A process of Myelin's, with what starts it. */
export interface MyelinProcess {
  readonly name: string;
  /** Passes requests on to the main process: for reverse proxies that are to stay as they are. */
  readonly relay: boolean;
  readonly command: string;
  readonly listeners: readonly string[];
}

/** What would run instead of Synapse's processes: the main one, which does all the work, and relays where workers listened. */
export function processList(config: Config, files: readonly string[], workers: readonly WorkerFile[]): MyelinProcess[] {
  const start = ["myelin start", ...files.map((file) => `--config-path ${file}`)].join(" ");
  const main = {
    name: "main",
    relay: false,
    command: start,
    listeners: config.server.listeners.filter(({ type }) => type !== "manhole").map(describeListener),
  };
  const relays = workers.flatMap(({ file, config: worker }) => {
    const listeners = worker?.workers.listeners.filter(({ type }) => type === "http") ?? [];
    if (worker === undefined || listeners.length === 0) return [];
    return [{ name: worker.workers.instanceName, relay: true, command: `${start} --config-path ${file}`, listeners: listeners.map(describeListener) }];
  });
  return [main, ...relays];
}

/** `http://127.0.0.1:8008 (client, federation)` */
export function describeListener(listener: Listener): string {
  const resources = listener.type === "metrics" ? "metrics" : listener.resources.flatMap(({ names }) => names).join(", ");
  if (listener.path !== undefined) return `unix:${listener.path} (${resources})`;
  const host = listener.bindAddresses.map((address) => (address.includes(":") ? `[${address}]` : address)).join("|");
  return `${listener.tls ? "https" : "http"}://${host}:${listener.port} (${resources})`;
}
