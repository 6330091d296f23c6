import knex, { type Knex } from "knex";
import { query, type ReadHandle } from "./database.ts";

/**
 * A builder of SELECTs whose filters and order depend on the request; it has no connection. Everything else is SQL as text.
 */
const builder = knex({ client: "pg" });

export const select = builder.select.bind(builder) as Knex["select"];
export const from = (table: string): Knex.QueryBuilder => builder(table);
export const raw = builder.raw.bind(builder) as Knex["raw"];

/** Runs what was built. */
export async function rowsOf<Row extends object>(h: ReadHandle, built: Knex.QueryBuilder): Promise<Row[]> {
  const { sql, bindings } = built.toSQL().toNative();
  return await query<Row>(h, sql, [...bindings]);
}

/** A page of a list, and how many rows the list has. */
export interface Page<Row> {
  readonly rows: Row[];
  readonly total: number;
}

export interface PageRequest {
  readonly from: number;
  readonly limit: number;
}

/** Counts the rows of `base`, and reads a page of them with `columns` in the given order (SQL, of constants only). */
export async function pageOf<Row extends object>(
  h: ReadHandle,
  base: Knex.QueryBuilder,
  columns: readonly string[],
  order: string,
  page: PageRequest,
): Promise<Page<Row>> {
  const counted = base.clone().count("* as total");
  const rows = base
    .clone()
    .select(columns.map((column) => raw(column)))
    .orderByRaw(order)
    .limit(page.limit)
    .offset(page.from);
  const [[count], found] = await Promise.all([rowsOf<{ total: number }>(h, counted), rowsOf<Row>(h, rows)]);
  return { rows: found, total: count?.total ?? 0 };
}
