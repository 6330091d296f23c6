/**
 * Writes `full.sql`, the whole schema of an empty database, from `catalogue.json`, and the row types of `src/storage/tables.ts`.
 *
 *   npx tsx schema/generate.ts           writes the files
 *   npx tsx schema/generate.ts --check   exits with 1 when a file is not what would be written
 *
 * The catalogue is what Postgres says of a database that Synapse 1.160 made and whose background updates have all run. What the
 * catalogue of Postgres cannot say, the bodies of the trigger functions, stands in `functions.sql`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Catalogue, Column, ForeignKey, Table } from "../src/storage/schema/catalogue-file.ts";
import { rowTypes } from "./row-types.ts";

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const catalogue = JSON.parse(readFileSync(file("catalogue.json"), "utf8")) as Catalogue;

const RESERVED = new Set(["user", "order", "group", "timestamp"]);
const id = (name: string): string => (RESERVED.has(name) ? `"${name}"` : name);
const list = (names: readonly string[]): string => `(${names.map(id).join(", ")})`;
const literal = (value: unknown): string => (value === null ? "NULL" : typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value));

function columnSql(column: Column): string {
  let sql = `${id(column.name)} ${column.type}`;
  if (column.identity) sql += ` GENERATED ${column.identity} AS IDENTITY`;
  if (column.default !== null) sql += ` DEFAULT ${column.default}`;
  // An identity column is NOT NULL by itself.
  if (!column.nullable && !column.identity) sql += " NOT NULL";
  return sql;
}

function tableSql(name: string, table: Table): string {
  const lines = table.columns.map(columnSql);
  if (table.primary_key) lines.push(`CONSTRAINT ${id(table.primary_key.name)} PRIMARY KEY ${list(table.primary_key.columns)}`);
  for (const unique of table.unique_constraints) lines.push(`CONSTRAINT ${id(unique.name)} UNIQUE ${list(unique.columns)}`);
  for (const check of table.checks) lines.push(`CONSTRAINT ${id(check.name)} ${check.definition}`);
  return `CREATE ${table.unlogged ? "UNLOGGED " : ""}TABLE ${id(name)} (\n  ${lines.join(",\n  ")}\n);`;
}

function indexesSql(table: Table): string[] {
  const constraints = new Set([table.primary_key?.name, ...table.unique_constraints.map((unique) => unique.name)]);
  return table.indexes.filter((index) => !constraints.has(index.name)).map((index) => `${index.definition.replace(" ON public.", " ON ")};`);
}

function foreignKeySql(name: string, key: ForeignKey): string {
  let sql = `ALTER TABLE ${id(name)} ADD CONSTRAINT ${id(key.name)} FOREIGN KEY ${list(key.columns)} REFERENCES ${id(key.references)} ${list(key.ref_columns)}`;
  if (key.on_delete !== "NO ACTION") sql += ` ON DELETE ${key.on_delete}`;
  if (key.on_update !== "NO ACTION") sql += ` ON UPDATE ${key.on_update}`;
  if (key.deferrable) sql += " DEFERRABLE";
  if (key.initially_deferred) sql += " INITIALLY DEFERRED";
  if (!key.validated) sql += " NOT VALID";
  return `${sql};`;
}

function insertSql(table: string, rows: readonly Record<string, unknown>[]): string {
  const columns = Object.keys(rows[0]!);
  const tuple = (row: Record<string, unknown>): string => `(${columns.map((column) => literal(row[column])).join(", ")})`;
  return `INSERT INTO ${table} ${list(columns)} VALUES\n  ${rows.map(tuple).join(",\n  ")};`;
}

/** Rows that a database has before a server ever ran on it. */
function seedSql(): string[] {
  const seeds = structuredClone(catalogue.seed_rows);
  // The directory of an empty database is built: -1 is what Synapse's own build of it leaves behind.
  seeds["user_directory_stream_pos"] = [{ lock: "X", stream_id: -1 }];
  const { scheduled_tasks: tasks = [], ...rest } = seeds;
  const statements = Object.entries(rest).map(([table, rows]) => insertSql(table, rows));
  for (const task of tasks) {
    // Due at once, whenever the database is made.
    statements.push(
      `INSERT INTO scheduled_tasks (id, action, status, "timestamp") VALUES\n  (${literal(task["id"])}, ${literal(task["action"])}, 'scheduled', (EXTRACT(epoch FROM now()) * 1000)::bigint);`,
    );
  }
  return statements;
}

export function fullSql(): string {
  const tables = Object.entries(catalogue.tables);
  const sections: [string, string[]][] = [
    [
      "Sequences. Those of streams have been called once, so that ids begin at 2.",
      catalogue.sequences
        .filter((sequence) => !sequence.identity)
        .flatMap((sequence) => [
          `CREATE SEQUENCE ${sequence.name}${sequence.type === "bigint" ? "" : ` AS ${sequence.type}`}${sequence.start === 1 ? "" : ` START WITH ${sequence.start}`};`,
          ...(sequence.fresh_is_called ? [`SELECT setval('${sequence.name}', ${sequence.fresh_last_value}, true);`] : []),
        ]),
    ],
    ["Tables. The order of columns matters: Synapse reads some by position.", tables.map(([name, table]) => tableSql(name, table))],
    [
      "Sequences that belong to a column.",
      catalogue.sequences
        .filter((sequence) => sequence.owner_table && !sequence.identity)
        .map((sequence) => `ALTER SEQUENCE ${sequence.name} OWNED BY ${sequence.owner_table}.${sequence.owner_column};`),
    ],
    ["Indexes.", tables.flatMap(([, table]) => indexesSql(table))],
    ["Foreign keys.", tables.flatMap(([name, table]) => table.foreign_keys.map((key) => foreignKeySql(name, key)))],
    ["Trigger functions.", [readFileSync(file("functions.sql"), "utf8").trim()]],
    [
      "Triggers.",
      catalogue.triggers.map(
        (trigger) =>
          `CREATE TRIGGER ${trigger.name} ${trigger.timing} ${trigger.events.join(" OR ")} ON ${trigger.table}\n  FOR EACH ${trigger.level.toUpperCase()} EXECUTE FUNCTION ${trigger.function}();`,
      ),
    ],
    [
      "What the planner is told of columns that samples misjudge.",
      tables.flatMap(([name, table]) =>
        Object.entries(table.column_stats_n_distinct).map(([column, options]) => `ALTER TABLE ${name} ALTER COLUMN ${column} SET (${options.join(", ")});`),
      ),
    ],
    ["Rows that each database has.", seedSql()],
    ["The deltas that this schema contains.", [insertSql("applied_schema_deltas", catalogue.applied_schema_deltas.map(({ version, file: name }) => ({ version, file: name })))]],
  ];
  const head = `-- Written by schema/generate.ts from schema/catalogue.json: do not edit.\n-- Schema version ${catalogue.schema_version}, readable by servers from version ${catalogue.schema_compat_version} on.`;
  return [head, ...sections.map(([title, statements]) => `-- ${title}\n\n${statements.join("\n")}`)].join("\n\n") + "\n";
}

const outputs: [string, string][] = [
  [file("full.sql"), fullSql()],
  [file("../src/storage/tables.ts"), rowTypes(catalogue)],
];
const check = process.argv.includes("--check");
for (const [path, text] of outputs) {
  if (!check) writeFileSync(path, text);
  else if (readFileSync(path, "utf8") !== text) {
    process.stderr.write(`${path} differs from what schema/generate.ts writes\n`);
    process.exitCode = 1;
  }
}
