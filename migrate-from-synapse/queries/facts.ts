import { query, queryOne, type ReadHandle } from "../../src/storage/database.ts";

/** What the database server and the schema say of themselves. */
export interface DatabaseFacts {
  /** `server_version_num`, such as 150004. */
  readonly version: number;
  readonly release: string;
  readonly encoding: string;
  readonly collate: string;
  readonly ctype: string;
  readonly database: string;
  readonly user: string;
  /** Bytes. */
  readonly size: number;
  readonly standby: boolean;
  /** Milliseconds since the epoch, by the clock of the database's machine. */
  readonly now: number;
  /** The schema that sessions of this user look into first; null: none. */
  readonly currentSchema: string | null;
  /** Schemas that hold Synapse's tables. */
  readonly schemas: readonly string[];
  /** Where our connection ends, as Postgres sees it; null for a Unix socket. */
  readonly serverPort: number | null;
  /** No tables of Synapse's when undefined. */
  readonly schema: SchemaFacts | undefined;
  /** Estimated rows by table. */
  readonly rows: ReadonlyMap<string, number>;
  /** Tables that exist. */
  readonly tables: ReadonlySet<string>;
  readonly sequences: ReadonlySet<string>;
}

export interface SchemaFacts {
  readonly version: number;
  readonly upgraded: boolean;
  readonly versionRows: number;
  readonly compat: number | undefined;
  readonly deltas: readonly { readonly version: number; readonly file: string }[];
}

export async function readFacts(h: ReadHandle): Promise<DatabaseFacts> {
  const [server] = await query<Omit<DatabaseFacts, "schema" | "rows" | "tables" | "sequences">>(
    h,
    `SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS release,
            pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype, d.datname AS database, current_user AS user,
            pg_database_size(d.oid) AS size, pg_is_in_recovery() AS standby, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now,
            inet_server_port() AS "serverPort", current_schema() AS "currentSchema",
            ARRAY(SELECT schemaname::text FROM pg_tables WHERE tablename = 'event_to_state_groups' ORDER BY 1) AS schemas
     FROM pg_database AS d WHERE d.datname = current_database()`,
  );
  const relations = await query<{ name: string; rows: number; table: boolean }>(
    h,
    `SELECT c.relname AS name, GREATEST(c.reltuples, 0)::bigint AS rows, c.relkind <> 'S' AS table FROM pg_class AS c
     WHERE c.relkind IN ('r', 'p', 'S') AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())`,
  );
  const tables = relations.filter(({ table }) => table);
  const names = new Set(tables.map(({ name }) => name));
  return {
    ...server!,
    rows: new Map(tables.map(({ name, rows }) => [name, rows])),
    tables: names,
    sequences: new Set(relations.filter(({ table }) => !table).map(({ name }) => name)),
    schema: await readSchema(h, names),
  };
}

async function readSchema(h: ReadHandle, tables: ReadonlySet<string>): Promise<SchemaFacts | undefined> {
  if (!tables.has("schema_version")) return undefined;
  const versions = await query<{ version: number; upgraded: boolean }>(h, "SELECT version, upgraded FROM schema_version");
  const compat = tables.has("schema_compat_version")
    ? await queryOne<{ compat: number }>(h, "SELECT max(compat_version) AS compat FROM schema_compat_version")
    : undefined;
  const deltas = tables.has("applied_schema_deltas")
    ? await query<{ version: number; file: string }>(h, "SELECT version, file FROM applied_schema_deltas")
    : [];
  if (versions.length === 0) return undefined;
  return { ...versions[0]!, versionRows: versions.length, compat: compat?.compat ?? undefined, deltas };
}

/** What an admin has set for sessions of this user, whatever our own session has set since. */
export async function defaultSettings(h: ReadHandle, names: readonly string[]): Promise<Map<string, { value: string; unit: string | null }>> {
  const rows = await query<{ name: string; value: string; unit: string | null }>(
    h,
    "SELECT name, reset_val AS value, unit FROM pg_settings WHERE name = ANY($1)",
    [names],
  );
  return new Map(rows.map(({ name, value, unit }) => [name, { value, unit }]));
}

/** The version of the collation that the database was made with, and the one that the operating system has now; null when it has none. */
export async function collationVersions(h: ReadHandle): Promise<{ stored: string | null; actual: string | null } | undefined> {
  return await queryOne(
    h,
    "SELECT datcollversion AS stored, pg_database_collation_actual_version(oid) AS actual FROM pg_database WHERE datname = current_database()",
  );
}

/** Schemas of modules, by module. */
export async function moduleSchemas(h: ReadHandle): Promise<{ module: string; files: number }[]> {
  return await query(h, "SELECT module_name AS module, count(*)::int AS files FROM applied_module_schemas GROUP BY 1 ORDER BY 1");
}
