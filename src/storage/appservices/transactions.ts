import { stringifyAscii } from "../../lib/json.ts";
import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** A row of `application_services_txns`: events that an appservice has not confirmed yet. Ids rise; the lowest goes first. */
export interface StoredTransaction {
  readonly appserviceId: string;
  readonly id: number;
  readonly eventIds: readonly string[];
}

/** New transaction ids, ascending. They mean nothing but order: lost ones leave gaps. */
export async function nextTransactionIds(read: ReadHandle, count: number): Promise<number[]> {
  const rows = await query<{ id: number }>(read, `SELECT nextval('application_services_txn_id_seq') AS id FROM generate_series(1, $1)`, [count]);
  return rows.map((row) => row.id);
}

/** Writes transactions; one that is there already gets these events instead. */
export async function putTransactions(txn: Txn, transactions: readonly StoredTransaction[]): Promise<void> {
  await execute(
    txn,
    `INSERT INTO application_services_txns (as_id, txn_id, event_ids) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
     ON CONFLICT (as_id, txn_id) DO UPDATE SET event_ids = EXCLUDED.event_ids`,
    [transactions.map((t) => t.appserviceId), transactions.map((t) => t.id), transactions.map((t) => stringifyAscii(t.eventIds))],
  );
}

/** The appservice has confirmed it. */
export async function deleteTransaction(txn: Txn, appserviceId: string, id: number): Promise<void> {
  await execute(txn, `DELETE FROM application_services_txns WHERE as_id = $1 AND txn_id = $2`, [appserviceId, id]);
}

/** The oldest transactions of an appservice with ids above `after`. */
export async function oldestTransactions(read: ReadHandle, appserviceId: string, after: number, limit: number): Promise<StoredTransaction[]> {
  const rows = await query<{ txn_id: number; event_ids: string }>(
    read,
    `SELECT txn_id, event_ids FROM application_services_txns WHERE as_id = $1 AND txn_id > $2 ORDER BY txn_id LIMIT $3`,
    [appserviceId, after, limit],
  );
  return rows.map((row) => ({ appserviceId, id: row.txn_id, eventIds: JSON.parse(row.event_ids) as string[] }));
}

/** Appservices for which transactions wait. */
export async function appservicesWithTransactions(read: ReadHandle): Promise<Set<string>> {
  const rows = await query<{ as_id: string }>(read, `SELECT DISTINCT as_id FROM application_services_txns`);
  return new Set(rows.map((row) => row.as_id));
}

/** Events up to this position of the events stream have been put into transactions. */
export async function appservicePosition(read: ReadHandle): Promise<number> {
  return (await queryOne<{ stream_ordering: number | null }>(read, `SELECT stream_ordering FROM appservice_stream_position`))?.stream_ordering ?? 0;
}

export async function putAppservicePosition(txn: Txn, position: number): Promise<void> {
  await execute(txn, `UPDATE appservice_stream_position SET stream_ordering = $1`, [position]);
}
