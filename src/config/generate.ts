import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Random } from "../lib/random.ts";
import { ConfigError } from "./errors.ts";
import { ConfigReader, ReadTracker } from "./reader.ts";
import { signingKeyPath } from "./sections/key.ts";
import { parseServerName } from "../protocol/ids.ts";
import { decodeKeyBytes, formatSigningKey } from "./signing-key.ts";

/** What a new homeserver.yaml is made of. */
export interface GenerateOptions {
  readonly serverName: string;
  /** Absolute; for the signing key and the log configuration. */
  readonly configDir: string;
  /** Absolute; for media, the pid file and an embedded database. */
  readonly dataDir: string;
  /** undefined: the option is left out. */
  readonly reportStats: boolean | undefined;
  readonly generateSecrets: boolean;
  /** Listen on all addresses instead of the loopback ones. */
  readonly openPrivatePorts: boolean;
  readonly enableMetrics: boolean;
  /** POSTGRES_HOST, POSTGRES_PORT, POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB as the Docker image has them; without them an embedded Postgres. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The text of a new homeserver.yaml. @throws ConfigError for a bad server name */
export function generateConfig(options: GenerateOptions, random: Random): string {
  const { serverName } = options;
  if (parseServerName(serverName) === undefined)
    throw new ConfigError(`found ${JSON.stringify(serverName)}, wanted a domain such as "example.org"`, "--server-name");
  const bindPort = /:(\d+)$/.exec(serverName)?.[1];
  const port = bindPort === undefined ? 8008 : Number(bindPort) - 400;
  const addresses = options.openPrivatePorts ? "" : `\n    bind_addresses: ['::1', '127.0.0.1']`;
  const secret = (name: string): string => (options.generateSecrets ? `${name}: ${quote(random.letters(50))}\n` : "");
  return `# Configuration of Myelin, in the format of Synapse:
# https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html
server_name: ${quote(serverName)}
${serverName === "localhost" ? `public_baseurl: "http://localhost:${port}/"\n` : ""}pid_file: ${quote(join(options.dataDir, "homeserver.pid"))}
listeners:
  - port: ${port}
    type: http
    tls: false
    x_forwarded: true${addresses}
    resources:
      - names: [client, federation]
        compress: false
${options.enableMetrics ? `  - port: 19090\n    type: metrics\n    tls: false${addresses}\n` : ""}${databaseSection(options)}
log_config: ${quote(join(options.configDir, `${serverName}.log.config`))}
media_store_path: ${quote(join(options.dataDir, "media_store"))}
${secret("registration_shared_secret")}${options.reportStats === undefined ? "" : `report_stats: ${options.reportStats}\n`}${options.enableMetrics ? "enable_metrics: true\n" : ""}${secret("macaroon_secret_key")}${secret("form_secret")}signing_key_path: ${quote(join(options.configDir, `${serverName}.signing.key`))}
# Who is asked for the keys of servers that do not answer themselves.
trusted_key_servers:
  - server_name: "matrix.org"
suppress_key_server_warning: true

# vim:ft=yaml
`;
}

function databaseSection(options: GenerateOptions): string {
  const args = postgresSettings(options.env);
  if (args !== undefined) {
    const lines = Object.entries(args).map(([name, value]) => `\n    ${name}: ${typeof value === "number" ? value : quote(value)}`);
    return `database:\n  name: psycopg2\n  args:${lines.join("")}`;
  }
  return `# Myelin starts a Postgres of its own in this folder. For a server that is to last, set up PostgreSQL and
# replace these two lines by
#   database:
#     name: psycopg2
#     args: {user: synapse, password: secret, dbname: synapse, host: localhost, cp_min: 5, cp_max: 10}
myelin:
  embedded_postgres: ${quote(join(options.dataDir, "postgres"))}`;
}

/** psycopg2's arguments by the variables of Synapse's and Postgres's Docker images; undefined without POSTGRES_HOST and POSTGRES_PASSWORD. */
export function postgresSettings(env: GenerateOptions["env"]): Readonly<Record<string, string | number>> | undefined {
  if (!env["POSTGRES_HOST"] && !env["POSTGRES_PASSWORD"]) return undefined;
  return {
    user: env["POSTGRES_USER"] || "synapse",
    ...(env["POSTGRES_PASSWORD"] ? { password: env["POSTGRES_PASSWORD"] } : {}),
    dbname: env["POSTGRES_DB"] || "synapse",
    host: env["POSTGRES_HOST"] || "db",
    port: env["POSTGRES_PORT"] || "5432",
    cp_min: Number(env["POSTGRES_CP_MIN"] || 5),
    cp_max: Number(env["POSTGRES_CP_MAX"] || 10),
  };
}

/** A YAML double-quoted string. */
function quote(text: string): string {
  return JSON.stringify(text);
}

/** The text of a new log configuration that writes to `logFile`, or to the console when that is undefined. */
export function generateLogConfig(logFile: string | undefined): string {
  const file =
    logFile === undefined
      ? ""
      : `
    # One file a day; the last three are kept.
    file:
        class: logging.handlers.TimedRotatingFileHandler
        formatter: precise
        filename: ${quote(logFile)}
        when: midnight
        backupCount: 3
        encoding: utf8

    # Collects messages and writes them to the file together: when there are \`capacity\` of them, after \`period\` seconds,
    # or at once for warnings (30) and errors (40).
    buffer:
        class: synapse.logging.handlers.PeriodicallyFlushingMemoryHandler
        target: file
        capacity: 10
        flushLevel: 30
        period: 5
`;
  return `# How and where Myelin logs: a dictionary of Python's logging.config, as Synapse reads it.
version: 1

formatters:
    precise:
        format: '%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s'

handlers:${file}
    console:
        class: logging.StreamHandler
        formatter: precise

loggers:
    # At DEBUG this one shows statements with their parameters.
    synapse.storage.SQL:
        level: INFO

root:
    level: INFO
    handlers: [${logFile === undefined ? "console" : "buffer"}]

disable_existing_loggers: false
`;
}

/** A new signing key as the line of a key file, with its end. */
export function generateSigningKey(random: Random): string {
  return `${formatSigningKey({ version: `a_${random.letters(4)}`, seed: random.bytes(32) })}\n`;
}

/**
 * Makes the files that the configuration names and that do not exist: the signing key, the log configuration, the file of the
 * registration secret. A signing key file of the oldest form (a bare seed) is rewritten.
 * @returns what was made, one line each
 */
export function generateMissingFiles(
  values: Readonly<Record<string, unknown>>,
  places: { readonly configDir: string; readonly dataDir: string },
  random: Random,
  logFile: string | undefined,
): string[] {
  const made: string[] = [];
  const raw = new ConfigReader(values, new ReadTracker());
  const serverName = raw.requiredString("server_name");
  const logConfig = raw.filePath("log_config", places);
  if (logConfig !== undefined && !existsSync(logConfig)) {
    write(logConfig, generateLogConfig(logFile), 0o644);
    made.push(`Generated the log configuration ${logConfig}`);
  }
  if (!raw.has("signing_key")) {
    const file = signingKeyPath(raw, places, serverName);
    const old = existsSync(file) ? readFileSync(file, "utf8") : undefined;
    const text = old === undefined ? generateSigningKey(random) : modernised(old, random);
    if (text !== undefined) {
      write(file, text, 0o640);
      made.push(`Generated the signing key ${file}`);
    }
  }
  const secretFile = raw.filePath("registration_shared_secret_path", places);
  if (secretFile !== undefined && !existsSync(secretFile)) {
    write(secretFile, `${random.letters(50)}\n`, 0o640);
    made.push(`Generated the registration secret ${secretFile}`);
  }
  return made;
}

/** The three-word form of a key file that holds only a seed; undefined when it is in that form already. */
function modernised(text: string, random: Random): string | undefined {
  const words = text.split("\n")[0]!.trim().split(/\s+/);
  const seed = words.length === 1 ? decodeKeyBytes(words[0]!) : undefined;
  return seed === undefined ? undefined : `${formatSigningKey({ version: `a_${random.letters(4)}`, seed })}\n`;
}

/** @throws ConfigError when it cannot be written */
function write(file: string, text: string, mode: number): void {
  try {
    mkdirSync(dirname(resolve(file)), { recursive: true });
    writeFileSync(file, text, { mode });
    if (mode !== 0o644) chmodSync(file, mode);
  } catch (error) {
    throw new ConfigError(`cannot write the file ${file} (${(error as NodeJS.ErrnoException).code ?? String(error)})`);
  }
}
