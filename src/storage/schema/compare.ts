import { query, type ReadHandle } from "../database.ts";
import type { Catalogue } from "./catalogue-file.ts";

/** One thing in which a database is not as expected. */
export interface Difference {
  /** `table events`, `column users.locked`, `index events.events_ts`, ... */
  readonly object: string;
  /** Undefined: it is missing. */
  readonly found: string | undefined;
  /** Undefined: it should not be there. */
  readonly expected: string | undefined;
}

interface ColumnRow {
  table: string;
  name: string;
  position: number;
  type: string;
  nullable: boolean;
  identity: string;
  default: string | null;
  options: string[] | null;
}

/**
 * Reads the catalogue of the schema in which Synapse's tables lie (the first of the search path), each object as one line of text. The
 * keys name the object; the texts are the same for databases that behave the same.
 */
export async function describeDatabase(h: ReadHandle): Promise<Map<string, string>> {
  const here = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())";
  const [tables, columns, constraints, indexes, sequences, triggers, functions] = await Promise.all([
    query<{ name: string; unlogged: boolean; identity: string; options: string[] | null }>(
      h,
      `SELECT relname AS name, relpersistence = 'u' AS unlogged, relreplident AS identity, reloptions AS options
       FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = ${here}`,
    ),
    query<ColumnRow>(
      h,
      `SELECT c.relname AS table, a.attname AS name, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum) AS position,
              format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable, a.attidentity AS identity,
              pg_get_expr(d.adbin, d.adrelid) AS default, a.attoptions AS options
       FROM pg_attribute AS a
       JOIN pg_class AS c ON c.oid = a.attrelid
       LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND c.relnamespace = ${here}`,
    ),
    query<{ table: string; name: string; definition: string }>(
      h,
      `SELECT c.relname AS table, k.conname AS name, pg_get_constraintdef(k.oid) AS definition
       FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
       WHERE k.contype IN ('p', 'u', 'f', 'c') AND c.relnamespace = ${here}`,
    ),
    query<{ table: string; name: string; definition: string; valid: boolean }>(
      h,
      `SELECT c.relname AS table, i.relname AS name, pg_get_indexdef(i.oid) AS definition, x.indisvalid AS valid
       FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS c ON c.oid = x.indrelid
       WHERE c.relkind IN ('r', 'p') AND c.relnamespace = ${here}`,
    ),
    query<{ name: string; type: string; increment: number; cycle: boolean; owner: string | null }>(
      h,
      `SELECT c.relname AS name, format_type(s.seqtypid, NULL) AS type, s.seqincrement AS increment, s.seqcycle AS cycle,
              (SELECT o.relname || '.' || a.attname FROM pg_depend AS d JOIN pg_class AS o ON o.oid = d.refobjid
               JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
               WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') LIMIT 1) AS owner
       FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid WHERE c.relnamespace = ${here}`,
    ),
    query<{ table: string; name: string; function: string; type: number; enabled: boolean }>(
      h,
      `SELECT c.relname AS table, t.tgname AS name, p.proname AS function, t.tgtype AS type, t.tgenabled <> 'D' AS enabled
       FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_proc AS p ON p.oid = t.tgfoid
       WHERE NOT t.tgisinternal AND c.relnamespace = ${here}`,
    ),
    query<{ name: string; returns: string }>(h, `SELECT proname AS name, format_type(prorettype, NULL) AS returns FROM pg_proc WHERE pronamespace = ${here}`),
  ]);
  const described = new Map<string, string>();
  for (const t of tables) described.set(`table ${t.name}`, [t.unlogged ? "unlogged" : "logged", replicaIdentity(t.identity), ...(t.options ?? [])].join(" "));
  for (const c of columns) {
    described.set(`column ${c.table}.${c.name}`, columnText({ ...c, identity: c.identity === "a" ? "ALWAYS" : c.identity === "d" ? "BY DEFAULT" : "" }));
    if (c.options) described.set(`statistics ${c.table}.${c.name}`, c.options.join(" "));
  }
  for (const k of constraints) described.set(`constraint ${k.table}.${k.name}`, normalise(k.definition));
  for (const i of indexes) described.set(`index ${i.table}.${i.name}`, normalise(i.definition) + (i.valid ? "" : " INVALID"));
  for (const s of sequences) described.set(`sequence ${s.name}`, sequenceText(s.type, s.increment, s.cycle, s.owner));
  for (const t of triggers) described.set(`trigger ${t.table}.${t.name}`, `${triggerText(t.type)} ${t.function}${t.enabled ? "" : " disabled"}`);
  for (const f of functions) described.set(`function ${f.name}`, `returns ${f.returns}`);
  return described;
}

