import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { parseConfig, type Config } from "../../config/config.ts";
import { ConfigError } from "../../config/errors.ts";
import { generateConfig, generateMissingFiles } from "../../config/generate.ts";
import { configDirectory, readConfigFiles, type RawConfigFiles } from "../../config/load.ts";
import { UsageError, type ParsedCommand } from "../../lib/command-line.ts";
import { systemRandom } from "../../lib/random.ts";
import type { Terminal } from "../terminal.ts";

/** The command line of the server, with the flags of synapse_homeserver and synapse_worker. */
export const homeserverSpec = {
  name: "myelin",
  summary: `Runs a Matrix homeserver on Synapse's configuration and database.

Without --config-path the server keeps everything in the folder ./data, its own Postgres included, and makes what is missing there.`,
  flags: {
    configPath: {
      names: ["-c", "--config-path"],
      value: "CONFIG_FILE",
      many: true,
      help: "Configuration file, or a directory of *.yaml files. Top-level options of later files replace those of earlier ones.",
    },
    allowMissingModules: {
      names: ["--allow-missing-modules"],
      help: "Start without modules of the configuration that Myelin has nothing for; they are logged.",
    },
    noSecretsInConfig: { names: ["--no-secrets-in-config"], help: "Refuse secrets that stand in the configuration itself." },
    generateMode: {
      names: ["--generate-mode"],
      value: "MODE",
      help: "One of the three below, by its name in Synapse.",
      choices: ["GENERATE_MISSING_AND_RUN", "GENERATE_MISSING_AND_EXIT", "GENERATE_EVERYTHING_AND_EXIT"],
    },
    generateConfig: { names: ["--generate-config"], help: "Make a configuration file and what it names, then exit." },
    generateKeys: {
      names: ["--generate-missing-configs", "--generate-keys"],
      help: "Make missing files that the configuration names (signing key, log configuration), then exit.",
    },
    generateAndRun: { names: ["--generate-missing-and-run"], help: "Make missing files, then run: the default." },
    serverName: { names: ["-H", "--server-name"], value: "NAME", help: "The server's name, for a new configuration." },
    reportStats: {
      names: ["--report-stats"],
      value: "ANSWER",
      choices: ["yes", "no"],
      help: "Whether usage statistics are reported, for a new configuration.",
    },
    configDirectory: {
      names: ["--config-directory", "--keys-directory"],
      value: "DIRECTORY",
      help: "Where the signing key and the log configuration lie; by default beside the last configuration file.",
    },
    dataDirectory: { names: ["--data-directory"], value: "DIRECTORY", help: "Where data is kept, for a new configuration; by default the working directory." },
    openPrivatePorts: { names: ["--open-private-ports"], help: "A new configuration listens on all addresses, not only on the loopback ones." },
    enableMetrics: { names: ["--enable-metrics"], help: "A new configuration has metrics on port 19090." },
    daemonize: { names: ["-D", "--daemonize"], help: "Run in the background." },
    printPidfile: { names: ["--print-pidfile"], help: "Print the path of the pid file before going to the background." },
    manhole: { names: ["--manhole"], value: "PORT", help: "Has no effect: the manhole is a Python console." },
    databasePath: { names: ["-d", "--database-path"], value: "FILE", help: "Has no effect: SQLite is not supported." },
    noRedirectStdio: { names: ["-n", "--no-redirect-stdio"], help: "Has no effect: standard output is not redirected." },
    logFile: { names: ["-f", "--log-file"], value: "FILE", help: "Has no effect: see log_config." },
    enableRegistration: { names: ["--enable-registration"], help: "Open registration, whatever the configuration says." },
  },
  exclusive: [["generateMode", "generateConfig", "generateKeys", "generateAndRun"]],
} as const;

export type HomeserverArguments = ParsedCommand<(typeof homeserverSpec)["flags"]>;

