import type { Config } from "../config/config.ts";
import { ConfigError } from "../config/errors.ts";
import { ConfigReader, isMapping, type ParseContext, ReadTracker } from "../config/reader.ts";
import { parseDatabase } from "../config/sections/database.ts";
import { systemClock } from "../lib/clock.ts";
import { runningEmbeddedPostgres, startEmbeddedPostgres } from "../lib/embedded-postgres.ts";
import type { Logger } from "../lib/log.ts";
import { offersTls } from "../lib/postgres-tls.ts";
import { Database } from "../storage/database.ts";
import { createDatabaseIfMissing } from "../storage/schema/create-database.ts";
import { APPLICATION_NAME } from "../storage/schema/server-lock.ts";
import type { Terminal } from "./terminal.ts";

/** What has to be undone at the end, last things first. */
export type Undo = () => void | Promise<void>;

/** The part of the configuration that says where the database is. */
export interface DatabasePlace {
  readonly database: Config["database"];
  readonly myelin: Pick<Config["myelin"], "embeddedPostgres">;
}

/** Where the database of a configuration is, of which the rest may be wrong or missing. @throws ConfigError */
export function databasePlace(values: Readonly<Record<string, unknown>>, terminal: Terminal): DatabasePlace {
  if (!isMapping(values)) throw new ConfigError("the configuration is no mapping of options");
  const { workingDirectory, env } = terminal;
  const ctx: ParseContext = { configDir: workingDirectory, dataDir: workingDirectory, env, allowSecretsInConfig: true, notice: () => {} };
  const raw = new ConfigReader(values, new ReadTracker());
  return { database: parseDatabase(raw, ctx), myelin: { embeddedPostgres: raw.object("myelin").filePath("embedded_postgres", ctx) } };
}

function at<T extends DatabasePlace>(place: T, connection: Partial<Config["database"]["connection"]>): T {
  return { ...place, database: { ...place.database, connection: { ...place.database.connection, ...connection } } };
}

/** Starts the embedded Postgres where there is one, and finds out whether another one wants TLS. */
export async function connectDatabase<T extends DatabasePlace>(config: T, log: Logger, undo: Undo[]): Promise<T> {
  const folder = config.myelin.embeddedPostgres;
  if (folder !== undefined) {
    const postgres = await startEmbeddedPostgres({ dataFolder: folder, durable: true, log: log.named("synapse.storage.embedded_postgres") });
    const kill = (): void => postgres.kill();
    process.on("exit", kill);
    undo.push(async () => {
      await postgres.stop();
      process.off("exit", kill);
    });
    const { host, port, user, password } = postgres;
    const { database } = config.database.connection;
    await createDatabaseIfMissing({ host, port, user, password }, database);
    return at(config, { host, port, user, password });
  }
  const { sslMode, connection } = config.database;
  if (sslMode === "prefer" && (await offersTls(connection.host, connection.port))) {
    return at(config, { ssl: { rejectUnauthorized: false, ca: undefined, cert: undefined, key: undefined } });
  }
  return config;
}

/** Runs a command on the database of a configuration; a server may be at work on it, also on an embedded one. */
export async function withDatabase<T>(config: DatabasePlace, log: Logger, run: (db: Database) => Promise<T>): Promise<T> {
  const undo: Undo[] = [];
  const folder = config.myelin.embeddedPostgres;
  const running = folder === undefined ? undefined : await runningEmbeddedPostgres(folder);
  try {
    const { database } = running === undefined ? await connectDatabase(config, log, undo) : at(config, running);
    const db = new Database({ ...database.connection, applicationName: `${APPLICATION_NAME} command` }, systemClock, log);
    undo.push(() => db.close());
    return await run(db);
  } finally {
    for (const step of undo.reverse()) await step();
  }
}
