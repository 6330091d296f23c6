import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { stringify } from "yaml";
import { ConfigError } from "../../config/errors.ts";
import { generateMissingFiles, postgresSettings } from "../../config/generate.ts";
import { systemRandom } from "../../lib/random.ts";
import { CommandFailed } from "../command.ts";
import type { Terminal } from "../terminal.ts";

/** What the container's entry point does next. */
export interface DockerPlan {
  /** The server's command line; undefined: all is done. */
  readonly argv: readonly string[] | undefined;
  /** User and group to become. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

/** The account of Synapse's image. */
const DEFAULT_ID = 991;
const DEFAULT_DATA = "/data";

/**
 * The modes of Synapse's Docker image: `run` (default), `generate`, `migrate_config`, by its environment variables.
 * @throws CommandFailed, ConfigError
 */
export function planDockerStart(terminal: Terminal, isRoot: boolean): DockerPlan {
  const { env } = terminal;
  const [mode = "run", ...rest] = terminal.argv;
  const owner = chooseOwner(env, isRoot);
  const configDir = env["SYNAPSE_CONFIG_DIR"] ?? DEFAULT_DATA;
  const configPath = env["SYNAPSE_CONFIG_PATH"] ?? join(configDir, "homeserver.yaml");
  switch (mode) {
    case "run":
      return { argv: runArguments(rest, env, configPath), owner };
    case "generate":
      return { argv: generateArguments(env, configDir, configPath), owner };
    case "migrate_config":
      migrateConfig(terminal, configDir, configPath);
      return { argv: undefined, owner };
    default:
      throw new CommandFailed(`Unknown execution mode '${mode}', wanted run, generate or migrate_config`);
  }
}

function chooseOwner(env: Terminal["env"], isRoot: boolean): DockerPlan["owner"] {
  if (!isRoot && env["UID"] === undefined) return undefined;
  const uid = Number(env["UID"] ?? DEFAULT_ID);
  const gid = Number(env["GID"] ?? DEFAULT_ID);
  if (!Number.isInteger(uid) || !Number.isInteger(gid)) throw new CommandFailed("UID and GID must be numbers");
  return { uid, gid };
}

/** Gives a folder with all in it to an account, as far as it is not its own already. */
export function giveTo(path: string, owner: { readonly uid: number; readonly gid: number }): void {
  if (!existsSync(path)) return;
  const stat = statSync(path);
  if (stat.uid !== owner.uid || stat.gid !== owner.gid) chownSync(path, owner.uid, owner.gid);
  if (!stat.isDirectory()) return;
  for (const name of readdirSync(path)) giveTo(join(path, name), owner);
}

function runArguments(rest: readonly string[], env: Terminal["env"], configPath: string): string[] {
  // `-m synapse.app.generic_worker` chooses a program in Synapse's image; here the configuration says what a process is.
  const args = rest.filter((arg, index) => arg !== "-m" && rest[index - 1] !== "-m");
  if (args.some((arg) => arg.startsWith("--config-path") || arg.startsWith("-c"))) return args;
  if (!existsSync(configPath)) {
    const advice =
      env["SYNAPSE_SERVER_NAME"] === undefined
        ? "make one with `generate`, or name another with SYNAPSE_CONFIG_PATH"
        : "make one of the environment variables with `migrate_config`";
    throw new CommandFailed(`Config file '${configPath}' does not exist: ${advice}.`);
  }
  return [...args, "--config-path", configPath];
}

function required(env: Terminal["env"], name: string, mode: string): string {
  const value = env[name];
  if (value === undefined) throw new CommandFailed(`Environment variable '${name}' is mandatory in \`${mode}\` mode.`);
  return value;
}

function isOn(env: Terminal["env"], name: string): boolean {
  const value = (env[name] ?? "0").toLowerCase();
  if (["y", "yes", "t", "true", "on", "1"].includes(value)) return true;
  if (["n", "no", "f", "false", "off", "0"].includes(value)) return false;
  throw new CommandFailed(`Environment variable "${name}" found but value "${value}" unrecognized; exiting.`);
}

function generateArguments(env: Terminal["env"], configDir: string, configPath: string): string[] {
  const serverName = required(env, "SYNAPSE_SERVER_NAME", "generate");
  const reportStats = required(env, "SYNAPSE_REPORT_STATS", "generate");
  const metrics = isOn(env, "SYNAPSE_ENABLE_METRICS") ? ["--enable-metrics"] : [];
  const places = ["--config-path", configPath, "--config-directory", configDir, "--data-directory", env["SYNAPSE_DATA_DIR"] ?? DEFAULT_DATA];
  return ["--server-name", serverName, "--report-stats", reportStats, ...places, "--generate-config", "--open-private-ports", ...metrics];
}

/** Writes the configuration that the environment variables of old images stand for, with its keys. */
function migrateConfig(terminal: Terminal, configDir: string, configPath: string): void {
  const { env } = terminal;
  const serverName = required(env, "SYNAPSE_SERVER_NAME", "migrate_config");
  const reportStats = required(env, "SYNAPSE_REPORT_STATS", "migrate_config").toLowerCase() === "yes";
  const data = env["SYNAPSE_DATA_DIR"] ?? DEFAULT_DATA;
  const withoutTls = isOn(env, "SYNAPSE_NO_TLS");
  const appservices = join(data, "appservices");
  const captcha = env["SYNAPSE_RECAPTCHA_PUBLIC_KEY"];
  const turnUris = env["SYNAPSE_TURN_URIS"];
  const resources = [
    { names: ["client"], compress: true },
    { names: ["federation"], compress: false },
  ];
  const postgres = postgresSettings(env);
  const config = {
    ...(withoutTls ? {} : { tls_certificate_path: join(data, `${serverName}.tls.crt`), tls_private_key_path: join(data, `${serverName}.tls.key`) }),
    server_name: serverName,
    log_config: env["SYNAPSE_LOG_CONFIG"] ?? join(configDir, "log.config"),
    listeners: [
      ...(withoutTls ? [] : [{ port: 8448, bind_addresses: ["::"], type: "http", tls: true, x_forwarded: false, resources }]),
      { port: Number(env["SYNAPSE_HTTP_PORT"] ?? 8008), bind_addresses: ["::"], type: "http", tls: false, x_forwarded: false, resources },
      ...(isOn(env, "SYNAPSE_ENABLE_METRICS") ? [{ port: 19090, type: "metrics" }] : []),
    ],
    ...(postgres === undefined ? { myelin: { embedded_postgres: join(data, "postgres") } } : { database: { name: "psycopg2", args: postgres } }),
    event_cache_size: env["SYNAPSE_EVENT_CACHE_SIZE"] ?? "10K",
    media_store_path: join(data, "media"),
    max_upload_size: env["SYNAPSE_MAX_UPLOAD_SIZE"] ?? "50M",
    ...(captcha === undefined
      ? {}
      : { recaptcha_public_key: captcha, recaptcha_private_key: env["SYNAPSE_RECAPTCHA_PRIVATE_KEY"], enable_registration_captcha: true }),
    ...(turnUris === undefined ? {} : { turn_uris: turnUris.split(","), turn_shared_secret: env["SYNAPSE_TURN_SECRET"] }),
    enable_registration: Boolean(env["SYNAPSE_ENABLE_REGISTRATION"]),
    allow_guest_access: Boolean(env["SYNAPSE_ALLOW_GUEST"]),
    registration_shared_secret: keptSecret(terminal, "SYNAPSE_REGISTRATION_SHARED_SECRET", join(data, `${serverName}.registration.key`)),
    macaroon_secret_key: keptSecret(terminal, "SYNAPSE_MACAROON_SECRET_KEY", join(data, `${serverName}.macaroon.key`)),
    enable_metrics: reportStats,
    report_stats: reportStats,
    ...(existsSync(appservices)
      ? {
          app_service_config_files: readdirSync(appservices)
            .filter((name) => name.endsWith(".yaml"))
            .sort()
            .map((name) => join(appservices, name)),
        }
      : {}),
    signing_key_path: join(data, `${serverName}.signing.key`),
    trusted_key_servers: [{ server_name: "matrix.org" }],
  };
  terminal.print(`Generating configuration file ${configPath}`);
  writeNew(configPath, stringify(config));
  for (const line of generateMissingFiles(config, { configDir: resolve(configDir), dataDir: terminal.workingDirectory }, systemRandom, undefined))
    terminal.print(line);
}

/** A secret from its environment variable, else from the file where an earlier run kept it, else a new one that is kept there. */
function keptSecret(terminal: Terminal, variable: string, file: string): string {
  const given = terminal.env[variable];
  if (given !== undefined) return given;
  if (existsSync(file)) return readFileSync(file, "utf8");
  const secret = systemRandom.bytes(32).toString("hex");
  writeNew(file, secret);
  terminal.print(`Generated a random secret for ${variable}`);
  return secret;
}

function writeNew(file: string, text: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text, { mode: 0o640 });
  } catch (error) {
    throw new ConfigError(`cannot write the file ${file} (${(error as NodeJS.ErrnoException).code ?? String(error)})`);
  }
}