/** What there is to run. */
export interface Startup {
  readonly config: Config;
  /** Absolute paths of the configuration files. */
  readonly files: readonly string[];
  /** The configuration file that was made in this very run. */
  readonly newConfigFile: string | undefined;
  readonly allowMissingModules: boolean;
  readonly daemonize: boolean;
  readonly printPidfile: boolean;
  readonly pidFile: string | undefined;
}

/**
 * Reads the command line and the configuration, making files that are asked for or missing.
 * @returns undefined when all is done (`--generate-config`, `--generate-keys`)
 * @throws ConfigError, UsageError
 */
export function prepareStartup(args: HomeserverArguments, terminal: Terminal): Startup | undefined {
  const mode = args.generateConfig
    ? "GENERATE_EVERYTHING_AND_EXIT"
    : args.generateKeys
      ? "GENERATE_MISSING_AND_EXIT"
      : (args.generateMode ?? "GENERATE_MISSING_AND_RUN");
  const place = configPlace(args, terminal);
  let newConfigFile: string | undefined;
  if (mode === "GENERATE_EVERYTHING_AND_EXIT") newConfigFile = makeConfig(args, terminal, place);
  else if (place.own !== undefined && !existsSync(place.own)) newConfigFile = makeOwnConfig(args, terminal, place.own);

  const raw = readConfigFiles(place.paths, terminal.workingDirectory);
  for (const notice of raw.notices) terminal.warn(notice);
  const configDir = configDirectory(raw.files, args.configDirectory, terminal.workingDirectory);
  const places = { configDir, dataDir: terminal.workingDirectory };
  const logFile = join(place.own === undefined ? terminal.workingDirectory : dirname(place.own), "homeserver.log");
  requireServerName(raw);
  const made = generateMissingFiles(raw.values, places, systemRandom, logFile);
  for (const line of made) terminal.print(line);
  if (mode !== "GENERATE_MISSING_AND_RUN") return undefined;

  warnAboutFlags(args, terminal);
  const values = args.enableRegistration ? { ...raw.values, enable_registration: true } : raw.values;
  const config = parseConfig(values, { ...places, env: terminal.env, allowSecretsInConfig: !args.noSecretsInConfig });
  const { media, server, workers } = config;
  if (workers.isMain && media.enableLocalMediaStorage) makeFolder(media.mediaStorePath, "media_store_path");
  return {
    config,
    files: raw.files,
    newConfigFile,
    allowMissingModules: args.allowMissingModules,
    daemonize: args.daemonize || (workers.isMain ? server.daemonize : workers.daemonize),
    printPidfile: args.printPidfile || server.printPidfile,
    pidFile: workers.isMain ? server.pidFile : workers.pidFile,
  };
}

/** As Synapse, which makes the media store when it starts. @throws ConfigError */
function makeFolder(folder: string, option: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new ConfigError(`cannot make ${folder} (${(error as NodeJS.ErrnoException).code ?? String(error)})`, option);
  }
}

interface ConfigPlace {
  readonly paths: readonly string[];
  /** The configuration file of the data folder, when none was named. */
  readonly own: string | undefined;
}

/** What `--config-path` names, else the environment as in Synapse's Docker image, else ./data/homeserver.yaml. */
function configPlace(args: HomeserverArguments, { env, workingDirectory }: Terminal): ConfigPlace {
  if (args.configPath.length > 0) return { paths: args.configPath, own: undefined };
  const named = env["SYNAPSE_CONFIG_PATH"] ?? (env["SYNAPSE_CONFIG_DIR"] === undefined ? undefined : join(env["SYNAPSE_CONFIG_DIR"], "homeserver.yaml"));
  if (named !== undefined) return { paths: [named], own: undefined };
  if (args.generateConfig || args.generateKeys) throw new UsageError("--config-path is required");
  const own = resolve(workingDirectory, env["SYNAPSE_DATA_DIR"] ?? "data", "homeserver.yaml");
  return { paths: [own], own };
}

