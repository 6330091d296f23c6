import { query, type ReadHandle } from "../../src/storage/database.ts";

export interface TableSize {
  readonly name: string;
  /** With indexes. */
  readonly bytes: number;
  /** Estimate. */
  readonly rows: number;
}

export async function largestTables(h: ReadHandle, limit: number): Promise<TableSize[]> {
  return await query(
    h,
    `SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes, GREATEST(c.reltuples, 0)::bigint AS rows
     FROM pg_class AS c WHERE c.relkind = 'r' AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
     ORDER BY 2 DESC LIMIT $1`,
    [limit],
  );
}

/** Tables that are full of dead rows. */
export async function deadRows(h: ReadHandle): Promise<{ name: string; dead: number; live: number }[]> {
  return await query(
    h,
    `SELECT relname AS name, n_dead_tup AS dead, n_live_tup AS live FROM pg_stat_user_tables
     WHERE schemaname = current_schema() AND n_dead_tup > 100000 AND n_dead_tup > n_live_tup * 0.3 ORDER BY 2 DESC LIMIT 8`,
  );
}

/** Large tables without statistics: Postgres plans blindly. */
export async function neverAnalysed(h: ReadHandle): Promise<string[]> {
  const rows = await query<{ name: string }>(
    h,
    `SELECT c.relname AS name FROM pg_class AS c
     WHERE c.relkind = 'r' AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
       AND c.reltuples < 0 AND pg_relation_size(c.oid) > 10000000 ORDER BY 1`,
  );
  return rows.map(({ name }) => name);
}
