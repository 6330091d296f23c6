import { schemaFile } from "./files.ts";

/** The shape of `schema/catalogue.json`: what Postgres says of a database made by Synapse 1.160, all background updates done. */
export interface Column {
  name: string;
  type: string;
  nullable: boolean;
  default: string | null;
  identity?: "ALWAYS";
}

export interface ForeignKey {
  name: string;
  columns: string[];
  references: string;
  ref_columns: string[];
  on_delete: string;
  on_update: string;
  deferrable: boolean;
  initially_deferred: boolean;
  validated: boolean;
}

export interface Index {
  name: string;
  definition: string;
  unique: boolean;
  primary: boolean;
  valid: boolean;
  method: string;
  /** The background update that makes it on a database that Synapse creates. */
  created_by_background_update?: string;
}

export interface Table {
  unlogged: boolean;
  replica_identity: string;
  storage_params: string[];
  columns: Column[];
  primary_key: { name: string; columns: string[] } | null;
  unique_constraints: { name: string; columns: string[]; deferrable: boolean }[];
  foreign_keys: ForeignKey[];
  checks: { name: string; definition: string; validated: boolean }[];
  indexes: Index[];
  column_stats_n_distinct: Record<string, string[]>;
}

export interface Sequence {
  name: string;
  type: string;
  start: number;
  increment: number;
  min: number;
  max: number;
  cache: number;
  cycle: boolean;
  owner_table: string | null;
  owner_column: string | null;
  identity?: boolean;
  fresh_last_value: number;
  fresh_is_called: boolean;
}

export interface Catalogue {
  schema_version: number;
  schema_compat_version: number;
  tables: Record<string, Table>;
  sequences: Sequence[];
  functions: { name: string; arguments: string; returns: string; language: string }[];
  triggers: { table: string; name: string; function: string; level: string; timing: string; events: string[] }[];
  applied_schema_deltas: { version: number; file: string }[];
  background_updates: { update_name: string; ordering: number; depends_on: string | null; kind: string }[];
  known_background_update_handlers: { name: string; kind: string; index?: string; table?: string }[];
  seed_rows: Record<string, Record<string, unknown>[]>;
}

let loaded: Catalogue | undefined;

/** The catalogue that a database is compared with. */
export function expectedCatalogue(): Catalogue {
  return (loaded ??= JSON.parse(schemaFile("catalogue.json")) as Catalogue);
}
