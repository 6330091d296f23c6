import { type Block, blockParameters } from "./blocks.ts";
import { query, type ReadHandle } from "../../src/storage/database.ts";

/** Rows that break a rule, by what names them. */
export interface Broken {
  readonly count: number;
  /** There are more; counting stopped. */
  readonly more: boolean;
  readonly examples: readonly string[];
}

const LIMIT = 1000;

/** The rows of a statement that selects a column `id`; `$1`, `$2`, ... as given. At most a thousand are counted. */
export async function broken(h: ReadHandle, sql: string, params: readonly unknown[] = []): Promise<Broken> {
  const rows = await query<{ id: string | number | null }>(h, `SELECT found.id FROM (${sql}) AS found LIMIT ${LIMIT + 1}`, params);
  return { count: Math.min(rows.length, LIMIT), more: rows.length > LIMIT, examples: [...new Set(rows.slice(0, 50).map(({ id }) => String(id)))].slice(0, 5) };
}

/**
 * The same for a statement that reads stretches of a large table (`WINDOW`, `$1` and `$2`; further parameters from `$3` on). The planner cannot
 * know how short they are, and would rather walk over the whole of the tables that they are joined with: it is told to use indexes.
 */
export async function brokenInBlocks(h: ReadHandle, blocks: readonly Block[], sql: string, params: readonly unknown[] = []): Promise<Broken> {
  await query(h, "SET LOCAL enable_hashjoin TO off; SET LOCAL enable_mergejoin TO off; SET LOCAL enable_seqscan TO off");
  const found = await broken(h, sql, [...blockParameters(blocks), ...params]);
  await query(h, "SET LOCAL enable_hashjoin TO on; SET LOCAL enable_mergejoin TO on; SET LOCAL enable_seqscan TO on");
  return found;
}
