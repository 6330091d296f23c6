import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { readConfigFiles, type RawConfig } from "../../config/load.ts";
import { ConfigReader, ReadTracker } from "../../config/reader.ts";
import { systemClock } from "../../lib/clock.ts";
import { CommandFailed, defineCommand } from "../command.ts";
import { isRunning } from "../../lib/processes.ts";
import { readPid } from "../pid-file.ts";
import type { Terminal } from "../terminal.ts";

const MAIN_APP = "synapse.app.homeserver";

/** One process that synctl starts or stops. */
interface Process {
  readonly app: string;
  readonly configFiles: readonly string[];
  readonly pidFile: string;
  readonly env: Readonly<Record<string, string>>;
}

export const synctl = defineCommand(
  {
    name: "synctl",
    summary: "Starts, stops or restarts the server in the background.",
    flags: {
      worker: { names: ["-w", "--worker"], value: "WORKERCONFIG", help: "Only this worker." },
      allProcesses: {
        names: ["-a", "--all-processes"],
        value: "WORKERCONFIGDIR",
        help: "All workers of this directory, and the main process if it has a file there.",
      },
      noDaemonize: { names: ["--no-daemonize"], help: "Run in the foreground." },
    },
    positionals: [
      { name: "action", choices: ["start", "stop", "restart"], help: "What to do." },
      { name: "configfile", count: "?", help: "The configuration file or directory. Default: homeserver.yaml" },
    ],
    exclusive: [
      ["worker", "allProcesses"],
      ["noDaemonize", "allProcesses"],
    ],
  },
  async (args, terminal) => {
    const [action, configName = "homeserver.yaml"] = args.positionals;
    const configFile = resolve(terminal.workingDirectory, configName);
    if (!existsSync(configFile))
      throw new CommandFailed(
        `The configuration file ${configFile} does not exist. Make one with: myelin -c ${configName} --generate-config --server-name=<name> --report-stats=<yes|no>`,
      );
    const { values } = readConfigFiles([configFile], terminal.workingDirectory);
    const processes = findProcesses(configFile, values, workerFiles(args, terminal), terminal);
    if (action !== "start") await stopAll(processes, terminal);
    if (action === "stop") return 0;
    const started = processes.map((one) => start(one, !args.noDaemonize, terminal));
    return started.every(Boolean) ? 0 : 1;
  },
);

function workerFiles(args: { readonly worker: string | undefined; readonly allProcesses: string | undefined }, terminal: Terminal): string[] | undefined {
  if (args.worker !== undefined) {
    const file = resolve(terminal.workingDirectory, args.worker);
    if (!existsSync(file)) throw new CommandFailed(`No worker config found at ${file}`);
    return [file];
  }
  if (args.allProcesses === undefined) return undefined;
  const folder = resolve(terminal.workingDirectory, args.allProcesses);
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw new CommandFailed(`No worker config directory found at ${folder}`);
  const names = readdirSync(folder).filter((name) => name.endsWith(".yaml"));
  return names.sort().map((name) => join(folder, name));
}

function findProcesses(configFile: string, values: RawConfig, workers: readonly string[] | undefined, terminal: Terminal): Process[] {
  const main = new ConfigReader(values, new ReadTracker());
  const factors = cacheFactors(main);
  const mainPid = main.filePath("pid_file", { dataDir: terminal.workingDirectory });
  if (workers === undefined) return [{ app: MAIN_APP, configFiles: [configFile], pidFile: mainPid ?? missing("pid_file", configFile), env: factors }];
  return workers.map((file) => {
    const raw = new ConfigReader(readConfigFiles([file], terminal.workingDirectory).values, new ReadTracker());
    const app = raw.requiredString("worker_app");
    const isMain = app === MAIN_APP;
    const pidFile = raw.filePath(isMain ? "pid_file" : "worker_pid_file", { dataDir: terminal.workingDirectory }) ?? (isMain ? mainPid : undefined);
    return {
      app,
      configFiles: [configFile, file],
      pidFile: pidFile ?? missing(isMain ? "pid_file" : "worker_pid_file", file),
      env: { ...factors, ...cacheFactors(raw) },
    };
  });
}

function missing(option: string, file: string): never {
  throw new CommandFailed(`${file} names no ${option}, by which the process would be found again`);
}

/** The cache factors that synctl hands on as environment variables. */
function cacheFactors(raw: ConfigReader): Record<string, string> {
  const factor = raw.number("synctl_cache_factor", Number.NaN);
  const single = Object.entries(raw.numbers("synctl_cache_factors")).map(([name, value]) => [`SYNAPSE_CACHE_FACTOR_${name.toUpperCase()}`, String(value)]);
  return { ...(Number.isNaN(factor) ? {} : { SYNAPSE_CACHE_FACTOR: String(factor) }), ...Object.fromEntries(single) };
}

function start(process_: Process, daemonize: boolean, terminal: Terminal): boolean {
  const pid = readPid(process_.pidFile);
  if (pid !== undefined && isRunning(pid)) {
    terminal.print(`${process_.app} already running`);
    return true;
  }
  const main = fileURLToPath(new URL(`../../main${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url));
  const argv = [...process.execArgv, main, ...process_.configFiles.flatMap((file) => ["-c", file]), ...(daemonize ? ["--daemonize"] : [])];
  const { status } = spawnSync(process.execPath, argv, {
    stdio: "inherit",
    env: { ...terminal.env, ...process_.env } as NodeJS.ProcessEnv,
    cwd: terminal.workingDirectory,
  });
  const what = `${process_.app}(${process_.configFiles.join(",")})`;
  if (status === 0) terminal.print(`started ${what}`);
  else terminal.warn(`${what} failed to start (exit code: ${status}). Check the log file${daemonize ? ", or run synctl with --no-daemonize" : ""}.`);
  return status === 0;
}

async function stopAll(processes: readonly Process[], terminal: Terminal): Promise<void> {
  const pids = processes.map((one) => stop(one, terminal)).filter((pid) => pid !== undefined);
  if (pids.length === 0) return;
  terminal.print("Waiting for processes to exit...");
  while (pids.some(isRunning)) await systemClock.sleep(200);
  terminal.print("All processes exited");
}

function stop(one: Process, terminal: Terminal): number | undefined {
  const pid = readPid(one.pidFile);
  if (pid === undefined) {
    terminal.print(`No running process of ${one.app} found (from ${one.pidFile}); something else, such as systemd, may run it`);
    return undefined;
  }
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EPERM") throw new CommandFailed(`Cannot stop ${one.app}: not permitted`);
    terminal.print(`${one.app} not running`);
    return undefined;
  }
  terminal.print(`stopped ${one.app}`);
  return pid;
}
