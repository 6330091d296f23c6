import type { Config } from "../src/config/config.ts";
import type { Listener } from "../src/config/listeners.ts";

/** A process of Myelin's, with what starts it. */
export interface MyelinProcess {
  readonly name: string;
  readonly command: string;
  readonly listeners: readonly string[];
}

/** What would run instead of Synapse and its workers: one process. */
export function processList(config: Config, files: readonly string[]): MyelinProcess[] {
  const paths = files.map((file) => `--config-path ${file}`).join(" ");
  return [
    { name: "main", command: `myelin start ${paths}`, listeners: config.server.listeners.filter(({ type }) => type !== "manhole").map(describeListener) },
  ];
}

/** `http://127.0.0.1:8008 (client, federation)` */
export function describeListener(listener: Listener): string {
  const resources = listener.type === "metrics" ? "metrics" : listener.resources.flatMap(({ names }) => names).join(", ");
  if (listener.path !== undefined) return `unix:${listener.path} (${resources})`;
  const host = listener.bindAddresses.map((address) => (address.includes(":") ? `[${address}]` : address)).join("|");
  return `${listener.tls ? "https" : "http"}://${host}:${listener.port} (${resources})`;
}
