import type { Logger } from "../../lib/log.ts";
import { type Database, DatabaseUnavailable, query, queryOne, type ReadHandle, type Txn } from "../database.ts";
import { LEFT_TO_SYNAPSE, pendingUpdates } from "../jobs/background-updates.ts";
import { expectedCatalogue } from "./catalogue-file.ts";
import { describeCatalogue, describeDatabase, differences } from "./compare.ts";
import { COMPAT_VERSION, DELTAS, type Delta, OLDEST_VERSION, SCHEMA_VERSION, versionOf } from "./deltas.ts";
import { fullSchemaSql } from "./files.ts";
import { StartupRefusal } from "./refusal.ts";
import { dropForeignPositions, healSequences, type SequenceBehind, type StreamWriters } from "./sequences.ts";

export interface OpenOptions {
  serverName: string;
  /** Synapse's `database.allow_unsafe_locale`. */
  allowUnsafeLocale?: boolean;
  /** A worker looks, and leaves making and changing to the main process. */
  worker?: boolean;
  /** The `stream_writers` of the config. */
  writers?: StreamWriters;
  log: Logger;
}

/** What opening the database came to. */
export interface OpenReport {
  /** The schema was made just now, in an empty database. */
  readonly created: boolean;
  /** The deltas that were applied, by Synapse's names. */
  readonly applied: readonly string[];
  /** The sequences that were moved up. */
  readonly moved: readonly SequenceBehind[];
  /** Background updates that wait to be run. */
  readonly pendingUpdates: number;
}

/**
 * Makes sure that the database is one this server can read and write: checks, makes or brings up to date the schema, mends sequences that
 * are behind. What cannot be mended without a decision of the admin refuses the start. To be called with the server's lock held
 * (`server-lock.ts`).
 * @throws StartupRefusal
 */
export async function openDatabase(db: Database, options: OpenOptions): Promise<OpenReport> {
  const { log } = options;
  await checkServer(db.read, options);
  const state = await readSchemaState(db.read);
  let applied: string[] = [];
  if (state === undefined) {
    if (options.worker) throw new StartupRefusal("schema-not-prepared", "The database is not prepared", "no schema", "Start the main process first: it makes the schema.");
    await refuseForeignTables(db.read);
    await db.transaction("create_schema", (txn) => query(txn, fullSchemaSql()));
    log.info("Made the schema in an empty database");
  } else {
    checkVersions(state);
    await refuseOldUpdates(db.read);
    await checkUsers(db.read, options);
    if (state.version > SCHEMA_VERSION) {
      log.warn(`The database's schema is ${state.version}, newer than ${SCHEMA_VERSION}: a newer server prepared it and declared it readable for us`);
    }
    applied = await bringUpToDate(db, state, options);
  }
  await checkSingleRows(db.read);
  await checkCatalogue(db.read, log);
  const { behind, exhausted } = options.worker ? { behind: [], exhausted: [] } : await healSequences(db);
  for (const { sequence, at, needed, because } of behind) {
    log.warn(`Moved the sequence ${sequence} up from ${at} to ${needed}, the value of ${because}: a restore or a fail-over had left it behind`);
  }
  for (const { sequence, at } of exhausted) {
    throw new StartupRefusal("sequence-range", `The sequence ${sequence} has run out of numbers`, String(at), "Its column holds 32 bits: set the sequence back to the largest id of its table.");
  }
  if (!options.worker && options.writers) {
    const writers = options.writers;
    await db.transaction("drop_foreign_positions", (txn) => dropForeignPositions(txn, writers));
  }
  const pending = await queryOne<{ count: number }>(db.read, "SELECT count(*) AS count FROM background_updates");
  return { created: state === undefined, applied, moved: behind, pendingUpdates: pending!.count };
}

// ------------------------------------------------------------------------------------------------------------- the server itself

/** Version, encoding and collation: what decides how text is stored and ordered. */
async function checkServer(h: ReadHandle, { allowUnsafeLocale, log }: OpenOptions): Promise<void> {
  let row: { version: number; release: string; encoding: string; collate: string; ctype: string; schema: string | null } | undefined;
  try {
    row = await queryOne(
      h,
      `SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS release,
              pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype, current_schema() AS schema
       FROM pg_database AS d WHERE d.datname = current_database()`,
    );
  } catch (error) {
    const cause = error instanceof DatabaseUnavailable ? error.cause : error;
    throw new StartupRefusal("unreachable", "The database cannot be opened", cause instanceof Error ? cause.message : String(cause), "Check that Postgres runs, and `database.args` in homeserver.yaml.", { cause });
  }
  const { version, release, encoding, collate, ctype, schema } = row!;
  if (version < 140000) throw new StartupRefusal("postgres-version", "Postgres 14 or newer is needed", release, "Upgrade the Postgres server.");
  if (encoding !== "UTF8") {
    throw new StartupRefusal("encoding", "The database must have the encoding UTF8", encoding, "Dump it, make a new database with ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0, and load the dump.");
  }
  if (collate !== "C" || ctype !== "C") {
    const found = `${collate} and ${ctype}`;
    if (!allowUnsafeLocale) {
      throw new StartupRefusal(
        "locale",
        "The database must have the collation and the ctype C",
        found,
        "Dump it and load it into a new database made with LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0, or set `database.allow_unsafe_locale: true` and reindex after each upgrade of the operating system.",
      );
    }
    log.warn(`The database has the collation and the ctype ${found}, not C: its indexes break when the operating system's locales change`);
  }
  if (schema === null) throw new StartupRefusal("schema-damaged", "The database has no schema to make tables in", "an empty search_path", "Create the schema `public`, or set search_path for this user.");
}

