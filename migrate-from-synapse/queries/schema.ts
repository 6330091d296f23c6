import { query, type ReadHandle } from "../../src/storage/database.ts";

const HERE = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())";

/** Foreign keys from other tables to those named, that neither cascade nor clear: `other_table -> events`. */
export async function foreignKeysTo(h: ReadHandle, tables: readonly string[]): Promise<string[]> {
  const rows = await query<{ text: string }>(
    h,
    `SELECT o.oid::regclass::text || ' -> ' || t.relname AS text
     FROM pg_constraint AS k JOIN pg_class AS o ON o.oid = k.conrelid JOIN pg_class AS t ON t.oid = k.confrelid
     WHERE k.contype = 'f' AND k.confdeltype NOT IN ('c', 'n', 'd') AND t.relnamespace = ${HERE} AND t.relname = ANY($1)
       AND NOT (o.relnamespace = ${HERE} AND o.relname = ANY($1))
     ORDER BY 1`,
    [tables],
  );
  return rows.map(({ text }) => text);
}

/** What Myelin keeps for itself, in a schema of its own. */
export async function ownTables(h: ReadHandle): Promise<{ tables: string[]; bytes: number }> {
  const rows = await query<{ name: string; bytes: number }>(
    h,
    `SELECT n.nspname || '.' || c.relname AS name, pg_total_relation_size(c.oid) AS bytes FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND n.nspname ~ '^myelin(_|$)' ORDER BY 1`,
  );
  return { tables: rows.map(({ name }) => name), bytes: rows.reduce((sum, row) => sum + row.bytes, 0) };
}

/** Extra columns that an INSERT which does not know them cannot leave out: NOT NULL without default. */
export async function mandatoryColumns(h: ReadHandle): Promise<{ table: string; column: string }[]> {
  return await query(
    h,
    `SELECT c.relname AS table, a.attname AS column FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
     WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND c.relkind IN ('r', 'p') AND c.relnamespace = ${HERE}`,
  );
}

export async function pendingUpdates(h: ReadHandle): Promise<{ name: string; dependsOn: string | null }[]> {
  return await query(h, 'SELECT update_name AS name, depends_on AS "dependsOn" FROM background_updates ORDER BY ordering, update_name');
}
