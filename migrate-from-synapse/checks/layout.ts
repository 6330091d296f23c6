import type { Config } from "../../src/config/config.ts";
import type { Listener } from "../../src/config/listeners.ts";
import { MAIN_INSTANCE } from "../../src/config/sections/workers.ts";
import type { ConfigCheck, ConfigContext } from "../context.ts";
import { count, type Draft, note, ok, warning } from "../finding.ts";
import { describeListener } from "../process-list.ts";

/** The instances that the shared configuration names, by what they are to do. */
export function namedInstances({ workers }: Config): Map<string, string[]> {
  const duties = new Map<string, string[]>(Object.keys(workers.instanceMap).map((name) => [name, []]));
  const add = (name: string, duty: string): void => void duties.set(name, [...(duties.get(name) ?? []), duty]);
  for (const [stream, writers] of Object.entries(workers.streamWriters)) for (const name of writers) add(name, `writes ${stream}`);
  for (const name of workers.federationSenderInstances) add(name, "sends to other servers");
  for (const name of workers.pusherInstances) add(name, "sends push notifications");
  duties.delete(MAIN_INSTANCE);
  return duties;
}

const workers: ConfigCheck = {
  name: "workers",
  risks: [],
  only: "myelin",
  run(ctx) {
    const found: Draft[] = [];
    const { config } = ctx;
    for (const { file, problem } of ctx.workers) {
      if (problem === undefined) continue;
      found.push(
        warning("workers", {
          what: `The worker file ${file} cannot be read: ${problem}`,
          why: "What goes to this worker is not known.",
          todo: "Correct the path or the file, and check again.",
        }),
      );
    }
    const named = namedInstances(config);
    const moved = ctx.workers.flatMap(({ config: worker }) => (worker === undefined ? [] : moves(worker, config)));
    if (moved.length > 0) {
      found.push(
        note("workers", {
          what: `Workers listen on ${count(moved.length, "address", "addresses")} of their own`,
          why: "Myelin serves all routes by its main process; a process on a worker's configuration passes requests on to it.",
          todo: "In the reverse proxy, lead what goes to these addresses to the main process, or start Myelin on the workers' files, too.",
          examples: moved,
        }),
      );
    }
    if (named.size > 0) {
      found.push(
        note("workers", {
          what: `The configuration names ${count(named.size, "worker")}`,
          why: "Their duties go to the main process; the options may stay for the way back.",
          todo:
            ctx.workers.length > 0
              ? "Stop them all before Myelin starts."
              : "Stop them all before Myelin starts; name their files by --worker-config to see which addresses they leave.",
          examples: [...named].map(([name, duties]) => (duties.length > 0 ? `${name} (${duties.join(", ")})` : name)),
        }),
      );
    }
    if (config.redis.enabled) {
      found.push(note("workers", { what: "Redis is configured", why: "Myelin does not use it.", todo: "It may stay for the way back." }));
    }
    if (!config.workers.isMain) {
      const todo = "Give --config-path the files of the main process, and workers' files by --worker-config.";
      found.push(
        warning("workers", {
          what: `This is the configuration of a worker (${config.workers.instanceName})`,
          why: "What the main process does is not in it.",
          todo,
        }),
      );
    }
    if (found.length === 0) found.push(ok("workers", "One process serves everything, as Myelin does"));
    return found;
  },
};

/** `worker1: http://127.0.0.1:8083 (client) -> http://127.0.0.1:8008 (client, federation)` */
function moves(worker: Config, main: Config): string[] {
  return worker.workers.listeners
    .filter(({ type }) => type === "http")
    .map((listener) => {
      const wanted = new Set(listener.resources.flatMap(({ names }) => names));
      wanted.delete("health");
      wanted.delete("replication");
      const target = main.server.listeners.find((each) => each.type === "http" && [...wanted].every((name) => serves(each, name)));
      return `${worker.workers.instanceName}: ${describeListener(listener)} -> ${target === undefined ? "no listener of the main process serves this" : describeListener(target)}`;
    });
}

/** The resource `client` brings the media routes with it, as in Synapse; `federation` the keys. */
function serves(listener: Listener, name: string): boolean {
  const names = new Set<string>(listener.resources.flatMap((resource) => resource.names));
  if (names.has(name)) return true;
  return (
    (name === "media" && names.has("client")) ||
    (["keys", "openid", "media"].includes(name) && names.has("federation")) ||
    (name === "static" && names.has("client"))
  );
}

/** What the listeners ask of a reverse proxy. */
const proxy: ConfigCheck = {
  name: "listeners",
  risks: [],
  run({ config }: ConfigContext) {
    const found: Draft[] = [];
    const http = config.server.listeners.filter(({ type }) => type === "http");
    const missing = (["client", "federation"] as const).filter((name) => !http.some((listener) => serves(listener, name)));
    if (missing.length > 0 && config.workers.isMain) {
      found.push(
        warning("listeners", {
          what: `No listener of the main process serves ${missing.join(" and ")}`,
          why: "Workers may have served it; Myelin has none.",
          todo: `Add ${missing.join(" and ")} to the \`resources\` of a listener.`,
        }),
      );
    }
    for (const listener of http) {
      const local = listener.bindAddresses.every((address) => ["127.0.0.1", "::1", "localhost"].includes(address));
      if (!listener.tls && local && !listener.xForwarded) {
        found.push(
          note("listeners", {
            what: `The listener on port ${listener.port} does not read X-Forwarded-For`,
            why: "Behind a reverse proxy all clients would seem to be one, and share its rate limits.",
            todo: "Set `x_forwarded: true` there, unless clients connect directly.",
          }),
        );
      }
      if (!listener.tls && !local && listener.path === undefined) {
        found.push(
          note("listeners", {
            what: `The listener on port ${listener.port} speaks plain HTTP on ${listener.bindAddresses.join(", ")}`,
            why: "What passes between here and the reverse proxy can be read on the way.",
            todo: "Bind it to 127.0.0.1, or make sure that only the reverse proxy reaches it.",
          }),
        );
      }
    }
    if (config.server.listeners.some(({ type }) => type === "manhole")) {
      found.push(
        note("listeners", { what: "A listener is a manhole", why: "It is a Python console; Myelin opens none.", todo: "Nothing; it may stay for Synapse." }),
      );
    }
    if (found.length === 0) found.push(ok("listeners", `The reverse proxy goes on as it is: ${http.map(describeListener).join(", ")}`));
    return found;
  },
};

export const layoutChecks: readonly ConfigCheck[] = [workers, proxy];