// ------------------------------------------------------------------------------------------------------------------- the schema

interface SchemaState {
  version: number;
  upgraded: boolean;
  compat: number | undefined;
  applied: Set<string>;
}

/** Undefined when the database has no schema yet. */
async function readSchemaState(h: ReadHandle): Promise<SchemaState | undefined> {
  const exists = await queryOne<{ version: boolean; compat: boolean; deltas: boolean }>(
    h,
    `SELECT to_regclass('schema_version') IS NOT NULL AS version, to_regclass('schema_compat_version') IS NOT NULL AS compat,
            to_regclass('applied_schema_deltas') IS NOT NULL AS deltas`,
  );
  if (!exists!.version) return undefined;
  const versions = await query<{ version: number; upgraded: boolean }>(h, "SELECT version, upgraded FROM schema_version");
  if (versions.length === 0) return undefined;
  if (versions.length > 1) throw singleRow("schema_version", versions.length);
  const compat = exists!.compat ? await query<{ compat_version: number }>(h, "SELECT compat_version FROM schema_compat_version") : [];
  const applied = exists!.deltas ? await query<{ file: string }>(h, "SELECT file FROM applied_schema_deltas") : [];
  return { ...versions[0]!, compat: compat[0]?.compat_version, applied: new Set(applied.map(({ file }) => file)) };
}

function checkVersions(state: SchemaState): void {
  if (state.compat !== undefined && state.compat > SCHEMA_VERSION) {
    throw new StartupRefusal("schema-too-new", `The database is for servers of schema version ${state.compat} or newer`, `schema version ${state.version}`, `This server has ${SCHEMA_VERSION}: use a newer release of Myelin, or the Synapse that wrote it.`);
  }
  if (state.version < OLDEST_VERSION) {
    throw new StartupRefusal("schema-too-old", `The database must be at schema version ${OLDEST_VERSION} at least`, `version ${state.version}`, "Start Synapse 1.160 on it once, wait until its background updates have run, stop it, and start Myelin.");
  }
}

/** Background updates that Synapse must run first. */
async function refuseOldUpdates(h: ReadHandle): Promise<void> {
  const waiting = (await pendingUpdates(h)).map(({ name }) => name).filter((name) => LEFT_TO_SYNAPSE.has(name));
  if (waiting.length === 0) return;
  throw new StartupRefusal(
    "old-updates",
    "Background updates from schemas long gone must be finished by Synapse",
    waiting.join(", "),
    "Start Synapse 1.160 on the database, wait until /_synapse/admin/v1/background_updates/status names no update, stop it, and start Myelin.",
  );
}

/** Our tables beside somebody else's of the same names, or a restore that did not finish. */
async function refuseForeignTables(h: ReadHandle): Promise<void> {
  const names = Object.keys(expectedCatalogue().tables).filter((name) => !["schema_version", "schema_compat_version", "applied_schema_deltas"].includes(name));
  const rows = await query<{ name: string }>(h, "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(quote_ident(name)) IS NOT NULL ORDER BY name", [names]);
  if (rows.length === 0) return;
  throw new StartupRefusal(
    "not-empty",
    "The database has no schema version, but tables of a homeserver",
    `${rows.length} tables (${rows.slice(0, 3).map(({ name }) => name).join(", ")}, ...)`,
    "It is a restore that did not finish, or another program's: restore it again, or name an empty database.",
  );
}

/** As Synapse, one user decides; others of another domain are reported. */
async function checkUsers(h: ReadHandle, { serverName, log }: OpenOptions): Promise<void> {
  const foreign = "substr(name, strpos(name, ':') + 1) <> $1";
  const row = await queryOne<{ name: string; foreign: boolean }>(h, `SELECT name, ${foreign} AS foreign FROM users LIMIT 1`, [serverName]);
  if (row?.foreign) {
    throw new StartupRefusal("foreign-users", `The database belongs to another server than ${serverName}`, `the user ${row.name}`, "Set `server_name` in homeserver.yaml to the domain of these users (it cannot be changed later), or name the right database.");
  }
  const count = await queryOne<{ count: number }>(h, `SELECT count(*) AS count FROM users WHERE ${foreign}`, [serverName]);
  if (count!.count > 0) log.warn(`${count!.count} users in the database are not of ${serverName}`);
}