/** `--generate-config`: a new file, unless there is one. */
function makeConfig(args: HomeserverArguments, terminal: Terminal, place: ConfigPlace): string | undefined {
  if (args.reportStats === undefined) throw new UsageError("give --report-stats=yes or --report-stats=no");
  if (place.paths.length !== 1) throw new UsageError("--generate-config wants exactly one --config-path");
  const file = resolve(terminal.workingDirectory, place.paths[0]!);
  if (existsSync(file)) {
    terminal.print(`The configuration file ${file} exists already; making what is missing beside it.`);
    return undefined;
  }
  if (args.serverName === undefined) throw new UsageError("give the server's name with --server-name");
  writeNewConfig(file, {
    args,
    terminal,
    serverName: args.serverName,
    reportStats: args.reportStats === "yes",
    dataDir: resolve(terminal.workingDirectory, args.dataDirectory ?? ""),
  });
  terminal.print(`Made the configuration file ${file} for the server ${args.serverName}. Look through it before you start the server.`);
  return file;
}

/** The configuration of the data folder, at the first start. */
function makeOwnConfig(args: HomeserverArguments, terminal: Terminal, file: string): string {
  const { env } = terminal;
  writeNewConfig(file, {
    args,
    terminal,
    serverName: args.serverName ?? env["SYNAPSE_SERVER_NAME"] ?? "localhost",
    reportStats: (args.reportStats ?? env["SYNAPSE_REPORT_STATS"] ?? "no").toLowerCase() === "yes",
    dataDir: dirname(file),
  });
  return file;
}

function writeNewConfig(
  file: string,
  options: { args: HomeserverArguments; terminal: Terminal; serverName: string; reportStats: boolean; dataDir: string },
): void {
  const { args, terminal } = options;
  const text = generateConfig(
    {
      serverName: options.serverName,
      configDir: configDirectory([file], args.configDirectory, terminal.workingDirectory),
      dataDir: options.dataDir,
      reportStats: options.reportStats,
      generateSecrets: true,
      openPrivatePorts: args.openPrivatePorts,
      enableMetrics: args.enableMetrics,
      env: terminal.env,
    },
    systemRandom,
  );
  try {
    mkdirSync(dirname(file), { recursive: true });
    // It holds secrets.
    writeFileSync(file, text, { mode: 0o640, flag: "wx" });
  } catch (error) {
    throw new ConfigError(`cannot write ${file} (${(error as NodeJS.ErrnoException).code ?? String(error)})`);
  }
}

function requireServerName(raw: RawConfigFiles): void {
  if (!Object.hasOwn(raw.values, "server_name"))
    throw new ConfigError(`found nothing in ${raw.files.join(", ")}, wanted the name of the server`, "server_name");
}

function warnAboutFlags(args: HomeserverArguments, terminal: Terminal): void {
  if (args.manhole !== undefined) terminal.warn("--manhole has no effect: the manhole is a Python console");
  if (args.databasePath !== undefined) terminal.warn("--database-path has no effect: SQLite is not supported; set database in the configuration");
  if (args.logFile !== undefined) terminal.warn("--log-file has no effect: set log_config in the configuration");
}

/** The five lines after the first start: how to make a user, where to point a client. */
export function welcome(startup: Startup, addresses: readonly string[], terminal: Terminal): string[] {
  const file = relative(terminal.workingDirectory, startup.newConfigFile ?? startup.files[0] ?? "") || ".";
  const { serverName } = startup.config.server;
  const address = addresses.find((candidate) => candidate.startsWith("http")) ?? "the configured address";
  const url = address.replace(/\/\/(?:\[::1?\]|0\.0\.0\.0|127\.0\.0\.1)/, "//localhost");
  return [
    `Myelin runs as the Matrix server "${serverName}" at ${url}; its data is in ${dirname(file)}.`,
    `Make the first user, an admin, in another terminal:   npm run register_new_matrix_user -- -c ${file} -a`,
    `Log in with any client: homeserver ${url}, user @name:${serverName}.`,
    `Settings are in ${file}, messages in ${join(dirname(file), "homeserver.log")}; the database is a Postgres of its own.`,
    `Stop it with Ctrl+C and start it again with the same command; nothing is lost.`,
  ];
}