/** What `describeDatabase` gives for a database that is exactly as `catalogue` says. */
export function describeCatalogue(catalogue: Catalogue): Map<string, string> {
  const described = new Map<string, string>();
  for (const [name, table] of Object.entries(catalogue.tables)) {
    described.set(`table ${name}`, [table.unlogged ? "unlogged" : "logged", table.replica_identity, ...table.storage_params].join(" "));
    table.columns.forEach((c, index) => described.set(`column ${name}.${c.name}`, columnText({ ...c, identity: c.identity ?? "", position: index + 1 })));
    for (const [column, options] of Object.entries(table.column_stats_n_distinct)) described.set(`statistics ${name}.${column}`, options.join(" "));
    if (table.primary_key) described.set(`constraint ${name}.${table.primary_key.name}`, `PRIMARY KEY (${columnList(table.primary_key.columns)})`);
    for (const u of table.unique_constraints) described.set(`constraint ${name}.${u.name}`, `UNIQUE (${columnList(u.columns)})`);
    for (const k of table.checks) described.set(`constraint ${name}.${k.name}`, normalise(k.definition));
    for (const f of table.foreign_keys) {
      const parts = [`FOREIGN KEY (${columnList(f.columns)}) REFERENCES ${f.references}(${columnList(f.ref_columns)})`];
      if (f.on_update !== "NO ACTION") parts.push(`ON UPDATE ${f.on_update}`);
      if (f.on_delete !== "NO ACTION") parts.push(`ON DELETE ${f.on_delete}`);
      if (f.deferrable) parts.push("DEFERRABLE");
      if (f.initially_deferred) parts.push("INITIALLY DEFERRED");
      if (!f.validated) parts.push("NOT VALID");
      described.set(`constraint ${name}.${f.name}`, parts.join(" "));
    }
    for (const i of table.indexes) described.set(`index ${name}.${i.name}`, normalise(i.definition) + (i.valid ? "" : " INVALID"));
  }
  for (const s of catalogue.sequences) {
    described.set(`sequence ${s.name}`, sequenceText(s.type, s.increment, s.cycle, s.owner_table ? `${s.owner_table}.${s.owner_column}` : null));
  }
  for (const t of catalogue.triggers) {
    // pg_trigger.tgtype: bit 0 row, 1 before, 2 insert, 3 delete, 4 update
    const bits = (t.level === "row" ? 1 : 0) + (t.timing === "BEFORE" ? 2 : 0) + t.events.reduce((sum, event) => sum + { INSERT: 4, DELETE: 8, UPDATE: 16 }[event as "INSERT"], 0);
    described.set(`trigger ${t.table}.${t.name}`, `${triggerText(bits)} ${t.function}`);
  }
  for (const f of catalogue.functions) described.set(`function ${f.name}`, `returns ${f.returns}`);
  return described;
}

/** In what `actual` is not as `expected`; ordered by the object's name. */
export function differences(expected: Map<string, string>, actual: Map<string, string>): Difference[] {
  const result: Difference[] = [];
  for (const [object, text] of expected) if (actual.get(object) !== text) result.push({ object, expected: text, found: actual.get(object) });
  for (const [object, text] of actual) if (!expected.has(object)) result.push({ object, expected: undefined, found: text });
  return result.sort((a, b) => (a.object < b.object ? -1 : 1));
}

function columnText(c: { position: number; type: string; nullable: boolean; identity: string; default: string | null }): string {
  return [c.position, c.type, c.nullable ? "null" : "not null", c.default === null ? "" : `default ${c.default}`, c.identity && `identity ${c.identity}`].filter(Boolean).join(" ");
}

const sequenceText = (type: string, increment: number, cycle: boolean, owner: string | null): string =>
  `${type} by ${increment}${cycle ? " cycle" : ""}${owner ? ` of ${owner}` : ""}`;

const triggerText = (bits: number): string =>
  [bits & 2 ? "before" : "after", bits & 4 && "insert", bits & 8 && "delete", bits & 16 && "update", bits & 1 ? "each row" : "each statement"].filter(Boolean).join(" ");

const replicaIdentity = (letter: string): string => ({ d: "default", n: "nothing", f: "full", i: "index" })[letter] ?? letter;

const columnList = (names: readonly string[]): string => names.join(", ");

/** Definitions name the schema or not, depending on the search path. */
const normalise = (definition: string): string => definition.replace(/\b\w+\.(?=\w+ USING )/, "").replaceAll('"timestamp"', "timestamp");
