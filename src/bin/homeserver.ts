import { letYoungGenerationGrow } from "../lib/young-generation.ts";
import { spawn } from "node:child_process";
import type { Config } from "../config/config.ts";
import { ConfigError } from "../config/errors.ts";
import { readConfigFile } from "../config/reader.ts";
import { parseYaml } from "../config/yaml.ts";
import { CommandFailed, defineCommand, runCommand } from "./command.ts";
import { homeserverSpec, prepareStartup, type Startup, welcome } from "./commands/homeserver.ts";
import { connectDatabase, type Undo } from "./connect-database.ts";
import { detach, isDaemon, startInBackground } from "./daemon.ts";
import { takePidFile } from "./pid-file.ts";
import { openRelay } from "./relay.ts";
import { processTerminal, type Terminal } from "./terminal.ts";
import { systemClock } from "../lib/clock.ts";
import { EmbeddedPostgresError } from "../lib/embedded-postgres.ts";
import { LogConfigError } from "../lib/logging/dict-config.ts";
import { type Logging, startLogging } from "../lib/logging/logging.ts";
import { createServer } from "../server.ts";
import { StartupRefusal } from "../storage/schema/refusal.ts";

/** Command line -> configuration -> server -> listeners -> signals. */
export const homeserver = defineCommand(homeserverSpec, async (args, terminal) => {
  const startup = prepareStartup(args, terminal);
  if (startup === undefined) return 0;
  if (startup.daemonize && !isDaemon()) {
    if (startup.printPidfile && startup.pidFile !== undefined) terminal.print(startup.pidFile);
    return await startInBackground();
  }
  return await serve(startup, terminal);
});

async function serve(startup: Startup, terminal: Terminal): Promise<number | undefined> {
  const undo: Undo[] = [];
  const logging = openLogging(startup.config, terminal);
  undo.push(() => logging.close());
  const { log } = logging;
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopping ??= (async () => {
      for (const step of undo.splice(0).reverse()) await step();
    })());
  try {
    if (startup.daemonize && startup.pidFile !== undefined) undo.push(takePidFile(startup.pidFile));
    announce(startup.config, logging);
    let reload = (): void => {};
    handleSignals(startup.config, logging, () => reload(), stop);
    if (!startup.config.workers.isMain) {
      const relay = await openRelay(startup.config, log);
      undo.push(() => relay.close());
      reload = () => relay.reloadTls();
      ready(relay.addresses, log);
      return undefined;
    }
    const config = await connectDatabase(startup.config, log, undo);
    const fail = (reason: string): void => {
      log.error(`The server stops: ${reason}`);
      process.exitCode = 1;
      void stop().finally(() => process.exit(1));
    };
    const server = await createServer(config, log, { onFatal: fail, allowMissingModules: startup.allowMissingModules });
    undo.push(() => server.close());
    const addresses = await server.listen();
    letYoungGenerationGrow();
    reload = () => server.reload();
    ready(addresses, log);
    if (startup.newConfigFile !== undefined) for (const line of welcome(startup, addresses, terminal)) terminal.print(line);
    else if (terminal.interactive) terminal.print(`Myelin runs as ${startup.config.server.serverName}: ${addresses.join(", ")}`);
    return undefined;
  } catch (error) {
    await stop().catch(() => {});
    throw asFailure(error);
  }
}

/** Tells all who wait for the process that it serves. */
function ready(addresses: readonly string[], log: Logging["log"]): void {
  for (const address of addresses) log.info(`Now listening on ${address}`);
  if (isDaemon()) detach();
  notifySystemd("--ready");
}

function openLogging(config: Config, terminal: Terminal): Logging {
  const sink = (stream: NodeJS.WriteStream) => ({ write: (text: string) => void stream.write(text) });
  const environment = {
    stdout: sink(process.stdout),
    stderr: sink(process.stderr),
    workingDirectory: terminal.workingDirectory,
    processId: process.pid,
    clock: systemClock,
  };
  try {
    return startLogging(readLogConfig(config), config.server.serverName, environment);
  } catch (error) {
    if (error instanceof LogConfigError) throw new ConfigError(error.message, "log_config");
    throw error;
  }
}

function readLogConfig(config: Config): unknown {
  const file = config.logging.configPath;
  return file === undefined ? undefined : parseYaml(readConfigFile(file, "log_config"), file);
}

/** What an admin looks for at the top of a log. */
function announce(config: Config, { log, notices }: Logging): void {
  const own = log.named("synapse.config.logger");
  own.warn("***** STARTING SERVER *****");
  own.info(`Server hostname: ${config.server.serverName}`);
  own.info(`Public Base URL: ${config.server.publicBaseurl}`);
  own.info(`Instance name: ${config.workers.instanceName}`);
  for (const notice of [...notices, ...config.notices]) own.warn(`Configuration: ${notice}`);
}

function handleSignals(config: Config, logging: Logging, reload: () => void, stop: () => Promise<void>): void {
  const { log } = logging;
  const onStop = (signal: NodeJS.Signals): void => {
    log.info(`Received ${signal}, stopping`);
    notifySystemd("STOPPING=1");
    // A second signal ends the process at once.
    for (const name of ["SIGTERM", "SIGINT"] as const) process.removeAllListeners(name).once(name, () => process.exit(1));
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`Stopping failed: ${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.once("SIGTERM", onStop);
  process.once("SIGINT", onStop);
  process.on("SIGHUP", () => {
    notifySystemd("RELOADING=1");
    try {
      if (config.logging.configPath !== undefined) {
        logging.reconfigure(readLogConfig(config));
        log.info(`Reloaded log config from ${config.logging.configPath} due to SIGHUP`);
      }
      reload();
    } catch (error) {
      log.error("Reloading failed; what was in force stays in force", { error });
    }
    notifySystemd("--ready");
  });
  process.on("unhandledRejection", (error) => log.error("A promise was rejected and nobody cared", { error }));
  process.on("uncaughtException", (error) => {
    log.error("An exception that nobody caught ends the process", { error });
    logging.flush();
    process.exit(1);
  });
}

/** Node cannot reach systemd's socket by itself; the unit needs NotifyAccess=all for this to count. */
function notifySystemd(message: string): void {
  if (!process.env["NOTIFY_SOCKET"]) return;
  spawn("systemd-notify", [message, `--pid=${process.pid}`], { stdio: "ignore" }).on("error", () => {});
}

function asFailure(error: unknown): unknown {
  const isExpected = error instanceof StartupRefusal || error instanceof EmbeddedPostgresError;
  const code = (error as NodeJS.ErrnoException).code;
  const isNetwork = code !== undefined && /^(?:EADDR|EACCES|ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|ETIMEDOUT|ENOENT|28P01|28000|3D000)/.test(code);
  return isExpected || isNetwork ? new CommandFailed(`Myelin does not start: ${(error as Error).message || String(code)}`) : error;
}

const status = await runCommand(homeserver, processTerminal(process.argv.slice(2)));
// A server that runs has no status yet; the process ends with its sockets.
if (status !== 0) process.exit(status);