/** The deltas that this database lacks. A version that was reached whole (`upgraded` false) has those of its own version in it. */
export function missingDeltas(state: Pick<SchemaState, "version" | "upgraded" | "applied">): Delta[] {
  const first = state.upgraded ? state.version : state.version + 1;
  return DELTAS.filter((delta) => versionOf(delta) >= first && !state.applied.has(delta.file));
}

async function bringUpToDate(db: Database, state: SchemaState, { worker, log }: OpenOptions): Promise<string[]> {
  const missing = missingDeltas(state);
  if (worker) {
    if (missing.length > 0 || state.version < SCHEMA_VERSION) {
      throw new StartupRefusal("schema-not-prepared", "The schema is not up to date", `version ${state.version}${missing.length > 0 ? `, without ${missing[0]!.file}` : ""}`, "Start the main process first: it upgrades the schema.");
    }
    return [];
  }
  const raisesCompat = state.compat === undefined || state.compat < COMPAT_VERSION;
  if (missing.length === 0 && state.version >= SCHEMA_VERSION && !raisesCompat) return [];
  log.info(`Bringing the schema from version ${state.version} to ${SCHEMA_VERSION}: ${missing.length} changes`);
  await db.transaction("upgrade_schema", async (txn) => {
    if (raisesCompat) await writeSingleRow(txn, "schema_compat_version", "compat_version", String(COMPAT_VERSION));
    for (const delta of missing) {
      log.info(`Applying schema ${delta.file}`);
      if (delta.sql !== "") await query(txn, delta.sql);
    }
    await query(txn, "INSERT INTO applied_schema_deltas (version, file) SELECT * FROM unnest($1::int[], $2::text[])", [missing.map(versionOf), missing.map(({ file }) => file)]);
    if (state.version <= SCHEMA_VERSION) await writeSingleRow(txn, "schema_version", "version, upgraded", `${SCHEMA_VERSION}, true`);
  });
  return missing.map(({ file }) => file);
}

async function writeSingleRow(txn: Txn, table: string, columns: string, values: string): Promise<void> {
  await query(txn, `DELETE FROM ${table}`);
  await query(txn, `INSERT INTO ${table} (${columns}) VALUES (${values})`);
}

// ------------------------------------------------------------------------------------------------------------------ its contents

const SINGLE_ROW_TABLES = [
  "event_push_summary_stream_ordering",
  "event_push_summary_last_receipt_stream_id",
  "appservice_stream_position",
  "stats_incremental_position",
  "user_directory_stream_pos",
  "room_forgetter_stream_pos",
  "delayed_events_stream_pos",
  "device_lists_changes_converted_stream_position",
  "device_lists_changes_in_room_max_pruned_stream_id",
];

const singleRow = (table: string, count: number): StartupRefusal =>
  new StartupRefusal(
    "single-row",
    `The table ${table} must have exactly one row`,
    `${count} rows`,
    "It says how far a job has come; no value but the right one is safe: restore it from the backup that the other tables came from.",
  );

async function checkSingleRows(h: ReadHandle): Promise<void> {
  const counts = await query<{ name: string; count: number }>(h, SINGLE_ROW_TABLES.map((table) => `SELECT '${table}' AS name, count(*) AS count FROM ${table}`).join(" UNION ALL "));
  const wrong = counts.find(({ count }) => count !== 1);
  if (wrong) throw singleRow(wrong.name, wrong.count);
}

/** Missing tables, columns and sequences refuse the start; missing or spoilt indexes, constraints and triggers are reported. */
async function checkCatalogue(h: ReadHandle, log: Logger): Promise<void> {
  const found = differences(describeCatalogue(expectedCatalogue()), await describeDatabase(h)).filter(({ expected }) => expected !== undefined);
  const missing = found.filter(({ object, found: text }) => text === undefined && /^(table|column|sequence) /.test(object));
  if (missing.length > 0) {
    throw new StartupRefusal("schema-damaged", "Parts of the schema are missing", `no ${missing.slice(0, 5).map(({ object }) => object).join(", no ")}${missing.length > 5 ? ` and ${missing.length - 5} more` : ""}`, "Restore the database from a complete dump.");
  }
  const pending = new Set((await query<{ update_name: string }>(h, "SELECT update_name FROM background_updates")).map(({ update_name }) => update_name));
  const later = new Set<string>();
  for (const [table, { indexes }] of Object.entries(expectedCatalogue().tables)) {
    for (const index of indexes) if (index.created_by_background_update && pending.has(index.created_by_background_update)) later.add(`index ${table}.${index.name}`);
  }
  for (const { object, found: text, expected } of found) {
    if (/^trigger |^constraint |^index |^table /.test(object) && !later.has(object) && !(pending.size > 0 && text?.startsWith(expected!.replace(" NOT VALID", "")))) {
      if (text === undefined) log.warn(`The database has no ${object} (${expected}): its dump or restore was not complete`);
      else if (text.endsWith(" INVALID")) log.warn(`The ${object} was not finished: drop it and create it again (${expected})`);
      else log.warn(`The ${object} of the database is "${text}", not "${expected}"`);
    }
  }
}
