import { execute, type Txn } from "../../database.ts";

/** Statements worked out and not sent yet: an error in working them out comes before anything is written. */
export class Statements {
  private readonly list: { readonly sql: string; readonly params: readonly unknown[] }[] = [];

  add(sql: string, params: readonly unknown[]): void {
    this.list.push({ sql, params });
  }

  /**
   * Adds other statements as one, each a WITH query of it: their order among each other is open, none sees what another writes, and
   * foreign keys are checked at the end.
   */
  addTogether(others: Statements): void {
    if (others.list.length <= 1) return void this.list.push(...others.list);
    const params: unknown[] = [];
    const parts = others.list.map(({ sql, params: own }, index) => {
      const part = `part${index} AS (${renumbered(sql, params.length)})`;
      params.push(...own);
      return part;
    });
    this.add(`WITH ${parts.join(", ")} SELECT`, params);
  }

  /** Sends all of them at once, in order. */
  async send(txn: Txn): Promise<void> {
    await Promise.all(this.list.map(({ sql, params }) => execute(txn, sql, params)));
  }
}

/** A statement's text with its placeholders moved up; texts are few and come again. */
function renumbered(sql: string, offset: number): string {
  if (offset === 0) return sql;
  let texts = moved.get(sql);
  if (texts === undefined) moved.set(sql, (texts = new Map()));
  let text = texts.get(offset);
  if (text === undefined) texts.set(offset, (text = sql.replace(/\$(\d+)/g, (_, number) => `$${Number(number) + offset}`)));
  return text;
}

const moved = new Map<string, Map<number, string>>();

/** Where a statement goes: to the database, or to those that are sent later. */
export type Writer = Txn | Statements;

export async function write(writer: Writer, sql: string, params: readonly unknown[]): Promise<number> {
  if (!(writer instanceof Statements)) return await execute(writer, sql, params);
  writer.add(sql, params);
  return 0;
}

/** Postgres types that columns of bulk statements have. */
export type ColumnType = "text" | "bigint" | "integer" | "boolean" | "smallint";

/** Rows for one statement: a name and type for each column, a value for each in each row. */
export interface Rows<Columns extends Readonly<Record<string, ColumnType>>> {
  readonly columns: Columns;
  readonly rows: readonly (readonly Value[])[];
}

export type Value = string | number | bigint | boolean | null | undefined;

/**
 * Writes all rows with one statement: `sql` says what happens with the relation that `ROWS` stands for, which has the named columns.
 * The text does not depend on the number of rows, so it is prepared once.
 */
export async function bulk(
  writer: Writer,
  columns: Readonly<Record<string, ColumnType>>,
  sql: string,
  rows: readonly (readonly Value[])[],
  more: readonly unknown[] = [],
): Promise<number> {
  if (rows.length === 0) return 0;
  return await write(writer, withRows(sql, columns), [...transpose(columns, rows), ...more]);
}

/** INSERT of all rows into a table; `conflict` is an ON CONFLICT clause. */
export async function insertAll(
  writer: Writer,
  table: string,
  columns: Readonly<Record<string, ColumnType>>,
  rows: readonly (readonly Value[])[],
  conflict = "",
): Promise<number> {
  if (rows.length === 0) return 0;
  const names = Object.keys(columns).join(", ");
  return await write(writer, `INSERT INTO ${table} (${names}) SELECT ${names} FROM ${rowsSql(columns)} ${conflict}`, transpose(columns, rows));
}

const relations = new Map<string, string>();

const withRows = (sql: string, columns: Readonly<Record<string, ColumnType>>): string => sql.replace("ROWS", rowsSql(columns));

function rowsSql(columns: Readonly<Record<string, ColumnType>>): string {
  const names = Object.keys(columns);
  const key = names.join();
  let sql = relations.get(key);
  if (sql === undefined) {
    const types = Object.values(columns);
    sql = `unnest(${types.map((type, index) => `$${index + 1}::${type}[]`).join(", ")}) AS row (${names.join(", ")})`;
    relations.set(key, sql);
  }
  return sql;
}

function transpose(columns: Readonly<Record<string, ColumnType>>, rows: readonly (readonly Value[])[]): string[] {
  return Object.values(columns).map((type, index) => arrayLiteral(type, rows, index));
}

/** A Postgres array literal of one column: faster than the driver's own, which looks at the type of each value. */
function arrayLiteral(type: ColumnType, rows: readonly (readonly Value[])[], index: number): string {
  let out = "{";
  for (let i = 0; i < rows.length; i++) {
    const value = rows[i]![index];
    if (i > 0) out += ",";
    if (value === null || value === undefined) out += "NULL";
    else if (type === "text") out += quoted(value as string);
    else out += String(value);
  }
  return out + "}";
}

const SPECIAL = /["\\]/;
const SPECIAL_ALL = /["\\]/g;

function quoted(text: string): string {
  return SPECIAL.test(text) ? `"${text.replace(SPECIAL_ALL, "\\$&")}"` : `"${text}"`;
}

/** Text for a column that is derived from an event's content: Postgres has no U+0000, and readers know NULL there. */
export function derivedText(value: unknown): string | null {
  return typeof value === "string" && !value.includes("\u0000") ? value : null;
}
