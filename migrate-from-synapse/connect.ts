import type { Config } from "../src/config/config.ts";
import type { Clock } from "../src/lib/clock.ts";
import { silentLogger } from "../src/lib/log.ts";
import { offersTls } from "../src/lib/postgres-tls.ts";
import { Database, DatabaseUnavailable } from "../src/storage/database.ts";
import { blocker, type Draft } from "./finding.ts";

/** One connection, for one reader. */
export async function connect(config: Config, clock: Clock, statementTimeoutMs: number): Promise<Database> {
  const { sslMode, connection } = config.database;
  const tls = sslMode === "prefer" && (await offersTls(connection.host, connection.port));
  const ssl = tls ? { rejectUnauthorized: false, ca: undefined, cert: undefined, key: undefined } : connection.ssl;
  const db = new Database(
    {
      ...connection,
      // With none the driver gives up when it is asked for one, and leaves its connection open half way for a minute.
      password: connection.password || " ",
      ssl,
      poolSize: 1,
      statementTimeoutMs,
      txnLimit: 0,
      connectionTimeoutMs: Math.min(connection.connectionTimeoutMs || 10_000, 10_000),
      applicationName: APPLICATION,
    },
    clock,
    silentLogger,
  );
  try {
    // One attempt: a wrong password does not get better by being tried again.
    const client = await db.dedicatedConnection();
    client.release();
  } catch (error) {
    await db.close();
    throw error;
  }
  return db;
}

/** How the checker names itself in `pg_stat_activity`. */
export const APPLICATION = "myelin-check";

/** Why the database cannot be reached, for the admin. */
export function connectionProblem(error: unknown, config: Config): Draft {
  const cause = error instanceof DatabaseUnavailable ? error.cause : error;
  const { host, port, user, password, database } = config.database.connection;
  const place = host.startsWith("/") ? `the socket in ${host} (port ${port})` : `${host}:${port}`;
  const why = "Nothing in the database could be looked at.";
  const say = (what: string, todo: string): Draft => blocker("connection", { what, why, todo });
  const { code, message } = cause as { code?: string; message?: string };
  switch (code) {
    case "28P01":
      if (!password)
        return say(`Postgres at ${place} wants a password for ${user}, and the configuration has none`, "Set `database.args.password`, or a password file.");
      return say(`Postgres at ${place} refuses the password of ${user}`, "Correct `database.args.password` (or the password file).");
    case "28000":
      return say(`Postgres at ${place} does not let ${user} in: ${message}`, "Allow this user and host in pg_hba.conf, or correct `database.args`.");
    case "3D000":
      return say(`Postgres at ${place} has no database ${database}`, "Correct `database.args.dbname`, or restore the database.");
    case "42501":
      return say(`${user} may not read the database ${database}: ${message}`, "Run the check as the user that owns Synapse's tables.");
    case "53300":
      return say(`Postgres at ${place} has no connection left`, "Raise max_connections, or end what is not needed; Myelin needs `cp_max` of them.");
    case "ECONNREFUSED":
    case "ENOENT":
      return say(`Nothing answers at ${place}`, "Check that Postgres runs, and `database.args.host` and `port`.");
    case "EACCES":
      return say(`${place} may not be opened by this user`, "Run the check as the user that runs Synapse.");
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return say(`The name ${host} is not known`, "Correct `database.args.host`, or the name service of this machine.");
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return say(`${place} cannot be reached`, "Check `database.args.host`, the network and the firewall.");
  }
  if (/timeout exceeded|timeout expired/.test(message ?? ""))
    return say(`${place} did not answer in time`, "Check `database.args.host`, the network and the firewall.");
  return say(`The database at ${place} cannot be opened: ${message ?? String(cause)}`, "Check that Postgres runs, and `database.args`.");
}
