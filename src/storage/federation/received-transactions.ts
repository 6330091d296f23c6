import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** What was answered to a transaction of another server; undefined when it is new. */
export async function answerOfTransaction(read: ReadHandle, origin: string, transactionId: string): Promise<{ status: number; json: string } | undefined> {
  const row = await queryOne<{ response_code: number | null; response_json: Buffer | null }>(
    read,
    `SELECT t.response_code, t.response_json FROM received_transactions AS t WHERE t.origin = $1 AND t.transaction_id = $2`,
    [origin, transactionId],
  );
  if (row === undefined || row.response_code === null || row.response_code === 0 || row.response_json === null) return undefined;
  return { status: row.response_code, json: row.response_json.toString("utf8") };
}

/** The first answer counts. */
export async function storeAnswerOfTransaction(
  txn: Txn,
  row: { origin: string; transactionId: string; status: number; json: string; now: number },
): Promise<void> {
  await execute(
    txn,
    `INSERT INTO received_transactions (transaction_id, origin, response_code, response_json, ts)
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (transaction_id, origin) DO NOTHING`,
    [row.transactionId, row.origin, row.status, Buffer.from(row.json, "utf8"), row.now],
  );
}

/** Forgets transactions from before that time (ms). */
export async function deleteReceivedTransactions(txn: Txn, before: number): Promise<void> {
  await execute(txn, `DELETE FROM received_transactions AS t WHERE t.ts < $1`, [before]);
}
